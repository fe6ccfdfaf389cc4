//! A slot: what one process says of itself.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Counter, load_acquire};

const HEARTBEAT: usize = 0;
const READY: usize = 1;
const GENERATION: usize = 2;
const WAITING: usize = 3;
const OPEN: usize = 4;
const PINS_USED: usize = 5;
const WAITS_FOR_DISK: usize = 6;
const RELOAD_REQUESTS: usize = 7;
const CPU: usize = 8;
const COUNTERS: usize = 16;
/// The pins follow the counters.
pub(super) const PINS: usize = 128;

const _: () = assert!(COUNTERS + Counter::COUNT <= PINS, "more is counted than there is room for");

/// A slot as others read it.
#[derive(Clone, Copy, Debug)]
pub struct SlotView<'w> {
    words: &'w [AtomicU64],
}

/// A slot as its process writes it.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'w> {
    view: SlotView<'w>,
}

impl<'w> SlotView<'w> {
    pub(super) fn new(words: &'w [AtomicU64]) -> Self {
        Self { words }
    }

    /// How often the process has stored its heartbeat.
    pub fn heartbeat(&self) -> u64 {
        self.get(HEARTBEAT)
    }

    /// Whether the process does its work.
    pub fn is_ready(&self) -> bool {
        load_acquire(&self.words[READY]) != 0
    }

    /// The generation that the process reads from now; 0 if none.
    pub fn generation(&self) -> u64 {
        load_acquire(&self.words[GENERATION])
    }

    /// Whether the process waits for a change of the scoreboard, and is to be woken by its
    /// doorbell.
    pub fn is_waiting(&self) -> bool {
        self.get(WAITING) != 0
    }

    /// How many connections are open.
    pub fn open(&self) -> u64 {
        self.get(OPEN)
    }

    /// Whether the process may be in a call that waits for a disk.
    pub fn waits_for_disk(&self) -> bool {
        self.get(WAITS_FOR_DISK) != 0
    }

    /// How often the process was asked for a reload, and the processes in this slot before it.
    pub fn reload_requests(&self) -> u64 {
        load_acquire(&self.words[RELOAD_REQUESTS])
    }

    /// The most CPU time of all processes that was noted here, in ticks.
    pub fn cpu(&self) -> u64 {
        self.get(CPU)
    }

    /// A counter.
    pub fn count(&self, counter: Counter) -> u64 {
        self.get(COUNTERS + counter.place())
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        self.words[COUNTERS..PINS].iter().map(|word| word.load(Ordering::Relaxed))
    }

    /// The pins that are set: see [`Slot::pin`]. To be read after all generations.
    pub fn pins(&self) -> impl Iterator<Item = u64> + use<'w> {
        let used = usize::try_from(load_acquire(&self.words[PINS_USED])).unwrap_or(usize::MAX);
        let pins = &self.words[PINS..];
        pins[..used.min(pins.len())].iter().map(load_acquire).filter(|&pin| pin != 0)
    }

    fn get(&self, word: usize) -> u64 {
        self.words[word].load(Ordering::Relaxed)
    }
}

impl<'w> Slot<'w> {
    pub(super) fn new(words: &'w [AtomicU64]) -> Self {
        Self { view: SlotView::new(words) }
    }

    /// Stores a heartbeat.
    pub fn store_heartbeat(&self) {
        self.set(HEARTBEAT, self.get(HEARTBEAT).wrapping_add(1));
    }

    /// Says that the process does its work from now on.
    pub fn set_ready(&self) {
        self.words[READY].store(1, Ordering::Release);
    }

    /// Says which generation the process reads from; 0 for none. The caller orders this before the
    /// load that follows (`control::publication`).
    pub fn set_generation(&self, generation: u64) {
        self.words[GENERATION].store(generation, Ordering::Release);
    }

    /// Says whether the process waits for a change. The caller orders this before its last check.
    pub fn set_waiting(&self, is_waiting: bool) {
        self.set(WAITING, is_waiting.into());
    }

    /// Says how many connections are open.
    pub fn set_open(&self, connections: usize) {
        self.set(OPEN, connections as u64);
    }

    /// Says whether the process may be in a call that waits for a disk.
    pub fn set_waits_for_disk(&self, waits: bool) {
        self.set(WAITS_FOR_DISK, waits.into());
    }

    /// Counts a request for a reload.
    pub fn request_reload(&self) {
        let requests = self.get(RELOAD_REQUESTS) + 1;
        self.words[RELOAD_REQUESTS].store(requests, Ordering::Release);
    }

    /// Notes CPU time.
    pub fn set_cpu(&self, ticks: u64) {
        self.set(CPU, ticks);
    }

    /// Counts.
    pub fn add(&self, counter: Counter, amount: u64) {
        let word = COUNTERS + counter.place();
        self.set(word, self.get(word).wrapping_add(amount));
    }

    /// How many ranges can be pinned.
    pub fn pins_max(&self) -> usize {
        self.words.len() - PINS
    }

    /// Pins pages of the arena: the first one in the upper half of `pages`, how many in the lower;
    /// 0 is none. It counts once the process stores its next generation.
    ///
    /// # Panics
    /// If there are fewer entries.
    pub fn pin(&self, entry: usize, pages: u64) {
        self.words[PINS..][entry].store(pages, Ordering::Release);
        let used = entry as u64 + 1;
        if pages != 0 && used > self.get(PINS_USED) {
            self.words[PINS_USED].store(used, Ordering::Release);
        }
    }

    /// Clears what a process that is dead and reaped has left. Counters stay.
    pub fn release(&self) {
        let used = usize::try_from(self.get(PINS_USED)).unwrap_or(usize::MAX);
        let used = used.min(self.pins_max());
        self.words[PINS..][..used].iter().for_each(|pin| pin.store(0, Ordering::Release));
        for word in [PINS_USED, GENERATION, READY, WAITING, OPEN, WAITS_FOR_DISK] {
            self.words[word].store(0, Ordering::Release);
        }
    }

    fn set(&self, word: usize, value: u64) {
        self.words[word].store(value, Ordering::Relaxed);
    }
}

impl<'w> Deref for Slot<'w> {
    type Target = SlotView<'w>;

    fn deref(&self) -> &Self::Target {
        &self.view
    }
}
