//! The mapping of the arena: read-only in all processes, and page by page writable in the compiler
//! while it writes.

use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::slice;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mprotect, munmap};

use super::view::View;

/// Most runs of pages that are writable at the same time.
const OPEN_MAX: usize = 64;

/// Maps `len` bytes of the arena to be read, for as long as this process lives.
///
/// # Errors
/// Those of mmap(2).
pub(crate) fn map(arena: impl AsFd, len: u64) -> nix::Result<View<'static>> {
    let start = map_read_only(arena, len)?;
    // SAFETY: the mapping is never removed. What a caller may ask for, and when, is the contract of
    // `View::from_raw`, which `control::publication` keeps.
    Ok(unsafe { View::from_raw(start.as_ptr(), len) })
}

/// Seals a mapping against any later change of its protection, where the kernel can (6.10 and
/// later).
pub(crate) fn seal(view: View<'static>) {
    const MSEAL: libc::c_long = 462;
    let Some(start) = view.bytes(0, 0) else { return };
    // SAFETY: the call changes no memory; the range is a mapping of this process.
    unsafe { libc::syscall(MSEAL, start.as_ptr(), view.len(), 0) };
}

fn map_read_only(arena: impl AsFd, len: u64) -> nix::Result<NonNull<u8>> {
    let len = usize::try_from(len).ok().and_then(NonZeroUsize::new).ok_or(Errno::EINVAL)?;
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
    // SAFETY: without an address to map to, the kernel chooses one where nothing of ours is.
    let start = unsafe { mmap(None, len, ProtFlags::PROT_READ, flags, arena, 0) }?;
    for advice in [MmapAdvise::MADV_NOHUGEPAGE, MmapAdvise::MADV_DONTDUMP] {
        // A kernel without huge pages refuses the first, and needs it not.
        // SAFETY: neither advice changes what is in the range, which is a mapping of ours.
        let _ = unsafe { madvise(start, len.get(), advice) };
    }
    Ok(start.cast())
}

/// The compiler's mapping. There is one in each arena at a time.
#[derive(Debug)]
pub(crate) struct ArenaWriter {
    start: NonNull<u8>,
    len: u64,
    page_size: u64,
    /// Runs of pages that are writable now, from the first byte to the one after the last.
    open: Vec<(u64, u64)>,
}

impl ArenaWriter {
    /// Maps `len` bytes of an arena that was opened for writing too.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub(crate) fn map(arena: impl AsFd, len: u64, page_size: u64) -> nix::Result<Self> {
        Ok(Self { start: map_read_only(arena, len)?, len, page_size, open: Vec::new() })
    }

    /// The same bytes, to be read.
    pub(crate) fn view(&self) -> View<'static> {
        // SAFETY: as in `map`. The compiler writes only to what it has not published yet.
        unsafe { View::from_raw(self.start.as_ptr(), self.len) }
    }

    /// Has `write` fill `len` bytes at `offset`, which no reader has before they are published.
    ///
    /// # Errors
    /// Those of mprotect(2); `EINVAL` for a range outside of the arena.
    pub(crate) fn fill(
        &mut self,
        offset: u64,
        len: u64,
        write: impl FnOnce(&mut [u8]),
    ) -> nix::Result<()> {
        let end = offset.checked_add(len).filter(|&end| end <= self.len).ok_or(Errno::EINVAL)?;
        self.make_writable(offset, end)?;
        let (offset, len) = (to_usize(offset)?, to_usize(len)?);
        // SAFETY: the range is inside of the mapping, and its pages were just made writable. It was
        // allocated by `control::space` and is not published, so that neither a reader nor another
        // slice of this process has it.
        write(unsafe { slice::from_raw_parts_mut(self.start.as_ptr().add(offset), len) });
        Ok(())
    }

    fn make_writable(&mut self, start: u64, end: u64) -> nix::Result<()> {
        if self.open.iter().any(|&(first, last)| first <= start && end <= last) {
            return Ok(());
        }
        if self.open.len() == OPEN_MAX {
            self.close()?;
        }
        let run = (start - start % self.page_size, end.next_multiple_of(self.page_size));
        self.protect(run, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
        self.open.push(run);
        Ok(())
    }

    /// Makes all pages read-only again.
    ///
    /// # Errors
    /// Those of mprotect(2).
    pub(crate) fn close(&mut self) -> nix::Result<()> {
        while let Some(run) = self.open.pop() {
            self.protect(run, ProtFlags::PROT_READ)?;
        }
        Ok(())
    }

    /// Takes the mapping away.
    ///
    /// # Errors
    /// Those of munmap(2).
    pub(crate) fn unmap(self) -> nix::Result<()> {
        // SAFETY: it is a mapping of ours of this length. The only views of it are those of
        // `view`, which the one caller of this function has not asked for.
        unsafe { munmap(self.start.cast(), to_usize(self.len)?) }
    }

    fn protect(&self, (start, end): (u64, u64), flags: ProtFlags) -> nix::Result<()> {
        let (start, len) = (to_usize(start)?, to_usize(end.min(self.len) - start)?);
        // SAFETY: whole pages inside of a mapping of ours; no slice of theirs that would be written
        // is alive while they lose that right.
        unsafe { mprotect(self.start.add(start).cast(), len, flags) }
    }
}

/// Gives pages back to the system; they read as zeros until they are written again.
///
/// # Errors
/// Those of fallocate(2).
pub(crate) fn punch(memfd: impl AsFd, offset: u64, len: u64) -> nix::Result<()> {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let signed = |number: u64| i64::try_from(number).map_err(|_| Errno::EINVAL);
    fallocate(memfd, flags, signed(offset)?, signed(len)?)
}

fn to_usize(number: u64) -> nix::Result<usize> {
    usize::try_from(number).map_err(|_| Errno::EINVAL)
}
