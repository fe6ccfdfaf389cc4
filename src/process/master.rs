//! The master: opens what the others need, forks all other processes, watches and restarts them,
//! and turns signals into a shutdown or a reload. It never reads a byte from a client or a file of
//! the site.

mod child;
mod drain;
mod half_open;
mod open;
mod terminal;

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::unistd::{Pid, getpid};

use crate::compile::Root;
use crate::config::Config;
use crate::control::supervisor::{COMPILER_SLOT, MASTER_SLOT};
use crate::failure::{Failure, Fault};
use crate::figures::{bytes, counted};
use crate::host::arena::Arena;
use crate::host::doorbell::Doorbell;
use crate::host::shared_scoreboard::SharedScoreboard;
use crate::log::Style;
use crate::scoreboard::{Counter, Phase, Role, Scoreboard, Slot};
use crate::sys::descriptors::close_inherited;
use crate::sys::signals;

use super::children::{Children, Death, Step};
use super::log::{self, AccessLog, Log, ReadEnds, say};
use super::machine::{Allowance, Machine};
use super::{RoleExit, failed, listen, user, wait, watch};
pub(super) use child::ChildRole;
use drain::Drain;
use terminal::Terminal;

const SIGNALS: Token = Token(0);
const STOPS: Token = Token(1);

/// How long the logger is waited for when there is no time to wait for anybody.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The first process.
pub(super) struct Master<'c> {
    config: &'c Config,
    /// When the program was started.
    started: Instant,
    /// What may be used up.
    allowance: Allowance,
    /// The directory as it was before privileges were dropped; none if it was missing.
    root: Option<Root>,
    /// For the workers.
    listeners: Vec<TcpListener>,
    /// For the admin.
    admin: Option<TcpListener>,
    /// For compiler and workers.
    arena: Arena,
    /// The memory of the scoreboard.
    shared: SharedScoreboard,
    board: Scoreboard<'static>,
    slot: Slot<'static>,
    /// Of all slots, by their numbers.
    doorbells: Vec<Doorbell>,
    log: Rc<Log>,
    /// For the workers.
    access_log: AccessLog,
    /// For the logger.
    read_ends: ReadEnds,
    poll: Poll,
    signals: SignalFd,
    /// How often tine was told to stop.
    stops: Arc<AtomicU32>,
    /// Owned here alone, so that a child drops it with the rest.
    _waker: Arc<Waker>,
    terminal: Terminal,
    children: Children,
    pid: Pid,
}

impl<'c> Master<'c> {
    /// Opens the directory and the listeners, and drops the privileges that it took.
    ///
    /// # Errors
    /// All mistakes that can be found before anything is forked.
    pub(super) fn open(
        config: &'c Config,
        style: Style,
        started: Instant,
    ) -> Result<Self, Failure> {
        close_inherited();
        signals::begin().map_err(failed("cannot handle signals"))?;
        let root = match open::root(&config.root) {
            Err(_) if !config.wait_for_root.is_zero() => None,
            opened => Some(opened?),
        };
        let listeners = listen::open(&config.listen)?;
        let admin = listen::open_admin(config.admin, style)?;
        let allowance = Machine::read().allow(config);
        let arena = open::arena(&allowance)?;
        user::change(config.user, style)?;
        if let Some(root) = &root {
            open::check_readable(root, &config.root)?;
        }
        let (shared, doorbells) = open::scoreboard(&allowance)?;
        let board = shared.board();
        let slot = board.own_slot(MASTER_SLOT);
        let pid = getpid();
        board.control().set_holder(MASTER_SLOT, Role::Master, pid.as_raw());
        let (log, access_log, read_ends) = log::open(style, slot)?;
        let log = Rc::new(log);
        if !arena.can_sendfile() {
            log.say("bodies are copied to sockets: sendfile cannot be used here");
        }

        let poll = Poll::new().map_err(failed("cannot watch for events"))?;
        let terminal = Terminal::look();
        // Blocked before ctrlc starts its thread, which inherits the mask.
        let told = [Signal::SIGCHLD, Signal::SIGHUP, Signal::SIGQUIT];
        let signals = watch(&poll, SIGNALS, &told)?;
        let waker = Waker::new(poll.registry(), STOPS).map_err(failed("cannot make a waker"))?;
        let waker = Arc::new(waker);
        let stops = open::count_stops(&waker)?;
        let roles = open::roles(admin.is_some(), allowance.workers);
        let children = Children::new(&roles, config, board, Rc::clone(&log), Instant::now());
        Ok(Self {
            config,
            started,
            allowance,
            root,
            listeners,
            admin,
            arena,
            shared,
            board,
            slot,
            doorbells,
            log,
            access_log,
            read_ends,
            poll,
            signals,
            stops,
            _waker: waker,
            terminal,
            children,
            pid,
        })
    }

