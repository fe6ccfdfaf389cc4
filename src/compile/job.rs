//! What a compile is to do, and what a site may cost.

use std::path::PathBuf;
use std::time::Duration;

use crate::control::reload::Unstable;
use crate::http::extra::Extra;
use crate::site::Pass;

/// What a compile is to do.
#[derive(Clone, Copy, Debug)]
pub struct Job<'r> {
    /// What is to be made of the directory.
    pub rules: &'r Rules,
    /// The generation that the image will be.
    pub generation: u64,
    /// When the compile begins, in a time since 1970.
    pub now: Duration,
    /// The same since boot (CLOCK_BOOTTIME), in seconds.
    pub boot_seconds: u64,
    /// When the former image was known to be as the file system is, in a time since 1970.
    pub former_as_of: Duration,
    /// Whether bodies of the former image are compared with the files even if their stat is
    /// unchanged: another compiler has written it, which may have died of a fault.
    pub verifies: bool,
    /// How long a file must be unchanged before it counts as completely written.
    pub reload_debounce: Duration,
    /// How much is to be made of the files.
    pub pass: Pass,
    /// What to do about files that are being written.
    pub unstable: Unstable,
    /// Whether the site may be without the root's index if the former one had it.
    pub may_lose_index: bool,
}

impl<'r> Job<'r> {
    /// A first compile, `now` in seconds since 1970.
    pub fn first(rules: &'r Rules, now: u64) -> Self {
        Self {
            rules,
            generation: 1,
            now: Duration::from_secs(now),
            boot_seconds: 0,
            former_as_of: Duration::ZERO,
            verifies: false,
            reload_debounce: Duration::ZERO,
            pass: Pass::Quick,
            unstable: Unstable::Accept,
            may_lose_index: true,
        }
    }
}

/// What is to be made of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// What it may cost.
    pub limits: SiteLimits,
    /// The file, beneath the root, that is served for unknown pages of a single-page app.
    pub spa_fallback: Option<PathBuf>,
    /// What every response says.
    pub extra: Extra,
    /// Whether it has the paths of [`Probe::ALL`](crate::site::Probe::ALL).
    pub health: bool,
    /// How long a file with a name that is made from its content is served once it is gone.
    pub keep_removed_assets: Duration,
}

/// What a site may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteLimits {
    /// Largest file in memory, in bytes.
    pub memory_file_max: u64,
    /// Most memory for bodies, their gzip variants, and heads of one image, in bytes.
    pub memory_max: u64,
    /// Largest text that gets a gzip variant, in bytes; 0 for none.
    pub gzip_max: u64,
    /// Most files and directories. Links that lead from directory to directory can make few look
    /// like many.
    pub files_max: usize,
}

/// What part of the memory is left to gzip variants.
const VARIANTS_SHARE: u64 = 4;

impl SiteLimits {
    /// Most memory for bodies and their own heads, in bytes. A quarter is left to gzip variants: to
    /// send a text small is worth more than to send it from memory.
    pub(super) fn for_bodies(&self) -> u64 {
        let variants = if self.gzip_max == 0 { 0 } else { self.memory_max / VARIANTS_SHARE };
        self.memory_max - variants
    }
}

impl Default for SiteLimits {
    fn default() -> Self {
        Self {
            memory_file_max: 1024 * 1024,
            memory_max: 64 * 1024 * 1024,
            gzip_max: 8 * 1024 * 1024,
            files_max: 2_000_000,
        }
    }
}
