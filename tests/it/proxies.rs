//! Who a client is, where proxies are between.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Folder, PROGRAM, Tine, command, get};

fn serve(args: &[&str]) -> Tine {
    let folder = Folder::new(&[("index.html", b"home")]);
    let mut command = command(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--workers", "1", "--log", "json"]).args(args);
    Tine::start(command.stdout(Stdio::piped()))
}

/// Whom the next line names.
fn client(tine: &Tine) -> String {
    let line: Value = serde_json::from_str(&tine.logged()).unwrap();
    line["client"].as_str().unwrap().to_owned()
}

fn from(tine: &Tine, fields: &str) -> String {
    let mut client_side = tine.connect();
    client_side.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
    assert_eq!(client_side.answer().text(), "home");
    client(tine)
}

#[test]
fn a_trusted_proxy_names_its_client_and_nobody_else_does() {
    let tine = serve(&["--trusted-proxies", "127.0.0.0/8", "--trusted-proxies", "10.0.0.0/8"]);
    assert_eq!(from(&tine, ""), "127.0.0.1");
    assert_eq!(from(&tine, "X-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.1.1.1\r\n"), "192.0.2.7");
    assert_eq!(from(&tine, "Forwarded: for=\"[2001:db8::7]:80\"\r\n"), "2001:db8::7");
    let tine = serve(&[]);
    assert_eq!(from(&tine, "X-Forwarded-For: 192.0.2.7\r\n"), "127.0.0.1");
    let tine = serve(&["--trusted-proxies", "192.0.2.0/24"]);
    assert_eq!(from(&tine, "X-Forwarded-For: 192.0.2.7\r\n"), "127.0.0.1");
}

#[test]
fn mapped_addresses_are_those_of_ipv4() {
    let folder = Folder::new(&[("index.html", b"home")]);
    let mut command = command(folder.path());
    command.args(["--listen", "[::]:0", "--log", "json", "--trusted-proxies", "127.0.0.1"]);
    let tine = Tine::start(command.stdout(Stdio::piped()));
    assert_eq!(from(&tine, ""), "127.0.0.1");
    assert_eq!(from(&tine, "X-Forwarded-For: ::ffff:192.0.2.7\r\n"), "192.0.2.7");
}

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

#[test]
fn a_connection_from_a_proxy_begins_with_its_client() {
    let tine = serve(&["--trusted-proxies", "127.0.0.1", "--proxy-protocol", "on"]);
    let v2 = |command: u8, family: u8, block: &[u8]| {
        let len = u16::try_from(block.len()).unwrap().to_be_bytes();
        [V2, &[command, family], &len, block].concat()
    };
    let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
    for (preface, expected) in [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (v2(0x21, 0x11, &v4), "192.0.2.7"),
        (v2(0x20, 0, &[]), "127.0.0.1"),
    ] {
        // However it comes.
        for step in [1, 7, 1000] {
            let mut stream = tine.connect();
            let bytes = [&preface[..], get("/").as_bytes()].concat();
            bytes.chunks(step).for_each(|chunk| stream.send(chunk));
            assert_eq!(stream.answer().text(), "home");
            assert_eq!(client(&tine), expected);
            // It was said once, for all requests.
            stream.send(get("/"));
            assert_eq!(stream.answer().text(), "home");
            assert_eq!(client(&tine), expected);
        }
    }
    // Who does not say it is not served: anybody could be behind that.
    let mut stream = tine.connect();
    stream.send(get("/"));
    assert!(stream.try_answer(true).is_none());
    let mut stream = tine.connect();
    stream.send([&v2(0x21, 0x11, &v4)[..], &v2(0x21, 0x11, &v4)[..], get("/").as_bytes()].concat());
    assert_eq!(stream.answer().status(), 400);
}

#[test]
fn who_is_not_trusted_has_no_word_before_its_request() {
    let tine = serve(&["--trusted-proxies", "192.0.2.0/24", "--proxy-protocol", "on"]);
    assert_eq!(from(&tine, ""), "127.0.0.1");
    let mut stream = tine.connect();
    stream.send([b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n", get("/").as_bytes()].concat());
    assert_eq!(stream.answer().status(), 400);
}

#[test]
fn nonsense_is_refused_with_the_mend() {
    for (args, mend) in [
        (&["--proxy-protocol", "on"][..], "name the proxies by --trusted-proxies"),
        (&["--proxy-protocol", "v2"], "is neither on nor off"),
        (&["--trusted-proxies", "10.0.0.1/8"], "without host bits"),
        (&["--trusted-proxies", "proxy"], "write 10.0.0.0/8"),
        (&["--log", "xml"], "write text, json, combined, headers or off"),
        (&["--admin-listen", "7789"], "write 127.0.0.1:7789, [::]:7789 or off"),
    ] {
        let output = Command::new(PROGRAM).args(args).env_clear().output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(mend), "{said}");
    }
}
