//! The admin: one loop that says how tine is. It shares nothing with the workers but the board, and
//! so it answers whatever they are doing.

use std::net::TcpListener;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use crate::admin::{History, POLICY, Pulse, Setup, View, result_of};
use crate::config::Config;
use crate::conn::{Conn, Mode, Subject, Turn};
use crate::failure::Failure;
use crate::host::doorbell::Doorbell;
use crate::http::extra::Extra;
use crate::http::limits::Limits;
use crate::http::request::Request;
use crate::log::Ledger;
use crate::scoreboard::{Phase, Scoreboard, Slot};
use crate::site::View as ArenaView;

use super::clock::{Came, Clock, Turns};
use super::link::{Link, Progress};
use super::links::Links;
use super::listeners::{Accepted, Listeners};
use super::machine::Allowance;
use super::usage::Meter;
use super::{failed, wait};

const DOORBELL: Token = Token(0);
const LISTENER: usize = 1;
/// The first connection; their keys follow.
const LINKS: usize = 2;

/// Most connections at the same time.
const CONNECTIONS_MAX: usize = 64;
/// How much is read at once, in bytes.
const INPUT: usize = 16 * 1024;
/// How often it is looked whether an answer is known that somebody waits for.
const PENDING: Duration = Duration::from_millis(20);

/// What an admin is started with.
pub(super) struct AdminArgs<'c> {
    pub(super) config: &'c Config,
    pub(super) board: Scoreboard<'static>,
    pub(super) slot: Slot<'static>,
    pub(super) listener: TcpListener,
    /// Its own.
    pub(super) doorbell: Doorbell,
    /// To wake the compiler.
    pub(super) compiler: Doorbell,
    pub(super) allowance: Allowance,
    pub(super) started: Instant,
}

/// A process that says how tine is.
pub(super) struct Admin<'c> {
    board: Scoreboard<'static>,
    slot: Slot<'static>,
    doorbell: Doorbell,
    compiler: Rc<Doorbell>,
    setup: Setup,
    pulse: Pulse,
    history: History,
    usage: Meter,
    limits: &'c Limits,
    clock: Clock,
    poll: Poll,
    listeners: Listeners,
    links: Links,
    input: Box<[u8]>,
    spare: Vec<u8>,
    ledger: Ledger,
    /// Where its own answers are counted, apart from those that serve the site.
    aside: Slot<'static>,
}

impl<'c> Admin<'c> {
    /// # Errors
    /// If the system refuses what watching for events needs.
    pub(super) fn new(args: AdminArgs<'c>) -> Result<Self, Failure> {
        let AdminArgs { config, board, slot, listener, doorbell, compiler, allowance, started } =
            args;
        let poll = Poll::new().map_err(failed("cannot watch for events"))?;
        doorbell.watch(&poll, DOORBELL).map_err(failed("cannot watch an eventfd"))?;
        let listeners = Listeners::new(vec![listener], LISTENER, &poll)?;
        let clock = Clock::new(Box::leak(Box::new(extra())));
        let age = clock.now().saturating_duration_since(started).as_millis();
        let age = u64::try_from(age).unwrap_or(u64::MAX);
        let setup = Setup {
            root: config.root.display().to_string(),
            arch: std::env::consts::ARCH,
            workers: allowance.workers,
            connections_max: allowance.connections_max,
            memory_max: allowance.site.memory_max,
            watchdog_timeout: u32::try_from(config.watchdog_timeout.as_secs()).unwrap_or(u32::MAX),
            started: clock.millis().saturating_sub(age),
        };
        Ok(Self {
            board,
            slot,
            doorbell,
            compiler: Rc::new(compiler),
            setup,
            pulse: Pulse::new(board),
            history: History::default(),
            usage: Meter::new(board, slot),
            limits: &config.limits,
            clock,
            poll,
            listeners,
            links: Links::new(None),
            input: vec![0; INPUT].into(),
            spare: Vec::new(),
            ledger: Ledger::off(),
            aside: Scoreboard::leaked(1, 0).own_slot(0),
        })
    }

