//! The supervisor of the master's children through any history of deaths, hangs, forks that fail
//! and children that do not die.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tine::control::supervisor::{Action, COMPILER_SLOT, Event, MASTER_SLOT, Supervisor};
use tine::scoreboard::Role;

use crate::for_each_seed;

const WORKERS: usize = 3;
const ROLES: [Role; 3 + WORKERS] =
    [Role::Compiler, Role::Logger, Role::Admin, Role::Worker, Role::Worker, Role::Worker];
const SLOTS: usize = 2 * WORKERS + 4;
const WATCHDOG_TIMEOUT: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_secs(1);
/// The ticks of the watchdog, one for the kill, and the longest back-off, with some to spare.
const SETTLED_TICKS: usize = 3 + 1 + 5 + 2;
/// More than are ever done at one time.
const ACTIONS_MAX: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Running,
    /// Without heartbeats.
    Hung,
    WaitsForDisk,
    /// Killed, and in a call that no signal ends.
    Unkillable,
    /// Dead, and not reaped.
    Zombie,
}

struct Process {
    role: Role,
    slot: usize,
    health: Health,
    heartbeats: u64,
    is_ready: bool,
}

/// The kernel, and the master around its supervisor.
struct World {
    now: Instant,
    next_tick: Instant,
    supervisor: Supervisor,
    /// By their pids; what was reaped is gone.
    processes: BTreeMap<i32, Process>,
    next_pid: i32,
    /// Whether forks fail.
    lacks_processes: bool,
    /// Whether children that are killed may not die.
    has_bad_disk: bool,
    deadline: Option<Instant>,
    is_draining: bool,
    has_work: bool,
    has_ended_rest: bool,
    has_ended: bool,
    starts: usize,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            now,
            next_tick: now + TICK,
            supervisor: Supervisor::new(&ROLES, SLOTS, WATCHDOG_TIMEOUT, now),
            processes: BTreeMap::new(),
            next_pid: 2,
            lacks_processes: false,
            has_bad_disk: true,
            deadline: None,
            is_draining: false,
            has_work: true,
            has_ended_rest: false,
            has_ended: false,
            starts: 0,
        }
    }

    /// Does all that is due.
    fn act(&mut self, rng: &mut Rng) {
        for _ in 0..ACTIONS_MAX {
            if self.has_ended {
                return;
            }
            match self.supervisor.poll_action(self.now) {
                None => return self.check(),
                Some(Action::Start { place, slot }) => self.start(place, slot),
                Some(Action::Kill { pid }) => self.kill(pid, rng),
                Some(Action::EndRest) => self.end_rest(),
                Some(Action::End) => self.end(),
            }
            self.check();
        }
        panic!("the supervisor spins");
    }

    fn start(&mut self, place: usize, slot: usize) {
        assert!(!self.is_late(), "a child is started after the deadline");
        assert!(self.has_work, "a child is started that has no work");
        self.starts += 1;
        if self.lacks_processes {
            return self.supervisor.handle(Event::NotStarted { place }, self.now);
        }
        let (role, pid) = (self.supervisor.role(place), self.next_pid);
        assert!(!self.is_draining || role != Role::Compiler, "a compiler is started for nothing");
        self.next_pid += 1;
        let health = Health::Running;
        let process = Process { role, slot, health, heartbeats: 0, is_ready: false };
        self.processes.insert(pid, process);
        self.supervisor.handle(Event::Started { place, pid }, self.now);
    }

    fn kill(&mut self, pid: i32, rng: &mut Rng) {
        let process = self.processes.get_mut(&pid);
        let process = process.expect("the pid is reaped: it may be another process's by now");
        let is_asked = self.deadline.is_some_and(|deadline| self.now >= deadline)
            || self.is_draining && process.role == Role::Compiler;
        let is_well = process.health == Health::Running && !is_asked;
        assert!(!is_well, "a child with heartbeats is killed");
        if process.health != Health::Zombie {
            let is_unkillable = self.has_bad_disk && rng.u8(0..4) == 0;
            process.health = if is_unkillable { Health::Unkillable } else { Health::Zombie };
        }
    }

    fn end_rest(&mut self) {
        assert!(!self.has_work && !self.has_ended_rest, "admin and logger are to end too early");
        assert!(self.living().all(|process| process.role != Role::Worker));
        self.has_ended_rest = true;
    }

    fn end(&mut self) {
        let is_alone = self.living().all(|process| process.role == Role::Compiler);
        let is_over = is_alone && !self.has_work;
        assert!(self.deadline.is_some() && (is_over || self.is_late()), "it ends too early");
        self.has_ended = true;
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| self.now >= deadline)
    }

    /// The processes that may still run.
    fn living(&self) -> impl Iterator<Item = &Process> {
        self.processes.values().filter(|process| process.health != Health::Zombie)
    }

    fn reap(&mut self) {
        let is_zombie = |process: &Process| process.health == Health::Zombie;
        while let Some((&pid, _)) = self.processes.iter().find(|(_, process)| is_zombie(process)) {
            let was_ready = self.processes.remove(&pid).is_some_and(|process| process.is_ready);
            self.supervisor.handle(Event::Died { pid, was_ready }, self.now);
        }
    }

    /// Lets time go by; true if a tick of the master is over.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.now < self.next_tick {
            return;
        }
        self.next_tick = self.now + TICK;
        for process in self.processes.values_mut().filter(|p| p.health == Health::Running) {
            process.heartbeats += 1;
            process.is_ready = true;
        }
        let children: Vec<_> = self.supervisor.children().map(|child| child.pid).collect();
        for pid in children {
            let process = &self.processes[&pid];
            let waits_for_disk = process.health == Health::WaitsForDisk;
            let count = process.heartbeats;
            self.supervisor.handle(Event::Heartbeat { pid, count, waits_for_disk }, self.now);
        }
    }

    /// What must hold at any time.
    fn check(&self) {
        let mut slots = BTreeSet::new();
        for (pid, process) in &self.processes {
            let is_own = (process.slot == COMPILER_SLOT) == (process.role == Role::Compiler);
            assert!(is_own && (MASTER_SLOT + 1..SLOTS).contains(&process.slot), "{pid}");
            assert!(slots.insert(process.slot), "slot {} has two children", process.slot);
            assert!(self.supervisor.child(*pid).is_some(), "child {pid} is forgotten");
        }
        assert_eq!(self.supervisor.children().count(), self.processes.len());
    }

    /// The roles of the children that run well.
    fn at_work(&self) -> Vec<&'static str> {
        let running = self.processes.values().filter(|p| p.health == Health::Running);
        let mut roles: Vec<_> = running.map(|process| process.role.name()).collect();
        roles.sort_unstable();
        roles
    }

    fn trouble(&mut self, rng: &mut Rng) {
        let pids: Vec<i32> = self.processes.keys().copied().collect();
        let process = rng.choice(pids).and_then(|pid| self.processes.get_mut(&pid));
        match (rng.u8(0..16), process) {
            (0..2, Some(process)) => process.health = Health::Zombie,
            (2..4, Some(process)) if process.health == Health::Running => {
                let waits = process.role == Role::Compiler && rng.bool();
                process.health = if waits { Health::WaitsForDisk } else { Health::Hung };
            }
            (4, _) => self.lacks_processes = rng.bool(),
            (5..7, _) => self.reap(),
            (7, _) => self.pass(Duration::from_millis(rng.u64(0..300))),
            (8..11, _) => self.pass(TICK),
            _ => self.act(rng),
        }
    }

    /// From now on disks answer and forks succeed.
    fn calm_down(&mut self) {
        (self.has_bad_disk, self.lacks_processes) = (false, false);
        for process in self.processes.values_mut() {
            match process.health {
                Health::Unkillable => process.health = Health::Zombie,
                Health::WaitsForDisk => process.health = Health::Running,
                Health::Running | Health::Hung | Health::Zombie => {}
            }
        }
    }

    fn begin_shutdown(&mut self, time: Duration) {
        self.deadline = Some(self.now + time);
        let deadline = self.now + time;
        self.supervisor.handle(Event::ShutDown { deadline }, self.now);
    }

    /// The next step of the shutdown.
    fn advance(&mut self) {
        if self.is_draining {
            self.has_work = false;
            self.supervisor.handle(Event::NoMoreWork, self.now);
        } else {
            self.is_draining = true;
            self.supervisor.handle(Event::Drain, self.now);
        }
    }
}

