//! A worker: one loop that accepts connections and takes each one on as far as its socket lets it.

use std::collections::VecDeque;
use std::net;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use nix::errno::Errno;
use slab::Slab;

use crate::conn::{Conn, Turn};
use crate::failure::Failure;
use crate::http::limits::Limits;
use crate::site::Site;
use crate::sys::door;

use super::clock::Clock;
use super::link::{Link, Progress};
use super::word::Word;
use super::{failed, wait};

const DRAIN: Token = Token(0);
const LEAVE: Token = Token(1);
const RETIRE: Token = Token(2);
/// The first listener; the others follow.
const LISTENERS: usize = 3;
/// The first connection; their keys follow.
const LINKS: usize = 64;

/// Most connections that are accepted before those that are there have their turn.
const ACCEPTS_MAX: usize = 64;
/// Most events that are taken in one turn.
const EVENTS_MAX: usize = 1024;
/// How much is read at once, in bytes; it is also the longest pipeline that one turn takes in.
const INPUT: usize = 64 * 1024;
/// How often deadlines are looked at.
const SWEEP: Duration = Duration::from_secs(1);
/// The same while draining, when somebody waits for the end.
const DRAIN_SWEEP: Duration = Duration::from_millis(50);

/// What a worker is born with.
pub struct Seat {
    /// What there is to serve; shared with all workers by fork, and never changed.
    pub site: &'static Site,
    /// Shared with all workers: the queue belongs to the listener and to none of them.
    pub listeners: Vec<net::TcpListener>,
    /// From the master, to everybody: to drain, and leave then.
    pub drain: Word,
    /// From the master, to everybody: to leave at once.
    pub leave: Word,
    /// From the publisher, to its workers: to leave the listeners to another's.
    pub retire: Word,
    /// How long answers in flight may take at the end.
    pub drain_timeout: Duration,
}

/// A process that serves.
pub struct Worker<'l> {
    desk: Desk<'l>,
    poll: Poll,
    /// Those that have not ended yet.
    listeners: Vec<Option<Listener>>,
    links: Slab<Link<'static>>,
    /// Links with more to do, whom no event will announce.
    unfinished: VecDeque<usize>,
    /// Held for their ends.
    _words: [Word; 3],
    drain_timeout: Duration,
    /// When to be gone; none while there is no end in sight.
    leave_at: Option<Instant>,
}

/// What the links need for their turns.
struct Desk<'l> {
    site: &'static Site,
    limits: &'l Limits,
    clock: Clock,
    draining: bool,
    input: Box<[u8]>,
    spare: Vec<u8>,
}

struct Listener {
    socket: TcpListener,
    /// Whether the queue may have connections for us. What comes later is announced by an event.
    ready: bool,
}

impl<'l> Worker<'l> {
    /// Takes a seat.
    ///
    /// # Errors
    /// If the system refuses what watching for events needs.
    pub fn take(seat: Seat, limits: &'l Limits) -> Result<Self, Failure> {
        let Seat { site, listeners, drain, leave, retire, drain_timeout } = seat;
        // A poll of its own: an inherited one would be the publisher's still.
        let poll = Poll::new().map_err(failed("cannot watch for events"))?;
        drain.watch(&poll, DRAIN)?;
        leave.watch(&poll, LEAVE)?;
        retire.watch(&poll, RETIRE)?;
        let listeners = listeners.into_iter().enumerate().map(|(index, socket)| {
            let mut socket = TcpListener::from_std(socket);
            poll.registry()
                .register(&mut socket, Token(LISTENERS + index), Interest::READABLE)
                .map_err(failed("cannot watch the listener"))?;
            Ok(Some(Listener { socket, ready: true }))
        });
        let listeners = listeners.collect::<Result<_, Failure>>()?;
        let desk = Desk {
            site,
            limits,
            clock: Clock::new(),
            draining: false,
            input: vec![0; INPUT].into(),
            spare: Vec::new(),
        };
        Ok(Self {
            desk,
            poll,
            listeners,
            links: Slab::new(),
            unfinished: VecDeque::new(),
            _words: [drain, leave, retire],
            drain_timeout,
            leave_at: None,
        })
    }

