//! Processes are killed at random under load, for as long as the budget lasts.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::budget;
use crate::harness::{
    Client, Folder, Over, Tine, Totals, children, children_named, get, pass, until,
};

const CLIENTS: usize = 8;
const WORKERS: usize = 3;

#[derive(Default)]
struct Load {
    is_over: AtomicBool,
    answers: AtomicU64,
    /// Requests that were sent, or begun to be, and not answered.
    lost: AtomicU64,
}

/// Asks on kept connections, and on new ones when those end.
fn ask(address: SocketAddr, load: &Load) {
    let is_over = || load.is_over.load(Ordering::Relaxed);
    while !is_over() {
        // Nobody is ever refused, whoever is dead just now.
        let mut client = Client::connect(address);
        let mut is_first = true;
        while !is_over() {
            let answered = client.try_send(get("/a.txt")) && client.try_answer(true).is_some();
            if !answered {
                load.lost.fetch_add(1, Ordering::Relaxed);
                break;
            }
            load.answers.fetch_add(1, Ordering::Relaxed);
            if !std::mem::take(&mut is_first) && fastrand::u8(..) == 0 {
                break;
            }
        }
    }
}

/// The descriptors of a process by what they are.
fn descriptors(pid: Pid) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let Ok(target) = fs::read_link(entry.unwrap().path()) else { continue };
        let target = target.to_string_lossy();
        let kind = target.split(':').next().unwrap().to_owned();
        *kinds.entry(kind).or_insert(0) += 1;
    }
    kinds
}

#[test]
fn random_kills_lose_what_was_in_hand_and_nothing_else() {
    let folder = Folder::new(&[("a.txt", &[b'a'; 2_000])]);
    let mut tine = Tine::serve(&folder, &["--workers", &WORKERS.to_string()]);
    let count = children(tine.master()).len();
    let before = (descriptors(tine.master()), tine.memory());
    let (address, load, rng) = (tine.address, Load::default(), &mut Rng::new());
    let seed = rng.u64(..);
    println!("seed {seed}");
    rng.seed(seed);
    let mut kills = 0;
    thread::scope(|scope| {
        let _over = Over(&load.is_over);
        for _ in 0..CLIENTS {
            scope.spawn(|| ask(address, &load));
        }
        let end = Instant::now() + budget(20);
        while Instant::now() < end {
            pass(Duration::from_millis(rng.u64(0..300)));
            let victims = match rng.u8(0..10) {
                0 => children_named(tine.master(), "tine-compiler"),
                1 => children(tine.master()),
                _ => rng.choice(&tine.workers()).copied().into_iter().collect(),
            };
            for pid in victims {
                kills += u64::from(kill(pid, Signal::SIGKILL).is_ok());
            }
        }
    });
    let (answers, lost) = (load.answers.into_inner(), load.lost.into_inner());
    println!("{lost} lost of {answers} requests, {kills} kills");
    assert!(lost <= kills * CLIENTS as u64, "{lost} lost by {kills} kills");

    // Nothing is left over: no process, no zombie, no descriptor.
    until("all workers are there", || (tine.workers().len() == WORKERS).then_some(()));
    until("all children are there", || (children(tine.master()).len() == count).then_some(()));
    until("the master has what it had", || (descriptors(tine.master()) == before.0).then_some(()));
    let after = (descriptors(tine.master()), tine.memory());
    println!("{} KiB before, {} KiB after", before.1, after.1);
    assert!(after.1 < before.1 * 2, "memory grows with every death");
    tine.signal(Signal::SIGTERM);
    assert_eq!(tine.wait().code(), Some(0));
    let lines = tine.rest_of_lines();
    let totals = Totals::read(lines.last().unwrap());
    assert!(totals.answers.abs_diff(answers) <= kills, "{totals:?}, {answers} by the clients");
}
