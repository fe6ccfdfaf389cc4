//! Many connections, many generations, and a disk that never answers.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use crate::budget;
use crate::harness::{Folder, PROGRAM, Tine, children, get, pass, until};
use crate::versions::{flip, publish, text, volume};

#[test]
fn five_thousand_connections_live_through_twenty_swaps() {
    const CONNECTIONS: usize = 5_000;
    let folder = volume();
    let tine = Tine::serve(&folder, &["--workers", "2"]);
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| tine.connect()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.send(get("/0.txt"));
        assert_eq!(client.answer().text(), text(0, 0));
        if index % 2 == 0 {
            client.send("GET /1.txt HTTP/1.1\r\nHost");
        }
    }
    let mut moved = Vec::new();
    for version in 1..=20 {
        publish(&folder, version);
        until("it serves", || (tine.get("/0.txt").text() == text(version, 0)).then_some(()));
        let begun = Instant::now();
        tine.wait_for_one_generation();
        moved.push(begun.elapsed());
    }
    let mut answers = 0;
    for (index, client) in clients.iter_mut().enumerate() {
        let file = (index + 1) % 2;
        client.send(if index % 2 == 0 { ": x\r\n\r\n".to_owned() } else { get("/0.txt") });
        let answer = client.answer();
        assert_eq!((answer.text(), answer.field("Connection")), (&*text(20, file), None));
        answers += 1;
    }
    moved.sort_unstable();
    println!(
        "{answers} of {CONNECTIONS} connections answered after 20 swaps; moved in {} ms (median)",
        moved[moved.len() / 2].as_millis()
    );
}

#[test]
fn after_hundreds_of_generations_everything_is_where_it_was() {
    let generations = 100 * budget(1).as_secs() * 5;
    let folder = volume();
    let tine = Tine::serve(
        &folder,
        &["--workers", "2", "--reload-debounce", "1ms", "--keep-removed-assets", "0s"],
    );
    let look = || {
        tine.wait_for_one_generation();
        let publisher = tine.publisher();
        let open = fs::read_dir(format!("/proc/{publisher}/fd")).unwrap().count();
        let entries = fs::read_dir(format!("/proc/{publisher}/fdinfo")).unwrap();
        let infos = entries.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok());
        let watches: usize = infos.map(|info| info.matches("inotify wd:").count()).sum();
        (tine.memory(), open, watches)
    };
    let mut client = tine.connect();
    let mut seen = |version: u64| {
        until("it serves", || {
            client.send(get("/0.txt"));
            (client.answer().text() == text(version, 0)).then_some(())
        });
    };
    for version in 1..=20 {
        publish(&folder, version);
        seen(version);
    }
    let (memory, open, watches) = look();
    for version in 21..=generations {
        publish(&folder, version);
        seen(version);
    }
    let (memory_after, open_after, watches_after) = look();
    println!("{generations} generations: {memory} KiB before, {memory_after} KiB after");
    assert_eq!((open_after, watches_after), (open, watches));
    assert!(memory_after < memory + memory / 2 + 512, "{memory} KiB grew to {memory_after} KiB");
}

/// A FUSE file system that nobody answers for: whatever touches it waits for ever.
struct DeadDisk {
    /// Closed before the place is removed: then who waits has an error.
    _device: fs::File,
    place: Folder,
}

impl DeadDisk {
    fn new() -> Self {
        use std::os::fd::AsRawFd as _;
        let place = Folder::new(&[]);
        let device = fs::File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let options =
            format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        let flags = nix::mount::MsFlags::MS_NOSUID | nix::mount::MsFlags::MS_NODEV;
        nix::mount::mount(Some("dead"), place.path(), Some("fuse"), flags, Some(&*options))
            .expect("a FUSE file system");
        Self { _device: device, place }
    }
}

