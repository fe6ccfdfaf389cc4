//! Requests that two readers may read differently, sent through a real proxy. If the proxy sees one
//! request and tine two, tine's second answer is one that the proxy has not asked for, and the next
//! client gets it. So answers are counted on both sides of the proxy.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::harness::{Folder, Tine, get, until};
use crate::peers::Peer;

/// What tine's answers are known by.
const MARK: &[u8] = b"x-from: tine\r\n";

fn count_marks(bytes: &[u8]) -> usize {
    bytes.windows(MARK.len()).filter(|window| *window == MARK).count()
}

/// Between a proxy and tine: passes everything on, and counts tine's answers.
struct Relay {
    address: SocketAddr,
    answers: Arc<AtomicUsize>,
    /// What the proxy sent last, for a failure's message.
    heard: Arc<Mutex<VecDeque<u8>>>,
}

impl Relay {
    fn new(tine: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (answers, heard) = (Arc::default(), Arc::default());
        let relay = Self { address, answers: Arc::clone(&answers), heard: Arc::clone(&heard) };
        thread::spawn(move || {
            while let Ok((front, _)) = listener.accept() {
                let back = TcpStream::connect(tine).unwrap();
                let (answers, heard) = (Arc::clone(&answers), Arc::clone(&heard));
                let (from, to) = (front.try_clone().unwrap(), back.try_clone().unwrap());
                thread::spawn(move || {
                    pass(from, to, |bytes| {
                        let mut heard = heard.lock().unwrap();
                        heard.extend(bytes);
                        let excess = heard.len().saturating_sub(2000);
                        heard.drain(..excess);
                    });
                });
                thread::spawn(move || {
                    let mut seen = Vec::new();
                    pass(back, front, |bytes| {
                        let before = count_marks(&seen);
                        seen.extend_from_slice(bytes);
                        answers.fetch_add(count_marks(&seen) - before, Ordering::SeqCst);
                    });
                });
            }
        });
        relay
    }

