//! Mistakes that a test build makes on purpose (`--features faults`), so that a test can show that
//! it would find them. In any other build there are none, and what asks for one is compiled away.

/// A mistake in publication or reclamation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Pages are released while readers use them.
    ReleaseAtOnce,
    /// Pages are written again although they were not punched.
    ReuseWithoutPunch,
    /// Pins hold nothing back.
    IgnorePins,
    /// A reader says what it reads after it has begun to.
    GenerationAfterLoad,
    /// A reader does not look again whether what it is about to read is still published.
    NoSecondLoad,
    /// A new compiler releases what readers of older images use.
    RestartWithoutWaiting,
}

/// Where a test build waits, so that other processes get in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// A reader has loaded what is published, and has not said so.
    Adopt,
    /// A reader has adopted an image, and is about to read it.
    Read,
    /// The compiler has written an image, and has not published it.
    Publish,
    /// The compiler has published, and has not punched what readers do not use.
    Punch,
}

/// What a test wants to know to have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Race {
    /// The generation of a reader held back a release.
    HeldByGeneration,
    /// A pin held back a release.
    HeldByPin,
    /// The arena had no room for all of an image.
    LacksMemory,
    /// A response of a former image was aborted.
    Abort,
    /// A body lost its pin while the socket held pages of it.
    UnpinnedInSocket,
}

#[cfg(not(feature = "faults"))]
mod chosen {
    use super::{Fault, Race, Window};

    /// Says that something has happened, which is found out only if it is to be said.
    pub fn note(_: Race, _: impl FnOnce() -> bool) {}

    /// Whether this process makes a mistake.
    pub const fn is_on(_: Fault) -> bool {
        false
    }

    /// Waits in a window.
    pub const fn wait_in(_: Window) {}
}

#[cfg(feature = "faults")]
mod chosen {
    use std::sync::OnceLock;
    use std::thread;
    use std::time::Duration;

    use super::{Fault, Race, Window};

    /// Says that something has happened, which is found out only if it is to be said: a file of
    /// its name in the directory that `TEST_RACES` names.
    pub fn note(race: Race, has_happened: impl FnOnce() -> bool) {
        static DIRECTORY: OnceLock<String> = OnceLock::new();
        let directory = DIRECTORY.get_or_init(|| variable("TEST_RACES"));
        if !directory.is_empty() && has_happened() {
            let _ = std::fs::write(format!("{directory}/{race:?}"), "");
        }
    }

    fn variable(name: &str) -> String {
        std::env::var(name).unwrap_or_default()
    }

    /// Whether this process makes a mistake: the one that `TEST_FAULT` names.
    pub fn is_on(fault: Fault) -> bool {
        static CHOSEN: OnceLock<String> = OnceLock::new();
        *CHOSEN.get_or_init(|| variable("TEST_FAULT")) == format!("{fault:?}")
    }

    /// Waits in a window, for the milliseconds that `TEST_WINDOW` says: `Adopt=2`.
    #[expect(clippy::disallowed_methods, reason = "to stand still is what is wanted here")]
    pub fn wait_in(window: Window) {
        static CHOSEN: OnceLock<(String, Duration)> = OnceLock::new();
        let (name, time) = CHOSEN.get_or_init(|| {
            let text = variable("TEST_WINDOW");
            let (name, millis) = text.split_once('=').unwrap_or(("", "0"));
            (name.to_owned(), Duration::from_millis(millis.parse().unwrap_or(0)))
        });
        if *name == format!("{window:?}") {
            thread::sleep(*time);
        }
    }
}

pub use chosen::{is_on, note, wait_in};
