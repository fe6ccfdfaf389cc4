//! What a compile is to do.

use std::time::Duration;

use super::Rules;

/// How long nothing must have moved before a site is served that has lost its index: a build tool
/// may have emptied its folder first.
pub const VIGIL: Duration = Duration::from_secs(30);

/// What a compile is to do.
#[derive(Clone, Copy, Debug)]
pub struct Job<'r> {
    /// What is to be made of the folder.
    pub rules: &'r Rules,
    /// When it begins, in a time since 1970.
    pub now: Duration,
    /// How long a file must have rested, so that nobody is taken to be writing it.
    pub reload_debounce: Duration,
    /// How much is to be made of the files.
    pub grade: Grade,
    /// What to do about files that are being written.
    pub patience: Patience,
    /// Whether the new site may be without the root's index if the old one had it.
    pub may_lose_index: bool,
}

impl<'r> Job<'r> {
    /// A first compile, `now` in seconds since 1970.
    pub fn first(rules: &'r Rules, now: u64) -> Self {
        Self {
            rules,
            now: Duration::from_secs(now),
            reload_debounce: Duration::ZERO,
            grade: Grade::Quick,
            patience: Patience::None,
            may_lose_index: true,
        }
    }
}

/// How much is made of the files of a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// What is needed to serve them.
    #[default]
    Quick,
    /// Gzip twins too, and tags of files that are not held.
    Full,
}

/// What to do about files that are being written while they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Give up, to try again later.
    Some,
    /// Make the best of it: their former state serves on, or what is there now.
    None,
}
