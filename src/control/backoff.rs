//! How long to wait before a process that died is started again.

use std::time::Duration;

/// What lives this long has started well.
const STARTED_WELL: Duration = Duration::from_secs(1);
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The waits of one post: the first restart is immediate, and only what dies again right after
/// its start has to wait, twice as long each time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// The wait before the next start, by how long the last one lived.
    pub fn after(&mut self, lived: Duration) -> Duration {
        let wait = if lived >= STARTED_WELL { Duration::ZERO } else { self.next };
        self.next = (wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_loop_is_slowed_down_and_a_good_start_forgives() {
        let mut backoff = Backoff::default();
        let mut wait = |lived| backoff.after(Duration::from_millis(lived)).as_millis();
        assert_eq!([wait(0), wait(0), wait(999), wait(0)], [0, 100, 200, 400]);
        for _ in 0..9 {
            wait(0);
        }
        assert_eq!(wait(0), 5000);
        assert_eq!([wait(1000), wait(0), wait(0)], [0, 100, 200]);
    }
}
