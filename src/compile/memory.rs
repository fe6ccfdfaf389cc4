//! The compiler's side of the arena: bodies, heads and indexes are written to it, and given back.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek64};

use crate::control::publication::InUse;
use crate::control::space::{PageRun, Released, Space};
use crate::faults::{self, Fault};
use crate::scoreboard::INDEX_ALIGN;
use crate::site::{Extent, Finished, Former, View};
use crate::sys::arena::{ArenaWriter, punch};

/// How much is punched at once, in bytes: the kernel holds up readers meanwhile, which map the same
/// pages.
const PUNCH_MAX: u64 = 4 << 20;

/// The arena, as the compiler has it.
#[derive(Debug)]
pub struct SiteMemory {
    space: Space,
    writer: ArenaWriter,
    file: OwnedFd,
    len: u64,
    page_size: u64,
    /// What was written for an image that is not published.
    new: Vec<Extent>,
    written: u64,
}

/// How much was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteStats {
    /// Bytes for the image that is being made, or was made last.
    pub written: u64,
    /// Bytes of the arena that are allocated.
    pub allocated: u64,
}

impl SiteMemory {
    pub(crate) fn new(writer: ArenaWriter, file: OwnedFd, len: u64, page_size: u64) -> Self {
        let pages = len / page_size;
        let space = Space::new(page_size, pages, pages);
        Self { space, writer, file, len, page_size, new: Vec::new(), written: 0 }
    }

    /// Finds out what an earlier compiler has left: what the published image names is live, and its
    /// index, which stands beside it. All other pages that are no holes are retired by the next
    /// generation at the latest.
    ///
    /// # Errors
    /// Those of lseek(2).
    pub fn recover(&mut self, former: Option<Former<'_>>, next: u64) -> nix::Result<()> {
        let data = self.data()?;
        let pages = self.len / self.page_size;
        let generation = former.map_or(next, |former| former.site().generation());
        let site = former.iter().map(Former::site);
        let mut live: Vec<Extent> =
            site.flat_map(|site| site.extents().chain([site.index_extent()])).collect();
        live.sort_unstable();
        live.dedup();
        self.space = Space::recover(self.page_size, pages, pages, &data, live, generation);
        Ok(())
    }

    /// The runs of pages that are no holes.
    fn data(&self) -> nix::Result<Vec<PageRun>> {
        let mut runs = Vec::new();
        let mut at = 0;
        loop {
            let start = match lseek64(&self.file, at, Whence::SeekData) {
                Ok(start) => start,
                Err(Errno::ENXIO) => return Ok(runs),
                Err(errno) => return Err(errno),
            };
            at = lseek64(&self.file, start, Whence::SeekHole)?;
            let page = |offset: i64| u64::try_from(offset).unwrap_or(0);
            let first = page(start) / self.page_size;
            runs.push(PageRun { first, count: page(at).div_ceil(self.page_size) - first });
        }
    }

    /// The arena's bytes.
    pub fn view(&self) -> View<'static> {
        self.writer.view()
    }

    /// Begins an image: while its bodies and heads are written, at most `bytes` of the arena may be
    /// allocated. If packed extents have become scattered, this image moves some of them
    /// ([`SiteMemory::is_to_move`]).
    pub fn begin(&mut self, bytes: u64) {
        debug_assert!(self.new.is_empty(), "an image was neither published nor abandoned");
        self.written = 0;
        self.space.set_budget(bytes / self.page_size);
        if self.space.is_fragmented() {
            self.space.mark_sparse();
        }
    }

    /// Whether an extent is to be written anew, so that its page can be given back.
    pub fn is_to_move(&self, extent: Extent) -> bool {
        self.space.is_marked(extent)
    }

    /// Writes a body or a head; `None` if there is no room within the budget.
    pub fn put(&mut self, bytes: &[u8]) -> Option<Extent> {
        if bytes.is_empty() {
            return Some(Extent::default());
        }
        let extent = self.space.allocate_packed(bytes.len() as u64)?;
        self.write(extent, |out| out.copy_from_slice(bytes))
    }

    /// Writes the index of an image; `None` if there is no room within the budget.
    pub fn put_index(&mut self, image: Finished) -> Option<Extent> {
        // It comes on top of the budget, and is bounded by the number of files.
        self.space.set_budget(u64::MAX);
        let align = (INDEX_ALIGN / self.page_size).max(1);
        let extent = self.space.allocate(image.index_len(), align)?;
        self.write(extent, |out| image.write(out))
    }

    fn write(&mut self, extent: Extent, write: impl FnOnce(&mut [u8])) -> Option<Extent> {
        if self.writer.fill(extent.offset, extent.len, write).is_err() {
            // A limit on memory maps (vm.max_map_count) counts as no room.
            self.space.abandon(extent);
            return None;
        }
        self.new.push(extent);
        self.written += extent.len;
        Some(extent)
    }

    /// Closes what was written, and is about to be published: it is never written again.
    ///
    /// # Errors
    /// Those of mprotect(2).
    pub fn close(&mut self) -> nix::Result<()> {
        // The first image has written far more than any later one: its list is not kept.
        self.new = Vec::new();
        self.space.close_shared();
        self.writer.close()
    }

    /// Punches what was written since [`SiteMemory::begin`], which no reader has seen. What is
    /// retired stays, since readers may use it.
    pub fn abandon_new(&mut self) {
        for extent in std::mem::take(&mut self.new) {
            self.space.abandon(extent);
        }
        self.space.close_shared();
        let _ = self.writer.close();
        let free = self.space.punchable();
        self.punch(&free);
    }

    /// Says that the generation `retired_by` does not name an extent any more, which `birth` was
    /// the first to name.
    pub fn retire(&mut self, extent: Extent, birth: u64, retired_by: u64) {
        self.space.retire(extent, birth, retired_by);
    }

    /// Gives back all pages that no reader uses.
    pub fn release(&mut self, in_use: &InUse) -> Released {
        let released = self.space.release(&in_use.generations, &in_use.pins);
        self.punch(&released.punch);
        released
    }

    fn punch(&mut self, runs: &[PageRun]) {
        for run in runs.iter().flat_map(|run| run.pieces(PUNCH_MAX / self.page_size)) {
            let (offset, len) = (run.first * self.page_size, run.count * self.page_size);
            // What cannot be punched now is returned by the next release again.
            if faults::is_on(Fault::ReuseWithoutPunch) || punch(&self.file, offset, len).is_ok() {
                self.space.punched(run);
            }
        }
    }

    /// How much was written and is allocated.
    pub fn stats(&self) -> WriteStats {
        let allocated = self.space.allocated_pages() * self.page_size;
        WriteStats { written: self.written, allocated }
    }

    /// The size of a page, in bytes.
    pub fn page_size(&self) -> u64 {
        self.page_size
    }
}
