//! The compiler's part of the scoreboard. It outlives each compiler, and the next one goes on with
//! it.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::counter::named;
use super::load_acquire;

const PUBLISHED: usize = 0;
const RESULT: usize = 1;
const BLOCKED_BELOW: usize = 2;
const NEXT_SCAN: usize = 3;
const STATS: usize = 4;
const STATS_LEN: usize = 9;
/// The place of [`SiteStats::allocated`] among them.
const ALLOCATED: usize = 7;
const SCANNED_STALE_FILES: usize = STATS + STATS_LEN;
/// Scans of which a record is kept, the oldest after the newest.
const SCANS: usize = 16;
const SCAN: usize = 4;
const SCANS_MAX: usize = 8;
/// Why the last scan was refused, as text.
const REASON: usize = SCANS + SCAN * SCANS_MAX;
const REASON_MAX: usize = 96;
/// How many words it has.
pub(super) const WORDS: usize = REASON + REASON_MAX;

named! {
    /// What a scan of the directory has come to.
    ReloadResult {
        /// There was none yet.
        Pending = "none",
        /// Another site image was published.
        Published = "ready",
        /// Nothing has changed.
        Unchanged = "unchanged",
        /// What is in the directory cannot be served; the former site image is.
        Refused = "refused",
        /// There is another site, but without the root's index; the former site image is served
        /// until that has lasted.
        IndexLost = "lost-index",
    }
}

impl ReloadResult {
    fn of(word: u64) -> Self {
        Self::ALL.iter().copied().find(|&result| result as u64 == word).unwrap_or(Self::Pending)
    }

    /// Whether there is something new that is not served.
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::Refused | Self::IndexLost)
    }
}

/// What the published site image holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SiteStats {
    /// Files.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Bytes of heads and bodies in memory.
    pub in_memory: u64,
    /// Gzip variants that were made here.
    pub variants: u64,
    /// How long the compile took, in microseconds.
    pub took: u64,
    /// When it was published, in milliseconds since 1970.
    pub since: u64,
    /// Bytes that were written for it: index, and what the one before did not have.
    pub written: u64,
    /// Bytes of the arena that are allocated.
    pub allocated: u64,
    /// Bytes of its index.
    pub index: u64,
}

/// A scan that has come to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanRecord {
    /// When that was, in milliseconds since 1970.
    pub at: u64,
    /// What it came to.
    pub result: ReloadResult,
    /// The generation that is published since.
    pub generation: u64,
    /// How many files had changed.
    pub changed: u64,
}

/// What the compiler says. Only it may store.
#[derive(Clone, Copy, Debug)]
pub struct CompilerPage<'w> {
    words: &'w [AtomicU64],
}

impl<'w> CompilerPage<'w> {
    pub(super) fn new(words: &'w [AtomicU64]) -> Self {
        Self { words }
    }

    /// The published site image (see [`published_word`](super::published_word)); 0 before there is
    /// one.
    pub fn published(&self) -> u64 {
        load_acquire(&self.words[PUBLISHED])
    }

