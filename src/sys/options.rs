//! Options of sockets that nix has no name for.

use nix::{libc, setsockopt_impl, sockopt_impl};

sockopt_impl!(
    /// How much unsent data a socket may hold before it takes no more, in octets (Linux'
    /// `Documentation/networking/ip-sysctl.rst`, `tcp_notsent_lowat`).
    NotSentLowat,
    SetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_NOTSENT_LOWAT,
    u32
);
