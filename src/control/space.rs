//! The space of the arena: which pages hold what, and when a page may be punched.
//!
//! An extent is live until the next generation does not name it; then it is retired, and released
//! when no reader can read it any more. A page is punched when nothing unreleased is on it, and
//! allocated again only after that: **a page once written is never written again before it was
//! punched, not even its slack**, because a socket may still hold the page itself.
//!
//! A long extent has a run of pages of its own. Those of up to [`PACKED_MAX`] bytes of one
//! generation are packed: each begins where the one before ends, and shares that page with it.

mod bitmap;
mod fragmentation;
mod recovery;
mod run;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ops::Range;

use crate::site::Extent;
use bitmap::{Bitmap, index};
pub use run::PageRun;

/// Longest extent that is packed, in bytes. The end of a longer one leaves little of a page unused,
/// and while it is sent it should keep no page of others.
pub const PACKED_MAX: u64 = 64 * 1024;

/// Search hints are kept for runs of up to this many pages: 1 MiB of pages of 4 KiB, the default
/// of `--memory-file-max`.
const HINTS: usize = 256;

/// The outcome of [`Space::release`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// All pages to punch, in ascending order and maximal runs. A page is returned again by the
    /// next release unless [`Space::punched`] was called for it.
    pub punch: Vec<PageRun>,
    /// The extents that stay retired.
    pub refusals: Refusals,
}

