//! The master's children: started, watched, killed and reaped as its [`Supervisor`] decides.

use std::rc::Rc;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{ForkResult, Pid};

use crate::config::Config;
use crate::control::supervisor::{Action, COMPILER_SLOT, Event, MASTER_SLOT, Supervisor};
use crate::failure::Failure;
use crate::scoreboard::{Cause, Counter, Role, Scoreboard, Slot};
use crate::sys::fork::fork;
use crate::sys::signals;
use crate::sys::wait::{self, End, is_own_child};

use super::clock::{Came, Turns};
use super::failed;
use super::log::Log;

/// Ticks for which the compiler may wait for a disk before that is said.
const DISK_PATIENCE: u32 = 10;
/// Ticks after `--old-response-timeout` after which a reader that still blocks the next image is
/// killed.
const CUT_PATIENCE: u32 = 10;

/// The children of the master.
pub(super) struct Children {
    supervisor: Supervisor,
    board: Scoreboard<'static>,
    /// The master's own.
    slot: Slot<'static>,
    log: Rc<Log>,
    turns: Turns,
    /// Whether the last start failed, which is said once.
    is_short: bool,
    /// Whether a compiler was started that was not rung yet.
    has_new_compiler: bool,
    /// Ticks since the compiler waits for a disk.
    disk_ticks: u32,
    /// Ticks since the next image waits for readers, and after which they have to let go.
    blocked_ticks: u32,
    blocked_max: u32,
}

/// A child's end.
pub(super) struct Death {
    pub(super) pid: Pid,
    pub(super) role: Role,
    end: End,
}

/// Where acting has led to.
pub(super) enum Step {
    /// Nothing is to be done before this time, unless something happens.
    Wait(Instant),
    /// This process is a child that was just started, with this role and slot.
    Forked(Role, usize),
    /// Admin and logger are to end.
    EndRest,
    /// All children are gone, or had their time.
    End,
}

impl Children {
    /// No children yet, and a place for each of these roles.
    pub(super) fn new(
        roles: &[Role],
        config: &Config,
        board: Scoreboard<'static>,
        log: Rc<Log>,
        now: Instant,
    ) -> Self {
        let slots = board.layout().slots();
        let blocked_max = config.old_response_timeout.as_millis().div_ceil(1000);
        Self {
            supervisor: Supervisor::new(roles, slots, config.watchdog_timeout, now),
            board,
            slot: board.own_slot(MASTER_SLOT),
            log,
            turns: Turns::begin(now + Turns::TIME),
            is_short: false,
            has_new_compiler: false,
            disk_ticks: 0,
            blocked_ticks: 0,
            blocked_max: u32::try_from(blocked_max).unwrap_or(u32::MAX),
        }
    }

    /// Does all that is due.
    ///
    /// # Errors
    /// In a child that cannot begin.
    pub(super) fn act(&mut self, now: Instant) -> Result<Step, Failure> {
        while let Some(action) = self.supervisor.poll_action(now) {
            match action {
                Action::Start { place, slot } => {
                    if let Some(role) = self.start(place, slot, now)? {
                        return Ok(Step::Forked(role, slot));
                    }
                }
                Action::Kill { pid } => self.kill(Pid::from_raw(pid)),
                Action::EndRest => return Ok(Step::EndRest),
                Action::End => return Ok(Step::End),
            }
        }
        let timeout = self.supervisor.poll_timeout();
        let due = self.turns.due();
        Ok(Step::Wait(timeout.map_or(due, |timeout| timeout.min(due))))
    }

    /// Whether a compiler was started since the last call. It waits for a ring, which comes when
    /// all other children are there, so that what it announces is true.
    pub(super) fn take_new_compiler(&mut self) -> bool {
        std::mem::take(&mut self.has_new_compiler)
    }

    /// Forks a child for a place; its role, in the child.
    fn start(&mut self, place: usize, slot: usize, now: Instant) -> Result<Option<Role>, Failure> {
        let role = self.supervisor.role(place);
        match fork() {
            Ok(ForkResult::Parent { child }) => {
                self.is_short = false;
                self.board.control().set_holder(slot, role, child.as_raw());
                self.supervisor.handle(Event::Started { place, pid: child.as_raw() }, now);
                self.has_new_compiler |= role == Role::Compiler;
            }
            Ok(ForkResult::Child) => {
                signals::leave_to_master().map_err(failed("cannot set up a process"))?;
                return Ok(Some(role));
            }
            Err(errno) => {
                let reason = match errno {
                    Errno::EAGAIN => "a limit on processes is reached (pids.max, ulimit -u)",
                    _ => errno.desc(),
                };
                if !self.is_short {
                    let role = role.name();
                    self.log.say(&format!("cannot start a {role}: {reason}; trying again"));
                }
                self.is_short = true;
                self.supervisor.handle(Event::NotStarted { place }, now);
            }
        }
        Ok(None)
    }

    /// Looks after the children: reaps the dead and, once a second, reads heartbeats. Returns the
    /// deaths.
    pub(super) fn tend(&mut self, now: Instant) -> Vec<Death> {
        let deaths = self.reap(now);
        // In a late tick the children were paused too, and stored no heartbeat.
        if self.turns.next(now) == Some(Came::InTime) {
            self.read_heartbeats(now);
            self.watch_disk();
            self.watch_old_responses();
        }
        deaths
    }

