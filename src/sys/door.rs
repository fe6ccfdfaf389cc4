//! A listener's door: shut to newcomers, while those who are half inside still get in.
//!
//! There is no call for that. A socket filter would do, but kernels refuse one to an unprivileged
//! process (EPERM on 6.18 with the BPF JIT always on). So the door is the least hop limit that a
//! packet must still have (`IP_MINTTL`, ip(7); `IPV6_MINHOPCOUNT`): 255 is what no packet has that
//! ever passed a router, and no system sends by default. A listener's SYN is measured by it, the
//! ACK that ends a handshake is not.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc;

/// Lets a listener take no new connection. The client's kernel repeats its SYN a second later: by
/// then it is refused, or taken by whoever listens next.
///
/// # Errors
/// Those of setsockopt(2).
pub(crate) fn shut(listener: impl AsFd) -> nix::Result<()> {
    require_hops(listener, 255)
}

/// Lets packets in through a socket that was accepted from a listener since it is shut: it has
/// inherited the listener's measure. What was dropped meanwhile is sent again by the client.
///
/// # Errors
/// Those of setsockopt(2).
pub(crate) fn reopen(stream: impl AsFd) -> nix::Result<()> {
    require_hops(stream, 0)
}

fn require_hops(socket: impl AsFd, least: libc::c_int) -> nix::Result<()> {
    let socket = socket.as_fd();
    match set(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, least) {
        // A socket of IPv4 alone.
        Ok(()) | Err(Errno::ENOPROTOOPT | Errno::EOPNOTSUPP) => {}
        Err(errno) => return Err(errno),
    }
    // A socket of IPv6 takes this one too, for the IPv4 that comes in by it.
    set(socket, libc::IPPROTO_IP, libc::IP_MINTTL, least)
}

fn set(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> nix::Result<()> {
    let len = libc::socklen_t::try_from(size_of_val(&value)).expect("a few bytes");
    // SAFETY: the kernel copies `len` bytes from the value before the call returns, and the value
    // has that many.
    let outcome = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, ptr::from_ref(&value).cast(), len)
    };
    Errno::result(outcome).map(drop)
}