/// Why retired extents were not released. An extent can be refused for both reasons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Extents that a reader's generation names.
    pub by_generation: u64,
    /// Extents with a pinned page.
    pub by_pin: u64,
    /// The highest `retired_by` of a refused extent: if no reader holds anything of a generation
    /// below it, nothing is refused.
    pub blocked_below: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Retired {
    extent: Extent,
    birth: u64,
    retired_by: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Page {
    /// The live and retired extents that touch the page.
    unreleased: u32,
    /// The live bytes of packed extents.
    packed_bytes: u32,
}

/// The allocator of the arena.
#[derive(Clone, Debug)]
pub struct Space {
    page_size: u64,
    page_count: u64,
    budget: u64,
    /// The pages that are no holes.
    allocated: Bitmap,
    allocated_count: u64,
    /// The allocated pages on which nothing unreleased is left.
    punchable: Bitmap,
    /// The pages of packed extents.
    shared: Bitmap,
    marked: Bitmap,
    /// Grows to the highest page that was ever allocated.
    pages: Vec<Page>,
    /// `hints[n - 1]`: no run of n free pages begins below.
    hints: Vec<u64>,
    /// Where the next packed extent begins, and where the pages end that were taken for it and are
    /// not published yet: less than a page, in bytes.
    open: Option<Range<u64>>,
    retired: Vec<Retired>,
    /// The pages of live extents that have a run of their own.
    own_pages: u64,
    /// The shared pages with live bytes.
    shared_pages: u64,
    /// The bytes of all live packed extents.
    packed_bytes: u64,
    /// The live extents. Filled in debug builds only.
    live: HashSet<Extent>,
}

impl Space {
    /// Returns a space of `pages` pages of `page_size` bytes, all holes. At most `budget` of them
    /// may be allocated at the same time.
    pub fn new(page_size: u64, pages: u64, budget: u64) -> Self {
        Self {
            page_size,
            page_count: pages,
            budget,
            allocated: Bitmap::default(),
            allocated_count: 0,
            punchable: Bitmap::default(),
            shared: Bitmap::default(),
            marked: Bitmap::default(),
            pages: Vec::new(),
            hints: vec![0; HINTS],
            open: None,
            retired: Vec::new(),
            own_pages: 0,
            shared_pages: 0,
            packed_bytes: 0,
            live: HashSet::new(),
        }
    }

    /// Allocates a run of its own for `len` bytes: whole pages, first fit. It begins at a multiple
    /// of `align` pages. Returns `None` if that is over budget or finds no room.
    pub fn allocate(&mut self, len: u64, align: u64) -> Option<Extent> {
        if len == 0 {
            return Some(Extent { offset: 0, len: 0 });
        }
        let run = self.take_run(len.div_ceil(self.page_size), align.max(1))?;
        let extent = Extent { offset: run.first * self.page_size, len };
        self.add(extent);
        Some(extent)
    }

    /// Allocates `len` bytes without alignment, after what was packed since the last
    /// [`Self::close_shared`]. More than [`PACKED_MAX`] bytes get a run of their own.
    pub fn allocate_packed(&mut self, len: u64) -> Option<Extent> {
        if len == 0 || len > PACKED_MAX {
            return self.allocate(len, 1);
        }
        let Range { start, end } = match self.open.clone().and_then(|open| self.extend(open, len)) {
            Some(open) => open,
            None => {
                let run = self.take_run(len.div_ceil(self.page_size), 1)?;
                self.shared.set(run);
                run.first * self.page_size..run.end() * self.page_size
            }
        };
        let extent = Extent { offset: start, len };
        self.open = Some(start + len..end);
        self.add(extent);
        Some(extent)
    }

    /// Takes the pages that `len` bytes from the start of the open range on lack, if they are free.
    fn extend(&mut self, Range { start, end }: Range<u64>, len: u64) -> Option<Range<u64>> {
        let lack = (start + len).saturating_sub(end);
        let run = PageRun { first: end / self.page_size, count: lack.div_ceil(self.page_size) };
        let is_free = run.count <= self.available_pages()
            && run.end() <= self.page_count
            && !self.allocated.intersects(run);
        if !is_free {
            return None;
        }
        self.take(run);
        self.shared.set(run);
        Some(start..run.end() * self.page_size)
    }

    /// Closes the shared pages, which are about to be published: nothing is added to them any more.
    /// Ends the marks of [`Self::mark_sparse`].
    pub fn close_shared(&mut self) {
        self.open = None;
        self.marked = Bitmap::default();
    }

    /// Frees a live extent that no generation has named: its pages can be punched as soon as
    /// nothing else is on them.
    pub fn abandon(&mut self, extent: Extent) {
        self.end_of_life(extent);
        self.drop_pages(extent);
    }

    /// Retires a live extent that the generations from `birth` up to, but not including,
    /// `retired_by` have named.
    pub fn retire(&mut self, extent: Extent, birth: u64, retired_by: u64) {
        debug_assert!(birth < retired_by, "{extent:?} was named by no generation");
        self.end_of_life(extent);
        if extent.len > 0 {
            self.retired.push(Retired { extent, birth, retired_by });
        }
    }

    /// Releases every retired extent that no reader can read any more: no generation of a reader
    /// is in `birth..retired_by`, and no pin overlaps its pages. `generations` are those of all
    /// readers that are not offline, read after `retired_by` was published: a reader may adopt the
    /// published generation at any time.
    pub fn release(&mut self, generations: &[u64], pins: &[PageRun]) -> Released {
        let mut generations = generations.to_vec();
        generations.sort_unstable();
        generations.dedup();
        let pinned = self.pinned_pages(pins);
        let mut refusals = Refusals::default();
        let mut retired = std::mem::take(&mut self.retired);
        retired.retain(|&Retired { extent, birth, retired_by }| {
            let next = generations.partition_point(|&generation| generation < birth);
            let is_named = generations.get(next).is_some_and(|&generation| generation < retired_by);
            let is_pinned = pinned.intersects(PageRun::of(extent, self.page_size));
            refusals.by_generation += u64::from(is_named);
            refusals.by_pin += u64::from(is_pinned);
            let is_refused = is_named || is_pinned;
            if is_refused {
                refusals.blocked_below = refusals.blocked_below.max(Some(retired_by));
            } else {
                self.drop_pages(extent);
            }
            is_refused
        });
        self.retired = retired;
        Released { punch: self.punchable(), refusals }
    }

    /// Returns the allocated pages on which nothing unreleased is left, in maximal runs.
    pub fn punchable(&self) -> Vec<PageRun> {
        self.punchable.runs().collect()
    }

    /// Makes pages that a release returned, or a part of them, available again: they are holes now.
    pub fn punched(&mut self, run: PageRun) {
        for page in run.first..run.end() {
            let is_punchable = self.punchable.contains(page);
            debug_assert!(is_punchable, "page {page} was punched while it was in use");
            if is_punchable {
                let page = PageRun { first: page, count: 1 };
                self.punchable.clear(page);
                self.allocated.clear(page);
                self.shared.clear(page);
                self.marked.clear(page);
                self.allocated_count -= 1;
            }
        }
        let first = self.allocated.end_of_set_below(run.first);
        let end = self.allocated.first_set(run.end(), u64::MAX).unwrap_or(self.page_count);
        for hint in self.hints.iter_mut().take(index(end - first)) {
            *hint = first.min(*hint);
        }
    }

    /// Returns the number of pages that are live, retired, or not yet punched.
    pub fn allocated_pages(&self) -> u64 {
        self.allocated_count
    }

    /// Sets how many pages may be allocated at the same time. Those that are stay.
    pub fn set_budget(&mut self, pages: u64) {
        self.budget = pages;
    }

    /// Returns the number of pages that the budget still allows.
    pub fn available_pages(&self) -> u64 {
        self.budget.saturating_sub(self.allocated_count)
    }

    fn take_run(&mut self, count: u64, align: u64) -> Option<PageRun> {
        if count > self.available_pages() {
            return None;
        }
        let hint = index(count.min(HINTS as u64)) - 1;
        let mut from = self.hints[..=hint].iter().copied().max().unwrap_or(0);
        let first = loop {
            let first = self.allocated.first_clear(from).checked_next_multiple_of(align)?;
            let end = first.checked_add(count).filter(|&end| end <= self.page_count)?;
            match self.allocated.first_set(first, end) {
                None => break first,
                Some(page) => from = page + 1,
            }
        };
        if align == 1 && count <= HINTS as u64 {
            self.hints[hint] = first;
        }
        let run = PageRun { first, count };
        self.take(run);
        Some(run)
    }

    fn take(&mut self, run: PageRun) {
        self.allocated.set(run);
        self.allocated_count += run.count;
    }

    /// Whether the next packed extent is to begin on a page.
    fn is_open(&self, page: u64) -> bool {
        self.open.as_ref().is_some_and(|open| open.end == (page + 1) * self.page_size)
    }

    fn is_packed(&self, extent: Extent) -> bool {
        extent.len <= PACKED_MAX && self.shared.contains(extent.offset / self.page_size)
    }

    /// The pages of an extent, each with how many of its bytes are there.
    fn parts(&self, extent: Extent) -> impl Iterator<Item = (usize, u32)> + use<> {
        let (page_size, end) = (self.page_size, extent.offset + extent.len);
        let run = PageRun::of(extent, page_size);
        (run.first..run.end()).map(move |page| {
            let first = extent.offset.max(page * page_size);
            let bytes = end.min((page + 1) * page_size) - first;
            (index(page), u32::try_from(bytes).expect("a page has less than 4 GiB"))
        })
    }

    /// Counts a new live extent.
    fn add(&mut self, extent: Extent) {
        if cfg!(debug_assertions) {
            let is_new = self.live.insert(extent);
            debug_assert!(is_new, "{extent:?} is live already");
        }
        let run = PageRun::of(extent, self.page_size);
        if self.pages.len() < index(run.end()) {
            self.pages.resize(index(run.end()), Page::default());
        }
        for page in run.first..run.end() {
            self.pages[index(page)].unreleased += 1;
        }
        if self.is_packed(extent) {
            for (page, bytes) in self.parts(extent) {
                self.shared_pages += u64::from(self.pages[page].packed_bytes == 0);
                self.pages[page].packed_bytes += bytes;
            }
            self.packed_bytes += extent.len;
        } else {
            self.own_pages += run.count;
        }
    }

    /// Takes an extent out of the counts of live extents. Its pages stay.
    fn end_of_life(&mut self, extent: Extent) {
        if extent.len == 0 {
            return;
        }
        if cfg!(debug_assertions) {
            let is_live = self.live.remove(&extent);
            debug_assert!(is_live, "{extent:?} is not live");
        }
        if self.is_packed(extent) {
            for (page, bytes) in self.parts(extent) {
                self.pages[page].packed_bytes -= bytes;
                self.shared_pages -= u64::from(self.pages[page].packed_bytes == 0);
            }
            self.packed_bytes -= extent.len;
        } else {
            self.own_pages -= PageRun::of(extent, self.page_size).count;
        }
    }

    /// Takes an extent off its pages.
    fn drop_pages(&mut self, extent: Extent) {
        let run = PageRun::of(extent, self.page_size);
        for page in run.first..run.end() {
            let unreleased = &mut self.pages[index(page)].unreleased;
            debug_assert!(*unreleased > 0, "nothing is on page {page}");
            *unreleased -= 1;
            if *unreleased == 0 {
                self.punchable.set(PageRun { first: page, count: 1 });
                if self.is_open(page) {
                    self.open = None;
                }
            }
        }
    }

    /// Returns the pages that the pins cover. Pins may overlap, and exceed the pages in use.
    fn pinned_pages(&self, pins: &[PageRun]) -> Bitmap {
        let mut pins = pins.to_vec();
        pins.sort_unstable();
        let mut pinned = Bitmap::default();
        let mut from = 0;
        for pin in pins {
            let first = pin.first.max(from);
            from = pin.end().min(self.allocated.end()).max(from);
            pinned.set(PageRun { first, count: from.saturating_sub(first) });
        }
        pinned
    }
}
