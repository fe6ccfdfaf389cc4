//! Doorbells (eventfd(2)): one for each slot of the scoreboard, made once and kept across restarts.
//! A ring says nothing but to look at the scoreboard.

use std::os::fd::{AsFd as _, AsRawFd as _};

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// The doorbell of a process.
#[derive(Debug)]
pub struct Doorbell(EventFd);

impl Doorbell {
    /// Makes a doorbell that was not rung.
    ///
    /// # Errors
    /// Those of eventfd(2).
    pub fn new() -> nix::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        EventFd::from_flags(flags).map(Self)
    }

    /// Rings it: its process wakes up, now or when it waits next.
    pub fn ring(&self) {
        // The write fails only if the counter is full: then it was rung and not answered.
        let _ = self.0.write(1);
    }

    /// Waits until it is rung.
    pub fn wait(&self) {
        while poll(&mut [self.awaited()], PollTimeout::NONE) == Err(Errno::EINTR) {}
    }

    /// Takes note of all rings so far.
    pub fn answer(&self) {
        let _ = self.0.read();
    }

    /// Has the poll wake up when it is rung.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub(crate) fn watch(&self, poll: &Poll, token: Token) -> std::io::Result<()> {
        let mut source = SourceFd(&self.0.as_fd().as_raw_fd());
        poll.registry().register(&mut source, token, Interest::READABLE)
    }

    /// What poll(2) says once it is rung.
    pub(crate) fn awaited(&self) -> PollFd<'_> {
        PollFd::new(self.0.as_fd(), PollFlags::POLLIN)
    }
}
