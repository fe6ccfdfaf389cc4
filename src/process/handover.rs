//! The way of connections from one generation to the next: a pair of sockets that the master has
//! made and everybody holds, so that what is on its way is lost by nobody's death.

use std::io;
use std::net;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::failure::Failure;
use crate::sys::pass;

use super::failed;

/// Longest message, in bytes.
pub(super) const MESSAGE_MAX: usize = 64 * 1024;

/// Both ends of the way.
#[derive(Debug)]
pub struct Handover {
    entrance: OwnedFd,
    exit: OwnedFd,
}

/// What has become of a connection that was to be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    Gone,
    /// There is no room now.
    Later,
    /// It has too much to carry.
    Never,
}

impl Handover {
    /// A way on which nobody is.
    ///
    /// # Errors
    /// If the system refuses sockets.
    pub fn new() -> Result<Self, Failure> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags);
        let (entrance, exit) = pair.map_err(failed("cannot make a pair of sockets"))?;
        Ok(Self { entrance, exit })
    }

    /// Has the poll say when somebody has come.
    pub(super) fn watch_exit(&self, poll: &Poll, token: Token) -> Result<(), Failure> {
        poll.registry()
            .register(&mut SourceFd(&self.exit.as_raw_fd()), token, Interest::READABLE)
            .map_err(failed("cannot watch a socket"))
    }

    /// Has the poll say when there is room again.
    pub(super) fn watch_entrance(&self, poll: &Poll, token: Token) -> Result<(), Failure> {
        poll.registry()
            .register(&mut SourceFd(&self.entrance.as_raw_fd()), token, Interest::WRITABLE)
            .map_err(failed("cannot watch a socket"))
    }

    /// Sends a connection on its way. Nothing of this process may watch it any more: its
    /// registration would outlive the descriptor.
    pub(super) fn give(&self, message: &[u8], stream: &TcpStream) -> Given {
        if message.len() > MESSAGE_MAX {
            return Given::Never;
        }
        match pass::send(&self.entrance, message, stream.as_fd()) {
            Ok(()) => Given::Gone,
            Err(Errno::EMSGSIZE) => Given::Never,
            Err(_) => Given::Later,
        }
    }

    /// Whether there is a descriptor for the next one: without it, taking is losing.
    pub(super) fn has_descriptor(&self) -> bool {
        self.exit.try_clone().is_ok()
    }

    /// Takes the next one; its message is what is written to `buffer`.
    ///
    /// # Errors
    /// `WouldBlock` if there is none; anything else is about one of them.
    pub(super) fn take(&self, buffer: &mut [u8]) -> io::Result<(usize, TcpStream)> {
        let (len, passed) = pass::receive(&self.exit, buffer)?;
        let passed = passed.ok_or(io::ErrorKind::OutOfMemory)?;
        Ok((len, TcpStream::from_std(net::TcpStream::from(passed))))
    }
}
