//! The way out: nothing that was queued or begun is lost, and nobody stays behind.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::fcntl::{OFlag, open};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;

use crate::harness::{Folder, Over, PROGRAM, Tine, command, get, until};

const BIG: usize = 20_000_000;

fn site() -> Folder {
    Folder::new(&[("a.txt", b"a"), ("big", &vec![1; BIG])])
}

/// A client that has begun to download, and takes no more for now.
fn begin_download(tine: &Tine) -> crate::harness::Client {
    let mut client = tine.connect();
    client.send(get("/big"));
    let mut first = [0];
    client.stream.read_exact(&mut first).unwrap();
    client
}

#[test]
fn told_to_stop_it_finishes_what_is_in_flight_and_exits_with_0() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let folder = site();
        let mut tine = Tine::serve(&folder, &[]);
        let mut download = begin_download(&tine);
        let mut idle = tine.connect();
        idle.send(get("/a.txt"));
        assert_eq!(idle.answer().field("Connection"), None);
        tine.signal(signal);
        // An idle connection has a moment for a last request, and is told that it was the last.
        let last = until("the last answer says so", || {
            idle.send(get("/a.txt"));
            let answer = idle.answer();
            answer.field("Connection").is_some().then_some(answer)
        });
        assert_eq!((last.field("Connection"), last.text()), (Some("close"), "a"));
        assert!(idle.is_closed());
        assert!(download.rest().len() > BIG);
        tine.ends_well();
    }
}

