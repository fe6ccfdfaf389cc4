//! Many connections, many generations, and a disk that never answers.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::budget;
use crate::harness::{Folder, PROGRAM, Tine, children, get, pass, until};
use crate::versions::{flip, publish, text, volume};

#[test]
fn five_thousand_connections_outlive_twenty_flips() {
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
    let (children_before, mut times) = (children(tine.master()), Vec::new());
    for version in 1..=20 {
        publish(&folder, version);
        let published = Instant::now();
        until("it serves", || (tine.get("/0.txt").text() == text(version, 0)).then_some(()));
        times.push(published.elapsed());
    }
    assert_eq!(children(tine.master()), children_before);
    let mut answers = 0;
    for (index, client) in clients.iter_mut().enumerate() {
        let file = (index + 1) % 2;
        client.send(if index % 2 == 0 { ": x\r\n\r\n".to_owned() } else { get("/0.txt") });
        let answer = client.answer();
        assert_eq!((answer.text(), answer.field("Connection")), (&*text(20, file), None));
        answers += 1;
    }
    times.sort_unstable();
    println!(
        "{answers} of {CONNECTIONS} connections answered after 20 flips, which were served after \
         {} ms (median)",
        times[times.len() / 2].as_millis()
    );
}

#[test]
fn hundreds_of_generations_leave_memory_and_descriptors_as_before() {
    let generations = 100 * budget(1).as_secs() * 5;
    let folder = volume();
    let tine = Tine::serve(
        &folder,
        &["--workers", "2", "--reload-debounce", "1ms", "--keep-removed-assets", "0s"],
    );
    let look = || {
        let compiler = tine.compiler();
        let open = fs::read_dir(format!("/proc/{compiler}/fd")).unwrap().count();
        let entries = fs::read_dir(format!("/proc/{compiler}/fdinfo")).unwrap();
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
    let (memory, open, watches) = until("no scan is running", || {
        let first = look();
        pass(Duration::from_millis(100));
        let second = look();
        (first.1 == second.1 && first.2 == second.2).then_some(second)
    });
    for version in 21..=generations {
        publish(&folder, version);
        seen(version);
    }
    // During a scan it has the watches of two.
    let memory_after = until("descriptors and watches are as before", || {
        let (memory_after, open_after, watches_after) = look();
        ((open_after, watches_after) == (open, watches)).then_some(memory_after)
    });
    println!("{generations} generations: {memory} KiB before, {memory_after} KiB after");
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

/// Waits until a process is in a call to the dead disk.
fn wait_for_disk_sleep(pid: Pid) {
    until("the compiler waits for the disk", || {
        let place = fs::read_to_string(format!("/proc/{pid}/wchan")).ok()?;
        place.contains("fuse").then_some(())
    });
}

#[test]
fn disk_that_never_answers_stops_nothing_but_the_compiler() {
    let folder = Folder::new(&[("good/a.txt", b"a")]);
    symlink("good", folder.join("current")).unwrap();
    let mut command = crate::harness::command(&folder.join("current"));
    let tine = Tine::start(command.args(["--listen", "127.0.0.1:0", "--workers", "2"]));
    let disk = DeadDisk::new();
    let worker = tine.workers()[0];
    flip(&folder.join("current"), disk.place.path().to_str().unwrap());
    wait_for_disk_sleep(tine.compiler());
    kill(worker, Signal::SIGKILL).unwrap();
    tine.wait_for_line(&format!("worker {worker} died"));
    until("it is replaced", || {
        let workers = tine.workers();
        (workers.len() == 2 && !workers.contains(&worker)).then_some(())
    });
    for _ in 0..100 {
        assert_eq!(tine.get("/a.txt").text(), "a");
        assert_eq!(tine.get("/readyz").status(), 200);
    }
    tine.wait_for_line("still reading the directory, for more than 10 s");
    // What waited is let go by an error, and a good folder is served again.
    drop(disk);
    flip(&folder.join("current"), "good");
    folder.write("good/a.txt", b"b");
    until("it is served", || (tine.get("/a.txt").text() == "b").then_some(()));
}

#[test]
fn disk_that_never_answers_does_not_delay_the_shutdown() {
    let folder = Folder::new(&[("good/a.txt", b"a")]);
    symlink("good", folder.join("current")).unwrap();
    let mut command = crate::harness::command(&folder.join("current"));
    command.args(["--listen", "127.0.0.1:0", "--workers", "2", "--drain-timeout", "1h"]);
    let mut tine = Tine::start(&mut command);
    let disk = DeadDisk::new();
    flip(&folder.join("current"), disk.place.path().to_str().unwrap());
    wait_for_disk_sleep(tine.compiler());
    tine.signal(Signal::SIGTERM);
    tine.ends_well();
}

#[test]
fn changes_without_end_beside_long_downloads_replace_no_process() {
    let folder = volume();
    // Too large for a tag: to read it would make a look a long one, and put off the next ones.
    fs::File::create(folder.join("huge.bin")).unwrap().set_len((1 << 30) + 1).unwrap();
    let args = ["--workers", "2", "--reload-debounce", "10ms", "--drain-timeout", "5s"];
    let tine = Tine::serve(&folder, &args);
    let children_before = children(tine.master());
    let (end, mut version, mut downloads) = (Instant::now() + budget(10), 0, Vec::new());
    while Instant::now() < end {
        version += 1;
        publish(&folder, version);
        // Each of them keeps the file of its generation open.
        let mut download = tine.connect();
        download.send(get("/huge.bin"));
        downloads.push(download);
        pass(Duration::from_millis(100));
    }
    until("the last one serves", || (tine.get("/0.txt").text() == text(version, 0)).then_some(()));
    println!("{version} changes in {} s beside {} downloads", budget(10).as_secs(), version);
    drop(downloads);
    assert_eq!(children(tine.master()), children_before);
}

#[test]
fn lack_of_watches_is_logged_once_and_changes_are_found_by_rescans() {
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
