//! The compiled site: every URL path that exists, mapped to what answers it.
//!
//! It is made before the workers are forked and never changed afterwards, so that they share it
//! without locks. It refuses to know requests and connections; only [`Large`] touches a file
//! after the compile, because what is too large to hold must be sent from somewhere.

mod beneath;
mod coded;
mod compile;
mod draft;
mod facts;
mod held;
mod job;
mod large;
mod load;
pub mod media;
mod order;
mod pick;
mod retire;
mod rules;
mod siblings;
mod twins;
mod walk;

use std::io;
use std::time::Duration;

use nix::errno::Errno;

use crate::http::extra::Extra;

pub use beneath::Root;
use coded::Coded;
pub use compile::{CompileError, Compiled, Outcome, compile};
use draft::Draft;
pub use facts::{Facts, Kind};
pub use held::Held;
pub use job::{Grade, Job, Patience, VIGIL};
pub use large::{Large, Opened, Source};
pub use pick::Pick;
use retire::Retired;
pub use rules::{Rules, SiteLimits};

/// A folder, compiled.
#[derive(Debug, Default)]
pub struct Site {
    /// None before the first compile.
    root: Option<Root>,
    /// Sorted by path.
    entries: Vec<Entry>,
    /// The files, and behind them those that are retired.
    assets: Vec<Asset>,
    retired: Vec<Retired>,
    /// The folders by what they are: they are watched as such, and others in their places are not.
    folders: Vec<(u64, u64)>,
    /// The site's own page for what is missing, by its place among the assets.
    not_found: Option<usize>,
    /// The page that stands in for all that are missing, likewise.
    stand_in: Option<usize>,
    extra: Extra,
    /// When all of it was known to be as it is in the file system, in a time since 1970.
    as_of: Duration,
    grade: Grade,
}

/// A URL path that exists.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// Decoded, with a slash at its start.
    path: Box<[u8]>,
    leads: Leads,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leads {
    /// To a file, by its place among the assets.
    ToAsset(usize),
    /// To the same path with a slash behind it.
    ToFolder,
    /// To what tine says of itself.
    ToProbe(Probe),
    /// Nowhere: there is a file or a folder, and it could not be read.
    Nowhere,
}

/// What can be asked about tine itself, on the port that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Whether it is worth waiting for.
    Live,
    /// Whether it wants more requests.
    Ready,
}

impl Probe {
    /// Each with its path.
    pub const ALL: [(&[u8], Self); 2] = [(b"/livez", Self::Live), (b"/readyz", Self::Ready)];

    fn is_at(url: &[u8]) -> bool {
        Self::ALL.iter().any(|&(path, _)| path == url)
    }
}

/// What the site has under a path.
#[derive(Clone, Copy, Debug)]
pub enum Found<'s> {
    /// A file.
    Asset(&'s Asset),
    /// A folder with an index, asked for without its slash.
    Folder,
    /// No file, but a question.
    Probe(Probe),
    /// Something that could not be read.
    Unreadable,
}

/// A file of the site.
#[derive(Debug)]
pub struct Asset {
    /// Without parameters.
    pub media_type: &'static str,
    /// What the file was when it was compiled.
    facts: Facts,
    /// Where the bytes are.
    pub content: Content,
    /// Its forms in content codings; mostly there are none, and most sites have many files.
    coded: Option<Box<[Coded]>>,
    /// Whether a held file says when it was last changed, see [`Facts::last_modified`]; what is not
    /// held has to be asked.
    is_dated: bool,
    /// Whether a gzip twin would be hardly smaller.
    is_dense: bool,
}

/// The bytes of a file.
#[derive(Debug)]
pub enum Content {
    /// In memory.
    Held(Held),
    /// In the file system; apart, since it is larger and rarer.
    Large(Box<Large>),
}

impl Site {
    /// The site before the first compile: nothing but what tine says of itself.
    pub fn awaited(rules: &Rules) -> Self {
        let mut draft = Draft::default();
        if rules.health {
            draft.add_probes();
        }
        draft.sort();
        Self { entries: draft.entries, extra: rules.extra.clone(), ..Self::default() }
    }

    /// Whether a folder was compiled.
    pub fn is_there(&self) -> bool {
        self.root.is_some()
    }

    /// How much was made of its files.
    pub fn grade(&self) -> Grade {
        self.grade
    }

    /// Takes note that a compile which began at a time since 1970 has found nothing new.
    pub fn is_as_of(&mut self, now: Duration) {
        self.as_of = now;
    }

    /// What there is under a decoded path; none if the path does not exist.
    pub fn find(&self, path: &[u8]) -> Option<Found<'_>> {
        Some(match self.entry(path)?.leads {
            Leads::ToAsset(asset) => Found::Asset(&self.assets[asset]),
            Leads::ToFolder => Found::Folder,
            Leads::ToProbe(probe) => Found::Probe(probe),
            Leads::Nowhere => Found::Unreadable,
        })
    }

    fn entry(&self, path: &[u8]) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|entry| (*entry.path).cmp(path)).ok()?;
        Some(&self.entries[at])
    }

    /// The site's own page for what is missing.
    pub fn not_found(&self) -> Option<&Asset> {
        self.not_found.map(|asset| &self.assets[asset])
    }

    /// The page for a browser that goes to one that is missing.
    pub fn stand_in(&self) -> Option<&Asset> {
        self.stand_in.map(|asset| &self.assets[asset])
    }

    /// What every answer says.
    pub fn extra(&self) -> &Extra {
        &self.extra
    }

    /// The place among the assets of the file under a path.
    fn asset_at(&self, path: &[u8]) -> Option<usize> {
        match self.entry(path)?.leads {
            Leads::ToAsset(asset) => Some(asset),
            Leads::ToFolder | Leads::ToProbe(_) | Leads::Nowhere => None,
        }
    }

    /// Opens a file that is not held.
    ///
    /// # Errors
    /// Those of [`Root::open_beneath`] and fstat(2); `ENOENT` if it is no regular file any more.
    pub fn open<'s>(&'s self, large: &'s Large) -> io::Result<Opened<'s>> {
        large.open(self.root.as_ref().ok_or(Errno::ENOENT)?)
    }
}

impl Asset {
    fn new(
        media_type: &'static str,
        modified: Option<u64>,
        facts: Facts,
        content: Content,
    ) -> Self {
        let is_dated = modified.is_some();
        Self { media_type, facts, content, coded: None, is_dated, is_dense: false }
    }

    /// What a held file says of its last change, in seconds since 1970.
    fn modified(&self) -> Option<u64> {
        u64::try_from(self.facts.mtime()).ok().filter(|_| self.is_dated)
    }

    /// The file's size in bytes, as compiled.
    pub fn size(&self) -> u64 {
        match &self.content {
            Content::Held(held) => held.body().len() as u64,
            Content::Large(_) => self.facts.size,
        }
    }
}

impl Content {
    /// What it takes of the memory for held files, in bytes.
    fn memory(&self) -> u64 {
        match self {
            Self::Held(held) => (held.head().len() + held.body().len()) as u64,
            Self::Large(_) => 0,
        }
    }

    fn large(&self) -> Option<&Large> {
        match self {
            Self::Held(_) => None,
            Self::Large(large) => Some(large),
        }
    }
}
