//! The board: what the processes know of each other, in memory that all of them share.
//!
//! It is a table of words. The first part is about tine as a whole. Each row behind it belongs to
//! one live process, which alone counts there: no lock is needed, and no write waits for another.
//! Counters are never set back: whoever has a row next adds on, and the total is the sum over all
//! rows, whoever has died meanwhile.
//!
//! ```text
//! free ──claim──► claimed by a parent ──take──► held by its child ──bury──► free
//!                       └──────── unclaim, or bury(parent) ─────────────────┘
//! ```
//!
//! A row is claimed before the fork and taken after it, so that none is lost whoever dies in
//! between: a parent's death frees what it only claimed, and a child whose row is gone by then
//! finds out and leaves.

mod counter;
mod row;
mod said;

use std::sync::atomic::{AtomicU64, Ordering};

pub use counter::{Asked, Cause, Class, Counter, Ending, Rejection, TOOK_MAX};
pub use row::Row;
use row::{Holder, ROW};
pub use said::{Facts, Look, Outcome, Phase, Role};

/// Words of the part that is about tine as a whole.
const WHOLE: usize = 2 * ROW;

const SERVING: usize = 0;
const LAST_GENERATION: usize = 1;
const LEADER: usize = 2;
const RELOADS: usize = 3;
const CUT: usize = 4;
const SETTLED: usize = 5;
const PHASE: usize = 6;
const LOST_NOTICES: usize = 7;
const CPU: usize = 8;
const FACTS: usize = 9;
/// Looks at the folder of which word is kept, the oldest behind the newest.
const LOOKS: usize = 16;
const NEXT_LOOK: usize = 15;
const LOOK: usize = 4;
const LOOKS_MAX: usize = 8;
/// Why the last look was refused, as text.
const REASON: usize = LOOKS + LOOK * LOOKS_MAX;
const REASON_MAX: usize = WHOLE - REASON;

/// The board; a copy is a view of the same words.
#[derive(Clone, Copy, Debug)]
pub struct Board<'w> {
    words: &'w [AtomicU64],
}

impl<'w> Board<'w> {
    /// How many words a board with this many rows for processes has.
    pub const fn words(rows: usize) -> usize {
        WHOLE + rows * ROW
    }

    /// A board on words that are zero, or that are a board already.
    pub fn new(words: &'w [AtomicU64]) -> Self {
        debug_assert!(words.len() >= Self::words(1), "a board without rows");
        Self { words }
    }

    /// The generation that serves; 0 before there is one.
    pub fn serving(&self) -> u64 {
        self.words[SERVING].load(Ordering::Acquire)
    }

    /// Says that `generation` serves from now on.
    pub fn serve(&self, generation: u64) {
        debug_assert!(generation > self.serving(), "a generation came back");
        self.words[SERVING].store(generation, Ordering::Release);
    }

