//! A row of the board: what one process says of itself.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Counter, Role};

/// Words in a row: whole pairs of cache lines, since processors fetch lines in pairs.
pub(super) const ROW: usize = 96;

const HOLDER: usize = 0;
const BEATS: usize = 1;
const READY: usize = 2;
const ROLE: usize = 3;
const GENERATION: usize = 4;
const OPEN: usize = 5;
const COUNTERS: usize = 6;

const _: () = assert!(COUNTERS + Counter::COUNT <= ROW, "more is counted than there is room for");

/// A row of the board.
#[derive(Clone, Copy, Debug)]
pub struct Row<'w> {
    pub(super) words: &'w [AtomicU64],
}

/// Who has a row, as one word: two processes cannot both be written there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
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

    pub(super) fn is_free(&self) -> bool {
        self.get(HOLDER) == Holder::Nobody.word()
    }

    /// Clears what the holder said of the moment, before the row is free again.
    pub(super) fn clear(&self) {
        for word in [READY, OPEN] {
            self.set(word, 0);
        }
    }

    /// Says what the holder does, and for which generation.
    pub fn set_role(&self, role: Role, generation: u64) {
        self.set(ROLE, role as u64);
        self.set(GENERATION, generation);
    }

    /// What the holder does.
    pub fn role(&self) -> Option<Role> {
        let word = self.get(ROLE);
        Role::ALL.iter().copied().find(|&role| role as u64 == word)
    }

    /// The generation that the holder belongs to.
    pub fn generation(&self) -> u64 {
        self.get(GENERATION)
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

    /// Says how many connections the holder has now.
    pub fn set_open(&self, connections: usize) {
        self.set(OPEN, connections as u64);
    }

    /// How many connections the holder has.
    pub fn open(&self) -> u64 {
        self.get(OPEN)
    }

    /// Adds to a counter. Its one writer needs no locked instruction for that.
    pub fn add(&self, counter: Counter, amount: u64) {
        let word = COUNTERS + counter.place();
        self.set(word, self.get(word).wrapping_add(amount));
    }

    /// What the row's holders have counted so far.
    pub fn count(&self, counter: Counter) -> u64 {
        self.get(COUNTERS + counter.place())
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        self.words[COUNTERS..].iter().map(|word| word.load(Ordering::Relaxed))
    }

    pub(super) fn change(&self, from: Holder, to: Holder) -> bool {
        let (from, to) = (from.word(), to.word());
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        self.words[HOLDER].compare_exchange(from, to, success, failure).is_ok()
    }

    fn get(&self, word: usize) -> u64 {
        self.words[word].load(Ordering::Relaxed)
    }

    fn set(&self, word: usize, value: u64) {
        self.words[word].store(value, Ordering::Relaxed);
    }
}