#[test]
fn dead_and_hung_children_are_replaced_and_no_slot_is_shared() {
    for_each_seed(|rng| {
        let mut world = World::new();
        for _ in 0..rng.usize(1..200) {
            world.trouble(rng);
            if rng.u8(0..3) == 0 {
                world.act(rng);
            }
        }
        world.calm_down();
        for _ in 0..SETTLED_TICKS {
            world.reap();
            world.act(rng);
            world.pass(TICK);
        }
        let mut roles = ROLES.map(Role::name);
        roles.sort_unstable();
        assert_eq!(world.at_work(), roles);
        assert_eq!(world.processes.len(), ROLES.len(), "a child is left over");
    });
}

#[test]
fn children_that_do_not_die_take_no_more_slots_than_there_are() {
    for_each_seed(|rng| {
        let mut world = World::new();
        for _ in 0..rng.usize(1..60) {
            world.act(rng);
            for process in world.processes.values_mut() {
                process.health = Health::Unkillable;
            }
            let starts = world.starts;
            world.pass(TICK);
            world.act(rng);
            assert!(world.starts - starts <= 2 * ROLES.len(), "starts without an end");
        }
        assert!(world.processes.len() < SLOTS);
    });
}

#[test]
fn shutdown_ends_by_its_deadline_at_any_time() {
    for_each_seed(|rng| {
        let mut world = World::new();
        for _ in 0..rng.usize(0..100) {
            world.trouble(rng);
        }
        let deadline = Duration::from_millis(rng.u64(0..10_000));
        world.begin_shutdown(deadline);
        let deadline = world.now + deadline;
        while !world.has_ended {
            for _ in 0..rng.usize(0..6) {
                world.trouble(rng);
            }
            if rng.u8(0..4) == 0 {
                world.advance();
            }
            // Some end when they are asked to.
            let is_asked = |process: &Process| match process.role {
                Role::Admin | Role::Logger => world.has_ended_rest,
                _ => world.is_draining,
            };
            let asked = world.processes.iter().filter(|(_, process)| is_asked(process));
            let asked: Vec<i32> = asked.map(|(&pid, _)| pid).collect();
            if let Some(pid) = rng.choice(asked) {
                world.processes.get_mut(&pid).unwrap().health = Health::Zombie;
            }
            world.reap();
            world.act(rng);
            assert!(world.has_ended || world.now < deadline, "it goes on after the deadline");
            let due = world.supervisor.poll_timeout();
            let due = due.unwrap_or_else(|| panic!("the deadline is not waited for"));
            assert!(world.has_ended || due <= deadline, "the deadline will be missed");
            let step = due.max(world.now).min(world.next_tick) - world.now;
            world.pass(if rng.bool() { step } else { step / 2 });
        }
    });
}