    /// A number that no generation has had yet.
    pub fn next_generation(&self) -> u64 {
        self.words[LAST_GENERATION].fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The process that leads: whoever else did finds here that it does not any more.
    pub fn leader(&self) -> i32 {
        let pid = self.words[LEADER].load(Ordering::Acquire);
        i32::try_from(pid).unwrap_or(0)
    }

    /// Says who leads from now on.
    pub fn lead(&self, pid: i32) {
        self.words[LEADER].store(pid.cast_unsigned().into(), Ordering::Release);
    }

    /// How far tine is on its way.
    pub fn phase(&self) -> Phase {
        let word = self.words[PHASE].load(Ordering::Acquire);
        Phase::ALL.iter().copied().find(|&phase| phase as u64 == word).unwrap_or(Phase::Serving)
    }

    /// Says how far tine is on its way.
    pub fn set_phase(&self, phase: Phase) {
        self.words[PHASE].store(phase as u64, Ordering::Release);
    }

    /// Asks for a look at the folder; how often that was asked for, this time included.
    pub fn ask_reload(&self) -> u64 {
        self.words[RELOADS].fetch_add(1, Ordering::Release) + 1
    }

    /// How often that was asked for.
    pub fn reloads(&self) -> u64 {
        self.words[RELOADS].load(Ordering::Acquire)
    }

    /// Takes note of what a look at the folder has come to, and how often one was asked for before
    /// it began.
    pub fn settle(&self, reloads: u64, outcome: Outcome) {
        self.words[SETTLED].store(reloads << 8 | outcome as u64, Ordering::Release);
    }

    /// What the last look has come to, and how often one was asked for before it began.
    pub fn settled(&self) -> (u64, Outcome) {
        let word = self.words[SETTLED].load(Ordering::Acquire);
        (word >> 8, Outcome::of(word & 0xff))
    }

    /// What the last look at the folder has come to.
    pub fn outcome(&self) -> Outcome {
        self.settled().1
    }

    /// Says why a look was refused; what is too long is cut.
    pub fn set_reason(&self, reason: &str) {
        let mut bytes = reason.as_bytes().chunks(8);
        for word in &self.words[REASON..REASON + REASON_MAX] {
            let mut octets = [0; 8];
            let part = bytes.next().unwrap_or_default();
            octets[..part.len()].copy_from_slice(part);
            word.store(u64::from_le_bytes(octets), Ordering::Relaxed);
        }
    }

    /// Why the last look that was refused was.
    pub fn reason(&self) -> String {
        let words = self.words[REASON..REASON + REASON_MAX].iter();
        let octets: Vec<u8> =
            words.flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        let end = octets.iter().position(|&octet| octet == 0).unwrap_or(octets.len());
        String::from_utf8_lossy(&octets[..end]).into_owned()
    }

    /// Keeps word of a look. To be called by whoever leads, alone.
    pub fn log_look(&self, look: Look) {
        let number = self.words[NEXT_LOOK].fetch_add(1, Ordering::Relaxed);
        let place = place_of(number);
        let words = [look.at, look.outcome as u64, look.generation, look.changed];
        for (word, value) in self.words[place..].iter().zip(words) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// The last looks, the newest first.
    pub fn looks(&self) -> impl Iterator<Item = Look> + use<'w> {
        let words = self.words;
        let get = move |word: usize| words[word].load(Ordering::Relaxed);
        let next = get(NEXT_LOOK);
        (next.saturating_sub(LOOKS_MAX as u64)..next).rev().map(move |number| {
            let place = place_of(number);
            let [at, outcome, generation, changed] = [0, 1, 2, 3].map(|word| get(place + word));
            Look { at, outcome: Outcome::of(outcome), generation, changed }
        })
    }

    /// Says what the generation that serves is.
    pub fn set_facts(&self, facts: Facts) {
        let Facts { files, bytes, held, twins, took, since } = facts;
        for (word, value) in
            self.words[FACTS..].iter().zip([files, bytes, held, twins, took, since])
        {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// What the generation that serves is.
    pub fn facts(&self) -> Facts {
        let get = |word: usize| self.words[FACTS + word].load(Ordering::Relaxed);
        let [files, bytes, held, twins, took, since] = [0, 1, 2, 3, 4, 5].map(get);
        Facts { files, bytes, held, twins, took, since }
    }

    /// Takes note of CPU time that was used, in ticks; the most that was ever noted.
    pub fn raise_cpu(&self, ticks: u64) -> u64 {
        self.words[CPU].fetch_max(ticks, Ordering::Relaxed).max(ticks)
    }

    /// Takes note of a line of tine's own that was not written.
    pub fn lose_notice(&self) {
        self.words[LOST_NOTICES].fetch_add(1, Ordering::Relaxed);
    }

    /// How many lines of tine's own were not written.
    pub fn lost_notices(&self) -> u64 {
        self.words[LOST_NOTICES].load(Ordering::Relaxed)
    }

    /// Has the workers of this generation, and of all before it, leave at once.
    pub fn cut(&self, generation: u64) {
        self.words[CUT].fetch_max(generation + 1, Ordering::Relaxed);
    }

    /// Whether a generation is to leave at once.
    pub fn is_cut(&self, generation: u64) -> bool {
        self.words[CUT].load(Ordering::Relaxed) > generation
    }

    /// How many rows nobody has.
    pub fn free(&self) -> usize {
        self.rows().filter(Row::is_free).count()
    }

    /// Whether there are rows for the next generation, and for one more should its leader die.
    pub fn has_room(&self, workers: usize) -> bool {
        self.free() >= 2 * (1 + workers)
    }

    /// The row that a child has.
    pub fn row_of(&self, child: i32) -> Option<Row<'w>> {
        self.rows().find(|row| row.holder() == Some(child))
    }

    /// The rows of processes, had by somebody or not.
    pub fn rows(&self) -> impl Iterator<Item = Row<'w>> + use<'w> {
        self.words[WHOLE..].chunks_exact(ROW).map(|words| Row { words })
    }

    /// Claims a row for a child that `parent` is about to fork; none if all are in use.
    pub fn claim(&self, parent: i32) -> Option<Row<'w>> {
        self.rows().find(|row| row.change(Holder::Nobody, Holder::Parent(parent)))
    }

    /// Frees what `dead` held or had claimed. To be called before it is reaped: until then no
    /// other process can have its pid.
    pub fn bury(&self, dead: i32) {
        for row in self.rows() {
            if row.holder() == Some(dead) {
                row.clear();
                row.change(Holder::Child(dead), Holder::Nobody);
            } else {
                row.change(Holder::Parent(dead), Holder::Nobody);
            }
        }
    }

    /// The sums of all counters over all rows, by their places.
    pub fn totals(&self) -> Vec<u64> {
        let mut totals = vec![0; Counter::COUNT];
        for row in self.rows() {
            totals.iter_mut().zip(row.counts()).for_each(|(total, count)| *total += count);
        }
        totals
    }

    /// The sum of a counter over all rows. It never falls.
    pub fn total(&self, counter: Counter) -> u64 {
        self.rows().map(|row| row.count(counter)).sum()
    }
}

/// Where word of a look is kept.
#[expect(clippy::cast_possible_truncation, reason = "it is less than LOOKS_MAX")]
fn place_of(number: u64) -> usize {
    LOOKS + (number % LOOKS_MAX as u64) as usize * LOOK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(rows: usize) -> Vec<AtomicU64> {
        (0..Board::words(rows)).map(|_| AtomicU64::new(0)).collect()
    }

    fn in_use(board: Board<'_>) -> usize {
        board.rows().filter(|row| !row.is_free()).count()
    }

    #[test]
    fn a_row_goes_from_parent_to_child_and_back() {
        let words = words(2);
        let board = Board::new(&words);
        let row = board.claim(1).unwrap();
        assert_eq!(row.holder(), None);
        assert!(row.take(1, 10));
        assert_eq!(row.holder(), Some(10));
        assert!(!row.take(1, 11), "it is taken once");
        board.claim(1).unwrap();
        assert!(board.claim(1).is_none(), "two rows are all there are");
        board.bury(10);
        assert_eq!(in_use(board), 1);
        board.claim(1).unwrap().unclaim(1);
        assert_eq!(in_use(board), 1);
    }

    #[test]
    fn a_dead_parent_leaves_no_claim_and_its_late_child_no_row() {
        let words = words(2);
        let board = Board::new(&words);
        let (early, late) = (board.claim(1).unwrap(), board.claim(1).unwrap());
        assert!(early.take(1, 10));
        board.bury(1);
        assert!(!late.take(1, 11));
        assert_eq!(early.holder(), Some(10));
        let again = board.claim(2).unwrap();
        assert!(!late.take(1, 11), "what another has claimed is not taken");
        assert!(again.take(2, 20));
        early.unclaim(1);
        assert_eq!(early.holder(), Some(10), "what is taken is not given back");
    }

    #[test]
    fn counters_outlive_their_holder_and_readiness_does_not() {
        let words = words(1);
        let board = Board::new(&words);
        for pid in [10, 11] {
            let row = board.claim(1).unwrap();
            assert!(row.take(1, pid));
            assert!(!row.is_ready());
            row.set_ready();
            row.add(Counter::Answered, 3);
            board.bury(pid);
        }
        assert_eq!(board.total(Counter::Answered), 6);
        assert_eq!(board.total(Counter::Sent), 0);
    }

    #[test]
    fn generations_have_numbers_of_their_own() {
        let words = words(1);
        let board = Board::new(&words);
        assert_eq!((board.serving(), board.next_generation(), board.next_generation()), (0, 1, 2));
        board.serve(2);
        assert_eq!((board.serving(), board.outcome()), (2, Outcome::None));
    }

    #[test]
    fn what_a_look_came_to_can_be_read_again() {
        let words = words(1);
        let board = Board::new(&words);
        assert_eq!((board.settled(), board.reason()), ((0, Outcome::None), String::new()));
        assert_eq!((board.ask_reload(), board.ask_reload(), board.reloads()), (1, 2, 2));
        for &outcome in Outcome::ALL {
            board.settle(70_000, outcome);
            assert_eq!((board.settled(), board.outcome()), ((70_000, outcome), outcome));
        }
        board.set_reason(&"a long reason ".repeat(99));
        assert_eq!(board.reason().len(), REASON_MAX * 8);
        board.set_reason("no folder");
        assert_eq!(board.reason(), "no folder");
        for generation in 1..=20 {
            let outcome = Outcome::Ready;
            board.log_look(Look { at: generation * 10, outcome, generation, changed: 3 });
        }
        let looks: Vec<_> = board.looks().map(|look| (look.generation, look.at)).collect();
        assert_eq!(looks.len(), LOOKS_MAX);
        assert_eq!((looks[0], looks[LOOKS_MAX - 1]), ((20, 200), (13, 130)));
        let facts = Facts { files: 1, bytes: 2, held: 3, twins: 4, took: 5, since: 6 };
        board.set_facts(facts);
        assert_eq!((board.facts(), board.reason().as_str()), (facts, "no folder"));
    }
}
