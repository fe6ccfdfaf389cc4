//! The master: opens what everybody needs, keeps a publisher in office, an admin and a logger at
//! work, and turns signals into words. It never reads a byte from a client or a file of the site.

mod drain;
mod newcomers;
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

use crate::board::{Board, Counter, Phase, Role, Row};
use crate::config::Config;
use crate::failure::{Failure, Fault};
use crate::figures::{bytes, counted};
use crate::log::Style;
use crate::site::{Root, Rules};
use crate::sys::descriptors::close_inherited;
use crate::sys::signals;

use super::crew::{Crew, Death, Step};
use super::handover::Handover;
use super::log::{self, AccessLog, Log, ReadEnds, say};
use super::machine::{Allowance, Machine};
use super::nudge::Nudge;
use super::word::{Speaker, Word};
use super::{Fate, admin, bind_to_parent, failed, listen, logger, user, wait, watch};
use drain::Drain;
use terminal::Terminal;

const SIGNALS: Token = Token(0);
const STOPS: Token = Token(1);

/// The posts of the master's crew; the office is the first of them.
const LOGGER: usize = 1;
const ADMIN: usize = 2;

/// How long the logger is waited for when there is no time to wait for anybody.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What every leader has, from the first one on.
pub(super) struct Office<'c> {
    /// What tine was told.
    pub(super) config: &'c Config,
    /// What is to be made of the folder.
    pub(super) rules: Rules,
    /// The folder as it was at the start, before rights were given up; none if it was missing.
    pub(super) root: Option<Root>,
    /// When the program was started.
    pub(super) started: Instant,
    /// What may be used up.
    pub(super) allowance: Allowance,
    /// For the workers.
    pub(super) listeners: Vec<TcpListener>,
    /// Where tine says how it is, to be shown.
    pub(super) admin_url: Option<String>,
    /// The way of connections from generation to generation.
    pub(super) handover: Handover,
    /// What everybody knows.
    pub(super) board: Board<'static>,
    /// Where lines about tine are said.
    pub(super) log: Rc<Log>,
    /// Where those about answers are written, for the workers.
    pub(super) access_log: AccessLog,
    /// To drain, and leave then.
    pub(super) drain: Word,
    /// To leave at once; the master's death says it.
    pub(super) leave: Word,
    /// From the master and the admin to whoever leads, to look at the board.
    pub(super) nudge: Nudge,
    /// On which the office hangs; held by those who lead, or may come to lead.
    pub(super) line: Option<Speaker>,
}

/// The first process.
pub(super) struct Master<'c> {
    office: Office<'c>,
    /// For the admin.
    admin: Option<TcpListener>,
    /// For the logger.
    read_ends: Option<ReadEnds>,
    /// None once it is said.
    say_drain: Option<Speaker>,
    /// Held for its end.
    _say_leave: Speaker,
    /// To those who stay until the end; none once it is said.
    dismissal: Option<Speaker>,
    dismissed: Word,
    poll: Poll,
    signals: SignalFd,
    /// How often tine was told to stop.
    stops: Arc<AtomicU32>,
    /// Owned here alone, so that a child drops it with the rest.
    _waker: Arc<Waker>,
    terminal: Terminal,
    /// The publisher, the logger, the admin, and whoever was orphaned.
    crew: Crew,
    row: Row<'static>,
    pid: Pid,
}

/// What a child of the master is.
#[expect(clippy::large_enum_variant, reason = "there is one, and it is taken apart at once")]
pub(super) enum Birth<'c> {
    Publisher(Office<'c>, Row<'static>),
    Admin(admin::Seat<'c>),
    Logger(logger::Seat),
}

impl<'c> Master<'c> {
    /// Opens the folder and the listeners, and gives up the rights that it took.
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
        user::change(config.user, style)?;
        if let Some(root) = &root {
            open::check_readable(root, &config.root)?;
        }
        let (say_drain, drain) = Word::new()?;
        let (say_leave, leave) = Word::new()?;
        let (dismissal, dismissed) = Word::new()?;
        let allowance = Machine::read().allow(config);
        let (board, row) = open::board(allowance.rows)?;
        let pid = getpid();
        let (log, access_log, read_ends) = log::open(style, board)?;
        let log = Rc::new(log);

