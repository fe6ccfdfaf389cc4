//! The connections of a worker: which of them want their turn, and which have been idle longest.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{AsFd as _, OwnedFd};

use mio::event::Event;
use slab::Slab;

use crate::answer::Reply;
use crate::conn::{Subject, Turn};
use crate::faults::{self, Race};
use crate::scoreboard::{Counter, Ending};

use super::link::{Link, Progress};
use crate::host::recency::RecencyQueue;

/// Most idle links that are spared, when room is made, for the sake of what they still receive.
const SPARED_MAX: usize = 16;

/// Links by their keys.
pub(super) struct Links {
    slab: Slab<Link>,
    idle: RecencyQueue,
    /// Links with more to do, whom no event will announce.
    unfinished: VecDeque<usize>,
    /// What bodies of the arena are sent from; none if they are copied.
    arena: Option<OwnedFd>,
    /// Links that may wait for another image.
    waiting: BTreeSet<usize>,
    /// The links for which pages of the arena are pinned.
    pinned: BTreeSet<usize>,
}

impl Links {
    pub(super) fn new(arena: Option<OwnedFd>) -> Self {
        Self {
            slab: Slab::new(),
            idle: RecencyQueue::new(),
            unfinished: VecDeque::new(),
            arena,
            waiting: BTreeSet::new(),
            pinned: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Link)> {
        self.slab.iter_mut()
    }

    /// The key that the next link will have.
    pub(super) fn next_key(&self) -> usize {
        self.slab.vacant_key()
    }

    /// Takes a new link on as far as it goes. Mostly its request is there already; if it is
    /// answered and over at once, the socket need not be watched.
    pub(super) fn start(
        &mut self,
        link: &mut Link,
        input: &mut [u8],
        turn: &mut Turn<'_>,
    ) -> Progress {
        let arena = self.arena.as_ref().map(OwnedFd::as_fd);
        link.pump(input, arena, turn)
    }

    /// Takes a link in that has gone as far as `progress`.
    pub(super) fn insert(&mut self, link: Link, progress: Progress, turn: &Turn<'_>) {
        let key = self.slab.insert(link);
        self.pin(key, turn);
        self.note(key, progress);
    }

    /// Takes note of what a link waits for, and pins what it needs of the arena before another
    /// image can be adopted.
    fn pin(&mut self, key: usize, turn: &Turn<'_>) {
        let link = &mut self.slab[key];
        if link.conn().awaits_site() {
            self.waiting.insert(key);
        } else if !self.waiting.is_empty() {
            self.waiting.remove(&key);
        }
        let needed = link.needs();
        if needed == link.pinned {
            return;
        }
        if let Subject::Site(source) = &turn.subject {
            source.reader.pin(key, needed);
        }
        link.pinned = needed;
        if needed.is_some() {
            self.pinned.insert(key);
        } else {
            self.pinned.remove(&key);
        }
    }

    /// Takes pins away whose bytes every client has acknowledged.
    pub(super) fn unpin_acknowledged(&mut self, turn: &Turn<'_>) {
        let keys: Vec<usize> = self.pinned.iter().copied().collect();
        for key in keys {
            self.slab[key].forget_acknowledged();
            self.pin(key, turn);
        }
    }

    /// Aborts the links that need something that is not `is_current`.
    pub(super) fn abort_older(
        &mut self,
        is_current: impl Fn(crate::site::Extent) -> bool,
        turn: &mut Turn<'_>,
    ) {
        let keys: Vec<usize> = self.pinned.iter().copied().collect();
        for key in keys {
            let link = &mut self.slab[key];
            if !link.pinned.is_some_and(&is_current) {
                turn.slot.add(Counter::OldResponses, 1);
                faults::note(Race::Abort, || true);
                let progress = link.abort(turn);
                self.end(key, progress, turn);
            }
        }
    }

    /// Decides again for those that wait for another image, now that there is one.
    pub(super) fn on_new_site(&mut self, published: u64, input: &mut [u8], turn: &mut Turn<'_>) {
        for key in std::mem::take(&mut self.waiting) {
            let Some(link) = self.slab.get_mut(key) else { continue };
            if link.conn().awaits_site() {
                link.conn().on_new_site(published, turn);
                self.pump(key, input, turn);
            }
        }
    }

    /// Whether there may be links that wait for another image.
    pub(super) fn await_site(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn end(&mut self, key: usize, progress: Progress, turn: &Turn<'_>) {
        if progress == Progress::Closed
            && let Some(link) = self.slab.get_mut(key)
            && link.pinned.is_some()
        {
            // The socket may hold pages still; punched, they keep their bytes until it is done.
            if let Subject::Site(source) = &turn.subject {
                source.reader.pin(key, None);
            }
            link.pinned = None;
            self.pinned.remove(&key);
        }
        if progress == Progress::Closed {
            self.waiting.remove(&key);
        }
        self.note(key, progress);
    }

    /// Takes note of an event, and takes its link on unless that is to have its turn anyway. An
    /// event may be older than its link's end.
    pub(super) fn ready(
        &mut self,
        key: usize,
        event: &Event,
        input: &mut [u8],
        turn: &mut Turn<'_>,
    ) {
        let Some(link) = self.slab.get_mut(key) else { return };
        link.ready(event);
        if !link.is_unfinished {
            self.pump(key, input, turn);
        }
    }

    /// Takes on those that were left unfinished, each once; they come behind others then.
    pub(super) fn pump_unfinished(&mut self, input: &mut [u8], turn: &mut Turn<'_>) {
        for _ in 0..self.unfinished.len() {
            if let Some(key) = self.unfinished.pop_front()
                && let Some(link) = self.slab.get_mut(key)
            {
                link.is_unfinished = false;
                self.pump(key, input, turn);
                // It was taken out of the idle queue, even if nothing was left to do.
                if let Some(link) = self.slab.get_mut(key)
                    && !link.is_unfinished
                {
                    self.note(key, Progress::Blocked);
                }
            }
        }
    }

    /// Takes a link on as far as it goes.
    fn pump(&mut self, key: usize, input: &mut [u8], turn: &mut Turn<'_>) {
        let Some(link) = self.slab.get_mut(key) else { return };
        let deadline = link.conn().deadline();
        let progress = link.pump(input, self.arena.as_ref().map(OwnedFd::as_fd), turn);
        if progress == Progress::Closed {
            return self.end(key, progress, turn);
        }
        let is_moved = progress != Progress::Blocked || link.conn().deadline() != deadline;
        self.pin(key, turn);
        // An event that brought nothing leaves an idle link where it is.
        if is_moved {
            self.note(key, progress);
        }
    }

    fn note(&mut self, key: usize, progress: Progress) {
        match progress {
            Progress::Blocked if self.slab[key].conn().is_idle() => self.idle.put_last(key),
            Progress::Blocked => self.idle.take_out(key),
            Progress::Unfinished => {
                self.idle.take_out(key);
                queue(&mut self.unfinished, key, &mut self.slab[key]);
            }
            Progress::Closed => {
                self.idle.take_out(key);
                // No other process watches this socket: closing it ends its registration too.
                drop(self.slab.remove(key));
            }
        }
    }

    /// Whether there are links with more to do.
    pub(super) fn has_unfinished(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// Whether a link can be closed to make room.
    pub(super) fn has_idle(&self) -> bool {
        self.idle.first().is_some()
    }

    /// Closes the link that has been idle longest; one whose next request has come at this very
    /// moment is answered instead, and is idle from now on. Whether one was closed.
    pub(super) fn close_idle(&mut self, input: &mut [u8], turn: &mut Turn<'_>) -> bool {
        let mut spared = 0;
        while let Some(key) = self.idle.first() {
            let link = &mut self.slab[key];
            let deadline = link.conn().deadline();
            link.look_again();
            let mut progress = link.pump(input, self.arena.as_ref().map(OwnedFd::as_fd), turn);
            let is_idle = link.conn().awaits_request() && link.conn().deadline() == deadline;
            if progress == Progress::Blocked && is_idle {
                if spared < SPARED_MAX && link.has_untaken() {
                    spared += 1;
                    self.idle.put_last(key);
                    continue;
                }
                progress = link.close(Ending::Room, turn);
            }
            if progress != Progress::Closed {
                self.pin(key, turn);
            }
            self.end(key, progress, turn);
            if progress == Progress::Closed {
                return true;
            }
        }
        false
    }

    /// Closes the link whose time is over first, whatever it is doing.
    pub(super) fn close_oldest(&mut self, turn: &mut Turn<'_>) {
        let deadlines = self.slab.iter_mut().map(|(key, link)| (link.conn().deadline(), key));
        if let Some((_, key)) = deadlines.min() {
            let progress = self.slab[key].close(Ending::Room, turn);
            self.end(key, progress, turn);
        }
    }

    /// Whether there are links that wait for an answer that is not known yet.
    pub(super) fn has_pending(&mut self) -> bool {
        self.slab.iter_mut().any(|(_, link)| link.conn().is_pending())
    }

    /// Answers those for which it is known by now; what was not asked for yet is.
    pub(super) fn answer(
        &mut self,
        ask: impl Fn() -> u64,
        know: impl Fn(u64) -> Option<Reply<'static>>,
        input: &mut [u8],
        turn: &mut Turn<'_>,
    ) {
        let keys: Vec<usize> = self.slab.iter().map(|(key, _)| key).collect();
        for key in keys {
            let conn = self.slab[key].conn();
            if let Some(reply) = conn.pending(&ask).and_then(&know) {
                conn.answered(reply, turn);
                self.pump(key, input, turn);
            }
        }
    }

    /// Closes all that are left.
    pub(super) fn close_all(&mut self, turn: &mut Turn<'_>) {
        for mut link in self.slab.drain() {
            link.close(Ending::Drained, turn);
        }
    }

    /// Tells the links whose deadline has passed; they are taken on in the next turn. Those that
    /// have never said anything count as idle from now on.
    pub(super) fn expire(&mut self, input: &mut [u8], turn: &mut Turn<'_>) {
        let mut due = Vec::new();
        for (key, link) in &mut self.slab {
            if link.conn().deadline() <= turn.now {
                due.push(key);
            } else if link.conn().is_silent(turn) && !self.idle.has(key) {
                self.idle.put_last(key);
            }
        }
        due.into_iter().for_each(|key| self.expire_one(key, input, turn));
    }

    fn expire_one(&mut self, key: usize, input: &mut [u8], turn: &mut Turn<'_>) {
        // What it waits for may have come while this process was paused, and no event told yet.
        self.slab[key].look_again();
        self.pump(key, input, turn);
        let Some(link) = self.slab.get_mut(key) else { return };
        if link.conn().deadline() <= turn.now && !link.is_taken(turn) {
            link.conn().expired(turn);
            self.idle.take_out(key);
            queue(&mut self.unfinished, key, link);
            self.pin(key, turn);
        }
    }
}

/// Puts a link among the unfinished, unless it is there already.
fn queue(unfinished: &mut VecDeque<usize>, key: usize, link: &mut Link) {
    if !link.is_unfinished {
        link.is_unfinished = true;
        unfinished.push_back(key);
    }
}
