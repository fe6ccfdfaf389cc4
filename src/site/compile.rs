//! Compiles a folder into a [`Site`].

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::beneath::Root;
use super::facts::{Facts, Kind};
use super::large::Large;
use super::media;
use super::walk::{Step, Walk, What};
use super::{Asset, Content, Entry, Held, Leads, Probe, Rules, Site, SiteLimits};
use crate::http::etag::ETag;
use crate::http::head::Representation;
use crate::http::status::Status;

/// The file that answers for its folder.
const INDEX: &[u8] = b"index.html";
/// The root's page for what is missing.
const NOT_FOUND: &[u8] = b"/404.html";

/// A site, and what its owner should hear of it.
#[derive(Debug)]
pub struct Compiled {
    /// The site itself.
    pub site: Site,
    /// How many files it has.
    pub files: usize,
    /// How many bytes these have in all.
    pub bytes: u64,
    /// What could not be served, one line for each.
    pub warnings: Vec<String>,
}

/// Why a folder cannot be compiled at all.
#[derive(Debug)]
pub enum CompileError {
    /// The root itself cannot be read.
    Root(io::Error),
    /// There are more files and folders than this.
    TooMany(usize),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(error) => write!(f, "cannot read the folder: {error}"),
            Self::TooMany(most) => {
                write!(f, "more than {most} files and folders; raise --files-max, or look for ")?;
                f.write_str("links that lead from folder to folder")
            }
        }
    }
}

/// Reads all that is beneath `root`; `now` is in seconds since 1970.
///
/// # Errors
/// If the root itself cannot be read, or there is too much beneath it. Whatever else cannot be read
/// is a warning, and answers 403.
pub fn compile(root: Root, rules: &Rules, now: u64) -> Result<Compiled, CompileError> {
    let limits = &rules.limits;
    let walk = Walk::new(&root, limits.files_max).map_err(CompileError::Root)?;
    if walk.steps.len() > limits.files_max {
        return Err(CompileError::TooMany(limits.files_max));
    }
    let mut loader = Loader::new(&root, limits, now);
    let loaded = loader.load(&walk.steps);
    let memory_left = loader.memory_left;
    let mut draft = Draft::default();
    for (Step { path, what }, loaded) in walk.steps.iter().zip(loaded) {
        match (what, loaded) {
            (What::Unreadable(error), _) => draft.add_unreadable(path, error),
            (What::Folder, _) | (What::File(_), None) => {}
            (What::File(_), Some(Ok(asset))) => draft.add_file(path, asset),
            // Gone since the walk: it was never there.
            (What::File(_), Some(Err(error))) if error.kind() == io::ErrorKind::NotFound => {}
            (What::File(_), Some(Err(error))) => draft.add_unreadable_file(path, &error),
        }
    }
    let links_out = walk.links_out.iter().map(|path| {
        format!("{} is a link that leads out of the folder; it answers 404", path.display())
    });
    draft.warnings.extend(links_out);
    Ok(draft.finish(root, rules, memory_left))
}

/// Takes files into memory, or opens them, within the limits.
struct Loader<'l> {
    root: &'l Root,
    limits: &'l SiteLimits,
    now: u64,
    memory_left: u64,
    open_left: usize,
}

/// What became of each step of a walk; none for what is no file.
type Loaded = Vec<Option<io::Result<Asset>>>;

impl<'l> Loader<'l> {
    fn new(root: &'l Root, limits: &'l SiteLimits, now: u64) -> Self {
        let (memory_left, open_left) = (limits.memory_max, limits.open_max);
        Self { root, limits, now, memory_left, open_left }
    }

    /// Smallest first, ties by path, for as long as the memory lasts; all others in path order.
    fn load(&mut self, steps: &[Step]) -> Loaded {
        let mut loaded: Loaded = steps.iter().map(|_| None).collect();
        for (size, index) in by_size(steps) {
            if size > self.limits.inline_max || size > self.memory_left {
                break;
            }
            loaded[index] = self.hold(&steps[index].path).transpose();
        }
        for (step, outcome) in steps.iter().zip(&mut loaded) {
            if matches!(step.what, What::File(_)) && outcome.is_none() {
                *outcome = Some(self.leave(&step.path));
            }
        }
        loaded
    }

