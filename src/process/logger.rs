//! The logger: carries lines from the pipes to standard output and standard error. It may wait for
//! their readers as long as it has to, since nobody waits for it.
//!
//! It writes to what poll(2) says has room, and no more than fits that room: a reader that stalls
//! holds up its own lines only.

use std::io::{self, stderr, stdout};
use std::mem;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{read, write};

use crate::failure::Failure;
use crate::host::doorbell::Doorbell;
use crate::log::{Style, notice};
use crate::scoreboard::{Counter, Phase, Scoreboard, Slot};

use super::clock::millis;
use super::failed;
use super::log::{ATOM, ReadEnds};

/// How much is read at once, in bytes.
const INPUT: usize = 64 * 1024;
/// How often it beats, and looks whether lines were lost.
const TURN: Duration = Duration::from_secs(1);
/// How long it lets lines gather once it has taken some: to wake it costs more than a line.
const GATHER: u16 = 2;
/// After how many turns it is said that lines are lost, although more may be.
const PATIENCE: u32 = 10;

/// What a logger is started with.
pub(super) struct LoggerArgs {
    pub(super) read_ends: ReadEnds,
    pub(super) style: Style,
    pub(super) board: Scoreboard<'static>,
    pub(super) slot: Slot<'static>,
    /// Rung when there is nothing to come.
    pub(super) doorbell: Doorbell,
}

/// A process that writes the log.
pub(super) struct Logger {
    board: Scoreboard<'static>,
    slot: Slot<'static>,
    style: Style,
    answers: Stream,
    notices: Stream,
    doorbell: Doorbell,
    lost: Lost,
    input: Box<[u8]>,
}

/// Lines that were lost.
#[derive(Default)]
struct Lost {
    said: u64,
    seen: u64,
    /// Turns since some were lost of which nobody was told.
    turns: u32,
    /// What kept them from being written; none if that was only slow.
    why: Option<Errno>,
}

impl Logger {
    pub(super) fn new(args: LoggerArgs) -> Self {
        let LoggerArgs { read_ends, style, board, slot, doorbell } = args;
        slot.set_ready();
        let answers = Stream::new(read_ends.answers, stdout().as_fd().try_clone_to_owned());
        let notices = Stream::new(read_ends.notices, stderr().as_fd().try_clone_to_owned());
        // What was lost before is said by now, or nobody knows.
        let seen = board.total(Counter::LostLines);
        let lost = Lost { said: seen, seen, turns: 0, why: None };
        let input = vec![0; INPUT].into();
        Self { board, slot, style, answers, notices, doorbell, lost, input }
    }

    /// Writes until there is nothing to come; if nobody reads, for a turn longer.
    ///
    /// # Errors
    /// If it cannot wait.
    pub(super) fn run(mut self) -> Result<(), Failure> {
        let mut turn_at = Instant::now();
        let mut leave_at = None;
        loop {
            let now = Instant::now();
            if now >= turn_at {
                turn_at = now + TURN;
                self.slot.store_heartbeat();
                self.say_losses();
            }
            if leave_at.is_none() && self.is_over() {
                leave_at = Some(now + TURN);
                // Something may have come since they were looked at.
                (self.answers.was_empty, self.notices.was_empty) = (false, false);
            }
            let has_moved = mem::take(&mut self.answers.has_moved);
            leave_at = leave_at.map(|leave_at| if has_moved { now + TURN } else { leave_at });
            let is_done = self.answers.is_empty() && self.notices.is_empty();
            if leave_at.is_some_and(|leave_at| is_done || leave_at <= now) {
                self.slot.add(Counter::LostLines, self.answers.lose_all());
                return Ok(());
            }
            let mut fds = match leave_at {
                None => {
                    vec![self.answers.awaited(), self.notices.awaited(), self.doorbell.awaited()]
                }
                // What has come to its end is always there.
                Some(_) => {
                    let streams = [&self.answers, &self.notices].into_iter();
                    streams.filter(|stream| !stream.is_empty()).map(Stream::awaited).collect()
                }
            };
            // At the end nothing comes any more: what is in the pipes can be read at once.
            let has_to_read = |stream: &Stream| !stream.is_empty() && stream.chunk().is_empty();
            let reads_on =
                leave_at.is_some() && (has_to_read(&self.answers) || has_to_read(&self.notices));
            let pause = if reads_on { Duration::ZERO } else { turn_at - now };
            let pause = PollTimeout::try_from(pause).unwrap_or(PollTimeout::ZERO);
            match poll(&mut fds, pause) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed("cannot wait for lines")(errno)),
            }
            if self.answers.has_time() && leave_at.is_none() {
                let _ = poll(&mut [self.doorbell.awaited()], PollTimeout::from(GATHER));
            }
            if let Err(errno) = self.answers.advance(&mut self.input) {
                self.slot.add(Counter::LostLines, self.answers.lose());
                self.lost.why = Some(errno);
                if self.answers.broke(errno) {
                    let reason = errno.desc();
                    self.say(&format!("the log is lost: cannot write standard output: {reason}"));
                }
            }
            if let Err(errno) = self.notices.advance(&mut self.input) {
                self.slot.add(Counter::LostEvents, self.notices.lose());
                self.notices.broke(errno);
            }
        }
    }

    /// Whether nothing is to come: all others are gone, or the master is.
    fn is_over(&self) -> bool {
        self.doorbell.answer();
        let have_ended = self.answers.has_ended && self.notices.has_ended;
        have_ended || self.board.control().phase() == Phase::Ended
    }

    /// Says once how many lines were lost, when no more are, or after a while.
    fn say_losses(&mut self) {
        let total = self.board.total(Counter::LostLines);
        let Lost { said, seen, turns, why } = self.lost;
        if self.answers.out.is_none() || total == said {
            self.lost = Lost { said: total, seen: total, turns: 0, why };
        } else if total == seen || turns >= PATIENCE {
            self.lost = Lost { said: total, seen: total, turns: 0, why: None };
            let (lines, reason) =
                (total - said, why.map_or("its reader was too slow", Errno::desc));
            self.say(&format!("{lines} lines of the log were lost: {reason}"));
        } else {
            self.lost = Lost { said, seen: total, turns: turns + 1, why };
        }
    }

    fn say(&mut self, message: &str) {
        let line = notice(self.style, millis(), message);
        if !self.notices.insert(line.as_bytes()) {
            self.slot.add(Counter::LostEvents, 1);
        }
    }
}

