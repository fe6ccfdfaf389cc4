//! A tree that nobody wrote for this test: the documentation of whatever is installed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::harness::{Tine, command, get};

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
    compare(&["--inline-max", "0", "--open-max", "10"]);
}
