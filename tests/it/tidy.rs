//! The house rules, as far as a machine can hold them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tine::cli::SETTINGS;

use crate::golden::cases;

const LINES_MAX: usize = 400;
const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap()
}

/// Every Rust file beneath a folder, by its path from the top, with its text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![top().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(top()).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "nothing in {folder}");
    found
}

/// A file's own code: what stands before its tests.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

/// The part of the house that a file of src belongs to.
fn room(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap();
    inside.split(['/', '.']).next().unwrap()
}

/// The rooms from the ground up. `sys` is the cellar.
fn floor(room: &str) -> usize {
    match room {
        "sys" => 0,
        "http" | "peer" | "config" | "failure" | "faults" | "figures" => 1,
        "site" | "scoreboard" => 2,
        "control" | "log" | "cli" => 3,
        "compile" | "answer" | "response" | "conn" | "admin" => 4,
        "host" => 5,
        "process" | "healthcheck" => 6,
        "main" | "lib" => 7,
        other => panic!("{other} has no floor yet"),
    }
}

#[test]
fn files_import_from_their_own_floor_or_below() {
    let mut imports = 0;
    for (path, text) in sources("src") {
        let own = room(&path);
        for (number, line) in code(&text).lines().enumerate() {
            for import in line.split("crate::").skip(1) {
                let other = import.split(|letter: char| !letter.is_alphanumeric()).next().unwrap();
                if other == own {
                    continue;
                }
                let allowed = match other {
                    // Views of the arena, its mapping, and all other calls of the loops.
                    "sys" => ["site", "compile", "host", "process"].contains(&own),
                    _ => own != "http" && floor(other) <= floor(own),
                };
                assert!(allowed, "{path}:{}: {own} may not know {other}", number + 1);
                imports += 1;
            }
        }
    }
    assert!(imports > 30, "only {imports} imports were seen");
}

#[test]
fn the_lower_floors_touch_nothing() {
    let touching =
        ["mio::", "std::fs", "std::process", "std::env", "TcpStream", "print!", "thread"];
    for (path, text) in sources("src") {
        let is_sans_io = match room(&path) {
            "http" => !code(&text).contains("nix::"),
            "answer" | "response" | "conn" | "control" | "scoreboard" | "peer" | "log"
            | "admin" => true,
            _ => continue,
        };
        assert!(is_sans_io, "{path} makes system calls");
        for word in touching {
            assert!(!code(&text).contains(word), "{path} has {word}");
        }
    }
}

#[test]
fn unsafe_has_one_address() {
    for (path, text) in sources("src") {
        let has_unsafe = text.lines().any(|line| {
            let code = line.split("//").next().unwrap();
            code.split(|letter: char| !letter.is_alphanumeric()).any(|word| word == "unsafe")
        });
        assert!(!has_unsafe || path.starts_with("src/sys/"), "{path} has unsafe code");
    }
}

#[test]
fn the_time_is_asked_for_by_the_loops_only() {
    let loops = [
        "main",
        "healthcheck",
        "process/master",
        "process/compiler",
        "process/clock",
        "process/logger",
        // When an answer is done; a turn may be long.
        "process/link",
    ];
    let loops = loops.map(|path| format!("src/{path}.rs"));
    for (path, text) in sources("src") {
        let asks = code(&text).contains("::now()") || code(&text).contains(".elapsed()");
        let is_test = path.ends_with("/tests.rs");
        assert!(!asks || is_test || loops.contains(&path), "{path} asks for the time");
    }
}

#[test]
fn files_lines_and_functions_are_short() {
    for (path, text) in [sources("src"), sources("tests")].concat() {
        assert!(text.lines().count() <= LINES_MAX, "{path} is long");
        let mut function: Option<(usize, usize)> = None;
        for (number, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            assert!(columns <= COLUMNS_MAX, "{path}:{}: {columns} columns", number + 1);
            let indent = line.len() - line.trim_start().len();
            let code = line.trim_start();
            let opens = ["fn ", "pub fn ", "pub(super) fn ", "pub(crate) fn ", "const fn "];
            if function.is_none() && opens.iter().any(|start| code.starts_with(start)) {
                function = Some((number, indent));
            }
            if let Some((start, outer)) = function
                && code.starts_with('}')
                && indent == outer
            {
                let lines = number + 1 - start;
                assert!(lines <= FUNCTION_LINES_MAX, "{path}:{}: {lines} lines", start + 1);
                function = None;
            }
        }
    }
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let words = ["TO_DO", "FIX_ME", "to_do!(", "unimple_mented!(", "d_bg!(", "#[ig_nore"];
    for (path, text) in [sources("src"), sources("tests")].concat() {
        for word in words.map(|word| word.replacen('_', "", 1)) {
            assert!(!text.contains(&word), "{path} has {word}");
        }
    }
}

#[test]
fn the_readme_has_the_table_of_settings() {
    let readme = read("README.md");
    let rows: Vec<_> = readme.lines().filter(|line| line.starts_with("| `--")).collect();
    let expected: Vec<_> = SETTINGS
        .iter()
        .map(|setting| {
            format!("| `{}` | {} | {} |", setting.usage(), setting.default, setting.meaning)
        })
        .collect();
    assert_eq!(rows, expected);
}

/// Whether there is a test of that name in a file, or a folder, of that module's name.
fn is_a_test(tests: &[(String, String)], module: &str, name: &str) -> bool {
    let places = [format!("/{module}.rs"), format!("/{module}/main.rs")];
    let start = format!("fn {name}(");
    let texts = tests.iter().filter(|(path, _)| places.iter().any(|place| path.ends_with(place)));
    let mut starts = texts.flat_map(|(_, text)| text.split("#[test]\n").skip(1));
    starts.any(|text| text.trim_start().starts_with(&start))
}

#[test]
fn each_rule_of_http_has_its_proof_and_each_golden_case_its_rule() {
    let table = read("docs/http-behaviour.md");
    let tests = [sources("tests"), sources("src")].concat();
    let cases: BTreeSet<String> = cases::pages()
        .iter()
        .flat_map(|page| page.cases.iter().map(|case| format!("{}/{}", page.name(), case.name)))
        .collect();
    let rows: Vec<_> = table.lines().filter_map(|line| line.rsplit_once(" | `")).collect();
    assert!(rows.len() > 90, "only {} rules", rows.len());
    let mut named = BTreeSet::new();
    for (rule, proofs) in rows {
        assert!(rule.contains('§'), "no section: {rule}");
        for proof in proofs.trim_end_matches("` |").split("`, `") {
            let exists = match proof.split_once("::") {
                Some((module, name)) => is_a_test(&tests, module, name),
                None => cases.contains(proof),
            };
            assert!(exists, "there is no {proof}: {rule}");
            named.insert(proof.to_owned());
        }
    }
    let unnamed: Vec<_> = cases.difference(&named).collect();
    assert!(unnamed.is_empty(), "without a rule: {unnamed:?}");
}

#[test]
fn the_changelog_has_this_version() {
    let heading = format!("## {} ", env!("CARGO_PKG_VERSION"));
    assert!(read("CHANGELOG.md").lines().any(|line| line.starts_with(&heading)), "{heading:?}");
}
