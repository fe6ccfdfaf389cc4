//! The folder changes while it is served: whole or not at all, and nobody is cut off.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::harness::{
    Client, Folder, Over, PATIENCE, Tine, children_named, command, get, pass, until, within,
};

/// What is said once a change is served.
pub const ANEW: &str = " anew, ";

/// Makes `link` lead elsewhere, at once.
pub fn flip(link: &Path, target: &str) {
    let new = link.parent().unwrap().join(".new");
    symlink(target, &new).unwrap();
    fs::rename(&new, link).unwrap();
}

/// Asks until the answer is this one.
fn await_text(tine: &Tine, path: &str, text: &str) {
    until(text, || (tine.get(path).body == text.as_bytes()).then_some(()));
}

/// A volume as Kubernetes makes it of a ConfigMap.
pub fn volume() -> Folder {
    let folder = Folder::new(&[("..1/a.txt", b"1"), ("..2/a.txt", b"2"), ("..2/b.txt", b"b")]);
    symlink("..1", folder.join("..data")).unwrap();
    symlink("..data/a.txt", folder.join("a.txt")).unwrap();
    symlink("..data/b.txt", folder.join("b.txt")).unwrap();
    folder
}

#[test]
fn connections_stay_with_what_they_have_sent_across_reloads() {
    let folder = volume();
    let tine = Tine::serve(&folder, &["--workers", "2"]);
    let mut idle: Vec<_> = (0..50).map(|_| tine.connect()).collect();
    for client in &mut idle {
        client.send(get("/a.txt"));
        assert_eq!(client.answer().text(), "1");
    }
    let mut begun: Vec<_> = (0..50).map(|_| tine.connect()).collect();
    begun.iter_mut().for_each(|client| client.send("GET /a.txt HTTP/1.1\r\nHos"));
    let mut silent = tine.connect();
    for round in 0..3 {
        flip(&folder.join("..data"), "..2");
        tine.wait_for_line(ANEW);
        for client in &mut idle {
            client.send(get("/a.txt"));
            let answer = client.answer();
            assert_eq!((answer.text(), answer.field("Connection")), ("2", None), "{round}");
        }
        assert_eq!(tine.get("/b.txt").text(), "b");
        flip(&folder.join("..data"), "..1");
        tine.wait_for_line(ANEW);
        assert_eq!(tine.get("/b.txt").status(), 404);
    }
    silent.send(get("/a.txt"));
    assert_eq!(silent.answer().text(), "1");
    for client in &mut begun {
        client.send("t: x\r\n\r\n");
        assert_eq!(client.answer().text(), "1");
    }
}

#[test]
fn requests_in_a_pile_are_answered_in_order_across_a_change() {
    const PILE: usize = 200;
    let folder = volume();
    let tine = Tine::serve(&folder, &["--workers", "2", "--reload-debounce", "1ms"]);
    let (mut client, is_over) = (tine.connect(), AtomicBool::new(false));
    thread::scope(|scope| {
        let _over = Over(&is_over);
        scope.spawn(|| {
            let begun = Instant::now();
            while !is_over.load(Ordering::Relaxed) && begun.elapsed() < PATIENCE {
                client.send(get("/a.txt").repeat(PILE));
                for _ in 0..PILE {
                    assert_eq!(client.answer().status(), 200);
                }
            }
        });
        for round in 0..20 {
            flip(&folder.join("..data"), ["..2", "..1"][round % 2]);
            tine.wait_for_line(ANEW);
        }
    });
}

#[test]
fn the_roots_own_link_may_lead_elsewhere() {
    let folder = Folder::new(&[("rev/1/a.txt", b"1"), ("rev/2/a.txt", b"2")]);
    symlink("rev/1", folder.join("current")).unwrap();
    let mut command = command(&folder.join("current"));
    let tine = Tine::start(command.args(["--listen", "127.0.0.1:0"]));
    assert_eq!(tine.get("/a.txt").text(), "1");
    flip(&folder.join("current"), "rev/2");
    await_text(&tine, "/a.txt", "2");
    fs::remove_dir_all(folder.join("rev/1")).unwrap();
    flip(&folder.join("current"), folder.join("rev/2").to_str().unwrap());
    tine.wait_for_line(ANEW);
    // What changes in the folder that it leads to now is noticed too.
    folder.write("rev/2/a.txt", b"two");
    await_text(&tine, "/a.txt", "two");
}

