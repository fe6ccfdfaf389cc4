//! When the leader of a generation has another one made. It decides and does nothing: it is told
//! what was noticed, and at what time, and says when a successor is to be forked.
//!
//! ```text
//!           Changed: debounce          Started                Unchanged, Refused
//! quiet ───────────────────► a wish ───────────► running ─────────────────────────► quiet
//!       ───────────────────►       ◄───────────          ── ready ──► it leads, and we are gone
//!        Asked, rescan: now          Unsettled, Died
//! ```
//!
//! A change that is noticed while a successor runs is a wish of its own: the successor may have
//! looked there already.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::site::{Patience, VIGIL};

/// Longest time that changes may put off a look by following each other.
const DEBOUNCE_MAX: Duration = Duration::from_secs(5);
/// How much longer than a walk the pause behind it is at least.
const PAUSE: u32 = 20;
/// How often a folder is looked at that has lost its index: it may be another one, in which nothing
/// is watched.
const VIGIL_PAUSE: Duration = Duration::from_secs(1);

/// How fast it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How long nothing must have changed before a look.
    pub reload_debounce: Duration,
    /// How long until a look although nothing was noticed.
    pub rescan_interval: Duration,
    /// How long former generations may keep the next one from being started.
    pub crowd_max: Duration,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something has changed, or may have.
    Changed,
    /// A look is wanted now.
    Asked,
    /// A successor was forked.
    Started,
    /// None could be.
    NotStarted,
    /// It has ended, and has not taken office.
    Ended(End),
}

/// How a successor can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// There was nothing new.
    Unchanged,
    /// What there is cannot be served.
    Refused,
    /// It was no time to look: files were being written.
    Unsettled,
    /// There is a new site, but the root's index is gone.
    LostIndex,
    /// By itself, or by others.
    Died,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Fork a successor.
    Start(Errand),
    /// Have former generations leave now.
    Cut,
}

/// What a successor is to keep in mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errand {
    /// Whether changes are waited out.
    pub patience: Patience,
    /// Whether the root's index may be gone.
    pub may_lose_index: bool,
}

/// The wish of a leader for a successor.
#[derive(Debug)]
pub struct Succession {
    pace: Pace,
    wish: Option<Wish>,
    /// When the one that runs was started, and what for.
    running: Option<(Instant, Wish)>,
    rescan_at: Instant,
    /// When the pause behind the last look is over.
    rested_at: Instant,
    backoff: Backoff,
    crowded_since: Option<Instant>,
    /// Since when nothing has moved in a folder that has lost its index.
    still_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Wish {
    /// When the first of the changes was noticed.
    since: Instant,
    due: Instant,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Something has changed, or it is time to look.
    Change,
    /// Somebody waits for it.
    Request,
    /// Nothing has moved for long.
    Vigil,
}

impl Succession {
    /// A leader that has just taken office, after a look that took this long.
    pub fn new(pace: Pace, look: Duration, now: Instant) -> Self {
        let pause = look.saturating_mul(PAUSE);
        Self {
            pace,
            wish: None,
            running: None,
            rescan_at: now + pace.rescan_interval.max(pause),
            rested_at: now + pause,
            backoff: Backoff::default(),
            crowded_since: None,
            still_since: None,
        }
    }

