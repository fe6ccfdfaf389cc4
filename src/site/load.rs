//! Takes the files of a walk into memory, or opens them, within the limits. What has not changed
//! since the former site is taken over from it without being read.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::beneath::Root;
use super::facts::{Facts, Kind};
use super::job::{Grade, Job, Patience};
use super::large::Large;
use super::media;
use super::order::order;
use super::retire::Pension;
use super::walk::{Step, What};
use super::{Asset, Content, Held, Site};
use crate::http::etag::{ETag, Hash};
use crate::http::head::Representation;
use crate::http::status::Status;

/// Largest file that is read for its tag, in bytes: longer reads would hold up what has changed.
const HASH_MAX: u64 = 1 << 30;
/// How much of a file is read at once to hash it, in bytes.
const READ: usize = 128 * 1024;

/// A file of the new site.
#[derive(Debug)]
pub(super) enum Loaded {
    /// That of the former site, by its place among the assets there.
    Same(usize),
    New(Asset),
}

impl Loaded {
    /// Its place in the former site.
    pub(super) fn origin(&self) -> Option<usize> {
        match self {
            Self::Same(at) => Some(*at),
            Self::New(_) => None,
        }
    }
}

/// What became of each step of a walk; none for what is no file.
pub(super) type Outcomes = Vec<Option<io::Result<Loaded>>>;

/// Within what is left of the limits.
pub(super) struct Loader<'l> {
    root: &'l Root,
    job: &'l Job<'l>,
    old: &'l Site,
    pub(super) memory_left: u64,
    open_left: usize,
    /// A file that was being written while it was read.
    pub(super) unsettled: Option<PathBuf>,
    /// A file whose former version serves on, since it was being written.
    pub(super) withheld: Option<PathBuf>,
}

/// A file of the walk, and what the former site has in its place.
struct Candidate<'l> {
    path: &'l Path,
    size: u64,
    old: Option<(usize, &'l Asset)>,
    /// Whether its bytes are sure to be those of the former site.
    is_same: bool,
}

/// A file that was opened, and what it had to tell.
struct Reading {
    body: Vec<u8>,
    facts: Facts,
    /// Whether somebody may be in the middle of writing it.
    in_flux: bool,
    /// Whether somebody has written to it while it was read.
    is_torn: bool,
}

impl<'l> Loader<'l> {
    pub(super) fn new(root: &'l Root, job: &'l Job<'l>, old: &'l Site, pension: &Pension) -> Self {
        let limits = &job.rules.limits;
        let memory_left = limits.for_bodies().saturating_sub(pension.memory);
        let open_left = limits.open_files_max.saturating_sub(pension.open);
        Self { root, job, old, memory_left, open_left, unsettled: None, withheld: None }
    }

    /// Smallest first, ties by path, for as long as the memory lasts; all others in path order.
    /// `urls` are the paths of the files.
    pub(super) fn load(&mut self, steps: &'l [Step], urls: &[Vec<u8>]) -> Outcomes {
        let mut outcomes: Outcomes = steps.iter().map(|_| None).collect();
        let mut candidates: Vec<Option<Candidate<'l>>> = steps.iter().map(|_| None).collect();
        let mut urls = urls.iter();
        for (candidate, step) in candidates.iter_mut().zip(steps) {
            if let What::File(facts) = step.what {
                *candidate = urls.next().map(|url| self.candidate(step, &facts, url));
            }
        }
        for index in by_size(&candidates) {
            let Some(candidate) = &candidates[index] else { continue };
            if candidate.size > self.job.rules.limits.memory_file_max.min(self.memory_left) {
                break;
            }
            outcomes[index] = self.hold(candidate).transpose();
        }
        for (candidate, outcome) in candidates.iter().zip(&mut outcomes) {
            if let Some(candidate) = candidate.as_ref().filter(|_| outcome.is_none()) {
                *outcome = Some(self.leave(candidate));
            }
        }
        outcomes
    }

