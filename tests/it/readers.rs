//! Those who read the log: they stall, die, or have no room, and nobody waits for them.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::pipe;
use serde_json::Value;

use crate::harness::{Client, Tine, command, get, until};
use crate::logging::{json, serve, site};

#[test]
fn a_reader_that_stalls_delays_no_answer_and_what_is_lost_is_counted() {
    const ANSWERS: usize = 20_000;
    let folder = site();
    let (reader, writer) = pipe().unwrap();
    let mut command = command(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--workers", "1", "--log", "json"]);
    command.args(["--admin-listen", "127.0.0.1:0"]);
    let tine = Tine::start(command.stdout(Stdio::from(writer)));
    drop(command);
    let mut client = tine.connect();
    ask_often(&mut client, ANSWERS);
    let lost = until("lines are lost", || Some(lost(&tine)).filter(|&lost| lost > 0));
    assert!(lost < ANSWERS, "{lost}");
    // Now somebody reads.
    let lines = std::thread::spawn(move || count_lines(reader));
    let said = tine.wait_for_line(" lines of the log were lost");
    let message = json(&said)["message"].as_str().unwrap().to_owned();
    let number: usize = message.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(number, self::lost(&tine));
    // What was there before it stalled, what came since, and what was lost: that is all.
    tine.signal(Signal::SIGTERM);
    drop(client);
    let mut tine = tine;
    assert_eq!(tine.wait().code(), Some(0));
    let said = tine.rest_of_lines();
    assert_eq!(lines.join().unwrap() + lost_in_all(said.last().unwrap()), ANSWERS);
}

#[test]
fn what_nobody_has_read_at_the_end_is_lost_and_counted() {
    const ANSWERS: usize = 10_000;
    let folder = site();
    let (reader, writer) = pipe().unwrap();
    let mut command = command(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--workers", "2", "--log", "json"]);
    let mut tine = Tine::start(command.stdout(Stdio::from(writer)));
    drop(command);
    ask_often(&mut tine.connect(), ANSWERS);
    tine.signal(Signal::SIGTERM);
    assert_eq!(tine.wait().code(), Some(0));
    let said = tine.rest_of_lines();
    assert_eq!(count_lines(reader) + lost_in_all(said.last().unwrap()), ANSWERS);
}

/// How many lines were lost, as the last line says.
fn lost_in_all(line: &str) -> usize {
    let message = json(line)["message"].as_str().unwrap().to_owned();
    let lost = message.split_once(" lines of the log lost").expect("lines are lost").0;
    lost.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_disk_that_is_full_ends_nothing() {
    let folder = site();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = command(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--workers", "1", "--log", "json"]);
    command.args(["--admin-listen", "127.0.0.1:0"]);
    let mut tine = Tine::start(command.stdout(Stdio::from(full)));
    ask_often(&mut tine.connect(), 1000);
    until("all is counted", || Some(()).filter(|()| lost(&tine) == 1000));
    tine.wait_for_line("1000 lines of the log were lost");
    tine.signal(Signal::SIGTERM);
    assert_eq!(tine.wait().code(), Some(0));
}

fn ask_often(client: &mut Client, answers: usize) {
    for _ in 0..answers / 100 {
        client.send(get("/").repeat(100));
        (0..100).for_each(|_| assert_eq!(client.answer().text(), "home"));
    }
}

fn lost(tine: &Tine) -> usize {
    let metrics = tine.ask(get("/metrics"));
    let mut lines = metrics.text().lines();
    let line = lines.find_map(|line| line.strip_prefix("tine_log_lines_dropped_total "));
    line.unwrap().parse().unwrap()
}

fn count_lines(reader: OwnedFd) -> usize {
    let mut text = String::new();
    File::from(reader).read_to_string(&mut text).unwrap();
    text.lines().inspect(|line| drop(json(line))).count()
}

#[test]
fn a_reader_that_dies_ends_nothing() {
    let folder = site();
    let (reader, writer) = pipe().unwrap();
    let mut command = command(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--workers", "1", "--log", "json"]);
    let mut tine = Tine::start(command.stdout(Stdio::from(writer)));
    drop(command);
    drop(reader);
    let mut client = tine.connect();
    ask_often(&mut client, 1000);
    tine.wait_for_line("the log is lost: cannot write standard output: Broken pipe");
    ask_often(&mut client, 1000);
    tine.signal(Signal::SIGTERM);
    assert_eq!(tine.wait().code(), Some(0));
}

#[test]
fn a_logger_that_dies_is_replaced_and_goes_on() {
    let folder = site();
    let tine = serve(&folder, &["--log", "json"]);
    tine.get("/1");
    assert_eq!(json(&tine.logged())["target"], Value::from("/1"));
    for number in 2..6 {
        let logger = tine.child("tine-logger");
        kill(logger, Signal::SIGKILL).unwrap();
        tine.wait_for_line(&format!("logger {logger} died (SIGKILL); starting another"));
        tine.get(&format!("/{number}"));
        assert_eq!(json(&tine.logged())["target"], Value::from(format!("/{number}")));
    }
}

#[test]
fn a_stalled_standard_error_holds_up_nobody() {
    let folder = site();
    let (reader, mut writer) = pipe().map(|(reader, writer)| (reader, File::from(writer))).unwrap();
    // Full to the last byte, and nobody reads.
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))
        .unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty())).unwrap();
    let admin = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = command(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", &admin.to_string()]);
    let mut child = command.stderr(Stdio::from(writer)).spawn().unwrap();
    let ready = || {
        let stream = std::net::TcpStream::connect(admin).ok()?;
        drop(stream);
        let mut client = Client::connect(admin);
        client.send(get("/readyz"));
        (client.answer().status() == 200).then_some(())
    };
    until("it is ready", ready);
    // Many reloads, each of which would be said.
    for number in 0..50 {
        folder.write("index.html", format!("{number}").as_bytes());
        kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), Signal::SIGHUP).unwrap();
    }
    until("it is ready still", ready);
    child.kill().unwrap();
    child.wait().unwrap();
    drop(reader);
}
