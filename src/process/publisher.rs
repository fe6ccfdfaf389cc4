//! The leader of a generation: a site, and the workers that share it. It keeps their posts filled
//! and never touches the disk; when something may have changed there, it forks a successor that
//! does, and goes once that has taken office.

mod births;
mod heirs;
mod words;

use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::unistd::getpid;

use crate::board::{Counter, Look, Outcome, Role, Row};
use crate::config::Config;
use crate::failure::Failure;
use crate::site::{Grade, Site};
use crate::succession::{Event, Pace, Succession};

use super::clock::millis;
use super::crew::{Crew, Post, Step, Watch};
use super::master::Office;
use super::successor::{Candidacy, Candidate};
use super::watches::Watches;
use super::{Fate, WORKERS_LEAVE, failed, listen, take_role, wait, watch};
pub(super) use births::Birth;
use heirs::Successor;
use words::Words;

const SIGNALS: Token = Token(0);
const DRAIN: Token = Token(1);
const LEAVE: Token = Token(2);
const READY: Token = Token(3);
const NUDGE: Token = Token(4);
const CHANGES: Token = Token(5);
const SUPERSEDED: Token = Token(6);

/// How long the first site may take before clients are told to come back.
const FIRST_SITE: Duration = Duration::from_secs(1);
/// How long until the first site is tried once more.
const FIRST_RETRY: Duration = Duration::from_millis(250);

/// The leader of a generation, in office or about to take it.
pub(super) struct Publisher<'c> {
    office: Office<'c>,
    site: Site,
    generation: u64,
    row: Row<'static>,
    watches: Watches,
    poll: Poll,
    signals: SignalFd,
    workers: Crew,
    words: Words,
    /// None in office.
    candidacy: Option<Candidacy>,
    succession: Succession,
    successor: Option<Successor>,
    /// Whether the last one could not be started, which is said once.
    is_short: bool,
    /// How often a look was asked for that somebody has taken, and how often a file was doubted.
    reloads: u64,
    doubts: u64,
}

impl<'c> Publisher<'c> {
    /// The first leader of all, or of those behind one that died. It has no site yet and has one
    /// made by its successor, as any other leader does. It gets workers only if that takes long and
    /// nobody serves.
    ///
    /// # Errors
    /// If the system refuses a descriptor.
    pub(super) fn first((office, row): (Office<'c>, Row<'static>)) -> Result<Self, Failure> {
        let (board, now) = (office.board, Instant::now());
        board.lead(getpid().as_raw());
        let posts = if board.serving() == 0 { office.allowance.workers } else { 0 };
        let pace = Pace { rescan_interval: FIRST_RETRY, ..pace(&office) };
        let site = Site::awaited(&office.rules);
        let watches = Watches::new(false);
        let workers = crew(&office, row, posts, now).put_off(now + FIRST_SITE);
        let mut first = Self::new(office, (site, 0), row, watches, None)?;
        first.workers = workers;
        first.words.say_look = None;
        first.succession = Succession::new(pace, Duration::ZERO, now);
        first.succession.handle(Event::Asked, now);
        Ok(first)
    }

    /// A leader of the next generation, not in office yet.
    ///
    /// # Errors
    /// If the system refuses a descriptor.
    pub(super) fn of(candidate: Candidate<'c>) -> Result<Self, Failure> {
        let Candidate { office, site, generation, row, watches, candidacy } = candidate;
        Self::new(office, (site, generation), row, watches, Some(candidacy))
    }

    /// A leader of a site.
    ///
    /// # Errors
    /// If the system refuses a descriptor.
    fn new(
        office: Office<'c>,
        (site, generation): (Site, u64),
        row: Row<'static>,
        watches: Watches,
        candidacy: Option<Candidacy>,
    ) -> Result<Self, Failure> {
        let poll = Poll::new().map_err(failed("cannot watch for events"))?;
        let signals = watch(&poll, SIGNALS, &[Signal::SIGCHLD])?;
        office.drain.watch(&poll, DRAIN)?;
        office.leave.watch(&poll, LEAVE)?;
        office.nudge.watch(&poll, NUDGE)?;
        watches.register(&poll, CHANGES)?;
        let words = Words::new(&poll)?;
        take_role(row, Role::Publisher, generation);
        let (board, now) = (office.board, Instant::now());
        let reloads = candidacy.as_ref().map_or(board.reloads(), |candidacy| candidacy.reloads);
        let workers = crew(&office, row, office.allowance.workers, now);
        Ok(Self {
            site,
            generation,
            row,
            watches,
            poll,
            signals,
            workers,
            words,
            candidacy,
            succession: Succession::new(pace(&office), Duration::ZERO, now),
            successor: None,
            is_short: false,
            reloads,
            doubts: board.total(Counter::Doubted),
            office,
        })
    }