    fn candidate(&self, step: &'l Step, facts: &Facts, url: &[u8]) -> Candidate<'l> {
        let old = self.old.asset_at(url).map(|at| (at, &self.old.assets[at]));
        let is_same = old.is_some_and(|(_, asset)| self.is_same(asset, facts));
        Candidate { path: &step.path, size: facts.size, old, is_same }
    }

    fn is_same(&self, old: &Asset, facts: &Facts) -> bool {
        facts.is_same_state(&old.facts) && facts.were_settled(self.old.as_of)
    }

    fn open(&self, path: &Path) -> io::Result<(File, Facts)> {
        let file = self.root.open_beneath(path)?;
        match Facts::of(&file)? {
            (Kind::File, facts) => Ok((file.into(), facts)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn read(&self, path: &Path) -> io::Result<Reading> {
        let (file, facts) = self.open(path)?;
        let memory_file_max = self.job.rules.limits.memory_file_max;
        let capacity = usize::try_from(facts.size.min(memory_file_max)).unwrap_or(0);
        // One byte more than is expected lets the last read find the end without growing.
        let mut body = Vec::with_capacity(capacity + 1);
        (&file).take(memory_file_max.saturating_add(1)).read_to_end(&mut body)?;
        let (_, after) = Facts::of(&file)?;
        let is_torn = !after.is_same_state(&facts);
        let in_flux = is_torn || !after.has_rested(self.job.reload_debounce, self.job.now);
        Ok(Reading { body, facts: after, in_flux, is_torn })
    }

    /// Holds a file; none if it has outgrown the limits since the walk.
    fn hold(&mut self, file: &Candidate<'l>) -> io::Result<Option<Loaded>> {
        if let Some((at, asset)) = file.old.filter(|_| file.is_same)
            && matches!(asset.content, Content::Held(_))
        {
            return Ok(self.afford(asset.content.memory()).then_some(Loaded::Same(at)));
        }
        let Reading { body, facts, in_flux, is_torn } = self.read(file.path)?;
        if in_flux {
            self.note_flux(file);
            if let Some(at) = former(file, &facts, is_torn) {
                self.withheld = Some(file.path.to_owned());
                return Ok(Some(Loaded::Same(at)));
            }
            if is_torn {
                // It is sent as it is then, for as long as it does not change while that is done.
                self.withheld = Some(file.path.to_owned());
                return Ok(None);
            }
        }
        if let Some((at, asset)) = file.old
            && let Content::Held(held) = &asset.content
            && facts.is_same_state(&asset.facts)
            && held.body() == body
            && facts.last_modified(self.job.now.as_secs()) == asset.modified()
        {
            return Ok(self.afford(asset.content.memory()).then_some(Loaded::Same(at)));
        }
        let media_type = media::of(file.path.as_os_str().as_bytes());
        let modified = facts.last_modified(self.job.now.as_secs());
        let representation = Representation {
            etag: Some(ETag::of(&body)),
            modified,
            ..Representation::plain([media_type, media::parameter(media_type)], body.len() as u64)
        };
        let mut head = Vec::new();
        representation.file_head(&mut head, Status::Ok);
        let is_small = body.len() as u64 <= self.job.rules.limits.memory_file_max;
        if !is_small || !self.afford((head.len() + body.len()) as u64) {
            return Ok(None);
        }
        let content = Content::Held(Held::new(&head, &body));
        Ok(Some(Loaded::New(Asset::new(media_type, modified, facts, content))))
    }

    fn afford(&mut self, cost: u64) -> bool {
        let left = self.memory_left.checked_sub(cost);
        self.memory_left = left.unwrap_or(self.memory_left);
        left.is_some()
    }

    /// Takes note that somebody may be writing a file at this moment.
    fn note_flux(&mut self, file: &Candidate<'l>) {
        if self.job.patience == Patience::Some {
            self.unsettled.get_or_insert_with(|| file.path.to_owned());
        }
    }

    /// Leaves a file where it is, and open if that is within the limits.
    fn leave(&mut self, file: &Candidate<'l>) -> io::Result<Loaded> {
        let wants_tag = self.job.grade == Grade::Full && file.size <= HASH_MAX;
        let keeps = self.open_left > 0;
        let old = file.old.and_then(|(at, asset)| Some((at, &asset.facts, asset.content.large()?)));
        let old = old.filter(|(_, _, large)| large.is_kept() == keeps);
        if let Some((at, _, large)) = old.filter(|_| file.is_same)
            && (large.etag.is_some() || !wants_tag)
        {
            self.open_left -= usize::from(keeps);
            return Ok(Loaded::Same(at));
        }
        let (opened, facts) = self.open(file.path)?;
        self.open_left -= usize::from(keeps);
        let etag = if wants_tag { self.hash(file, &opened, &facts)? } else { None };
        if let Some((at, before, large)) = old
            && facts.is_same_state(before)
            && large.etag == etag
        {
            return Ok(Loaded::Same(at));
        }
        let mut large = if keeps { Large::kept(opened) } else { Large::named(file.path) };
        large.etag = etag;
        let media_type = media::of(file.path.as_os_str().as_bytes());
        let content = Content::Large(Box::new(large));
        Ok(Loaded::New(Asset::new(media_type, None, facts, content)))
    }

    /// The tag of a file that is not held; none while it is being written.
    fn hash(
        &mut self,
        file: &Candidate<'l>,
        mut opened: &File,
        facts: &Facts,
    ) -> io::Result<Option<ETag>> {
        let mut has_rested = facts.has_rested(self.job.reload_debounce, self.job.now);
        let mut etag = None;
        if has_rested {
            let mut hash = Hash::default();
            let mut buffer = vec![0; READ];
            loop {
                match opened.read(&mut buffer)? {
                    0 => break,
                    len => hash.add(&buffer[..len]),
                }
            }
            has_rested = Facts::of(opened)?.1.is_same_state(facts);
            etag = has_rested.then(|| hash.etag());
        }
        if !has_rested {
            self.note_flux(file);
        }
        Ok(etag)
    }
}

/// The former version of a held file that is being written, by its place among the assets: as long
/// as it is not known where that ends, it serves on.
fn former(file: &Candidate<'_>, facts: &Facts, is_torn: bool) -> Option<usize> {
    let (at, asset) = file.old?;
    let is_in_place = asset.facts.is_same_file(facts) && !asset.facts.is_same_state(facts);
    let is_held = matches!(asset.content, Content::Held(_));
    (is_held && (is_torn || is_in_place)).then_some(at)
}

/// The steps by the size of their files, smallest first, ties by path.
fn by_size(candidates: &[Option<Candidate<'_>>]) -> Vec<usize> {
    let key = |at: usize| candidates[at].as_ref().map(|file| (file.size, file.path));
    order(candidates.len(), &|a, b| key(a).cmp(&key(b)))
}
