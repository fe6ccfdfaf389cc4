//! Reads the index of a site image, given any bytes: it returns what the index says or an error,
//! and never panics, loops for ever or leaves the bytes that it was given.

use std::fmt;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, IntoBytes as _};

use super::hash::{hash, place};
use super::layout::{
    Births, DiskRecord, Header, HistoryHeader, MAGIC, PROBES_MAX, PathRecord, Representation,
    RetainedRecord, Sections, StatRecord, Target, TextRange, VERSION,
};
use crate::sys::view::View;

/// Why bytes are no index that this version reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// They end before the index does.
    Cut,
    /// They begin with something else.
    NoImage,
    /// They are of this version of the format.
    Version(u32),
    /// Header or content have another checksum than the header says.
    Checksum,
    /// The sections do not fit the length that the header says.
    Sections,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => f.write_str("the site image is cut short"),
            Self::NoImage => f.write_str("not a site image"),
            Self::Version(version) => {
                write!(f, "site image of format {version}, this tine reads format {VERSION}")
            }
            Self::Checksum => f.write_str("the site image is damaged: wrong checksum"),
            Self::Sections => f.write_str("the site image is damaged: wrong section lengths"),
        }
    }
}

/// The index of a site image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Index<'m> {
    /// Where it is in the arena.
    pub(super) offset: u64,
    pub(super) header: &'m Header,
    slots: &'m [U32],
    pub(super) paths: &'m [PathRecord],
    pub(super) files: &'m [Representation],
    pub(super) variants: &'m [Representation],
    disks: &'m [DiskRecord],
    media: &'m [TextRange],
    text: &'m [u8],
    /// All that follows the text.
    history: &'m [u8],
}

impl<'m> Index<'m> {
    /// Opens the index at `offset`. Header and sections are checked, in a time that does not depend
    /// on the number of files; whatever they lead to is checked when it is used.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub(super) fn open(view: View<'m>, offset: u64) -> Result<Self, ImageError> {
        let header = view.bytes(offset, size_of::<Header>() as u64).ok_or(ImageError::Cut)?;
        let header = Header::ref_from_bytes(header).map_err(|_| ImageError::Cut)?;
        if header.magic != MAGIC {
            return Err(ImageError::NoImage);
        }
        if header.version != VERSION {
            return Err(ImageError::Version(header.version.get()));
        }
        if header_sum(header) != header.header_sum.get() {
            return Err(ImageError::Checksum);
        }
        let bytes = view.bytes(offset, header.len.get()).ok_or(ImageError::Cut)?;
        let sections = Sections::new(header).ok_or(ImageError::Sections)?;
        if sections.end != bytes.len() {
            return Err(ImageError::Sections);
        }
        let read = || -> Option<Self> {
            Some(Self {
                offset,
                header,
                slots: records(bytes, sections.slots, header.slots)?,
                paths: records(bytes, sections.paths, header.paths)?,
                files: records(bytes, sections.files, header.files)?,
                variants: records(bytes, sections.variants, header.variants)?,
                disks: records(bytes, sections.disks, header.disks)?,
                media: records(bytes, sections.media, header.media)?,
                text: bytes.get(sections.text..sections.history)?,
                history: bytes.get(sections.history..)?,
            })
        };
        read().ok_or(ImageError::Sections)
    }

    /// Checks all bytes of the index against its checksum.
    ///
    /// # Errors
    /// [`ImageError::Checksum`].
    pub(super) fn verify(&self, view: View<'m>) -> Result<(), ImageError> {
        let bytes = view.bytes(self.offset, self.header.len.get()).ok_or(ImageError::Cut)?;
        let content = bytes.get(size_of::<Header>()..).ok_or(ImageError::Cut)?;
        let is_right = hash(content, 0) == self.header.content_sum.get();
        if is_right { Ok(()) } else { Err(ImageError::Checksum) }
    }

    /// Returns where a decoded URL path leads.
    pub(super) fn lookup(&self, path: &[u8]) -> Option<Target> {
        let count = self.header.slots.get();
        if count == 0 {
            return None;
        }
        let mut at = place(hash(path, self.header.seed.get()), count);
        for _ in 0..PROBES_MAX {
            let number = self.slots.get(at as usize)?.get().checked_sub(1)?;
            let record = self.paths.get(number as usize)?;
            if self.text(record.path) == Some(path) {
                return Target::decode(record.target);
            }
            at = if at + 1 == count { 0 } else { at + 1 };
        }
        None
    }

    pub(super) fn text(&self, range: TextRange) -> Option<&'m [u8]> {
        let start = range.start.get() as usize;
        self.text.get(start..start.checked_add(range.len.get().into())?)
    }

    pub(super) fn media(&self, number: u16) -> Option<&'m str> {
        std::str::from_utf8(self.text(*self.media.get(usize::from(number))?)?).ok()
    }

    pub(super) fn has_same_text(
        &self,
        disks: &[DiskRecord],
        media: &[TextRange],
        text: &[u8],
    ) -> bool {
        self.disks.as_bytes() == disks.as_bytes()
            && self.media.as_bytes() == media.as_bytes()
            && self.text == text
    }

    pub(super) fn file(&self, number: u32) -> Option<&'m Representation> {
        self.files.get(number as usize)
    }

    pub(super) fn variants(&self, of: &Representation) -> &'m [Representation] {
        let first = of.first_variant.get() as usize;
        let variants = self.variants.get(first..first.saturating_add(of.variants.into()));
        variants.unwrap_or_default()
    }

    pub(super) fn disk(&self, number: u64) -> Option<&'m DiskRecord> {
        self.disks.get(usize::try_from(number).ok()?)
    }

    /// Returns the part that only the compiler reads.
    pub(super) fn history(&self) -> Option<HistoryIndex<'m>> {
        let sections = Sections::new(self.header)?;
        let base = sections.history;
        let representations = self.header.files.get().checked_add(self.header.variants.get())?;
        let header = self.history.get(..size_of::<HistoryHeader>())?;
        Some(HistoryIndex {
            header: HistoryHeader::ref_from_bytes(header).ok()?,
            devices: records(self.history, sections.devices - base, self.header.devices)?,
            stats: records(self.history, sections.stats - base, self.header.files)?,
            births: records(self.history, sections.births - base, U32::new(representations))?,
            origins: records(self.history, sections.origins - base, self.header.variants)?,
            retained: records(self.history, sections.retained - base, self.header.retained)?,
        })
    }
}

/// The part of an index that only the compiler reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct HistoryIndex<'m> {
    pub(super) header: &'m HistoryHeader,
    pub(super) devices: &'m [U64],
    pub(super) stats: &'m [StatRecord],
    pub(super) births: &'m [Births],
    /// For each variant the number of the file that it is, if it is one, + 1.
    pub(super) origins: &'m [U32],
    pub(super) retained: &'m [RetainedRecord],
}

fn records<T>(bytes: &[u8], start: usize, count: U32) -> Option<&[T]>
where
    T: FromBytes + zerocopy::Immutable + zerocopy::KnownLayout + zerocopy::Unaligned,
{
    let len = usize::try_from(count.get()).ok()?.checked_mul(size_of::<T>())?;
    <[T]>::ref_from_bytes(bytes.get(start..start.checked_add(len)?)?).ok()
}

/// The checksum of a header, but for the checksum itself.
pub(super) fn header_sum(header: &Header) -> u64 {
    let bare = Header { header_sum: U64::new(0), ..*header };
    hash(bare.as_bytes(), 0)
}
