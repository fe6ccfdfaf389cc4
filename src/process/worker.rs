//! A worker: one loop that accepts connections and takes each one on as far as its socket lets it.

mod moves;
mod seat;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Poll, Token};
use nix::unistd::getpid;

use crate::board::{Counter, Ending, Phase, Role, Row};
use crate::conn::{Conn, Mode, Subject, Term, Turn};
use crate::failure::Failure;
use crate::http::limits::Limits;
use crate::log::Ledger;
use crate::peer::Trusted;
use crate::site::Site;
use crate::sys::door;

use super::clock::Clock;
use super::handover::Handover;
use super::link::{Link, Progress};
use super::links::Links;
use super::listeners::{Accepted, Listeners};
use super::log::{ATOM, AccessLog};
use super::word::Word;
use super::{failed, take_role, wait};
pub use seat::Seat;

const DRAIN: Token = Token(0);
const LEAVE: Token = Token(1);
const LOOK: Token = Token(2);
const ARRIVAL: Token = Token(3);
const ROOM: Token = Token(4);
/// The first listener; the others follow.
const LISTENERS: usize = 5;
/// The first connection; their keys follow.
const LINKS: usize = 64;

/// Most connections that are accepted before those that are there have their turn.
const ACCEPTS_MAX: usize = 64;
/// Most events that are taken in one turn.
const EVENTS_MAX: usize = 1024;
/// How much is read at once, in bytes; it is also the longest pipeline that one turn takes in.
const INPUT: usize = 64 * 1024;
/// How often deadlines and the board are looked at, and the heart beats.
const SWEEP: Duration = Duration::from_secs(1);
/// The same while draining, when somebody waits for the end.
const DRAIN_SWEEP: Duration = Duration::from_millis(50);
/// How long lines wait for room in the pipe before that is tried again.
const LOG_PAUSE: Duration = Duration::from_millis(50);

/// A process that serves.
pub struct Worker<'l> {
    desk: Desk<'l>,
    poll: Poll,
    listeners: Listeners,
    handover: Handover,
    /// Whether somebody may have been handed over to this generation.
    has_arrivals: bool,
    links: Links<'static>,
    connections_max: usize,
    trusted: Trusted,
    has_preface: bool,
    /// How many links there were when nothing was left to accept with; until there are fewer, or
    /// for the rest of a second, that is not tried again.
    shortage: Option<usize>,
    /// Whether it is told when the way has room; without memory for that it is tried once a second.
    hears_of_room: bool,
    /// Whether this generation had its turn to serve, or has it still.
    has_served: bool,
    /// Held for their ends.
    _words: [Word; 4],
    drain_timeout: Duration,
    /// When to be gone; none while there is no end in sight.
    leave_at: Option<Instant>,
}

/// The way to the next generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    /// Full, for so many sweeps: what is kept waits for room.
    Full(u8),
    /// Full for so long that what is kept is answered here.
    Closed,
}

/// What the links need for their turns.
struct Desk<'l> {
    site: &'static Site,
    limits: &'l Limits,
    row: Row<'static>,
    access_log: AccessLog,
    ledger: Ledger,
    clock: Clock,
    mode: Mode,
    term: Term<'static>,
    way: Way,
    input: Box<[u8]>,
    spare: Vec<u8>,
}

impl<'l> Worker<'l> {
    /// Takes a seat, and says that it is ready.
    ///
    /// # Errors
    /// If the system refuses what watching for events needs.
    pub fn take(seat: Seat, limits: &'l Limits) -> Result<Self, Failure> {
        // It lives as long as this process.
        let site: &'static Site = Box::leak(Box::new(seat.site));
        let Seat {
            generation, board, row, access_log, listeners, handover, connections_max, ..
        } = seat;
        take_role(row, Role::Worker, generation);
        // A poll of its own: an inherited one would be the publisher's still.
        let poll = Poll::new().map_err(failed("cannot watch for events"))?;
        seat.drain.watch(&poll, DRAIN)?;
        seat.leave.watch(&poll, LEAVE)?;
        seat.look.watch(&poll, LOOK)?;
        seat.gone.watch(&poll, LOOK)?;
        let listeners = Listeners::new(listeners, LISTENERS, &poll)?;
        handover.watch_exit(&poll, ARRIVAL)?;
        row.set_ready();
        drop(seat.ready);
        let desk = Desk {
            site,
            limits,
            row,
            ledger: Ledger::new(
                access_log.style,
                (generation, getpid().as_raw()),
                seat.trusted.clone(),
            ),
            access_log,
            clock: Clock::new(site.extra()),
            mode: Mode::Serving,
            term: Term { board, generation },
            way: Way::Open,
            input: vec![0; INPUT].into(),
            spare: Vec::new(),
        };
        Ok(Self {
            desk,
            poll,
            listeners,
            handover,
            has_arrivals: true,
            links: Links::new(),
            connections_max,
            trusted: seat.trusted,
            has_preface: seat.has_preface,
            shortage: None,
            hears_of_room: true,
            has_served: false,
            _words: [seat.drain, seat.leave, seat.look, seat.gone],
            drain_timeout: seat.drain_timeout,
            leave_at: None,
        })
    }

