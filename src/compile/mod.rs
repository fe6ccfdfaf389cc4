//! Compiles a directory into a site image: the first one from nothing, each later one from the
//! image before it and what has changed since.
//!
//! 1. `walk` finds out what is there.
//! 2. `load` takes files into memory, or leaves them on disk; what is unchanged stays where it is.
//! 3. `retention` keeps files whose names are made from their content for a while.
//! 4. `precompressed` and `gzip` find and make variants in a content coding.
//! 5. `heads` writes the heads of all 200 responses.
//!
//! All disk I/O of the site is here, and nothing here waits for anything else.

mod assemble;
mod gzip;
mod heads;
mod job;
mod load;
mod memory;
mod precompressed;
mod retention;
mod root;
mod walk;

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::site::{About, DraftError, FileStat, Finished, Former};

pub use crate::control::reload::{INDEX_LOSS_GRACE, Unstable};
use assemble::Assembly;
pub use job::{Job, Rules, SiteLimits};
pub use memory::{SiteMemory, WriteStats};
pub use root::{Root, path_of};
use walk::Walk;

/// What a compile comes to.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one, and it is taken apart at once")]
pub enum Outcome {
    /// Another site.
    Ready(Compiled),
    /// The same site once more.
    Unchanged {
        /// See [`Summary::is_unfinished`].
        is_unfinished: bool,
        /// See [`Summary::lacks_memory`].
        lacks_memory: bool,
    },
}

impl Outcome {
    /// The other site, if it is one.
    pub fn ready(self) -> Option<Compiled> {
        match self {
            Self::Ready(compiled) => Some(compiled),
            Self::Unchanged { .. } => None,
        }
    }
}

/// A site that can be published.
#[derive(Debug)]
pub struct Compiled {
    /// The image, to be written.
    pub image: Finished,
    /// What is to be said of it.
    pub summary: Summary,
}

/// A site in numbers and warnings.
#[derive(Debug)]
pub struct Summary {
    /// How many files it has.
    pub files: usize,
    /// How many bytes these have in all.
    pub bytes: u64,
    /// How many bytes of heads and bodies are in memory.
    pub in_memory: u64,
    /// How many files were not in the image before it, or not in this version.
    pub changed: usize,
    /// How many gzip variants were made here, now or before.
    pub variants: usize,
    /// Whether former versions are served of files that were being written.
    pub is_partial: bool,
    /// Whether there are files that want an ETag or a gzip variant still.
    pub is_unfinished: bool,
    /// Whether memory that is about to be released would have let more files be in memory.
    pub lacks_memory: bool,
    /// What could not be served, one line for each.
    pub warnings: Vec<String>,
}

/// Why there is no new site.
#[derive(Debug)]
pub enum CompileError {
    /// The root itself cannot be read.
    Root(io::Error),
    /// There are more files and directories than this.
    TooMany(usize),
    /// A file cannot be read that could be, as it is when a disk fails.
    Read(PathBuf, io::Error),
    /// This was changed meanwhile.
    Unstable(PathBuf),
    /// The root's index is gone.
    IndexLost,
    /// The format has too few numbers for the site.
    Format(DraftError),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(error) => write!(f, "cannot read the directory: {error}"),
            Self::TooMany(most) => {
                write!(f, "more than {most} files and directories; raise --files-max, or look ")?;
                f.write_str("for links that lead from directory to directory")
            }
            Self::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Unstable(path) => write!(f, "{} is being changed", path.display()),
            Self::IndexLost => f.write_str("index.html is gone"),
            Self::Format(DraftError::TooLarge) => f.write_str("more paths than an image can hold"),
        }
    }
}

/// Whether a long compile is to stop early, since something has changed.
pub type Interrupt<'i> = &'i mut dyn FnMut() -> bool;

