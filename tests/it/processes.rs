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
        // One that is being closed is gone by now.
        let Ok(target) = fs::read_link(format!("/proc/{pid}/fd/{number}")) else { continue };
        let target = match target.strip_prefix(folder.path()) {
            Ok(path) => format!("site/{}", path.display()),
            Err(_) => kind_of(&target),
        };
        let path = format!("/proc/{pid}/fdinfo/{number}");
        let Ok(info) = fs::read_to_string(path) else { continue };
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
    if kind == "anon_inode" {
        rest.trim_matches(['[', ']']).to_owned()
    } else {
        kind.trim_start_matches('/').to_owned()
    }
}

/// The mappings of shared memory that a process has, by name and rights.
fn shared_mappings(pid: Pid) -> BTreeMap<String, usize> {
    let mut mappings = BTreeMap::new();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    for line in maps.lines() {
        let mut columns = line.split_ascii_whitespace();
        let rights = columns.nth(1).unwrap();
        if let Some(name) = columns.nth(3).filter(|_| rights.ends_with('s')) {
            *mappings.entry(format!("{name} {rights}")).or_insert(0) += 1;
        }
    }
    mappings
}

/// Waits until a process has these; one that was just forked still drops what its parent held.
fn expect<F: Fn() -> BTreeMap<String, usize>>(name: &str, find: F, expected: &[(&str, usize)]) {
    let expected = expected.iter().map(|&(kind, count)| (kind.to_owned(), count)).collect();
    let mut found = BTreeMap::new();
    let _ = within(PATIENCE, || {
        found = find();
        (found == expected).then_some(())
    });
    assert_eq!(found, expected, "{name}");
}

#[test]
fn no_process_holds_a_descriptor_or_a_writable_mapping_without_a_use() {
    let folder = site();
    let args = ["--memory-file-max", "10", "--workers", "2"];
    let args = [&args[..], &["--admin-listen", "127.0.0.1:0"]].concat();
    let tine = Tine::serve(&folder, &args);
    let mut client = tine.connect();
    for path in ["/a.txt", "/large"].repeat(4) {
        client.send(get(path));
        client.answer();
    }
    drop(client);
    // Ten slots, each with a doorbell: the master's, the compiler's, and two for each other child.
    let doorbells = ("eventfd", 10);
    let arena = ("memfd", 3);
    let master = tine.master();
    expect(
        "master",
        || descriptors(master, &folder),
        &[
            ("site/", 1),
            ("socket", 2),
            ("pipe", 2),
            ("pipe (to write)", 2),
            ("eventpoll", 1),
            ("eventfd", doorbells.1 + 1),
            ("signalfd", 1),
            arena,
        ],
    );
    let compiler = tine.compiler();
    expect(
        "compiler",
        || descriptors(compiler, &folder),
        &[
            ("site/", 1),
            ("pipe (to write)", 1),
            ("eventpoll", 1),
            doorbells,
            ("inotify", 1),
            ("memfd", 1),
        ],
    );
    for worker in tine.workers() {
        // The connection is gone again; one of them has opened the file on disk, and the root.
        let has_file = descriptors(worker, &folder).contains_key("site/large");
        let roots = if has_file { 2 } else { 1 };
        let site: &[_] = if has_file { &[("site/large", 1)] } else { &[] };
        let own = [
            ("site/", roots),
            ("socket", 1),
            ("pipe (to write)", 1),
            ("eventpoll", 2),
            ("eventfd", 2),
            ("memfd", 1),
        ];
        expect("worker", || descriptors(worker, &folder), &[site, &own].concat());
    }
    let admin = tine.child("tine-admin");
    let own = [("socket", 1), ("eventpoll", 2), ("eventfd", 2)];
    expect("admin", || descriptors(admin, &folder), &own);
    let logger = tine.child("tine-logger");
    let streams = descriptors(logger, &folder);
    assert_eq!((streams["pipe"], streams["eventfd"], streams.get("socket")), (2, 1, None));
    expect_mappings(&tine);
}

/// Each child can write to its own slot of the scoreboard, and the compiler to its page; nobody to
/// the arena.
fn expect_mappings(tine: &Tine) {
    let board = "/memfd:tine-scoreboard";
    let (to_write, to_read) = (format!("{board} rw-s"), format!("{board} r--s"));
    let arena = "/memfd:tine-arena r--s";
    let own = |pid| shared_mappings(pid);
    assert_eq!(own(tine.master()), BTreeMap::from([(to_write.clone(), 1)]));
    let compiler = own(tine.compiler());
    // Its page and its slot are apart by the master's slot.
    assert_eq!((compiler[&to_write], compiler[arena], compiler.len()), (2, 1, 3), "{compiler:?}");
    for worker in tine.workers() {
        let worker = own(worker);
        assert_eq!((worker[&to_write], worker[arena], worker.len()), (1, 1, 3), "{worker:?}");
        assert!((1..=2).contains(&worker[&to_read]));
    }
    for name in ["tine-admin", "tine-logger"] {
        let other = own(tine.child(name));
        assert_eq!((other[&to_write], other.len()), (1, 2), "{name} {other:?}");
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
        let worker = until("there is a worker", || tine.workers().first().copied());
        kill(tine.master(), Signal::SIGSTOP).unwrap();
        kill(worker, Signal::SIGKILL).unwrap();
        let mut waiting: Vec<_> = (0..50).map(|_| tine.connect()).collect();
        waiting.iter_mut().for_each(|client| client.send(get("/a.txt")));
        kill(tine.master(), Signal::SIGCONT).unwrap();
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
    let sockets = |pid| descriptors(pid, &folder)["socket"] - 1;
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
    let everybody = children(tine.master());
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
    let victims = children(first);
    victims.iter().for_each(|&victim| kill(victim, Signal::SIGKILL).unwrap());
    for victim in &victims {
        until("they are reaped", || fs::metadata(format!("/proc/{victim}")).err());
    }
    until("all are replaced", || (children(first).len() == victims.len()).then_some(()));
    assert_eq!(unshared.get("/a.txt").text(), "a");
    kill(first, Signal::SIGTERM).unwrap();
    assert_eq!(unshared.wait().code(), Some(0));
}
