//! A file in one form: as it is, or in a content coding.

use zerocopy::little_endian::{U16, U32, U64};

use super::draft::short;
use super::layout::{Births, Representation};
use super::{Extent, FileStat};
use crate::http::coding::Coding;
use crate::http::etag::ETag;

/// A file in one form, and since when its bytes are in the arena.
#[derive(Clone, Copy, Debug, Default)]
pub struct Form {
    pub(super) record: Representation,
    pub(super) births: Births,
}

/// Where a form's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'p> {
    /// In the arena, named first by this generation.
    Memory(Extent, u64),
    /// In the file system.
    Disk {
        /// Its URL path.
        url: &'p [u8],
        /// Its path beneath the root, which leads over no symbolic link.
        path: &'p [u8],
        /// What it was when it was compiled.
        stat: &'p FileStat,
    },
}

impl Form {
    /// Where the body is in the arena; `None` for a file on disk.
    pub fn body(&self) -> Option<Extent> {
        super::body_of(&self.record)
    }

    /// Where the head is in the arena.
    pub fn head(&self) -> Option<Extent> {
        super::head_of(&self.record)
    }

    /// Of the body, in bytes.
    pub fn size(&self) -> u64 {
        self.record.size.get()
    }

    /// Of the body, if it is known.
    pub fn etag(&self) -> Option<ETag> {
        super::etag_of(&self.record)
    }

    /// `Last-Modified`, in seconds since 1970.
    pub fn modified(&self) -> Option<u64> {
        super::modified_of(&self.record)
    }

    /// The content coding.
    pub fn coding(&self) -> Option<Coding> {
        super::coding_of(&self.record)
    }

    /// Whether gzip was tried and saves too little.
    pub fn is_dense(&self) -> bool {
        self.record.has(Representation::IS_DENSE)
    }

    /// How many variants there are.
    pub fn variants(&self) -> u8 {
        self.record.variants
    }

    /// The generations that named body and head first.
    pub fn births(&self) -> (u64, u64) {
        (self.births.body.get().into(), self.births.head.get().into())
    }

    /// Whether it is on disk.
    pub fn is_on_disk(&self) -> bool {
        self.record.has(Representation::ON_DISK)
    }

    /// Whether the body is no file of the site.
    pub fn is_generated(&self) -> bool {
        self.record.has(Representation::IS_GENERATED)
    }

    /// Takes the variants away: a file's own form as another image can name it.
    #[must_use]
    pub fn without_variants(mut self) -> Self {
        (self.record.first_variant, self.record.variants) = (U32::new(0), 0);
        self
    }

    /// Sets where the body is in the arena.
    #[must_use]
    pub fn with_body(mut self, body: Extent, birth: u64) -> Self {
        self.record.body = U64::new(body.offset);
        self.births.body = U32::new(short(birth));
        self
    }

    /// Takes the head away.
    #[must_use]
    pub fn without_head(mut self) -> Self {
        self.record.head = U64::new(0);
        self.record.head_len = U16::new(0);
        self.births.head = U32::new(0);
        self
    }

    /// Sets `Last-Modified`, in seconds since 1970.
    #[must_use]
    pub fn with_modified(mut self, modified: Option<u64>) -> Self {
        let modified = modified.and_then(|at| u32::try_from(at).ok());
        self.record.modified = U32::new(modified.unwrap_or(0));
        self
    }

    /// Sets where the head of the 200 response is.
    #[must_use]
    pub fn with_head(mut self, head: Extent, birth: u64) -> Self {
        self.record.head = U64::new(head.offset);
        self.record.head_len = U16::new(u16::try_from(head.len).unwrap_or(0));
        self.births.head = U32::new(short(birth));
        self
    }

    /// Sets the content coding.
    #[must_use]
    pub fn with_coding(mut self, coding: Coding) -> Self {
        self.record.coding = coding as u8 + 1;
        self
    }

    /// Says that gzip was tried and saves too little.
    #[must_use]
    pub fn dense(mut self) -> Self {
        self.record.flags |= Representation::IS_DENSE;
        self
    }

    /// Says that the body is no file of the site.
    #[must_use]
    pub fn generated(mut self) -> Self {
        self.record.flags |= Representation::IS_GENERATED;
        self
    }
}
