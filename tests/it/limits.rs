//! Every limit, reached. Times are waited for, and never compared with a clock.

use std::io::Read as _;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use crate::harness::{Client, Folder, PATIENCE, Tine, get, pass};

/// As much as a socket takes at once.
const LARGE: usize = 2_000_000;

fn site() -> Folder {
    Folder::new(&[("a.txt", b"a"), ("large", &vec![7; LARGE]), ("big", &vec![7; 30_000_000])])
}

/// What comes back for bytes that are no whole request, until tine ends the connection.
fn outcome(tine: &Tine, bytes: &str) -> String {
    let mut client = tine.connect();
    client.send(bytes);
    let rest = client.rest();
    String::from_utf8(rest).unwrap().lines().next().unwrap_or("").to_owned()
}

#[test]
fn sizes_are_bounded() {
    let folder = site();
    let args = [
        "--target-max",
        "100",
        "--request-head-max",
        "300",
        "--header-count-max",
        "3",
        "--body-max",
        "10",
    ];
    let tine = Tine::serve(&folder, &args);
    let request = |target: usize, fields: &str| {
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n{fields}\r\n", "a".repeat(target - 1))
    };
    let status = |text: &str| {
        let mut client = tine.connect();
        client.send(text);
        let answer = client.answer();
        assert_eq!(answer.field("Connection").is_some(), answer.status() != 404, "{text}");
        answer.status()
    };
    assert_eq!(status(&request(100, "")), 404);
    assert_eq!(status(&request(101, "")), 414);
    assert_eq!(status(&request(9, &format!("A: {}\r\n", "b".repeat(200)))), 404);
    assert_eq!(status(&request(9, &format!("A: {}\r\n", "b".repeat(300)))), 431);
    assert_eq!(status(&request(9, "A: b\r\nA: b\r\n")), 404);
    assert_eq!(status(&request(9, "A: b\r\nA: b\r\nA: b\r\n")), 431);
    assert_eq!(status(&(request(9, "Content-Length: 10\r\n") + "0123456789")), 404);
    assert_eq!(status(&(request(9, "Content-Length: 11\r\n") + "0123456789x")), 413);
}

#[test]
fn a_limit_is_felt_before_the_line_has_an_end() {
    let folder = site();
    let tine = Tine::serve(&folder, &[]);
    let endless = "a".repeat(20_000);
    assert_eq!(outcome(&tine, &format!("GET /{endless}")), "HTTP/1.1 414 URI Too Long");
    let head = format!("GET / HTTP/1.1\r\nA: {endless}");
    assert_eq!(outcome(&tine, &head), "HTTP/1.1 431 Request Header Fields Too Large");
}

#[test]
fn a_head_has_a_deadline_in_all() {
    let folder = site();
    let tine = Tine::serve(&folder, &["--head-timeout", "1200ms", "--body-timeout", "50ms"]);
    // Each byte is a sign of life; together they take too long all the same.
    let mut client = tine.connect();
    let mut writer = client.stream.try_clone().unwrap();
    let dribble = std::thread::spawn(move || {
        use std::io::Write as _;
        let start = Instant::now();
        writer.write_all(b"GET / HTTP/1.1\r\nA: ").unwrap();
        while start.elapsed() < PATIENCE && writer.write_all(b"b").is_ok() {
            std::thread::park_timeout(Duration::from_millis(100));
        }
    });
    let answer = client.answer();
    assert_eq!((answer.status(), answer.field("Connection")), (408, Some("close")));
    client.rest();
    drop(client);
    dribble.join().unwrap();
}

#[test]
fn who_says_nothing_is_let_go_in_silence() {
    let folder = site();
    let tine = Tine::serve(&folder, &["--head-timeout", "50ms"]);
    assert!(tine.connect().is_closed());
}

#[test]
fn a_body_has_a_deadline() {
    let folder = site();
    let tine = Tine::serve(&folder, &["--body-timeout", "50ms"]);
    let begun = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab";
    assert_eq!(outcome(&tine, begun), "HTTP/1.1 408 Request Timeout");
}

