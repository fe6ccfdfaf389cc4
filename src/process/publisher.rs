//! The publisher: compiles the site, forks the workers that share it, and replaces those that die.

use std::net::TcpListener;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use mio::{Events, Poll, Token};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;

use crate::board::Row;
use crate::config::Config;
use crate::failure::Failure;
use crate::http::date;
use crate::site::{CompileError, Compiled, Rules, Site, compile};

use super::crew::{Crew, Step, Watch};
use super::figures::{bytes, counted};
use super::machine::Allowance;
use super::master::Office;
use super::word::{Speaker, Word};
use super::worker::Seat;
use super::{Fate, failed, listen, say, wait, watch};

const SIGNALS: Token = Token(0);
const DRAIN: Token = Token(1);
const LEAVE: Token = Token(2);
const READY: Token = Token(3);

/// What the workers have beyond the drain timeout to leave by themselves.
const LEAVE_TIME: Duration = Duration::from_secs(1);
/// Most warnings of a compile that are shown one by one.
const WARNINGS_MAX: usize = 10;

/// The leader of a generation: a site and the workers that share it.
pub(super) struct Publisher {
    /// What each worker is born with.
    seat: Seat,
    row: Row<'static>,
    poll: Poll,
    signals: SignalFd,
    workers: Crew,
    /// None in office.
    candidacy: Option<Candidacy>,
    drain_timeout: Duration,
}

/// What a publisher has that is not in office yet.
struct Candidacy {
    /// Said when every worker is ready, or dead.
    _ready: Word,
    /// To have the workers look at the board.
    _look: Speaker,
    announcement: String,
    started: Instant,
}

impl Publisher {
    /// Compiles the site.
    ///
    /// # Errors
    /// If the folder cannot be read any more, or the system refuses a descriptor.
    pub(super) fn compile(
        (office, row): (Office, Row<'static>),
        config: &Config,
        started: Instant,
    ) -> Result<Self, Failure> {
        let Office { root, allowance, listeners, board, drain, leave } = office;
        let poll = Poll::new().map_err(failed("cannot watch for events"))?;
        let signals = watch(&poll, SIGNALS, &[Signal::SIGCHLD])?;
        drain.watch(&poll, DRAIN)?;
        leave.watch(&poll, LEAVE)?;
        let (say_look, look) = Word::new()?;
        let (say_ready, ready) = Word::new()?;
        ready.watch(&poll, READY)?;

        // Another publisher's time is its own, and not that since the program's start.
        let (verb, started) = match board.serving() {
            0 => ("serving", started),
            _ => ("serving again", Instant::now()),
        };
        let rules = Rules {
            limits: allowance.site.clone(),
            stand_in: config.spa.clone(),
            extra: config.extra.clone(),
            health: config.health,
        };
        let compiled = compile(root, &rules, date::second(SystemTime::now())).map_err(|error| {
            let line = format!("{}: {error}", config.root.display());
            match error {
                CompileError::Root(_) => Failure::system(line),
                CompileError::TooMany(_) => Failure::user(line),
            }
        })?;
        warn(&compiled.warnings);
        let announcement = announcement(verb, &compiled, config, &listeners, &allowance);
        // It lives as long as this process and all that are forked from it.
        let site: &'static Site = Box::leak(Box::new(compiled.site));
        let Allowance { workers, connections_max, .. } = allowance;
        let now = Instant::now();
        Ok(Self {
            seat: Seat {
                site,
                generation: board.next_generation(),
                board,
                row,
                listeners,
                connections_max,
                look,
                ready: Some(say_ready),
                drain,
                leave,
                drain_timeout: config.drain_timeout,
            },
            row,
            poll,
            signals,
            workers: Crew::new("worker", workers, Watch::FromBirth, config.watchdog, board, now),
            candidacy: Some(Candidacy { _ready: ready, _look: say_look, announcement, started }),
            drain_timeout: config.drain_timeout,
        })
    }

    /// Takes office once the workers are ready, and keeps their posts filled until everybody is to
    /// leave.
    ///
    /// # Errors
    /// If a worker dies before it is ready, or it cannot wait for events.
    pub(super) fn run(mut self) -> Result<Fate<Seat>, Failure> {
        let mut events = Events::with_capacity(8);
        let mut now = Instant::now();
        loop {
            let wake_at = match self.workers.act(now)? {
                Step::Wait(until) => until,
                Step::Born(row) => return Ok(Fate::Born(Seat { row, ..self.seat })),
                Step::End => return Ok(Fate::Done(ExitCode::SUCCESS)),
            };
            if !self.workers.is_empty() {
                // From now on the word is the workers' own to say.
                self.seat.ready = None;
            }
            wait(&mut self.poll, &mut events, Some(wake_at.saturating_duration_since(now)))?;
            now = Instant::now();
            self.row.beat();
            for event in &events {
                match event.token() {
                    LEAVE => return Ok(Fate::Done(ExitCode::SUCCESS)),
                    DRAIN => self.workers.stop(now + self.drain_timeout + LEAVE_TIME, now),
                    READY => {}
                    _ => while matches!(self.signals.read_signal(), Ok(Some(_))) {},
                }
            }
            if self.workers.is_ready() {
                self.take_office();
            }
            if self.workers.is_ending() && self.seat.listeners.iter().all(listen::has_ended) {
                self.workers.shut(now);
            }
            self.tend(now)?;
        }
    }

    /// Makes this generation the one that serves. Those of the one before it find that on the
    /// board and retire.
    fn take_office(&mut self) {
        if let Some(Candidacy { announcement, started, .. }) = self.candidacy.take() {
            self.seat.board.serve(self.seat.generation);
            self.row.set_ready();
            let took = started.elapsed().as_micros();
            say(&format!("{announcement}, ready in {}.{} ms", took / 1000, took % 1000 / 100));
        }
    }

    fn tend(&mut self, now: Instant) -> Result<(), Failure> {
        for death in self.workers.tend(now) {
            let (pid, cause) = (death.pid, death.cause());
            if self.workers.is_ending() {
                continue;
            }
            if self.candidacy.is_some() {
                // Whoever serves now had better go on.
                let line = format!("worker {pid} died before it was ready ({cause})");
                return Err(Failure::system(line));
            }
            say(&format!("worker {pid} died ({cause}); starting another"));
        }
        Ok(())
    }
}

fn warn(warnings: &[String]) {
    warnings.iter().take(WARNINGS_MAX).for_each(|warning| say(warning));
    if warnings.len() > WARNINGS_MAX {
        say(&format!("and {} more like these", warnings.len() - WARNINGS_MAX));
    }
}

/// What is served, where, and by how many.
fn announcement(
    verb: &str,
    compiled: &Compiled,
    config: &Config,
    listeners: &[TcpListener],
    allowance: &Allowance,
) -> String {
    let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok());
    let urls: Vec<_> = addresses.map(listen::url).collect();
    format!(
        "{verb} {} ({}, {}) on {} with {} ({})",
        config.root.display(),
        counted(compiled.files as u64, "file"),
        bytes(compiled.bytes),
        urls.join(" and "),
        counted(allowance.workers as u64, "worker"),
        allowance.reason,
    )
}