        let poll = Poll::new().map_err(failed("cannot watch for events"))?;
        let terminal = Terminal::look();
        // Blocked before ctrlc starts its thread, which inherits the mask.
        let signals = watch(&poll, SIGNALS, &[Signal::SIGCHLD, Signal::SIGHUP, Signal::SIGQUIT])?;
        let waker = Waker::new(poll.registry(), STOPS).map_err(failed("cannot make a waker"))?;
        let waker = Arc::new(waker);
        let stops = open::count_stops(&waker)?;
        open::adopt_orphans(pid)?;
        let crew = open::crew(config, admin.is_some(), (board, row), &log, Instant::now());
        let office = Office {
            config,
            rules: allowance.rules(config),
            root,
            started,
            allowance,
            admin_url: admin.as_ref().and_then(listen::url_of),
            listeners,
            handover: Handover::new()?,
            board,
            log,
            access_log,
            drain,
            leave,
            nudge: Nudge::new()?,
            line: None,
        };
        Ok(Self {
            office,
            admin,
            read_ends: Some(read_ends),
            say_drain: Some(say_drain),
            _say_leave: say_leave,
            dismissal: Some(dismissal),
            dismissed,
            poll,
            signals,
            stops,
            _waker: waker,
            terminal,
            crew,
            row,
            pid,
        })
    }

    /// Keeps a publisher in office until tine is told to stop.
    ///
    /// # Errors
    /// If it is told so twice, or cannot wait for events.
    pub(super) fn run(mut self) -> Result<Fate<Birth<'c>>, Failure> {
        let mut events = Events::with_capacity(8);
        let mut drain: Option<Drain> = None;
        let mut now = Instant::now();
        loop {
            self.row.beat();
            let mut wake_at = match self.crew.act(now)? {
                Step::Wait(until) => until,
                Step::Born(post, row) => {
                    // The logger stays for the last lines.
                    if post != LOGGER {
                        bind_to_parent(self.pid)?;
                    }
                    return Ok(Fate::Born(self.bear(post, row)));
                }
                Step::End => {
                    self.take_stock();
                    return Ok(Fate::Done(0));
                }
            };
            if let Some(due) = drain.as_ref().and_then(Drain::due) {
                wake_at = wake_at.min(due);
            }
            wait(&mut self.poll, &mut events, Some(wake_at.saturating_duration_since(now)))?;
            now = Instant::now();
            // The signals first: a child that dies behind this line is a signal again.
            self.read_signals();
            if let Some(code) = self.tend(now) {
                self.dismiss(now)?;
                return Ok(Fate::Done(code));
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
            if let Some(drain) = &mut drain {
                self.see_drain_through(drain, now);
            }
        }
    }

    /// What a child that was born for a post has.
    fn bear(mut self, post: usize, row: Row<'static>) -> Birth<'c> {
        let (read_ends, dismissed) = (self.read_ends.take(), self.dismissed);
        match (post, read_ends, self.admin.take()) {
            (LOGGER, Some(read_ends), _) => {
                let (style, board) = (self.office.log.style, self.office.board);
                Birth::Logger(logger::Seat { read_ends, style, board, row, dismissed })
            }
            (ADMIN, _, Some(listener)) => {
                let Office { config, board, nudge, allowance, started, .. } = self.office;
                Birth::Admin(admin::Seat {
                    config,
                    board,
                    row,
                    listener,
                    nudge,
                    allowance,
                    started,
                    dismissed,
                })
            }
            _ => {
                self.office.line = self.crew.take_line();
                Birth::Publisher(self.office, row)
            }
        }
    }

    /// Looks after the children; an exit code if there is no point in going on.
    fn tend(&mut self, now: Instant) -> Option<u8> {
        for death in self.crew.tend(now) {
            if self.crew.is_ending() {
                continue;
            }
            let is_leader = death.role == Some(Role::Publisher);
            let is_mistake = death.exit_code() == Some(Fault::User as i32);
            if is_leader && is_mistake && self.office.board.serving() == 0 {
                // The publisher has said what is wrong; it would be so again.
                return Some(Fault::User as u8);
            }
            self.say_death(&death);
        }
        None
    }

    fn say_death(&self, death: &Death) {
        let (role, cause) = (death.role.map_or("process", Role::name), death.cause());
        self.office.log.say(&format!("the {role} died ({cause}); starting another"));
    }

    /// The last line: what all of it came to.
    fn take_stock(&self) {
        let total = |counter| self.office.board.total(counter);
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
        say(self.office.log.style, &line);
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
                self.office.log.say("SIGHUP: looking at the folder again");
                self.office.board.ask_reload();
                self.office.nudge.give();
            }
        }
    }

    fn begin_drain(&mut self, now: Instant) -> Drain {
        let config = self.office.config;
        let mut drain = Drain::begin(config, now);
        self.office.board.set_phase(Phase::Leaving);
        if config.shutdown_delay.is_zero() {
            drain.advance(&self.office, now);
        }
        // Whoever hears it looks at the board.
        self.say_drain = None;
        self.crew.stop(drain.deadline(), now);
        let delay = humantime::format_duration(config.shutdown_delay);
        let timeout = humantime::format_duration(config.drain_timeout);
        let newcomers = if config.shutdown_delay.is_zero() {
            String::new()
        } else {
            format!("new connections are taken for {delay}, ")
        };
        let answers = format!("{newcomers}answers in flight have {timeout}");
        self.office.log.say(&format!("told to stop: {answers}"));
        drain
    }

    /// Gives the logger a moment for what was said last: it ends with PID 1.
    fn dismiss(&mut self, mut now: Instant) -> Result<(), Failure> {
        self.dismissal = None;
        let mut events = Events::with_capacity(8);
        let until = now + LAST_WORDS;
        while now < until && self.crew.has(LOGGER) {
            wait(&mut self.poll, &mut events, Some(until - now))?;
            while let Ok(Some(_)) = self.signals.read_signal() {}
            now = Instant::now();
            self.crew.tend(now);
        }
        Ok(())
    }

    fn see_drain_through(&mut self, drain: &mut Drain, now: Instant) {
        if drain.advance(&self.office, now) {
            self.crew.shut(now);
        }
        if drain.due().is_none() && self.crew.has_only(LOGGER) {
            self.dismissal = None;
        }
    }
}
