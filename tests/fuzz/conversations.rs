//! A whole connection under any bytes: beside it a plain reader, who has all of them at once, tells
//! how many answers there must be.

use std::path::Path;
use std::sync::LazyLock;
use std::{fs, io};

use tine::compile::{Job, Rules, SiteLimits};
use tine::http::fields::Slots;
use tine::http::framing::{Discard, Framing};
use tine::http::limits::Limits;
use tine::http::method::Method;
use tine::http::request::{Expectation, Persistence, Request, is_head_request};

use crate::site::CompiledSite;
use crate::socket::{Sim, State};

static SITE: LazyLock<CompiledSite> = LazyLock::new(|| make_site().expect("a temporary folder"));

/// A file in memory, one on disk, and a precompressed file.
fn make_site() -> io::Result<CompiledSite> {
    // It is there for as long as the process.
    let folder = tempfile::tempdir()?.keep();
    let write = |name: &str, body: &[u8]| fs::write(folder.join(name), body);
    write("index.html", b"<h1>home</h1>")?;
    write("a.txt", &[b'a'; 60])?;
    write("a.txt.br", b"br")?;
    write("large", &[b'l'; 300])?;
    let limits = SiteLimits { memory_file_max: 100, ..SiteLimits::default() };
    let spa_fallback = Some(Path::new("a.txt").into());
    let rules = Rules { limits, spa_fallback, ..Rules::default() };
    Ok(CompiledSite::new(&folder, &rules, &Job::first(&rules, 2_000_000_000)))
}

/// Each request is answered once and in its turn, and behind the last answer comes nothing; however
/// the bytes come, and however the answers go.
pub fn conn_never_answers_twice(data: &[u8]) {
    let Some((&[step, share], bytes)) = data.split_first_chunk() else { return };
    let limits =
        Limits { request_head_max: 1024, body_max: 64, header_count_max: 12, ..Limits::default() };
    let mut sim = Sim::new(&SITE, &limits);
    for piece in bytes.chunks(usize::from(step).max(1)) {
        sim.deliver(piece);
        sim.run(&mut |most| most.min(usize::from(share).max(1)));
    }
    let (expected, is_over) = expected(bytes, &limits);
    let mut rest = &sim.sent[..];
    for (at, has_body) in expected.iter().enumerate() {
        assert!(rest.starts_with(b"HTTP/1.1 "), "answer {at} of {}", expected.len());
        let head_len = 4 + rest.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let (head, behind) = rest.split_at(head_len);
        let says_close = head.windows(21).any(|line| line == b"\r\nConnection: close\r\n");
        assert_eq!(says_close, is_over && at + 1 == expected.len(), "of the connection's end");
        let body_len = if *has_body { length(head) } else { 0 };
        rest = &behind[body_len..];
    }
    assert!(rest.is_empty(), "an answer too many: {}", rest.escape_ascii());
    // Left alone, it has ended its side or waits for more.
    assert_eq!(sim.has_finished, is_over);
    sim.end_of_input();
    sim.run(&mut |most| most);
    assert_eq!(sim.state(), State::Closed);
}

fn length(head: &[u8]) -> usize {
    let text = std::str::from_utf8(head).expect("ASCII");
    let digits = text.split("\r\nContent-Length: ").nth(1).map(|rest| rest.split('\r').next());
    digits.flatten().map_or(0, |digits| digits.parse().expect("a length"))
}

/// For each answer whether it has a body, and whether the last one ends the connection.
fn expected(mut bytes: &[u8], limits: &Limits) -> (Vec<bool>, bool) {
    let mut answers = Vec::new();
    loop {
        let mut slots = Slots::new();
        let (request, len) = match Request::parse(bytes, &mut slots, limits) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return (answers, false),
            Err(_) => {
                answers.push(!is_head_request(bytes));
                return (answers, true);
            }
        };
        let has_body = request.method != Method::Head;
        bytes = &bytes[len..];
        if request.expectation != Expectation::None && request.framing != Framing::Empty {
            answers.push(has_body);
            return (answers, true);
        }
        let dropped = Discard::new(request.framing, limits.body_max).and_then(|mut discard| {
            let len = discard.consume(bytes)?;
            Ok(discard.is_done().then_some(len))
        });
        match dropped {
            Ok(Some(len)) => bytes = &bytes[len..],
            Ok(None) => return (answers, false),
            Err(_) => {
                answers.push(has_body);
                return (answers, true);
            }
        }
        answers.push(has_body);
        if request.persistence == Persistence::Close {
            return (answers, true);
        }
    }
}
