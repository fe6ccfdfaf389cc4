//! The site image: every URL path that exists, mapped to what answers it, in memory that all
//! processes share.
//!
//! The compiler gathers a [`Draft`] and writes it to the arena; workers read it as a [`Site`]. Both
//! are functions over bytes: nothing here knows a request, a connection or a file.

mod draft;
pub mod file_stat;
mod form;
mod hash;
mod history;
mod index;
mod layout;
pub mod media;

use crate::http::coding::{Coding, Wishes};
use crate::http::etag::ETag;
use crate::http::precondition::Validators;
pub use crate::sys::view::View;

pub use draft::{About, Draft, DraftError, Finished};
pub use file_stat::{FileKind, FileStat};
pub use form::{Form, Place};
pub use history::{Former, FormerFile, FormerVariant};
pub use index::ImageError;
use index::Index;
use layout::{DiskRecord, Header, Representation, Target, TextRange};

/// A range of the arena, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub len: u64,
}

/// How much is made of the files of a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pass {
    /// What is needed to serve them.
    #[default]
    Quick,
    /// Gzip variants too, and ETags of files on disk.
    Full,
}

/// What can be asked about tine itself, on the port that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Whether it is alive.
    Live,
    /// Whether it wants requests.
    Ready,
}

impl Probe {
    /// Each with its path.
    pub const ALL: [(&[u8], Self); 2] = [(b"/livez", Self::Live), (b"/readyz", Self::Ready)];

    /// Whether a URL path is a probe's.
    pub fn is_at(url: &[u8]) -> bool {
        Self::ALL.iter().any(|&(path, _)| path == url)
    }
}

/// A site image that was opened.
#[derive(Clone, Copy, Debug)]
pub struct Site<'m> {
    view: View<'m>,
    index: Index<'m>,
}

/// Where a path leads.
#[derive(Clone, Copy, Debug)]
pub enum Route<'s> {
    /// To a file.
    Asset(Asset<'s>),
    /// To a directory with an index, without the slash at its end.
    Directory,
    /// To what tine says of itself.
    Probe(Probe),
    /// To something that could not be read.
    Unreadable,
}

/// A file of the site.
#[derive(Clone, Copy, Debug)]
pub struct Asset<'s> {
    site: &'s Site<'s>,
    file: &'s Representation,
}

/// A file in the form that one client gets.
#[derive(Clone, Copy, Debug)]
pub struct Selected<'s> {
    asset: Asset<'s>,
    /// The file itself, or one of its variants.
    sent: &'s Representation,
}

/// Where the bytes are that are sent.
#[derive(Clone, Copy, Debug)]
pub enum Content<'s> {
    /// In the arena.
    Memory(Extent),
    /// In the file system.
    Disk(DiskFile<'s>),
}

/// A file that is not in memory, as it was when it was compiled.
#[derive(Clone, Copy, Debug)]
pub struct DiskFile<'s> {
    /// Relative to the root; no symbolic link is on it.
    pub path: &'s [u8],
    /// Its URL path: what is there now, if the path leads nowhere any more.
    pub url: &'s [u8],
    /// What the file was.
    pub stat: FileStat,
}

impl<'m> Site<'m> {
    /// Opens the image whose index is at `offset`. The time that it takes does not depend on the
    /// number of files.
    ///
    /// # Errors
    /// If there is no index that this version reads.
    pub fn open(view: View<'m>, offset: u64) -> Result<Self, ImageError> {
        Ok(Self { view, index: Index::open(view, offset)? })
    }

    /// Checks the whole index against its checksum.
    ///
    /// # Errors
    /// [`ImageError::Checksum`].
    pub fn verify(&self) -> Result<(), ImageError> {
        self.index.verify(self.view)
    }

    /// Its number; 0 for a placeholder.
    pub fn generation(&self) -> u64 {
        self.index.header.generation.get()
    }

    /// Whether a directory was compiled.
    pub fn is_there(&self) -> bool {
        self.index.header.flags.get() & Header::IS_SITE != 0
    }

    /// The directory that was compiled, by device and inode.
    pub fn root(&self) -> (u64, u64) {
        let [device, inode] = self.index.header.root;
        (device.get(), inode.get())
    }

    /// Where the index is.
    pub fn index_extent(&self) -> Extent {
        Extent { offset: self.index.offset, len: self.index.header.len.get() }
    }

    /// Where a decoded path leads; `None` if it does not exist.
    pub fn lookup(&self, path: &[u8]) -> Option<Route<'_>> {
        Some(match self.index.lookup(path)? {
            Target::File(number) => Route::Asset(self.asset(number)?),
            Target::Directory => Route::Directory,
            Target::Probe(number) => Route::Probe(Probe::ALL.get(number as usize)?.1),
            Target::Unreadable => Route::Unreadable,
        })
    }

    /// The site's own page for what is missing.
    pub fn not_found_page(&self) -> Option<Asset<'_>> {
        self.asset(self.index.header.not_found.get().checked_sub(1)?)
    }

    /// The file that answers for unknown pages of a single-page app.
    pub fn spa_fallback(&self) -> Option<Asset<'_>> {
        self.asset(self.index.header.spa_fallback.get().checked_sub(1)?)
    }

    /// Every path, in no order that means something.
    pub fn paths(&self) -> impl Iterator<Item = &'m [u8]> {
        let index = self.index;
        index.paths.iter().filter_map(move |record| index.text(record.path))
    }

    /// The extents that the image names, each as often as it names it; its index is not among them.
    pub fn extents(&self) -> impl Iterator<Item = Extent> + use<'m> {
        let forms = self.index.files.iter().chain(self.index.variants);
        forms.flat_map(extents_of)
    }

    /// The bytes of an extent; none of what is not inside the arena.
    pub fn bytes(&self, Extent { offset, len }: Extent) -> Option<&'m [u8]> {
        self.view.bytes(offset, len)
    }

    fn asset(&self, number: u32) -> Option<Asset<'_>> {
        Some(Asset { site: self, file: self.index.file(number)? })
    }
}

