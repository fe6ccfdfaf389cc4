//! A worker: one loop that accepts connections and takes each one on as far as its socket lets it.

mod args;
mod desk;

use std::net::IpAddr;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Poll, Token};
use nix::unistd::getpid;

use crate::conn::{Conn, DiskRequest, Mode, Turn};
use crate::control::publication::Reader;
use crate::failure::Failure;
use crate::host::arena::page_size;
use crate::host::doorbell::Doorbell;
use crate::http::extra::Extra;
use crate::http::limits::Limits;
use crate::log::Ledger;
use crate::peer::Trusted;
use crate::scoreboard::{Counter, Ending, Phase, generation_of};
use crate::site::{Extent, Site, View, placeholder};
use crate::sys::door;

pub use args::WorkerArgs;
use desk::Desk;

use super::clock::Clock;
use super::link::{Link, Progress};
use super::links::Links;
use super::listeners::{Accepted, Listeners};
use super::log::ATOM;
use super::{failed, wait};

const DOORBELL: Token = Token(0);
/// The first listener; the others follow.
const LISTENERS: usize = 1;
/// The first connection; their keys follow.
const LINKS: usize = 64;

/// Most connections that are accepted before those that are there have their turn.
const ACCEPTS_MAX: usize = 64;
/// Most events that are taken in one iteration.
const EVENTS_MAX: usize = 1024;
/// How much is read at once, in bytes; it is also the longest pipeline that one iteration takes in.
const INPUT: usize = 64 * 1024;
/// How often deadlines and the scoreboard are looked at, and the heartbeat is stored.
const TICK: Duration = Duration::from_secs(1);
/// The same while draining, when somebody waits for the end.
const DRAIN_TICK: Duration = Duration::from_millis(50);
/// How long lines wait for room in the pipe before that is tried again.
const LOG_PAUSE: Duration = Duration::from_millis(50);
/// For how many ticks after another image removed files are closed: the former directory is removed
/// after it was replaced.
const SWEEPS: u32 = 10;
/// How long connections wait in the backlog for the first image, before they are told to come back.
const FIRST_IMAGE: Duration = Duration::from_secs(1);

/// A process that serves.
pub struct Worker<'l> {
    desk: Desk<'l>,
    poll: Poll,
    listeners: Listeners,
    links: Links,
    connections_max: usize,
    trusted: Trusted,
    has_preface: bool,
    /// How many links there were when nothing was left to accept with; until there are fewer, or
    /// for the rest of a second, that is not tried again.
    shortage: Option<usize>,
    doorbell: Doorbell,
    compiler: Doorbell,
    /// When connections are accepted although there is no image.
    accepts_from: Instant,
    /// The generation for which connections that wait for an image were decided again.
    generation: u64,
    /// In how many ticks removed files are looked for still.
    sweeps: u32,
    cut: u64,
    drain_timeout: Duration,
    /// When to be gone; none while there is no end in sight.
    leave_at: Option<Instant>,
}

impl<'l> Worker<'l> {
    /// Begins to serve, and says that it is ready.
    ///
    /// # Errors
    /// If the system refuses what watching for events needs.
    pub fn new(args: WorkerArgs, limits: &'l Limits) -> Result<Self, Failure> {
        let WorkerArgs { board, slot, arena, access_log, connections_max, .. } = args;
        // A poll of its own: an inherited one would be the master's still.
        let poll = Poll::new().map_err(failed("cannot watch for events"))?;
        args.doorbell.watch(&poll, DOORBELL).map_err(failed("cannot watch an eventfd"))?;
        let listeners = Listeners::new(args.listeners, LISTENERS, &poll)?;
        // They live as long as this process.
        let placeholder: &'static [u8] = Vec::leak(placeholder(args.health));
        let extra: &'static Extra = Box::leak(Box::new(args.extra));
        let placeholder = Site::open(View::of(placeholder), 0)
            .map_err(|error| Failure::system(error.to_string()))?;
        let reader = Reader::new(board, slot, arena.view, page_size(), placeholder);
        let clock = Clock::new(extra);
        slot.set_ready();
        let desk = Desk {
            reader,
            view: arena.view,
            files: args.files,
            disk: DiskRequest::default(),
            wants_reload: false,
            board,
            limits,
            slot,
            ledger: Ledger::new(access_log.style, getpid().as_raw(), args.trusted.clone()),
            access_log,
            clock,
            mode: Mode::Serving,
            input: vec![0; INPUT].into(),
            spare: Vec::new(),
        };
        Ok(Self {
            desk,
            poll,
            listeners,
            links: Links::new(arena.file),
            connections_max,
            trusted: args.trusted,
            has_preface: args.has_preface,
            shortage: None,
            doorbell: args.doorbell,
            compiler: args.compiler,
            accepts_from: args.started + FIRST_IMAGE,
            generation: 0,
            sweeps: 0,
            cut: 0,
            drain_timeout: args.drain_timeout,
            leave_at: None,
        })
    }

