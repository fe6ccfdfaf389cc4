//! The system's clock, and a worker's own: that is read once a turn, and what heads end with is
//! made once a second.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::http::date::rest_of_second;
use crate::http::extra::Extra;
use crate::http::head::Endings;

/// How long 1970 is ago.
pub(super) fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// How long ago the system was booted, in seconds, pauses included (CLOCK_BOOTTIME).
pub(super) fn boot_seconds() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME);
    time.ok().and_then(|time| u64::try_from(time.tv_sec()).ok()).unwrap_or(0)
}

/// The same in milliseconds.
pub(super) fn millis() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}

/// The turns in which a process looks after others: one a second.
#[derive(Debug)]
pub(super) struct Turns {
    due: Instant,
}

/// How a turn has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    InTime,
    /// This process was paused, and so were the others, most likely.
    Late,
}

impl Turns {
    /// How long a turn takes.
    pub(super) const TIME: Duration = Duration::from_secs(1);

    /// Turns of which the first is due then.
    pub(super) fn begin(due: Instant) -> Self {
        Self { due }
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Takes the next one, if it is due.
    pub(super) fn next(&mut self, now: Instant) -> Option<Came> {
        if now < self.due {
            return None;
        }
        let came = if now > self.due + Self::TIME / 2 { Came::Late } else { Came::InTime };
        self.due = now + Self::TIME;
        Some(came)
    }
}

/// The time of a turn.
#[derive(Debug)]
pub(super) struct Clock {
    extra: &'static Extra,
    now: Instant,
    /// The same in milliseconds since 1970.
    millis: u64,
    endings: Endings,
    /// When their second is over.
    endings_until: Instant,
    /// When that is, in milliseconds since 1970.
    until_millis: u64,
}

impl Clock {
    /// A clock for heads that say this.
    pub(super) fn new(extra: &'static Extra) -> Self {
        let (now, time) = (Instant::now(), SystemTime::now());
        let endings = Endings::new(extra, time);
        let until_millis = (endings.second() + 1) * 1000;
        let endings_until = now + rest_of_second(time);
        let millis = millis_at(now, endings_until, until_millis);
        Self { extra, now, millis, endings, endings_until, until_millis }
    }

    /// Begins another turn. A system clock that is set meanwhile is noticed within a second.
    pub(super) fn tick(&mut self) {
        self.now = Instant::now();
        if self.now >= self.endings_until {
            *self = Self::new(self.extra);
        } else {
            self.millis = millis_at(self.now, self.endings_until, self.until_millis);
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// The same in milliseconds since 1970.
    pub(super) fn millis(&self) -> u64 {
        self.millis
    }

    pub(super) fn endings(&self) -> &Endings {
        &self.endings
    }
}

/// The time in milliseconds since 1970, by that of a moment to come.
fn millis_at(now: Instant, until: Instant, until_millis: u64) -> u64 {
    let left = until.saturating_duration_since(now).as_micros();
    until_millis.saturating_sub(u64::try_from(left.div_ceil(1000)).unwrap_or(0))
}
