//! Limits of the system and limits on how many: reached for real, and left again.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::{Pid, getgid, getuid};

use crate::harness::{Client, Folder, PATIENCE, Tine, command, get, pass, until};

fn site() -> Folder {
    Folder::new(&[("a.txt", b"a")])
}

/// CPU time that a process has used so far.
fn cpu(pid: Pid) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn at_the_limit_the_longest_idle_connection_makes_room() {
    let folder = site();
    let tine = Tine::serve(&folder, &["--workers", "1", "--connections-max", "3"]);
    let mut clients: Vec<Client> = (0..3).map(|_| tine.connect()).collect();
    for turn in [0, 1, 2, 0] {
        clients[turn].send(get("/a.txt"));
        assert_eq!(clients[turn].answer().text(), "a");
    }
    assert_eq!(tine.get("/a.txt").text(), "a");
    assert!(clients[1].is_closed());
    for turn in [0, 2] {
        clients[turn].send(get("/a.txt"));
        assert_eq!(clients[turn].answer().text(), "a");
    }
}

#[test]
fn when_nobody_is_idle_newcomers_wait_and_are_answered_in_the_end() {
    let folder = site();
    let tine = Tine::serve(&folder, &["--workers", "1", "--connections-max", "2"]);
    let mut busy: Vec<Client> = (0..2).map(|_| tine.connect()).collect();
    busy.iter_mut().for_each(|client| client.send("GET /a.txt HTTP/1.1\r\nHo"));
    let mut waiting: Vec<Client> = (0..5).map(|_| tine.connect()).collect();
    waiting.iter_mut().for_each(|client| client.send(get("/a.txt")));
    for client in &mut waiting {
        client.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut byte = [0];
        assert!(client.stream.peek(&mut byte).is_err(), "there was no room yet");
        client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    busy[0].send("st: x\r\n\r\n");
    assert_eq!(busy[0].answer().text(), "a");
    waiting.iter_mut().for_each(|client| assert_eq!(client.answer().text(), "a"));
    busy[1].send("st: x\r\n\r\n");
    assert_eq!(busy[1].answer().text(), "a");
}

/// Starts tine so that its processes can be limited later: only one's own can.
pub fn start_as_oneself(folder: &Folder, args: &[&str]) -> Tine {
    let user = format!("{}:{}", getuid(), getgid());
    Tine::serve(folder, &[args, &["--user", &user]].concat())
}

pub fn limit_descriptors(pid: Pid, most: usize) {
    let limit = format!("--nofile={most}:");
    let status = Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_worker_without_descriptors_keeps_no_connection_from_the_other() {
    let folder = site();
    let tine = start_as_oneself(&folder, &["--workers", "2"]);
    for short in tine.workers() {
        // Not one descriptor is left to it.
        limit_descriptors(short, fs::read_dir(format!("/proc/{short}/fd")).unwrap().count());
        let begun = Instant::now();
        for _ in 0..40 {
            assert_eq!(tine.get("/a.txt").text(), "a");
        }
        // Each that had to wait for somebody to look unasked would have cost most of a second.
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
        limit_descriptors(short, 1_000);
    }
}

#[test]
fn without_descriptors_it_waits_without_spinning_and_goes_on_later() {
    let folder = site();
    let mut tine = start_as_oneself(&folder, &["--workers", "1"]);
    let worker = tine.workers()[0];
    limit_descriptors(worker, 30);
    let begun = "GET /a.txt HTTP/1.1\r\nHo";
    let mut clients: Vec<Client> = (0..60).map(|_| tine.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(begun));
    let used = until("it has accepted what it can", || {
        let used = fs::read_dir(format!("/proc/{worker}/fd")).unwrap().count();
        (used >= 30).then_some(used)
    });
    assert_eq!(used, 30);
    let before = cpu(worker);
    pass(Duration::from_secs(2));
    let spent = cpu(worker) - before;
    assert!(spent < Duration::from_millis(200), "{spent:?} of CPU time for waiting");
    // Each that is answered makes room for the next, and nobody was refused.
    for mut client in clients {
        client.send("st: x\r\nConnection: close\r\n\r\n");
        assert_eq!(client.answer().text(), "a");
    }
    tine.signal(Signal::SIGTERM);
    tine.ends_well();
}

#[test]
fn a_download_without_a_descriptor_is_told_to_come_again() {
    let folder = site();
    folder.write("large.bin", &[1; 100]);
    let args = ["--workers", "1", "--memory-file-max", "10", "--open-files-max", "0"];
    let tine = start_as_oneself(&folder, &args);
    let worker = tine.workers()[0];
    let mut client = tine.connect();
    client.send(get("/large.bin"));
    assert_eq!(client.answer().status(), 200);
    let used = until("the file is closed again", || {
        let target = |fd: usize| fs::read_link(format!("/proc/{worker}/fd/{fd}"));
        let is_open = (0..99).any(|fd| target(fd).is_ok_and(|path| path.ends_with("large.bin")));
        let free = (0..).find(|&fd| target(fd).is_err());
        free.filter(|_| !is_open)
    });
    limit_descriptors(worker, used);
    client.send(get("/large.bin"));
    let answer = client.answer();
    assert_eq!((answer.status(), answer.field("Retry-After")), (503, Some("1")));
    limit_descriptors(worker, 1_000);
    client.send(get("/large.bin"));
    assert_eq!(client.answer().status(), 200);
}

#[test]
fn more_files_than_allowed_are_a_mistake_and_no_crash_loop() {
    let folder = Folder::new(&[("a/1", b""), ("a/2", b""), ("b", b"")]);
    let run = |most: &str| {
        let mut command = command(folder.path());
        command.args(["--listen", "127.0.0.1:0", "--files-max", most]);
        command
    };
    let output = run("3").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("more than 3 files and directories; raise --files-max"), "{said}");
    assert!(Tine::start(&mut run("4")).start_line.contains("(3 files,"));
}

#[test]
fn a_full_disk_behind_standard_error_stops_nobody() {
    let folder = site();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = command(folder.path());
    let mut child = command.args(["--listen", &port.to_string()]).stderr(full).spawn().unwrap();
    let mut client = until("it serves", || {
        std::net::TcpStream::connect(port).ok().map(|_| Client::connect(port))
    });
    client.send(get("/a.txt"));
    assert_eq!(client.answer().text(), "a");
    child.kill().unwrap();
    child.wait().unwrap();
}
