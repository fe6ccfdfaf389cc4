//! Connections on virtual time and virtual sockets: bytes in pieces of any size, writes that fall
//! short anywhere, clocks that jump. Each history follows from a seed; a failure prints it, and
//! `SIM_SEED=… cargo test --test sim` plays it again. `SIM_ROUNDS` makes the runs longer.

mod arena;
mod arena_compiler;
mod arena_reader;
#[path = "../common/golden.rs"]
mod cases;
mod publication;
mod reload;
#[path = "../common/site.rs"]
mod site;
#[path = "../common/socket.rs"]
mod socket;
mod supervision;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use fastrand::Rng;
use tempfile::TempDir;
use tine::cli::{self, Command};
use tine::compile::{Job, Rules, SiteLimits};
use tine::http::limits::Limits;
use tine::site::Pass;

use cases::{Case, Page};
use site::CompiledSite;
use socket::{Sim, State};

/// Histories for each test, unless `SIM_ROUNDS` says otherwise.
const ROUNDS: u64 = 2_000;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

fn rounds() -> u64 {
    variable("SIM_ROUNDS").unwrap_or(ROUNDS)
}

/// Runs a test for many seeds, or for the one that is asked for.
fn for_each_seed(test: impl Fn(&mut Rng)) {
    let seeds: Range<u64> = variable("SIM_SEED").map_or(0..rounds(), |seed| seed..seed + 1);
    for seed in seeds {
        let run = AssertUnwindSafe(|| test(&mut Rng::with_seed(seed)));
        if let Err(panic) = catch_unwind(run) {
            eprintln!("play it again by SIM_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

/// A golden file: its cases, and what they are about.
struct Ground {
    site: CompiledSite,
    limits: Limits,
    cases: Vec<Case>,
}

/// The folder of the golden files, and each of these.
fn grounds() -> (TempDir, Vec<Ground>) {
    let folder = tempfile::tempdir().unwrap();
    cases::make_site(folder.path());
    let ground = |page: Page| {
        let args = page.args.iter().map(Into::into);
        let Ok(Command::Serve(config, _)) = cli::parse(args, []) else {
            panic!("{:?} has other arguments", page.path);
        };
        let (memory_file_max, gzip_max) = (config.memory_file_max, config.gzip_max);
        let limits = SiteLimits { memory_file_max, gzip_max, ..SiteLimits::default() };
        let (spa_fallback, extra, health) = (config.spa, config.extra, config.health);
        let rules = Rules { limits, spa_fallback, extra, health, ..Rules::default() };
        let job = Job { pass: Pass::Full, ..Job::first(&rules, 2_000_000_000) };
        let site = CompiledSite::new(folder.path(), &rules, &job);
        Ground { site, limits: config.limits, cases: page.cases }
    };
    let grounds = cases::pages().into_iter().map(ground).collect();
    (folder, grounds)
}

/// The same, with the cases after which a connection goes on.
fn keeping_grounds() -> (TempDir, Vec<Ground>) {
    let (folder, mut grounds) = grounds();
    for ground in &mut grounds {
        ground.cases.retain(keeps);
    }
    grounds.retain(|ground| !ground.cases.is_empty());
    assert!(grounds.iter().map(|ground| ground.cases.len()).sum::<usize>() > 20);
    (folder, grounds)
}

fn keeps(case: &Case) -> bool {
    let says = |needle: &[u8]| case.answer.windows(needle.len()).any(|window| window == needle);
    !says(b"\r\nConnection: close\r\n") && case.answer.starts_with(b"HTTP/1.1")
}

#[test]
fn the_answer_depends_on_the_bytes_and_not_on_how_they_come() {
    let (_folder, grounds) = grounds();
    for Ground { site, limits, cases } in &grounds {
        for case in cases {
            let mut bytewise = Sim::new(site, limits);
            for &byte in &case.request {
                bytewise.deliver(&[byte]);
                bytewise.run(&mut |_| 1);
            }
            bytewise.end_of_input();
            bytewise.run(&mut |_| 1);
            assert_eq!(bytewise.state(), State::Closed, "{}", case.name);
            assert_answer(&bytewise.sent, &case.answer, &case.name);
        }
    }
}

#[test]
fn the_same_in_any_pieces_with_any_short_writes() {
    let (_folder, grounds) = grounds();
    for_each_seed(|rng| {
        let Ground { site, limits, cases } = rng.choice(&grounds).unwrap();
        let case = rng.choice(cases).unwrap();
        let mut sim = Sim::new(site, limits);
        let mut rest = &case.request[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(rng.usize(1..=rest.len()));
            sim.deliver(piece);
            sim.run(&mut |most| rng.usize(1..=most));
            sim.pass(Duration::from_millis(rng.u64(0..10)));
            rest = later;
        }
        sim.end_of_input();
        sim.run(&mut |most| rng.usize(1..=most));
        assert_answer(&sim.sent, &case.answer, &case.name);
    });
}

#[test]
fn piles_of_requests_are_answered_each_and_in_order() {
    let (_folder, grounds) = keeping_grounds();
    for_each_seed(|rng| {
        let Ground { site, limits, cases } = rng.choice(&grounds).unwrap();
        let pile: Vec<_> = (0..rng.usize(1..20)).map(|_| rng.choice(cases).unwrap()).collect();
        let request: Vec<u8> = pile.iter().flat_map(|case| case.request.clone()).collect();
        let answer: Vec<u8> = pile.iter().flat_map(|case| case.answer.clone()).collect();
        let mut sim = Sim::new(site, limits);
        let mut rest = &request[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(rng.usize(1..=rest.len()));
            sim.deliver(piece);
            // Sometimes the socket takes only some of what is there for it.
            let mut steps = rng.usize(0..40);
            sim.run_while(&mut |most| {
                steps = steps.saturating_sub(1);
                if steps == 0 { 0 } else { rng.usize(1..=most) }
            });
            rest = later;
        }
        sim.run(&mut |most| rng.usize(1..=most));
        let names: Vec<_> = pile.iter().map(|case| &case.name).collect();
        assert_answer(&sim.sent, &answer, &format!("{names:?}"));
        assert_eq!(sim.state(), State::Reading);
    });
}

#[test]
fn whatever_comes_and_whenever_a_connection_ends() {
    let (_folder, grounds) = grounds();
    for_each_seed(|rng| {
        let Ground { site, limits, cases } = rng.choice(&grounds).unwrap();
        let longest = limits.idle_timeout.max(limits.write_timeout);
        let mut sim = Sim::new(site, limits);
        for _ in 0..rng.usize(1..30) {
            match rng.u8(0..10) {
                0..4 => sim.deliver(&rng.choice(cases).unwrap().request),
                4 => {
                    let request = &rng.choice(cases).unwrap().request;
                    sim.deliver(&request[..rng.usize(0..=request.len())]);
                }
                5 => sim.deliver(&[rng.u8(..)]),
                6 => sim.pass(Duration::from_millis(rng.u64(0..100_000))),
                7 if rng.u8(0..8) == 0 => sim.end_of_input(),
                8 if rng.u8(0..8) == 0 => sim.drain(),
                _ => {}
            }
            let mut steps = rng.usize(0..10);
            sim.run_while(&mut |most| {
                steps = steps.saturating_sub(1);
                if steps == 0 { 0 } else { rng.usize(1..=most) }
            });
        }
        // Left alone, it ends by its deadlines: an answer of 408, its sending, its lingering.
        for _ in 0..6 {
            sim.pass(longest);
            sim.run_while(&mut |_| 0);
        }
        assert_eq!(sim.state(), State::Closed);
        assert_whole_answers(&sim);
    });
}

#[test]
fn a_drain_answers_what_is_in_hand_and_ends() {
    let (_folder, grounds) = keeping_grounds();
    for_each_seed(|rng| {
        let Ground { site, limits, cases } = rng.choice(&grounds).unwrap();
        let case = rng.choice(cases).unwrap();
        let mut sim = Sim::new(site, limits);
        let cut = rng.usize(0..=case.request.len());
        sim.deliver(&case.request[..cut]);
        sim.run(&mut |most| rng.usize(1..=most));
        sim.drain();
        sim.deliver(&case.request[cut..]);
        sim.run(&mut |most| rng.usize(1..=most));
        assert!(sim.sent.starts_with(b"HTTP/1.1 "), "{}", case.name);
        sim.pass(Duration::from_millis(1100));
        sim.run(&mut |most| most);
        sim.pass(Duration::from_millis(100));
        assert_eq!(sim.state(), State::Closed, "{}", case.name);
    });
}

fn assert_answer(got: &[u8], wanted: &[u8], name: &str) {
    let got = cases::mask_dates(got);
    assert_eq!(got.escape_ascii().to_string(), wanted.escape_ascii().to_string(), "{name}");
}

/// What was sent is answers, one behind the other, but for the last one if it was cut.
fn assert_whole_answers(sim: &Sim<'_>) {
    let text = String::from_utf8_lossy(&sim.sent);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 ") || "HTTP/1.1 ".starts_with(&*text));
    // At most one answer says that it is the last one, and no other follows it.
    if let Some((_, behind)) = text.split_once("\r\nConnection: close\r\n") {
        assert!(!behind.contains("HTTP/1.1 "), "{text}");
    }
}