#[test]
fn shutdown_without_a_connection_ends_at_once() {
    let rng = &mut Rng::with_seed(0);
    let mut world = World::new();
    world.has_bad_disk = false;
    world.act(rng);
    world.begin_shutdown(Duration::from_secs(30));
    world.act(rng);
    world.advance();
    world.act(rng);
    world.advance();
    for role in [Role::Worker, Role::Admin, Role::Logger] {
        world.act(rng);
        assert_eq!(world.has_ended_rest, role != Role::Worker);
        for process in world.processes.values_mut().filter(|process| process.role == role) {
            process.health = Health::Zombie;
        }
        world.reap();
    }
    world.act(rng);
    assert!(world.has_ended);
}

#[test]
fn crash_loop_is_slowed_down_to_a_start_in_five_seconds() {
    let mut now = Instant::now();
    let end = now + Duration::from_secs(60);
    let mut supervisor = Supervisor::new(&[Role::Worker], 4, WATCHDOG_TIMEOUT, now);
    let mut starts = 0;
    while now < end {
        while let Some(action) = supervisor.poll_action(now) {
            let Action::Start { place, slot: 2 } = action else { panic!("{action:?}") };
            starts += 1;
            // As often as not the fork fails already.
            if starts % 2 == 0 {
                supervisor.handle(Event::NotStarted { place }, now);
            } else {
                supervisor.handle(Event::Started { place, pid: 100 + starts }, now);
                let (pid, was_ready) = (100 + starts, true);
                supervisor.handle(Event::Died { pid, was_ready }, now);
            }
        }
        let due = supervisor.poll_timeout().expect("it is never given up");
        assert!(due > now, "the supervisor spins");
        now = due;
    }
    assert!((10..=20).contains(&starts), "{starts} starts in a minute");
}
