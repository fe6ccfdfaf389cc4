//! What becomes of children that have died.

use std::time::Instant;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::board::{Cause, Counter, Role};
use crate::supervisor::Event;
use crate::sys::wait::{self, Dead, End};

use super::{Child, Crew};

/// A child's end.
pub(in crate::process) struct Death {
    pub(in crate::process) pid: Pid,
    /// What it was; none for an orphan.
    pub(in crate::process) role: Option<Role>,
    end: End,
    /// Whether it had come so far as to do its work.
    was_ready: bool,
    was_silent: bool,
}

impl Death {
    /// The code with which it ended by itself.
    pub(in crate::process) fn exit_code(&self) -> Option<i32> {
        match self.end {
            End::Exited(code) => Some(code),
            End::Killed(_) => None,
        }
    }

    /// Its cause in words.
    pub(in crate::process) fn cause(&self) -> String {
        match self.end {
            End::Exited(code) => format!("exit code {code}"),
            End::Killed(number) => match Signal::try_from(number) {
                Ok(signal) => signal.to_string(),
                Err(_) => format!("signal {number}"),
            },
        }
    }

    fn kind(&self) -> Cause {
        match self.end {
            _ if self.was_silent => Cause::Silence,
            End::Exited(_) => Cause::Exit,
            End::Killed(_) => Cause::Signal,
        }
    }
}

impl Crew {
    /// Reaps every child that is dead, adopted ones too. What it had on the board is cleared while
    /// its pid is still its own: a parent that dies in between leaves the rest to the master.
    pub(super) fn reap(&mut self, now: Instant) -> Vec<Death> {
        let mut deaths = Vec::new();
        loop {
            match wait::next_dead() {
                Ok(Some(dead)) => {
                    let child = self.take_out(dead.pid);
                    let death = self.death(dead, child.as_ref());
                    self.bury(dead.pid, child.as_ref());
                    if child.as_ref().is_some_and(|child| self.is_on_line(child)) {
                        self.departed = Some(death);
                    } else {
                        self.died(&death, now);
                        deaths.extend(child.is_some().then_some(death));
                    }
                    wait::reap(dead.pid);
                }
                Err(Errno::EINTR) => {}
                Ok(None) | Err(_) => return deaths,
            }
        }
    }

    fn death(&self, Dead { pid, end }: Dead, child: Option<&Child>) -> Death {
        let role = child.map(|child| match child.post {
            Some(post) => self.posts[post].role,
            None => Role::Successor,
        });
        Death {
            pid,
            role,
            end,
            was_ready: child.is_some_and(|child| child.row.is_ready()),
            was_silent: child.is_some_and(|child| child.was_silent),
        }
    }

    /// Counts a death that was not meant to be, and leaves the rest to the supervisor.
    pub(super) fn died(&mut self, death: &Death, now: Instant) {
        // A successor's exit codes are its words.
        let is_meant = death.role == Some(Role::Successor) && death.exit_code().is_some();
        if let Some(role) = death.role.filter(|_| !is_meant && !self.supervisor.is_ending()) {
            self.row.add(Counter::Died(role, death.kind()), 1);
        }
        let (pid, was_ready) = (death.pid.as_raw(), death.was_ready);
        self.supervisor.handle(Event::Died { pid, was_ready }, now);
    }

    /// Who that was, if this process had forked it.
    fn take_out(&mut self, dead: Pid) -> Option<Child> {
        let at = self.children.iter().position(|child| child.pid == dead);
        match at {
            Some(at) => Some(self.children.swap_remove(at)),
            None => self.aside.take_if(|aside| aside.pid == dead),
        }
    }

    /// Clears the board of a child that died.
    fn bury(&self, dead: Pid, child: Option<&Child>) {
        self.board.bury(dead.as_raw());
        if let Some(Child { row, .. }) = child {
            // It may have died before it took its row.
            row.unclaim(self.parent.as_raw());
        }
    }
}
