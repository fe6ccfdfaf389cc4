//! The log: a line for each answer, and lines about tine itself, whoever reads them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Folder, Tine, command, get};

pub fn site() -> Folder {
    Folder::new(&[("index.html", b"home"), ("big", &vec![1; 20_000_000])])
}

pub fn serve(folder: &Folder, args: &[&str]) -> Tine {
    let mut command = command(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--workers", "1"]).args(args);
    Tine::start(command.stdout(Stdio::piped()))
}

pub fn json(line: &str) -> BTreeMap<String, Value> {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn request(fields: &str) -> String {
    format!("GET /?q=1 HTTP/1.1\r\nHost: example.org\r\n{fields}\r\n")
}

const BROWSER: &str = "Referer: http://a/b\r\nUser-Agent: Mozilla/5.0 (X)\r\n";

#[test]
fn each_answer_is_an_object_with_the_promised_names() {
    let folder = site();
    let tine = serve(&folder, &["--log", "json"]);
    let mut client = tine.connect();
    let before = SystemTime::now();
    client.send(request(BROWSER));
    client.answer();
    let line = tine.logged();
    let after = SystemTime::now();
    let line = json(&line);
    let names: Vec<_> = line.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "agent",
            "bytes",
            "client",
            "cut",
            "duration_us",
            "generation",
            "host",
            "method",
            "protocol",
            "referrer",
            "status",
            "target",
            "time",
            "truncated",
            "worker"
        ]
    );
    let expected: [(&str, Value); 13] = [
        ("agent", "Mozilla/5.0 (X)".into()),
        ("bytes", 4.into()),
        ("client", "127.0.0.1".into()),
        ("cut", false.into()),
        ("generation", 2.into()),
        ("host", "example.org".into()),
        ("method", "GET".into()),
        ("protocol", "HTTP/1.1".into()),
        ("referrer", "http://a/b".into()),
        ("status", 200.into()),
        ("target", "/?q=1".into()),
        ("truncated", false.into()),
        ("worker", tine.workers()[0].as_raw().into()),
    ];
    for (name, value) in expected {
        assert_eq!(line[name], value, "{name}");
    }
    // To the millisecond, by a clock that is read once a turn.
    let said = humantime::parse_rfc3339(line["time"].as_str().unwrap()).unwrap();
    let early = before - Duration::from_secs(1);
    assert!((early..=after).contains(&said), "{line:?}");
}

