//! The roles, one file each: loops around system calls. What they decide is decided below.
//!
//! Each role's `run` ends in one of two ways: its process is done, or it is a forked child that
//! has been given another role. A child unwinds to [`serve`], and by that drops what its parent
//! held: no descriptor is closed by hand, and none is forgotten.

mod admin;
mod cgroup;
mod clock;
mod crew;
pub mod handover;
mod idle;
mod line;
mod link;
mod links;
mod listen;
mod listeners;
pub mod log;
mod logger;
mod machine;
mod master;
mod nudge;
mod publisher;
mod successor;
mod usage;
mod user;
mod watches;
pub mod word;
pub mod worker;

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getppid};

use crate::board::{Role, Row};
use crate::config::Config;
use crate::failure::Failure;
use crate::log::Style;

use admin::Admin;
pub use log::{say, style};
use logger::Logger;
use master::Master;
use publisher::{Birth, Publisher};
use worker::Worker;

/// What workers have beyond `--drain-timeout` to leave by themselves.
const WORKERS_LEAVE: Duration = Duration::from_secs(1);
/// What all others have, who wait for them. With a second to spare for the last lines it is what
/// README and manifests have whoever stops tine wait for: 3 s.
const ALL_LEAVE: Duration = Duration::from_secs(2);

/// How a role ends.
enum Fate<Next> {
    /// Its work is done, and so is its process.
    Done(u8),
    /// This process is its child, and begins here.
    Born(Next),
}

/// Runs until tine is told to stop; in the child processes, until their role ends.
///
/// # Errors
/// What kept it from starting, or ended it early.
pub fn serve(config: &Config, style: Style, started: Instant) -> Result<u8, Failure> {
    let first = match Master::open(config, style, started)?.run()? {
        Fate::Done(code) => return Ok(code),
        Fate::Born(master::Birth::Admin(seat)) => return Admin::take(seat)?.run().map(|()| 0),
        Fate::Born(master::Birth::Logger(seat)) => return Logger::take(seat).run().map(|()| 0),
        Fate::Born(master::Birth::Publisher(office, row)) => (office, row),
    };
    let mut leader = Publisher::first(first)?;
    let seat = loop {
        let heir = match leader.run()? {
            Fate::Done(code) => return Ok(code),
            Fate::Born(Birth::Worker(seat)) => break seat,
            Fate::Born(Birth::Successor(heir)) => heir,
        };
        leader = match heir.compile()? {
            Fate::Done(code) => return Ok(code),
            Fate::Born(candidate) => Publisher::of(candidate)?,
        };
    };
    Worker::take(seat, &config.limits)?.run()?;
    Ok(0)
}

/// Ends this process with an exit code. Nothing is flushed, and nothing waited for.
pub fn end(code: u8) -> ! {
    crate::sys::fork::end(code)
}

/// Says on the board, and to whoever lists processes, what this one is for.
fn take_role(row: Row<'_>, role: Role, generation: u64) {
    row.set_role(role, generation);
    if let Ok(name) = CString::new(["tine-", role.name()].concat()) {
        let _ = prctl::set_name(&name);
    }
}

/// A failure of the system at something that needs no explanation.
fn failed<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> Failure {
    move |error| Failure::system(format!("{what}: {}", error.into()))
}

/// Has the kernel kill this process when its parent dies.
fn bind_to_parent(parent: Pid) -> Result<(), Failure> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(failed("cannot set up a process"))?;
    // It may have died before that was asked for.
    if getppid() == parent { Ok(()) } else { Err(Failure::system("the parent is gone")) }
}

/// Blocks signals, and has the poll say when one of them is pending.
fn watch(poll: &Poll, token: Token, signals: &[Signal]) -> Result<SignalFd, Failure> {
    let cannot = "cannot watch for signals";
    let mask: SigSet = signals.iter().copied().collect();
    mask.thread_block().map_err(failed(cannot))?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let pending = SignalFd::with_flags(&mask, flags).map_err(failed(cannot))?;
    poll.registry()
        .register(&mut SourceFd(&pending.as_raw_fd()), token, Interest::READABLE)
        .map_err(failed(cannot))?;
    Ok(pending)
}

/// Waits for events; a signal that interrupts is one.
fn wait(poll: &mut Poll, events: &mut Events, timeout: Option<Duration>) -> Result<(), Failure> {
    match poll.poll(events, timeout) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => {
            Err(failed("cannot wait for events")(error))
        }
        _ => Ok(()),
    }
}
