//! A word that processes say by letting go: the end of a pipe, which comes when the last one that
//! holds its writing side has dropped it, or died. It reaches everybody who holds the reading side,
//! whoever forked them; it cannot be lost, come twice, or fill anything up. Nothing is written.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe2;

use crate::failure::Failure;

use super::failed;

/// The side of those who will say the word: by dropping this, or by their own end.
#[derive(Debug)]
pub struct Speaker(#[expect(dead_code, reason = "it is held for its end")] OwnedFd);

/// The side of those who wait for the word.
#[derive(Debug)]
pub struct Word(OwnedFd);

impl Word {
    /// A word that is not said yet.
    ///
    /// # Errors
    /// If the system refuses a pipe.
    pub fn new() -> Result<(Speaker, Self), Failure> {
        let (word, speaker) = pipe2(OFlag::O_CLOEXEC).map_err(failed("cannot make a pipe"))?;
        Ok((Speaker(speaker), Self(word)))
    }

    /// What poll(2) says once it is said.
    pub(super) fn awaited(&self) -> PollFd<'_> {
        PollFd::new(self.0.as_fd(), PollFlags::empty())
    }

    /// Whether it is said.
    pub(super) fn is_said(&self) -> bool {
        let mut fds = [self.awaited()];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Has the poll not say it any more; to be done before it is dropped while others hold it.
    pub(super) fn forget(&self, poll: &Poll) {
        let _ = poll.registry().deregister(&mut SourceFd(&self.0.as_raw_fd()));
    }

    /// Has the poll say when the word is said.
    pub(super) fn watch(&self, poll: &Poll, token: Token) -> Result<(), Failure> {
        poll.registry()
            .register(&mut SourceFd(&self.0.as_raw_fd()), token, Interest::READABLE)
            .map_err(failed("cannot watch a pipe"))
    }
}
