//! The board: what the processes know of each other, in memory that all of them share.
//!
//! It is a table of words. The first row is about tine as a whole. Each of the others belongs to
//! one live process, which alone writes there: no lock is needed, and no write waits for another.
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

use std::sync::atomic::{AtomicU64, Ordering};

/// Words in a row: two pairs of cache lines, since processors fetch lines in pairs.
const ROW: usize = 32;

/// Where things stand in the first row.
const SERVING: usize = 0;
const LAST_GENERATION: usize = 1;
const LEADER: usize = 2;
const RELOADS: usize = 3;
const CUT: usize = 4;
const OUTCOME: usize = 5;

/// Where things stand in the other rows.
const HOLDER: usize = 0;
const BEATS: usize = 1;
const READY: usize = 2;
const COUNTERS: usize = 3;

/// What a process counts from its start on. The names are also the order on the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Connections that were accepted.
    Accepted,
    /// Answers that were sent whole.
    Answered,
    /// Bytes that were sent.
    Sent,
    /// Files that were not what they were when they were compiled.
    Doubted,
}

/// What looks at the folder come to. The numbers are those on the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was none yet.
    None,
    /// Another generation.
    Ready,
    /// The same site.
    Unchanged,
    /// A site that cannot be served.
    Refused,
    /// A site that has lost its index, which has to last first.
    LostIndex,
}

impl Outcome {
    const ALL: [Self; 5] =
        [Self::None, Self::Ready, Self::Unchanged, Self::Refused, Self::LostIndex];
}

/// The board; a copy is a view of the same words.
#[derive(Clone, Copy, Debug)]
pub struct Board<'w> {
    words: &'w [AtomicU64],
}

/// A row of the board.
#[derive(Clone, Copy, Debug)]
pub struct Row<'w> {
    words: &'w [AtomicU64],
}

/// Who has a row, as one word: two processes cannot both be written there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    Nobody,
    /// For a child that it is about to fork.
    Parent(i32),
    Child(i32),
}

impl Holder {
    const PARENT: u64 = 1;
    const CHILD: u64 = 2;

    const fn word(self) -> u64 {
        match self {
            Self::Nobody => 0,
            Self::Parent(pid) => Self::PARENT << 32 | pid.cast_unsigned() as u64,
            Self::Child(pid) => Self::CHILD << 32 | pid.cast_unsigned() as u64,
        }
    }
}

impl<'w> Board<'w> {
    /// How many words a board with this many rows for processes has.
    pub const fn words(rows: usize) -> usize {
        (1 + rows) * ROW
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

    /// Asks for a look at the folder.
    pub fn ask_reload(&self) {
        self.words[RELOADS].fetch_add(1, Ordering::Release);
    }

    /// How often that was asked for.
    pub fn reloads(&self) -> u64 {
        self.words[RELOADS].load(Ordering::Acquire)
    }

    /// Has the workers of this generation, and of all before it, leave at once.
    pub fn cut(&self, generation: u64) {
        self.words[CUT].fetch_max(generation + 1, Ordering::Relaxed);
    }

    /// Whether a generation is to leave at once.
    pub fn is_cut(&self, generation: u64) -> bool {
        self.words[CUT].load(Ordering::Relaxed) > generation
    }

    /// Takes note of what the last look at the folder has come to.
    pub fn set_outcome(&self, outcome: Outcome) {
        self.words[OUTCOME].store(outcome as u64, Ordering::Relaxed);
    }

    /// What the last look at the folder has come to.
    pub fn outcome(&self) -> Outcome {
        let word = self.words[OUTCOME].load(Ordering::Relaxed);
        Outcome::ALL.into_iter().find(|&outcome| outcome as u64 == word).unwrap_or(Outcome::None)
    }

    /// How many rows nobody has.
    pub fn free(&self) -> usize {
        self.rows().filter(Row::is_free).count()
    }

    /// The row that a child has.
    pub fn row_of(&self, child: i32) -> Option<Row<'w>> {
        self.rows().find(|row| row.holder() == Some(child))
    }

    /// The rows of processes, had by somebody or not.
    pub fn rows(&self) -> impl Iterator<Item = Row<'w>> + use<'w> {
        self.words.chunks_exact(ROW).skip(1).map(|words| Row { words })
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
                row.set(READY, 0);
                row.change(Holder::Child(dead), Holder::Nobody);
            } else {
                row.change(Holder::Parent(dead), Holder::Nobody);
            }
        }
    }

    /// The sum of a counter over all rows. It never falls.
    pub fn total(&self, counter: Counter) -> u64 {
        self.rows().map(|row| row.get(COUNTERS + counter as usize)).sum()
    }
}

impl Row<'_> {
    /// Takes the row that `parent` has claimed; false if the parent died meanwhile and the row is
    /// not to be had any more.
    #[must_use]
    pub fn take(&self, parent: i32, child: i32) -> bool {
        self.change(Holder::Parent(parent), Holder::Child(child))
    }

    /// Gives back a row that was claimed by `parent` and never taken.
    pub fn unclaim(&self, parent: i32) {
        self.change(Holder::Parent(parent), Holder::Nobody);
    }

    /// The child that has this row, dead or alive.
    pub fn holder(&self) -> Option<i32> {
        let word = self.get(HOLDER);
        let pid = word & u64::from(u32::MAX);
        if word >> 32 == Holder::CHILD { i32::try_from(pid).ok() } else { None }
    }

    fn is_free(&self) -> bool {
        self.get(HOLDER) == Holder::Nobody.word()
    }

    /// Gives a sign of life.
    pub fn beat(&self) {
        self.set(BEATS, self.get(BEATS).wrapping_add(1));
    }

    /// How many signs of life there were; only that it changes means something.
    pub fn beats(&self) -> u64 {
        self.get(BEATS)
    }

    /// Says that the holder is ready for its work.
    pub fn set_ready(&self) {
        self.words[READY].store(1, Ordering::Release);
    }

    /// Whether the holder is ready for its work.
    pub fn is_ready(&self) -> bool {
        self.words[READY].load(Ordering::Acquire) != 0
    }

    /// Adds to a counter. Its one writer needs no locked instruction for that.
    pub fn add(&self, counter: Counter, amount: u64) {
        let word = COUNTERS + counter as usize;
        self.set(word, self.get(word).wrapping_add(amount));
    }

    fn get(&self, word: usize) -> u64 {
        self.words[word].load(Ordering::Relaxed)
    }

    fn set(&self, word: usize, value: u64) {
        self.words[word].store(value, Ordering::Relaxed);
    }

    fn change(&self, from: Holder, to: Holder) -> bool {
        let (from, to) = (from.word(), to.word());
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        self.words[HOLDER].compare_exchange(from, to, success, failure).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(rows: usize) -> Vec<AtomicU64> {
        (0..Board::words(rows)).map(|_| AtomicU64::new(0)).collect()
    }

    fn in_use(board: Board<'_>) -> usize {
        board.rows().filter(|row| row.get(HOLDER) != 0).count()
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
        for outcome in Outcome::ALL {
            board.set_outcome(outcome);
            assert_eq!(board.outcome(), outcome);
        }
    }
}