#[test]
fn a_folder_that_is_gone_is_served_on_and_its_return_is_noticed() {
    let folder = Folder::new(&[("site/a.txt", b"1"), ("next/a.txt", b"2"), ("x/a.txt", b"3")]);
    let tine = Tine::start(command(&folder.join("site")).args(["--listen", "127.0.0.1:0"]));
    fs::rename(folder.join("site"), folder.join("old")).unwrap();
    let line = tine.wait_for_line("what there was before is served on");
    assert!(line.contains("cannot read the directory: No such file"), "{line}");
    fs::remove_dir_all(folder.join("old")).unwrap();
    assert_eq!(tine.get("/a.txt").text(), "1");
    fs::rename(folder.join("next"), folder.join("site")).unwrap();
    await_text(&tine, "/a.txt", "2");
    // As it is done by hand: the old one aside, the new one in its place.
    fs::rename(folder.join("site"), folder.join("old")).unwrap();
    fs::rename(folder.join("x"), folder.join("site")).unwrap();
    await_text(&tine, "/a.txt", "3");
}

#[test]
fn what_comes_into_a_folder_that_was_empty_or_is_another_one_is_noticed() {
    let folder = Folder::new(&[("a.txt", b"1"), ("livez", b"hidden")]);
    let tine = Tine::serve(&folder, &["--rescan-interval", "1h"]);
    fs::create_dir(folder.join("new")).unwrap();
    // Longer than `--reload-debounce`: the folder is looked at while there is nothing in it.
    pass(Duration::from_millis(500));
    fs::write(folder.join("new/b.txt"), b"2").unwrap();
    await_text(&tine, "/new/b.txt", "2");
    fs::remove_file(folder.join("new/b.txt")).unwrap();
    pass(Duration::from_millis(500));
    fs::create_dir(folder.join("next")).unwrap();
    fs::rename(folder.join("next"), folder.join("new")).unwrap();
    pass(Duration::from_millis(500));
    fs::write(folder.join("new/b.txt"), b"3").unwrap();
    await_text(&tine, "/new/b.txt", "3");
    // What tine's own word hides is no reason for another generation.
    pass(Duration::from_secs(3));
    tine.signal(Signal::SIGHUP);
    tine.wait_for_line("SIGHUP");
    pass(Duration::from_secs(1));
    tine.signal(Signal::SIGHUP);
    tine.wait_for_line("nothing new in ");
}

#[test]
fn without_a_notice_it_looks_by_itself_and_when_told_to() {
    let folder = Folder::new(&[("a.txt", b"1")]);
    let tine = Tine::serve(&folder, &["--watch", "off", "--rescan-interval", "1h"]);
    folder.write("a.txt", b"2");
    pass(Duration::from_millis(500));
    assert_eq!(tine.get("/a.txt").text(), "1");
    tine.signal(Signal::SIGHUP);
    await_text(&tine, "/a.txt", "2");
    tine.signal(Signal::SIGHUP);
    tine.wait_for_line("nothing new in ");
    drop(tine);
    let tine = Tine::serve(&folder, &["--watch", "off", "--rescan-interval", "100ms"]);
    folder.write("a.txt", b"3");
    await_text(&tine, "/a.txt", "3");
}

#[test]
fn what_is_written_in_place_is_served_in_whole_versions() {
    const PARTS: usize = 8;
    let version = |number: usize| format!("{number:08} ").repeat(1_000);
    let folder = Folder::new(&[("a.txt", version(0).as_bytes())]);
    // Longer than a busy machine lets a writer wait in the middle of a version.
    let tine = Tine::serve(&folder, &["--workers", "1", "--reload-debounce", "2s"]);
    let (address, is_over, written) = (tine.address, AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _over = Over(&is_over);
        scope.spawn(|| {
            // For longer than changes are waited out, and then the last one.
            let begun = Instant::now();
            for number in 1.. {
                let (text, time) = (version(number), begun.elapsed());
                let mut file = File::options().write(true).open(folder.join("a.txt")).unwrap();
                file.set_len(0).unwrap();
                file.seek(SeekFrom::Start(0)).unwrap();
                for part in text.as_bytes().chunks(text.len() / PARTS) {
                    pass(Duration::from_millis(7));
                    file.write_all(part).unwrap();
                }
                written.store(number, Ordering::Relaxed);
                if time > Duration::from_secs(7) {
                    return;
                }
            }
        });
        scope.spawn(|| {
            let mut client = Client::connect(address);
            let mut last = String::new();
            while !is_over.load(Ordering::Relaxed) {
                client.send(get("/a.txt"));
                let answer = client.answer();
                let text = answer.text();
                assert_eq!(text, text[..9].repeat(1_000), "parts of several versions");
                assert!(*last <= *text, "it went back");
                last = text.to_owned();
            }
        });
        until("the last version is written", || {
            let number = written.load(Ordering::Relaxed);
            (number > 0 && tine.get("/a.txt").text() == version(number)).then_some(())
        });
    });
}

