//! The terminal that tine was started at.

use std::fs::File;

use nix::sys::signal::Signal;

use crate::sys::signals;

/// The terminal that tine was started at.
pub(super) struct Terminal {
    /// Whether its end is a word to stop; `nohup` says that it is not.
    matters: bool,
}

impl Terminal {
    pub(super) fn look() -> Self {
        Self { matters: Self::is_there() && !signals::is_ignored(Signal::SIGHUP) }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.matters && !Self::is_there()
    }

    /// Whether a terminal controls this process (tty(4)).
    fn is_there() -> bool {
        File::open("/dev/tty").is_ok()
    }
}