    /// Takes note of what happened.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Changed => {
                self.still_since = self.still_since.map(|_| now);
                let former = self.wish.filter(|wish| wish.kind != Kind::Vigil);
                let since = former.map_or(now, |wish| wish.since);
                if former.is_none_or(|wish| wish.kind == Kind::Change) {
                    let due = (now + self.pace.reload_debounce).min(since + DEBOUNCE_MAX).max(now);
                    self.wish = Some(Wish { since, due, kind: Kind::Change });
                }
            }
            Event::Asked => {
                let since = self.wish.map_or(now, |wish| wish.since);
                self.wish = Some(Wish { since, due: now, kind: Kind::Request });
            }
            Event::Started => {
                let wish = Wish { since: now, due: now, kind: Kind::Change };
                self.running = Some((now, self.wish.take().unwrap_or(wish)));
                self.crowded_since = None;
            }
            Event::NotStarted => {
                let wait = self.backoff.after(Duration::ZERO);
                if let Some(wish) = &mut self.wish {
                    wish.due = now + wait;
                }
            }
            Event::Ended(end) => {
                if let Some((started, wish)) = self.running.take() {
                    self.ended(end, started, wish, now);
                }
            }
        }
    }

    fn ended(&mut self, end: End, started: Instant, wish: Wish, now: Instant) {
        // How long a look takes that comes to nothing says nothing: a disk may not have answered.
        let look = match end {
            End::Unchanged => now.saturating_duration_since(started),
            _ => Duration::ZERO,
        };
        let pause = look.saturating_mul(PAUSE);
        self.rescan_at = now + self.pace.rescan_interval.max(pause);
        if end != End::Died {
            self.backoff = Backoff::default();
        }
        match end {
            End::Unchanged => (self.still_since, self.rested_at) = (None, now + pause),
            End::Refused => {}
            // Changes that go on and on are waited for only so long, counted from the first; then
            // another wait begins.
            End::Unsettled if now >= wish.since + DEBOUNCE_MAX => self.handle(Event::Changed, now),
            End::Unsettled => {
                let due = (now + self.pace.reload_debounce).min(wish.since + DEBOUNCE_MAX);
                self.wish_again(Wish { due, ..wish });
            }
            End::LostIndex => {
                let over = *self.still_since.get_or_insert(now) + VIGIL;
                let due = if over > now { over.min(now + VIGIL_PAUSE) } else { now + VIGIL_PAUSE };
                self.wish.get_or_insert(Wish { since: now, due, kind: Kind::Vigil });
            }
            End::Died => {
                let wait = self.backoff.after(Duration::ZERO);
                self.wish_again(Wish { due: now + wait, ..wish });
            }
        }
    }

    /// What was not fulfilled is wished for still, together with what came up meanwhile.
    fn wish_again(&mut self, former: Wish) {
        let is_request = self.wish.is_some_and(|wish| wish.kind == Kind::Request);
        let kind = if is_request { Kind::Request } else { former.kind };
        let since = self.wish.map_or(former.since, |wish| wish.since.min(former.since));
        self.wish = Some(Wish { since, due: former.due, kind });
    }

    /// What is to be done now; `has_room` is whether another generation can be started, or former
    /// ones have to leave first.
    pub fn poll_action(&mut self, has_room: bool, now: Instant) -> Option<Action> {
        if self.running.is_some() || now < self.due() {
            return None;
        }
        let wish = *self.wish.get_or_insert(Wish { since: now, due: now, kind: Kind::Change });
        if !has_room {
            let since = *self.crowded_since.get_or_insert(now);
            if now < since + self.pace.crowd_max {
                return None;
            }
            self.crowded_since = Some(now);
            return Some(Action::Cut);
        }
        let is_late = now >= wish.since + DEBOUNCE_MAX;
        let patience = if is_late { Patience::None } else { Patience::Some };
        let may_lose_index = self.still_since.is_some_and(|since| now >= since + VIGIL);
        Some(Action::Start(Errand { patience, may_lose_index }))
    }

    /// When there may be something to do, if nothing happens until then.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.running.is_none().then(|| self.due())
    }

    /// Whether something was noticed that nobody has looked at.
    pub fn has_wish(&self) -> bool {
        self.wish.is_some()
    }

    /// Whether somebody waits for the one that runs.
    pub fn is_on_request(&self) -> bool {
        self.running.is_some_and(|(_, wish)| wish.kind == Kind::Request)
    }

    /// How long the one that runs has been running.
    pub fn runs_for(&self, now: Instant) -> Option<Duration> {
        self.running.map(|(started, _)| now.saturating_duration_since(started))
    }

    fn due(&self) -> Instant {
        match self.wish {
            Some(Wish { due, kind: Kind::Request | Kind::Vigil, .. }) => due,
            Some(Wish { due, kind: Kind::Change, .. }) => due.max(self.rested_at),
            None => self.rescan_at,
        }
    }
}
