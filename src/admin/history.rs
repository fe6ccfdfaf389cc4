//! The last minute, second by second: what rates and latencies are made of.

use std::collections::VecDeque;

use crate::scoreboard::{Counter, Role, Scoreboard, TOOK_MAX};

/// How many seconds are kept, and the one before them.
const KEPT: usize = 61;
/// Over how many of them a rate is taken.
const RATE: usize = 10;

/// The totals of the last minute.
#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<Sample>,
}

#[derive(Debug)]
struct Sample {
    millis: u64,
    totals: Totals,
    /// Answers by the slots of the scoreboard.
    answered: Vec<u64>,
}

/// What is looked at over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) answered: u64,
    pub(super) sent: u64,
    pub(super) lost_lines: u64,
    pub(super) deaths: u64,
    took: Vec<u64>,
}

impl Totals {
    pub(super) fn of(board: Scoreboard<'_>) -> Self {
        let died = |role: &Role| {
            let causes = crate::scoreboard::Cause::ALL.iter();
            causes.map(|&cause| board.total(Counter::Died(*role, cause))).sum::<u64>()
        };
        Self {
            answered: board.total(Counter::Answered),
            sent: board.total(Counter::Sent),
            lost_lines: board.total(Counter::LostLines),
            deaths: Role::ALL.iter().map(died).sum(),
            took: (0..=TOOK_MAX.len()).map(|at| board.total(Counter::Took(at))).collect(),
        }
    }
}

impl History {
    /// Takes note of a turn.
    pub fn note(&mut self, board: Scoreboard<'_>, millis: u64) {
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        let answered = board.slots().map(|(_, slot)| slot.count(Counter::Answered)).collect();
        self.samples.push_back(Sample { millis, totals: Totals::of(board), answered });
    }

    /// How much more there is now of what `get` takes out of the totals than a minute ago.
    pub(super) fn in_last_minute(&self, now: &Totals, get: fn(&Totals) -> u64) -> u64 {
        let before = self.samples.front().map_or(0, |sample| get(&sample.totals));
        get(now).saturating_sub(before)
    }

    /// How much of it comes in a second.
    pub(super) fn rate(&self, now: &Totals, millis: u64, get: fn(&Totals) -> u64) -> u64 {
        let Some(sample) = self.lately() else { return 0 };
        per_second(get(now).saturating_sub(get(&sample.totals)), millis, sample.millis)
    }

    /// How many answers the process in a slot gives in a second.
    pub(super) fn slot_rate(&self, slot: usize, answered: u64, millis: u64) -> u64 {
        let Some(sample) = self.lately() else { return 0 };
        let before = sample.answered.get(slot).copied().unwrap_or(answered);
        per_second(answered.saturating_sub(before), millis, sample.millis)
    }

    fn lately(&self) -> Option<&Sample> {
        self.samples.get(self.samples.len().saturating_sub(RATE + 1))
    }

    /// The time in seconds that `share` of a hundred answers of the last minute took at most; none
    /// if there were none. Infinite if it is longer than all that are told apart.
    pub(super) fn latency(&self, now: &Totals, share: u64) -> Option<f64> {
        let before = self.samples.front().map(|sample| &sample.totals.took);
        let counts: Vec<u64> = now
            .took
            .iter()
            .enumerate()
            .map(|(at, &count)| count - before.map_or(0, |before| before[at].min(count)))
            .collect();
        let all: u64 = counts.iter().sum();
        let wanted = (all * share).div_ceil(100).max(1);
        let mut sum = 0;
        let at = counts.iter().position(|count| {
            sum += count;
            sum >= wanted
        })?;
        Some(TOOK_MAX.get(at).map_or(f64::INFINITY, |&(_, seconds)| seconds))
    }
}

fn per_second(count: u64, until: u64, since: u64) -> u64 {
    count * 1000 / until.saturating_sub(since).max(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_latencies_are_those_of_the_last_seconds() {
        let board = Scoreboard::leaked(2, 0);
        let slot = board.own_slot(0);
        let mut history = History::default();
        assert_eq!(history.latency(&Totals::of(board), 50), None);
        for second in 0..100 {
            // Ten a second, and in the last ten seconds a hundred.
            let count = if second < 90 { 10 } else { 100 };
            slot.add(Counter::Answered, count);
            slot.add(Counter::Took(0), count - 1);
            slot.add(Counter::Took(3), 1);
            history.note(board, second * 1000);
        }
        let now = Totals::of(board);
        assert_eq!(history.rate(&now, 99_000, |totals| totals.answered), 100);
        let answered = slot.count(Counter::Answered);
        assert_eq!(history.slot_rate(0, answered, 99_000), 100);
        assert_eq!(history.slot_rate(1, 0, 99_000), 0);
        let in_minute = history.in_last_minute(&now, |totals| totals.answered);
        assert_eq!(in_minute, 50 * 10 + 10 * 100);
        assert_eq!(history.latency(&now, 50), Some(0.0001));
        assert_eq!(history.latency(&now, 99), Some(0.005));
    }
}
