//! A cache in front: nginx, which keeps what tine lets it keep, and asks again in its own way.

use std::fs;

use crate::harness::{Answer, Folder, Tine, get, until};
use crate::peers::Peer;

fn cache(tine: &Tine) -> Peer {
    Peer::nginx(&format!(
        "access_log off; proxy_cache_path FOLDER/cache keys_zone=c:1m;\n\
         server {{ listen LISTEN; location / {{ proxy_pass http://{}; proxy_cache c;\n\
         proxy_cache_revalidate on; proxy_http_version 1.1; proxy_set_header Connection '';\n\
         add_header X-Cache $upstream_cache_status always;\n\
         add_header X-Origin $upstream_status always; }} }}",
        tine.address
    ))
}

fn ask(peer: &Peer, path: &str, fields: &str) -> Answer {
    let mut client = peer.connect();
    client.send(get(path).replace("\r\n\r\n", &format!("\r\n{fields}\r\n")));
    client.answer()
}

/// What the cache says of an answer: where it had it from, and what the origin said.
fn origin(answer: &Answer) -> (&str, Option<&str>) {
    (answer.field("X-Cache").unwrap(), answer.field("X-Origin"))
}

#[test]
fn a_cache_asks_again_and_hears_that_nothing_changed() {
    let folder = Folder::new(&[("a.txt", &[b'a'; 3000]), ("large.bin", &[b'l'; 100_000])]);
    folder.date("large.bin", 1_000_000_000);
    let tine = Tine::serve(&folder, &["--header=Cache-Control: max-age=1"]);
    let cache = cache(&tine);
    for path in ["/a.txt", "/large.bin"] {
        assert_eq!(origin(&ask(&cache, path, "")), ("MISS", Some("200")));
        assert_eq!(origin(&ask(&cache, path, "")), ("HIT", None));
        // It is stale after a second, and good again after a 304, as often as that comes.
        for _ in 0..2 {
            until("the cache asks again", || {
                let answer = ask(&cache, path, "");
                assert_eq!(answer.body, fs::read(folder.join(&path[1..])).unwrap());
                (origin(&answer) == ("REVALIDATED", Some("304"))).then_some(())
            });
            assert_eq!(origin(&ask(&cache, path, "")), ("HIT", None));
        }
    }
}

#[test]
fn a_cache_keeps_each_coding_apart() {
    let folder = Folder::new(&[("a.txt", &[b'a'; 3000]), ("a.txt.br", b"br")]);
    let tine = Tine::serve(&folder, &["--header=Cache-Control: max-age=60"]);
    let cache = cache(&tine);
    for expected in ["MISS", "HIT"] {
        let plain = ask(&cache, "/a.txt", "");
        assert_eq!((origin(&plain).0, plain.body.len()), (expected, 3000));
        let coded = ask(&cache, "/a.txt", "Accept-Encoding: br\r\n");
        assert_eq!((origin(&coded).0, coded.text()), (expected, "br"));
    }
}

#[test]
fn a_cache_keeps_nothing_that_it_is_not_to_keep() {
    let folder = Folder::new(&[("a.txt", b"a"), ("index.html", b"home")]);
    let misses = |args: &[&str], path: &str, fields: &str, status: &str| {
        let tine = Tine::serve(&folder, args);
        let cache = cache(&tine);
        for _ in 0..2 {
            assert_eq!(origin(&ask(&cache, path, fields)), ("MISS", Some(status)), "{path}");
        }
    };
    misses(&[], "/a.txt", "", "200");
    let args = ["--spa", "--header=Cache-Control: max-age=60"];
    misses(&args, "/missing", "", "404");
    misses(&args, "/page", "Sec-Fetch-Mode: navigate\r\n", "200");
}
