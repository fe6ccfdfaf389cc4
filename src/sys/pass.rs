//! Passing descriptors from process to process (unix(7)).

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// Sends a message and a descriptor beside it, all or nothing.
///
/// # Errors
/// Those of sendmsg(2): `EAGAIN` if there is no room, `ETOOMANYREFS` if too many descriptors are on
/// their way, `EMSGSIZE` if the message is too long.
pub(crate) fn send(socket: impl AsFd, message: &[u8], passed: BorrowedFd<'_>) -> nix::Result<()> {
    let fds = [passed.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    let (socket, parts) = (socket.as_fd().as_raw_fd(), [IoSlice::new(message)]);
    sendmsg::<()>(socket, &parts, &rights, MsgFlags::MSG_NOSIGNAL, None).map(drop)
}

/// Receives a message into `buffer`, and the descriptor beside it. None for the descriptor if there
/// was no room for it here: then it is lost.
///
/// # Errors
/// Those of recvmsg(2): `EAGAIN` if there is none.
pub(crate) fn receive(
    socket: impl AsFd,
    buffer: &mut [u8],
) -> nix::Result<(usize, Option<OwnedFd>)> {
    let mut space = cmsg_space!([i32; 1]);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let socket = socket.as_fd().as_raw_fd();
    let received = recvmsg::<()>(socket, &mut parts, Some(&mut space), flags)?;
    let mut passed = None;
    for control in received.cmsgs()? {
        let ControlMessageOwned::ScmRights(fds) = control else { continue };
        for fd in fds {
            // SAFETY: the kernel has just made this descriptor for us, and nobody else knows its
            // number.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            passed.get_or_insert(fd);
        }
    }
    if received.flags.contains(MsgFlags::MSG_TRUNC) {
        return Err(Errno::EMSGSIZE);
    }
    Ok((received.bytes, passed))
}
