//! What is served of a folder, and what is not.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::harness::{Folder, Tine, get, until};

/// Large enough not to be sent at once.
const BIG: usize = 20_000_000;

#[test]
fn what_is_no_file_is_not_there() {
    let folder = Folder::new(&[("a.txt", b"a"), (".hidden", b"x"), (".git/config", b"x")]);
    mkfifo(&folder.join("fifo"), Mode::from_bits_truncate(0o666)).unwrap();
    let _socket = UnixListener::bind(folder.join("socket")).unwrap();
    symlink("fifo", folder.join("to_fifo")).unwrap();
    symlink(".hidden", folder.join("shown")).unwrap();
    let tine = Tine::serve(&folder, &[]);
    for path in ["/fifo", "/socket", "/to_fifo", "/.hidden", "/.git/config", "/.git/", "/a.txt/b"] {
        assert_eq!(tine.get(path).status(), 404, "{path}");
    }
    // The rule is about URLs, as ConfigMap volumes need it, and not about where a link leads.
    assert_eq!(tine.get("/shown").text(), "x");
}

#[test]
fn links_are_followed_beneath_the_root_only() {
    let outside = Folder::new(&[("secret", b"secret")]);
    let folder = Folder::new(&[("..data/page.html", b"page"), ("sub/index.html", b"sub")]);
    symlink("..data/page.html", folder.join("page.html")).unwrap();
    symlink("sub", folder.join("alias")).unwrap();
    symlink(outside.join("secret"), folder.join("out")).unwrap();
    symlink(outside.path(), folder.join("out_folder")).unwrap();
    symlink("loop", folder.join("loop")).unwrap();
    symlink("..", folder.join("sub/up")).unwrap();
    symlink("nowhere", folder.join("dangling")).unwrap();
    let tine = Tine::serve(&folder, &[]);
    assert_eq!(tine.get("/page.html").text(), "page");
    assert_eq!(tine.get("/alias/").text(), "sub");
    assert_eq!(tine.get("/alias").field("Location"), Some("/alias/"));
    for path in ["/out", "/out_folder/secret", "/loop", "/dangling", "/sub/up/page.html"] {
        assert_eq!(tine.get(path).status(), 404, "{path}");
    }
    for path in ["out", "out_folder"] {
        let warning = format!("tine: {path} is a link that leads out of the directory");
        assert!(tine.warnings.iter().any(|line| line.starts_with(&warning)), "{path}");
    }
    assert_eq!(tine.warnings.len(), 2);
}

