//! Words that processes share, and the right to write them.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::AtomicU64;

use nix::errno::Errno;
use nix::libc::off_t;
use nix::sys::mman::{MapFlags, ProtFlags, mmap};

/// Maps `count` words of a memfd to be read and written, for as long as the process lives.
///
/// # Errors
/// Those of mmap(2); `EINVAL` for no words at all.
pub(crate) fn words(memfd: impl AsFd, count: usize) -> nix::Result<&'static [AtomicU64]> {
    let len = count.checked_mul(size_of::<AtomicU64>()).and_then(NonZeroUsize::new);
    let len = len.ok_or(Errno::EINVAL)?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: without an address to map to, the kernel chooses one where nothing of ours is.
    let start = unsafe { mmap(None, len, protection, MapFlags::MAP_SHARED, memfd, 0) }?;
    // SAFETY: the mapping begins at a page, has `count` words of zero, which are valid atomics, and
    // is never removed. All processes reach it as atomics, so that no access is a race.
    Ok(unsafe { slice::from_raw_parts(start.cast().as_ptr(), count) })
}

/// Maps words anew, at the same place, only to be read: `range` is whole pages of what [`words`]
/// has returned. A store to them is a fault from now on; after F_SEAL_FUTURE_WRITE no call makes
/// them writable again.
///
/// # Errors
/// Those of mmap(2).
pub(crate) fn protect(
    memfd: impl AsFd,
    words: &'static [AtomicU64],
    range: Range<usize>,
) -> nix::Result<()> {
    let Some(len) = NonZeroUsize::new(size_of_val(&words[range.clone()])) else { return Ok(()) };
    let start = NonNull::from(&words[range.start]).addr();
    let offset =
        off_t::try_from(range.start * size_of::<AtomicU64>()).map_err(|_| Errno::EINVAL)?;
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
    // SAFETY: it takes the place of a part of our own mapping of the same words of the same memfd:
    // references to them read the same values as before.
    unsafe { mmap(Some(start), len, ProtFlags::PROT_READ, flags, memfd, offset) }.map(drop)
}
