//! Opening the listeners, before anything else runs.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv6V6Only, ReuseAddr, TcpNoDelay};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket,
};

use crate::config::{AdminListen, Listen};
use crate::failure::Failure;
use crate::log::Style;

use super::log::say;

/// Opens a listener for each address.
///
/// # Errors
/// A port that is taken or not allowed, an address that this machine does not have.
pub(super) fn open(wanted: &Listen) -> Result<Vec<TcpListener>, Failure> {
    match wanted {
        Listen::Everywhere(port) => {
            let every_v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
            let every_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port));
            let listener = match open_one(every_v6, false) {
                Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) => {
                    open_one(every_v4, false).map_err(|errno| complaint(every_v4, errno))
                }
                outcome => outcome.map_err(|errno| complaint(every_v6, errno)),
            };
            Ok(vec![listener?])
        }
        Listen::On(addresses) => addresses
            .iter()
            .map(|&address| {
                // An IPv4 address of the same port has a listener of its own.
                let v6_only =
                    addresses.iter().any(|other| other.is_ipv4() && other.port() == address.port());
                open_one(address, v6_only).map_err(|errno| complaint(address, errno))
            })
            .collect(),
    }
}

/// Opens where tine says how it is. Where that is only the default, another program may have it.
///
/// # Errors
/// If it was asked for and cannot be had.
pub(super) fn open_admin(
    wanted: AdminListen,
    style: Style,
) -> Result<Option<TcpListener>, Failure> {
    let Some(address) = wanted.address() else { return Ok(None) };
    let every_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    let outcome = match open_one(address, false) {
        // As on the port that serves.
        Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL)
            if address.ip() == Ipv6Addr::UNSPECIFIED =>
        {
            open_one(every_v4, false)
        }
        outcome => outcome,
    };
    match outcome {
        Ok(listener) => Ok(Some(listener)),
        Err(errno) if wanted == AdminListen::On(address) => Err(complaint(address, errno)),
        Err(errno) => {
            let (reason, lack) = (errno.desc(), "no probes, metrics or status page");
            let mend = "choose another address by --admin-listen, or say off";
            say(style, &format!("{lack}: cannot listen on {address}: {reason}; {mend}"));
            Ok(None)
        }
    }
}

fn open_one(address: SocketAddr, v6_only: bool) -> nix::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Stream, flags, None)?;
    // A port is free again at once when its last owner's connections only wait to be forgotten.
    setsockopt(&socket, ReuseAddr, &true)?;
    // Accepted sockets inherit it: an answer is written at once, and what should wait for more
    // says so by MSG_MORE.
    setsockopt(&socket, TcpNoDelay, &true)?;
    if address.is_ipv6() {
        setsockopt(&socket, Ipv6V6Only, &v6_only)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    // As long a queue as the system allows (net.core.somaxconn).
    listen(&socket, Backlog::MAXALLOWABLE)?;
    Ok(socket.into())
}

fn complaint(address: SocketAddr, errno: Errno) -> Failure {
    let mend = match errno {
        Errno::EADDRINUSE => {
            "another program has that port; stop it, or choose another by --listen or PORT"
        }
        Errno::EACCES => {
            "ports below 1024 need root or CAP_NET_BIND_SERVICE; choose a higher one by --listen"
        }
        Errno::EADDRNOTAVAIL => "this machine does not have that address; choose one that it has",
        _ => errno.desc(),
    };
    Failure::system(format!("cannot listen on {address}: {mend}"))
}

/// Where a listener can be reached, if the system says.
pub(super) fn url_of(listener: &TcpListener) -> Option<String> {
    listener.local_addr().ok().map(url)
}

/// Where a listener can be reached, to be clicked on.
pub(super) fn url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://localhost:{}/", address.port())
    } else {
        format!("http://{address}/")
    }
}
