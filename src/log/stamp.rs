//! A second as logs spell it, made once for all lines of that second.

use std::time::{Duration, UNIX_EPOCH};

use crate::http::date::imf_fixdate;

/// A second since 1970.
#[derive(Debug)]
pub(super) struct Stamp {
    second: u64,
    /// `1994-11-06T08:49:37`
    day_and_time: String,
    /// `06/Nov/1994:08:49:37 +0000`
    common: String,
}

impl Stamp {
    pub(super) fn new(second: u64) -> Self {
        let time = UNIX_EPOCH + Duration::from_secs(second);
        let mut day_and_time = humantime::format_rfc3339_seconds(time).to_string();
        day_and_time.pop();
        // Sun, 06 Nov 1994 08:49:37 GMT
        let date = imf_fixdate(second).to_string();
        let (day, month, year, time) = (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
        let common = [day, "/", month, "/", year, ":", time, " +0000"].concat();
        Self { second, day_and_time, common }
    }

    pub(super) fn is_of(&self, second: u64) -> bool {
        self.second == second
    }

    /// Adds a time of that second, `1994-11-06T08:49:37.042Z` (RFC 3339 §5.6), to `out`.
    pub(super) fn push_moment(&self, millis: u64, out: &mut Vec<u8>) {
        let digit = |place: u64| b"0123456789"[usize::try_from(millis / place % 10).unwrap_or(0)];
        out.extend_from_slice(self.day_and_time.as_bytes());
        out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1), b'Z']);
    }

    /// `06/Nov/1994:08:49:37 +0000`, as the common log format has it.
    pub(super) fn common(&self) -> &str {
        &self.common
    }

    /// `08:49:37`
    pub(super) fn clock(&self) -> &str {
        self.day_and_time.split_once('T').map_or("", |(_, time)| time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_spelled_in_three_ways() {
        let stamp = Stamp::new(784_111_777);
        let mut out = Vec::new();
        stamp.push_moment(784_111_777_042, &mut out);
        assert_eq!(out, b"1994-11-06T08:49:37.042Z");
        assert_eq!(stamp.common(), "06/Nov/1994:08:49:37 +0000");
        assert_eq!(stamp.clock(), "08:49:37");
        assert!(stamp.is_of(784_111_777) && !stamp.is_of(784_111_778));
    }
}
