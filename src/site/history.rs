//! What the compiler finds in the image that it published before: what each file was when it was
//! read, and since when its bytes are in the arena.

use super::index::{HistoryIndex, Index};
use super::layout::Target;
use super::{Extent, FileStat, Form, Site, body_of, head_of};
use crate::http::etag::ETag;

/// The image that was published before, as the compiler reads it.
#[derive(Clone, Copy, Debug)]
pub struct Former<'m> {
    site: Site<'m>,
    history: HistoryIndex<'m>,
}

/// A file of that image.
#[derive(Clone, Copy, Debug)]
pub struct FormerFile {
    /// Its number.
    pub number: u32,
    /// What it was when it was read.
    pub stat: FileStat,
    /// In its own form.
    pub form: Form,
}

/// A variant of a file of that image.
#[derive(Clone, Copy, Debug)]
pub struct FormerVariant {
    /// Its form.
    pub form: Form,
    /// The file that it is, by its number; `None` for a generated one.
    pub origin: Option<u32>,
}

impl<'m> Former<'m> {
    /// Reads what a site says of its own past; `None` if that is damaged.
    pub fn new(site: Site<'m>) -> Option<Self> {
        Some(Self { site, history: site.index.history()? })
    }

    pub(super) fn index(&self) -> &Index<'m> {
        &self.site.index
    }

    pub(super) fn history(&self) -> &HistoryIndex<'m> {
        &self.history
    }

    /// The image itself.
    pub fn site(&self) -> &Site<'m> {
        &self.site
    }

    /// When the scan began that found the site so, in nanoseconds since 1970.
    pub fn as_of(&self) -> u64 {
        self.history.header.as_of.get()
    }

    /// How many files there are, the retained ones last.
    pub fn files(&self) -> u32 {
        self.site.index.header.files.get()
    }

    /// How many of them are retained.
    pub fn retained(&self) -> u32 {
        self.site.index.header.retained.get()
    }

    /// The file of a number.
    pub fn file(&self, number: u32) -> Option<FormerFile> {
        let at = number as usize;
        let (record, stat) = (*self.site.index.files.get(at)?, self.history.stats.get(at)?);
        let births = *self.history.births.get(at)?;
        let device = self.history.devices.get(stat.device.get() as usize)?.get();
        let stat = FileStat::from_record(stat, device, record.size.get());
        Some(FormerFile { number, stat, form: Form { record, births } })
    }

    /// The file under a URL path.
    pub fn file_at(&self, path: &[u8]) -> Option<FormerFile> {
        match self.site.index.lookup(path)? {
            Target::File(number) => self.file(number),
            Target::Directory | Target::Probe(_) | Target::Unreadable => None,
        }
    }

    /// Whether a URL path leads anywhere.
    pub fn has_path(&self, path: &[u8]) -> bool {
        self.site.index.lookup(path).is_some()
    }

    /// Every URL path of a file, with the number of that.
    pub fn file_paths(&self) -> impl Iterator<Item = (&'m [u8], u32)> + use<'m> {
        let index = self.site.index;
        index.paths.iter().filter_map(move |record| match Target::decode(record.target)? {
            Target::File(number) => Some((index.text(record.path)?, number)),
            Target::Directory | Target::Probe(_) | Target::Unreadable => None,
        })
    }

    /// The variants of a file.
    pub fn variants(&self, file: FormerFile) -> impl Iterator<Item = FormerVariant> + use<'m> {
        let first = file.form.record.first_variant.get() as usize;
        let (history, files) = (self.history, self.site.index.files.len());
        let variants = self.site.index.variants(&file.form.record).iter().enumerate();
        variants.map(move |(at, &record)| {
            let at = first + at;
            let births = history.births.get(files + at).copied().unwrap_or_default();
            let origin = history.origins.get(at).and_then(|origin| origin.get().checked_sub(1));
            FormerVariant { form: Form { record, births }, origin }
        })
    }

    /// Since when a file is gone, in seconds since boot; `None` if it is not.
    pub fn retained_since(&self, number: u32) -> Option<u64> {
        let first = self.files().checked_sub(self.retained())?;
        let at = number.checked_sub(first)?;
        self.history.retained.get(at as usize).map(|record| record.since.get())
    }

    /// The bytes of an extent.
    pub fn bytes(&self, extent: Extent) -> Option<&'m [u8]> {
        self.site.bytes(extent)
    }

    /// Whether a body in memory has the bytes that its ETag was made from.
    pub fn is_intact(&self, form: &Form) -> bool {
        let body = form.body().and_then(|body| self.bytes(body));
        body.is_some_and(|body| form.etag() == Some(ETag::of(body)))
    }

    /// The bodies and heads, each as often as it is named, with the generation that named it first.
    pub fn births(&self) -> impl Iterator<Item = (Extent, u64)> + use<'m> {
        let records = self.site.index.files.iter().chain(self.site.index.variants);
        records.zip(self.history.births).flat_map(|(record, births)| {
            let body = body_of(record).filter(|body| body.len > 0);
            let body = body.map(|body| (body, u64::from(births.body.get())));
            let head = head_of(record).map(|head| (head, u64::from(births.head.get())));
            body.into_iter().chain(head)
        })
    }

    /// The media type of a file, without parameters.
    pub fn media_type(&self, file: FormerFile) -> &'m str {
        self.site.index.media(file.form.record.media.get()).unwrap_or_default()
    }
}
