//! Limits of control groups, and errors of the system where no limit brings them about.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::groups::Group;
use crate::harness::{Client, Folder, PROGRAM, Tine, pass, until};
use crate::injection::Injection;

fn site() -> Folder {
    Folder::new(&[("a.txt", b"a")])
}

fn start(group: &Group, folder: &Folder, args: &[&str]) -> Tine {
    let mut command = group.command(PROGRAM);
    command.arg(folder.path()).args(["--listen", "127.0.0.1:0"]).args(QUIET);
    Tine::start(command.args(args))
}

/// What a control group of its own takes of the environment that other tests have.
const QUIET: [&str; 4] = ["--log", "off", "--admin-listen", "off"];

#[test]
fn at_the_memory_limit_a_process_dies_and_the_server_goes_on() {
    let folder = site();
    let group = Group::new("memory");
    group.set("memory.limit_in_bytes", "memory.max", "24M");
    let mut tine = start(&group, &folder, &["--workers", "1"]);
    // Each keeps most of a head, until there is no memory for that.
    let begun = format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(15_000));
    let mut clients: Vec<Client> = Vec::new();
    until("memory runs out", || {
        for _ in 0..50 {
            let mut client = tine.connect();
            client.try_send(&begun);
            clients.push(client);
        }
        assert!(clients.len() < 9_000, "memory does not run out");
        (group.oom_kills() > 0).then_some(())
    });
    drop(clients);
    assert_eq!(tine.get("/a.txt").text(), "a");
    until("a worker is there", || (tine.workers().len() == 1).then_some(()));
    tine.signal(Signal::SIGTERM);
    assert_eq!(tine.wait().code(), Some(0));
}

#[test]
fn at_the_process_limit_it_serves_with_fewer_and_tries_again() {
    let folder = site();
    let group = Group::new("pids");
    // The master with its thread for signals, the logger, the compiler and two workers.
    group.set("pids.max", "pids.max", "6");
    let mut command = group.command(PROGRAM);
    command.arg(folder.path()).args(["--listen", "127.0.0.1:0", "--workers", "3"]).args(QUIET);
    let mut tine = Tine::begin(&mut command);
    assert_eq!(tine.get("/a.txt").text(), "a");
    assert!(tine.workers().len() < 3);
    let message = "cannot start a worker: a limit on processes is reached";
    if !tine.warnings.iter().any(|line| line.contains(message)) {
        tine.wait_for_line(message);
    }
    group.set("pids.max", "pids.max", "max");
    until("the others are there", || (tine.workers().len() == 3).then_some(()));
    tine.signal(Signal::SIGTERM);
    assert_eq!(tine.wait().code(), Some(0));
}

#[test]
fn a_frozen_group_thaws_without_a_death() {
    let folder = site();
    let group = Group::new("freezer");
    let mut tine = start(&group, &folder, &["--workers", "2", "--watchdog-timeout", "3s"]);
    let everybody = tine.everybody();
    for _ in 0..3 {
        group.freeze(true);
        pass(Duration::from_secs(4));
        group.freeze(false);
        assert_eq!(tine.get("/a.txt").text(), "a");
    }
    assert_eq!(tine.everybody(), everybody);
    tine.signal(Signal::SIGTERM);
    tine.ends_well();
}

#[test]
fn without_buffers_for_a_connection_it_waits_and_takes_it_later() {
    let folder = site();
    let mut tine = Tine::serve(&folder, &["--workers", "1"]);
    let worker = tine.workers()[0];
    for error in ["ENOBUFS", "ENOMEM", "ENFILE", "ECONNABORTED"] {
        let injection = Injection::new(worker, &format!("accept4:error={error}:when=1..3"));
        for _ in 0..5 {
            assert_eq!(tine.get("/a.txt").text(), "a", "{error}");
        }
        drop(injection);
    }
    tine.signal(Signal::SIGTERM);
    tine.ends_well();
}