#[test]
fn what_cannot_be_read_is_named_and_forbidden() {
    let folder = Folder::new(&[("a.txt", b"a"), ("dir/b.txt", b"b"), ("sub/index.html", b"c")]);
    for path in ["a.txt", "dir", "sub/index.html"] {
        fs::set_permissions(folder.join(path), Permissions::from_mode(0o000)).unwrap();
    }
    let tine = Tine::serve(&folder, &[]);
    for path in ["/a.txt", "/dir", "/dir/", "/sub/index.html", "/sub/"] {
        assert_eq!(tine.get(path).status(), 403, "{path}");
    }
    assert_eq!(tine.get("/dir/b.txt").status(), 404);
    for path in ["a.txt", "dir", "sub/index.html"] {
        let warning = format!("tine: cannot read {path}: Permission denied");
        assert!(tine.warnings.iter().any(|line| line.starts_with(&warning)), "{path}");
    }
    assert_eq!(tine.warnings.len(), 3);
    // So that the folder can be removed.
    fs::set_permissions(folder.join("dir"), Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn names_are_bytes() {
    let names: [&[u8]; 6] =
        [b"a b.txt", b"100%.txt", b"a+b.txt", b"what?.txt", b"no#1.txt", b"\xff\xfe.txt"];
    let folder = Folder::new(&[]);
    for name in names {
        folder.write(OsStr::from_bytes(name), name);
    }
    folder.write("gr\u{fc}n/index.html", b"green");
    let tine = Tine::serve(&folder, &[]);
    for name in names {
        let encoded: String = name.iter().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(tine.get(&format!("/{encoded}")).body, name);
    }
    assert_eq!(tine.get("/a+b.txt").status(), 200);
    let moved = tine.get("/gr%c3%bcn?x");
    assert_eq!(moved.field("Location"), Some("/gr%C3%BCn/?x"));
    assert_eq!(tine.get("/gr%C3%BCn/").text(), "green");
}

#[test]
fn a_large_file_is_sent_whole_held_open_or_not() {
    let body: Vec<u8> = (0..=250).cycle().take(BIG).collect();
    let folder = Folder::new(&[("one", &body), ("two", &body)]);
    for path in ["one", "two"] {
        folder.date(path, 1_000_000_000);
    }
    for open_files_max in ["0", "1", "9"] {
        let tine = Tine::serve(&folder, &["--open-files-max", open_files_max]);
        for path in ["/one", "/two"] {
            let answer = tine.get(path);
            assert_eq!(answer.status(), 200);
            assert!(answer.field("Last-Modified").is_some());
            assert!(answer.body == body, "{path} differs");
        }
    }
}

#[test]
fn memory_is_for_the_smallest_and_the_rest_comes_from_disk() {
    let folder = Folder::new(&[("a", &[1; 1000]), ("b", &[2; 2000]), ("c", &[3; 3000])]);
    let kept = |gzip_max| {
        let tine = Tine::serve(
            &folder,
            &["--workers", "1", "--memory-max", "4KiB", "--gzip-max", gzip_max],
        );
        for (path, body) in [("/a", vec![1; 1000]), ("/b", vec![2; 2000]), ("/c", vec![3; 3000])] {
            assert_eq!(tine.get(path).body, body);
        }
        // A worker opens what is on disk when it is asked for it.
        let descriptors = fs::read_dir(format!("/proc/{}/fd", tine.workers()[0])).unwrap();
        let targets = descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        targets.filter(|target| target.parent() == Some(folder.path())).count()
    };
    // A quarter of it is left to gzip variants, unless there are none.
    assert_eq!([kept("0"), kept("8MiB")], [1, 2]);
}

#[test]
fn file_on_disk_that_was_replaced_is_served_from_the_next_site() {
    let folder = Folder::new(&[("kept", &[1; 100]), ("named", &[1; 100])]);
    let tine = Tine::serve(&folder, &["--memory-file-max", "10", "--open-files-max", "1"]);
    // No worker has opened them before; the requests wait for the next site.
    for name in ["kept", "named"] {
        folder.write("new", &[2; 50]);
        fs::rename(folder.join("new"), folder.join(name)).unwrap();
    }
    assert_eq!(tine.get("/kept").body, [2; 50]);
    assert_eq!(tine.get("/named").body, [2; 50]);
}

#[test]
fn a_file_that_is_gone_or_leads_out_is_missing() {
    let page = b"<h1>nothing here</h1>";
    let folder = Folder::new(&[("big", &[1; 100]), ("404.html", page), ("other", &[1; 100])]);
    let tine = Tine::serve(&folder, &["--memory-file-max", "30", "--open-files-max", "0"]);
    assert_eq!(tine.get("/big").status(), 200);
    fs::remove_file(folder.join("big")).unwrap();
    let assert_missing = || {
        let answer = tine.get("/big");
        assert_eq!((answer.status(), &*answer.body), (404, &page[..]));
    };
    assert_missing();
    for target in ["/etc/passwd", "big", "nowhere"] {
        symlink(target, folder.join("big")).unwrap();
        assert_missing();
        fs::remove_file(folder.join("big")).unwrap();
    }
    fs::create_dir(folder.join("big")).unwrap();
    assert_missing();
    fs::set_permissions(folder.join("other"), Permissions::from_mode(0o000)).unwrap();
    assert_eq!(tine.get("/other").status(), 403);
}

#[test]
fn conditions_are_about_the_file_as_it_is_now() {
    let folder = Folder::new(&[("big", &[1; 100])]);
    folder.date("big", 1_000_000_000);
    let tine = Tine::serve(&folder, &["--memory-file-max", "10"]);
    let ask = |condition: &str| {
        let mut client = tine.connect();
        client.send(get("/big").replace("\r\n\r\n", &format!("\r\n{condition}\r\n\r\n")));
        client.try_answer(false).unwrap()
    };
    let (old, new) = ("Sun, 09 Sep 2001 01:46:40 GMT", "Wed, 18 May 2033 03:33:20 GMT");
    assert_eq!(ask(&format!("If-Modified-Since: {old}")).status(), 304);
    assert_eq!(ask(&format!("If-Unmodified-Since: {old}")).status(), 200);
    folder.date("big", 1_700_000_000);
    assert_eq!(ask(&format!("If-Modified-Since: {old}")).status(), 200);
    assert_eq!(ask(&format!("If-Unmodified-Since: {old}")).status(), 412);
    let unchanged = ask(&format!("If-Modified-Since: {new}"));
    assert_eq!(unchanged.status(), 304);
    assert_eq!(unchanged.field("Last-Modified"), Some("Tue, 14 Nov 2023 22:13:20 GMT"));
}

#[test]
fn an_index_that_leads_to_what_cannot_be_read_is_forbidden_like_one_that_cannot() {
    let folder = Folder::new(&[("d/index.html", b"d")]);
    fs::set_permissions(folder.join("d/index.html"), Permissions::from_mode(0o000)).unwrap();
    fs::create_dir(folder.join("e")).unwrap();
    symlink("../d/index.html", folder.join("e/index.html")).unwrap();
    let tine = Tine::serve(&folder, &[]);
    for path in ["/d", "/e"] {
        assert_eq!(tine.get(path).status(), 301, "{path}");
        assert_eq!(tine.get(&format!("{path}/")).status(), 403, "{path}/");
        assert_eq!(tine.get(&format!("{path}/index.html/")).status(), 404, "{path}/index.html/");
    }
}

#[test]
fn a_name_cannot_forge_a_line() {
    let folder = Folder::new(&[]);
    symlink("/etc", folder.join("x\ntine: serving nonsense")).unwrap();
    let tine = Tine::serve(&folder, &[]);
    assert_eq!(tine.warnings.len(), 1, "{:?}", tine.warnings);
    assert!(tine.warnings[0].starts_with("tine: x\\ntine: serving nonsense is a link"));
}

#[test]
fn the_largest_sizes_there_are_change_nothing() {
    let folder = Folder::new(&[("a", b"a")]);
    let most = u64::MAX.to_string();
    let args = ["--memory-file-max", &most, "--memory-max", "64GiB", "--header-count-max", &most];
    let tine = Tine::serve(&folder, &[&args[..], &["--body-max", &most]].concat());
    assert_eq!(tine.get("/a").text(), "a");
    let mut client = tine.connect();
    client.send(format!("GET /a HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(500)));
    assert_eq!(client.answer().text(), "a");
}

#[test]
fn a_file_that_grew_or_shrank_is_sent_with_its_length_of_now() {
    let folder = Folder::new(&[("log.txt", &[1; 100])]);
    let tine = Tine::serve(&folder, &["--memory-file-max", "10"]);
    let file = File::options().write(true).open(folder.join("log.txt")).unwrap();
    for len in [150, 70, 0] {
        file.set_len(len).unwrap();
        assert_eq!(tine.get("/log.txt").body.len() as u64, len);
    }
}

/// Begins a download, changes the file in the middle of it, and returns how much came.
fn interrupted(change: impl Fn(&Path)) -> usize {
    let folder = Folder::new(&[("big", &vec![1; BIG])]);
    let tine = Tine::serve(&folder, &[]);
    let mut client = tine.connect();
    client.send("GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut begin = [0; 1000];
    client.stream.read_exact(&mut begin).unwrap();
    change(&folder.join("big"));
    client.rest().len() + begin.len()
}

#[test]
fn a_file_that_changes_while_it_is_sent_is_cut_and_never_padded() {
    let open = |path: &Path| File::options().write(true).open(path).unwrap();
    assert!(interrupted(|_| {}) > BIG);
    assert!(interrupted(|path| open(path).set_len(BIG as u64 / 2).unwrap()) < BIG);
    let overwrite = |path: &Path| {
        let mut file = open(path);
        let modified = file.metadata().unwrap().modified().unwrap();
        file.seek(SeekFrom::Start(BIG as u64 - 10)).unwrap();
        file.write_all(b"x").unwrap();
        // Who covers the tracks is found out all the same.
        file.set_modified(modified).unwrap();
    };
    assert!(interrupted(overwrite) < BIG);
    // What is replaced is not what is sent.
    let replace = |path: &Path| {
        fs::write(path.with_extension("new"), b"new").unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    };
    assert!(interrupted(replace) > BIG);
}

#[test]
fn dates_of_reproducible_builds_are_not_told() {
    let folder = Folder::new(&[("old", b"x"), ("new", b"x")]);
    for (name, second) in [("old", 1), ("new", 1_000_000_000)] {
        folder.date(name, second);
    }
    let tine = Tine::serve(&folder, &[]);
    assert_eq!(tine.get("/old").field("Last-Modified"), None);
    assert_eq!(tine.get("/new").field("Last-Modified"), Some("Sun, 09 Sep 2001 01:46:40 GMT"));
    let mut client = tine.connect();
    let since = "If-Modified-Since: Tue, 24 Nov 2026 00:00:00 GMT\r\n\r\n";
    for (path, status) in [("/old", 200), ("/new", 304)] {
        client.send(get(path).replace("\r\n\r\n", &format!("\r\n{since}")));
        assert_eq!(client.try_answer(status == 200).unwrap().status(), status);
    }
}

#[test]
fn a_file_has_a_date_only_once_its_second_is_over() {
    let folder = Folder::new(&[("held", &[1; 10]), ("large", &[1; 100])]);
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    let tomorrow = tomorrow.duration_since(UNIX_EPOCH).unwrap().as_secs();
    for name in ["held", "large"] {
        folder.date(name, tomorrow);
    }
    let tine = Tine::serve(&folder, &["--memory-file-max", "10"]);
    for path in ["/held", "/large"] {
        assert_eq!(tine.get(path).field("Last-Modified"), None, "{path}");
    }
    // Whatever it is written to, no two states of it have one date.
    let mut dates = BTreeMap::new();
    for state in 0..=200_u8 {
        folder.write("large", &[state; 100]);
        let answer = until("it has a date", || {
            let answer = tine.get("/large");
            (state < 200 || answer.field("Last-Modified").is_some()).then_some(answer)
        });
        if let Some(date) = answer.field("Last-Modified") {
            let body = dates.entry(date.to_owned()).or_insert_with(|| answer.body.clone());
            assert_eq!(*body, answer.body, "{date}");
        }
    }
    assert!(!dates.is_empty());
}