    /// Serves until everybody, or this worker alone, is to leave.
    ///
    /// # Errors
    /// If it cannot wait for events.
    pub fn run(mut self) -> Result<(), Failure> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut sweep_at = self.desk.clock.now();
        let mut is_busy = false;
        while !self.is_done() {
            let pause = sweep_at.saturating_duration_since(self.desk.clock.now());
            let pause = if self.desk.ledger.is_empty() { pause } else { pause.min(LOG_PAUSE) };
            wait(&mut self.poll, &mut events, Some(if is_busy { Duration::ZERO } else { pause }))?;
            self.desk.clock.tick();

            for event in &events {
                match event.token() {
                    DRAIN => {
                        self.look();
                        sweep_at = self.desk.clock.now();
                    }
                    LEAVE => self.leave_at = Some(self.desk.clock.now()),
                    ARRIVAL => self.has_arrivals = true,
                    ROOM => self.desk.way = Way::Open,
                    LOOK => {
                        self.look();
                        if !self.has_served {
                            // The publisher is gone without ever having been in office.
                            return Ok(());
                        }
                    }
                    Token(LISTENERS..LINKS) => self.listeners.ready(event.token()),
                    Token(token) => {
                        let (mut turn, input) = self.desk.turn();
                        self.links.ready(token - LINKS, event, input, &mut turn);
                        self.desk.log(ATOM);
                    }
                }
            }
            let (mut turn, input) = self.desk.turn();
            self.links.pump_unfinished(input, &mut turn);
            if self.desk.clock.now() >= sweep_at {
                self.sweep();
                let is_leaving = self.desk.term.board.phase() != Phase::Serving;
                let pause = if is_leaving { DRAIN_SWEEP } else { SWEEP };
                sweep_at = self.desk.clock.now() + pause;
            }
            let has_queued = self.accept();
            let has_arrivals = self.adopt();
            if self.is_superseded() {
                self.look();
            }
            self.hand_over();
            is_busy = has_queued || has_arrivals || self.links.has_unfinished();
            self.desk.row.set_open(self.links.len());
            self.desk.log(0);
        }
        let (mut turn, _) = self.desk.turn();
        self.links.close_all(&mut turn);
        self.desk.access_log.take_last(&mut self.desk.ledger, self.desk.row);
        Ok(())
    }

    fn is_done(&self) -> bool {
        let is_late = self.leave_at.is_some_and(|leave_at| leave_at <= self.desk.clock.now());
        is_late
            || matches!(self.desk.mode, Mode::Retiring | Mode::Draining)
                && self.links.is_empty()
                && self.listeners.have_ended()
    }

    /// Takes connections from the queues; whether there may be more in them.
    fn accept(&mut self) -> bool {
        let mut has_made_room = false;
        for _ in 0..ACCEPTS_MAX {
            if !self.has_room() {
                // Let others be woken for what this worker would leave lying.
                self.listeners.stand_aside();
                return false;
            }
            self.listeners.wait();
            if !self.listeners.are_ready() {
                return false;
            }
            match self.listeners.accept() {
                Accepted::Connection(stream, peer) => {
                    if self.links.len() >= self.connections_max {
                        self.make_room();
                    }
                    self.welcome(stream, peer);
                }
                Accepted::Nothing => return false,
                Accepted::Shortage if !has_made_room && self.make_room() => has_made_room = true,
                Accepted::Shortage => self.shortage = Some(self.links.len()),
            }
        }
        true
    }

    /// Whether it is this worker's time to take connections, and it can take another one.
    fn has_room(&self) -> bool {
        let is_short = self.shortage.is_some_and(|links| self.links.len() >= links);
        let is_full = self.links.len() >= self.connections_max && !self.links.has_idle();
        self.has_served && !is_short && !is_full
    }

    /// Closes an idle connection; false if there is none.
    fn make_room(&mut self) -> bool {
        let (mut turn, input) = self.desk.turn();
        self.links.close_idle(input, &mut turn)
    }

    /// Starts with a connection. Mostly its request is there already; if it is answered and over
    /// at once, nobody had to watch it.
    fn welcome(&mut self, stream: TcpStream, peer: IpAddr) {
        self.desk.row.add(Counter::Accepted, 1);
        // Each worker hears by itself that the door is shut, and some later than others.
        let is_leaving = self.desk.mode != Mode::Serving;
        let is_shut = is_leaving && self.desk.term.board.phase() == Phase::Draining;
        if is_shut && door::reopen(&stream).is_err() {
            self.desk.row.add(Counter::Ended(Ending::Refused), 1);
            return;
        }
        let has_preface = self.has_preface && self.trusted.has(peer);
        let (mut turn, input) = self.desk.turn();
        let mut link = Link::new(stream, Conn::new(peer, has_preface, &turn));
        let progress = link.pump(input, &mut turn);
        self.keep(link, progress);
    }

    /// Watches a connection that has gone as far as its socket let it.
    fn keep(&mut self, mut link: Link<'static>, progress: Progress) {
        if progress == Progress::Closed {
            return;
        }
        if self.desk.mode == Mode::Draining {
            link.conn().drain(self.desk.clock.now());
        }
        let key = self.links.next_key();
        // Without memory to watch it, the connection is closed.
        if link.watch(self.poll.registry(), Token(LINKS + key)).is_ok() {
            self.links.insert(link, progress);
        } else {
            let (mut turn, _) = self.desk.turn();
            link.close(Ending::Refused, &mut turn);
        }
    }

    /// Whether another generation serves, and this worker has not acted on it yet.
    fn is_superseded(&self) -> bool {
        matches!(self.desk.mode, Mode::Serving | Mode::Leaving) && self.desk.term.is_over()
    }

    /// Looks at the board, which says whose turn it is to serve.
    fn look(&mut self) {
        let Term { board, generation } = self.desk.term;
        self.has_served |= board.serving() >= generation;
        if self.is_superseded() {
            // Another generation has taken over.
            self.desk.mode = Mode::Retiring;
            self.listeners.forsake_all();
            self.hears_of_room = self.handover.watch_entrance(&self.poll, ROOM).is_ok();
        }
        match board.phase() {
            Phase::Serving => {}
            Phase::Leaving => self.leave(),
            Phase::Draining => self.drain(),
        }
        if board.is_cut(generation) {
            self.leave_at = Some(self.desk.clock.now());
        }
    }

    /// Begins to leave: every answer is its connection's last. Who retires goes on with that.
    fn leave(&mut self) {
        if self.desk.mode == Mode::Serving {
            self.desk.mode = Mode::Leaving;
        }
    }

    /// Takes nobody any more but what is queued, until the master ends the listeners.
    fn drain(&mut self) {
        if self.desk.mode == Mode::Draining {
            return;
        }
        self.desk.mode = Mode::Draining;
        self.answer_what_is_kept();
        self.leave_at.get_or_insert(self.desk.clock.now() + self.drain_timeout);
        for (_, link) in self.links.iter_mut() {
            // It may have come in behind a door that was shut already.
            let _ = door::reopen(&*link.stream());
            link.conn().drain(self.desk.clock.now());
        }
    }

    /// What is done once a second, whatever happens.
    fn sweep(&mut self) {
        self.desk.row.beat();
        self.shortage = None;
        self.has_arrivals = true;
        self.desk.way = match self.desk.way {
            _ if !self.hears_of_room => Way::Open,
            Way::Full(0) => Way::Full(1),
            Way::Full(_) => Way::Closed,
            way => way,
        };
        let (mut turn, input) = self.desk.turn();
        self.links.expire(input, &mut turn);
        self.listeners.look_again();
        self.look();
    }
}

impl Desk<'_> {
    /// This turn's circumstances, and the buffer to read into.
    fn turn(&mut self) -> (Turn<'_, 'static>, &mut [u8]) {
        let Self { site, limits, row, ledger, clock, mode, term, way, input, spare, .. } = self;
        let (subject, now, millis) = (Subject::Site(site), clock.now(), clock.millis());
        let (endings, mode, row) = (clock.endings(), *mode, *row);
        let can_go_over = *way != Way::Closed && mode != Mode::Draining;
        let term = can_go_over.then_some(*term);
        (Turn { subject, limits, now, millis, endings, mode, term, row, spare, ledger }, input)
    }

    /// Hands on what is to be logged, once there is enough, or at the end of a turn.
    fn log(&mut self, least: usize) {
        if self.ledger.len() > least {
            self.access_log.take(&mut self.ledger);
        }
    }
}
