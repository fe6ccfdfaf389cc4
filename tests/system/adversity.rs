//! What a disk and a network can do to it.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{
    Answer, Client, Folder, PATIENCE, PROGRAM, Tine, command, get, pass, until, within,
};
use crate::injection::Injection;
use crate::observe::metric;

/// Runs a program that has to succeed.
fn run(words: &str) {
    let mut words = words.split(' ');
    let status = Command::new(words.next().unwrap()).args(words.by_ref()).status().unwrap();
    assert!(status.success());
}

#[test]
fn without_proc_it_says_what_it_cannot_see() {
    let folder = Folder::new(&[("html/a.txt", b"1")]);
    fs::copy(PROGRAM, folder.join("tine")).unwrap();
    let mut command = Command::new("/usr/sbin/chroot");
    command.arg(folder.path()).args(["/tine", "/html", "--listen", "127.0.0.1:0"]).env_clear();
    command.args(["--admin-listen", "127.0.0.1:0", "--log", "off", "--rescan-interval", "300ms"]);
    let tine = Tine::start(command.stdin(Stdio::null()).stdout(Stdio::null()));
    let warning =
        "some changes are noticed only every 300ms (--rescan-interval): /proc is not there";
    assert!(tine.warnings.iter().any(|line| line.contains(warning)), "{:?}", tine.warnings);
    folder.write("html/a.txt", b"2");
    until("it is served", || (tine.get("/a.txt").text() == "2").then_some(()));
    // What is not known is not zero.
    let metrics = tine.ask(get("/metrics")).text().to_owned();
    for (name, is_known) in [
        ("process_cpu_seconds_total", false),
        ("process_resident_memory_bytes", false),
        ("process_virtual_memory_bytes", false),
        ("process_open_fds", false),
        ("process_max_fds", true),
        ("tine_ready", true),
        ("process_start_time_seconds", true),
    ] {
        assert_eq!(metrics.lines().any(|line| line.starts_with(name)), is_known, "{name}");
    }
    assert!(metrics.ends_with("# EOF\n"));
}

#[test]
fn errors_of_a_disk_keep_the_former_site_in_service() {
    let folder = Folder::new(&[("a.txt", b"0"), ("b.txt", b"0")]);
    let tine = Tine::serve(&folder, &["--workers", "1"]);
    for (error, state) in [("EIO", "1"), ("ESTALE", "2"), ("ENOMEM", "3")] {
        let before = tine.get("/a.txt").text().to_owned();
        let injection = Injection::new(tine.compiler(), &format!("read:error={error}"));
        folder.write("a.txt", state.as_bytes());
        // Events and doorbells are read too; the timeout of the poll finds the request.
        tine.signal(Signal::SIGHUP);
        tine.wait_for_line("what there was before is served on");
        let answers = ["/a.txt", "/b.txt"].map(|path| tine.get(path));
        assert_eq!(answers.each_ref().map(Answer::status), [200, 200], "{error}");
        assert_eq!(answers[0].text(), before, "{error}");
        drop(injection);
        until("it is served", || (tine.get("/a.txt").text() == state).then_some(()));
    }
}

/// A small disk.
struct Disk(Folder);

impl Disk {
    fn new(size: &str) -> Self {
        let place = Folder::new(&[]);
        let options = format!("size={size},mode=755");
        mount(Some("tmpfs"), place.path(), Some("tmpfs"), MsFlags::empty(), Some(&*options))
            .unwrap();
        Self(place)
    }

    fn resize(&self, size: &str) {
        let options = format!("size={size}");
        mount(Some("tmpfs"), self.0.path(), Some("tmpfs"), MsFlags::MS_REMOUNT, Some(&*options))
            .unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_disk_that_fills_tears_one_line_and_none_is_joined_to_it() {
    const ANSWERS: usize = 300;
    let folder = Folder::new(&[("index.html", b"home")]);
    let disk = Disk::new("16k");
    let file = disk.0.join("log");
    let log = fs::File::options().create(true).append(true).open(&file).unwrap();
    let mut command = command(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.args(["--workers", "1", "--log", "json"]);
    let mut tine = Tine::start(command.stdout(Stdio::from(log)));
    let mut client = tine.connect();
    let is_whole = |line: &str| serde_json::from_str::<Value>(line).is_ok();
    let mut last = String::new();
    for number in 0..ANSWERS {
        if number == 2 * ANSWERS / 3 {
            tine.wait_for_line("lines of the log were lost: No space left on device");
            // A line may end just where the disk does, or lack nothing but its end.
            last = fs::read_to_string(&file).unwrap().rsplit('\n').next().unwrap().to_owned();
            disk.resize("1m");
        }
        client.send(get(&format!("/?{number}")));
        assert_eq!(client.answer().text(), "home");
    }
    let dropped = || metric(&tine, "tine_log_lines_dropped_total");
    // Each line is whole, but for the one that the disk had no room for the rest of.
    let look = || {
        let text = fs::read_to_string(&file).unwrap();
        let (whole, torn): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| is_whole(line));
        (whole.len() as u64, dropped(), torn.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let is_right = |(whole, dropped, torn): &(u64, u64, Vec<String>)| {
        let (lacks_end, is_torn) = (is_whole(&last), !last.is_empty() && !is_whole(&last));
        whole + dropped == ANSWERS as u64 + u64::from(lacks_end)
            && torn.len() == usize::from(is_torn)
    };
    let is_written = within(PATIENCE, || is_right(&look()).then_some(())).is_some();
    assert!(is_written, "{:?}", look());
    tine.signal(Signal::SIGTERM);
    assert_eq!(tine.wait().code(), Some(0));
}

#[test]
fn who_is_half_inside_at_the_end_is_answered() {
    // In a network of this thread's own the last packet of a handshake can be late.
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        run("ip link set lo up");
        let folder = Folder::new(&[("a.txt", b"a")]);
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let mut command = command(folder.path());
            let mut tine = Tine::begin(command.args(["--listen", address, "--workers", "1"]));
            let (family, port) = (
                if tine.address.is_ipv4() { "iptables" } else { "ip6tables" },
                tine.address.port(),
            );
            let acks = format!("INPUT -i lo -p tcp --dport {port} --tcp-flags SYN,ACK ACK -j DROP");
            run(&format!("{family} -A {acks}"));
            let mut client = Client::connect(tine.address);
            client.send(get("/a.txt"));
            tine.signal(Signal::SIGTERM);
            tine.wait_for_line("told to stop");
            pass(Duration::from_millis(100));
            run(&format!("{family} -D {acks}"));
            assert_eq!(client.answer().text(), "a");
            assert_eq!(tine.wait().code(), Some(0));
        }
    });
    thread.join().unwrap();
}
