//! The golden requests, asked of tine and of nginx. Each difference stands in
//! `tests/data/nginx.txt` with its reason, or is a failure; so is one that stands there for none.

use std::collections::BTreeMap;
use std::fs;
use std::net::Shutdown;
use std::path::Path;
use std::process::Command;

use crate::cases::{self, Page};
use crate::harness::{Client, Folder, Tine};
use crate::peers::Peer;

const LIST: &str = "tests/data/nginx.txt";

/// What an answer comes to, without what two servers are free to say differently.
fn summary(answer: &str, body_len: usize) -> String {
    let field = |name: &str| {
        let mut lines = answer.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let mut words = vec![answer.split(' ').nth(1).unwrap_or("?").to_owned()];
    if words[0] == "200" {
        words.push(format!("of {}, sent {body_len}", field("Content-Length").unwrap_or("?")));
    }
    if field("Content-Type").is_some_and(|value| value.starts_with("multipart/byteranges")) {
        words.push("in parts".to_owned());
    }
    words.extend(
        ["Content-Range", "Content-Encoding", "Location"]
            .map(field)
            .into_iter()
            .flatten()
            .map(str::to_owned),
    );
    if field("Connection") == Some("close") {
        words.push("close".to_owned());
    }
    words.join(" ")
}

/// What a server does with a request, until it ends the connection: all its answers, and the bytes
/// of files among them. Several parts are left out, since each server draws its own boundaries.
fn outcome(mut client: Client, request: &[u8]) -> (String, Vec<Vec<u8>>) {
    client.send(request);
    client.stream.shutdown(Shutdown::Write).unwrap();
    let bytes = client.rest();
    let has_bodies = !request.starts_with(b"HEAD ");
    let (mut rest, mut summaries, mut bodies) = (&bytes[..], Vec::new(), Vec::new());
    while !rest.is_empty() {
        let head_len = rest.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        let (Some(head_len), true) = (head_len, rest.starts_with(b"HTTP/")) else {
            summaries.push("a body without a head".to_owned());
            break;
        };
        let (head, behind) = rest.split_at(head_len);
        let head = String::from_utf8_lossy(head);
        let length =
            head.split("\r\nContent-Length: ").nth(1).and_then(|text| text.split('\r').next());
        let body_len = match length.and_then(|length| length.parse().ok()) {
            Some(length) if has_bodies => behind.len().min(length),
            _ => 0,
        };
        let summary = summary(&head, body_len);
        if summary.starts_with("20") && !summary.contains("in parts") {
            bodies.push(behind[..body_len].to_vec());
        }
        summaries.push(summary);
        rest = &behind[body_len..];
    }
    if summaries.is_empty() {
        summaries.push("silence".to_owned());
    }
    (summaries.join(", "), bodies)
}

/// The differences that are known, by their cases.
fn known() -> BTreeMap<String, String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(LIST)).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let split = |line: &str| {
        let (case, outcomes) = line.split_once(": ").expect("a case and its outcomes");
        (case.to_owned(), outcomes.to_owned())
    };
    lines.map(split).collect()
}

#[test]
fn each_difference_to_nginx_has_its_reason() {
    let folder = Folder::new(&[]);
    cases::make_site(folder.path());
    let nginx = Peer::nginx(&format!(
        "access_log off; include /etc/nginx/mime.types; server {{ listen LISTEN; root {}; \
         gzip_static on; absolute_redirect off; }}",
        folder.path().display()
    ));
    let mut differences = BTreeMap::new();
    let mut requests = 0;
    // Pages with arguments are about what tine is told, and nginx would be told otherwise.
    let is_plain = |page: &Page| page.args.len() == 1;
    for page in cases::pages().iter().filter(|page| is_plain(page)) {
        let args: Vec<_> = page.args.iter().map(String::as_str).collect();
        let tine = Tine::serve(&folder, &args);
        for case in &page.cases {
            let (ours, our_bodies) = outcome(tine.connect(), &case.request);
            let (theirs, their_bodies) = outcome(nginx.connect(), &case.request);
            requests += 1;
            if ours != theirs {
                let outcomes = format!("{ours} | {theirs}");
                differences.insert(format!("{}/{}", page.name(), case.name), outcomes);
            } else {
                assert_eq!(our_bodies, their_bodies, "{}/{}", page.name(), case.name);
            }
        }
    }
    println!("{requests} requests, {} differences", differences.len());
    let known = known();
    let lines = |these: &BTreeMap<String, String>, others: &BTreeMap<String, String>| -> String {
        let new = these.iter().filter(|(case, outcomes)| others.get(*case) != Some(outcomes));
        new.map(|(case, outcomes)| format!("{case}: {outcomes}\n")).collect()
    };
    let (new, gone) = (lines(&differences, &known), lines(&known, &differences));
    let version = Command::new("nginx").arg("-v").output().unwrap().stderr;
    let version = String::from_utf8_lossy(&version);
    assert!(new.is_empty() && gone.is_empty(), "{version}new:\n{new}gone:\n{gone}");
}
