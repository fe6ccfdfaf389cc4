//! Publication, adoption, pins and reclamation in any order of steps, and with mistakes made on
//! purpose, each of which must be found.

use std::collections::HashSet;

use fastrand::Rng;
use tine::scoreboard::Scoreboard;

use crate::arena::{FILES, FIRST_SLOT, Move, Mutant, PINS, World};
use crate::{ROUNDS, for_each_seed, rounds};

const READERS: usize = 3;
/// Most moves of a history.
const MOVES_MAX: usize = 400;
/// Rounds within which a mutant must be found.
const MUTANT_ROUNDS: u64 = 2_000;

const MUTANTS: [Mutant; 6] = [
    Mutant::ReleaseBeforePublish,
    Mutant::ReuseWithoutPunch,
    Mutant::IgnorePins,
    Mutant::GenerationAfterLoad,
    Mutant::NoSecondLoad,
    Mutant::RestartWithoutWaiting,
];

fn board(readers: usize) -> Scoreboard<'static> {
    Scoreboard::leaked(FIRST_SLOT + readers, PINS)
}

/// A history of moves, in which some processes are now and then left out for a while.
fn play(rng: &mut Rng, board: Scoreboard<'static>, mutant: Option<Mutant>) -> Result<(), String> {
    let all = 1 << FILES;
    let changes: Vec<u8> = (0..rng.usize(1..12)).map(|_| rng.u8(1..all)).collect();
    let changes: Vec<u8> = [&[all - 1], &changes[..]].concat();
    let mut world = World::new(board, READERS, rng.u8(1..20), &changes);
    world.mutant = mutant;
    world.compiler_kills = rng.u8(0..4);
    for worker in &mut world.workers {
        worker.kills = rng.u8(0..3);
    }
    let mut history = Vec::new();
    let mut stopped = READERS;
    for _ in 0..MOVES_MAX {
        if rng.u8(0..16) == 0 {
            // One of the readers is stopped, or none.
            stopped = rng.usize(0..=2 * READERS);
        }
        let mut moves = world.moves();
        moves.retain(|next| worker_of(*next) != Some(stopped));
        let is_rare = |next: &Move| matches!(next, Move::Kill(_) | Move::KillCompiler);
        if rng.u8(0..8) != 0 {
            moves.retain(|next| !is_rare(next));
        }
        let Some(next) = rng.choice(moves) else { continue };
        history.push(next);
        world.make(next).map_err(|error| format!("{error}: {history:?}"))?;
    }
    settle(&mut world).map_err(|error| format!("{error} at the end: {history:?}"))
}

fn worker_of(next: Move) -> Option<usize> {
    match next {
        Move::Compiler | Move::KillCompiler => None,
        Move::Kill(number)
        | Move::Restart(number)
        | Move::Load(number)
        | Move::Announce(number)
        | Move::LoadAgain(number)
        | Move::Decide(number, _)
        | Move::Pin(number)
        | Move::GoOffline(number)
        | Move::Finish(number, _) => Some(number),
    }
}

/// Nothing dies any more, requests end, and all is sent.
fn settle(world: &mut World) -> Result<(), &'static str> {
    world.compiler_kills = 0;
    for worker in &mut world.workers {
        (worker.kills, worker.requests) = (0, worker.requests.min(1));
    }
    for _ in 0..2_000 {
        if world.is_over() && world.moves().is_empty() {
            return world.check_released();
        }
        for next in world.moves() {
            // The moves of another process may have made it impossible.
            if world.moves().contains(&next) {
                world.make(next)?;
            }
        }
    }
    Err("it never comes to rest")
}

#[test]
fn reader_never_sees_poison_nor_another_generations_bytes_on_any_seed() {
    let board = board(READERS);
    for_each_seed(|rng| {
        if let Err(error) = play(rng, board, None) {
            panic!("{error}");
        }
    });
}

#[test]
fn every_mutant_is_found_on_some_seed() {
    let board = board(READERS);
    for mutant in MUTANTS {
        let found = (0..MUTANT_ROUNDS)
            .find(|&seed| play(&mut Rng::with_seed(seed), board, Some(mutant)).is_err());
        assert!(found.is_some(), "{mutant:?} was not found");
    }
}

/// Visits every order of moves; the error says what went wrong in one of them.
fn explore(first: World) -> Result<usize, String> {
    let mut seen = HashSet::new();
    let mut path = Vec::new();
    seen.insert(first.key());
    let moves = first.moves();
    let mut stack = vec![(first, moves)];
    while let Some((world, moves)) = stack.last_mut() {
        let Some(next) = moves.pop() else {
            stack.pop();
            path.pop();
            continue;
        };
        let mut world = world.clone();
        path.push(next);
        let mut outcome = world.make(next);
        let moves = world.moves();
        if outcome.is_ok() && moves.is_empty() {
            outcome = world.check_released();
        }
        outcome.map_err(|error| format!("{error}: {path:?}"))?;
        if seen.insert(world.key()) {
            stack.push((world, moves));
        } else {
            path.pop();
        }
    }
    Ok(seen.len())
}

/// Two readers and three generations. Each process may be killed as often as its bit says.
fn small_world(board: Scoreboard<'static>, requests: u8, kills: u8) -> World {
    let mut world = World::new(board, 2, requests, &[7, 2, 5]);
    world.requested = 2;
    world.compiler_kills = kills & 1;
    for (number, worker) in world.workers.iter_mut().enumerate() {
        worker.kills = kills >> (number + 1) & 1;
    }
    world
}

#[test]
fn reader_never_sees_poison_nor_another_generations_bytes_in_any_order_of_steps() {
    let board = board(2);
    // With a crash of each process it takes minutes: that is for longer runs.
    let all: &[u8] = &[0b000, 0b010, 0b001, 0b110, 0b011, 0b111];
    let is_long = rounds() > ROUNDS;
    let worlds = all[..if is_long { 6 } else { 2 }].iter().map(|&kills| (1, kills));
    for (requests, kills) in worlds.chain(is_long.then_some((2, 0))) {
        match explore(small_world(board, requests, kills)) {
            Ok(states) => assert!(states > 10_000, "only {states} states"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn every_mutant_is_found_in_some_order_of_steps() {
    let board = board(2);
    for mutant in MUTANTS {
        let found = [0b000, 0b001].into_iter().find_map(|kills| {
            let mut world = small_world(board, 1, kills);
            world.mutant = Some(mutant);
            explore(world).err()
        });
        assert!(found.is_some(), "{mutant:?} was not found");
    }
}
