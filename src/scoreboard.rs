//! The scoreboard: what the processes know of each other, in memory that all of them read.
//!
//! ```text
//! control   the master writes it: shutdown phase, cut, role and pid of each slot
//! compiler  the compiler writes it: the published site image, reload results, statistics
//! slot 0    the master writes it
//! slot 1…   one for each child, which alone writes it: heartbeat, generation, counters, pins
//! ```
//!
//! Each part begins at a page, so that a process can be left with the right to write its own parts
//! only. Every word has one writer at a time: no lock is needed, and no write waits for another.
//! Counters are never set back: the next process in a slot adds on, and the total is the sum over
//! all slots.
//!
//! Most of this memory is mapped read-only, where std promises no more than relaxed loads
//! (`std::sync::atomic`); a fence follows where order matters.

mod compiler;
mod control;
mod counter;
mod slot;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering, fence};

pub use compiler::{CompilerPage, ReloadResult, ScanRecord, SiteStats};
pub use control::{Control, Phase, Role};
pub use counter::{Asked, Cause, Class, Counter, Ending, Rejection, TOOK_MAX};
pub use slot::{Slot, SlotView};

/// Where the parts are: places and lengths in words, each of whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    control_end: usize,
    compiler_end: usize,
    slot_len: usize,
    slots: usize,
}

impl Layout {
    /// A scoreboard with this many slots, of which each can pin this many ranges; `page_size` is in
    /// bytes.
    pub fn new(page_size: usize, slots: usize, pins: usize) -> Self {
        let page_words = page_size / size_of::<u64>();
        let pages = |words: usize| words.next_multiple_of(page_words);
        let control_end = pages(control::words(slots));
        let compiler_end = control_end + pages(compiler::WORDS);
        Self { control_end, compiler_end, slot_len: pages(slot::PINS + pins), slots }
    }

    /// How many slots there are, the master's own among them.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// How many words there are in all.
    pub fn words(&self) -> usize {
        self.slot(self.slots).start
    }

    /// The words of the master's part.
    pub fn control(&self) -> Range<usize> {
        0..self.control_end
    }

    /// The words of the compiler's part.
    pub fn compiler(&self) -> Range<usize> {
        self.control_end..self.compiler_end
    }

    /// The words of a slot.
    pub fn slot(&self, number: usize) -> Range<usize> {
        let start = self.compiler_end + number * self.slot_len;
        start..start + self.slot_len
    }
}

/// The scoreboard as any process reads it; a copy is a view of the same words.
#[derive(Clone, Copy, Debug)]
pub struct Scoreboard<'w> {
    layout: Layout,
    words: &'w [AtomicU64],
}

impl<'w> Scoreboard<'w> {
    /// A scoreboard on words that are zero, or that are one already.
    ///
    /// # Panics
    /// If there are fewer words than the layout has.
    pub fn new(layout: Layout, words: &'w [AtomicU64]) -> Self {
        assert!(words.len() >= layout.words(), "too few words for a scoreboard");
        Self { layout, words }
    }

    /// A scoreboard on words of this process's own heap, which live as long as it.
    pub fn leaked(slots: usize, pins: usize) -> Scoreboard<'static> {
        let layout = Layout::new(size_of::<u64>(), slots, pins);
        let words: Vec<_> = (0..layout.words()).map(|_| AtomicU64::new(0)).collect();
        Scoreboard::new(layout, Vec::leak(words))
    }

    /// Where its parts are.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// What the master says.
    pub fn control(&self) -> Control<'w> {
        Control::new(&self.words[self.layout.control()])
    }

    /// What the compiler says.
    pub fn compiler(&self) -> CompilerPage<'w> {
        CompilerPage::new(&self.words[self.layout.compiler()])
    }

    /// What the process in a slot says.
    pub fn slot(&self, number: usize) -> SlotView<'w> {
        SlotView::new(&self.words[self.layout.slot(number)])
    }

    /// A slot, to be written by the process that it belongs to.
    pub fn own_slot(&self, number: usize) -> Slot<'w> {
        Slot::new(&self.words[self.layout.slot(number)])
    }

    /// All slots, in use or not, by their numbers.
    pub fn slots(&self) -> impl Iterator<Item = (usize, SlotView<'w>)> + use<'w> {
        let board = *self;
        (0..self.layout.slots).map(move |number| (number, board.slot(number)))
    }

    /// The processes: the slot of each, its number, its role and its pid.
    pub fn processes(&self) -> impl Iterator<Item = Process<'w>> + use<'w> {
        let control = self.control();
        self.slots().filter_map(move |(number, slot)| {
            let (role, pid) = control.holder(number)?;
            Some(Process { number, slot, role, pid })
        })
    }

    /// The sums of all counters over all slots, by their places.
    pub fn totals(&self) -> Vec<u64> {
        let mut totals = vec![0; Counter::COUNT];
        for (_, slot) in self.slots() {
            totals.iter_mut().zip(slot.counts()).for_each(|(total, count)| *total += count);
        }
        totals
    }

    /// The sum of a counter over all slots. It never falls.
    pub fn total(&self, counter: Counter) -> u64 {
        self.slots().map(|(_, slot)| slot.count(counter)).sum()
    }

    /// How often a reload was requested, by signals and by requests. It never falls.
    pub fn reload_requests(&self) -> u64 {
        self.slots().map(|(_, slot)| slot.reload_requests()).sum()
    }

    /// The generation of the published site image; 0 before there is one.
    pub fn generation(&self) -> u64 {
        generation_of(self.compiler().published())
    }
}

