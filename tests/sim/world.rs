//! A kernel with processes in it, as far as supervision cares: parents with real supervisors, a
//! real board, and children that die, hang, cannot be forked and cannot be killed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tine::board::{Board, Counter, Row};
use tine::supervisor::{Action, Event, Supervisor};

pub const MASTER: i32 = 1;
pub const WORKERS: usize = 3;
pub const WATCHDOG: Duration = Duration::from_secs(3);
const TURN: Duration = Duration::from_secs(1);

/// A process but the master.
struct Process<'w> {
    parent: i32,
    /// The row that was claimed for it, and by whom.
    row: Row<'w>,
    claimer: i32,
    has_taken: bool,
    health: Health,
    /// Its children, if it is a publisher.
    crew: Option<Crew<'w>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Well,
    Hung,
    /// Killed, and not dead before the disk lets it.
    Stuck,
    /// Dead, and not reaped yet.
    Zombie,
}

struct Crew<'w> {
    supervisor: Supervisor,
    /// The rows that were given to children, until these are reaped.
    given: BTreeMap<i32, Row<'w>>,
}

impl Crew<'_> {
    fn new(posts: usize, now: Instant) -> Self {
        Self { supervisor: Supervisor::new(posts, WATCHDOG, now), given: BTreeMap::new() }
    }
}

pub struct World<'w, 'r> {
    pub board: Board<'w>,
    rng: &'r mut Rng,
    processes: BTreeMap<i32, Process<'w>>,
    master: Crew<'w>,
    pub has_ended: bool,
    /// What everybody was told.
    told: Vec<Event>,
    pub now: Instant,
    next_pid: i32,
    answered: u64,
    /// Whether forks fail for now.
    pub is_short: bool,
    /// Whether nothing goes wrong by chance any more.
    pub is_calm: bool,
}

impl<'w, 'r> World<'w, 'r> {
    pub fn new(board: Board<'w>, rng: &'r mut Rng) -> Self {
        let now = Instant::now();
        Self {
            board,
            rng,
            processes: BTreeMap::new(),
            master: Crew::new(1, now),
            has_ended: false,
            told: Vec::new(),
            now,
            next_pid: MASTER + 1,
            answered: 0,
            is_short: false,
            is_calm: false,
        }
    }

    /// Whether something goes wrong just here, in one of `odds` cases.
    fn mishap(&mut self, odds: u8) -> bool {
        !self.is_calm && self.rng.u8(0..odds) == 0
    }

