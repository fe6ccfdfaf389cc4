//! When the compiler scans the directory. It decides and does nothing: it is told what was noticed,
//! and at what time, and says when a scan is to begin.
//!
//! ```text
//!           Changed: debounce        poll_scan                Published, Unchanged, Refused
//! quiet ─────────────────────► due ────────────► scanning ────────────────────────────────► quiet
//!       ─────────────────────►     ◄────────────
//!       Requested, rescan: now       Unstable
//! ```
//!
//! A change that is noticed during a scan means another scan after it, which may have been there
//! already. What takes long and is not needed to serve (hashes of files on disk, gzip variants) is
//! left to a scan of its own, which any change interrupts.

use std::time::{Duration, Instant};

use crate::site::Pass;

/// Longest time for which changes can put off a scan by following each other.
const DEBOUNCE_MAX: Duration = Duration::from_secs(5);
/// How much longer than a scan the pause before the next one without a notice is at least.
const RESCAN_PAUSE: u32 = 20;
/// Longest scan after which a change waits for the debounce only. After a longer one it waits for
/// as long as that took: the machine and its disk are left alone for half of the time.
pub const SHORT_SCAN: Duration = Duration::from_millis(100);
/// How often a directory is scanned that has lost its index: it may be another one, in which
/// nothing is watched.
const INDEX_LOSS_PAUSE: Duration = Duration::from_secs(1);
/// How often a directory is scanned at most that cannot be served.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// How long until a scan is tried again that found no room in the arena.
const ROOM_PAUSE: Duration = Duration::from_secs(1);

/// How long nothing must have changed before a site is served that has lost its index: a build tool
/// may have emptied its directory first.
pub const INDEX_LOSS_GRACE: Duration = Duration::from_secs(30);

/// What to do about files that are being written while they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unstable {
    /// Give up, to be tried again later.
    Retry,
    /// Make the best of it: their former version is served, or what is there now.
    Accept,
}

/// How fast it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How long nothing must have changed before a scan.
    pub reload_debounce: Duration,
    /// How long until a scan although nothing was noticed.
    pub rescan_interval: Duration,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something has changed, or may have.
    Changed,
    /// A scan was requested.
    Requested,
    /// The scan has ended, which took this long.
    Ended(ScanEnd, Duration),
}

/// What a scan can come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanEnd {
    /// Another image was published.
    Published {
        /// Whether there are files that want an ETag or a gzip variant still.
        is_unfinished: bool,
        /// Whether former versions are served of files that were being written.
        is_partial: bool,
        /// Whether files were left on disk only because the arena had no room.
        lacks_memory: bool,
    },
    /// Nothing has changed.
    Unchanged {
        /// Whether there are files that want an ETag or a gzip variant still.
        is_unfinished: bool,
        /// Whether files were left on disk only because the arena had no room.
        lacks_memory: bool,
    },
    /// What there is cannot be served.
    Refused,
    /// It was no time to scan: files were being written.
    Unstable,
    /// There is another site, but the root's index is gone.
    IndexLost,
    /// There is no room in the arena for another index.
    NoRoom,
}

/// A scan that is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// How much is to be made of the files.
    pub pass: Pass,
    /// What to do about files that are being written.
    pub unstable: Unstable,
    /// Whether the root's index may be gone.
    pub may_lose_index: bool,
}

/// When the directory is scanned.
#[derive(Debug)]
pub struct ReloadScheduler {
    pace: Pace,
    pending: Option<Pending>,
    /// What the scan that is going on was for.
    running: Option<Pending>,
    rescan_at: Instant,
    /// Changes wait at least until then.
    changes_from: Instant,
    /// Since when nothing has changed in a directory that has lost its index.
    index_lost_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    /// When the first of the changes was noticed.
    since: Instant,
    due: Instant,
    reason: Reason,
}

/// What a scan is for, the least urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// There are files that want an ETag or a gzip variant, or memory.
    Rest,
    /// The index is gone still.
    IndexLoss,
    /// Something has changed, or it is time to scan.
    Change,
    /// It was requested.
    Request,
}

impl ReloadScheduler {
    /// A scheduler that begins with a scan at once.
    pub fn new(pace: Pace, now: Instant) -> Self {
        Self {
            pace,
            pending: Some(Pending { since: now, due: now, reason: Reason::Request }),
            running: None,
            rescan_at: now + pace.rescan_interval,
            changes_from: now,
            index_lost_since: None,
        }
    }

