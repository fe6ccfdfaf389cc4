//! Compiles a folder into a [`Site`]: the first one from nothing, and each later one from the site
//! before it and what has changed since.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use nix::errno::Errno;

use super::beneath::Root;
use super::draft::Draft;
use super::job::{Grade, Job, Patience, VIGIL};
use super::load::{Loaded, Loader, Outcomes};
use super::retire::Pension;
use super::walk::{Step, Walk, What, url};
use super::{Asset, Probe, Site};

/// The root's page for what is missing.
const NOT_FOUND: &[u8] = b"/404.html";
/// The root's index.
const INDEX: &[u8] = b"/";

/// What a compile comes to.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one, and it is taken apart at once")]
pub enum Outcome {
    /// Another site.
    Ready(Compiled),
    /// The same site once more.
    Unchanged,
}

impl Outcome {
    /// The other site, if it is one.
    pub fn ready(self) -> Option<Compiled> {
        match self {
            Self::Ready(compiled) => Some(compiled),
            Self::Unchanged => None,
        }
    }
}

/// A site, and what its owner should hear of it.
#[derive(Debug)]
pub struct Compiled {
    /// The site itself.
    pub site: Site,
    /// How many files it has.
    pub files: usize,
    /// How many bytes these have in all.
    pub bytes: u64,
    /// How many bytes are held in memory, heads and gzip twins among them.
    pub held: u64,
    /// How many of them were not taken over from the site before it.
    pub changed: usize,
    /// How many gzip twins were made of them.
    pub twins: usize,
    /// Whether former versions stand in for files that were being written.
    pub is_partial: bool,
    /// What could not be served, one line for each.
    pub warnings: Vec<String>,
}

/// Why there is no new site.
#[derive(Debug)]
pub enum CompileError {
    /// The root itself cannot be read.
    Root(io::Error),
    /// There are more files and folders than this.
    TooMany(usize),
    /// A file cannot be read that could be, as it is when a disk fails.
    Read(PathBuf, io::Error),
    /// This was changed meanwhile.
    Unsettled(PathBuf),
    /// The root's index is gone.
    LostIndex,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(error) => write!(f, "cannot read the folder: {error}"),
            Self::TooMany(most) => {
                write!(f, "more than {most} files and folders; raise --files-max, or look for ")?;
                f.write_str("links that lead from folder to folder")
            }
            Self::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Unsettled(path) => write!(f, "{} is being changed", path.display()),
            Self::LostIndex => f.write_str("index.html is gone"),
        }
    }
}

