//! The table of the master's children: which are started, killed and waited for. It makes decisions
//! and no system calls: events and their times go in, actions come out.
//!
//! ```text
//!                Start                 Started                  Died
//! Vacant(until) ───────► Starting ───────────────► Child ──────────────────► Vacant(until)
//!       ▲                    │ NotStarted            │ heartbeats missed: Kill
//!       └────────────────────┘                       ▼
//!                          another may start ◄──── killed, and a tick later not dead
//! ```
//!
//! Each event is followed by [`Supervisor::poll_action`] until that returns nothing.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use super::backoff::Backoff;
use crate::scoreboard::Role;

/// The master's own slot.
pub const MASTER_SLOT: usize = 0;
/// The compiler's slot: there is never more than one compiler.
pub const COMPILER_SLOT: usize = 1;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A child was forked for a place.
    Started {
        /// Which one.
        place: usize,
        /// The child's.
        pid: i32,
    },
    /// None could be.
    NotStarted {
        /// For which one.
        place: usize,
    },
    /// A tick of the master is over, in which a child's heartbeat was read.
    Heartbeat {
        /// The child's.
        pid: i32,
        /// How many heartbeats the child has stored.
        count: u64,
        /// Whether it may be in a call that waits for a disk, and is not to be killed for that.
        waits_for_disk: bool,
    },
    /// A child is dead.
    Died {
        /// The child's.
        pid: i32,
        /// Whether it had come so far as to do its work.
        was_ready: bool,
    },
    /// A graceful shutdown has begun. There is work still: children that die are replaced.
    ShutDown {
        /// When all have to be gone.
        deadline: Instant,
    },
    /// No image is published any more: the compiler ends.
    Drain,
    /// The listeners have ended: workers that end are not replaced.
    NoMoreWork,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Fork a child for a place.
    Start {
        /// Which one.
        place: usize,
        /// The child's slot of the scoreboard.
        slot: usize,
    },
    /// Kill a child. It is not reaped yet, so that no other process can have its pid.
    Kill {
        /// The child's.
        pid: i32,
    },
    /// Tell admin and logger to end: all workers are gone.
    EndRest,
    /// End: all are gone, or had their time.
    End,
}

/// A child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its pid.
    pub pid: i32,
    /// What it does.
    pub role: Role,
    /// Its slot of the scoreboard.
    pub slot: usize,
    since: Instant,
    heartbeats: Option<u64>,
    /// Ticks since the last heartbeat.
    missed: u32,
    kill: KillState,
}

/// How far the end of a hung child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KillState {
    Alive,
    Due,
    Killed,
}

/// The children of the master, each in its place.
#[derive(Debug)]
pub struct Supervisor {
    places: Vec<Place>,
    /// Children that were killed and do not die, and whose place was given to others.
    stuck: Vec<Child>,
    slots: usize,
    /// Ticks without a heartbeat after which a child counts as hung.
    missed_max: u32,
    shutdown: Option<Shutdown>,
}

#[derive(Debug)]
struct Place {
    role: Role,
    state: State,
    backoff: Backoff,
}

#[derive(Debug)]
enum State {
    /// To be filled then.
    Vacant {
        until: Instant,
    },
    /// A start was asked for, in this slot.
    Starting {
        slot: usize,
    },
    Child(Child),
}

#[derive(Clone, Copy, Debug)]
struct Shutdown {
    deadline: Instant,
    is_draining: bool,
    has_work: bool,
    has_ended_rest: bool,
}

impl Supervisor {
    /// Places to be filled at once, with so many slots of the scoreboard. A child without a
    /// heartbeat for `watchdog_timeout` is killed; that time is counted in ticks of a second and
    /// not by a clock, since in a paused container neither heartbeats nor ticks go on.
    pub fn new(roles: &[Role], slots: usize, watchdog_timeout: Duration, now: Instant) -> Self {
        let place = |&role: &Role| {
            let state = State::Vacant { until: now };
            Place { role, state, backoff: Backoff::default() }
        };
        let missed_max = watchdog_timeout.as_millis().div_ceil(1000);
        Self {
            places: roles.iter().map(place).collect(),
            stuck: Vec::new(),
            slots,
            missed_max: u32::try_from(missed_max).unwrap_or(u32::MAX),
            shutdown: None,
        }
    }