    /// Answers until tine is about to be gone.
    ///
    /// # Errors
    /// If it cannot wait for events.
    pub(super) fn run(mut self) -> Result<(), Failure> {
        let mut events = Events::with_capacity(CONNECTIONS_MAX);
        let mut turns = Turns::begin(self.clock.now());
        let mut is_busy = false;
        self.slot.set_ready();
        loop {
            let pause = turns.due().saturating_duration_since(self.clock.now());
            let pause = match (is_busy, self.links.has_pending()) {
                (true, _) => Duration::ZERO,
                (false, true) => pause.min(PENDING),
                (false, false) => pause,
            };
            wait(&mut self.poll, &mut events, Some(pause))?;
            self.clock.tick();
            if let Some(came) = turns.next(self.clock.now()) {
                self.listen(came);
            }
            for event in &events {
                match event.token() {
                    DOORBELL => {
                        self.doorbell.answer();
                        if self.board.control().phase() == Phase::Ended {
                            return Ok(());
                        }
                    }
                    Token(LISTENER) => self.listeners.ready(event.token()),
                    Token(token) => self.turn(|links, input, turn| {
                        links.ready(token - LINKS, event, input, turn);
                    }),
                }
            }
            self.turn(|links, input, turn| {
                links.pump_unfinished(input, turn);
            });
            let has_queued = self.accept();
            let (board, slot, compiler) = (self.board, self.slot, Rc::clone(&self.compiler));
            self.turn(|links, input, turn| {
                let ask = || {
                    slot.request_reload();
                    compiler.ring();
                    board.reload_requests()
                };
                links.answer(ask, |number| result_of(number, board), input, turn);
            });
            is_busy = has_queued || self.links.has_unfinished();
        }
    }

    /// What is done once a second.
    fn listen(&mut self, came: Came) {
        self.slot.store_heartbeat();
        self.usage.forget();
        if came == Came::InTime {
            self.pulse.listen(self.board);
        }
        self.history.note(self.board, self.clock.millis());
        self.listeners.look_again();
        self.turn(Links::expire);
    }

    /// Takes connections; whether there may be more. At the limit the longest idle one makes room,
    /// or the oldest: who asks now is to be answered, whoever else does not come to an end.
    fn accept(&mut self) -> bool {
        self.listeners.wait();
        for _ in 0..CONNECTIONS_MAX {
            if !self.listeners.are_ready() {
                return false;
            }
            let is_full = self.links.len() >= CONNECTIONS_MAX;
            let Accepted::Connection(stream, peer) = self.listeners.accept() else { return false };
            let poll = self.poll.registry().try_clone();
            self.turn(|links, input, turn| {
                if is_full && !links.close_idle(input, turn) {
                    links.close_oldest(turn);
                }
                let mut link = Link::new(stream, Conn::new(peer, false, turn));
                let progress = links.start(&mut link, input, turn);
                let token = Token(LINKS + links.next_key());
                let is_watched = progress != Progress::Closed
                    && poll.is_ok_and(|poll| link.watch(&poll, token).is_ok());
                if is_watched {
                    links.insert(link, progress, turn);
                }
            });
        }
        true
    }

    /// Takes links on, with what there is to be said now.
    fn turn<T>(&mut self, act: impl FnOnce(&mut Links, &mut [u8], &mut Turn<'_>) -> T) -> T {
        let Self { board, setup, pulse, history, usage, clock, ledger, spare, aside, .. } = self;
        let view = View {
            board: *board,
            pulse,
            history,
            setup,
            millis: clock.millis(),
            usage: &|| usage.get(),
        };
        let answer = |request: &Request<'_, '_>| view.answer(request);
        let mut turn = Turn {
            subject: Subject::Admin(&answer),
            limits: self.limits,
            now: clock.now(),
            millis: clock.millis(),
            endings: clock.endings(),
            view: ArenaView::of(&[]),
            mode: Mode::Serving,
            slot: *aside,
            spare,
            ledger,
        };
        act(&mut self.links, &mut self.input, &mut turn)
    }
}

/// What every answer says.
fn extra() -> Extra {
    let mut extra = Extra::default();
    extra.add(POLICY).expect("a field that tine does not set");
    extra
}
