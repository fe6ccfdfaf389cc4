//! Builds with a mistake in them, each of which the clients have to find; and kills within the
//! moments in which a mistake would show.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{Signal, kill};

use crate::budget;
use crate::harness::{Folder, Over, Tine};

use super::clients::{Connection, run_fast, run_slow};
use super::observations::Observations;
use super::processes::{Stopped, client_ports, processes_named};
use super::volume::Volume;
use super::{FAST_PER_WORKER, FLAGS, SLOW, WORKERS};

/// The mistakes of `tine::faults::Fault`, each with the window that makes it likely to show.
const FAULTS: [(&str, &str); 6] = [
    ("ReleaseAtOnce", ""),
    ("ReuseWithoutPunch", ""),
    ("IgnorePins", ""),
    ("GenerationAfterLoad", "Adopt=20"),
    ("NoSecondLoad", "Adopt=40"),
    ("RestartWithoutWaiting", "Read=40"),
];
/// Windows, each with the process that is killed in it.
const WINDOWS: [(&str, &str); 4] = [
    ("Adopt=2", "tine-worker"),
    ("Read=2", "tine-worker"),
    ("Publish=10", "tine-compiler"),
    ("Punch=10", "tine-compiler"),
];
/// From writing a generation to flipping the volume to it, at least.
const PAUSE: Duration = Duration::from_millis(12);
/// How many processes are killed in each window.
const KILLS: u64 = 5;

/// Builds tine with its mistakes to be chosen from.
fn test_build() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/faults");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--quiet", "--release", "--features", "faults"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", &folder)
        .env_remove("CARGO_BUILD_TARGET")
        .status()
        .unwrap();
    assert!(status.success(), "the test build failed");
    folder.join("release/tine")
}

/// Flips a volume beside all clients of a test build, with a pause before each flip, and calls
/// `between` after it, until that says that it is enough or the time is over.
fn run(
    program: &Path,
    environment: &[(&str, &str)],
    flags: &[&str],
    pause: Duration,
    mut between: impl FnMut(&Tine, &Observations) -> bool,
) -> Observations {
    let mut volume = Volume::new();
    let mut command = Command::new(program);
    command.arg(volume.folder.path()).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command.args(FLAGS).args(flags).env("TINE_LOG", "off").envs(environment.iter().copied());
    let tine = Tine::begin(&mut command);
    let (address, observations) = (tine.address, Observations::default());
    thread::scope(|scope| {
        let _over = Over(&observations.is_over);
        let observations = &observations;
        for _ in 0..WORKERS * FAST_PER_WORKER {
            let connection = Connection::open(address).unwrap();
            scope.spawn(move || run_fast(connection, address, observations));
        }
        for number in 0..SLOW {
            scope.spawn(move || run_slow(number, address, observations));
        }
        let deadline = Instant::now() + budget(40);
        while Instant::now() < deadline && !between(&tine, observations) {
            volume.publish(Instant::now() + pause, observations);
        }
    });
    observations
}

/// What clients have found to be wrong: also a connection that a dying worker has closed.
fn wrong(observations: &Observations) -> u64 {
    let Observations { older, torn, failures, .. } = observations;
    [older, torn, failures].map(|counter| counter.load(SeqCst)).iter().sum()
}

#[test]
fn clients_find_each_mistake_of_a_test_build() {
    let program = test_build();
    for (fault, window) in FAULTS {
        let begun = Instant::now();
        let mut killed = begun;
        let environment = [("TEST_FAULT", fault), ("TEST_WINDOW", window)];
        let observations = run(&program, &environment, &[], PAUSE, |tine, observations| {
            // Seldom enough to be replaced at once, after many generations.
            if fault == "RestartWithoutWaiting" && killed.elapsed() > Duration::from_secs(2) {
                killed = Instant::now();
                for compiler in processes_named(tine.master(), "tine-compiler") {
                    let _ = kill(compiler, Signal::SIGKILL);
                }
            }
            wrong(observations) > 0
        });
        observations.print(fault);
        println!("{fault} after {:.1?}", begun.elapsed());
        assert!(wrong(&observations) > 0, "{fault} was not found");
    }
}

/// Whether a stopped process stands in a window of the test build: nothing else ever sleeps
/// (proc_pid_syscall(5)).
fn is_in_window(stopped: &Stopped) -> bool {
    let syscall = fs::read_to_string(format!("/proc/{}/syscall", stopped.0)).unwrap_or_default();
    let number = syscall.split(' ').next().and_then(|number| number.parse().ok());
    [libc::SYS_clock_nanosleep, libc::SYS_nanosleep].map(Some).contains(&number)
}

#[test]
fn processes_killed_within_adoption_publication_and_punch_tear_nothing() {
    let program = test_build();
    for (window, comm) in WINDOWS {
        let mut kills = 0;
        let environment = [("TEST_WINDOW", window)];
        let observations = run(&program, &environment, &[], PAUSE, |tine, observations| {
            for pid in processes_named(tine.master(), comm) {
                let Some(stopped) = Stopped::new(pid).filter(is_in_window) else { continue };
                observations.excuse(client_ports(pid, tine.address));
                kills += u64::from(kill(stopped.0, Signal::SIGKILL).is_ok());
            }
            kills >= KILLS
        });
        observations.print(window);
        observations.assert_none_wrong();
        assert!(kills >= KILLS, "{window}: only {kills} processes were killed in it");
    }
}

#[test]
fn build_without_a_mistake_has_nothing_to_be_found() {
    let program = test_build();
    let begun = Instant::now();
    let is_over = |_: &Tine, _: &Observations| begun.elapsed() > budget(20);
    // Without a pause, so that scans are put off for as long as changes can.
    let observations = run(&program, &[], &[], Duration::ZERO, is_over);
    observations.print("no mistake");
    observations.assert_none_wrong();
}

/// What has to happen to the test build, or its clients test too little: see `tine::faults::Race`.
const RACES: [&str; 5] =
    ["HeldByGeneration", "HeldByPin", "LacksMemory", "Abort", "UnpinnedInSocket"];

#[test]
fn each_race_is_reached_in_an_arena_that_is_too_small_and_tears_nothing() {
    let program = test_build();
    let races = Folder::new(&[]);
    // The processes are another user's.
    fs::set_permissions(races.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let missing = || RACES.into_iter().filter(|race| !races.join(race).exists());
    let environment = [("TEST_RACES", races.path().to_str().unwrap()), ("TEST_WINDOW", "Read=2")];
    // Two generations just fit, and what slow clients pin does not.
    let flags = ["--memory-max", "4MiB", "--gzip-max", "0", "--old-response-timeout", "1s"];
    let is_enough = |_: &Tine, _: &Observations| missing().next().is_none();
    let observations = run(&program, &environment, &flags, PAUSE, is_enough);
    observations.print("an arena that is too small");
    // Responses are aborted, and files for which there was no memory are gone with their tree.
    let wrong = [&observations.older, &observations.torn].map(|counter| counter.load(SeqCst));
    assert_eq!((wrong, missing().collect::<Vec<_>>()), ([0, 0], vec![]));
}
