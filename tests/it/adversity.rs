//! What whoever starts tine, or shares its machine, can do to it.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};

use crate::exhaustion::{limit_descriptors, start_as_oneself};
use crate::harness::{Folder, PROGRAM, Tine, get, until};

fn site() -> Folder {
    Folder::new(&[("a.txt", b"a")])
}

/// tine, started by another program with these words before it.
fn started_by(program: &str, words: &[&str], folder: &Path) -> Tine {
    let mut command = Command::new(program);
    command.env_clear().args(words).arg(PROGRAM).arg(folder);
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "off", "--log", "off"]);
    let tine = Tine::begin(command.args(["--workers", "2", "--drain-timeout", "1h"]));
    tine.wait_for_line(" is complete with ");
    tine
}

#[test]
fn whatever_signals_its_launcher_ignored_or_blocked_it_hears_what_it_has_to() {
    let folder = site();
    let signals = ["--ignore-signal=CHLD", "--block-signal=CHLD,INT,TERM"];
    let mut tine = started_by("/usr/bin/env", &signals, folder.path());
    let victim = tine.workers()[0];
    kill(victim, Signal::SIGKILL).unwrap();
    tine.wait_for_line(&format!("worker {victim} died (SIGKILL)"));
    until("it is replaced", || {
        let workers = tine.workers();
        (workers.len() == 2 && !workers.contains(&victim)).then_some(())
    });
    tine.signal(Signal::SIGTERM);
    tine.ends_well();
}

#[test]
fn a_child_of_its_launchers_does_not_hold_up_its_end() {
    let folder = site();
    let script = "sleep 30 <&- >&- 2>&- & exec \"$@\"";
    let mut tine = started_by("/bin/sh", &["-c", script, "sh"], folder.path());
    tine.signal(Signal::SIGTERM);
    tine.ends_well();
}

#[test]
fn a_death_by_a_signal_without_a_name_is_one_like_any_other() {
    let folder = site();
    let tine = Tine::serve(&folder, &["--workers", "2"]);
    let victim = tine.workers()[0];
    let status = Command::new("sh").args(["-c", &format!("kill -40 {victim}")]).status();
    assert!(status.unwrap().success());
    tine.wait_for_line(&format!("worker {victim} died (signal 40); starting another"));
    // And whoever dies behind it is reaped, too.
    folder.write("a.txt", b"b");
    tine.wait_for_line(" anew, ");
    assert_eq!(tine.get("/a.txt").text(), "b");
}

#[test]
fn compiler_without_descriptors_serves_on_and_goes_on_later() {
    let folder = site();
    let tine = start_as_oneself(&folder, &["--workers", "2"]);
    let (master, compiler) = (tine.master(), tine.compiler());
    let mut kept = tine.connect();
    let mut asks = |body| {
        kept.send(get("/a.txt"));
        assert_eq!(kept.answer().text(), body);
        assert_eq!(tine.get("/a.txt").text(), body);
    };
    limit_descriptors(compiler, 3);
    folder.write("a.txt", b"b");
    // Each libc has words of its own for EMFILE.
    tine.wait_for_line("(os error 24); what there was before is served on");
    asks("a");
    limit_descriptors(compiler, 1_000);
    folder.write("a.txt", b"c");
    tine.wait_for_line(" anew, ");
    asks("c");

    // Nor does a master need any to start others: all were made before.
    limit_descriptors(master, 3);
    kill(compiler, Signal::SIGKILL).unwrap();
    tine.wait_for_line(&format!("compiler {compiler} died (SIGKILL); starting another"));
    asks("c");
    limit_descriptors(master, 1_000);
    folder.write("a.txt", b"d");
    until("a compiler has the limit of its master", || {
        (tine.get("/a.txt").text() == "d").then_some(())
    });
    asks("d");
}