/// Reads all that is beneath `root`, but for what is as it was in `old`. `watch` gets to see each
/// folder before it is read, and the files that links lead to.
///
/// # Errors
/// If the root itself cannot be read, or there is too much beneath it, or it is no time to read it.
/// Whatever else cannot be read is a warning, and answers 403.
pub fn compile(
    root: Root,
    job: &Job<'_>,
    old: Site,
    watch: &mut dyn FnMut(BorrowedFd<'_>),
) -> Result<Outcome, CompileError> {
    let rules = job.rules;
    let walk = Walk::new(&root, rules.limits.files_max, watch).map_err(CompileError::Root)?;
    if walk.steps.len() > rules.limits.files_max {
        return Err(CompileError::TooMany(rules.limits.files_max));
    }
    let urls = walk.urls();
    let pension = Pension::choose(&old, &urls, rules, job.now);
    let mut loader = Loader::new(&root, job, &old, &pension);
    let outcomes = loader.load(&walk.steps, &urls);
    let for_twins = rules.limits.memory_max - rules.limits.for_bodies();
    let memory_left = loader.memory_left.saturating_add(for_twins);
    let withheld = loader.withheld;
    if let Some(path) = loader.unsettled {
        return Err(CompileError::Unsettled(path));
    }

    let draft = draft(&walk, outcomes, &urls, &old, &pension, rules.health)?;
    if job.patience == Patience::Some
        && let Some(path) = walk.changed_since(&root)
    {
        return Err(CompileError::Unsettled(path.to_owned()));
    }
    let folders = walk.identities();
    let is_same = draft.is_same_as(&old) && folders == old.folders && job.grade <= old.grade;
    if old.is_there() && is_same {
        return match withheld {
            Some(path) => Err(CompileError::Unsettled(path)),
            None => Ok(Outcome::Unchanged),
        };
    }
    let has_index = draft.entries.iter().any(|entry| *entry.path == *INDEX);
    let may_lose_index = job.may_lose_index && walk.has_rested(VIGIL, job.now);
    if !has_index && old.entry(INDEX).is_some() && !may_lose_index {
        return Err(CompileError::LostIndex);
    }
    let mut compiled = finish(draft, root, job, old, memory_left);
    compiled.site.folders = folders;
    compiled.is_partial = withheld.is_some();
    Ok(Outcome::Ready(compiled))
}

/// Puts together what the files have come to.
fn draft(
    walk: &Walk,
    outcomes: Outcomes,
    urls: &[Vec<u8>],
    old: &Site,
    pension: &Pension,
    has_probes: bool,
) -> Result<Draft, CompileError> {
    let mut draft = Draft::default();
    let mut urls = urls.iter();
    for (Step { path, what }, outcome) in walk.steps.iter().zip(outcomes) {
        match (what, outcome) {
            (What::Unreadable(error), _) if old.is_there() && is_of_disk(error) => {
                let error = io::Error::new(error.kind(), error.to_string());
                return Err(CompileError::Read(path.clone(), error));
            }
            (What::Unreadable(error), _) => draft.add_unreadable(path, error),
            (What::Folder, _) => {}
            (What::File(_), outcome) => match (urls.next(), outcome) {
                (Some(url), Some(Ok(_))) if has_probes && Probe::is_at(url) => draft.hide(url),
                (Some(url), Some(Ok(file))) => draft.add_file(url, file),
                // Gone since the walk: it was never there.
                (_, Some(Err(error))) if error.kind() == io::ErrorKind::NotFound => {}
                (_, Some(Err(error))) if old.is_there() && is_of_disk(&error) => {
                    return Err(CompileError::Read(path.clone(), error));
                }
                (_, Some(Err(error))) => draft.add_unreadable_file(path, &error),
                (_, None) | (None, _) => debug_assert!(false, "a file without an outcome"),
            },
        }
    }
    if has_probes {
        draft.add_probes();
    }
    draft.sort();
    draft.retire(old, &pension.files);
    let links_out = walk.links_out.iter().map(|path| {
        format!("{} is a link that leads out of the folder; it answers 404", path.display())
    });
    draft.warnings.extend(links_out);
    Ok(draft)
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

/// Puts the site together; `memory_left` is for the heads of siblings, and for twins.
fn finish(draft: Draft, root: Root, job: &Job<'_>, old: Site, mut memory_left: u64) -> Compiled {
    let Draft { mut entries, files, retired, mut warnings } = draft;
    let origins: Vec<_> = files.iter().map(Loaded::origin).collect();
    let changed = origins.iter().filter(|origin| origin.is_none()).count();
    let mut former: Vec<_> = old.assets.into_iter().map(Some).collect();
    let assets = files.into_iter().filter_map(|file| match file {
        Loaded::Same(at) => former[at].take(),
        Loaded::New(asset) => Some(asset),
    });
    let assets: Vec<_> = assets.collect();
    drop(former);
    entries.shrink_to_fit();
    let present = &assets[..assets.len() - retired.len()];
    let (files, bytes) = (present.len(), present.iter().map(Asset::size).sum());
    let mut site = Site {
        root: Some(root),
        entries,
        assets,
        retired,
        folders: Vec::new(),
        not_found: None,
        stand_in: None,
        extra: job.rules.extra.clone(),
        as_of: job.now,
        grade: job.grade,
    };
    site.look_after_retired();
    site.not_found = site.asset_at(NOT_FOUND);
    if let Some(path) = &job.rules.stand_in {
        site.stand_in = site.asset_at(&url(path));
        if site.stand_in.is_none() {
            let path = path.display();
            warnings.push(format!(
                "--spa: {path} is no file that can be served; missing pages answer 404"
            ));
        }
    }
    site.find_siblings(&origins, &mut memory_left);
    if job.grade == Grade::Full {
        site.make_twins(job.rules.limits.gzip_max, &mut memory_left);
    }
    let twins = site.twins();
    let held = job.rules.limits.memory_max.saturating_sub(memory_left);
    Compiled { site, files, bytes, held, changed, twins, is_partial: false, warnings }
}
