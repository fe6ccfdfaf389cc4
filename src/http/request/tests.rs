use super::*;
use crate::http::target::Locator;

/// What a head comes to: its length and some of what was read, or the refusal.
type Outcome = Result<Option<(Method, Persistence, Framing, usize)>, Reject>;

fn parse(bytes: &[u8]) -> Outcome {
    let mut slots = Slots::new();
    let parsed = Request::parse(bytes, &mut slots, &Limits::default())?;
    Ok(parsed.map(|(request, len)| (request.method, request.persistence, request.framing, len)))
}

fn persistence_of(head: &str) -> Persistence {
    parse(head.as_bytes()).unwrap().expect("a whole head").1
}

fn expectation_of(head: &str) -> Expectation {
    let mut slots = Slots::new();
    let parsed = Request::parse(head.as_bytes(), &mut slots, &Limits::default());
    parsed.unwrap().expect("a whole head").0.expectation
}

#[test]
fn a_plain_request_is_understood() {
    let bytes = b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\nGET";
    let mut slots = Slots::new();
    let (request, len) = Request::parse(bytes, &mut slots, &Limits::default()).unwrap().unwrap();
    assert_eq!(len, bytes.len() - 3);
    assert_eq!(request.target, Target::Path(Locator { path: b"/a", query: Some(b"b") }));
    assert_eq!(request.persistence, Persistence::Keep);
}

#[test]
fn every_prefix_of_a_request_is_waited_on() {
    let bytes = b"\r\nOPTIONS * HTTP/1.1\r\nHost: x\r\nA:b\r\n\r\n";
    for end in 0..bytes.len() {
        assert_eq!(parse(&bytes[..end]), Ok(None), "{end}");
    }
    assert!(parse(bytes).unwrap().is_some());
}

#[test]
fn a_request_line_that_is_not_to_the_letter_is_refused() {
    for line in [
        "GET  / HTTP/1.1\r\n",
        "GET /  HTTP/1.1\r\n",
        "GET\t/ HTTP/1.1\r\n",
        "GET / HTTP/1.1 \r\n",
        " GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1\r\r\n",
        "GET / HTTP/1.10\r\n",
        "GET / http/1.1\r\n",
        "GET / HTTP/1\r\n",
        "GET /\r\n",
        "GET / \r\n",
        "GET\r\n",
        "\n",
        "\r\r\n",
        "GET / HTTP/1.1\rX\r\n",
        "G(T / HTTP/1.1\r\n",
        "\x16\x03\x01\x02",
        "GET / HTTPS/1.1",
        "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(Reject::BadRequest), "{line:?}");
    }
}

#[test]
fn versions_of_another_major_number_are_refused_and_minor_ones_are_not() {
    let with = |version: &str| parse(format!("GET / {version}\r\nHost: x\r\n\r\n").as_bytes());
    assert_eq!(with("HTTP/2.0"), Err(Reject::VersionNotSupported));
    assert_eq!(with("HTTP/0.9"), Err(Reject::VersionNotSupported));
    assert_eq!(with("HTTP/1.2"), with("HTTP/1.1"));
    assert_eq!(parse(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Err(Reject::VersionNotSupported));
}

#[test]
fn methods_are_tokens_with_case() {
    let method = |name: &str| {
        let head = format!("{name} / HTTP/1.0\r\n\r\n");
        parse(head.as_bytes()).map(|parsed| parsed.expect("a whole head").0)
    };
    assert_eq!(method("HEAD"), Ok(Method::Head));
    assert_eq!(method("get"), Ok(Method::Unknown));
    assert_eq!(method("M-SEARCH"), Ok(Method::Unknown));
    assert_eq!(method("PATCH"), Ok(Method::NotAllowed));
    assert_eq!(method(&"A".repeat(METHOD_MAX + 1)), Err(Reject::NotImplemented));
}

#[test]
fn sizes_are_bounded_while_they_are_still_coming_in() {
    let limits =
        Limits { target_max: 50, request_head_max: 100, header_count_max: 3, ..Limits::default() };
    let parse = |text: &str| {
        Request::parse(text.as_bytes(), &mut Slots::new(), &limits).map(|parsed| parsed.is_some())
    };
    let target = |len: usize| format!("GET /{}", "a".repeat(len - 1));
    assert_eq!(parse(&target(50)), Ok(false));
    assert_eq!(parse(&target(51)), Err(Reject::UriTooLong));
    let head = |len: usize| format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}", "a".repeat(len - 28));
    assert_eq!(parse(&head(99)), Ok(false));
    assert_eq!(parse(&head(100)), Err(Reject::FieldsTooLarge));
    assert_eq!(parse(&(head(96) + "\r\n\r\n")), Ok(true));
    assert_eq!(parse(&(head(97) + "\r\n\r\n")), Err(Reject::FieldsTooLarge));
    let fields = |lines: usize| format!("GET / HTTP/1.0\r\n{}\r\n", "a:b\r\n".repeat(lines));
    assert_eq!(parse(&fields(3)), Ok(true));
    assert_eq!(parse(&fields(4)), Err(Reject::FieldsTooLarge));
}

#[test]
fn host_is_there_once_and_valid() {
    let with = |fields: &str, version: &str| {
        parse(format!("GET / HTTP/{version}\r\n{fields}\r\n").as_bytes())
            .map(|parsed| parsed.is_some())
    };
    assert_eq!(with("", "1.1"), Err(Reject::BadRequest));
    assert_eq!(with("", "1.0"), Ok(true));
    assert_eq!(with("Host: x\r\n", "1.1"), Ok(true));
    assert_eq!(with("Host:\r\n", "1.1"), Ok(true));
    assert_eq!(with("Host: x\r\nhost: x\r\n", "1.1"), Err(Reject::BadRequest));
    assert_eq!(with("Host: x\r\nhost: x\r\n", "1.0"), Err(Reject::BadRequest));
    assert_eq!(with("Host: a, b\r\n", "1.1"), Err(Reject::BadRequest));
}

#[test]
fn connection_options_are_whole_tokens_over_all_lines() {
    let with = |version: &str, lines: &str| {
        persistence_of(&format!("GET / HTTP/{version}\r\nHost: x\r\n{lines}\r\n"))
    };
    assert_eq!(with("1.1", ""), Persistence::Keep);
    assert_eq!(with("1.1", "Connection: keep-alive\r\n"), Persistence::Keep);
    assert_eq!(with("1.1", "Connection: disclose, closed\r\n"), Persistence::Keep);
    assert_eq!(with("1.1", "Connection: x\r\nConnection: a , CLOSE\r\n"), Persistence::Close);
    assert_eq!(with("1.0", ""), Persistence::Close);
    assert_eq!(with("1.0", "Connection: Keep-Alive\r\n"), Persistence::KeepSaid);
    assert_eq!(with("1.0", "Connection: keep-alive, close\r\n"), Persistence::Close);
}

#[test]
fn an_expectation_counts_only_with_a_body_and_in_1_1() {
    let with = |version: &str, lines: &str| {
        expectation_of(&format!("GET / HTTP/{version}\r\nHost: x\r\n{lines}\r\n"))
    };
    let body = "Content-Length: 1\r\n";
    assert_eq!(with("1.1", &format!("Expect: 100-Continue\r\n{body}")), Expectation::Continue);
    assert_eq!(with("1.1", "Expect: 100-continue\r\n"), Expectation::None);
    assert_eq!(with("1.0", &format!("Expect: 100-continue\r\n{body}")), Expectation::None);
    assert_eq!(with("1.1", "Expect: 200-ok\r\n"), Expectation::Unknown);
}