    /// Takes note of what happened.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Changed => {
                self.index_lost_since = self.index_lost_since.map(|_| now);
                let former = self
                    .pending
                    .filter(|pending| matches!(pending.reason, Reason::Change | Reason::Request));
                let since = former.map_or(now, |pending| pending.since);
                if former.is_none_or(|pending| pending.reason == Reason::Change) {
                    let due = (now + self.pace.reload_debounce).min(since + DEBOUNCE_MAX).max(now);
                    self.pending = Some(Pending { since, due, reason: Reason::Change });
                }
            }
            Event::Requested => {
                let since = self.pending.map_or(now, |pending| pending.since);
                self.pending = Some(Pending { since, due: now, reason: Reason::Request });
            }
            Event::Ended(end, took) => {
                if let Some(running) = self.running.take() {
                    self.on_end(end, took, running, now);
                }
            }
        }
    }

    fn on_end(&mut self, end: ScanEnd, took: Duration, running: Pending, now: Instant) {
        let pause = took.saturating_mul(RESCAN_PAUSE);
        let rescan_interval = self.pace.rescan_interval;
        self.rescan_at = match end {
            ScanEnd::Unchanged { .. } | ScanEnd::Published { .. } => {
                let is_short = took <= SHORT_SCAN;
                self.changes_from = if is_short { now } else { now + took };
                self.index_lost_since = None;
                now + rescan_interval.max(pause)
            }
            // What is wrong may be put right where nothing is watched.
            ScanEnd::Refused => now + rescan_interval.min(pause.max(REFUSED_PAUSE)),
            // The length of such a scan says nothing: the disk may not have answered.
            ScanEnd::Unstable | ScanEnd::IndexLost | ScanEnd::NoRoom => now + rescan_interval,
        };
        match end {
            ScanEnd::Refused => {}
            ScanEnd::Unchanged { is_unfinished, lacks_memory } => {
                // If the rest itself comes to nothing, it is tried again after the next scan only.
                let is_unfinished = is_unfinished && running.reason != Reason::Rest;
                self.leave_rest(is_unfinished, lacks_memory, running, pause, now);
            }
            ScanEnd::Published { is_unfinished, is_partial, lacks_memory } => {
                if is_partial {
                    self.handle(Event::Changed, now);
                }
                self.leave_rest(is_unfinished, lacks_memory, running, pause, now);
            }
            // Changes that go on and on are waited for only so long, counted from the first; then
            // another wait begins.
            ScanEnd::Unstable if now >= running.since + DEBOUNCE_MAX => {
                let due = now + self.pace.reload_debounce;
                self.put_back(Pending { since: now, due, ..running });
            }
            ScanEnd::Unstable => {
                let due = (now + self.pace.reload_debounce).min(running.since + DEBOUNCE_MAX);
                self.put_back(Pending { due, ..running });
            }
            ScanEnd::IndexLost => {
                let over = *self.index_lost_since.get_or_insert(now) + INDEX_LOSS_GRACE;
                let pause = now + INDEX_LOSS_PAUSE;
                let due = if over > now { over.min(pause) } else { pause };
                let again = Pending { since: now, due, reason: Reason::IndexLoss };
                self.pending.get_or_insert(again);
            }
            ScanEnd::NoRoom => self.put_back(Pending { due: now + ROOM_PAUSE, ..running }),
        }
    }

    /// Has what is left to do for the published image done by a scan of its own: after a change
    /// only if another one does not follow.
    fn leave_rest(
        &mut self,
        is_unfinished: bool,
        lacks_memory: bool,
        running: Pending,
        pause: Duration,
        now: Instant,
    ) {
        let due = match running.reason {
            _ if lacks_memory => now + ROOM_PAUSE.max(pause),
            Reason::Change => now + self.pace.reload_debounce,
            Reason::Request | Reason::Rest | Reason::IndexLoss => now,
        };
        if is_unfinished || lacks_memory {
            self.pending.get_or_insert(Pending { since: now, due, reason: Reason::Rest });
        }
    }

    /// What a scan was for that came to nothing is pending still, with what came up meanwhile.
    fn put_back(&mut self, running: Pending) {
        let reasons = [Some(running.reason), self.pending.map(|pending| pending.reason)];
        let reason = reasons.into_iter().flatten().max().unwrap_or(running.reason);
        let since = self.pending.map_or(running.since, |pending| pending.since.min(running.since));
        self.pending = Some(Pending { since, due: running.due, reason });
    }

    /// Begins the scan that is due, if one is.
    pub fn poll_scan(&mut self, now: Instant) -> Option<Scan> {
        if self.running.is_some() || now < self.due() {
            return None;
        }
        let rescan = Pending { since: now, due: now, reason: Reason::Change };
        let pending = self.pending.take().unwrap_or(rescan);
        self.running = Some(pending);
        let is_late = now >= pending.since + DEBOUNCE_MAX;
        Some(Scan {
            pass: if pending.reason == Reason::Rest { Pass::Full } else { Pass::Quick },
            unstable: if is_late { Unstable::Accept } else { Unstable::Retry },
            may_lose_index: self
                .index_lost_since
                .is_some_and(|since| now >= since + INDEX_LOSS_GRACE),
        })
    }

    /// When there may be something to do, if nothing happens until then.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.running.is_none().then(|| self.due())
    }

    /// Whether the scan that is going on was requested.
    pub fn is_on_request(&self) -> bool {
        self.running.is_some_and(|running| running.reason == Reason::Request)
    }

    fn due(&self) -> Instant {
        match self.pending {
            Some(Pending { due, reason: Reason::Change, .. }) => due.max(self.changes_from),
            Some(Pending { due, .. }) => due,
            None => self.rescan_at,
        }
    }
}
