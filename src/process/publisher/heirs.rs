//! How a leader comes by its successor, and what becomes of one that does not take office.

use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::board::{Counter, Outcome};
use crate::failure::{Failure, Fault};
use crate::process::clock::since_1970;
use crate::process::crew::{Death, Forked, NO_DESCRIPTOR};
use crate::process::successor::end_of;
use crate::process::word::{Speaker, Word};
use crate::succession::{Action, End, Event};

use super::births::Inheritance;
use super::{Publisher, SUPERSEDED};

/// How long a successor may take before it is said what it waits for.
const LATE: Duration = Duration::from_secs(10);

/// A successor at work.
pub(super) struct Successor {
    pub(super) pid: Pid,
    /// Said when it has taken office, or is dead.
    superseded: Word,
    /// Before it began, in a time since 1970.
    began: Duration,
    /// How often a look was asked for before it began.
    reloads: u64,
    is_late: bool,
}

impl Publisher<'_> {
    /// Forks a successor if it is time; what it is to do, in that child.
    pub(super) fn see_to_succession(
        &mut self,
        now: Instant,
    ) -> Result<Option<Inheritance>, Failure> {
        let board = self.office.board;
        if board.reloads() != self.reloads {
            self.reloads = board.reloads();
            self.succession.handle(Event::Asked, now);
        }
        let doubts = board.total(Counter::Doubted);
        if doubts != self.doubts {
            self.doubts = doubts;
            self.succession.handle(Event::Changed, now);
        }
        self.say_if_late(now);
        let has_room = board.has_room(self.office.allowance.workers);
        let errand = match self.succession.poll_action(has_room, now) {
            None => return Ok(None),
            Some(Action::Cut) => {
                self.office.log.say(
                    "former generations leave too few processes for the next one; ending them",
                );
                board.cut(self.generation.saturating_sub(1));
                return Ok(None);
            }
            Some(Action::Start(errand)) => errand,
        };
        let Ok((say_superseded, superseded)) = self.make_superseded() else {
            self.not_started(NO_DESCRIPTOR, now);
            return Ok(None);
        };
        let began = since_1970();
        match self.workers.fork_aside()? {
            Forked::Child(row) => {
                return Ok(Some((row, errand, say_superseded)));
            }
            Forked::Parent(pid) => {
                self.is_short = false;
                let reloads = self.reloads;
                self.successor =
                    Some(Successor { pid, superseded, began, reloads, is_late: false });
                self.succession.handle(Event::Started, now);
            }
            Forked::Not(reason) => {
                superseded.forget(&self.poll);
                self.not_started(reason, now);
            }
        }
        Ok(None)
    }

    /// The word of the next successor's end, or of its having taken office.
    fn make_superseded(&self) -> Result<(Speaker, Word), Failure> {
        let (say_superseded, superseded) = Word::new()?;
        superseded.watch(&self.poll, SUPERSEDED)?;
        Ok((say_superseded, superseded))
    }

    fn not_started(&mut self, reason: &str, now: Instant) {
        if !self.is_short {
            self.office.log.say(&format!("cannot start a successor: {reason}; trying again"));
        }
        self.is_short = true;
        self.succession.handle(Event::NotStarted, now);
    }

    fn say_if_late(&mut self, now: Instant) {
        let is_late = self.succession.runs_for(now).is_some_and(|time| time > LATE);
        if let Some(successor) = self.successor.as_mut().filter(|other| is_late && !other.is_late) {
            successor.is_late = true;
            let root = self.office.config.root.display();
            self.office
                .log
                .say(&format!("still reading {root}, for more than {} s", LATE.as_secs()));
        }
    }

    /// Takes note of how a successor has ended that did not take office.
    pub(super) fn outlived(
        &mut self,
        successor: &Successor,
        death: &Death,
        now: Instant,
    ) -> Option<u8> {
        successor.superseded.forget(&self.poll);
        let is_mistake = death.exit_code() == Some(Fault::User as i32);
        if is_mistake && self.office.board.serving() == 0 {
            // It has said what is wrong; it would be so again.
            return Some(Fault::User as u8);
        }
        let end = end_of(death);
        match end {
            End::Unchanged => {
                self.site.is_as_of(successor.began);
                if self.succession.is_on_request() {
                    self.office
                        .log
                        .say(&format!("nothing new in {}", self.office.config.root.display()));
                }
            }
            End::Died if !self.workers.is_ending() && death.exit_code().is_none() => {
                self.office
                    .log
                    .say(&format!("a successor died ({}); starting another", death.cause()));
            }
            _ => {}
        }
        let outcome = match end {
            End::Unchanged => Some(Outcome::Unchanged),
            End::Refused => Some(Outcome::Refused),
            End::LostIndex => Some(Outcome::LostIndex),
            End::Unsettled | End::Died => None,
        };
        if let Some(outcome) = outcome {
            let is_news = outcome != self.office.board.outcome() && outcome.is_refusal();
            if is_news || self.succession.is_on_request() {
                self.log_look(outcome, 0);
            }
            self.office.board.settle(successor.reloads, outcome);
        }
        self.succession.handle(Event::Ended(end), now);
        None
    }
}