/// Lines on their way from a pipe to where they are read.
struct Stream {
    pipe: OwnedFd,
    /// None if it cannot be written to any more.
    out: Option<OwnedFd>,
    /// What is read and not written.
    bytes: Vec<u8>,
    /// Whether the pipe had nothing when it was last looked at.
    was_empty: bool,
    /// Whether the last line that was written has no end yet.
    is_torn: bool,
    /// Whether it will have none but a line feed: the rest of it is lost.
    owes_end: bool,
    /// Whether there was more in the pipe than could be read at once.
    was_much: bool,
    /// Whether something was written since that was last asked.
    has_moved: bool,
    /// Whether no process can write to the pipe any more.
    has_ended: bool,
}

impl Stream {
    fn new(pipe: OwnedFd, out: io::Result<OwnedFd>) -> Self {
        Self {
            has_moved: false,
            has_ended: false,
            pipe,
            out: out.ok(),
            bytes: Vec::new(),
            was_empty: false,
            is_torn: false,
            owes_end: false,
            was_much: false,
        }
    }

    /// What has to happen before there is something to do.
    fn awaited(&self) -> PollFd<'_> {
        match &self.out {
            Some(out) if !self.chunk().is_empty() => PollFd::new(out.as_fd(), PollFlags::POLLOUT),
            _ => PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN),
        }
    }

    /// Whether lines may gather before the next ones are read.
    fn has_time(&self) -> bool {
        self.chunk().is_empty() && !self.was_much
    }

    /// Whether all is written that was there.
    fn is_empty(&self) -> bool {
        self.was_empty && self.chunk().is_empty()
    }

    /// As many whole lines as can be written at once.
    fn chunk(&self) -> &[u8] {
        let most = &self.bytes[..self.bytes.len().min(ATOM)];
        let end = most.iter().rposition(|&octet| octet == b'\n').map_or(0, |at| at + 1);
        &most[..end]
    }

    /// Reads, or writes, if that can be done now.
    ///
    /// # Errors
    /// If the lines that it has cannot be written, now or ever.
    fn advance(&mut self, input: &mut [u8]) -> Result<(), Errno> {
        if self.chunk().is_empty() {
            let outcome = read(&self.pipe, input);
            self.has_ended |= outcome == Ok(0);
            let len = outcome.unwrap_or(0);
            self.was_empty = len == 0;
            self.was_much = len == input.len();
            self.bytes.extend_from_slice(&input[..len]);
        }
        while !self.chunk().is_empty() {
            let out = self.out.as_ref().ok_or(Errno::EBADF)?;
            let mut fds = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
            if poll(&mut fds, PollTimeout::ZERO).unwrap_or(0) == 0 {
                return Ok(());
            }
            match write(out, if self.owes_end { b"\n" } else { self.chunk() }) {
                Ok(0) => return Ok(()),
                Ok(_) if self.owes_end => self.owes_end = false,
                Ok(len) => {
                    self.is_torn = self.bytes[len - 1] != b'\n';
                    self.has_moved = true;
                    self.bytes.drain(..len);
                }
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Takes note of an error; whether that was the end, and nobody knew before. A full disk may
    /// have room again.
    fn broke(&mut self, errno: Errno) -> bool {
        let is_final = matches!(errno, Errno::EPIPE | Errno::EBADF | Errno::EIO | Errno::EINVAL);
        self.owes_end |= mem::take(&mut self.is_torn);
        is_final && self.out.take().is_some()
    }

    /// Adds a line behind those that are read; false if there are many already.
    fn insert(&mut self, line: &[u8]) -> bool {
        if self.bytes.len() > INPUT {
            return false;
        }
        // The last one may not have come to its end yet.
        let end = self.bytes.iter().rposition(|&octet| octet == b'\n').map_or(0, |at| at + 1);
        self.bytes.splice(end..end, line.iter().copied());
        true
    }

    /// Gives up the lines that are read; how many that were.
    fn lose(&mut self) -> u64 {
        let lines = self.bytes.iter().filter(|&&octet| octet == b'\n').count() as u64;
        let end = self.bytes.iter().rposition(|&octet| octet == b'\n').map_or(0, |at| at + 1);
        self.bytes.drain(..end);
        lines
    }

    /// The same, and those that nobody has read yet.
    fn lose_all(&mut self) -> u64 {
        let mut lines = self.lose();
        let mut input = [0; INPUT];
        while let Ok(len @ 1..) = read(&self.pipe, &mut input) {
            self.bytes.extend_from_slice(&input[..len]);
            lines += self.lose();
        }
        lines
    }
}