    /// Publishes a site image: every request whose head is read after this is answered from it, or
    /// from a later one.
    pub fn publish(&self, word: u64) {
        self.words[PUBLISHED].store(word, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The next site image lacks memory that responses of generations below this one use; 0 if it
    /// does not.
    pub fn blocked_below(&self) -> u64 {
        load_acquire(&self.words[BLOCKED_BELOW])
    }

    /// Sets [`CompilerPage::blocked_below`].
    pub fn set_blocked_below(&self, generation: u64) {
        self.words[BLOCKED_BELOW].store(generation, Ordering::Release);
    }

    /// Says what a scan has come to, and how many reloads were requested before it began.
    pub fn set_result(&self, requests: u64, result: ReloadResult) {
        self.words[RESULT].store(requests << 8 | result as u64, Ordering::Release);
    }

    /// What the last scan has come to, and how many reloads were requested before it began.
    pub fn result(&self) -> (u64, ReloadResult) {
        let word = load_acquire(&self.words[RESULT]);
        (word >> 8, ReloadResult::of(word & 0xff))
    }

    /// Says how many stale files were counted when a scan began that has come to a result.
    pub fn set_scanned_stale_files(&self, count: u64) {
        self.words[SCANNED_STALE_FILES].store(count, Ordering::Release);
    }

    /// How many stale files were counted when the last scan began that has come to a result. The
    /// files that were counted later are not scanned yet: the compiler has not noticed, or is at
    /// work, or is being restarted.
    pub fn scanned_stale_files(&self) -> u64 {
        load_acquire(&self.words[SCANNED_STALE_FILES])
    }

    /// Says why a scan was refused; what is too long is cut.
    pub fn set_reason(&self, reason: &str) {
        let mut bytes = reason.as_bytes().chunks(8);
        for word in &self.words[REASON..REASON + REASON_MAX] {
            let mut chunk = [0; 8];
            let part = bytes.next().unwrap_or_default();
            chunk[..part.len()].copy_from_slice(part);
            word.store(u64::from_le_bytes(chunk), Ordering::Relaxed);
        }
    }

    /// Why the last scan that was refused was.
    pub fn reason(&self) -> String {
        let words = self.words[REASON..REASON + REASON_MAX].iter();
        let bytes: Vec<u8> =
            words.flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }

    /// Keeps a record of a scan.
    pub fn record_scan(&self, scan: ScanRecord) {
        let number = self.get(NEXT_SCAN);
        let values = [scan.at, scan.result as u64, scan.generation, scan.changed];
        self.set_all(place_of(number), values);
        self.words[NEXT_SCAN].store(number + 1, Ordering::Release);
    }

    /// The last scans, the newest first.
    pub fn scans(&self) -> impl Iterator<Item = ScanRecord> + use<'w> {
        let page = *self;
        let next = page.get(NEXT_SCAN);
        (next.saturating_sub(SCANS_MAX as u64)..next).rev().map(move |number| {
            let place = place_of(number);
            let [at, result, generation, changed] = [0, 1, 2, 3].map(|word| page.get(place + word));
            ScanRecord { at, result: ReloadResult::of(result), generation, changed }
        })
    }

    /// Says what the published site image holds.
    pub fn set_stats(&self, stats: SiteStats) {
        let SiteStats { files, bytes, in_memory, variants, took, since, .. } = stats;
        let SiteStats { written, allocated, index, .. } = stats;
        let values = [files, bytes, in_memory, variants, took, since, written, allocated, index];
        self.set_all(STATS, values);
    }

    /// Sets how many bytes of the arena are allocated, which [`CompilerPage::stats`] has too.
    pub fn set_allocated(&self, bytes: u64) {
        self.words[STATS + ALLOCATED].store(bytes, Ordering::Relaxed);
    }

    /// What the published site image holds.
    pub fn stats(&self) -> SiteStats {
        let [files, bytes, in_memory, variants, took, since] =
            [0, 1, 2, 3, 4, 5].map(|word| self.get(STATS + word));
        let [written, allocated, index] = [6, 7, 8].map(|word| self.get(STATS + word));
        SiteStats { files, bytes, in_memory, variants, took, since, written, allocated, index }
    }

    fn get(&self, word: usize) -> u64 {
        self.words[word].load(Ordering::Relaxed)
    }

    fn set_all<const N: usize>(&self, start: usize, values: [u64; N]) {
        for (word, value) in self.words[start..].iter().zip(values) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

const _: () = assert!(SCANNED_STALE_FILES < SCANS, "statistics and scans overlap");

/// Where the record of a scan is.
#[expect(clippy::cast_possible_truncation, reason = "it is less than SCANS_MAX")]
fn place_of(number: u64) -> usize {
    SCANS + (number % SCANS_MAX as u64) as usize * SCAN
}

#[cfg(test)]
mod tests {
    use crate::scoreboard::Scoreboard;

    use super::*;

    #[test]
    fn what_is_said_of_a_scan_can_be_read_again() {
        let page = Scoreboard::leaked(1, 0).compiler();
        assert_eq!((page.result(), page.reason()), ((0, ReloadResult::Pending), String::new()));
        for &result in ReloadResult::ALL {
            page.set_result(70_000, result);
            assert_eq!(page.result(), (70_000, result));
        }
        page.set_reason(&"a long reason ".repeat(99));
        assert_eq!(page.reason().len(), REASON_MAX * 8);
        page.set_reason("no directory");
        page.set_scanned_stale_files(5);
        for generation in 1..=20 {
            let result = ReloadResult::Published;
            page.record_scan(ScanRecord { at: generation * 10, result, generation, changed: 3 });
        }
        let scans: Vec<_> = page.scans().map(|scan| (scan.generation, scan.at)).collect();
        assert_eq!(scans.len(), SCANS_MAX);
        assert_eq!((scans[0], scans[SCANS_MAX - 1]), ((20, 200), (13, 130)));
        let stats = SiteStats { files: 1, index: 9, ..SiteStats::default() };
        page.set_stats(stats);
        assert_eq!((page.stats(), page.reason().as_str()), (stats, "no directory"));
        assert_eq!(page.scanned_stale_files(), 5);
        page.set_allocated(77);
        assert_eq!(page.stats(), SiteStats { allocated: 77, ..stats });
    }
}
