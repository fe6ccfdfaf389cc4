//! The roles, one file each: loops around system calls. What they decide is decided below.
//!
//! The master forks all others. A child unwinds to [`serve`] with what its role needs, and by that
//! drops what its parent held: no descriptor is closed by hand, and none is forgotten.

mod admin;
mod cgroup;
mod children;
mod clock;
mod compiler;
mod link;
mod links;
mod listen;
mod listeners;
pub mod log;
mod logger;
mod machine;
mod master;
mod usage;
mod user;
mod watcher;
pub mod worker;

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getppid};

use crate::config::Config;
use crate::failure::Failure;
use crate::log::Style;
use crate::scoreboard::Role;

use admin::Admin;
use compiler::Compiler;
pub use log::{say, style};
use logger::Logger;
use master::{ChildRole, Master};
use worker::Worker;

/// What workers have beyond `--drain-timeout` to end by themselves, and all others after them. With
/// a second to spare for the last lines it is what README and manifests have whoever stops tine
/// wait for: 3 s.
const ALL_LEAVE: Duration = Duration::from_secs(2);

/// How much likelier than others the compiler is to be killed if memory runs out: it loses nothing
/// but time.
const COMPILER_OOM_SCORE: i32 = 500;

/// How a role exits.
enum RoleExit<Next> {
    /// Its work is done, and so is its process.
    Done(u8),
    /// This process is its child, and begins here.
    Forked(Next),
}

/// Runs until tine is told to stop; in the child processes, until their role ends.
///
/// # Errors
/// What kept it from starting, or ended it early.
pub fn serve(config: &Config, style: Style, started: Instant) -> Result<u8, Failure> {
    match Master::open(config, style, started)?.run()? {
        RoleExit::Done(code) => return Ok(code),
        RoleExit::Forked(ChildRole::Compiler(args, arena)) => Compiler::new(args, arena)?.run(),
        RoleExit::Forked(ChildRole::Worker(args)) => Worker::new(args, &config.limits)?.run(),
        RoleExit::Forked(ChildRole::Admin(args)) => Admin::new(args)?.run(),
        RoleExit::Forked(ChildRole::Logger(args)) => Logger::new(args).run(),
    }
    .map(|()| 0)
}

/// Ends this process with an exit code. Nothing is flushed, and nothing waited for.
pub fn end(code: u8) -> ! {
    crate::sys::fork::end(code)
}

/// In a child: takes the name of its role, and has the kernel kill it when the master dies. The
/// logger stays for the last lines: it ends with its pipes.
///
/// # Errors
/// If the master is dead already.
fn begin_role(role: Role, master: Pid) -> Result<(), Failure> {
    if let Ok(name) = CString::new(["tine-", role.name()].concat()) {
        let _ = prctl::set_name(&name);
    }
    if role == Role::Compiler {
        let path = "/proc/self/oom_score_adj";
        let now = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<i32>().ok());
        let raised = now.unwrap_or(0).saturating_add(COMPILER_OOM_SCORE).min(1000);
        // Where that is not allowed it is as likely as others.
        let _ = fs::write(path, raised.to_string());
    }
    if role == Role::Logger {
        return Ok(());
    }
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(failed("cannot set up a process"))?;
    // It may have died before that was asked for.
    if getppid() == master { Ok(()) } else { Err(Failure::system("the master is gone")) }
}

/// A failure of the system at something that needs no explanation.
fn failed<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> Failure {
    move |error| Failure::system(format!("{what}: {}", error.into()))
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
