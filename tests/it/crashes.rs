//! Any process dies or hangs at any moment, and clients hear of it as little as can be.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Client, Folder, Over, Tine, get, pass, until};

fn site() -> Folder {
    Folder::new(&[("a.txt", b"a")])
}

fn await_end(pid: Pid) {
    until("it is gone and reaped", || fs::metadata(format!("/proc/{pid}")).err());
}

/// A connection on which one request was answered.
fn kept(tine: &Tine) -> Client {
    let mut client = tine.connect();
    client.send(get("/a.txt"));
    assert_eq!(client.answer().text(), "a");
    client
}

#[test]
fn workers_serve_on_without_a_compiler_and_the_next_one_goes_on_from_what_is_published() {
    let folder = site();
    let tine = Tine::serve(&folder, &["--workers", "2"]);
    let everybody = tine.workers();
    let mut clients: Vec<_> = (0..20).map(|_| kept(&tine)).collect();
    // No other compiler can read the directory for now.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o000)).unwrap();
    kill(tine.compiler(), Signal::SIGKILL).unwrap();
    // That is said once, however often it is tried.
    tine.wait_for_line("cannot read the directory: Permission denied (os error 13); what");
    for _ in 0..3 {
        pass(Duration::from_millis(300));
        for client in &mut clients {
            client.send(get("/a.txt"));
            let answer = client.answer();
            assert_eq!((answer.text(), answer.field("Connection")), ("a", None));
        }
        assert_eq!(tine.get("/a.txt").text(), "a");
    }
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    folder.write("a.txt", b"b");
    tine.wait_for_line(" anew, ");
    for client in &mut clients {
        client.send(get("/a.txt"));
        let answer = client.answer();
        assert_eq!((answer.text(), answer.field("Connection")), ("b", None));
    }
    assert_eq!(tine.workers(), everybody, "no worker was replaced");
}

#[test]
fn hung_worker_and_hung_compiler_are_replaced() {
    let folder = site();
    let tine = Tine::serve(&folder, &["--workers", "2", "--watchdog-timeout", "3s"]);
    let (compiler, workers) = (tine.compiler(), tine.workers());
    kill(workers[0], Signal::SIGSTOP).unwrap();
    tine.wait_for_line(&format!("worker {}: no heartbeat, sending SIGKILL", workers[0]));
    await_end(workers[0]);
    until("it is replaced", || (tine.workers().len() == 2).then_some(()));
    assert!(tine.workers().contains(&workers[1]), "the other one goes on");

    kill(compiler, Signal::SIGSTOP).unwrap();
    tine.wait_for_line(&format!("compiler {compiler}: no heartbeat, sending SIGKILL"));
    await_end(compiler);
    folder.write("a.txt", b"b");
    until("the next one reloads", || (tine.get("/a.txt").text() == "b").then_some(()));
}

#[test]
fn hung_worker_does_not_outlive_tine() {
    let folder = site();
    let args = ["--workers", "2", "--watchdog-timeout", "3s", "--drain-timeout", "1s"];
    let mut tine = Tine::serve(&folder, &args);
    let hung = tine.workers()[0];
    kill(hung, Signal::SIGSTOP).unwrap();
    tine.signal(Signal::SIGTERM);
    assert_eq!(tine.wait().code(), Some(0));
    await_end(hung);
    tine.rest_of_lines();
}

#[test]
fn a_paused_container_must_kill_nobody() {
    let folder = site();
    let mut tine = Tine::serve(&folder, &["--workers", "2", "--watchdog-timeout", "3s"]);
    let mut client = kept(&tine);
    let everybody = tine.everybody();
    for _ in 0..2 {
        // Everybody is paused longer than any of them may be silent.
        everybody.iter().for_each(|&pid| kill(pid, Signal::SIGSTOP).unwrap());
        pass(Duration::from_millis(3_500));
        everybody.iter().rev().for_each(|&pid| kill(pid, Signal::SIGCONT).unwrap());
        client.send(get("/a.txt"));
        assert_eq!(client.answer().text(), "a");
    }
    assert_eq!(tine.everybody(), everybody);
    drop(client);
    tine.signal(Signal::SIGTERM);
    tine.ends_well();
}

#[test]
fn totals_agree_with_what_clients_counted_whoever_dies() {
    const ROUNDS: usize = 6;
    let folder = site();
    let mut tine = Tine::serve(&folder, &["--workers", "2"]);
    let (address, is_over, counted) = (tine.address, AtomicBool::new(false), AtomicU64::new(0));
    let kills = thread::scope(|scope| {
        let _over = Over(&is_over);
        for _ in 0..4 {
            scope.spawn(|| count_answers(address, &is_over, &counted));
        }
        let mut kills = 0;
        for round in 0..ROUNDS {
            let target = counted.load(Ordering::Relaxed) + 200;
            until("there is load", || (counted.load(Ordering::Relaxed) > target).then_some(()));
            let (compiler, workers) = (tine.compiler(), tine.workers());
            // Now a worker, now the compiler, now all of them at once.
            let victims = match round % 3 {
                0 => workers[..1].to_vec(),
                1 => vec![compiler],
                _ => [workers, vec![compiler]].concat(),
            };
            victims.iter().for_each(|&pid| kill(pid, Signal::SIGKILL).unwrap());
            kills += victims.len() as u64;
            victims.iter().for_each(|&pid| await_end(pid));
            until("two workers are there", || (tine.workers().len() == 2).then_some(()));
        }
        kills
    });
    tine.signal(Signal::SIGTERM);
    assert_eq!(tine.wait().code(), Some(0));
    let lines = tine.rest_of_lines();
    let totals = crate::harness::Totals::read(lines.last().unwrap());
    // A worker that is killed between sending and counting has counted one answer too few; an
    // answer that was on its way then may not have reached its client.
    let counted = counted.load(Ordering::Relaxed);
    assert!(totals.answers.abs_diff(counted) <= kills, "{totals:?}, but {counted} by the clients");
}

/// Asks until it is over; a connection that ends in between is made again.
fn count_answers(address: std::net::SocketAddr, is_over: &AtomicBool, counted: &AtomicU64) {
    while !is_over.load(Ordering::Relaxed) {
        let mut client = Client::connect(address);
        while client.try_send(get("/a.txt")) && client.try_answer(true).is_some() {
            counted.fetch_add(1, Ordering::Relaxed);
            if is_over.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}
