//! What is to be made of a folder.

use std::path::PathBuf;

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
}

/// What a site may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteLimits {
    /// Largest file that is held in memory, in bytes.
    pub inline_max: u64,
    /// Most memory for all held bodies and their heads, in bytes.
    pub memory_max: u64,
    /// Most files that are kept open because they are not held.
    pub open_max: usize,
    /// Most files and folders. Links that lead from folder to folder can make few look like many.
    pub files_max: usize,
}

impl Default for SiteLimits {
    fn default() -> Self {
        Self {
            inline_max: 64 * 1024,
            memory_max: 64 * 1024 * 1024,
            open_max: 1024,
            files_max: 2_000_000,
        }
    }
}