    fn open(&self, path: &Path) -> io::Result<(File, Facts)> {
        let file = self.root.open_beneath(path)?;
        match Facts::of(&file)? {
            (Kind::File, facts) => Ok((file.into(), facts)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Reads a file whole; none if it has outgrown the limits since the walk.
    fn hold(&mut self, path: &Path) -> io::Result<Option<Asset>> {
        let (file, facts) = self.open(path)?;
        let inline_max = self.limits.inline_max;
        let capacity = usize::try_from(facts.size.min(inline_max)).unwrap_or(0);
        // One byte more than is expected lets the last read find the end without growing.
        let mut body = Vec::with_capacity(capacity + 1);
        file.take(inline_max.saturating_add(1)).read_to_end(&mut body)?;
        let media_type = media::of(path.as_os_str().as_bytes());
        let modified = facts.last_modified(self.now);
        let representation = Representation {
            etag: Some(ETag::of(&body)),
            modified,
            ..Representation::plain([media_type, media::parameter(media_type)], body.len() as u64)
        };
        let mut head = Vec::new();
        representation.file_head(&mut head, Status::Ok);
        let cost = (head.len() + body.len()) as u64;
        if body.len() as u64 > inline_max || cost > self.memory_left {
            return Ok(None);
        }
        self.memory_left -= cost;
        let content = Content::Held(Held::new(&head, &body));
        Ok(Some(Asset { media_type, modified, mtime: facts.mtime(), content, coded: None }))
    }

    /// Leaves a file where it is, and open if that is within the limits.
    fn leave(&mut self, path: &Path) -> io::Result<Asset> {
        let (file, facts) = self.open(path)?;
        let large = if self.open_left > 0 {
            self.open_left -= 1;
            Large::kept(file, facts.size)
        } else {
            Large::named(path, facts.size)
        };
        Ok(Asset {
            media_type: media::of(path.as_os_str().as_bytes()),
            modified: None,
            mtime: facts.mtime(),
            content: Content::Large(Box::new(large)),
            coded: None,
        })
    }
}

/// The files among the steps as (size, index), smallest first, ties by path.
fn by_size(steps: &[Step]) -> Vec<(u64, usize)> {
    let sizes = steps.iter().enumerate().filter_map(|(index, step)| match step.what {
        What::File(facts) => Some((facts.size, index)),
        What::Folder | What::Unreadable(_) => None,
    });
    let mut sizes: Vec<_> = sizes.collect();
    sizes.sort_unstable_by_key(|&(size, index)| (size, &steps[index].path));
    sizes
}

/// A site that is being put together.
#[derive(Default)]
struct Draft {
    entries: Vec<Entry>,
    assets: Vec<Asset>,
    bytes: u64,
    warnings: Vec<String>,
}

impl Draft {
    fn add_file(&mut self, path: &Path, asset: Asset) {
        self.bytes += asset.size();
        self.assets.push(asset);
        self.add_with_folder(&url(path), Leads::ToAsset(self.assets.len() - 1));
    }

    fn add_unreadable_file(&mut self, path: &Path, error: &io::Error) {
        self.warn_unreadable(path, error);
        self.add_with_folder(&url(path), Leads::Nowhere);
    }

    /// A folder, or a link to something, that cannot be looked into.
    fn add_unreadable(&mut self, path: &Path, error: &io::Error) {
        self.warn_unreadable(path, error);
        let url = url(path);
        self.add(&url, Leads::Nowhere);
        self.add(&[&*url, b"/"].concat(), Leads::Nowhere);
    }

    fn warn_unreadable(&mut self, path: &Path, error: &io::Error) {
        self.warnings.push(format!("cannot read {}: {error}; it answers 403", path.display()));
    }

    /// Adds a file, and what stands for it if it is its folder's index.
    fn add_with_folder(&mut self, url: &[u8], leads: Leads) {
        self.add(url, leads);
        let Some(folder) = url.strip_suffix(INDEX).filter(|folder| folder.ends_with(b"/")) else {
            return;
        };
        self.add(folder, leads);
        if let [without_slash @ .., b'/'] = folder
            && !without_slash.is_empty()
        {
            self.add(without_slash, Leads::ToFolder);
        }
    }

    /// Adds what tine says of itself; a file of the same name loses.
    fn add_probes(&mut self) {
        for (path, probe) in Probe::ALL {
            let is_there = |entry: &Entry| *entry.path == *path;
            let hides_a_file = self
                .entries
                .iter()
                .any(|entry| is_there(entry) && !matches!(entry.leads, Leads::ToFolder));
            self.entries.retain(|entry| !is_there(entry));
            if hides_a_file {
                let path = String::from_utf8_lossy(path);
                self.warnings.push(format!(
                    "the file {path} is not served, since tine says there how it is; --health off"
                ));
            }
            self.add(path, Leads::ToProbe(probe));
        }
    }

    fn add(&mut self, path: &[u8], leads: Leads) {
        self.entries.push(Entry { path: path.into(), leads });
    }

    /// Puts the site together; `memory_left` is for the heads of siblings.
    fn finish(mut self, root: Root, rules: &Rules, memory_left: u64) -> Compiled {
        if rules.health {
            self.add_probes();
        }
        self.entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        self.entries.shrink_to_fit();
        self.assets.shrink_to_fit();
        let (files, bytes, mut warnings) = (self.assets.len(), self.bytes, self.warnings);
        let mut site = Site {
            root,
            entries: self.entries,
            assets: self.assets,
            not_found: None,
            stand_in: None,
            extra: rules.extra.clone(),
        };
        site.not_found = site.asset_at(NOT_FOUND);
        if let Some(path) = &rules.stand_in {
            site.stand_in = site.asset_at(&url(path));
            if site.stand_in.is_none() {
                let path = path.display();
                warnings.push(format!(
                    "--spa: {path} is no file that can be served; missing pages answer 404"
                ));
            }
        }
        site.find_siblings(memory_left);
        Compiled { site, files, bytes, warnings }
    }
}

/// The decoded URL path of a file.
fn url(path: &Path) -> Vec<u8> {
    [b"/", path.as_os_str().as_bytes()].concat()
}
