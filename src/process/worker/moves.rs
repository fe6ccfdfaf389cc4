//! How connections move from one generation to the next, at either end of the way.

use std::io;

use mio::Token;

use crate::board::{Counter, Ending};
use crate::conn::{Conn, Handed, Mode};
use crate::process::handover::Given;
use crate::process::link::{Link, Progress};

use super::{LINKS, Way, Worker};

/// Most connections of former generations that are taken before those that are there have their
/// turn.
const ARRIVALS_MAX: usize = 32;

impl Worker<'_> {
    /// Takes connections of former generations; whether there may be more of them.
    pub(super) fn adopt(&mut self) -> bool {
        for _ in 0..ARRIVALS_MAX {
            let is_full = self.links.len() >= self.connections_max;
            let is_turn = self.has_served && self.desk.mode != Mode::Retiring;
            if !self.has_arrivals || !is_turn || is_full && !self.make_room() {
                return false;
            }
            if !self.handover.has_descriptor() && !self.make_room() {
                // It waits for somebody who has one, or for the next sweep.
                self.has_arrivals = false;
                return false;
            }
            let generation = self.desk.term.generation;
            let (mut turn, input) = self.desk.turn();
            let (len, stream) = match self.handover.take(input) {
                Ok(arrival) => arrival,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.has_arrivals = false;
                    return false;
                }
                Err(_) => {
                    turn.row.add(Counter::Ended(Ending::Refused), 1);
                    continue;
                }
            };
            let Some(handed) = Handed::read(&input[..len]) else { continue };
            if handed.generation > generation {
                // This worker was asleep when its time was over: it goes on, or with those here.
                let given = self.handover.give(&input[..len], &stream);
                let conn = Conn::adopted(handed, &turn);
                if given != Given::Gone {
                    self.keep(Link::new(stream, conn), Progress::Blocked);
                }
                self.look();
                return false;
            }
            turn.row.add(Counter::Adopted, 1);
            let mut conn = Conn::adopted(handed, &turn);
            if !turn.is_superseded() {
                conn.resume(&mut turn);
            }
            // If there is one generation more by now, it waits for that.
            let mut link = Link::new(stream, conn);
            let progress = link.pump(input, &mut turn);
            self.keep(link, progress);
        }
        true
    }

    /// Hands over what can be, once another generation serves.
    pub(super) fn hand_over(&mut self) {
        if self.desk.mode != Mode::Retiring || self.links.is_empty() {
            return;
        }
        match self.desk.way {
            Way::Open => {}
            Way::Full(_) => return,
            Way::Closed => return self.answer_what_is_kept(),
        }
        let now = self.desk.clock.now();
        let mut message = Vec::new();
        for key in self.links.keys_to_give(now) {
            let conn = self.links.link(key).conn();
            let Some(handed) = conn.handed(self.desk.term.generation, now) else { continue };
            handed.write(&mut message);
            match self.give(key, &message) {
                Given::Gone => self.links.remove(key),
                Given::Later => {
                    self.desk.way = Way::Full(0);
                    return;
                }
                Given::Never => self.answer_here(key),
            }
        }
    }

    /// Answers all that was read for another generation.
    pub(super) fn answer_what_is_kept(&mut self) {
        for key in self.links.keys_that_carry() {
            self.answer_here(key);
        }
    }

    /// Answers what a connection has brought, and what comes behind, although another generation
    /// serves.
    fn answer_here(&mut self, key: usize) {
        let (mut turn, input) = self.desk.turn();
        turn.term = None;
        self.links.resume(key, input, &mut turn);
    }

    /// Hands a connection over. It is not watched then any more, or watched anew.
    fn give(&mut self, key: usize, message: &[u8]) -> Given {
        let link = self.links.link(key);
        if self.poll.registry().deregister(link.stream()).is_err() {
            return Given::Never;
        }
        let given = self.handover.give(message, link.stream());
        if given != Given::Gone && link.watch(self.poll.registry(), Token(LINKS + key)).is_err() {
            // Nobody would hear of it any more.
            return Given::Gone;
        }
        given
    }
}