#[test]
fn what_goes_wrong_is_logged_too() {
    let folder = site();
    let tine = serve(&folder, &["--log", "json", "--head-timeout", "1s"]);
    for (request, status, method, target, bytes) in [
        ("HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200, "HEAD", "/", 0),
        (
            "GET /missing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            404,
            "GET",
            "/missing",
            29,
        ),
        ("POST / HTTP/1.0\r\n\r\n", 405, "POST", "/", 31),
        ("PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n", 413, "PUT", "/a", 30),
        ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", 400, "", "GET / HTTP/1.1", 24),
        ("GET / HTTP/1.1\r\n\r\n", 400, "", "GET / HTTP/1.1", 24),
        ("GET /half HTTP/1.1\r\nHos", 408, "", "GET /half HTTP/1.1", 28),
        (
            "GET /\x1b[31m\u{9b} HTTP/1.1\r\nHost: x\r\n\r\n",
            400,
            "",
            "GET /\x1b[31m\u{9b} HTTP/1.1",
            24,
        ),
    ] {
        let mut client = tine.connect();
        client.send(request);
        client.rest();
        let line = json(&tine.logged());
        let found = (&line["status"], &line["method"], &line["target"], &line["bytes"]);
        assert_eq!(found, (&status.into(), &method.into(), &target.into(), &bytes.into()));
    }
}

#[test]
fn an_answer_that_is_cut_short_says_so() {
    let folder = site();
    let mut tine = serve(&folder, &["--log", "json"]);
    let mut client = tine.connect();
    client.send(get("/big"));
    let mut some = [0; 1000];
    client.stream.read_exact(&mut some).unwrap();
    drop(client);
    let line = json(&tine.logged());
    assert_eq!((&line["cut"], &line["status"]), (&true.into(), &200.into()));
    let bytes = line["bytes"].as_u64().unwrap();
    assert!((1..20_000_000).contains(&bytes), "{bytes}");
    tine.signal(Signal::SIGTERM);
    tine.wait();
    let said = tine.rest_of_lines();
    assert!(said.last().unwrap().contains("1 answer cut short"), "{said:?}");
}

#[test]
fn probes_are_not_logged() {
    let folder = site();
    let tine = serve(&folder, &["--log", "json"]);
    assert_eq!(tine.get("/livez").status(), 200);
    assert_eq!(tine.get("/readyz").status(), 200);
    tine.get("/a");
    assert_eq!(json(&tine.logged())["target"], Value::from("/a"));
}

#[test]
fn nothing_that_a_client_says_can_forge_a_line_or_command_a_terminal() {
    let folder = site();
    let evil = "Referer: a\"b\\c\t\u{9b}31m \u{e9}\r\nUser-Agent: {\"status\":200}\r\n";
    let asked = |format| {
        let tine = serve(&folder, &["--log", format]);
        let mut client = tine.connect();
        client.send(request(evil));
        client.send(b"GET /\xc2\x9b\x0a HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.answer().status(), 200);
        assert_eq!(client.answer().status(), 400);
        (tine.logged(), tine.logged())
    };
    let (line, _) = asked("json");
    assert_eq!(json(&line)["referrer"], Value::from("a\"b\\c\t\u{9b}31m \u{e9}"));
    assert_eq!(json(&line)["agent"], Value::from("{\"status\":200}"));
    let (line, wrong) = asked("combined");
    let escaped = "\"a\\\"b\\\\c\\x09\\xC2\\x9B31m \\xC3\\xA9\" \"{\\\"status\\\":200}\"";
    assert!(line.ends_with(escaped), "{line}");
    assert!(wrong.contains("\"GET /\\xC2\\x9B\" 400 24 \"-\" \"-\""), "{wrong}");
    for format in ["text", "headers"] {
        let (line, wrong) = asked(format);
        let is_plain = |line: &String| line.chars().all(|letter| matches!(letter, ' '..='~'));
        assert!(is_plain(&line) && is_plain(&wrong), "{line} {wrong}");
    }
}

#[test]
fn the_other_formats_are_what_they_are_called() {
    let folder = site();
    let line = |format| {
        let tine = serve(&folder, &["--log", format]);
        let mut client = tine.connect();
        client.send(request(BROWSER));
        client.answer();
        tine.logged()
    };
    let combined = line("combined");
    let (start, end) = (combined.split_once('[').unwrap(), combined.split_once("] ").unwrap().1);
    assert_eq!(start.0, "127.0.0.1 - - ");
    assert_eq!(start.1.split_once(']').unwrap().0.len(), "26/Nov/2026:09:30:00 +0000".len());
    assert_eq!(end, "\"GET /?q=1 HTTP/1.1\" 200 4 \"http://a/b\" \"Mozilla/5.0 (X)\"");
    let text = line("text");
    assert!(text[8..].starts_with(" 127.0.0.1 200 GET /?q=1 4 bytes "), "{text}");
    assert_eq!(
        line("headers"),
        "Request: [\"GET /?q=1 HTTP/1.1\", \"Host: example.org\", \"Referer: http://a/b\", \
         \"User-Agent: Mozilla/5.0 (X)\"]"
    );
}

#[test]
fn a_long_request_is_cut_to_a_line() {
    let folder = site();
    for format in ["json", "combined", "text", "headers"] {
        let tine = serve(&folder, &["--log", format]);
        let mut client = tine.connect();
        let long = "\"".repeat(3000);
        client.send(format!(
            "GET /{} HTTP/1.1\r\nHost: x\r\nReferer: {long}\r\nUser-Agent: {long}\r\n\r\n",
            "a".repeat(5000)
        ));
        assert_eq!(client.answer().status(), 404);
        let line = tine.logged();
        assert!(line.len() < 4000 && line.contains("/aaa"), "{}: {line}", line.len());
        // Each text that is cut says so: the last line of a head, or all three.
        let cut = line.matches("...").count();
        assert_eq!(cut, if format == "json" || format == "combined" { 3 } else { 1 }, "{line}");
        assert!(format != "json" || line.contains("\"truncated\":true"), "{line}");
        client.send(format!("GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: {long}\r\n\r\n"));
        assert_eq!(client.answer().status(), 200);
        let line = tine.logged();
        assert!(!line.contains("GET /..."), "the target is whole: {line}");
    }
}

#[test]
fn by_default_it_is_json_where_there_is_no_terminal_and_its_own_lines_too() {
    let folder = site();
    let mut command = command(folder.path());
    command.env_remove("TINE_LOG").args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
    let mut tine = Tine::start(&mut command);
    let start = json(&tine.start_line);
    assert!(start["message"].as_str().unwrap().starts_with("serving "), "{start:?}");
    tine.get("/");
    assert_eq!(json(&tine.logged())["status"], Value::from(200));
    tine.signal(Signal::SIGTERM);
    tine.wait();
    for line in tine.rest_of_lines() {
        assert!(json(&line).contains_key("message"), "{line}");
    }
}

#[test]
fn at_a_terminal_it_is_text_with_colours() {
    let folder = site();
    let Ok(nix::pty::OpenptyResult { master, slave }) = nix::pty::openpty(None, None) else {
        panic!("no terminal");
    };
    let mut command = command(folder.path());
    command.env_remove("TINE_LOG").args(["--listen", "127.0.0.1:0"]);
    let tine = Tine::start(command.stdout(Stdio::from(slave)));
    drop(command);
    tine.get("/missing");
    let mut terminal = File::from(master);
    let mut line = [0; 200];
    let len = terminal.read(&mut line).unwrap();
    let line = String::from_utf8_lossy(&line[..len]);
    assert!(line.contains(" 127.0.0.1 \u{1b}[33m404\u{1b}[0m GET /missing 29 bytes "), "{line}");
}
