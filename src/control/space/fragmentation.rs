//! How many more pages are in use than a fresh layout would take, and which extents are moved.

use super::bitmap::{Bitmap, index};
use super::{Extent, PageRun, Space};

/// Fewest pages that moving extents must gain, so that it is worth an image that says nothing new.
const GAIN_MIN: u64 = 16;

impl Space {
    /// Whether the pages with live bytes exceed by half, and by 16 pages, what a fresh layout of
    /// the same extents would take.
    pub fn is_fragmented(&self) -> bool {
        let fresh = self.own_pages + self.fresh_shared_pages();
        let pages = self.own_pages + self.shared_pages;
        2 * pages > 3 * fresh && pages >= fresh + GAIN_MIN
    }

    /// Marks the emptiest shared pages, as few as are needed so that the excess over a fresh layout
    /// falls below a quarter after their extents were moved. Open pages are not marked.
    pub fn mark_sparse(&mut self) {
        self.marked = Bitmap::default();
        let mut candidates: Vec<(u32, u64)> = self
            .shared
            .runs()
            .flat_map(|run| run.first..run.end())
            .map(|page| (self.pages[index(page)].packed_bytes, page))
            .filter(|&(bytes, page)| bytes > 0 && !self.is_open(page))
            .collect();
        candidates.sort_unstable();
        let fresh = self.own_pages + self.fresh_shared_pages();
        let mut pages = self.own_pages + self.shared_pages;
        let mut moved_bytes = 0;
        for (bytes, page) in candidates {
            // Extents that are moved fill their new pages.
            if 4 * (pages + u64::div_ceil(moved_bytes, self.page_size)) <= 5 * fresh {
                break;
            }
            self.marked.set(PageRun { first: page, count: 1 });
            moved_bytes += u64::from(bytes);
            pages -= 1;
        }
    }

    /// Whether an extent lies on a marked page, so that the next generation writes it anew
    /// elsewhere.
    pub fn is_marked(&self, extent: Extent) -> bool {
        self.marked.intersects(PageRun::of(extent, self.page_size))
    }

    /// Returns the number of pages that the live packed extents would take if all were allocated
    /// anew.
    pub(super) fn fresh_shared_pages(&self) -> u64 {
        self.packed_bytes.div_ceil(self.page_size)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{PAGE, own, packed, page_of, punch_all, space};
    use super::*;

    #[test]
    fn sparse_pages_are_marked_until_the_excess_is_below_a_quarter() {
        let mut space = space(1000);
        own(&mut space, 10 * PAGE);
        let mut extents = Vec::new();
        for page in 0..100 {
            // Pages of 10, 11, 12… up to 109 extents.
            extents.extend((0..10 + page).map(|_| packed(&mut space, 30)));
            space.close_shared();
        }
        assert_eq!(space.allocated_pages(), 110);
        assert!(space.is_fragmented());
        let open = packed(&mut space, 1);
        space.mark_sparse();
        assert!(!space.is_marked(open));
        let marked: Vec<Extent> = extents.iter().copied().filter(|&e| space.is_marked(e)).collect();
        let highest = marked.iter().map(|&extent| page_of(extent)).max().unwrap();
        assert!(
            extents.iter().all(|&extent| space.is_marked(extent) == (page_of(extent) <= highest))
        );
        for extent in marked {
            packed(&mut space, extent.len);
            space.retire(extent, 1, 2);
        }
        space.close_shared();
        assert!(!extents.iter().any(|&extent| space.is_marked(extent)));
        punch_all(&mut space);
        // 5951 extents of 30 bytes, 136 on a page.
        let fresh = 10 + 44;
        assert!(!space.is_fragmented());
        assert!((fresh * 6 / 5..=fresh * 5 / 4 + 1).contains(&space.allocated_pages()));
    }

    #[test]
    fn space_is_fragmented_from_half_above_a_fresh_layout() {
        let mut space = space(1000);
        own(&mut space, 39 * PAGE);
        for _ in 0..21 {
            packed(&mut space, 1);
            space.close_shared();
        }
        // 60 pages instead of 40, then 61.
        assert!(!space.is_fragmented());
        packed(&mut space, 1);
        assert!(space.is_fragmented());
        own(&mut space, 4 * PAGE);
        // 65 instead of 44.
        assert!(!space.is_fragmented());
    }

    #[test]
    fn space_is_not_fragmented_by_a_few_pages() {
        let mut space = space(1000);
        for _ in 0..16 {
            packed(&mut space, 1);
            space.close_shared();
        }
        // 16 pages instead of 1, then 17.
        assert!(!space.is_fragmented());
        packed(&mut space, 1);
        assert!(space.is_fragmented());
    }

    #[test]
    fn space_that_no_layout_can_fill_is_not_fragmented() {
        let mut space = space(1000);
        for _ in 0..20 {
            own(&mut space, 1);
        }
        assert!(!space.is_fragmented());
    }

    #[test]
    fn punched_page_keeps_neither_its_mark_nor_its_kind() {
        let mut space = space(100);
        let sparse = [1, 1, 1].map(|len| {
            space.close_shared();
            packed(&mut space, len)
        });
        space.close_shared();
        space.mark_sparse();
        assert!(sparse.iter().all(|&extent| space.is_marked(extent)));
        sparse.iter().for_each(|&extent| space.retire(extent, 1, 2));
        punch_all(&mut space);
        for _ in 0..3 {
            let extent = own(&mut space, 1);
            assert!(page_of(extent) < 3 && !space.is_marked(extent));
        }
        assert!(!space.is_fragmented());
    }
}
