//! How the office passes from process to process, through every order of deaths: the steps of the
//! successor, the kernel's part (a bound child dies with its parent, orphans go to the master) and
//! the master's rule, which is the line.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use fastrand::Rng;
use tine::board::Board;

use crate::for_each_seed;

const MASTER: i32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Reads, and dies with its parent.
    Bound,
    /// Takes office, whoever dies: the board does not say so yet.
    Free,
    /// Leads, as far as it knows.
    Leads,
}

#[derive(Debug)]
struct Process {
    parent: i32,
    state: State,
    generation: u64,
}

struct World<'w> {
    board: Board<'w>,
    /// Those alive that may lead, or may come to: who holds the line.
    processes: BTreeMap<i32, Process>,
    next_pid: i32,
    /// How often somebody who led has taken over from nobody.
    fresh: u64,
}

impl<'w> World<'w> {
    /// The master: only when nobody holds the line it forks another first leader.
    fn heed_line(&mut self) {
        if self.processes.is_empty() {
            let pid = self.born(MASTER, State::Leads, 0);
            self.board.lead(pid);
            self.fresh += 1;
        }
    }

    fn born(&mut self, parent: i32, state: State, generation: u64) -> i32 {
        self.next_pid += 1;
        self.processes.insert(self.next_pid, Process { parent, state, generation });
        self.next_pid
    }

    /// The kernel's part of a death.
    fn die(&mut self, pid: i32) {
        self.processes.remove(&pid);
        let bound: Vec<_> = self
            .processes
            .iter()
            .filter(|(_, child)| child.parent == pid && child.state == State::Bound)
            .map(|(&child, _)| child)
            .collect();
        bound.into_iter().for_each(|child| self.die(child));
        let orphans = self.processes.values_mut().filter(|child| child.parent == pid);
        orphans.for_each(|child| child.parent = MASTER);
    }

    /// A process does the next thing that it does.
    fn step(&mut self, pid: i32) {
        let leader = self.board.leader();
        let has_successor = self.processes.values().any(|child| child.parent == pid);
        let process = self.processes.get_mut(&pid).unwrap();
        match process.state {
            State::Bound => process.state = State::Free,
            State::Free => {
                process.state = State::Leads;
                process.generation = self.board.next_generation();
                self.board.lead(pid);
                self.board.serve(process.generation);
            }
            // It looks at the board, and goes.
            State::Leads if leader != pid => self.die(pid),
            State::Leads if !has_successor => drop(self.born(pid, State::Bound, 0)),
            State::Leads => {}
        }
    }

    /// Whoever leads and is not superseded.
    fn leaders(&self) -> Vec<i32> {
        let leads = |(&pid, process): (&i32, &Process)| {
            (process.state == State::Leads && self.board.leader() == pid).then_some(pid)
        };
        self.processes.iter().filter_map(leads).collect()
    }

    fn check(&self) {
        assert!(self.leaders().len() <= 1, "two lead: {:?}", self.processes);
        let candidates = self.processes.values().filter(|process| process.state != State::Leads);
        assert!(candidates.count() <= 1, "two may come to lead: {:?}", self.processes);
        let latest = self.processes.values().map(|process| process.generation).max();
        assert!(latest.unwrap_or(0) <= self.board.serving(), "a generation serves unsaid");
    }
}

fn somebody(world: &World<'_>, rng: &mut Rng) -> Option<i32> {
    let pids: Vec<_> = world.processes.keys().copied().collect();
    rng.choice(&pids).copied()
}

#[test]
fn whoever_dies_and_when_one_leads_and_the_next_can() {
    for_each_seed(|rng| {
        let words: Vec<_> = (0..Board::words(1)).map(|_| AtomicU64::new(0)).collect();
        let board = Board::new(&words);
        let mut world = World { board, processes: BTreeMap::new(), next_pid: MASTER, fresh: 0 };
        for _ in 0..rng.usize(1..200) {
            match (rng.u8(0..8), somebody(&world, rng)) {
                (0, Some(victim)) => world.die(victim),
                (1, _) | (_, None) => world.heed_line(),
                (_, Some(pid)) => world.step(pid),
            }
            world.check();
        }
        // Nobody dies any more: within a few steps of each, one leads, and its successor follows.
        let (fresh, serving) = (world.fresh, board.serving());
        for _ in 0..5 {
            world.heed_line();
            for pid in world.processes.keys().copied().collect::<Vec<_>>() {
                if world.processes.contains_key(&pid) {
                    world.step(pid);
                }
            }
            world.check();
        }
        assert!(board.serving() > serving, "nobody has followed");
        assert!(world.fresh <= fresh + 1, "somebody was there who could lead");
    });
}
