//! The `Date` field's value, formatted once a second and not once an answer.

use std::fmt::Display;
use std::time::{Duration, SystemTime, UNIX_EPOCH};


/// A moment as an IMF-fixdate (RFC 9110 §5.6.7), with whole seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpDate {
    second: u64,
    text: String,
}

impl HttpDate {
    /// The date of `time`.
    pub fn new(time: SystemTime) -> Self {
        let second = whole_second(time);
        Self { second, text: imf_fixdate(second).to_string() }
    }

    /// Moves on to `time`; formats again only if the second is another one.
    pub fn refresh(&mut self, time: SystemTime) {
        let second = whole_second(time);
        if second != self.second {
            *self = Self { second, text: imf_fixdate(second).to_string() };
        }
    }

    /// The date in seconds since 1970.
    pub fn second(&self) -> u64 {
        self.second
    }

    /// The date as it is sent: 29 octets, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The seconds from 1970 to `time`; an earlier time counts as 1970.
fn whole_second(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A second since 1970 as an IMF-fixdate, clamped to the years that the format can spell.
pub fn imf_fixdate(second: u64) -> impl Display {
    const END_OF_9999: u64 = 253_402_300_799;
    httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(second.min(END_OF_9999)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_formatted_by_the_whole_second() {
        let time = UNIX_EPOCH + Duration::from_millis(784_111_777_900);
        let mut date = HttpDate::new(time);
        assert_eq!(date.as_str(), "Sun, 06 Nov 1994 08:49:37 GMT");
        date.refresh(time + Duration::from_millis(50));
        assert_eq!(date.as_str(), "Sun, 06 Nov 1994 08:49:37 GMT");
        date.refresh(time + Duration::from_millis(100));
        assert_eq!(date.as_str(), "Sun, 06 Nov 1994 08:49:38 GMT");
    }

    #[test]
    fn times_that_the_format_cannot_spell_are_clamped() {
        assert_eq!(imf_fixdate(u64::MAX).to_string(), "Fri, 31 Dec 9999 23:59:59 GMT");
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(HttpDate::new(before).as_str(), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
