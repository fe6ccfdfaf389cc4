//! Many connections, most of them slow, and many files.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::unistd::Pid;

use crate::budget;
use crate::harness::{Folder, Tine, get, until};

/// Slow connections of each kind; with those beside them ten thousand in all.
const SLOW: usize = 3_300;

/// One of the three attacks, for as long as this is there.
struct Attack(Child);

impl Attack {
    fn begin(tine: &Tine, kind: &[&str], path: &str) -> Self {
        let url = format!("http://{}{path}", tine.address);
        let mut command = Command::new("slowhttptest");
        command.args(kind);
        // A few more than are needed: it may close some itself.
        command.args(["-c", &(SLOW + SLOW / 50).to_string(), "-r", "1500", "-l", "3600"]);
        let child = command.args(["-u", &url]).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Self(child.unwrap())
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn ten_thousand_slow_connections_take_nothing_from_the_fast() {
    let folder = Folder::new(&[("a.txt", b"a"), ("big", &vec![1; 3_000_000])]);
    // They are slow for as long as this test lasts, within all limits.
    let patience = ["--head-timeout", "1h", "--body-timeout", "1h", "--write-timeout", "1h"];
    let tine = Tine::serve(&folder, &[&patience[..], &["--workers", "2"]].concat());
    println!("alone: {}", ask_on_new_connections(&tine));
    let _attacks = [
        Attack::begin(&tine, &["-H", "-i", "10"], "/a.txt"),
        Attack::begin(&tine, &["-B", "-i", "10", "-s", "60000", "-x", "10"], "/a.txt"),
        Attack::begin(
            &tine,
            &["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "32", "-k", "1"],
            "/big",
        ),
    ];
    let held = || -> usize { tine.workers().iter().map(|&worker| sockets(worker)).sum() };
    until("the slow ones are there", || (held() >= 3 * SLOW).then_some(()));
    println!("beside the slow ones: {}", ask_on_new_connections(&tine));
    let mut kept = tine.connect();
    for _ in 0..1_000 {
        kept.send(get("/a.txt"));
        assert_eq!(kept.answer().text(), "a");
    }
    assert!(held() >= 3 * SLOW, "the slow ones are there still");
}

/// Asks one after the other for a while, and says how long that took.
fn ask_on_new_connections(tine: &Tine) -> String {
    let end = Instant::now() + budget(4);
    let mut times = Vec::new();
    while Instant::now() < end {
        let begun = Instant::now();
        assert_eq!(tine.get("/a.txt").text(), "a");
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    format!("{} fast requests, p50 {p50:?}, p99 {p99:?}", times.len())
}

fn sockets(pid: Pid) -> usize {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let is_socket = |path: std::path::PathBuf| {
        fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    entries.filter(|entry| is_socket(entry.as_ref().unwrap().path())).count()
}

#[test]
fn a_hundred_thousand_files_cost_little_beyond_what_they_hold() {
    const BODY: &[u8] = b"<p>a page like many others\n";
    let folder = Folder::new(&[]);
    let measure = |files: usize| {
        for number in 0..files {
            folder.write(format!("section-{:04}/page-{number:07}.html", number / 100), BODY);
        }
        let tine = Tine::serve(&folder, &["--workers", "1", "--memory-max", "1GiB"]);
        assert!(tine.start_line.contains(&format!("({files} files,")), "{}", tine.start_line);
        let last = files - 1;
        let answer = tine.get(&format!("/section-{:04}/page-{last:07}.html", last / 100));
        assert_eq!(answer.body, BODY);
        // What is held of a head is all but the date, the connection and the end.
        let lines = answer.head.lines();
        let held = lines.filter(|line| !line.starts_with("Date") && !line.starts_with("Conn"));
        let held: usize = held.map(|line| line.len() + 2).sum::<usize>() - 2 + BODY.len();
        (tine.memory() * 1024, held as u64)
    };
    let ((few, _), (many, held)) = (measure(1_000), measure(100_000));
    let beyond = (many - few) / 99_000 - held;
    println!("{beyond} bytes a file beyond its body and head");
    assert!(beyond <= 250, "{beyond} bytes a file beyond its body and head");
}
