//! What a site image is to hold: it is gathered here, and then laid out and written.

mod write;

use zerocopy::little_endian::{I64, U16, U32, U64};

use super::file_stat::FileStat;
use super::form::{Form, Place};
use super::layout::{
    Births, DiskRecord, PathRecord, Representation, RetainedRecord, StatRecord, Target, TextRange,
};
use super::{Extent, Probe};
use crate::http::etag::ETag;
pub use write::{About, Finished};

/// Longest path, in bytes.
const PATH_MAX: usize = u16::MAX as usize;

/// What a site image is to hold.
///
/// Paths, files and variants are numbered in the order in which they are added.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    paths: Vec<PathRecord>,
    files: Vec<Form>,
    /// Of the files.
    stats: Vec<StatRecord>,
    variants: Vec<VariantDraft>,
    disks: Vec<DiskRecord>,
    media: Vec<TextRange>,
    media_names: Vec<&'static str>,
    text: Vec<u8>,
    devices: Vec<U64>,
    retained: Vec<RetainedRecord>,
    not_found: Option<u32>,
    spa_fallback: Option<u32>,
    /// Whether a path is longer than the format can say.
    has_long_path: bool,
}

#[derive(Clone, Debug)]
struct VariantDraft {
    form: Form,
    /// The file that it is, by its number + 1.
    origin: u32,
}

/// Why a site does not fit the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftError {
    /// There are more paths, or more text in them, than numbers of the format.
    TooLarge,
}

impl Draft {
    /// Adds a form of `size` bytes; `modified` is in seconds since 1970.
    pub fn form(
        &mut self,
        media_type: &'static str,
        size: u64,
        place: Place<'_>,
        etag: Option<ETag>,
        modified: Option<u64>,
    ) -> Form {
        let mut record = Representation { size: U64::new(size), ..Representation::default() };
        record.media = U16::new(self.media(media_type));
        record.modified = U32::new(modified.and_then(|at| u32::try_from(at).ok()).unwrap_or(0));
        if let Some(etag) = etag {
            record.digest = etag.digest();
            record.flags |= Representation::HAS_DIGEST;
        }
        let mut births = Births::default();
        match place {
            Place::Memory(extent, birth) => {
                record.body = U64::new(extent.offset);
                births.body = U32::new(short(birth));
            }
            Place::Disk { url, path, stat } => {
                record.flags |= Representation::ON_DISK;
                record.body = U64::new(self.disks.len() as u64);
                let range = self.text(url);
                // Most files are where their URL path says.
                let path = match url.strip_prefix(b"/") == Some(path) {
                    true => {
                        TextRange { start: range.start + U32::new(1), len: range.len - U16::new(1) }
                    }
                    false => self.text(path),
                };
                let url = range;
                let device = U64::new(stat.identity().0);
                let stat = self.stat(stat);
                self.disks.push(DiskRecord { path, url, device, stat, ..DiskRecord::default() });
            }
        }
        Form { record, births }
    }

    /// A draft with room for a number of files, each to be set by [`Draft::set_file`].
    pub fn with_files(count: usize) -> Self {
        let (files, stats) = (vec![Form::default(); count], vec![StatRecord::default(); count]);
        Self { files, stats, ..Self::default() }
    }

    /// Sets the media type of a form that is from another draft.
    #[must_use]
    pub fn with_media_type(&mut self, mut form: Form, media_type: &'static str) -> Form {
        form.record.media = U16::new(self.media(media_type));
        form
    }

    /// How many variants there are that are no file of the site.
    pub fn generated_variants(&self) -> usize {
        let is_generated =
            |variant: &&VariantDraft| variant.form.record.has(Representation::IS_GENERATED);
        self.variants.iter().filter(is_generated).count()
    }

    /// Sets a file that there is room for. What is not set stays an empty file without a path.
    pub fn set_file(&mut self, number: u32, form: Form, stat: &FileStat) {
        let stat = self.stat(stat);
        let number = number as usize;
        if let Some((file, file_stat)) = self.files.get_mut(number).zip(self.stats.get_mut(number))
        {
            (*file, *file_stat) = (form, stat);
        }
    }

