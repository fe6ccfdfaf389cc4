//! The master's part of the scoreboard.

use std::sync::atomic::{AtomicU64, Ordering};

use super::counter::named;
use super::load_acquire;

const PHASE: usize = 0;
const CUT: usize = 1;
const HOLDERS: usize = 8;

/// How many words it has.
pub(super) const fn words(slots: usize) -> usize {
    HOLDERS + slots
}

named! {
    /// What a process does.
    Role {
        /// Opens the listeners, forks all others and restarts them.
        Master = "master",
        /// Compiles the directory and publishes site images.
        Compiler = "compiler",
        /// Serves.
        Worker = "worker",
        /// Answers probes and metrics.
        Admin = "admin",
        /// Writes the log.
        Logger = "logger",
    }
}

named! {
    /// How far a graceful shutdown is.
    Phase {
        /// None was asked for.
        Serving = "serving",
        /// New connections are accepted still; each response is its connection's last.
        LameDuck = "lame-duck",
        /// Connections in the backlog are served, and responses in flight are sent.
        Draining = "draining",
        /// All workers are gone: admin and logger end.
        Ended = "ended",
    }
}

/// What the master says. Only it may store.
#[derive(Clone, Copy, Debug)]
pub struct Control<'w> {
    words: &'w [AtomicU64],
}

impl<'w> Control<'w> {
    pub(super) fn new(words: &'w [AtomicU64]) -> Self {
        Self { words }
    }

    /// How far a graceful shutdown is.
    pub fn phase(&self) -> Phase {
        let word = load_acquire(&self.words[PHASE]);
        Phase::ALL.iter().copied().find(|&phase| phase as u64 == word).unwrap_or(Phase::Serving)
    }

    /// Says how far a graceful shutdown is.
    pub fn set_phase(&self, phase: Phase) {
        self.words[PHASE].store(phase as u64, Ordering::Release);
    }

    /// Responses of a generation below this one have to let go of what the current site image does
    /// not name.
    pub fn cut(&self) -> u64 {
        load_acquire(&self.words[CUT])
    }

    /// Raises [`Control::cut`].
    pub fn raise_cut(&self, generation: u64) {
        let cut = self.cut().max(generation);
        self.words[CUT].store(cut, Ordering::Release);
    }

    /// The role and pid of the process in a slot.
    pub fn holder(&self, slot: usize) -> Option<(Role, i32)> {
        let word = load_acquire(self.words.get(HOLDERS + slot)?);
        let role = Role::ALL.get(usize::try_from(word >> 32).ok()?.checked_sub(1)?)?;
        Some((*role, i32::try_from(word & u64::from(u32::MAX)).ok()?))
    }

    /// Says which process is in a slot.
    pub fn set_holder(&self, slot: usize, role: Role, pid: i32) {
        let word = (role as u64 + 1) << 32 | u64::from(pid.cast_unsigned());
        self.words[HOLDERS + slot].store(word, Ordering::Release);
    }

    /// Says that no process is in a slot.
    pub fn release_holder(&self, slot: usize) {
        self.words[HOLDERS + slot].store(0, Ordering::Release);
    }
}