impl Drop for DeadDisk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.place.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_disk_that_never_answers_stops_nothing_but_the_successor() {
    let folder = Folder::new(&[("good/a.txt", b"a")]);
    symlink("good", folder.join("current")).unwrap();
    let mut command = crate::harness::command(&folder.join("current"));
    let tine = Tine::start(command.args(["--listen", "127.0.0.1:0", "--workers", "2"]));
    let disk = DeadDisk::new();
    let (publisher, worker) = (tine.publisher(), tine.workers()[0]);
    flip(&folder.join("current"), disk.place.path().to_str().unwrap());
    let line = tine.wait_for_line("still reading ");
    assert!(line.contains("for more than 10 s"), "{line}");
    kill(worker, Signal::SIGKILL).unwrap();
    tine.wait_for_line(&format!("worker {worker} died"));
    until("it is replaced", || {
        // The third is the successor.
        (children(publisher).len() == 3).then_some(())
    });
    for _ in 0..100 {
        assert_eq!(tine.get("/a.txt").text(), "a");
        assert_eq!(tine.get("/readyz").status(), 200);
    }
    // What waited is let go by an error, and a good folder is served again.
    drop(disk);
    flip(&folder.join("current"), "good");
    folder.write("good/a.txt", b"b");
    until("it is served", || (tine.get("/a.txt").text() == "b").then_some(()));
}

#[test]
fn a_disk_that_never_answers_does_not_hold_up_the_end() {
    let folder = Folder::new(&[("good/a.txt", b"a")]);
    symlink("good", folder.join("current")).unwrap();
    let mut command = crate::harness::command(&folder.join("current"));
    command.args(["--listen", "127.0.0.1:0", "--workers", "2", "--drain-timeout", "1h"]);
    let mut tine = Tine::start(&mut command);
    let disk = DeadDisk::new();
    let publisher = tine.publisher();
    flip(&folder.join("current"), disk.place.path().to_str().unwrap());
    until("a successor waits", || (children(publisher).len() == 3).then_some(()));
    tine.signal(Signal::SIGTERM);
    tine.ends_well();
}

#[test]
fn changes_without_end_beside_long_downloads_gather_and_leave_one_generation() {
    let folder = volume();
    // Too large for a tag: to read it would make a look a long one, and put off the next ones.
    fs::File::create(folder.join("huge.bin")).unwrap().set_len((1 << 30) + 1).unwrap();
    let args = ["--workers", "2", "--reload-debounce", "10ms", "--drain-timeout", "5s"];
    let tine = Tine::serve(&folder, &args);
    let (end, mut version, mut downloads) = (Instant::now() + budget(10), 0, Vec::new());
    while Instant::now() < end {
        version += 1;
        publish(&folder, version);
        // Each of them holds on to the generation that it has begun with.
        let mut download = tine.connect();
        download.send(get("/huge.bin"));
        downloads.push(download);
        pass(Duration::from_millis(100));
    }
    until("the last one serves", || (tine.get("/0.txt").text() == text(version, 0)).then_some(()));
    println!("{version} changes in {} s beside {} downloads", budget(10).as_secs(), version);
    drop(downloads);
    tine.wait_for_one_generation();
    assert_eq!(tine.workers().len(), 2);
}

#[test]
fn where_not_all_can_be_watched_it_says_so_once_and_looks_by_itself() {
    let folder = Folder::new(&[("a/1", b""), ("b/1", b""), ("c/a.txt", b"1")]);
    // A user namespace has limits of its own.
    let script = "echo 3 > /proc/sys/user/max_inotify_watches; exec \"$@\"";
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", script, "sh", PROGRAM]);
    command.arg(folder.path()).args(["--log", "off", "--admin-listen", "off"]).env_clear();
    let args = ["--listen", "127.0.0.1:0", "--user", "0:0", "--rescan-interval", "300ms"];
    let tine = Tine::start(command.args(args).stdin(std::process::Stdio::null()));
    let warning = "some changes are noticed only every 300ms (--rescan-interval): no more watches";
    assert!(tine.warnings.iter().any(|line| line.contains(warning)), "{:?}", tine.warnings);
    for text in ["2", "3"] {
        folder.write("c/a.txt", text.as_bytes());
        until("it serves", || (tine.get("/c/a.txt").text() == text).then_some(()));
    }
    tine.signal(Signal::SIGTERM);
    let lines = tine.rest_of_lines();
    assert!(!lines.iter().any(|line| line.contains(warning)), "once is enough: {lines:?}");
}