#[test]
fn a_site_that_has_lost_its_index_waits() {
    let folder = Folder::new(&[("index.html", b"1"), ("a.txt", b"1")]);
    let tine = Tine::serve(&folder, &[]);
    // As build tools do: all of it away, and then anew.
    fs::remove_file(folder.join("index.html")).unwrap();
    fs::remove_file(folder.join("a.txt")).unwrap();
    tine.wait_for_line("index.html is gone; what there was is served");
    folder.write("a.txt", b"2");
    pass(Duration::from_secs(1));
    assert_eq!((tine.get("/").text(), tine.get("/a.txt").text()), ("1", "1"));
    folder.write("index.html", b"2");
    await_text(&tine, "/", "2");
    assert_eq!(tine.get("/a.txt").text(), "2");
}

/// The CPU time of a process, in ticks of 10 ms (proc_pid_stat(5)).
fn cpu_ticks(pid: Pid) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
    fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

#[test]
fn a_missing_folder_is_waited_for_if_that_is_wanted() {
    let folder = Folder::new(&[("soon/a.txt", b"a")]);
    let start = |wait: &str| {
        let mut command = command(&folder.join("site"));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listen = port.to_string();
        command.args(["--listen", &listen, "--workers", "1", "--wait-for-root", wait]);
        (command, port)
    };
    let (mut command, address) = start("20s");
    let mut tine = command.spawn().unwrap();
    let ask = |path: &str| {
        let mut client = within(Duration::from_secs(10), || {
            std::net::TcpStream::connect(address).ok().map(|_| Client::connect(address))
        });
        let client = client.as_mut().expect("somebody listens");
        client.send(get(path));
        client.answer()
    };
    let answer = ask("/a.txt");
    assert_eq!((answer.status(), answer.field("Retry-After")), (503, Some("1")));
    assert_eq!((ask("/livez").status(), ask("/readyz").status()), (200, 503));
    let mut kept = Client::connect(address);
    kept.send(get("/livez"));
    assert_eq!(kept.answer().status(), 200);
    let worker = children_named(Pid::from_raw(tine.id().cast_signed()), "tine-worker")[0];
    let before = cpu_ticks(worker);
    pass(Duration::from_secs(1));
    let ticks = cpu_ticks(worker) - before;
    assert!(ticks < 25, "waiting takes {ticks} of 100 ticks");
    fs::rename(folder.join("soon"), folder.join("site")).unwrap();
    until("it is ready", || (ask("/readyz").status() == 200).then_some(()));
    until("the site is there", || {
        kept.send(get("/a.txt"));
        (kept.answer().text() == "a").then_some(())
    });
    tine.kill().unwrap();
    tine.wait().unwrap();
    fs::remove_dir_all(folder.join("site")).unwrap();
    let (mut command, _) = start("1s");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn names_made_from_content_are_served_for_a_while_after_their_files() {
    let (chunk, bundle) = ("assets/chunk-BkR3xY9z.js", "assets/index-4f2a9c1b.js");
    let folder = Folder::new(&[("index.html", b"1"), (chunk, b"chunk"), ("a.js", b"a")]);
    folder.write(bundle, &[b' '; 100_000]);
    let tine =
        Tine::serve(&folder, &["--keep-removed-assets", "1500ms", "--rescan-interval", "500ms"]);
    let statuses = |tine: &Tine| {
        let paths = [chunk, bundle, "a.js"].map(|path| format!("/{path}"));
        paths.map(|path| tine.get(&path).status())
    };
    assert_eq!(statuses(&tine), [200; 3]);
    for path in [chunk, bundle, "a.js"] {
        fs::remove_file(folder.join(path)).unwrap();
    }
    folder.write("index.html", b"2");
    await_text(&tine, "/", "2");
    assert_eq!(statuses(&tine), [200, 200, 404]);
    assert_eq!(tine.get(&format!("/{chunk}")).text(), "chunk");
    assert_eq!(tine.get(&format!("/{bundle}")).body.len(), 100_000);
    until("the time is over", || (statuses(&tine) == [404; 3]).then_some(()));

    folder.write(chunk, b"chunk");
    let tine = Tine::serve(&folder, &["--keep-removed-assets", "0s"]);
    fs::remove_file(folder.join(chunk)).unwrap();
    until("it is gone", || (tine.get(&format!("/{chunk}")).status() == 404).then_some(()));
}

#[test]
fn texts_travel_as_gzip_and_what_has_not_changed_is_not_packed_again() {
    let text = "some text that comes again and again\n".repeat(60_000);
    let mut noise = vec![0; 50_000];
    File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    let folder = Folder::new(&[("bundle.js", text.as_bytes()), ("noise.js", &noise)]);
    folder.write("small.js", &[b' '; 1023]);
    folder.write("page.png", text.as_bytes());
    folder.write("own.js", &[b' '; 5_000]);
    folder.write("own.js.br", b"br");
    let tine = Tine::serve(&folder, &[]);
    let ask = |path: &str, coding: &str| {
        let mut client = tine.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {coding}\r\n\r\n"));
        client.answer()
    };
    let coding = |path| ask(path, "gzip").field("Content-Encoding").map(str::to_owned);
    let codings = ["/bundle.js", "/noise.js", "/small.js", "/page.png", "/own.js"].map(coding);
    assert_eq!(codings, [Some("gzip".to_owned()), None, None, None, None]);
    let packed = ask("/bundle.js", "gzip");
    assert!(packed.body.len() < text.len() / 50);
    let etag = packed.field("ETag").unwrap().to_owned();
    let own = ask("/bundle.js", "identity");
    assert_eq!((own.text(), own.field("Vary")), (&*text, Some("Accept-Encoding")));
    assert_ne!(own.field("ETag"), Some(&*etag));
    // Another file changes, and this one's forms are what they were.
    folder.write("small.js", b"2");
    await_text(&tine, "/small.js", "2");
    assert_eq!(ask("/bundle.js", "gzip").field("ETag"), Some(&*etag));
    folder.write("bundle.js", &text.as_bytes()[1..]);
    until("it is packed anew", || {
        let answer = ask("/bundle.js", "gzip");
        (answer.field("ETag") != Some(&*etag)).then(|| answer.field("Content-Encoding").is_some())
    });
}

#[test]
fn a_large_file_has_a_tag_for_as_long_as_it_is_what_it_was() {
    let folder = Folder::new(&[("large.bin", &[1; 200_000])]);
    let tine = Tine::serve(
        &folder,
        &["--memory-file-max", "64KiB", "--watch", "off", "--rescan-interval", "1h"],
    );
    let ask = |fields: &str| {
        let mut client = tine.connect();
        client.send(format!("GET /large.bin HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
        let mut answer = client.try_answer(!fields.is_empty()).unwrap();
        answer.body.clear();
        answer
    };
    let etag = ask("").field("ETag").expect("a tag").to_owned();
    let is_it = format!("If-None-Match: {etag}\r\n");
    let part = format!("Range: bytes=0-9\r\nIf-Range: {etag}\r\n");
    let only = format!("If-Match: {etag}\r\n");
    assert_eq!([&is_it, &part, &only].map(|fields| ask(fields).status()), [304, 206, 200]);
    folder.write("large.bin", &[2; 200_000]);
    assert_eq!([&is_it, &part, &only].map(|fields| ask(fields).status()), [200, 200, 412]);
    // The one that it is now is not known yet; whoever has asked has it looked at.
    let other = until("it has another tag", || ask("").field("ETag").map(str::to_owned));
    assert_ne!(etag, other);
}
