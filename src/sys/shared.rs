//! Memory that a process shares with all that are forked from it.

use std::num::NonZeroUsize;
use std::slice;
use std::sync::atomic::AtomicU64;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

/// Words of zero, which live as long as any process that has them. They begin at a page's start.
///
/// # Errors
/// Those of mmap(2); `EINVAL` for no words at all.
pub(crate) fn words(count: usize) -> nix::Result<&'static [AtomicU64]> {
    let len = count.checked_mul(size_of::<AtomicU64>()).and_then(NonZeroUsize::new);
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: without an address to map to, the kernel chooses one where nothing of ours is.
    let start = unsafe {
        mmap_anonymous(None, len.ok_or(Errno::EINVAL)?, protection, MapFlags::MAP_SHARED)
    }?;
    // SAFETY: the mapping begins at a page, has `count` words of zero, which are valid atomics, and
    // is never unmapped. Whoever shares it reaches it as atomics too, so that no access is a race.
    Ok(unsafe { slice::from_raw_parts(start.cast().as_ptr(), count) })
}
