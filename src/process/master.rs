//! The master: opens what everybody needs, keeps a publisher in office, and turns signals into
//! words. It never reads a byte from a client or a file of the site.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::{Pid, Uid, getpid};

use crate::board::{Board, Counter, Row};
use crate::config::Config;
use crate::failure::{Failure, Fault};
use crate::site::{Root, Rules};
use crate::sys::descriptors::close_inherited;
use crate::sys::{door, shared, signals};

use super::crew::{Crew, Step, Watch};
use super::figures::{bytes, counted};
use super::handover::Handover;
use super::machine::{Allowance, Machine};
use super::nudge::Nudge;
use super::word::{Speaker, Word};
use super::{Fate, bind_to_parent, failed, listen, say, user, wait, watch};

const SIGNALS: Token = Token(0);
const STOPS: Token = Token(1);

/// How long a listener whose door is shut is left to those half inside, in one step.
const LISTENER_PAUSE: Duration = Duration::from_millis(20);
/// What the others have beyond the drain timeout to leave by themselves.
const LEAVE_TIME: Duration = Duration::from_secs(2);
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
    /// The way of connections from generation to generation.
    pub(super) handover: Handover,
    /// What everybody knows.
    pub(super) board: Board<'static>,
    /// To drain, and leave then.
    pub(super) drain: Word,
    /// To leave at once; the master's death says it.
    pub(super) leave: Word,
    /// From the master to whoever leads, to look at the board.
    pub(super) nudge: Nudge,
    /// On which the office hangs; held by those who lead, or may come to lead.
    pub(super) line: Option<Speaker>,
}

/// The first process.
pub(super) struct Master<'c> {
    office: Office<'c>,
    /// None once it is said.
    drain: Option<Speaker>,
    /// Held for its end.
    _leave: Speaker,
    poll: Poll,
    signals: SignalFd,
    /// How often tine was told to stop.
    stops: Arc<AtomicU32>,
    /// Owned here alone, so that a child drops it with the rest.
    _waker: Arc<Waker>,
    terminal: Terminal,
    /// The publisher, and whoever was orphaned.
    crew: Crew,
    pid: Pid,
}

/// The way out.
struct Drain {
    /// When to look whether the listeners can end; none once they have.
    look_at: Option<Instant>,
    /// When the listeners end at the latest.
    latest: Instant,
}

impl<'c> Master<'c> {
    /// Opens the folder and the listeners, and gives up the rights that it took.
    ///
    /// # Errors
    /// All mistakes that can be found before anything is forked.
    pub(super) fn open(config: &'c Config, started: Instant) -> Result<Self, Failure> {
        close_inherited();
        let root = match open_root(&config.root) {
            Err(_) if !config.root_wait.is_zero() => None,
            opened => Some(opened?),
        };
        let listeners = listen::open(&config.listen)?;
        user::change(config.user)?;
        if let Some(root) = &root {
            check_readable(root, &config.root)?;
        }
        let (say_drain, drain) = Word::new()?;
        let (say_leave, leave) = Word::new()?;
        let allowance = Machine::read().allow(config);
        let words =
            shared::words(Board::words(allowance.rows)).map_err(failed("cannot share memory"))?;
        let board = Board::new(words);

        let poll = Poll::new().map_err(failed("cannot watch for events"))?;
        let terminal = Terminal::look();
        // Blocked before ctrlc starts its thread, which inherits the mask.
        let signals = watch(&poll, SIGNALS, &[Signal::SIGCHLD, Signal::SIGHUP])?;
        let waker = Waker::new(poll.registry(), STOPS).map_err(failed("cannot make a waker"))?;
        let waker = Arc::new(waker);
        let stops = count_stops(&waker)?;
        // Orphans come to the master, as they do to PID 1 anyway.
        if getpid().as_raw() != 1 {
            prctl::set_child_subreaper(true).map_err(failed("cannot adopt orphans"))?;
        }
        let (watch, now) = (Watch::FromFirstBeat, Instant::now());
        let rules = Rules {
            limits: allowance.site.clone(),
            stand_in: config.spa.clone(),
            extra: config.extra.clone(),
            health: config.health,
            retire_after: config.retire_after,
        };
        let nudge = Nudge::new()?;
        let office = Office {
            config,
            rules,
            root,
            started,
            allowance,
            listeners,
            handover: Handover::new()?,
            board,
            drain,
            leave,
            nudge,
            line: None,
        };
        Ok(Self {
            office,
            drain: Some(say_drain),
            _leave: say_leave,
            poll,
            signals,
            stops,
            _waker: waker,
            terminal,
            crew: Crew::new("publisher", 1, watch, config.watchdog, board, now).on_line(),
            pid: getpid(),
        })
    }

    /// Keeps a publisher in office until tine is told to stop.
    ///
    /// # Errors
    /// If it is told so twice, or cannot wait for events.
    pub(super) fn run(mut self) -> Result<Fate<(Office<'c>, Row<'static>)>, Failure> {
        let mut events = Events::with_capacity(8);
        let mut drain: Option<Drain> = None;
        let mut now = Instant::now();
        loop {
            let mut wake_at = match self.crew.act(now)? {
                Step::Wait(until) => until,
                Step::Born(row) => {
                    bind_to_parent(self.pid)?;
                    self.office.line = self.crew.take_line();
                    return Ok(Fate::Born((self.office, row)));
                }
                Step::End => {
                    self.take_stock();
                    return Ok(Fate::Done(0));
                }
            };
            if let Some(look_at) = drain.as_ref().and_then(|drain| drain.look_at) {
                wake_at = wake_at.min(look_at);
            }
            wait(&mut self.poll, &mut events, Some(wake_at.saturating_duration_since(now)))?;
            now = Instant::now();
            // The signals first: a child that dies behind this line is a signal again.
            self.count_hangups();
            if let Some(code) = self.tend(now) {
                return Ok(Fate::Done(code));
            }
            let stops = self.stops.load(Ordering::Relaxed);
            match &mut drain {
                None if stops > 0 => drain = Some(self.begin_drain(now)),
                None => {}
                Some(_) if stops > 1 => {
                    return Err(Failure::system("ended at once by a second signal"));
                }
                Some(drain) => self.end_listeners(drain, now),
            }
        }
    }

