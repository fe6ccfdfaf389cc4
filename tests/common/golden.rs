//! The golden files: requests, and the exact bytes that answer them.
//!
//! A file holds cases. `== name` begins one; a line behind `> ` is sent, one behind `< ` comes
//! back, with `\r`, `\n`, `\t`, `\0`, `\\` and `\xHH` for what cannot be seen. Line ends of the
//! file itself mean nothing. Dates of answers read `<date>`. A line behind `! ` before the first
//! case is an argument of tine's, for all cases of the file.
#![allow(dead_code, reason = "each of the tests that share this uses a part of it")]

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// A file of cases.
pub struct Page {
    pub path: PathBuf,
    /// What stands before the first case.
    pub preface: String,
    /// What tine is started with, besides the folder.
    pub args: Vec<String>,
    pub cases: Vec<Case>,
}

pub struct Case {
    pub name: String,
    pub request: Vec<u8>,
    pub answer: Vec<u8>,
}

/// Files larger than this are not held by the site of the golden files.
const MEMORY_FILE_MAX: u64 = 1024;

/// Every golden file there is.
pub fn pages() -> Vec<Page> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(Page::read).collect()
}

impl Page {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        let mut parts = text.split("\n== ");
        let preface = parts.next().unwrap().to_owned();
        let cases: Vec<_> = parts.map(Case::read).collect();
        assert!(!cases.is_empty(), "{} has no cases", path.display());
        let own = preface.lines().filter_map(|line| line.strip_prefix("! "));
        let held = format!("--memory-file-max={MEMORY_FILE_MAX}");
        let args = own.map(ToOwned::to_owned).chain([held]).collect();
        Self { path, preface, args, cases }
    }

    /// Its name, without the folder and the ending.
    pub fn name(&self) -> &str {
        self.path.file_stem().unwrap().to_str().unwrap()
    }

    /// Writes the file anew, with the answers that the cases have now.
    pub fn write(&self) {
        let cases: String = self.cases.iter().map(Case::text).collect();
        fs::write(&self.path, format!("{}{cases}\n", self.preface)).unwrap();
    }
}

impl Case {
    fn read(text: &str) -> Self {
        let mut lines = text.lines();
        let name = lines.next().unwrap().to_owned();
        let (mut request, mut answer) = (Vec::new(), Vec::new());
        for line in lines.filter(|line| !line.is_empty()) {
            match line.split_at_checked(2) {
                Some(("> ", bytes)) => request.extend(unescape(bytes)),
                Some(("< ", bytes)) => answer.extend(unescape(bytes)),
                _ => panic!("in {name:?}: {line:?}"),
            }
        }
        Self { name, request, answer }
    }

    fn text(&self) -> String {
        let lines = |mark: &str, bytes: &[u8]| -> String {
            let lines = bytes.split_inclusive(|&byte| byte == b'\n');
            lines.map(|line| format!("\n{mark} {}", escape(line))).collect()
        };
        format!("\n== {}{}{}", self.name, lines(">", &self.request), lines("<", &self.answer))
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            bytes.extend(letter.to_string().bytes());
            continue;
        }
        bytes.push(match letters.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => b'\0',
            Some('\\') => b'\\',
            Some('x') => {
                let digits: String = letters.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).unwrap()
            }
            other => panic!("\\{other:?} in {text:?}"),
        });
    }
    bytes
}

fn escape(bytes: &[u8]) -> String {
    let escaped = bytes.escape_ascii().to_string();
    escaped.replace("\\x00", "\\0").replace("\\\"", "\"").replace("\\'", "'")
}

/// The answers' dates as `<date>`.
pub fn mask_dates(bytes: &[u8]) -> Vec<u8> {
    const DATE: &[u8] = b"\r\nDate: ";
    const LEN: usize = "Sun, 06 Nov 1994 08:49:37 GMT".len();
    let mut masked = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(DATE.len()).position(|window| window == DATE) {
        masked.extend_from_slice(&rest[..at + DATE.len()]);
        masked.extend_from_slice(b"<date>");
        rest = &rest[at + DATE.len() + LEN..];
    }
    masked.extend_from_slice(rest);
    masked
}

/// `let x = 1;` and a line end, forty times.
const SCRIPT_GZIP: &[u8] = &[
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xcb, 0x49, 0x2d, 0x51, 0xa8, 0x50,
    0xb0, 0x55, 0x30, 0xb4, 0xe6, 0xca, 0x19, 0x65, 0x0e, 0x1d, 0x26, 0x00, 0x0b, 0xd0, 0x2d, 0xfe,
    0xb8, 0x01, 0x00, 0x00,
];

/// Makes the site that the golden files ask for; every file is of 2001-09-09 01:46:40.
pub fn make_site(root: &Path) {
    let large: String = (0..300).map(|line| format!("line {line:04}\n")).collect();
    let script = "let x = 1;\n".repeat(40);
    let other = "let y = 1;\n".repeat(40);
    let files: &[(&[u8], &[u8])] = &[
        (b"index.html", b"<h1>home</h1>\n"),
        (b"style.css", b"body { color: teal }\n"),
        (b"docs/index.html", b"<h1>docs</h1>\n"),
        (b"docs/guide.txt", b"a guide\n"),
        (b"empty/readme", b"none\n"),
        (b".well-known/security.txt", b"contact\n"),
        (b".hidden/config", b"secret\n"),
        (b"a +b%.txt", b"plus and blank\n"),
        (b"ques?tion#.txt", b"marks\n"),
        ("gr\u{fc}n.txt".as_bytes(), b"green\n"),
        ("caf\u{e9} \r\n/index.html".as_bytes(), b"coffee\n"),
        (b"latin\xe9.txt", b"latin-1\n"),
        (b"nothing.bin", b""),
        (b"large.txt", large.as_bytes()),
        // In three codings; what is behind the name of brotli cannot be told.
        (b"app.js", script.as_bytes()),
        (b"app.js.br", b"brotli"),
        (b"app.js.gz", SCRIPT_GZIP),
        (b"app.js.zst", b"\x28\xb5\x2f\xfdzstd"),
        // In none: another file's gzip, what is no zstd, and more than the file itself.
        (b"other.js", other.as_bytes()),
        (b"other.js.gz", SCRIPT_GZIP),
        (b"other.js.zst", b"no zstd"),
        (b"tiny.js", b"1\n"),
        (b"tiny.js.br", b"larger"),
        // Not held, and neither is its sibling.
        (b"large.txt.br", &[b'b'; 2000]),
    ];
    for (name, body) in files {
        let path = root.join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, body).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }
}