/// A process that has a slot.
#[derive(Clone, Copy, Debug)]
pub struct Process<'w> {
    /// The number of its slot.
    pub number: usize,
    /// What it says.
    pub slot: SlotView<'w>,
    /// What it does.
    pub role: Role,
    /// Its process id.
    pub pid: i32,
}

/// What the published word says: generation and offset of the index.
const OFFSET_BITS: u32 = 24;
/// An index begins at a multiple of this many bytes.
pub const INDEX_ALIGN: u64 = 64 * 1024;

/// The published word for a generation whose index is at `offset`.
pub fn published_word(generation: u64, offset: u64) -> u64 {
    debug_assert!(offset.is_multiple_of(INDEX_ALIGN), "an index begins at a multiple of 64 KiB");
    debug_assert!(offset / INDEX_ALIGN < 1 << OFFSET_BITS, "the arena is at most 1 TiB");
    (generation << OFFSET_BITS) | (offset / INDEX_ALIGN)
}

/// The generation of a published word; 0 if nothing is published.
pub fn generation_of(published: u64) -> u64 {
    published >> OFFSET_BITS
}

/// Where the index of a published word is in the arena.
pub fn index_offset(published: u64) -> u64 {
    (published & ((1 << OFFSET_BITS) - 1)) * INDEX_ALIGN
}

/// Loads a word that another process stores with release, from memory that may be read-only.
fn load_acquire(word: &AtomicU64) -> u64 {
    let value = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_begin_at_pages_and_do_not_overlap() {
        let layout = Layout::new(4096, 12, 10_000);
        let mut end = 0;
        let slots = (0..12).map(|number| layout.slot(number));
        for part in [layout.control(), layout.compiler()].into_iter().chain(slots) {
            assert_eq!((part.start, part.start % 512), (end, 0));
            assert!(part.end > part.start);
            end = part.end;
        }
        assert_eq!(layout.words(), end);
    }

    #[test]
    fn a_published_word_is_a_generation_and_an_offset() {
        let word = published_word(77, 5 * INDEX_ALIGN);
        assert_eq!((generation_of(word), index_offset(word)), (77, 5 * INDEX_ALIGN));
        assert_eq!((generation_of(0), index_offset(0)), (0, 0));
    }

    #[test]
    fn counters_outlive_their_process_and_gauges_do_not() {
        let board = Scoreboard::leaked(2, 1);
        let slot = board.own_slot(1);
        for pid in [10, 11] {
            board.control().set_holder(1, Role::Worker, pid);
            assert!(!slot.is_ready());
            slot.set_ready();
            slot.set_open(5);
            slot.set_generation(3);
            slot.pin(0, 1 << 32 | 1);
            slot.add(Counter::Answered, 3);
            assert_eq!(board.processes().map(|process| process.pid).collect::<Vec<_>>(), [pid]);
            board.control().release_holder(1);
            slot.release();
        }
        assert_eq!(board.processes().count(), 0);
        assert_eq!((slot.open(), slot.generation(), slot.pins().count()), (0, 0, 0));
        assert_eq!((board.total(Counter::Answered), board.total(Counter::Sent)), (6, 0));
    }

    #[test]
    fn reload_requests_of_all_processes_are_one_number() {
        let board = Scoreboard::leaked(3, 0);
        board.own_slot(0).request_reload();
        board.own_slot(2).request_reload();
        assert_eq!(board.reload_requests(), 2);
    }
}