    /// Leads until a successor does, or everybody is to leave.
    ///
    /// # Errors
    /// If a worker dies before it is ready, or it cannot wait for events.
    pub(super) fn run(mut self) -> Result<Fate<Birth<'c>>, Failure> {
        let mut events = Events::with_capacity(16);
        let mut now = Instant::now();
        loop {
            let mut wake_at = match self.workers.act(now)? {
                Step::Wait(until) => until,
                Step::Born(_, row) => return Ok(Fate::Born(Birth::Worker(self.into_seat(row)))),
                Step::End => return Ok(Fate::Done(0)),
            };
            if !self.workers.is_empty() {
                // From now on the word is the workers' own to say.
                self.words.say_ready = None;
            }
            let is_needed = !self.is_done_with_succession();
            if self.candidacy.is_none() && is_needed {
                if let Some(heir) = self.see_to_succession(now)? {
                    return Ok(Fate::Born(Birth::Successor(self.into_heir(heir))));
                }
                let due = self.succession.poll_timeout().filter(|&due| due > now);
                wake_at = due.map_or(wake_at, |due| wake_at.min(due));
            }
            wait(&mut self.poll, &mut events, Some(wake_at.saturating_duration_since(now)))?;
            now = Instant::now();
            self.row.beat();
            for event in &events {
                match event.token() {
                    LEAVE => return Ok(Fate::Done(0)),
                    // Who serves now drains by itself.
                    DRAIN if self.candidacy.as_ref().is_some_and(|one| !one.is_first) => {
                        return Ok(Fate::Done(0));
                    }
                    DRAIN => {
                        let &Config { shutdown_delay, drain_timeout, .. } = self.office.config;
                        let time = shutdown_delay + drain_timeout + WORKERS_LEAVE;
                        self.workers.stop(now + time, now);
                    }
                    NUDGE => self.office.nudge.take(),
                    CHANGES if self.watches.have_news() => {
                        self.succession.handle(Event::Changed, now);
                    }
                    CHANGES | SUPERSEDED | READY => {}
                    _ => while matches!(self.signals.read_signal(), Ok(Some(_))) {},
                }
            }
            if self.candidacy.is_none() && self.office.board.leader() != getpid().as_raw() {
                // The workers hear of it by our end, and are the master's from then on.
                return Ok(Fate::Done(0));
            }
            if self.workers.is_ready() {
                self.take_office(now)?;
            }
            if self.is_done_with_succession() {
                self.workers.abandon_aside();
            }
            if self.workers.is_ending() && self.have_listeners_ended() {
                self.workers.shut(now);
            }
            if let Some(code) = self.tend(now)? {
                return Ok(Fate::Done(code));
            }
        }
    }

    /// Whether no successor is needed any more. At the end what is queued is to be answered, and
    /// without a site it could not be.
    fn is_done_with_succession(&self) -> bool {
        self.workers.is_ending() && (self.site.is_there() || self.have_listeners_ended())
    }

    fn have_listeners_ended(&self) -> bool {
        self.office.listeners.iter().all(listen::has_ended)
    }

    /// Makes this generation the one that serves. Those of the one before it find that on the
    /// board, and so does their leader.
    fn take_office(&mut self, now: Instant) -> Result<(), Failure> {
        let Some(candidacy) = self.candidacy.take() else { return Ok(()) };
        // From here on nobody's death ends this process. If the leader died before, that has ended
        // it already.
        prctl::set_pdeathsig(None).map_err(failed("cannot take office"))?;
        let board = self.office.board;
        board.lead(getpid().as_raw());
        board.serve(self.generation);
        board.set_facts(candidacy.facts(millis()));
        board.settle(candidacy.reloads, Outcome::Ready);
        self.log_look(Outcome::Ready, candidacy.changed);
        self.row.set_ready();
        self.words.say_look = None;
        let has_news = self.succession.has_wish() || candidacy.is_partial;
        self.succession = Succession::new(pace(&self.office), candidacy.look, now);
        if has_news {
            self.succession.handle(Event::Changed, now);
        }
        if self.site.grade() < Grade::Full {
            self.succession.handle(Event::Asked, now);
        }
        candidacy.announce(&self.office.log, now);
        Ok(())
    }

    /// Keeps word of a look, for the status page.
    fn log_look(&self, outcome: Outcome, changed: u64) {
        let board = self.office.board;
        board.log_look(Look { at: millis(), outcome, generation: board.serving(), changed });
    }

    /// Looks after the workers and the successor; an exit code if there is no point in going on.
    fn tend(&mut self, now: Instant) -> Result<Option<u8>, Failure> {
        for death in self.workers.tend(now) {
            let (pid, cause) = (death.pid, death.cause());
            if let Some(successor) = self.successor.take_if(|successor| successor.pid == pid) {
                if let Some(code) = self.outlived(&successor, &death, now) {
                    return Ok(Some(code));
                }
                continue;
            }
            if self.workers.is_ending() {
                continue;
            }
            if self.candidacy.is_some() {
                // Whoever serves now had better go on.
                let line = format!("worker {pid} died before it was ready ({cause})");
                return Err(Failure::system(line));
            }
            self.office.log.say(&format!("worker {pid} died ({cause}); starting another"));
        }
        Ok(None)
    }
}

fn pace(office: &Office<'_>) -> Pace {
    let &Config { reload_debounce, rescan_interval, drain_timeout, .. } = office.config;
    Pace { reload_debounce, rescan_interval, crowd_max: drain_timeout }
}

fn crew(office: &Office<'_>, row: Row<'static>, posts: usize, now: Instant) -> Crew {
    let post = Post { role: Role::Worker, watch: Watch::FromBirth };
    let (timeout, own) = (office.config.watchdog_timeout, (office.board, row));
    Crew::new(vec![post; posts], timeout, own, Rc::clone(&office.log), now)
}