    /// Looks after the publisher and the orphans; an exit code if there is no point in going on.
    fn tend(&mut self, now: Instant) -> Option<u8> {
        for death in self.crew.tend(now) {
            let is_mistake = death.exit_code() == Some(Fault::User as i32);
            if is_mistake && self.office.board.serving() == 0 {
                // The publisher has said what is wrong; it would be so again.
                return Some(Fault::User as u8);
            }
            if !self.crew.is_ending() {
                say(&format!("the publisher died ({}); starting another", death.cause()));
            }
        }
        None
    }

    /// The last line: what all of it came to.
    fn take_stock(&self) {
        let total = |counter| self.office.board.total(counter);
        let answers = counted(total(Counter::Answered), "answer");
        let connections = counted(total(Counter::Accepted), "connection");
        say(&format!("done: {answers} on {connections}, {}", bytes(total(Counter::Sent))));
    }

    /// A SIGHUP counts as a word to stop if the terminal that tine was started at is gone.
    fn count_hangups(&self) {
        while let Ok(Some(pending)) = self.signals.read_signal() {
            if pending.ssi_signo != Signal::SIGHUP as u32 {
                continue;
            }
            if self.terminal.is_gone() {
                // A shell sends it, and the kernel once more: together they are one word.
                self.stops.fetch_max(1, Ordering::Relaxed);
            } else {
                say("SIGHUP: looking at the folder again");
                self.office.board.ask_reload();
                self.office.nudge.give();
            }
        }
    }

    fn begin_drain(&mut self, now: Instant) -> Drain {
        self.drain = None;
        for listener in &self.office.listeners {
            if let Err(errno) = door::shut(listener) {
                say(&format!("connections may be reset at the end: {}", errno.desc()));
            }
        }
        let drain_timeout = self.office.config.drain_timeout;
        self.crew.stop(now + drain_timeout + LEAVE_TIME, now);
        Drain { look_at: Some(now + LISTENER_PAUSE), latest: now + drain_timeout }
    }

    /// Shuts the listeners down once the workers have taken all that was queued. To close them
    /// would do nothing, since others hold copies; to shut them down resets what is queued still.
    fn end_listeners(&mut self, drain: &mut Drain, now: Instant) {
        if drain.look_at.is_none_or(|at| now < at) {
            return;
        }
        if now >= drain.latest || !self.office.listeners.iter().any(has_queued) {
            for listener in &self.office.listeners {
                let _ = shutdown(listener.as_raw_fd(), Shutdown::Both);
            }
            self.crew.shut(now);
            drain.look_at = None;
        } else {
            drain.look_at = Some(now + LISTENER_PAUSE);
        }
    }
}

fn open_root(path: &Path) -> Result<Root, Failure> {
    let shown = path.display();
    Root::new(path).map_err(|error| {
        Failure::user(match error.kind() {
            io::ErrorKind::NotFound => format!("no folder {shown}; name one: tine FOLDER"),
            io::ErrorKind::NotADirectory => {
                format!("{shown} is no folder; name the folder that the file is in")
            }
            io::ErrorKind::PermissionDenied => format!(
                "may not open the folder {shown}; let others in (chmod o+rx, also on what leads to \
                 it), or start tine as who may"
            ),
            _ => format!("cannot open the folder {shown}: {error}"),
        })
    })
}

/// Found out here, as the user that will serve: a publisher could only say so and die.
fn check_readable(root: &Root, path: &Path) -> Result<(), Failure> {
    root.open_beneath(Path::new("")).map(drop).map_err(|error| {
        let (shown, uid) = (path.display(), Uid::effective());
        Failure::user(format!(
            "cannot read the folder {shown} as user {uid}: {error}; let others in (chmod o+rx), \
             or choose who serves by --user"
        ))
    })
}

/// Has ctrlc's thread count INT and TERM; it cannot tell which came.
fn count_stops(waker: &Arc<Waker>) -> Result<Arc<AtomicU32>, Failure> {
    let stops = Arc::new(AtomicU32::new(0));
    let (counter, waker) = (Arc::clone(&stops), Arc::downgrade(waker));
    let count = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        let _ = waker.upgrade().map(|waker| waker.wake());
    };
    ctrlc::set_handler(count)
        .map_err(|error| Failure::system(format!("cannot handle signals: {error}")))?;
    Ok(stops)
}

/// Whether connections wait to be accepted.
fn has_queued(listener: &TcpListener) -> bool {
    let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// The terminal that tine was started at.
struct Terminal {
    /// Whether its end is a word to stop; `nohup` says that it is not.
    matters: bool,
}

impl Terminal {
    fn look() -> Self {
        Self { matters: Self::is_there() && !signals::is_ignored(Signal::SIGHUP) }
    }

    fn is_gone(&self) -> bool {
        self.matters && !Self::is_there()
    }

    /// Whether a terminal controls this process (tty(4)).
    fn is_there() -> bool {
        File::open("/dev/tty").is_ok()
    }
}