impl<'s> Asset<'s> {
    /// The form that a client wants most; `wishes` is called only if there is more than one.
    pub fn select(self, wishes: impl FnOnce() -> Wishes) -> Selected<'s> {
        if self.file.variants == 0 {
            return self.identity();
        }
        let variants = self.site.index.variants(self.file);
        let coding = wishes().choose(variants.iter().filter_map(coding_of));
        let chosen = variants.iter().find(|form| coding.is_some() && coding_of(form) == coding);
        Selected { asset: self, sent: chosen.unwrap_or(self.file) }
    }

    /// The file in its own form.
    pub fn identity(self) -> Selected<'s> {
        Selected { asset: self, sent: self.file }
    }
}

impl<'s> Selected<'s> {
    /// What the client gets to see in the end, with its parameter.
    pub fn media_type(&self) -> [&'s str; 2] {
        let media_type = self.asset.site.index.media(self.asset.file.media.get());
        let media_type = media_type.unwrap_or(media::UNKNOWN);
        [media_type, media::parameter(media_type)]
    }

    /// The content coding in which it is sent.
    pub fn coding(&self) -> Option<Coding> {
        coding_of(self.sent)
    }

    /// Whether other clients get other forms (RFC 9110 §12.5.5).
    pub fn varies(&self) -> bool {
        self.asset.file.variants > 0
    }

    /// Where the bytes are that are sent.
    pub fn content(&self) -> Content<'s> {
        let extent = body_of(self.sent);
        match extent {
            Some(extent) => Content::Memory(extent),
            None => Content::Disk(self.disk_file()),
        }
    }

    fn disk_file(&self) -> DiskFile<'s> {
        let index = &self.asset.site.index;
        let disk = index.disk(self.sent.body.get());
        let text = |range: fn(&DiskRecord) -> TextRange| {
            disk.and_then(|disk| index.text(range(disk))).unwrap_or_default()
        };
        let (path, url) = (text(|disk| disk.path), text(|disk| disk.url));
        let stat = disk
            .map(|disk| FileStat::from_record(&disk.stat, disk.device.get(), self.sent.size.get()));
        DiskFile { path, url, stat: stat.unwrap_or_default() }
    }

    /// The 200 head but for what the moment adds, if the body is in memory.
    pub fn head(&self) -> Option<&'s [u8]> {
        let extent = head_of(self.sent)?;
        self.asset.site.bytes(extent).filter(|_| !self.sent.has(Representation::ON_DISK))
    }

    /// The size of what is sent, as compiled, in bytes.
    pub fn size(&self) -> u64 {
        self.sent.size.get()
    }

    /// What can be compared about the bytes that are sent, as compiled; each form has its own
    /// (RFC 9110 §8.8.3.3). When a file on disk was last modified is found out when it is opened.
    pub fn validators(&self) -> Validators {
        Validators { etag: self.etag(), modified: modified_of(self.sent) }
    }

    /// The same of a file on disk that was opened, which has changed if its stat has: then the ETag
    /// of what was compiled is not its own. `now` is in seconds since 1970.
    pub fn validators_of(&self, opened: &FileStat, now: u64) -> Validators {
        let etag = self.etag().filter(|_| self.is_compiled_version(opened));
        Validators { etag, modified: opened.last_modified(now) }
    }

    /// Whether an open file is the one that was compiled, in the same version.
    pub fn is_compiled_version(&self, opened: &FileStat) -> bool {
        match self.content() {
            Content::Memory(_) => true,
            Content::Disk(file) => opened.is_same_version(&file.stat),
        }
    }

    /// The ETag of the bytes that are sent, as compiled, if it is known.
    pub fn etag(&self) -> Option<ETag> {
        etag_of(self.sent)
    }
}

fn coding_of(form: &Representation) -> Option<Coding> {
    Coding::ALL.get(usize::from(form.coding).checked_sub(1)?).copied()
}

fn etag_of(form: &Representation) -> Option<ETag> {
    form.has(Representation::HAS_DIGEST).then(|| ETag::from_digest(&form.digest))
}

fn modified_of(form: &Representation) -> Option<u64> {
    Some(form.modified.get().into()).filter(|&modified| modified > 0)
}

fn body_of(form: &Representation) -> Option<Extent> {
    let extent = Extent { offset: form.body.get(), len: form.size.get() };
    (!form.has(Representation::ON_DISK)).then_some(extent)
}

fn head_of(form: &Representation) -> Option<Extent> {
    let extent = Extent { offset: form.head.get(), len: form.head_len.get().into() };
    (extent.len > 0).then_some(extent)
}

/// The extents that a form names.
fn extents_of(form: &Representation) -> impl Iterator<Item = Extent> + use<> {
    let body = body_of(form).filter(|body| body.len > 0);
    body.into_iter().chain(head_of(form))
}

/// The image that is served before a directory was compiled: nothing but tine's own paths.
pub fn placeholder(has_probes: bool) -> Vec<u8> {
    let mut draft = Draft::default();
    if has_probes {
        draft.probes();
    }
    draft.finish(About::default()).map(Finished::to_bytes).unwrap_or_default()
}
