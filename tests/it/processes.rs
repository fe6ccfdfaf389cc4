//! The processes: who holds what, and who goes on when somebody dies.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use crate::harness::{Folder, PATIENCE, PROGRAM, Tine, children, get, only, until, within};

fn site() -> Folder {
    Folder::new(&[("a.txt", b"a"), ("large", &[1; 100])])
}

/// The descriptors of a process beyond the standard three, by kind.
fn descriptors(pid: Pid, folder: &Folder) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let number = entry.unwrap().file_name().into_string().unwrap();
        if number.parse::<u32>().unwrap() < 3 {
            continue;
        }
        let target = fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap();
        let target = match target.strip_prefix(folder.path()) {
            Ok(path) => format!("site/{}", path.display()),
            Err(_) => kind_of(&target),
        };
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let writes = u32::from_str_radix(flags, 8).unwrap() & 3 == 1;
        *kinds.entry(target + if writes { " (to write)" } else { "" }).or_insert(0) += 1;
    }
    kinds
}

/// `socket:[123]` is a socket, `anon_inode:[eventpoll]` an eventpoll.
fn kind_of(target: &Path) -> String {
    let target = target.to_str().unwrap();
    let (kind, rest) = target.split_once(':').unwrap_or((target, ""));
    if kind == "anon_inode" { rest.trim_matches(['[', ']']).to_owned() } else { kind.to_owned() }
}

#[test]
fn nobody_holds_a_descriptor_without_a_use_for_it() {
    let folder = site();
    let tine = Tine::serve(&folder, &["--memory-file-max", "10", "--workers", "2"]);
    let expect = |pid, expected: &[(&str, usize)]| {
        let expected = expected.iter().map(|&(kind, count)| (kind.to_owned(), count)).collect();
        // A process that was just forked still drops what its parent held.
        let mut found = BTreeMap::new();
        let _ = within(PATIENCE, || {
            found = descriptors(pid, &folder);
            (found == expected).then_some(())
        });
        assert_eq!(found, expected);
    };
    expect(
        tine.master(),
        &[
            ("site/", 1),
            ("socket", 3),
            ("pipe", 6),
            ("pipe (to write)", 5),
            ("eventpoll", 1),
            ("eventfd", 2),
            ("signalfd", 1),
        ],
    );
    expect(
        tine.publisher(),
        &[
            ("site/", 2),
            ("site/large", 1),
            ("socket", 3),
            ("pipe", 5),
            ("pipe (to write)", 4),
            ("eventpoll", 1),
            ("eventfd", 1),
            ("inotify", 1),
            ("signalfd", 1),
        ],
    );
    let mut client = tine.connect();
    client.send(get("/a.txt"));
    assert_eq!(client.answer().text(), "a");
    drop(client);
    for worker in tine.workers() {
        // The connection is gone again, whoever had it.
        let site = [("site/", 1), ("site/large", 1), ("socket", 3)];
        expect(
            worker,
            &[&site[..], &[("pipe", 4), ("pipe (to write)", 1), ("eventpoll", 2)]].concat(),
        );
    }
}

#[test]
fn a_worker_that_dies_is_replaced_and_nobody_is_refused() {
    let folder = site();
    let tine = Tine::serve(&folder, &["--workers", "2"]);
    for _ in 0..10 {
        let victim = tine.workers()[0];
        kill(victim, Signal::SIGKILL).unwrap();
        for _ in 0..20 {
            assert_eq!(tine.get("/a.txt").text(), "a");
        }
        until("the worker is replaced", || {
            let workers = tine.workers();
            (workers.len() == 2 && !workers.contains(&victim)).then_some(())
        });
    }
    assert!(tine.wait_for_line("died (SIGKILL)").contains("starting another"));
}

#[test]
fn with_every_worker_dead_connections_wait_and_are_answered() {
    let folder = site();
    let tine = Tine::serve(&folder, &["--workers", "1"]);
    for _ in 0..5 {
        kill(tine.publisher(), Signal::SIGSTOP).unwrap();
        kill(only(&tine.workers()), Signal::SIGKILL).unwrap();
        let mut waiting: Vec<_> = (0..50).map(|_| tine.connect()).collect();
        waiting.iter_mut().for_each(|client| client.send(get("/a.txt")));
        kill(tine.publisher(), Signal::SIGCONT).unwrap();
        for client in &mut waiting {
            assert_eq!(client.answer().text(), "a");
        }
    }
}

#[test]
fn connections_are_shared_out_among_the_workers() {
    let folder = site();
    let tine = Tine::serve(&folder, &["--workers", "4"]);
    let _kept: Vec<_> = (0..400)
        .map(|_| {
            let mut client = tine.connect();
            client.send(get("/a.txt"));
            assert_eq!(client.answer().text(), "a");
            client
        })
        .collect();
    let sockets = |pid| descriptors(pid, &folder)["socket"] - 3;
    let shares: Vec<_> = tine.workers().into_iter().map(sockets).collect();
    assert_eq!(shares.iter().sum::<usize>(), 400);
    assert!(shares.iter().all(|&share| share >= 20), "{shares:?}");
}

#[test]
fn a_stopped_worker_costs_its_own_connections_and_nobody_elses() {
    let folder = site();
    let tine = Tine::serve(&folder, &["--workers", "2"]);
    let stopped = tine.workers()[0];
    kill(stopped, Signal::SIGSTOP).unwrap();
    for _ in 0..200 {
        assert_eq!(tine.get("/a.txt").text(), "a");
    }
    kill(stopped, Signal::SIGCONT).unwrap();
}

#[test]
fn when_the_master_is_killed_everybody_leaves() {
    let folder = Folder::new(&[("big", &vec![1; 20_000_000])]);
    let mut tine = Tine::serve(&folder, &[]);
    let mut busy = tine.connect();
    busy.send(get("/big"));
    let everybody = [tine.workers(), vec![tine.publisher()]].concat();
    tine.signal(Signal::SIGKILL);
    assert!(!tine.wait().success());
    for pid in everybody {
        until("everybody leaves", || fs::metadata(format!("/proc/{pid}")).err());
    }
    tine.rest_of_lines();
}

#[test]
fn it_serves_and_reaps_as_pid_1() {
    let folder = site();
    let mut command = Command::new("unshare");
    if !Uid::effective().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--pid", "--fork", "--kill-child", PROGRAM]).arg(folder.path());
    command.args(["--log", "off", "--admin-listen", "off"]);
    let mut unshared = Tine::start(command.args(["--listen", "127.0.0.1:0"]).env_clear());
    assert_eq!(unshared.get("/a.txt").text(), "a");
    let first = only(&children(unshared.master()));
    let publisher = only(&children(first));
    let orphans = children(publisher);
    kill(publisher, Signal::SIGKILL).unwrap();
    for orphan in orphans {
        until("the orphans are reaped", || fs::metadata(format!("/proc/{orphan}")).err());
    }
    unshared.wait_for_line("serving again ");
    assert_eq!(unshared.get("/a.txt").text(), "a");
    kill(first, Signal::SIGTERM).unwrap();
    assert_eq!(unshared.wait().code(), Some(0));
}
