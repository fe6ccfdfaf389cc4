//! What is to be made of a folder.

use std::path::PathBuf;
use std::time::Duration;

use crate::http::extra::Extra;

/// What is to be made of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// What it may cost.
    pub limits: SiteLimits,
    /// The file, beneath the root, that stands in for pages that are missing.
    pub stand_in: Option<PathBuf>,
    /// What every answer says.
    pub extra: Extra,
    /// Whether it has the paths of [`Probe::ALL`](super::Probe::ALL).
    pub health: bool,
    /// How long a file with a name that is made from its content is served once it is gone.
    pub keep_removed_assets: Duration,
}

/// What a site may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteLimits {
    /// Largest file that is held in memory, in bytes.
    pub memory_file_max: u64,
    /// Most memory for all held bodies, their gzip twins, and their heads, in bytes.
    pub memory_max: u64,
    /// Largest text that gets a gzip twin, in bytes; 0 for none.
    pub gzip_max: u64,
    /// Most files that are kept open because they are not held.
    pub open_files_max: usize,
    /// Most files and folders. Links that lead from folder to folder can make few look like many.
    pub files_max: usize,
}

/// What part of the memory is left to gzip twins.
const TWINS_SHARE: u64 = 4;

impl SiteLimits {
    /// Most memory for held bodies and their own heads, in bytes. A quarter is left to gzip twins:
    /// to send a text small is worth more than to send it from memory.
    pub(super) fn for_bodies(&self) -> u64 {
        let twins = if self.gzip_max == 0 { 0 } else { self.memory_max / TWINS_SHARE };
        self.memory_max - twins
    }
}

impl Default for SiteLimits {
    fn default() -> Self {
        Self {
            memory_file_max: 64 * 1024,
            memory_max: 64 * 1024 * 1024,
            gzip_max: 8 * 1024 * 1024,
            open_files_max: 1024,
            files_max: 2_000_000,
        }
    }
}