    /// Keeps the children at work until tine is told to stop.
    ///
    /// # Errors
    /// If it is told so twice, or cannot wait for events.
    pub(super) fn run(mut self) -> Result<RoleExit<ChildRole<'c>>, Failure> {
        let mut events = Events::with_capacity(8);
        let mut drain: Option<Drain> = None;
        let mut now = Instant::now();
        loop {
            self.slot.store_heartbeat();
            let mut wake_at = match self.children.act(now)? {
                Step::Wait(until) => {
                    if self.children.take_new_compiler() {
                        self.doorbells[COMPILER_SLOT].ring();
                    }
                    until
                }
                Step::Forked(role, slot) => {
                    return Ok(RoleExit::Forked(self.into_child(role, slot)?));
                }
                Step::EndRest => {
                    self.end_rest();
                    continue;
                }
                Step::End => {
                    self.take_stock();
                    return Ok(RoleExit::Done(0));
                }
            };
            if let Some(due) = drain.as_ref().and_then(Drain::due) {
                wake_at = wake_at.min(due);
            }
            wait(&mut self.poll, &mut events, Some(wake_at.saturating_duration_since(now)))?;
            now = Instant::now();
            // The signals first: a child that dies after this line is a signal again.
            self.read_signals();
            if let Some(code) = self.tend(now) {
                self.dismiss(now)?;
                return Ok(RoleExit::Done(code));
            }
            match (self.stops.load(Ordering::Relaxed), &mut drain) {
                (0, _) => {}
                (1, Some(_)) => {}
                (_, None) => drain = Some(self.begin_drain(now)),
                (_, Some(_)) => {
                    self.dismiss(now)?;
                    return Err(Failure::system("ended at once by a second signal"));
                }
            }
            if let Some(drain) = &mut drain
                && self.advance(drain, now)
            {
                self.children.no_more_work(now);
            }
        }
    }

    /// Looks after the children; an exit code if there is no point in going on.
    fn tend(&mut self, now: Instant) -> Option<u8> {
        for death in self.children.tend(now) {
            if self.children.is_shutting_down() {
                continue;
            }
            let is_mistake = death.exit_code() == Some(Fault::User as i32);
            if death.role == Role::Compiler && is_mistake && self.board.generation() == 0 {
                // The compiler has said what is wrong; it would be so again.
                return Some(Fault::User as u8);
            }
            self.say_death(&death);
        }
        None
    }

    fn say_death(&self, death: &Death) {
        let Death { pid, role, .. } = death;
        let (role, cause) = (role.name(), death.cause());
        self.log.say(&format!("{role} {pid} died ({cause}); starting another"));
    }

    /// The last line: what all of it came to.
    fn take_stock(&self) {
        let total = |counter| self.board.total(counter);
        let answers = counted(total(Counter::Answered), "answer");
        let connections = counted(total(Counter::Accepted), "connection");
        let cut = match total(Counter::Cut) {
            0 => String::new(),
            cut => format!(", {} cut short", counted(cut, "answer")),
        };
        let lost = match total(Counter::LostLines) {
            0 => String::new(),
            lost => format!(", {} of the log lost", counted(lost, "line")),
        };
        let sent = bytes(total(Counter::Sent));
        let line = format!("done: {answers} on {connections}, {sent}{cut}{lost}");
        say(self.log.style, &line);
    }

    /// Reads the pending signals. SIGQUIT stops tine as SIGTERM does, which ctrlc counts. SIGHUP
    /// stops it if the terminal that it was started at is gone, and else asks for a reload.
    fn read_signals(&self) {
        while let Ok(Some(pending)) = self.signals.read_signal() {
            let is = |signal: Signal| pending.ssi_signo == signal as u32;
            if is(Signal::SIGQUIT) {
                self.stops.fetch_add(1, Ordering::Relaxed);
            } else if is(Signal::SIGHUP) && self.terminal.is_gone() {
                // A shell sends it, and the kernel once more: together they count once.
                self.stops.fetch_max(1, Ordering::Relaxed);
            } else if is(Signal::SIGHUP) {
                self.log.say("SIGHUP: reloading");
                self.slot.request_reload();
                self.doorbells[COMPILER_SLOT].ring();
            }
        }
    }

    fn begin_drain(&mut self, now: Instant) -> Drain {
        let config = self.config;
        let mut drain = Drain::begin(config, now);
        self.board.control().set_phase(Phase::LameDuck);
        self.children.shut_down(drain.deadline(), now);
        if config.shutdown_delay.is_zero() {
            self.advance(&mut drain, now);
        }
        self.doorbells.iter().for_each(Doorbell::ring);
        let delay = humantime::format_duration(config.shutdown_delay);
        let timeout = humantime::format_duration(config.drain_timeout);
        let new = if config.shutdown_delay.is_zero() {
            String::new()
        } else {
            format!("new connections are taken for {delay}, ")
        };
        let answers = format!("{new}answers in flight have {timeout}");
        self.log.say(&format!("told to stop: {answers}"));
        drain
    }

    /// Takes the next step of a shutdown, if it is due; whether the listeners have just ended.
    fn advance(&mut self, drain: &mut Drain, now: Instant) -> bool {
        let was_draining = self.board.control().phase() == Phase::Draining;
        let have_ended = drain.advance(self.board.control(), &self.listeners, &self.log, now);
        if !was_draining && self.board.control().phase() == Phase::Draining {
            self.children.drain(now);
            self.doorbells.iter().for_each(Doorbell::ring);
        }
        have_ended
    }

    /// Tells admin and logger that all others are gone.
    fn end_rest(&self) {
        self.board.control().set_phase(Phase::Ended);
        self.doorbells.iter().for_each(Doorbell::ring);
    }

    /// Gives the logger a moment for what was said last: it ends with PID 1.
    fn dismiss(&mut self, mut now: Instant) -> Result<(), Failure> {
        self.end_rest();
        let mut events = Events::with_capacity(8);
        let until = now + LAST_WORDS;
        while now < until && self.children.has(Role::Logger) {
            wait(&mut self.poll, &mut events, Some(until - now))?;
            while let Ok(Some(_)) = self.signals.read_signal() {}
            now = Instant::now();
            self.children.tend(now);
        }
        Ok(())
    }
}
