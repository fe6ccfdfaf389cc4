//! A worker's side of the listeners. The queues behind them belong to all workers, who wait for
//! them in line: a connection wakes the first one that waits, and whoever has taken a few goes to
//! the end, so that all get their share.
//!
//! mio has no name for that (`EPOLLEXCLUSIVE`, epoll_ctl(2)), so the registration is made beside
//! it, on the same epoll and in the form of its own: a token is epoll's word of user data.
//!
//! Who was woken may die, or be stopped, before it accepts; then the connection is found when the
//! next one comes, or by whoever looks unasked, which each worker does once a second.

use std::net::{self, IpAddr};
use std::os::fd::AsFd as _;

use mio::net::{TcpListener, TcpStream};
use mio::{Poll, Token};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use crate::failure::Failure;

use super::failed;

/// How many connections a worker takes from a queue before it goes to the end of its line.
const SHARE: u32 = 4;

/// The listeners that a worker takes connections from.
pub(super) struct Listeners {
    /// The worker's own, once more.
    epoll: Epoll,
    /// None for those that have ended.
    listeners: Vec<Option<Listener>>,
    /// Whose turn it is, so that a busy one leaves the others theirs.
    next: usize,
    first_token: usize,
    /// Whether this worker is in line.
    is_waiting: bool,
}

struct Listener {
    socket: TcpListener,
    token: Token,
    /// Whether the queue may have connections for us. What comes later is announced by an event.
    ready: bool,
    /// Connections that were taken since this worker went to the end of the line.
    taken: u32,
}

/// What was in the queues.
pub(super) enum Accepted {
    Connection(TcpStream, IpAddr),
    Nothing,
    /// Something, but the system has no descriptor or memory to take it with.
    Shortage,
}

impl Listeners {
    /// Listeners that are not waited for yet; their tokens begin with `first_token`.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub(super) fn new(
        sockets: Vec<net::TcpListener>,
        first_token: usize,
        poll: &Poll,
    ) -> Result<Self, Failure> {
        let epoll = poll.registry().as_fd().try_clone_to_owned();
        let epoll = Epoll(epoll.map_err(failed("cannot watch the listener"))?);
        let sockets = sockets.into_iter().enumerate();
        let listeners = sockets.map(|(index, socket)| {
            let socket = TcpListener::from_std(socket);
            let token = Token(first_token + index);
            Some(Listener { socket, token, ready: false, taken: 0 })
        });
        let listeners = listeners.collect();
        Ok(Self { epoll, listeners, next: 0, first_token, is_waiting: false })
    }

    /// Gets in line, if this worker is not there already, and looks at the queues.
    pub(super) fn wait(&mut self) {
        if !self.is_waiting {
            self.listeners.iter().flatten().for_each(|listener| listener.get_in_line(&self.epoll));
            self.is_waiting = true;
            self.look_again();
        }
    }

    /// Leaves the line for now, so that others are woken.
    pub(super) fn stand_aside(&mut self) {
        if self.is_waiting {
            self.listeners.iter().flatten().for_each(|listener| listener.leave_line(&self.epoll));
            self.is_waiting = false;
        }
    }

    /// Takes note that a queue has connections.
    pub(super) fn ready(&mut self, Token(token): Token) {
        if let Some(listener) = &mut self.listeners[token - self.first_token] {
            listener.ready = true;
        }
    }

    /// Has the queues be looked at although nobody said that they have something.
    pub(super) fn look_again(&mut self) {
        self.listeners.iter_mut().flatten().for_each(|listener| listener.ready = true);
    }

    /// Whether there may be something to accept.
    pub(super) fn are_ready(&self) -> bool {
        self.listeners.iter().flatten().any(|listener| listener.ready)
    }

    pub(super) fn have_ended(&self) -> bool {
        self.listeners.iter().all(Option::is_none)
    }

    /// Takes a connection out of a queue that has one.
    pub(super) fn accept(&mut self) -> Accepted {
        for _ in 0..self.listeners.len() {
            let index = self.next;
            self.next = (index + 1) % self.listeners.len();
            match self.accept_from(index) {
                Accepted::Nothing => {}
                accepted => return accepted,
            }
        }
        Accepted::Nothing
    }

    fn accept_from(&mut self, index: usize) -> Accepted {
        let entry = &mut self.listeners[index];
        while let Some(listener) = entry.as_mut().filter(|listener| listener.ready) {
            let error = match listener.socket.accept() {
                Ok((stream, peer)) => {
                    listener.count(&self.epoll);
                    return Accepted::Connection(stream, peer.ip().to_canonical());
                }
                Err(error) => error,
            };
            match error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw) {
                Errno::EAGAIN => listener.ready = false,
                // The master has shut it down.
                Errno::EINVAL => forsake(entry, &self.epoll),
                errno if is_of_one_connection(errno) => {}
                _ => return Accepted::Shortage,
            }
        }
        Accepted::Nothing
    }
}

/// Whether an error is about what went wrong with a connection before it was accepted, and is over
/// with it (accept(2)).
fn is_of_one_connection(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ECONNABORTED
            | Errno::EINTR
            | Errno::EPERM
            | Errno::EPROTO
            | Errno::ENOPROTOOPT
            | Errno::EOPNOTSUPP
            | Errno::ENETDOWN
            | Errno::ENETUNREACH
            | Errno::EHOSTDOWN
            | Errno::EHOSTUNREACH
            | Errno::ENONET
    )
}

impl Listener {
    /// Gets in line behind those that wait already. If the system has no room there for it, the
    /// worker still looks once a second.
    fn get_in_line(&self, epoll: &Epoll) {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET | EpollFlags::EPOLLEXCLUSIVE;
        let _ = epoll.add(self.socket.as_fd(), EpollEvent::new(flags, self.token.0 as u64));
    }

    /// To be done also before it is dropped: others hold it too, and so it stays registered.
    fn leave_line(&self, epoll: &Epoll) {
        let _ = epoll.delete(self.socket.as_fd());
    }

    /// Takes note of a connection, and lets others have theirs.
    fn count(&mut self, epoll: &Epoll) {
        self.taken += 1;
        if self.taken == SHARE {
            self.taken = 0;
            self.leave_line(epoll);
            self.get_in_line(epoll);
        }
    }
}

fn forsake(entry: &mut Option<Listener>, epoll: &Epoll) {
    if let Some(listener) = entry.take() {
        listener.leave_line(epoll);
    }
}
