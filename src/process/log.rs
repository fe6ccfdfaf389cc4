//! How processes say lines: through pipes to the logger, without ever waiting for whoever reads
//! them. One pipe is for answers and one for tine's own doings, so that neither holds up the other.

use std::io::{IsTerminal as _, Write as _, stderr, stdout};
use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{pipe2, write};

use crate::config::{Config, LogFormat};
use crate::failure::Failure;
use crate::log::{Ledger, Style, notice};
use crate::scoreboard::{Counter, Slot};

use super::clock::millis;
use super::failed;

/// How much may wait to be read, in bytes. More would be at the cost of others: all pipes of a user
/// share a limit (pipe-user-pages-soft, pipe(7)), and many containers have the same one. Beyond it
/// the system gives less.
const WAITING_MAX: i32 = 256 * 1024;
/// How long a reader of standard error is waited for, in milliseconds.
const READER_TIME: u16 = 1000;
/// What is written at once is not mixed with what others write, up to this many bytes (pipe(7)).
pub(super) const ATOM: usize = 4096;

/// Where lines about tine itself are said.
pub struct Log {
    pub(super) style: Style,
    /// Of the process that says them.
    slot: Slot<'static>,
    pipe: OwnedFd,
}

/// Where lines about answers are written.
pub struct AccessLog {
    pub(super) style: Style,
    pipe: OwnedFd,
}

/// The reading ends, for the logger.
pub struct ReadEnds {
    pub(super) answers: OwnedFd,
    pub(super) notices: OwnedFd,
}

/// Pipes with nothing in them.
///
/// # Errors
/// If the system refuses a pipe.
pub fn open(style: Style, slot: Slot<'static>) -> Result<(Log, AccessLog, ReadEnds), Failure> {
    let flags = OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let pipe = || pipe2(flags).map_err(failed("cannot make a pipe"));
    let ((answers, written), (notices, said)) = (pipe()?, pipe()?);
    let _ = fcntl(&written, FcntlArg::F_SETPIPE_SZ(WAITING_MAX));
    let log = Log { style, slot, pipe: said };
    Ok((log, AccessLog { style, pipe: written }, ReadEnds { answers, notices }))
}

impl Log {
    /// The same for a child, in whose slot it counts what is lost.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub(super) fn of_child(&self, slot: Slot<'static>) -> Result<Self, Failure> {
        let pipe = self.pipe.try_clone().map_err(failed("cannot set up a process"))?;
        Ok(Self { style: self.style, slot, pipe })
    }

    /// Says a line about tine itself; one for which there is no room is counted.
    pub(super) fn say(&self, message: &str) {
        let line = notice(self.style, millis(), message);
        if write(&self.pipe, line.as_bytes()).is_err() {
            self.slot.add(Counter::LostEvents, 1);
        }
    }
}

impl AccessLog {
    /// Writes what a worker has gathered, as far as there is room; whether there is some to wait
    /// for.
    pub(super) fn take(&self, ledger: &mut Ledger) -> bool {
        while !ledger.is_empty() {
            match write(&self.pipe, ledger.chunk(ATOM)) {
                Ok(len) => ledger.wrote(len),
                Err(errno) => return errno == Errno::EAGAIN,
            }
        }
        false
    }

    /// The same at a worker's end, when it has time; what there is no room for even then is lost.
    pub(super) fn take_last(&self, ledger: &mut Ledger, slot: Slot<'_>) {
        let mut fds = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLOUT)];
        while self.take(ledger) && poll(&mut fds, PollTimeout::from(READER_TIME)) == Ok(1) {}
        ledger.lose(slot);
    }
}

/// How lines are written by these settings, and by where they go.
pub fn style(config: &Config) -> Style {
    let has_colours = stdout().is_terminal();
    let default = if has_colours { LogFormat::Text } else { LogFormat::Json };
    Style { format: config.log.unwrap_or(default), has_colours }
}

/// Says a line about tine itself without the logger: before it is there, and when it is gone.
/// If nobody listens, nobody is told; nor if the reader stalls, since that would be waited for.
pub fn say(style: Style, message: &str) {
    let stderr = stderr();
    let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut fds, PollTimeout::from(READER_TIME)) != Ok(0) {
        // One write, so that lines of several processes do not mix.
        let _ = (&stderr).write_all(notice(style, millis(), message).as_bytes());
    }
}
