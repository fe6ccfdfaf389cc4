//! The space of an arena that outlived its compiler.

use super::bitmap::{Bitmap, index};
use super::{Extent, PACKED_MAX, Page, PageRun, Retired, Space};

/// Pages that the published generation does not name are recovered in runs of at most this length,
/// so that one pin holds back no more than that.
pub(super) const RECOVERED_RUN_MAX: u64 = 64;

impl Space {
    /// Returns the space of an arena that a former compiler has left.
    ///
    /// `data` are the runs of pages that are no holes, `live` the extents that the published
    /// generation names, each once, as a `Space` has allocated them. All other pages of `data`
    /// count as extents born at 0 and retired by `generation`. So does each page that packed live
    /// extents share: extents of older generations, which are not known any more, may be on it.
    pub fn recover(
        page_size: u64,
        pages: u64,
        budget: u64,
        data: &[PageRun],
        live: impl IntoIterator<Item = Extent>,
        generation: u64,
    ) -> Self {
        let mut space = Self::new(page_size, pages, budget);
        for &run in data {
            let count = run.end().min(pages).saturating_sub(run.first);
            space.allocated.set(PageRun { first: run.first, count });
        }
        for extent in live.into_iter().filter(|extent| extent.len > 0) {
            let run = PageRun::of(extent, page_size);
            debug_assert!(run.end() <= pages, "{extent:?} is outside of the arena");
            space.allocated.set(run);
            if extent.len <= PACKED_MAX {
                space.shared.set(run);
            }
            space.add(extent);
        }
        space.pages.resize(index(space.allocated.end()), Page::default());
        space.allocated_count = space.allocated.count();
        let mut unnamed = Bitmap::default();
        for run in space.allocated.runs() {
            for page in run.first..run.end() {
                if space.pages[index(page)].unreleased == 0 {
                    unnamed.set(PageRun { first: page, count: 1 });
                }
            }
        }
        let shared = space.shared.runs().flat_map(|run| run.pieces(1)).collect::<Vec<_>>();
        for run in unnamed.runs().flat_map(|run| run.pieces(RECOVERED_RUN_MAX)).chain(shared) {
            for page in run.first..run.end() {
                space.pages[index(page)].unreleased += 1;
            }
            let extent = Extent { offset: run.first * page_size, len: run.count * page_size };
            space.retired.push(Retired { extent, birth: 0, retired_by: generation });
        }
        space
    }
}
