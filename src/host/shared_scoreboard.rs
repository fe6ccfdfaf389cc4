//! The memory of the scoreboard: a memfd that the master maps to be written, and each child only
//! to be read, but for the child's own parts.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::unistd::ftruncate;

use super::arena::{create_memfd, page_size};
use crate::scoreboard::{Layout, Role, Scoreboard};
use crate::sys::shared;

/// The memory of the scoreboard.
#[derive(Debug)]
pub struct SharedScoreboard {
    memfd: OwnedFd,
    words: &'static [AtomicU64],
    layout: Layout,
}

impl SharedScoreboard {
    /// Makes a scoreboard with this many slots, of which each can pin this many ranges. No process
    /// can map it to be written after this.
    ///
    /// # Errors
    /// Those of memfd_create(2), ftruncate(2) and mmap(2).
    pub fn create(slots: usize, pins: usize) -> nix::Result<Self> {
        let page = usize::try_from(page_size()).unwrap_or(4096);
        let layout = Layout::new(page, slots, pins);
        let memfd = create_memfd(c"tine-scoreboard")?;
        let len = i64::try_from(layout.words() * size_of::<u64>()).unwrap_or(i64::MAX);
        ftruncate(&memfd, len)?;
        let words = shared::words(&memfd, layout.words())?;
        let seals = SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK;
        fcntl(&memfd, FcntlArg::F_ADD_SEALS(seals))?;
        // Kernels before 5.1 do not know it.
        let future_write = SealFlag::from_bits_retain(nix::libc::F_SEAL_FUTURE_WRITE);
        let _ = fcntl(&memfd, FcntlArg::F_ADD_SEALS(future_write));
        fcntl(&memfd, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SEAL))?;
        Ok(Self { memfd, words, layout })
    }

    /// The scoreboard.
    pub fn board(&self) -> Scoreboard<'static> {
        Scoreboard::new(self.layout, self.words)
    }

    /// In a child: gives up the right to write anything but what the process in this slot says.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn protect_for(self, role: Role, slot: usize) -> nix::Result<()> {
        let own = self.layout.slot(slot);
        let compiler = self.layout.compiler();
        let mut writable: Vec<Range<usize>> = vec![own];
        if role == Role::Compiler {
            writable.insert(0, compiler);
        }
        let mut start = 0;
        for Range { start: end, end: next } in writable {
            shared::protect(&self.memfd, self.words, start..end)?;
            start = next;
        }
        shared::protect(&self.memfd, self.words, start..self.layout.words())
    }
}
