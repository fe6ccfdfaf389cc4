//! The compiled site: every URL path that exists, mapped to what answers it.
//!
//! It is made before the workers are forked and never changed afterwards, so that they share it
//! without locks. It refuses to know requests and connections; only [`Large`] touches a file
//! after the compile, because what is too large to hold must be sent from somewhere.

mod beneath;
mod compile;
mod facts;
mod held;
mod large;
pub mod media;
mod pick;
mod rules;
mod siblings;
mod walk;

use crate::http::etag::ETag;
use crate::http::extra::Extra;

pub use beneath::Root;
pub use compile::{CompileError, Compiled, compile};
pub use facts::{Facts, Kind};
pub use held::Held;
pub use large::{Large, Opened, Source};
pub use pick::Pick;
pub use rules::{Rules, SiteLimits};
use siblings::Coded;

/// A folder, compiled.
#[derive(Debug)]
pub struct Site {
    root: Root,
    /// Sorted by path.
    entries: Vec<Entry>,
    assets: Vec<Asset>,
    /// The site's own page for what is missing, by its place among the assets.
    not_found: Option<usize>,
    /// The page that stands in for all that are missing, likewise.
    stand_in: Option<usize>,
    extra: Extra,
}

/// A URL path that exists.
#[derive(Debug)]
struct Entry {
    /// Decoded, with a slash at its start.
    path: Box<[u8]>,
    leads: Leads,
}

#[derive(Clone, Copy, Debug)]
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
    /// What a held file says of its last change, see [`Facts::last_modified`]; what is not held has
    /// to be asked.
    pub modified: Option<u64>,
    /// The file's own time when it was compiled, in seconds since 1970.
    mtime: i64,
    /// Where the bytes are.
    pub content: Content,
    /// Its siblings in content codings; mostly there are none, and most sites have many files.
    coded: Option<Box<[Coded]>>,
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
    pub fn open<'s>(&'s self, large: &'s Large) -> std::io::Result<Opened<'s>> {
        large.open(&self.root)
    }
}

impl Asset {
    /// The file's size in bytes, as compiled.
    pub fn size(&self) -> u64 {
        match &self.content {
            Content::Held(held) => held.body().len() as u64,
            Content::Large(large) => large.size(),
        }
    }

    /// The file's entity tag, if one is known.
    pub fn etag(&self) -> Option<ETag> {
        match &self.content {
            Content::Held(held) => held.etag(),
            Content::Large(_) => None,
        }
    }
}
