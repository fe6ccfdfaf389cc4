//! Supervisors and the board through any history of deaths, hangs and failing forks.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tine::board::Board;
use tine::supervisor::{Action, Event, Supervisor};

use crate::for_each_seed;
use crate::world::{MASTER, WATCHDOG, World};

/// Few enough to run out of.
const ROWS: usize = 16;

fn words() -> Vec<AtomicU64> {
    (0..Board::words(ROWS)).map(|_| AtomicU64::new(0)).collect()
}

/// Something happens, and mostly nothing good.
fn trouble(world: &mut World<'_, '_>, choice: u8, which: usize) {
    let pids = world.pids();
    let somebody = pids.get(which % pids.len().max(1)).copied();
    match (choice, somebody) {
        (0 | 1, Some(pid)) => world.die(pid),
        (2, Some(pid)) => world.hang(pid),
        (3..6, Some(pid)) => world.take(pid),
        (6, _) => world.turn(),
        (7, _) => world.now += Duration::from_millis(which as u64 % 3_000),
        (8, _) => world.is_short = which.is_multiple_of(2),
        (9 | 10, _) => {
            let parents = world.parents();
            world.reap(parents[which % parents.len()]);
        }
        _ => {
            world.act();
        }
    }
}

/// A second in which everybody does what is due.
fn go_on(world: &mut World<'_, '_>) {
    while world.act() {}
    world.pids().into_iter().for_each(|pid| world.take(pid));
    while world.act() {}
    for parent in world.parents() {
        world.reap(parent);
    }
    world.turn();
    world.check();
}

#[test]
fn whoever_dies_or_hangs_is_replaced_and_no_row_is_lost_or_shared() {
    for_each_seed(|rng| {
        let words = words();
        let mut dice = rng.fork();
        let mut world = World::new(Board::new(&words), rng);
        for _ in 0..dice.usize(1..200) {
            trouble(&mut world, dice.u8(0..16), dice.usize(0..3_000));
            world.check();
        }
        // Longer than the watchdog and the longest wait before a start, twice over: a publisher
        // may have to go before its workers can.
        for _ in 0..40 {
            world.calm_down();
            go_on(&mut world);
        }
        world.check_settled();
    });
}

#[test]
fn a_drain_always_ends() {
    for_each_seed(|rng| {
        let words = words();
        let mut dice = rng.fork();
        let mut world = World::new(Board::new(&words), rng);
        for _ in 0..dice.usize(0..100) {
            trouble(&mut world, dice.u8(0..16), dice.usize(0..3_000));
        }
        let time = Duration::from_secs(5);
        let deadline = world.now + time + Duration::from_secs(2);
        world.stop(time);
        while !world.has_ended {
            assert!(world.now <= deadline, "it goes on for ever");
            if dice.u8(0..4) == 0 {
                world.shut();
            }
            // Some leave when asked, and some do not.
            if let Some(&pid) = dice.choice(&world.pids()) {
                world.die(pid);
            }
            go_on(&mut world);
        }
    });
}

#[test]
fn a_crash_loop_never_spins() {
    let mut now = Instant::now();
    let end = now + Duration::from_secs(60);
    let mut supervisor = Supervisor::new(1, WATCHDOG, now);
    let mut starts = 0;
    while now < end {
        while let Some(action) = supervisor.poll_action(now) {
            let Action::Start { post } = action else { panic!("{action:?}") };
            starts += 1;
            // As often as not the fork fails already.
            if starts % 2 == 0 {
                supervisor.handle(Event::NotStarted { post }, now);
            } else {
                supervisor.handle(Event::Started { post, pid: MASTER + starts }, now);
                let (pid, was_ready) = (MASTER + starts, true);
                supervisor.handle(Event::Died { pid, was_ready }, now);
            }
        }
        now = supervisor.poll_timeout().expect("it is never given up");
    }
    assert!((10..=20).contains(&starts), "{starts} starts in a minute");
}