    /// Serves until everybody, or this worker alone, is to leave.
    ///
    /// # Errors
    /// If it cannot wait for events.
    pub fn run(mut self) -> Result<(), Failure> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut sweep_at = self.desk.clock.now() + SWEEP;
        let mut is_busy = false;
        while !self.is_done() {
            let pause = sweep_at.saturating_duration_since(self.desk.clock.now());
            wait(&mut self.poll, &mut events, Some(if is_busy { Duration::ZERO } else { pause }))?;
            self.desk.clock.tick();

            // Those that are left from the last turn come behind those that wait since.
            let unfinished = self.unfinished.len();
            for event in &events {
                match event.token() {
                    DRAIN => self.drain(),
                    LEAVE => return Ok(()),
                    RETIRE => self.retire(),
                    Token(token @ LISTENERS..LINKS) => {
                        if let Some(listener) = &mut self.listeners[token - LISTENERS] {
                            listener.ready = true;
                        }
                    }
                    Token(token) => {
                        let key = token - LINKS;
                        // An event may be older than its link's end.
                        if let Some(link) = self.links.get_mut(key) {
                            link.ready(event);
                            self.pump(key);
                        }
                    }
                }
            }
            for _ in 0..unfinished {
                if let Some(key) = self.unfinished.pop_front() {
                    self.pump(key);
                }
            }
            let has_queued = self.accept();
            if self.desk.clock.now() >= sweep_at {
                self.sweep();
                sweep_at =
                    self.desk.clock.now() + if self.desk.draining { DRAIN_SWEEP } else { SWEEP };
            }
            is_busy = has_queued || !self.unfinished.is_empty();
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let has_work = !self.links.is_empty() || self.listeners.iter().any(Option::is_some);
        self.leave_at.is_some_and(|leave_at| !has_work || leave_at <= self.desk.clock.now())
    }

    fn pump(&mut self, key: usize) {
        let Some(link) = self.links.get_mut(key) else { return };
        let (mut turn, input) = self.desk.turn();
        match link.pump(input, &mut turn) {
            Progress::Blocked => {}
            Progress::Unfinished => self.unfinished.push_back(key),
            // No other process holds this socket, so that closing it ends its registration too.
            Progress::Closed => drop(self.links.remove(key)),
        }
    }

    /// Takes connections from the queues; whether there may be more in them.
    fn accept(&mut self) -> bool {
        let mut has_queued = false;
        for index in 0..self.listeners.len() {
            has_queued |= self.accept_from(index);
        }
        has_queued
    }

    fn accept_from(&mut self, index: usize) -> bool {
        for _ in 0..ACCEPTS_MAX {
            let Some(listener) = &mut self.listeners[index] else { return false };
            if !listener.ready {
                return false;
            }
            match listener.socket.accept() {
                Ok((stream, _)) => self.welcome(stream),
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EAGAIN) => listener.ready = false,
                    // The master has shut it down.
                    Some(Errno::EINVAL) => self.forsake(index),
                    // Nothing is left to accept with: the next turn tries again, after an event
                    // or the next sweep.
                    Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                        return false;
                    }
                    // What went wrong with one connection before it was accepted (accept(2)).
                    _ => {}
                },
            }
        }
        true
    }

    /// Starts with a connection. Mostly its request is there already; if it is answered and over
    /// at once, nobody had to watch it.
    fn welcome(&mut self, stream: TcpStream) {
        if self.desk.draining && door::reopen(&stream).is_err() {
            return;
        }
        let (mut turn, input) = self.desk.turn();
        let mut link = Link::new(stream, Conn::new(&turn));
        let progress = link.pump(input, &mut turn);
        if progress == Progress::Closed {
            return;
        }
        if self.desk.draining {
            link.conn().drain(self.desk.clock.now());
        }
        let entry = self.links.vacant_entry();
        let token = Token(LINKS + entry.key());
        let interest = Interest::READABLE | Interest::WRITABLE;
        // Without memory to watch it, the connection is closed.
        if self.poll.registry().register(link.stream(), token, interest).is_ok() {
            if progress == Progress::Unfinished {
                self.unfinished.push_back(entry.key());
            }
            entry.insert(link);
        }
    }

    /// Begins to leave: every answer is its connection's last, and what is queued is still taken
    /// until the master ends the listeners.
    fn drain(&mut self) {
        self.desk.draining = true;
        self.leave_at.get_or_insert(self.desk.clock.now() + self.drain_timeout);
        for (_, link) in &mut self.links {
            // It may have come in behind a door that was shut already.
            let _ = door::reopen(&*link.stream());
            link.conn().drain(self.desk.clock.now());
        }
    }

    /// Begins to leave without the publisher, whose successor's workers accept from now on.
    fn retire(&mut self) {
        self.drain();
        for index in 0..self.listeners.len() {
            self.forsake(index);
        }
    }

    /// Drops a listener. Others hold it too, so that the registration has to be ended by hand.
    fn forsake(&mut self, index: usize) {
        if let Some(mut listener) = self.listeners[index].take() {
            let _ = self.poll.registry().deregister(&mut listener.socket);
        }
    }

    /// Tells the links whose deadline has passed; they are taken on in the next turn.
    fn sweep(&mut self) {
        let (mut turn, _) = self.desk.turn();
        for (key, link) in &mut self.links {
            if link.conn().deadline() <= turn.now {
                link.conn().expired(&mut turn);
                self.unfinished.push_back(key);
            }
        }
    }
}

impl Desk<'_> {
    /// This turn's circumstances, and the buffer to read into.
    fn turn(&mut self) -> (Turn<'_, 'static>, &mut [u8]) {
        let Self { site, limits, clock, draining, input, spare } = self;
        let (now, date) = (clock.now(), clock.date());
        (Turn { site, limits, now, date, draining: *draining, spare }, input)
    }
}
