//! A worker's clock. It is read once a turn, and the date is made once a second.

use std::time::{Instant, SystemTime};

use crate::http::date::{HttpDate, rest_of_second};

/// The time of a turn, and its date.
#[derive(Debug)]
pub(super) struct Clock {
    now: Instant,
    date: HttpDate,
    /// When the date's second is over.
    date_until: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        let (now, time) = (Instant::now(), SystemTime::now());
        let date = HttpDate::new(time);
        let date_until = now + rest_of_second(time);
        Self { now, date, date_until }
    }

    /// Begins another turn. A system clock that is set meanwhile is noticed within a second.
    pub(super) fn tick(&mut self) {
        self.now = Instant::now();
        if self.now >= self.date_until {
            *self = Self::new();
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    pub(super) fn date(&self) -> &HttpDate {
        &self.date
    }
}