    /// Reaps every child that is dead, adopted ones too: this may be PID 1.
    fn reap(&mut self, now: Instant) -> Vec<Death> {
        let mut deaths = Vec::new();
        loop {
            match wait::next_dead() {
                Ok(Some(dead)) => {
                    if let Some(&child) = self.supervisor.child(dead.pid.as_raw()) {
                        let slot = self.board.own_slot(child.slot);
                        let was_ready = slot.is_ready();
                        let death = Death { pid: dead.pid, role: child.role, end: dead.end };
                        if !self.supervisor.is_shutting_down() {
                            let cause = death.kind(child.is_killed());
                            self.slot.add(Counter::Died(child.role, cause), 1);
                        }
                        // While it is not reaped no other process can have its pid.
                        self.board.control().release_holder(child.slot);
                        wait::reap(dead.pid);
                        // Once it is, it reads nothing any more.
                        slot.release();
                        let pid = dead.pid.as_raw();
                        self.supervisor.handle(Event::Died { pid, was_ready }, now);
                        deaths.push(death);
                    } else {
                        wait::reap(dead.pid);
                    }
                }
                Err(Errno::EINTR) => {}
                Ok(None) | Err(_) => return deaths,
            }
        }
    }

    fn read_heartbeats(&mut self, now: Instant) {
        let children: Vec<_> = self.supervisor.children().copied().collect();
        for child in children.into_iter().filter(|child| child.role != Role::Logger) {
            let slot = self.board.slot(child.slot);
            let waits_for_disk = child.role == Role::Compiler && slot.waits_for_disk();
            let (pid, count) = (child.pid, slot.heartbeat());
            self.supervisor.handle(Event::Heartbeat { pid, count, waits_for_disk }, now);
        }
    }

    /// Says once that the directory takes long to be read.
    fn watch_disk(&mut self) {
        let waits = self.board.slot(COMPILER_SLOT).waits_for_disk();
        self.disk_ticks = if waits { self.disk_ticks + 1 } else { 0 };
        if self.disk_ticks == DISK_PATIENCE {
            self.log.say(&format!("still reading the directory, for more than {DISK_PATIENCE} s"));
        }
    }

    /// Raises `cut` if the next image has lacked memory for too long that readers use; a worker
    /// that goes on using it is killed.
    fn watch_old_responses(&mut self) {
        let blocked_below = self.board.compiler().blocked_below();
        self.blocked_ticks = if blocked_below > 0 { self.blocked_ticks + 1 } else { 0 };
        if self.blocked_ticks < self.blocked_max {
            return;
        }
        self.board.control().raise_cut(blocked_below);
        if self.blocked_ticks == self.blocked_max + CUT_PATIENCE {
            self.blocked_ticks = 0;
            for process in self.board.processes() {
                let generation = process.slot.generation();
                if process.role == Role::Worker && (1..blocked_below).contains(&generation) {
                    let pid = process.pid;
                    self.log.say(&format!(
                        "worker {pid}: still reads generation {generation}, whose memory is \
                         needed, sending SIGKILL"
                    ));
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
        }
    }

    /// Waits for all to end, until `deadline`.
    pub(super) fn shut_down(&mut self, deadline: Instant, now: Instant) {
        self.supervisor.handle(Event::ShutDown { deadline }, now);
    }

    /// Ends the compiler: no image is published any more.
    pub(super) fn drain(&mut self, now: Instant) {
        self.supervisor.handle(Event::Drain, now);
    }

    /// Says that the listeners have ended: workers that end are not replaced.
    pub(super) fn no_more_work(&mut self, now: Instant) {
        self.supervisor.handle(Event::NoMoreWork, now);
    }

    pub(super) fn is_shutting_down(&self) -> bool {
        self.supervisor.is_shutting_down()
    }

    /// Whether there is a child of this role.
    pub(super) fn has(&self, role: Role) -> bool {
        self.supervisor.children().any(|child| child.role == role)
    }

    /// Kills a child that is not reaped yet, and therefore keeps its pid to itself.
    fn kill(&self, child: Pid) {
        if !is_own_child(child) {
            return;
        }
        if !self.supervisor.is_shutting_down() {
            let role =
                self.supervisor.child(child.as_raw()).map_or("child", |child| child.role.name());
            self.log.say(&format!("{role} {child}: no heartbeat, sending SIGKILL"));
        }
        let _ = kill(child, Signal::SIGKILL);
    }
}

impl Death {
    /// The code with which it ended by itself.
    pub(super) fn exit_code(&self) -> Option<i32> {
        match self.end {
            End::Exited(code) => Some(code),
            End::Killed(_) => None,
        }
    }

    /// Its cause in words.
    pub(super) fn cause(&self) -> String {
        match self.end {
            End::Exited(code) => format!("exit code {code}"),
            End::Killed(number) => match Signal::try_from(number) {
                Ok(signal) => signal.to_string(),
                Err(_) => format!("signal {number}"),
            },
        }
    }

    fn kind(&self, was_killed: bool) -> Cause {
        match self.end {
            _ if was_killed => Cause::Silence,
            End::Exited(_) => Cause::Exit,
            End::Killed(_) => Cause::Signal,
        }
    }
}
