//! How many more pages are in use than a fresh layout would take, and which extents are moved.

use std::collections::BTreeMap;

use super::bitmap::{Bitmap, index};
use super::{Extent, PageRun, Space};

/// Fewest pages that moving extents must gain, so that it is worth an image that says nothing new.
const GAIN_MIN: u64 = 16;

impl Space {
    /// Whether the pages with live bytes exceed by half, and by 16 pages, what a fresh layout of
    /// the same extents would take.
    pub fn is_fragmented(&self) -> bool {
        let exceeds = |shared| {
            2 * (self.own_pages + self.shared_pages) > 3 * (self.own_pages + shared)
                && self.shared_pages >= shared + GAIN_MIN
        };
        let lengths = (0..).zip(&self.small_lengths);
        let small_bytes: u64 = lengths.map(|(len, count): (u64, _)| len * count).sum();
        // No layout takes less than the bytes do; most calls end here.
        exceeds(small_bytes.div_ceil(self.page_size)) && exceeds(self.fresh_shared_pages())
    }

    /// Marks the emptiest shared pages, as few as are needed so that the excess over a fresh layout
    /// falls below a quarter after their extents were moved. Open pages are not marked.
    pub fn mark_sparse(&mut self) {
        self.marked = Bitmap::default();
        let mut candidates: Vec<(u32, u64)> = self
            .shared
            .runs()
            .flat_map(|run| run.first..run.end())
            .map(|page| (self.pages[index(page)].small_bytes, page))
            .filter(|&(bytes, _)| bytes > 0)
            .collect();
        let small_bytes = candidates.iter().map(|&(bytes, _)| u128::from(bytes)).sum::<u128>();
        candidates.retain(|(_, page)| !self.open.contains_key(page));
        candidates.sort_unstable();
        let fresh = u128::from(self.fresh_shared_pages());
        let own_pages = u128::from(self.own_pages);
        let mut pages = own_pages + u128::from(self.shared_pages);
        let mut moved_bytes = 0;
        for (bytes, page) in candidates {
            // The moved extents are taken to fill pages as well as all small extents would.
            let moved_pages = (moved_bytes * fresh).div_ceil(small_bytes);
            if 4 * (pages + moved_pages) <= 5 * (own_pages + fresh) {
                break;
            }
            self.marked.set(PageRun { first: page, count: 1 });
            moved_bytes += u128::from(bytes);
            pages -= 1;
        }
    }

    /// Whether an extent lies on a marked page, so that the next generation writes it anew
    /// elsewhere.
    pub fn is_marked(&self, extent: Extent) -> bool {
        self.marked.intersects(PageRun::of(extent, self.page_size))
    }

    /// Returns the number of pages that the live small extents would share if all were allocated
    /// anew, longest first.
    pub(super) fn fresh_shared_pages(&self) -> u64 {
        let mut pages = 0;
        // How many pages have a certain number of bytes left.
        let mut room: BTreeMap<u64, u64> = BTreeMap::new();
        for (len, &count) in self.small_lengths.iter().enumerate().rev() {
            let (len, mut count) = (len as u64, count);
            while count > 0 {
                let begun = room.range(len..).next().map(|(&left, &available)| (left, available));
                let (left, available) = begun.unwrap_or((self.page_size, u64::MAX));
                let each = (left / len).min(count);
                let filled = (count / each).min(available);
                count -= filled * each;
                if begun.is_none() {
                    pages += filled;
                } else if filled == available {
                    room.remove(&left);
                } else {
                    room.insert(left, available - filled);
                }
                *room.entry(left - each * len).or_insert(0) += filled;
            }
        }
        pages
    }
}
