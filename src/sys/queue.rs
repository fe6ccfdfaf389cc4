//! What a socket holds.

use std::os::fd::{AsFd, AsRawFd as _};

use nix::errno::Errno;
use nix::libc;

/// How much of what was written the other end has not acknowledged, in bytes (SIOCOUTQ, tcp(7)).
///
/// # Errors
/// Those of ioctl(2).
pub(crate) fn unacknowledged(socket: impl AsFd) -> nix::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: this request writes an int, and nothing else, to where it is told.
    let outcome =
        unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    Errno::result(outcome)?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}
