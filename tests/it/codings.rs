//! Siblings in content codings, as build tools make them and leave them behind.

use std::process::Command;

use crate::harness::{Answer, Folder, Tine, get};

fn body() -> Vec<u8> {
    "a line that comes again and again\n".repeat(3_000).into_bytes()
}

/// A file and its gzip.
fn site(body: &[u8]) -> Folder {
    let folder = Folder::new(&[("a.txt", body)]);
    let status = Command::new("gzip").args(["--keep", "a.txt"]).current_dir(folder.path()).status();
    assert!(status.unwrap().success());
    folder
}

fn ask(tine: &Tine, path: &str, wish: &str) -> Answer {
    let mut client = tine.connect();
    let field = format!("\r\nAccept-Encoding: {wish}\r\n\r\n");
    client.send(get(path).replace("\r\n\r\n", &field));
    client.answer()
}

fn coding(tine: &Tine, wish: &str) -> Option<String> {
    ask(tine, "/a.txt", wish).field("Content-Encoding").map(str::to_owned)
}

#[test]
fn a_gzip_is_sent_held_or_not_and_is_the_file() {
    let body = body();
    let folder = site(&body);
    for memory_file_max in ["10", "10KiB", "1MiB"] {
        let tine = Tine::serve(&folder, &["--memory-file-max", memory_file_max]);
        let answer = ask(&tine, "/a.txt", "br, gzip");
        assert_eq!(answer.field("Content-Encoding"), Some("gzip"), "{memory_file_max}");
        assert_eq!(answer.field("Content-Type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answer.field("Vary"), Some("Accept-Encoding"));
        folder.write("sent.gz", &answer.body);
        let unpacked = Command::new("gzip").args(["-dc"]).arg(folder.join("sent.gz")).output();
        assert!(unpacked.unwrap().stdout == body);
        let own = tine.get("/a.txt");
        assert_eq!(
            (own.field("Content-Encoding"), own.field("Vary")),
            (None, answer.field("Vary"))
        );
        assert!(own.body == body && own.field("ETag") != answer.field("ETag").or(Some("")));
    }
}

#[test]
fn a_gzip_that_was_left_behind_is_not_sent_however_new_it_looks() {
    let body = body();
    let folder = site(&body);
    let other = [&body[..body.len() - 1], b"!"].concat();
    folder.write("a.txt", &other);
    folder.date("a.txt.gz", 2_000_000_000);
    let held = Tine::serve(&folder, &["--memory-file-max", "1MiB", "--gzip-max", "0"]);
    assert_eq!(ask(&held, "/a.txt", "gzip").body, other);
    // What it holds is not compared if the file is not held; its length and its age are.
    let large = Tine::serve(&folder, &["--memory-file-max", "10", "--gzip-max", "0"]);
    assert_eq!(coding(&large, "gzip").as_deref(), Some("gzip"));
    folder.date("a.txt", 1_500_000_100);
    folder.date("a.txt.gz", 1_500_000_000);
    let large = Tine::serve(&folder, &["--memory-file-max", "10", "--gzip-max", "0"]);
    assert_eq!(coding(&large, "gzip"), None);
    folder.write("a.txt", &other[1..]);
    folder.date("a.txt.gz", 2_000_000_000);
    let large = Tine::serve(&folder, &["--memory-file-max", "10", "--gzip-max", "0"]);
    assert_eq!(coding(&large, "gzip"), None);
}

#[test]
fn a_gzip_that_proves_itself_may_be_old_and_brotli_may_not() {
    let folder = site(&body());
    folder.write("a.txt.br", b"brotli says nothing of itself");
    let sent = |own, sibling, wish| {
        folder.date("a.txt", own);
        folder.date("a.txt.gz", sibling);
        folder.date("a.txt.br", sibling);
        coding(&Tine::serve(&folder, &["--memory-file-max", "1MiB"]), wish)
    };
    assert_eq!(sent(1_500_000_000, 1_000_000_000, "br, gzip").as_deref(), Some("gzip"));
    assert_eq!(sent(1_500_000_000, 1_499_999_940, "br, gzip").as_deref(), Some("br"));
    assert_eq!(sent(1_500_000_000, 1_499_999_939, "br"), None);
    // Times that reproducible builds make up say nothing.
    assert_eq!(sent(1, 1_000_000_000, "br").as_deref(), Some("br"));
    assert_eq!(sent(1_000_000_000, 1, "br"), None);
}

#[test]
fn the_page_for_what_is_missing_comes_in_codings_too() {
    let folder = Folder::new(&[("404.html", b"not here"), ("404.html.br", b"br")]);
    let tine = Tine::serve(&folder, &[]);
    for (wish, coding, text) in [("br", Some("br"), "br"), ("gzip", None, "not here")] {
        let missing = ask(&tine, "/missing", wish);
        assert_eq!((missing.status(), missing.field("Vary")), (404, Some("Accept-Encoding")));
        assert_eq!((missing.field("Content-Encoding"), missing.text()), (coding, text));
    }
}

#[test]
fn heads_of_siblings_are_held_while_the_memory_lasts() {
    let folder = Folder::new(&[("a.txt", &body()), ("a.txt.br", b"br")]);
    folder.date("a.txt.br", 1_500_000_000);
    folder.date("a.txt", 1_500_000_000);
    let answers = ["64MiB", "300"].map(|memory_max| {
        let tine = Tine::serve(&folder, &["--memory-max", memory_max]);
        let answer = ask(&tine, "/a.txt", "br");
        (answer.head.lines().filter(|line| !line.starts_with("Date")).collect(), answer.body)
    });
    let [held, made]: [(String, Vec<u8>); 2] = answers;
    assert_eq!(held, made);
}

#[test]
fn a_folder_and_its_index_vary_alike_and_a_lone_sibling_is_a_file() {
    let folder = Folder::new(&[("docs/index.html", &body()), ("docs/index.html.br", b"br")]);
    folder.write("lone.gz", b"lone");
    let tine = Tine::serve(&folder, &["--memory-file-max", "1MiB"]);
    for path in ["/docs/", "/docs/index.html"] {
        let answer = ask(&tine, path, "br");
        assert_eq!((answer.field("Content-Encoding"), answer.text()), (Some("br"), "br"));
        assert_eq!(answer.field("Content-Type"), Some("text/html; charset=utf-8"));
    }
    let lone = ask(&tine, "/lone.gz", "gzip");
    assert_eq!((lone.field("Content-Encoding"), lone.field("Vary")), (None, None));
    assert_eq!(ask(&tine, "/lone", "gzip").status(), 404);
}
