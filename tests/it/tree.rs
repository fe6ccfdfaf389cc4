//! Trees: one that nobody wrote for this test, the documentation of whatever is installed; a deep
//! one; and one that changes while it is read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};

use crate::harness::{Folder, Over, Tine, command, get};

const TREE: &str = "/usr/share/doc";
/// Fewer files than this would prove little.
const FILES_MIN: usize = 1_000;

/// All regular files beneath a folder, by their path in it; links and dotfiles are left out.
fn files(folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if entry.file_name().as_bytes().starts_with(b".") {
            continue;
        }
        if kind.is_dir() {
            files(&entry.path(), found);
        } else if kind.is_file() {
            let path = entry.path().strip_prefix(TREE).unwrap().to_owned();
            found.insert(path, fs::read(entry.path()).unwrap());
        }
    }
}

fn compare(args: &[&str]) {
    let mut expected = BTreeMap::new();
    files(Path::new(TREE), &mut expected);
    assert!(expected.len() >= FILES_MIN, "{} files in {TREE}", expected.len());
    let mut command = command(Path::new(TREE));
    let tine = Tine::start(command.args(["--listen", "127.0.0.1:0"]).args(args));
    let mut client = tine.connect();
    for (path, body) in &expected {
        let url: String = path
            .as_os_str()
            .as_bytes()
            .iter()
            .map(|&byte| match byte {
                b'/' | b'.' | b'-' => char::from(byte).to_string(),
                byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
                byte => format!("%{byte:02x}"),
            })
            .collect();
        client.send(get(&format!("/{url}")));
        let answer = client.answer();
        assert_eq!(answer.status(), 200, "{}", path.display());
        assert!(answer.body == *body, "{} differs", path.display());
    }
}

#[test]
fn every_file_of_a_real_tree_comes_back_byte_for_byte() {
    compare(&[]);
}

#[test]
fn the_same_with_nothing_held_and_few_kept_open() {
    compare(&["--memory-file-max", "0", "--open-files-max", "10"]);
}

#[test]
fn a_tree_is_served_as_deep_as_a_path_can_be_and_no_deeper() {
    let folder = Folder::new(&[("index.html", b"top")]);
    // Deeper than any path: made step by step, each beneath the one before.
    let mut at = OwnedFd::from(File::open(folder.path()).unwrap());
    for _ in 0..2_500 {
        mkdirat(&at, "d", Mode::from_bits_truncate(0o755)).unwrap();
        at = openat(&at, "d", OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        let mode = Mode::from_bits_truncate(0o644);
        let file = openat(&at, "file", OFlag::O_CREAT | OFlag::O_WRONLY, mode).unwrap();
        File::from(file).write_all(b"here\n").unwrap();
    }
    let tine = Tine::serve(&folder, &[]);
    assert_eq!(tine.get("/").text(), "top");
    for depth in [1, 100, 2_000] {
        assert_eq!(tine.get(&format!("{}/file", "/d".repeat(depth))).text(), "here\n", "{depth}");
    }
    assert_eq!(tine.get(&format!("{}/file", "/d".repeat(2_200))).status(), 404);
    let says_so = |line: &String| line.contains("name too long");
    assert!(!tine.warnings.is_empty() && tine.warnings.iter().all(says_so));
    // It is too deep to be removed by its path, too.
    let status = Command::new("rm").arg("-r").arg(folder.join("d")).status();
    assert!(status.unwrap().success());
}

#[test]
fn what_comes_and_goes_while_it_is_read_is_there_or_not() {
    let folder = Folder::new(&[("stays/index.html", b"here")]);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&is_over);
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for number in 0..20 {
                    folder.write(format!("comes-{number}/sub/page.html"), &[b'x'; 1000]);
                }
                for number in 0..20 {
                    fs::remove_dir_all(folder.join(format!("comes-{number}"))).unwrap();
                }
            }
        });
        for _ in 0..20 {
            let args =
                ["--listen", "127.0.0.1:0", "--memory-file-max", "500", "--open-files-max", "3"];
            let tine = Tine::begin(command(folder.path()).args(args));
            assert_eq!(tine.get("/stays/").text(), "here");
            let answer = tine.get("/comes-7/sub/page.html");
            let whole = answer.status() == 200 && answer.body == [b'x'; 1000];
            // Being written just now, it may be empty; gone, it waits for a reload for a second.
            let is_known = matches!(answer.status(), 404 | 503);
            assert!(whole || answer.body.is_empty() || is_known, "{answer:?}");
        }
    });
}