    /// Whether a graceful shutdown has begun.
    pub fn is_shutting_down(&self) -> bool {
        self.shutdown.is_some()
    }

    /// What the child in a place does, or will do.
    pub fn role(&self, place: usize) -> Role {
        self.places[place].role
    }

    /// The children that are not known to be dead.
    pub fn children(&self) -> impl Iterator<Item = &Child> {
        let placed = self.places.iter().filter_map(Place::child);
        placed.chain(&self.stuck)
    }

    /// The child with this pid.
    pub fn child(&self, pid: i32) -> Option<&Child> {
        self.children().find(|child| child.pid == pid)
    }

    /// Takes note of what happened.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Started { place, pid } => {
                let place = &mut self.places[place];
                if let State::Starting { slot } = place.state {
                    place.state = State::Child(Child::new(pid, place.role, slot, now));
                }
            }
            Event::NotStarted { place } => self.places[place].vacate(Duration::ZERO, now),
            Event::Heartbeat { pid, count, waits_for_disk } => {
                self.on_heartbeat(pid, count, waits_for_disk, now);
            }
            Event::Died { pid, was_ready } => {
                self.stuck.retain(|child| child.pid != pid);
                let place = self.places.iter_mut().find(|place| place.pid() == Some(pid));
                if let Some(place) = place
                    && let State::Child(Child { since, .. }) = place.state
                {
                    // A start that took long and came to nothing was no good start.
                    let lived = now.saturating_duration_since(since);
                    place.vacate(if was_ready { lived } else { Duration::ZERO }, now);
                }
            }
            Event::ShutDown { deadline } => {
                self.shutdown.get_or_insert(Shutdown {
                    deadline,
                    is_draining: false,
                    has_work: true,
                    has_ended_rest: false,
                });
            }
            Event::Drain => {
                if let Some(shutdown) = &mut self.shutdown {
                    shutdown.is_draining = true;
                }
                self.kill_compiler();
            }
            Event::NoMoreWork => {
                if let Some(shutdown) = &mut self.shutdown {
                    shutdown.has_work = false;
                }
            }
        }
    }

    fn kill_compiler(&mut self) {
        let compilers = self.places.iter_mut().filter(|place| place.role == Role::Compiler);
        for place in compilers {
            if let State::Child(child) = &mut place.state
                && child.kill == KillState::Alive
            {
                child.kill = KillState::Due;
            }
        }
    }

    fn on_heartbeat(&mut self, pid: i32, count: u64, waits_for_disk: bool, now: Instant) {
        let missed_max = self.missed_max;
        let Some(place) = self.places.iter_mut().find(|place| place.pid() == Some(pid)) else {
            return;
        };
        let State::Child(child) = &mut place.state else { return };
        if child.kill == KillState::Killed {
            // It had a tick to die in, and waits for a disk. Another may begin in its place; but
            // there is only one compiler at a time, since it alone writes to the arena.
            if place.role != Role::Compiler {
                self.stuck.push(*child);
                place.vacate(Duration::MAX, now);
            }
        } else if child.heartbeats != Some(count) || waits_for_disk {
            (child.heartbeats, child.missed) = (Some(count), 0);
        } else {
            child.missed += 1;
            if child.missed >= missed_max {
                child.kill = KillState::Due;
            }
        }
    }

    /// What is to be done now; nothing once all is done.
    pub fn poll_action(&mut self, now: Instant) -> Option<Action> {
        if let Some(pid) = self.kill_one(KillState::Due) {
            return Some(Action::Kill { pid });
        }
        if let Some(start) = self.start_one(now) {
            return Some(start);
        }
        let is_at_work = |child: &Child| child.role != Role::Compiler;
        let has_workers = self.children().any(|child| child.role == Role::Worker);
        let is_alone = !self.children().any(is_at_work) && !self.is_starting();
        let shutdown = self.shutdown.as_mut()?;
        if !shutdown.has_work && !has_workers && !shutdown.has_ended_rest {
            shutdown.has_ended_rest = true;
            return Some(Action::EndRest);
        }
        if !shutdown.has_work && is_alone {
            return Some(Action::End);
        }
        if now < shutdown.deadline {
            return None;
        }
        // Those that were asked and have not ended are killed, one by one; then this ends too.
        let pid = self.kill_one(KillState::Alive);
        Some(pid.map_or(Action::End, |pid| Action::Kill { pid }))
    }

    fn is_starting(&self) -> bool {
        self.places.iter().any(|place| matches!(place.state, State::Starting { .. }))
    }

    fn start_one(&mut self, now: Instant) -> Option<Action> {
        let due = |place: &Place| place.due().is_some_and(|due| due <= now);
        let is_wanted = |role: Role| match self.shutdown {
            None => true,
            Some(shutdown) => {
                let is_late = !shutdown.has_work || now >= shutdown.deadline;
                let is_over = shutdown.is_draining && role == Role::Compiler;
                !(is_late || is_over)
            }
        };
        let place = self.places.iter().position(|place| due(place) && is_wanted(place.role))?;
        let Some(slot) = self.free_slot(self.places[place].role) else {
            self.places[place].vacate(Duration::ZERO, now);
            return None;
        };
        self.places[place].state = State::Starting { slot };
        Some(Action::Start { place, slot })
    }

    fn free_slot(&self, role: Role) -> Option<usize> {
        let is_free = |&slot: &usize| {
            let starting = self.places.iter().any(
                |place| matches!(place.state, State::Starting { slot: other } if other == slot),
            );
            !starting && !self.children().any(|child| child.slot == slot)
        };
        match role {
            Role::Compiler => Some(COMPILER_SLOT).filter(is_free),
            _ => (COMPILER_SLOT + 1..self.slots).find(is_free),
        }
    }

    /// Marks one of the children that are so far as killed.
    fn kill_one(&mut self, so_far: KillState) -> Option<i32> {
        let placed = self.places.iter_mut().filter_map(|place| match &mut place.state {
            State::Child(child) => Some(child),
            State::Vacant { .. } | State::Starting { .. } => None,
        });
        let child = placed.chain(&mut self.stuck).find(|child| child.kill == so_far)?;
        child.kill = KillState::Killed;
        Some(child.pid)
    }

    /// When there will be something to do, if nothing happens until then.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.places.iter().filter_map(Place::due).min();
        match self.shutdown {
            None => due,
            Some(shutdown) if !shutdown.has_work => Some(shutdown.deadline),
            Some(shutdown) if shutdown.is_draining => {
                let places = self.places.iter().filter(|place| place.role != Role::Compiler);
                places.filter_map(Place::due).chain([shutdown.deadline]).min()
            }
            Some(shutdown) => due.into_iter().chain([shutdown.deadline]).min(),
        }
    }
}

impl Child {
    fn new(pid: i32, role: Role, slot: usize, since: Instant) -> Self {
        Self { pid, role, slot, since, heartbeats: None, missed: 0, kill: KillState::Alive }
    }

    /// Whether it was, or is to be, killed.
    pub fn is_killed(&self) -> bool {
        self.kill != KillState::Alive
    }
}

impl Place {
    fn child(&self) -> Option<&Child> {
        match &self.state {
            State::Child(child) => Some(child),
            State::Vacant { .. } | State::Starting { .. } => None,
        }
    }

    fn pid(&self) -> Option<i32> {
        self.child().map(|child| child.pid)
    }

    /// When it is to be filled; none while a child is there.
    fn due(&self) -> Option<Instant> {
        match self.state {
            State::Vacant { until } => Some(until),
            State::Starting { .. } | State::Child(_) => None,
        }
    }

    fn vacate(&mut self, lived: Duration, now: Instant) {
        self.state = State::Vacant { until: now + self.backoff.after(lived) };
    }
}
