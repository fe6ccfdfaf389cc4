//! What stands on the board beside numbers.

use super::counter::named;

named! {
    /// What a process is for.
    Role {
        /// Opens what is needed, and looks after the others.
        Master = "master",
        /// Leads a generation.
        Publisher = "publisher",
        /// Reads the folder.
        Successor = "successor",
        /// Serves.
        Worker = "worker",
        /// Says how tine is.
        Admin = "admin",
        /// Writes the log.
        Logger = "logger",
    }
}

named! {
    /// How far tine is on its way.
    Phase {
        /// It serves.
        Serving = "serving",
        /// It was told to stop, and takes whoever comes; every answer is its connection's last.
        Leaving = "leaving",
        /// It takes nobody any more, and answers what it has.
        Draining = "draining",
    }
}

named! {
    /// What looks at the folder come to.
    Outcome {
        /// There was none yet.
        None = "none",
        /// Another generation.
        Ready = "ready",
        /// The same site.
        Unchanged = "unchanged",
        /// A site that cannot be served.
        Refused = "refused",
        /// A site that has lost its index, which has to last first.
        LostIndex = "lost-index",
    }
}

impl Outcome {
    pub(super) fn of(word: u64) -> Self {
        Self::ALL.iter().copied().find(|&outcome| outcome as u64 == word).unwrap_or(Self::None)
    }

    /// Whether what there is on the disk is not served.
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::Refused | Self::LostIndex)
    }
}

/// What the generation that serves is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// How many files it has.
    pub files: u64,
    /// How many bytes these have in all.
    pub bytes: u64,
    /// How many bytes are held in memory, gzip twins and heads among them.
    pub held: u64,
    /// How many gzip twins were made.
    pub twins: u64,
    /// How long it took to make, in microseconds.
    pub took: u64,
    /// Since when it serves, in milliseconds since 1970.
    pub since: u64,
}

/// A look at the folder that has come to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// What it has come to.
    pub outcome: Outcome,
    /// The generation that serves since then.
    pub generation: u64,
    /// How many files were new or other than before.
    pub changed: u64,
}