#[test]
fn an_idle_connection_ends_in_silence() {
    let folder = site();
    let tine = Tine::serve(&folder, &["--idle-timeout", "50ms"]);
    let mut client = tine.connect();
    client.send(get("/a.txt"));
    assert_eq!(client.answer().text(), "a");
    assert!(client.is_closed());
}

#[test]
fn a_client_that_takes_nothing_is_cut_and_one_that_takes_little_is_not() {
    let folder = site();
    let tine = Tine::serve(&folder, &["--write-timeout", "2s"]);
    let start = |tine: &Tine| {
        let mut client = tine.connect();
        client.send(get("/big"));
        client
    };
    let mut stuck = start(&tine);
    let mut slow = start(&tine);
    // It takes a little now and then, for longer than the other has, then all the rest. That is
    // far less than what a socket's buffer holds, so that the server hardly notices.
    let mut taken = 0;
    let mut buffer = vec![0; 15_000];
    let begun = Instant::now();
    while begun.elapsed().as_millis() < 6_000 {
        taken += slow.stream.read(&mut buffer).unwrap();
        std::thread::park_timeout(Duration::from_millis(50));
    }
    taken += slow_rest(&mut slow);
    assert!(taken > 30_000_000, "{taken}");
    assert!(slow_rest(&mut stuck) < 30_000_000);
}

fn slow_rest(client: &mut Client) -> usize {
    client.send(""); // the connection is still ours to write to
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    client.rest().len()
}

#[test]
fn what_came_in_time_while_a_worker_was_paused_is_answered() {
    const CLIENTS: usize = 20;
    let folder = site();
    let limits = ["--workers", "1", "--head-timeout", "3s", "--idle-timeout", "3s"];
    let tine = Tine::serve(&folder, &limits);
    let mut clients: Vec<Client> = (0..2 * CLIENTS).map(|_| tine.connect()).collect();
    let (begun, idle) = clients.split_at_mut(CLIENTS);
    for client in &mut *idle {
        client.send(get("/a.txt"));
        assert_eq!(client.answer().status(), 200);
    }
    begun.iter_mut().for_each(|client| client.send("GET /a.txt HT"));
    // The server has read that when somebody behind them is answered.
    assert_eq!(tine.get("/a.txt").status(), 200);
    let worker = tine.workers()[0];
    kill(worker, Signal::SIGSTOP).unwrap();
    begun.iter_mut().for_each(|client| client.send("TP/1.1\r\nHost: x\r\n\r\n"));
    idle.iter_mut().for_each(|client| client.send(get("/a.txt")));
    pass(Duration::from_secs(4));
    kill(worker, Signal::SIGCONT).unwrap();
    for client in &mut clients {
        assert_eq!(client.answer().status(), 200);
    }
}

#[test]
fn who_still_receives_an_answer_is_not_idle() {
    let folder = site();
    let tine = Tine::serve(&folder, &["--workers", "1", "--idle-timeout", "1s"]);
    let mut client = tine.connect();
    client.send(get("/large"));
    // The server has it off its hands at once, and the client takes its time.
    let (mut taken, mut buffer) = (Vec::new(), vec![0; 20_000]);
    let begun = Instant::now();
    let head_len = |taken: &[u8]| taken.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    while taken.is_empty() || taken.len() < head_len(&taken[..1_000]) + LARGE {
        let len = client.stream.read(&mut buffer).unwrap();
        assert!(len > 0, "closed behind {} octets", taken.len());
        taken.extend_from_slice(&buffer[..len]);
        let is_slow = begun.elapsed() < Duration::from_secs(4);
        std::thread::park_timeout(Duration::from_millis(if is_slow { 50 } else { 0 }));
    }
    client.send(get("/a.txt"));
    assert_eq!(client.answer().status(), 200);
}