    /// The media type of a file.
    pub fn media_type(&self, file: u32) -> &'static str {
        let media = self.files.get(file as usize).map(|form| form.record.media.get());
        let name = media.and_then(|number| self.media_names.get(usize::from(number)));
        name.copied().unwrap_or(super::media::UNKNOWN)
    }

    /// The form of a file.
    pub fn form_of(&self, file: u32) -> Option<&Form> {
        self.files.get(file as usize)
    }

    /// The variants of a file.
    pub fn variants_of(&mut self, file: u32) -> impl Iterator<Item = &mut Form> {
        let record = self.files.get(file as usize).map(|form| form.record);
        let record = record.unwrap_or_default();
        let first = record.first_variant.get() as usize;
        let variants = self.variants.iter_mut().skip(first).take(record.variants.into());
        variants.map(|variant| &mut variant.form)
    }

    /// Adds a file.
    pub fn file(&mut self, form: Form, stat: &FileStat) -> u32 {
        let stat = self.stat(stat);
        self.files.push(form);
        self.stats.push(stat);
        short(self.files.len() as u64 - 1)
    }

    /// Adds a file that is gone and still served, since a time since boot in seconds. None of the
    /// other kind may follow.
    pub fn retained_file(&mut self, form: Form, stat: &FileStat, since: u64) -> u32 {
        self.retained.push(RetainedRecord { since: U64::new(since) });
        self.file(form, stat)
    }

    /// Returns the form of a file, to be changed.
    pub fn file_form(&mut self, file: u32) -> Option<&mut Form> {
        self.files.get_mut(file as usize)
    }

    /// How many files there are.
    pub fn files(&self) -> u32 {
        short(self.files.len() as u64)
    }

    /// Adds variants of a file, all at once; `origin` is the file that a variant is, by its number.
    pub fn variants(&mut self, file: u32, variants: &[(Form, Option<u32>)]) {
        let Some(form) = self.files.get_mut(file as usize) else { return };
        form.record.first_variant = U32::new(short(self.variants.len() as u64));
        form.record.variants = u8::try_from(variants.len()).unwrap_or(u8::MAX);
        let variants = variants.iter().take(usize::from(u8::MAX));
        self.variants.extend(variants.map(|&(form, origin)| VariantDraft {
            form,
            origin: origin.map_or(0, |file| file + 1),
        }));
    }

    /// Adds the path of a file. One that is longer than the format can say fits no request either,
    /// and is left out.
    pub fn path(&mut self, path: &[u8], file: u32) {
        if path.len() > PATH_MAX {
            return;
        }
        let path = self.text(path);
        self.add(path, Target::File(file));
    }

    /// Adds the paths of a directory that has an index: the last path that was added is that of the
    /// index, and `name` how it ends.
    pub fn directory_of_last(&mut self, name: &[u8]) {
        let Some(&PathRecord { path, target }) = self.paths.last() else { return };
        // Not if its path was left out.
        let Some(directory) = self.text_of(path).strip_suffix(name) else { return };
        let len = u16::try_from(directory.len()).unwrap_or(0);
        self.paths.push(PathRecord { path: TextRange { len: U16::new(len), ..path }, target });
        if len > 1 {
            self.add(TextRange { len: U16::new(len - 1), ..path }, Target::Directory);
        }
    }

    /// Adds a path of something that could not be read.
    pub fn unreadable(&mut self, path: &[u8]) {
        if path.len() > PATH_MAX {
            return;
        }
        let path = self.text(path);
        self.add(path, Target::Unreadable);
    }

    /// Adds the paths of tine's own answers.
    pub fn probes(&mut self) {
        for (number, (path, _)) in (0..).zip(Probe::ALL) {
            let path = self.text(path);
            self.add(path, Target::Probe(number));
        }
    }

    /// Sets the file that answers for unknown paths with 404.
    pub fn set_not_found(&mut self, file: Option<u32>) {
        self.not_found = file;
    }

    /// Sets the file that answers for unknown pages of a single-page app.
    pub fn set_spa_fallback(&mut self, file: Option<u32>) {
        self.spa_fallback = file;
    }

    /// Returns the extents that the image names, each as often as it names it.
    pub fn extents(&self) -> impl Iterator<Item = Extent> {
        let forms = self.files.iter().chain(self.variants.iter().map(|variant| &variant.form));
        forms.flat_map(|form| super::extents_of(&form.record))
    }

    fn add(&mut self, path: TextRange, target: Target) {
        self.paths.push(PathRecord { path, target: target.encode() });
    }

    fn text(&mut self, text: &[u8]) -> TextRange {
        let start = U32::new(short(self.text.len() as u64));
        self.text.extend_from_slice(text);
        let len = u16::try_from(text.len());
        self.has_long_path |= len.is_err();
        TextRange { start, len: U16::new(len.unwrap_or(u16::MAX)) }
    }

    fn media(&mut self, media_type: &'static str) -> u16 {
        let known = self.media_names.iter().position(|&name| name == media_type);
        let number = known.unwrap_or_else(|| {
            let range = self.text(media_type.as_bytes());
            self.media.push(range);
            self.media_names.push(media_type);
            self.media_names.len() - 1
        });
        u16::try_from(number).expect("there are fewer media types")
    }

    fn stat(&mut self, stat: &FileStat) -> StatRecord {
        let (device, inode) = stat.identity();
        let device = U64::new(device);
        let number = self.devices.iter().rposition(|&known| known == device);
        let number = number.unwrap_or_else(|| {
            self.devices.push(device);
            self.devices.len() - 1
        });
        let ((modified, modified_nanos), (changed, changed_nanos)) = stat.times();
        StatRecord {
            inode: U64::new(inode),
            modified: I64::new(modified),
            changed: I64::new(changed),
            modified_nanos: U32::new(modified_nanos),
            changed_nanos: U32::new(changed_nanos),
            device: U32::new(short(number as u64)),
        }
    }
}

/// A number of the format; what is too large for it is found by [`Draft::finish`].
pub(super) fn short(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
