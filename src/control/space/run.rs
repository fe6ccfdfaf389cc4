//! Runs of pages.

use crate::site::Extent;

/// A range of pages in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageRun {
    /// The first page.
    pub first: u64,
    /// The number of pages. An empty run overlaps nothing.
    pub count: u64,
}

impl PageRun {
    /// Returns the pages that an extent touches.
    pub fn of(extent: Extent, page_size: u64) -> Self {
        let first = extent.offset / page_size;
        if extent.len == 0 {
            return Self { first, count: 0 };
        }
        let last = extent.offset.saturating_add(extent.len - 1) / page_size;
        Self { first, count: last - first + 1 }
    }

    /// Whether the two runs have a page in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.first.max(other.first) < self.end().min(other.end())
    }

    /// Cuts the run into pieces of at most `max` pages.
    pub fn pieces(self, max: u64) -> impl Iterator<Item = Self> {
        let starts = (0..self.count.div_ceil(max)).map(move |piece| self.first + piece * max);
        starts.map(move |first| Self { first, count: max.min(self.end() - first) })
    }

    pub(super) fn end(self) -> u64 {
        self.first.saturating_add(self.count)
    }
}
