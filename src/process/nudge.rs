//! A nudge: from master and admin to whoever leads, as often as they want (eventfd(2)). It says
//! nothing but to look at the board, and so it does not matter who takes it.

use std::os::fd::{AsFd as _, AsRawFd as _};

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::failure::Failure;

use super::failed;

/// Shared by all who may give or take it.
pub(super) struct Nudge(EventFd);

impl Nudge {
    /// # Errors
    /// If the system refuses a descriptor.
    pub(super) fn new() -> Result<Self, Failure> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(EventFd::from_flags(flags).map_err(failed("cannot make an eventfd"))?))
    }

    pub(super) fn give(&self) {
        // If it cannot be given, many were, and none is taken yet.
        let _ = self.0.write(1);
    }

    pub(super) fn take(&self) {
        let _ = self.0.read();
    }

    /// Has the poll say when it is there.
    pub(super) fn watch(&self, poll: &Poll, token: Token) -> Result<(), Failure> {
        poll.registry()
            .register(&mut SourceFd(&self.0.as_fd().as_raw_fd()), token, Interest::READABLE)
            .map_err(failed("cannot watch an eventfd"))
    }
}