#[test]
fn a_request_that_was_begun_is_answered() {
    let folder = site();
    let mut tine = Tine::serve(&folder, &[]);
    let mut client = tine.connect();
    client.send("GET /a.txt HT");
    // Once a later connection is over, so is the reading of the earlier one's bytes.
    tine.get("/a.txt");
    tine.signal(Signal::SIGTERM);
    let mut refused = || TcpStream::connect_timeout(&tine.address, Duration::from_secs(5)).err();
    until("the listener has ended", &mut refused);
    client.send("TP/1.1\r\nHost: x\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.field("Connection"), answer.text()), (Some("close"), "a"));
    assert_eq!(tine.wait().code(), Some(0));
}

#[test]
fn nothing_that_is_queued_is_reset() {
    const QUEUED: usize = 100;
    let folder = site();
    let mut tine = Tine::serve(&folder, &[]);
    let workers = tine.workers();
    workers.iter().for_each(|&worker| kill(worker, Signal::SIGSTOP).unwrap());
    let mut queued: Vec<_> = (0..QUEUED).map(|_| tine.connect()).collect();
    queued.iter_mut().for_each(|client| client.send(get("/a.txt")));
    tine.signal(Signal::SIGTERM);
    workers.iter().for_each(|&worker| kill(worker, Signal::SIGCONT).unwrap());
    for client in &mut queued {
        assert_eq!(client.answer().text(), "a");
    }
    assert_eq!(tine.wait().code(), Some(0));
}

#[test]
fn nothing_that_is_queued_is_reset_although_the_workers_die() {
    let folder = site();
    for is_alone in [true, false] {
        let mut tine = Tine::serve(&folder, &["--workers", "1"]);
        let (compiler, worker) = (tine.compiler(), tine.workers()[0]);
        kill(worker, Signal::SIGSTOP).unwrap();
        let mut queued: Vec<_> = (0..20).map(|_| tine.connect()).collect();
        queued.iter_mut().for_each(|client| client.send(get("/a.txt")));
        tine.signal(Signal::SIGTERM);
        // The drain has begun when nobody gets in any more.
        until("the door is shut", || {
            TcpStream::connect_timeout(&tine.address, Duration::from_millis(100)).err()
        });
        if !is_alone {
            // It is gone already, or about to be: no image is published any more.
            let _ = kill(compiler, Signal::SIGKILL);
        }
        kill(worker, Signal::SIGKILL).unwrap();
        for client in &mut queued {
            assert_eq!(client.answer().text(), "a");
        }
        assert_eq!(tine.wait().code(), Some(0));
    }
}

#[test]
fn in_a_storm_whoever_gets_in_gets_an_answer() {
    let folder = site();
    for _ in 0..3 {
        let mut tine = Tine::serve(&folder, &[]);
        let (answered, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let address = tine.address;
        thread::scope(|scope| {
            let _over = Over(&is_over);
            for _ in 0..8 {
                scope.spawn(|| {
                    // A new connection for each request, until no more are taken.
                    while !is_over.load(Ordering::Relaxed)
                        && let Ok(stream) =
                            TcpStream::connect_timeout(&address, Duration::from_millis(900))
                    {
                        assert_eq!(ask(stream), b"a", "lost after {answered:?}");
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            until("the storm is there", || (answered.load(Ordering::Relaxed) > 500).then_some(()));
            tine.signal(Signal::SIGTERM);
            assert_eq!(tine.wait().code(), Some(0));
        });
    }
}

/// The body of the answer to one request; nothing if the connection is reset.
fn ask(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let asked = stream.write_all(b"GET /a.txt HTTP/1.0\r\n\r\n");
    match asked.and_then(|()| stream.read_to_end(&mut answer)) {
        Ok(_) => answer.split_off(answer.len() - 1),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Vec::new(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_second_signal_ends_it_at_once() {
    let folder = site();
    let mut tine = Tine::serve(&folder, &["--drain-timeout", "1h"]);
    let _download = begin_download(&tine);
    tine.signal(Signal::SIGTERM);
    // The drain has begun when the listener takes no more.
    until("the listener has ended", || {
        TcpStream::connect_timeout(&tine.address, Duration::from_secs(5)).err()
    });
    tine.signal(Signal::SIGTERM);
    assert_eq!(tine.wait().code(), Some(1));
    let said = tine.rest_of_lines();
    assert_eq!(said.last().unwrap(), "tine: ended at once by a second signal");
}

#[test]
fn sigquit_starts_a_graceful_shutdown() {
    let folder = site();
    let mut tine = Tine::serve(&folder, &[]);
    let mut download = begin_download(&tine);
    // The children ignore it: a terminal sends it to the whole process group.
    tine.workers().iter().for_each(|&worker| kill(worker, Signal::SIGQUIT).unwrap());
    kill(tine.compiler(), Signal::SIGQUIT).unwrap();
    tine.signal(Signal::SIGQUIT);
    assert!(download.rest().len() > BIG - 1);
    tine.ends_well();
}

#[test]
fn second_sigquit_ends_it_at_once() {
    let folder = site();
    let mut tine = Tine::serve(&folder, &["--drain-timeout", "1h"]);
    let _download = begin_download(&tine);
    tine.signal(Signal::SIGQUIT);
    until("the listener has ended", || {
        TcpStream::connect_timeout(&tine.address, Duration::from_secs(5)).err()
    });
    tine.signal(Signal::SIGQUIT);
    assert_eq!(tine.wait().code(), Some(1));
    let said = tine.rest_of_lines();
    assert_eq!(said.last().unwrap(), "tine: ended at once by a second signal");
}

#[test]
fn the_drain_has_an_end() {
    let folder = site();
    let mut tine = Tine::serve(&folder, &["--drain-timeout", "300ms"]);
    let mut download = begin_download(&tine);
    tine.signal(Signal::SIGTERM);
    assert_eq!(tine.wait().code(), Some(0));
    assert!(tine.rest_of_lines().last().unwrap().ends_with(", 1 answer cut short"));
    assert!(download.rest().len() < BIG);
}

#[test]
fn a_worker_that_does_not_leave_is_killed() {
    let folder = site();
    let mut tine = Tine::serve(&folder, &["--drain-timeout", "100ms"]);
    kill(tine.workers()[0], Signal::SIGSTOP).unwrap();
    tine.signal(Signal::SIGTERM);
    tine.ends_well();
}

/// tine at a terminal of its own, and what holds that terminal.
fn at_a_terminal(folder: &Folder, wrapper: &[&str]) -> (Tine, File) {
    // Closed on exec, so that nobody but this test holds the terminal.
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let slave = open(&*ptsname_r(&master).unwrap(), flags, Mode::empty()).unwrap();
    let mut command = Command::new("setsid");
    command.args(["--ctty"]).args(wrapper).arg(PROGRAM).arg(folder.path());
    command.args(["--log", "off", "--admin-listen", "off"]);
    command.args(["--listen", "127.0.0.1:0"]).stdin(Stdio::from(slave)).stdout(Stdio::null());
    (Tine::start(&mut command), File::from(OwnedFd::from(master)))
}

#[test]
fn a_closed_terminal_leaves_no_server_behind() {
    let folder = site();
    let (mut tine, terminal) = at_a_terminal(&folder, &[]);
    assert_eq!(tine.get("/a.txt").text(), "a");
    drop(terminal);
    tine.ends_well();
}

#[test]
fn however_often_the_terminals_end_is_told_it_is_one_word() {
    let folder = site();
    let (mut tine, terminal) = at_a_terminal(&folder, &[]);
    let mut download = begin_download(&tine);
    drop(terminal);
    // A shell passes it on to its jobs, and the kernel tells them once more.
    until("the listener has ended", || {
        tine.signal(Signal::SIGHUP);
        TcpStream::connect_timeout(&tine.address, Duration::from_secs(5)).err()
    });
    tine.signal(Signal::SIGHUP);
    assert!(download.rest().len() > BIG - 1);
    tine.ends_well();
}

#[test]
fn but_nohup_does() {
    let folder = site();
    let (tine, terminal) = at_a_terminal(&folder, &["nohup"]);
    drop(terminal);
    tine.wait_for_line("SIGHUP: reloading");
    assert_eq!(tine.get("/a.txt").text(), "a");
}

#[test]
fn a_hangup_without_a_terminals_end_changes_nothing() {
    let folder = site();
    let tine = Tine::start(command(folder.path()).args(["--listen", "127.0.0.1:0"]));
    tine.signal(Signal::SIGHUP);
    tine.wait_for_line("SIGHUP: reloading");
    assert_eq!(tine.get("/a.txt").text(), "a");
}

#[test]
fn control_c_drains_although_everybody_gets_it() {
    let folder = site();
    // SIGINT, and SIGQUIT by Ctrl-\.
    for key in [b"\x03", b"\x1c"] {
        let (mut tine, mut terminal) = at_a_terminal(&folder, &[]);
        let mut download = begin_download(&tine);
        terminal.write_all(key).unwrap();
        assert!(download.rest().len() > BIG - 1);
        tine.ends_well();
    }
}
