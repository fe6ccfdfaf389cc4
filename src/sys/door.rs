//! A listener's door: shut to newcomers, while those who are half inside still get in.
//!
//! There is no call for that. A socket filter would do, but kernels refuse one to an unprivileged
//! process (EPERM on 6.18 with the BPF JIT always on). So the door is the least hop limit that a
//! packet must still have (`IP_MINTTL`, ip(7); `IPV6_MINHOPCOUNT`): 255 is what no packet has that
//! ever passed a router, and no system sends by default. A listener's SYN is measured by it, the
//! ACK that ends a handshake is not.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::setsockopt;

nix::sockopt_impl!(Ipv4LeastHops, SetOnly, libc::IPPROTO_IP, libc::IP_MINTTL, i32);
nix::sockopt_impl!(Ipv6LeastHops, SetOnly, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, i32);

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

fn require_hops(socket: impl AsFd, least: i32) -> nix::Result<()> {
    match setsockopt(&socket, Ipv6LeastHops, &least) {
        // A socket of IPv4 alone.
        Ok(()) | Err(Errno::ENOPROTOOPT | Errno::EOPNOTSUPP) => {}
        Err(errno) => return Err(errno),
    }
    // A socket of IPv6 takes this one too, for the IPv4 that comes in by it.
    setsockopt(&socket, Ipv4LeastHops, &least)
}