    fn answers(&self) -> usize {
        self.answers.load(Ordering::SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        look(&buffer[..len]);
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// A request that hides another one, behind each framing that somebody might believe.
fn ambiguous() -> Vec<(String, Vec<u8>)> {
    let hidden = "GET /hidden.txt HTTP/1.1\r\nHost: x\r\n\r\n";
    let (len, hex) = (hidden.len(), format!("{:x}", hidden.len()));
    let chunk = format!("{hex}\r\n{hidden}\r\n0\r\n\r\n");
    let empty_chunk = format!("0\r\n\r\n{hidden}");
    let length = |value: &str| format!("Content-Length: {value}\r\n");
    let (all, none) = (length(&empty_chunk.len().to_string()), length("0"));
    let mut requests = Vec::new();
    let mut add = |fields: &str, body: &str| {
        let bytes = format!("POST /a.txt HTTP/1.1\r\nHost: x\r\n{fields}\r\n{body}");
        requests.push((fields.escape_debug().to_string(), bytes.into_bytes()));
    };
    for coding in [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding: chunked\t",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer_Encoding: chunked",
        "Transfer-Encoding\0: chunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: chunked\0",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "TRANSFER-ENCODING: CHUNKED",
    ] {
        add(&format!("{coding}\r\n"), &empty_chunk);
        add(&format!("{coding}\r\n{all}"), &empty_chunk);
        add(&format!("{all}{coding}\r\n"), &empty_chunk);
        add(&format!("{coding}\r\n{none}"), &chunk);
    }
    for value in
        ["+5", "-1", "0x5", "5 ", "5,5", "5, 0", "00005", " 5", "5a", "", "99999999999999999999"]
    {
        add(&length(value), hidden);
    }
    add(&(length("0") + &length(&len.to_string())), hidden);
    add(&(length(&len.to_string()) + &length("0")), hidden);
    add(&format!("Content-Length : {len}\r\n"), hidden);
    add(&format!("Content_Length: {len}\r\n"), hidden);
    add(&format!("X: y\nContent-Length: {len}\r\n"), hidden);
    add(&format!("Connection: Content-Length\r\nContent-Length: {len}\r\n"), hidden);
    add(&format!("Expect: 100-continue\r\nContent-Length: {len}\r\n"), hidden);
    for size in
        ["0x0", "+0", " 0", "0 ", "00000000000000000000", "0;\n", "0;a\r", "-0", "g", "100000000"]
    {
        add("Transfer-Encoding: chunked\r\n", &format!("{size}\r\n\r\n{hidden}"));
    }
    add("Transfer-Encoding: chunked\r\n", &format!("0\n\n{hidden}"));
    add("Transfer-Encoding: chunked\r\n", &format!("0\r\nContent-Length: 5\r\n\r\n{hidden}"));
    add("Transfer-Encoding: chunked\r\n", &format!("1\r\nZZ\r\n0\r\n\r\n{hidden}"));
    requests
}

/// Sends all of them through a proxy, and a victim's request behind each.
fn assert_nobody_is_smuggled(proxy: &Peer, relay: &Relay) {
    let requests = ambiguous();
    let mut through = 0;
    for (name, request) in &requests {
        let before = relay.answers();
        let mut client = proxy.connect();
        // The second of the pair, which a hidden one would push back in its queue.
        client.send([&request[..], get("/a.txt").as_bytes()].concat());
        client.stream.shutdown(Shutdown::Write).unwrap();
        let asked_for = count_marks(&client.rest());
        let victim = {
            let mut client = proxy.connect();
            client.send(get("/victim.txt").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
            client.rest()
        };
        let heard = || {
            let heard = relay.heard.lock().unwrap();
            heard.iter().copied().collect::<Vec<_>>().escape_ascii().to_string()
        };
        let text = String::from_utf8_lossy(&victim);
        assert!(
            text.ends_with("victim\n"),
            "{name}: the victim got {text}; tine heard {}",
            heard()
        );
        let given = relay.answers() - before;
        assert_eq!(given, asked_for + 1, "{name}: another number; tine heard {}", heard());
        through += given - 1;
    }
    println!("{} pairs, {through} answers of tine's to them", requests.len());
    assert!(through > requests.len() / 4, "hardly anything came through");
}

fn site() -> (Folder, Tine) {
    let folder =
        Folder::new(&[("a.txt", b"a\n"), ("hidden.txt", b"hidden\n"), ("victim.txt", b"victim\n")]);
    let tine = Tine::serve(&folder, &["--header=x-from: tine", "--idle-timeout=1h"]);
    (folder, tine)
}

/// Waits until a proxy has begun.
fn await_proxy(proxy: &Peer) {
    until("the proxy answers", || {
        let mut client = proxy.connect();
        client.send(get("/victim.txt").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
        client.rest().ends_with(b"victim\n").then_some(())
    });
}

#[test]
fn nothing_is_smuggled_through_nginx() {
    let (_folder, tine) = site();
    for buffering in ["on", "off"] {
        let relay = Relay::new(tine.address);
        let proxy = Peer::nginx(&format!(
            "access_log off; upstream tine {{ server {}; keepalive 1; }}\n\
             server {{ listen LISTEN; client_body_timeout 2s; client_header_timeout 2s;\n\
             underscores_in_headers on; ignore_invalid_headers off;\n\
             location / {{ proxy_pass http://tine; proxy_http_version 1.1;\n\
             proxy_set_header Connection ''; proxy_request_buffering {buffering};\n\
             proxy_ignore_client_abort on; }} }}",
            relay.address
        ));
        await_proxy(&proxy);
        assert_nobody_is_smuggled(&proxy, &relay);
    }
}

#[test]
fn nothing_is_smuggled_through_haproxy() {
    let (_folder, tine) = site();
    for accept in ["", "option accept-invalid-http-request"] {
        let relay = Relay::new(tine.address);
        let proxy = Peer::haproxy(&format!(
            "defaults\n mode http\n timeout connect 5s\n timeout client 2s\n timeout server 5s\n \
             timeout http-request 2s\n {accept}\nfrontend f\n bind LISTEN\n \
             default_backend b\nbackend b\n http-reuse always\n server s {} pool-max-conn 1\n",
            relay.address
        ));
        await_proxy(&proxy);
        assert_nobody_is_smuggled(&proxy, &relay);
    }
}
