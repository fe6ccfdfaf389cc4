//! A worker's side of the listeners. The queues behind them belong to all workers.

use std::net;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Poll, Token};
use nix::errno::Errno;

use crate::failure::Failure;

use super::failed;

/// The listeners that a worker takes connections from.
pub(super) struct Listeners {
    /// None for those that have ended.
    listeners: Vec<Option<Listener>>,
    /// Whose turn it is, so that a busy one leaves the others theirs.
    next: usize,
    first_token: usize,
}

struct Listener {
    socket: TcpListener,
    /// Whether the queue may have connections for us. What comes later is announced by an event.
    ready: bool,
}

/// What was in the queues.
pub(super) enum Accepted {
    Connection(TcpStream),
    Nothing,
    /// Something, but the system has no descriptor or memory to take it with.
    Shortage,
}

impl Listeners {
    /// Listeners that are not watched yet; their tokens begin with `first_token`.
    pub(super) fn new(sockets: Vec<net::TcpListener>, first_token: usize) -> Self {
        let listener = |socket| Listener { socket: TcpListener::from_std(socket), ready: false };
        let listeners = sockets.into_iter().map(listener).map(Some).collect();
        Self { listeners, next: 0, first_token }
    }

    /// Begins to take connections. Whatever is queued already is an event.
    pub(super) fn open(&mut self, poll: &Poll) -> Result<(), Failure> {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            if let Some(listener) = listener {
                listener.ready = true;
                let token = Token(self.first_token + index);
                poll.registry()
                    .register(&mut listener.socket, token, Interest::READABLE)
                    .map_err(failed("cannot watch the listener"))?;
            }
        }
        Ok(())
    }

    /// Takes note that a queue has connections.
    pub(super) fn ready(&mut self, Token(token): Token) {
        if let Some(listener) = &mut self.listeners[token - self.first_token] {
            listener.ready = true;
        }
    }

    /// Whether there may be something to accept.
    pub(super) fn are_ready(&self) -> bool {
        self.listeners.iter().flatten().any(|listener| listener.ready)
    }

    pub(super) fn have_ended(&self) -> bool {
        self.listeners.iter().all(Option::is_none)
    }

    /// Takes a connection out of a queue that has one.
    pub(super) fn accept(&mut self, poll: &Poll) -> Accepted {
        for _ in 0..self.listeners.len() {
            let index = self.next;
            self.next = (index + 1) % self.listeners.len();
            match self.accept_from(index, poll) {
                Accepted::Nothing => {}
                accepted => return accepted,
            }
        }
        Accepted::Nothing
    }

    fn accept_from(&mut self, index: usize, poll: &Poll) -> Accepted {
        let entry = &mut self.listeners[index];
        while let Some(listener) = entry.as_mut().filter(|listener| listener.ready) {
            let error = match listener.socket.accept() {
                Ok((stream, _)) => return Accepted::Connection(stream),
                Err(error) => error,
            };
            match error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw) {
                Errno::EAGAIN => listener.ready = false,
                // The master has shut it down.
                Errno::EINVAL => forsake(entry, poll),
                errno if is_of_one_connection(errno) => {}
                _ => return Accepted::Shortage,
            }
        }
        Accepted::Nothing
    }

    /// Leaves all queues to others.
    pub(super) fn forsake_all(&mut self, poll: &Poll) {
        self.listeners.iter_mut().for_each(|entry| forsake(entry, poll));
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

/// Drops a listener. Others hold it too, so that the registration has to be ended by hand.
fn forsake(entry: &mut Option<Listener>, poll: &Poll) {
    if let Some(mut listener) = entry.take() {
        let _ = poll.registry().deregister(&mut listener.socket);
    }
}