    fn crew(&mut self, parent: i32) -> &mut Crew<'w> {
        match parent {
            MASTER => &mut self.master,
            _ => self.processes.get_mut(&parent).unwrap().crew.as_mut().unwrap(),
        }
    }

    /// Those that can act as parents now.
    pub fn parents(&self) -> Vec<i32> {
        let is_parent = |process: &Process<'_>| process.is_at_work() && process.crew.is_some();
        let publishers = self.processes.iter().filter(|(_, process)| is_parent(process));
        [MASTER].into_iter().chain(publishers.map(|(&pid, _)| pid)).collect()
    }

    pub fn pids(&self) -> Vec<i32> {
        self.processes.keys().copied().collect()
    }

    /// One parent does one thing that is due; false if there is nothing to do.
    pub fn act(&mut self) -> bool {
        let mut parents = self.parents();
        self.rng.shuffle(&mut parents);
        for parent in parents {
            let now = self.now;
            match self.crew(parent).supervisor.poll_action(now) {
                None => continue,
                Some(Action::Start { post }) => self.start(parent, post),
                Some(Action::Kill { pid }) => self.kill(pid),
                Some(Action::End) if parent == MASTER => self.has_ended = true,
                Some(Action::End) => self.die(parent),
            }
            return !self.has_ended;
        }
        false
    }

    /// Claims, forks and takes note; the parent may die after each of these steps.
    fn start(&mut self, parent: i32, post: usize) {
        let now = self.now;
        let claimed = self.board.claim(parent);
        if parent != MASTER && self.mishap(40) {
            return self.die(parent);
        }
        let Some(row) = claimed.filter(|_| !self.is_short) else {
            claimed.inspect(|row| row.unclaim(parent));
            return self.crew(parent).supervisor.handle(Event::NotStarted { post }, now);
        };
        let pid = self.next_pid;
        self.next_pid += 1;
        let crew = (parent == MASTER).then(|| {
            let mut crew = Crew::new(WORKERS, now);
            // What everybody was told before is told to the newborn too.
            self.told.iter().for_each(|&event| crew.supervisor.handle(event, now));
            crew
        });
        let (has_taken, health) = (false, Health::Well);
        let process = Process { parent, row, claimer: parent, has_taken, health, crew };
        self.processes.insert(pid, process);
        if parent != MASTER && self.mishap(40) {
            return self.die(parent);
        }
        let crew = self.crew(parent);
        crew.given.insert(pid, row);
        crew.supervisor.handle(Event::Started { post, pid }, now);
    }

    /// A child that was forked takes its row, or finds it gone.
    pub fn take(&mut self, pid: i32) {
        let process = self.processes.get_mut(&pid).unwrap();
        if process.health != Health::Well || process.has_taken {
            return;
        }
        process.has_taken = process.row.take(process.claimer, pid);
        if process.has_taken {
            process.row.set_ready();
        } else {
            self.die(pid);
        }
    }

    fn kill(&mut self, pid: i32) {
        let is_stuck = self.mishap(8);
        match self.processes.get_mut(&pid) {
            None => panic!("{pid} is reaped: its number may be another's by now"),
            Some(process) if is_stuck => process.health = Health::Stuck,
            Some(_) => self.die(pid),
        }
    }

    /// The kernel's part of a death: a zombie, and its children are the master's.
    pub fn die(&mut self, pid: i32) {
        self.processes.get_mut(&pid).unwrap().health = Health::Zombie;
        for orphan in self.processes.values_mut().filter(|process| process.parent == pid) {
            orphan.parent = MASTER;
        }
    }

    /// Somebody hangs; a publisher that has not begun yet may be reading, and is not watched.
    pub fn hang(&mut self, pid: i32) {
        let process = self.processes.get_mut(&pid).unwrap();
        let is_watched = process.has_taken || process.crew.is_none();
        if process.health == Health::Well && is_watched {
            process.health = Health::Hung;
        }
    }

    /// A parent reaps its dead; it may die itself between clearing the board and reaping.
    pub fn reap(&mut self, parent: i32) {
        let now = self.now;
        let children = |process: &&Process<'_>| process.parent == parent;
        while let Some(pid) = self.zombie_of(parent) {
            let was_ready = self.processes[&pid].row.is_ready();
            self.board.bury(pid);
            let crew = self.crew(parent);
            if let Some(row) = crew.given.remove(&pid) {
                row.unclaim(parent);
            }
            crew.supervisor.handle(Event::Died { pid, was_ready }, now);
            if parent != MASTER && self.mishap(40) {
                return self.die(parent);
            }
            self.processes.remove(&pid).expect("it is reaped once");
        }
        if self.processes.values().filter(children).count() == 0 {
            self.crew(parent).supervisor.handle(Event::Alone, now);
        }
    }

    fn zombie_of(&self, parent: i32) -> Option<i32> {
        let is_one =
            |process: &Process<'_>| process.parent == parent && process.health == Health::Zombie;
        self.processes.iter().find(|(_, process)| is_one(process)).map(|(&pid, _)| pid)
    }

    /// A second goes by for everybody who can use it.
    pub fn turn(&mut self) {
        self.now += TURN;
        for process in self.processes.values().filter(|process| process.is_at_work()) {
            process.row.beat();
            process.row.add(Counter::Answered, 1);
            self.answered += 1;
        }
        let now = self.now;
        for parent in self.parents() {
            let crew = self.crew(parent);
            for (&pid, row) in &crew.given {
                if parent != MASTER || row.is_ready() {
                    let count = row.beats();
                    crew.supervisor.handle(Event::Beat { pid, count }, now);
                }
            }
        }
        for row in self.board.rows() {
            let Some(pid) = row.holder() else { continue };
            let is_own = self.processes.get(&pid).is_some_and(|other| other.parent == MASTER);
            if is_own && !self.master.given.contains_key(&pid) {
                self.master.supervisor.handle(Event::Beat { pid, count: row.beats() }, now);
            }
        }
    }

    /// Everybody is asked to leave.
    pub fn stop(&mut self, time: Duration) {
        self.tell(Event::Stop { deadline: self.now + time });
    }

    /// There is no work any more.
    pub fn shut(&mut self) {
        self.tell(Event::Shut);
    }

    fn tell(&mut self, event: Event) {
        let now = self.now;
        self.told.push(event);
        self.master.supervisor.handle(event, now);
        let crews = self.processes.values_mut().filter_map(|process| process.crew.as_mut());
        crews.for_each(|crew| crew.supervisor.handle(event, now));
    }

    /// What must hold at any time.
    pub fn check(&self) {
        let mut owned = Vec::new();
        for (&pid, process) in self.processes.iter().filter(|(_, process)| process.has_taken) {
            if process.health == Health::Zombie {
                continue;
            }
            assert_eq!(process.row.holder(), Some(pid), "{pid} has lost its row");
            owned.push(self.board.rows().position(|row| row.holder() == Some(pid)));
        }
        let owners = owned.len();
        owned.sort_unstable();
        owned.dedup();
        assert_eq!(owned.len(), owners, "a row has two owners");
        assert_eq!(self.board.total(Counter::Answered), self.answered, "a count was lost");
    }

    /// What must hold once the worst is over: whoever hung was replaced, and nothing is left over.
    pub fn check_settled(&self) {
        let publishers: Vec<_> =
            self.processes.iter().filter(|(_, process)| process.crew.is_some()).collect();
        let [(&publisher, _)] = publishers[..] else {
            panic!("{} publishers", publishers.len());
        };
        let workers = self.processes.values().filter(|process| process.parent == publisher);
        assert_eq!(workers.count(), WORKERS);
        assert_eq!(self.processes.len(), 1 + WORKERS, "somebody is left over");
        assert!(self.processes.values().all(Process::is_at_work));
        let free = std::iter::from_fn(|| self.board.claim(MASTER)).count();
        assert_eq!(free + self.processes.len(), self.board.rows().count(), "a row has leaked");
        self.board.bury(MASTER);
    }

    /// From now on nothing goes wrong, disks answer, and orphans leave.
    pub fn calm_down(&mut self) {
        (self.is_calm, self.is_short) = (true, false);
        for pid in self.pids() {
            let process = &self.processes[&pid];
            let is_orphan = process.parent == MASTER && process.crew.is_none();
            if is_orphan || process.health == Health::Stuck {
                self.die(pid);
            }
        }
    }
}

impl Process<'_> {
    /// Whether it has begun its work and does it.
    fn is_at_work(&self) -> bool {
        self.health == Health::Well && self.has_taken
    }
}
