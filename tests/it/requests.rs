//! Requests as clients really send them: in pieces, in piles, half-closed.

use std::net::Shutdown;

use crate::harness::{Folder, MISSING, Tine, get};

fn site() -> Folder {
    Folder::new(&[("index.html", b"<h1>home</h1>"), ("a.txt", b"a"), ("b.txt", b"bb")])
}

#[test]
fn the_root_answers_its_index_and_a_missing_file_the_old_words() {
    let folder = site();
    let tine = Tine::serve(&folder, &[]);
    let home = tine.get("/");
    assert_eq!((home.status(), home.text()), (200, "<h1>home</h1>"));
    let missing = tine.get("/missing");
    assert_eq!((missing.status(), &*missing.body), (404, MISSING));
    assert_eq!(missing.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(missing.field("Cache-Control"), Some("no-store"));
}

#[test]
fn the_sites_own_page_for_what_is_missing_wins() {
    let page = b"<h1>nothing here</h1>";
    for memory_file_max in ["64KiB", "5"] {
        let folder = Folder::new(&[("404.html", page), ("sub/404.html", b"x")]);
        let tine = Tine::serve(&folder, &["--memory-file-max", memory_file_max]);
        let missing = tine.get("/sub/missing");
        assert_eq!((missing.status(), &*missing.body), (404, &page[..]), "{memory_file_max}");
        assert_eq!(missing.field("Content-Type"), Some("text/html; charset=utf-8"));
        assert_eq!(missing.field("Cache-Control"), Some("no-store"));
        assert_eq!(missing.field("ETag"), None);
        assert_eq!(tine.get("/404.html").status(), 200);
    }
}

#[test]
fn a_kept_connection_answers_one_request_after_the_other() {
    let folder = site();
    let tine = Tine::serve(&folder, &[]);
    let mut client = tine.connect();
    for round in 0..100 {
        let (path, body) = if round % 2 == 0 { ("/a.txt", "a") } else { ("/b.txt", "bb") };
        client.send(get(path));
        let answer = client.answer();
        assert_eq!((answer.status(), answer.text()), (200, body));
        assert_eq!(answer.field("Connection"), None);
    }
}

#[test]
fn a_request_may_arrive_one_byte_at_a_time() {
    let folder = site();
    let tine = Tine::serve(&folder, &[]);
    let mut client = tine.connect();
    for byte in get("/b.txt").bytes() {
        client.send([byte]);
    }
    assert_eq!(client.answer().text(), "bb");
}

#[test]
fn a_pile_of_requests_is_answered_in_order() {
    const ROUNDS: usize = 5_000;
    let folder = site();
    let tine = Tine::serve(&folder, &[]);
    let mut client = tine.connect();
    let mut writer = client.stream.try_clone().unwrap();
    let pile = [get("/a.txt"), get("/missing"), get("/b.txt")].concat().repeat(ROUNDS);
    let sender = std::thread::spawn(move || {
        use std::io::Write as _;
        writer.write_all(pile.as_bytes()).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    for _ in 0..ROUNDS {
        assert_eq!(client.answer().text(), "a");
        assert_eq!(client.answer().status(), 404);
        assert_eq!(client.answer().text(), "bb");
    }
    assert!(client.is_closed());
    sender.join().unwrap();
}

#[test]
fn a_half_closed_client_still_gets_the_whole_answer() {
    let big = vec![7; 3_000_000];
    let folder = Folder::new(&[("big", &big)]);
    let tine = Tine::serve(&folder, &[]);
    let mut client = tine.connect();
    client.send(get("/big"));
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.answer().body, big);
    assert!(client.is_closed());
}

#[test]
fn the_answer_is_not_destroyed_by_what_the_client_still_sends() {
    let folder = site();
    let tine = Tine::serve(&folder, &[]);
    for _ in 0..20 {
        let mut client = tine.connect();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n");
        // It is answered and over for tine by now, but a reset would take the answer away.
        client.send(vec![b'x'; 3_000_000]);
        assert_eq!(client.answer().status(), 413);
        assert!(client.is_closed());
    }
}

#[test]
fn who_asked_for_the_end_and_sends_on_still_gets_the_whole_answer() {
    let big = vec![7; 3_000_000];
    let folder = Folder::new(&[("big", &big), ("small", &big[..60_000])]);
    let tine = Tine::serve(&folder, &[]);
    for (path, len) in [("/big", 3_000_000), ("/small", 60_000)] {
        for _ in 0..20 {
            let mut client = tine.connect();
            client.send(format!("GET {path} HTTP/1.0\r\n\r\n"));
            client.send("\r\n");
            let mut first = [0];
            client.stream.peek(&mut first).unwrap();
            client.send(get("/small"));
            assert_eq!(client.answer().body.len(), len);
            assert!(client.is_closed());
        }
    }
}

#[test]
fn bodies_are_dropped_and_the_connection_goes_on() {
    let folder = site();
    let tine = Tine::serve(&folder, &[]);
    let mut client = tine.connect();
    for _ in 0..3 {
        client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..15 {
            client.send(format!("1000\r\n{}\r\n", "x".repeat(0x1000)));
        }
        client.send("0\r\n\r\n");
        assert_eq!(client.answer().status(), 405);
        client.send(get("/a.txt"));
        assert_eq!(client.answer().text(), "a");
    }
}

#[test]
fn a_slow_client_holds_up_nobody() {
    let folder = site();
    let tine = Tine::serve(&folder, &["--workers", "1"]);
    let mut slow: Vec<_> = (0..50).map(|_| tine.connect()).collect();
    slow.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHo"));
    assert_eq!(tine.get("/a.txt").text(), "a");
    for client in &mut slow {
        client.send("st: x\r\n\r\n");
        assert_eq!(client.answer().status(), 200);
    }
}
