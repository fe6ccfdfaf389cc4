//! The admin: one loop that says how tine is. It shares nothing with the workers but the board, and
//! so it answers whatever they are doing.

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use crate::admin::{History, POLICY, Pulse, Setup, View, outcome_of};
use crate::board::{Board, Role, Row};
use crate::config::Config;
use crate::conn::{Conn, Mode, Subject, Turn};
use crate::failure::Failure;
use crate::http::extra::Extra;
use crate::http::limits::Limits;
use crate::http::request::Request;
use crate::log::Ledger;

use super::clock::{Came, Clock, Turns};
use super::link::{Link, Progress};
use super::links::Links;
use super::listeners::{Accepted, Listeners};
use super::machine::Allowance;
use super::nudge::Nudge;
use super::usage::Meter;
use super::word::Word;
use super::{failed, take_role, wait};

const DISMISSED: Token = Token(0);
const LISTENER: usize = 1;
/// The first connection; their keys follow.
const LINKS: usize = 2;

/// Most connections at the same time.
const CONNECTIONS_MAX: usize = 64;
/// How much is read at once, in bytes.
const INPUT: usize = 16 * 1024;
/// How often it is looked whether an answer is known that somebody waits for.
const PENDING: Duration = Duration::from_millis(20);

/// What an admin is born with.
pub(super) struct Seat<'c> {
    pub(super) config: &'c Config,
    pub(super) board: Board<'static>,
    pub(super) row: Row<'static>,
    pub(super) listener: TcpListener,
    pub(super) nudge: Nudge,
    pub(super) allowance: Allowance,
    pub(super) started: Instant,
    /// That it is over.
    pub(super) dismissed: Word,
}

/// A process that says how tine is.
pub(super) struct Admin<'c> {
    board: Board<'static>,
    row: Row<'static>,
    nudge: Rc<Nudge>,
    setup: Setup,
    pulse: Pulse,
    history: History,
    usage: Meter,
    limits: &'c Limits,
    clock: Clock,
    poll: Poll,
    listeners: Listeners,
    links: Links<'static>,
    input: Box<[u8]>,
    spare: Vec<u8>,
    ledger: Ledger,
    /// Where its own answers are counted, apart from those that serve the site.
    aside: Row<'static>,
    _dismissed: Word,
}

impl<'c> Admin<'c> {
    /// # Errors
    /// If the system refuses what watching for events needs.
    pub(super) fn take(seat: Seat<'c>) -> Result<Self, Failure> {
        let Seat { config, board, row, listener, nudge, allowance, started, dismissed } = seat;
        take_role(row, Role::Admin, 0);
        let poll = Poll::new().map_err(failed("cannot watch for events"))?;
        dismissed.watch(&poll, DISMISSED)?;
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
            row,
            nudge: Rc::new(nudge),
            setup,
            pulse: Pulse::new(board),
            history: History::default(),
            usage: Meter::new(board),
            limits: &config.limits,
            clock,
            poll,
            listeners,
            links: Links::new(),
            input: vec![0; INPUT].into(),
            spare: Vec::new(),
            ledger: Ledger::off(),
            aside: aside(),
            _dismissed: dismissed,
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
        self.row.set_ready();
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
                    DISMISSED => return Ok(()),
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
            let (board, nudge) = (self.board, Rc::clone(&self.nudge));
            self.turn(|links, input, turn| {
                let ask = || {
                    let number = board.ask_reload();
                    nudge.give();
                    number
                };
                links.answer(ask, |number| outcome_of(number, board), input, turn);
            });
            is_busy = has_queued || self.links.has_unfinished();
        }
    }

    /// What is done once a second.
    fn listen(&mut self, came: Came) {
        self.row.beat();
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
                let progress = link.pump(input, turn);
                let token = Token(LINKS + links.next_key());
                let is_watched = progress != Progress::Closed
                    && poll.is_ok_and(|poll| link.watch(&poll, token).is_ok());
                if is_watched {
                    links.insert(link, progress);
                }
            });
        }
        true
    }

    /// Takes links on, with what there is to be said now.
    fn turn<T>(
        &mut self,
        act: impl FnOnce(&mut Links<'static>, &mut [u8], &mut Turn<'_, 'static>) -> T,
    ) -> T {
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
            mode: Mode::Serving,
            term: None,
            row: *aside,
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

/// A row of a board that nobody else sees.
fn aside() -> Row<'static> {
    let words: Vec<_> = (0..Board::words(1)).map(|_| AtomicU64::new(0)).collect();
    Board::new(Vec::leak(words)).rows().next().expect("a board with a row")
}
