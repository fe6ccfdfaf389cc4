//! Dates, which HTTP tells in whole seconds.

use std::fmt::Display;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The seconds since 1970 at a time; a time before 1970 counts as 1970.
pub fn second(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How long it is from `time` to the next whole second of the system's clock: until then a date
/// stays what it is.
pub fn rest_of_second(time: SystemTime) -> Duration {
    let nanoseconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    Duration::from_secs(1) - Duration::from_nanos(u64::from(nanoseconds))
}

/// A second since 1970 as an IMF-fixdate (RFC 9110 §5.6.7), clamped to the years that it can spell.
pub fn imf_fixdate(second: u64) -> impl Display {
    const END_OF_9999: u64 = 253_402_300_799;
    httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(second.min(END_OF_9999)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_holds_for_a_whole_second() {
        let time = UNIX_EPOCH + Duration::from_millis(784_111_777_900);
        assert_eq!(imf_fixdate(second(time)).to_string(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(rest_of_second(time), Duration::from_millis(100));
        let next = time + rest_of_second(time);
        assert_eq!(second(next), second(time) + 1);
        assert_eq!(rest_of_second(next), Duration::from_secs(1));
    }

    #[test]
    fn times_that_the_format_cannot_spell_are_clamped() {
        assert_eq!(imf_fixdate(u64::MAX).to_string(), "Fri, 31 Dec 9999 23:59:59 GMT");
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(second(before), 0);
    }
}