/// Reads all that is beneath `root`, but for what is as it was in `former`. `watch` gets each
/// directory before it is read, and the files that links lead to. Bodies and heads are written to
/// `memory`, where no reader sees them before the image is published.
///
/// # Errors
/// If the root itself cannot be read, or there is too much beneath it, or it is no time to read it;
/// what was written to `memory` is punched then. Anything else that cannot be read is a warning,
/// and answers 403.
pub fn compile(
    root: &Root,
    job: &Job<'_>,
    former: Option<Former<'_>>,
    memory: &mut SiteMemory,
    watch: &mut dyn FnMut(BorrowedFd<'_>),
    interrupt: Interrupt<'_>,
) -> Result<Outcome, CompileError> {
    let outcome = assemble_all(root, job, former, memory, watch, interrupt);
    if !matches!(outcome, Ok(Outcome::Ready(_))) {
        memory.abandon_new();
    }
    outcome
}

fn assemble_all(
    root: &Root,
    job: &Job<'_>,
    former: Option<Former<'_>>,
    memory: &mut SiteMemory,
    watch: &mut dyn FnMut(BorrowedFd<'_>),
    interrupt: Interrupt<'_>,
) -> Result<Outcome, CompileError> {
    let (_, root_stat) = FileStat::of(root).map_err(|errno| CompileError::Root(errno.into()))?;
    let files_max = job.rules.limits.files_max;
    let walk = Walk::new(root, files_max, watch).map_err(CompileError::Root)?;
    if walk.len() > files_max {
        return Err(CompileError::TooMany(files_max));
    }
    // From here on the image is the directory as it is now: what is read later has to be what the
    // walk has found. Files may be written in place for ever, and are read all the same in the end;
    // but two trees of which one has replaced the other are never mixed.
    let is_replaced = || root.is_replaced() || walk.is_relinked(root);
    let changed = match job.unstable {
        Unstable::Retry => walk.changed_since(root),
        Unstable::Accept => is_replaced().then(|| root.path().to_owned()),
    };
    if let Some(path) = changed {
        return Err(CompileError::Unstable(path));
    }
    let mut assembly = Assembly::new(root, job, former, &walk, memory);
    assembly.add_files(interrupt)?;
    if assembly.has_lost_file && is_replaced() {
        return Err(CompileError::Unstable(root.path().to_owned()));
    }
    assembly.name_special_pages();
    assembly.find_precompressed();
    assembly.make_gzip_variants(interrupt);
    assembly.write_heads();

    let about = About {
        generation: job.generation,
        root: Some(root_stat.identity()),
        as_of: u64::try_from(job.now.as_nanos()).unwrap_or(u64::MAX),
    };
    let has_index = assembly.has_path(b"/");
    let kept_previous = assembly.kept_previous.take();
    let mut compiled = assembly.finish(about).map_err(CompileError::Format)?;
    if let Some(former) = &former {
        if compiled.image.is_same_as(former) {
            return match kept_previous {
                Some(path) => Err(CompileError::Unstable(path)),
                None => {
                    let Summary { is_unfinished, lacks_memory, .. } = compiled.summary;
                    Ok(Outcome::Unchanged { is_unfinished, lacks_memory })
                }
            };
        }
        let may_lose_index = job.may_lose_index && walk.is_unchanged_for(INDEX_LOSS_GRACE, job.now);
        if !has_index && former.has_path(b"/") && !may_lose_index {
            return Err(CompileError::IndexLost);
        }
    }
    compiled.summary.is_partial = kept_previous.is_some();
    Ok(Outcome::Ready(compiled))
}

/// Whether an error tells of a disk, or of a lack, and nothing about what is to be served.
fn is_of_disk(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
    matches!(
        errno,
        Errno::EIO
            | Errno::ESTALE
            | Errno::ENOTCONN
            | Errno::ETIMEDOUT
            | Errno::EHOSTDOWN
            | Errno::EHOSTUNREACH
            | Errno::ENODEV
            | Errno::ENXIO
            | Errno::EMFILE
            | Errno::ENFILE
            | Errno::ENOMEM
    )
}