    /// Serves until tine ends.
    ///
    /// # Errors
    /// If it cannot wait for events, or a published image is damaged.
    pub fn run(mut self) -> Result<(), Failure> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut tick_at = self.desk.clock.now();
        let mut is_busy = false;
        self.on_doorbell();
        while !self.is_done() {
            let pause = self.pause(is_busy, tick_at);
            self.desk.reader.go_offline();
            wait(&mut self.poll, &mut events, Some(pause))?;
            self.desk.clock.tick();

            for event in &events {
                match event.token() {
                    DOORBELL => {
                        self.doorbell.answer();
                        self.on_doorbell();
                        tick_at = self.desk.clock.now();
                    }
                    Token(LISTENERS..LINKS) => self.listeners.ready(event.token()),
                    Token(token) => {
                        let (links, mut turn, input) = self.turn();
                        links.ready(token - LINKS, event, input, &mut turn);
                        self.desk.log(ATOM);
                    }
                }
            }
            let (links, mut turn, input) = self.turn();
            links.pump_unfinished(input, &mut turn);
            if self.desk.clock.now() >= tick_at {
                self.tick();
                let is_serving = self.desk.mode == Mode::Serving;
                let pause = if is_serving { TICK } else { DRAIN_TICK };
                tick_at = self.desk.clock.now() + pause;
            }
            let has_queued = self.accept();
            self.on_new_site();
            is_busy = has_queued || self.links.has_unfinished();
            self.desk.slot.set_open(self.links.len());
            self.desk.log(0);
            if let Some(error) = self.desk.reader.error() {
                return Err(Failure::system(error.to_string()));
            }
        }
        let (links, mut turn, _) = self.turn();
        links.close_all(&mut turn);
        self.desk.access_log.take_last(&mut self.desk.ledger, self.desk.slot);
        Ok(())
    }

    /// How long to wait for events.
    fn pause(&mut self, is_busy: bool, tick_at: Instant) -> Duration {
        if is_busy {
            return Duration::ZERO;
        }
        let now = self.desk.clock.now();
        let mut until = tick_at;
        if !self.has_image() && self.accepts_from > now {
            until = until.min(self.accepts_from);
        }
        let pause = until.saturating_duration_since(now);
        if self.desk.ledger.is_empty() { pause } else { pause.min(LOG_PAUSE) }
    }

    fn has_image(&self) -> bool {
        self.generation != 0 || self.desk.board.compiler().published() != 0
    }

    fn is_done(&self) -> bool {
        let is_late = self.leave_at.is_some_and(|leave_at| leave_at <= self.desk.clock.now());
        let is_over = self.desk.mode == Mode::Draining
            && self.links.is_empty()
            && self.listeners.have_ended();
        is_late || is_over
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

    /// Whether it can take another connection, and is to.
    fn has_room(&self) -> bool {
        let is_short = self.shortage.is_some_and(|links| self.links.len() >= links);
        let is_full = self.links.len() >= self.connections_max && !self.links.has_idle();
        let waits_for_image = !self.has_image()
            && self.desk.mode != Mode::Draining
            && self.desk.clock.now() < self.accepts_from;
        !waits_for_image && !is_short && !is_full
    }

    /// Closes an idle connection; false if there is none.
    fn make_room(&mut self) -> bool {
        let (links, mut turn, input) = self.turn();
        links.close_idle(input, &mut turn)
    }

    /// Starts with a connection.
    fn welcome(&mut self, stream: TcpStream, peer: IpAddr) {
        self.desk.slot.add(Counter::Accepted, 1);
        // Each worker learns by itself that the listeners drop new SYNs, and some later than
        // others.
        let is_shut = self.desk.board.control().phase() == Phase::Draining;
        if is_shut && door::reopen(&stream).is_err() {
            self.desk.slot.add(Counter::Ended(Ending::Refused), 1);
            return;
        }
        let has_preface = self.has_preface && self.trusted.has(peer);
        let is_draining = self.desk.mode == Mode::Draining;
        let poll = self.poll.registry();
        let (turn, input) = self.desk.turn();
        let (links, mut turn) = (&mut self.links, turn);
        let mut link = Link::new(stream, Conn::new(peer, has_preface, &turn));
        let progress = links.start(&mut link, input, &mut turn);
        if progress == Progress::Closed {
            return;
        }
        if is_draining {
            link.conn().drain(turn.now);
        }
        // Without memory to watch it, the connection is closed.
        if link.watch(poll, Token(LINKS + links.next_key())).is_ok() {
            links.insert(link, progress, &turn);
        } else {
            link.close(Ending::Refused, &mut turn);
        }
    }

    /// Looks at the scoreboard.
    fn on_doorbell(&mut self) {
        match self.desk.board.control().phase() {
            Phase::Serving => {}
            Phase::LameDuck => {
                if self.desk.mode == Mode::Serving {
                    self.desk.mode = Mode::LameDuck;
                }
            }
            Phase::Draining | Phase::Ended => self.drain(),
        }
    }

    /// Accepts only what is queued, until the master ends the listeners.
    fn drain(&mut self) {
        if self.desk.mode == Mode::Draining {
            return;
        }
        self.desk.mode = Mode::Draining;
        let now = self.desk.clock.now();
        self.leave_at.get_or_insert(now + self.drain_timeout);
        for (_, link) in self.links.iter_mut() {
            // It may have come in after the listeners dropped new SYNs.
            let _ = door::reopen(&*link.stream());
            link.conn().drain(now);
        }
    }

    /// Decides again about requests that wait for another image, and asks for one.
    fn on_new_site(&mut self) {
        if std::mem::take(&mut self.desk.wants_reload) {
            self.compiler.ring();
        }
        let published = generation_of(self.desk.board.compiler().published());
        if published != self.generation {
            let (links, mut turn, input) = self.turn();
            links.on_new_site(published, input, &mut turn);
            self.generation = published;
            self.sweeps = SWEEPS;
        }
        let is_waiting = published == 0 || self.links.await_site();
        if is_waiting {
            // The compiler rings those that wait: the flag first, and then the last look.
            self.desk.slot.set_waiting(true);
            fence(Ordering::SeqCst);
            if generation_of(self.desk.board.compiler().published()) != published {
                self.doorbell.ring();
            }
        } else if self.desk.slot.is_waiting() {
            self.desk.slot.set_waiting(false);
        }
    }

    /// What is done once a second, whatever happens.
    fn tick(&mut self) {
        self.desk.slot.store_heartbeat();
        self.shortage = None;
        if self.sweeps > 0 {
            self.sweeps -= 1;
            // The disk may not answer; meanwhile nothing is read from the image.
            self.desk.reader.go_offline();
            self.desk.files.close_unlinked();
        }
        let (links, mut turn, input) = self.turn();
        links.expire(input, &mut turn);
        links.unpin_acknowledged(&turn);
        self.listeners.look_again();
        self.let_go_of_old();
        self.on_doorbell();
    }

    /// Aborts responses of older images, if what they need keeps the next one from being written.
    fn let_go_of_old(&mut self) {
        let cut = self.desk.board.control().cut();
        if cut == self.cut {
            return;
        }
        self.cut = cut;
        let site = *self.desk.reader.adopt();
        let mut named: Vec<Extent> = site.extents().collect();
        named.sort_unstable();
        let is_current = |extent: Extent| {
            // The last extent that begins before the end of this one.
            let end = extent.offset + extent.len;
            let after = named.partition_point(|named| named.offset < end);
            let before = after.checked_sub(1).and_then(|at| named.get(at));
            before.is_some_and(|named| {
                named.offset <= extent.offset && end <= named.offset + named.len
            })
        };
        let (links, mut turn, _) = self.turn();
        links.abort_older(is_current, &mut turn);
    }

    fn turn(&mut self) -> (&mut Links, Turn<'_>, &mut [u8]) {
        let (turn, input) = self.desk.turn();
        (&mut self.links, turn, input)
    }
}
