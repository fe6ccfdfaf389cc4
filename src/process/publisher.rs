//! The publisher: compiles the site, forks the workers that share it, and replaces those that die.

use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime};

use mio::{Events, Poll, Token};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::unistd::ForkResult;

use crate::config::Config;
use crate::failure::Failure;
use crate::http::date::HttpDate;
use crate::site::{Compiled, Site, compile};
use crate::sys::fork::fork;
use crate::sys::signals;

use super::machine::Machine;
use super::master::Office;
use super::post::{Post, cause, reap};
use super::word::{Speaker, Word};
use super::worker::Seat;
use super::{Fate, failed, listen, say, wait, watch};

const SIGNALS: Token = Token(0);
const DRAIN: Token = Token(1);
const LEAVE: Token = Token(2);

/// What the workers have beyond the drain timeout to leave by themselves.
const LEAVE_TIME: Duration = Duration::from_secs(1);
/// Most warnings of a compile that are shown one by one.
const WARNINGS_MAX: usize = 10;

/// The leader of the workers.
pub(super) struct Publisher {
    /// What each worker is born with.
    seat: Seat,
    /// Held for its end, by which the workers learn of this process's.
    _leader: Speaker,
    poll: Poll,
    signals: SignalFd,
    posts: Vec<Post>,
    /// Said once all posts are filled.
    announcement: Option<Announcement>,
}

struct Announcement {
    text: String,
    started: Instant,
}

impl Publisher {
    /// Compiles the site.
    ///
    /// # Errors
    /// If the folder cannot be read any more, or the system refuses a descriptor.
    pub(super) fn compile(
        office: Office,
        config: &Config,
        started: Instant,
    ) -> Result<Self, Failure> {
        let Office { root, listeners, drain, leave } = office;
        let poll = Poll::new().map_err(failed("cannot watch for events"))?;
        let signals = watch(&poll, SIGNALS, &[Signal::SIGCHLD])?;
        drain.watch(&poll, DRAIN)?;
        leave.watch(&poll, LEAVE)?;
        let (leader, retire) = Word::new()?;

        let machine = Machine::read();
        let today = HttpDate::new(SystemTime::now());
        let compiled = compile(root, &machine.site_limits(config), today.second())
            .map_err(|error| Failure::system(format!("{}: {error}", config.root.display())))?;
        warn(&compiled.warnings);
        let workers = machine.workers(config);
        let text = announcement(&compiled, config, &listeners, workers);
        // It lives as long as this process and all that are forked from it.
        let site: &'static Site = Box::leak(Box::new(compiled.site));
        let drain_timeout = config.drain_timeout;
        let now = Instant::now();
        Ok(Self {
            seat: Seat { site, listeners, drain, leave, retire, drain_timeout },
            _leader: leader,
            poll,
            signals,
            posts: (0..workers).map(|_| Post::vacant(now)).collect(),
            announcement: Some(Announcement { text, started }),
        })
    }

    /// Keeps the workers' posts filled until everybody is to leave.
    ///
    /// # Errors
    /// If it cannot wait for events.
    pub(super) fn run(mut self) -> Result<Fate<Seat>, Failure> {
        let mut events = Events::with_capacity(8);
        let mut deadline: Option<Instant> = None;
        let mut now = Instant::now();
        loop {
            if deadline.is_none() && self.fill_posts(now)? {
                return Ok(Fate::Born(self.seat));
            }
            let wake_at = deadline.or_else(|| self.posts.iter().filter_map(Post::due).min());
            let timeout = wake_at.map(|at| at.saturating_duration_since(now));
            wait(&mut self.poll, &mut events, timeout)?;
            now = Instant::now();
            for event in &events {
                match event.token() {
                    LEAVE => return Ok(Fate::Done),
                    DRAIN => deadline = Some(now + self.seat.drain_timeout + LEAVE_TIME),
                    _ => while matches!(self.signals.read_signal(), Ok(Some(_))) {},
                }
            }
            let has_workers = self.reap(now, deadline.is_some());
            if let Some(deadline) = deadline
                && (!has_workers || now >= deadline)
            {
                self.posts.iter().for_each(Post::kill);
                return Ok(Fate::Done);
            }
        }
    }

    /// Forks a worker for each post that is due; true in the child.
    fn fill_posts(&mut self, now: Instant) -> Result<bool, Failure> {
        for post in &mut self.posts {
            if post.due().is_none_or(|due| due > now) {
                continue;
            }
            match fork() {
                Ok(ForkResult::Parent { child }) => post.fill(child, now),
                Ok(ForkResult::Child) => {
                    signals::leave_to_master().map_err(failed("cannot set up the worker"))?;
                    return Ok(true);
                }
                Err(errno) => {
                    say(&format!("cannot fork a worker: {}; trying again", errno.desc()));
                    post.put_off(now);
                }
            }
        }
        if let Some(Announcement { text, started }) = self.announcement.take() {
            let took = started.elapsed().as_micros();
            say(&format!("{text}, ready in {}.{} ms", took / 1000, took % 1000 / 100));
        }
        Ok(false)
    }

    /// Reaps the dead; whether any worker is left.
    fn reap(&mut self, now: Instant, draining: bool) -> bool {
        let posts = &mut self.posts;
        reap(|pid, status| {
            let held_one = posts.iter_mut().any(|post| post.bury(pid, now));
            if held_one && !draining {
                say(&format!("worker {pid} died ({}); starting another", cause(status)));
            }
        })
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
    compiled: &Compiled,
    config: &Config,
    listeners: &[TcpListener],
    workers: usize,
) -> String {
    let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok());
    let urls: Vec<_> = addresses.map(listen::url).collect();
    format!(
        "serving {} ({}, {}) on {} with {}",
        config.root.display(),
        counted(compiled.files, "file"),
        bytes(compiled.bytes),
        urls.join(" and "),
        counted(workers, "worker"),
    )
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// In whole numbers, because formatting fractions would cost the binary 13 KB.
fn bytes(count: u64) -> String {
    let (unit, name) = match count {
        0..1_000 => return format!("{count} B"),
        1_000..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    format!("{}.{} {name}", count / unit, count % unit * 10 / unit)
}
