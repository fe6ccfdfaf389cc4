//! The connections of a worker: which of them want their turn, and which have been idle longest.

use std::collections::VecDeque;
use std::time::Instant;

use mio::event::Event;
use slab::Slab;

use crate::answer::Reply;
use crate::board::Ending;
use crate::conn::Turn;

use super::idle::IdleQueue;
use super::link::{Link, Progress};

/// Most idle links that are spared, when room is made, for the sake of what they still receive.
const SPARED_MAX: usize = 16;

/// Links by their keys.
pub(super) struct Links<'s> {
    slab: Slab<Link<'s>>,
    idle: IdleQueue,
    /// Links with more to do, whom no event will announce.
    unfinished: VecDeque<usize>,
}

impl<'s> Links<'s> {
    pub(super) fn new() -> Self {
        Self { slab: Slab::new(), idle: IdleQueue::new(), unfinished: VecDeque::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Link<'s>)> {
        self.slab.iter_mut()
    }

    /// The key that the next link will have.
    pub(super) fn next_key(&self) -> usize {
        self.slab.vacant_key()
    }

    /// Takes a link in that has gone as far as `progress`.
    pub(super) fn insert(&mut self, link: Link<'s>, progress: Progress) {
        let key = self.slab.insert(link);
        self.note(key, progress);
    }

    /// Takes note of an event, and takes its link on unless that is to have its turn anyway. An
    /// event may be older than its link's end.
    pub(super) fn ready(
        &mut self,
        key: usize,
        event: &Event,
        input: &mut [u8],
        turn: &mut Turn<'_, 's>,
    ) {
        let Some(link) = self.slab.get_mut(key) else { return };
        link.ready(event);
        if !link.is_unfinished {
            self.pump(key, input, turn);
        }
    }

    /// Takes on those that were left unfinished, each once; they come behind others then.
    pub(super) fn pump_unfinished(&mut self, input: &mut [u8], turn: &mut Turn<'_, 's>) {
        for _ in 0..self.unfinished.len() {
            if let Some(key) = self.unfinished.pop_front()
                && let Some(link) = self.slab.get_mut(key)
            {
                link.is_unfinished = false;
                self.pump(key, input, turn);
            }
        }
    }

    /// Takes a link on as far as it goes.
    fn pump(&mut self, key: usize, input: &mut [u8], turn: &mut Turn<'_, 's>) {
        let Some(link) = self.slab.get_mut(key) else { return };
        let deadline = link.conn().deadline();
        let progress = link.pump(input, turn);
        // An event that brought nothing leaves an idle link where it is.
        if progress != Progress::Blocked || link.conn().deadline() != deadline {
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
    pub(super) fn close_idle(&mut self, input: &mut [u8], turn: &mut Turn<'_, 's>) -> bool {
        let mut spared = 0;
        while let Some(key) = self.idle.first() {
            let link = &mut self.slab[key];
            let deadline = link.conn().deadline();
            link.look_again();
            let mut progress = link.pump(input, turn);
            let is_idle = link.conn().awaits_request() && link.conn().deadline() == deadline;
            if progress == Progress::Blocked && is_idle {
                if spared < SPARED_MAX && link.has_untaken() {
                    spared += 1;
                    self.idle.put_last(key);
                    continue;
                }
                progress = link.close(Ending::Room, turn);
            }
            self.note(key, progress);
            if progress == Progress::Closed {
                return true;
            }
        }
        false
    }

    /// Closes the link whose time is over first, whatever it is doing.
    pub(super) fn close_oldest(&mut self, turn: &mut Turn<'_, 's>) {
        let deadlines = self.slab.iter_mut().map(|(key, link)| (link.conn().deadline(), key));
        if let Some((_, key)) = deadlines.min() {
            let progress = self.slab[key].close(Ending::Room, turn);
            self.note(key, progress);
        }
    }

    /// Those that could be handed over now, by their keys.
    pub(super) fn keys_to_give(&mut self, now: Instant) -> Vec<usize> {
        let links = self.slab.iter_mut();
        links.filter_map(|(key, link)| link.conn().handed(0, now).map(|_| key)).collect()
    }

    /// Those of them that have something to carry.
    pub(super) fn keys_that_carry(&mut self) -> Vec<usize> {
        let links = self.slab.iter_mut();
        links.filter_map(|(key, link)| link.conn().has_to_carry().then_some(key)).collect()
    }

    pub(super) fn link(&mut self, key: usize) -> &mut Link<'s> {
        &mut self.slab[key]
    }

    /// Whether there are links that wait for an answer that is not known yet.
    pub(super) fn has_pending(&mut self) -> bool {
        self.slab.iter_mut().any(|(_, link)| link.conn().is_pending())
    }

    /// Answers those for which it is known by now; what was not asked for yet is.
    pub(super) fn answer(
        &mut self,
        ask: impl Fn() -> u64,
        know: impl Fn(u64) -> Option<Reply<'s>>,
        input: &mut [u8],
        turn: &mut Turn<'_, 's>,
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
    pub(super) fn close_all(&mut self, turn: &mut Turn<'_, 's>) {
        for mut link in self.slab.drain() {
            link.close(Ending::Drained, turn);
        }
    }

    /// Forgets a link that was handed over.
    pub(super) fn remove(&mut self, key: usize) {
        self.note(key, Progress::Closed);
    }

    /// Takes a link on that could not be handed over.
    pub(super) fn resume(&mut self, key: usize, input: &mut [u8], turn: &mut Turn<'_, 's>) {
        self.slab[key].conn().resume(turn);
        self.pump(key, input, turn);
    }

    /// Tells the links whose deadline has passed; they are taken on in the next turn. Those that
    /// have never said anything count as idle from now on.
    pub(super) fn expire(&mut self, input: &mut [u8], turn: &mut Turn<'_, 's>) {
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

    fn expire_one(&mut self, key: usize, input: &mut [u8], turn: &mut Turn<'_, 's>) {
        // What it waits for may have come while this process was paused, and no event told yet.
        self.slab[key].look_again();
        self.pump(key, input, turn);
        let Some(link) = self.slab.get_mut(key) else { return };
        // What is about to be handed over has its time there.
        let goes_over = turn.is_superseded() && link.conn().has_to_carry();
        if link.conn().deadline() <= turn.now && !goes_over && !link.is_taken(turn) {
            link.conn().expired(turn);
            self.idle.take_out(key);
            queue(&mut self.unfinished, key, link);
        }
    }
}

/// Puts a link among the unfinished, unless it is there already.
fn queue(unfinished: &mut VecDeque<usize>, key: usize, link: &mut Link<'_>) {
    if !link.is_unfinished {
        link.is_unfinished = true;
        unfinished.push_back(key);
    }
}
