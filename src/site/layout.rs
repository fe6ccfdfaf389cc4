//! The layout of a site image: what stands where in the index, as bytes.
//!
//! ```text
//! Header   what the index is, how long, and how many of each kind there are
//! slots    u32 each: a hash table over the paths; 0 is empty, else a path's number + 1
//! paths    PathRecord each: a URL path and where it leads
//! files    Representation each: the files, the retained ones last
//! variants Representation each: the same files in a content coding
//! disks    DiskRecord each: the files that are not in memory
//! media    TextRange each: media types
//! text     URL paths, resolved paths and media types
//! history  only the compiler reads it: HistoryHeader, devices, file stat of each file, births of
//!          each representation, origins of variants, ages of retained files
//! ```
//!
//! Numbers are little-endian and need no alignment. Offsets of sections are relative to the index,
//! offsets of heads and bodies to the arena.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What an index begins with.
pub(super) const MAGIC: [u8; 8] = *b"tineSite";
/// To be raised with every change of the layout.
pub(super) const VERSION: u32 = 1;

/// Most slots that a lookup visits; the writer takes another seed, or a larger table, if a path
/// would lie further.
pub(super) const PROBES_MAX: u32 = 64;

/// The header of an index.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: [u8; 8],
    pub(super) version: U32,
    /// [`Header::IS_SITE`].
    pub(super) flags: U32,
    /// The hash of this header, computed with a zero here.
    pub(super) header_sum: U64,
    /// The hash of all that follows the header.
    pub(super) content_sum: U64,
    /// Of the whole index, in bytes.
    pub(super) len: U64,
    pub(super) generation: U64,
    /// Of the hash table.
    pub(super) seed: U64,
    /// The directory that was compiled, by device and inode.
    pub(super) root: [U64; 2],
    pub(super) slots: U32,
    pub(super) paths: U32,
    pub(super) files: U32,
    /// How many of the files are retained: the last ones.
    pub(super) retained: U32,
    pub(super) variants: U32,
    pub(super) disks: U32,
    pub(super) media: U32,
    /// In bytes.
    pub(super) text: U32,
    pub(super) devices: U32,
    /// The file that answers for unknown paths with 404, by its number + 1.
    pub(super) not_found: U32,
    /// The file that answers for unknown pages of a single-page app, likewise.
    pub(super) spa_fallback: U32,
    pub(super) reserved: U32,
}

impl Header {
    /// A directory was compiled; without it the image answers for tine's own paths only.
    pub(super) const IS_SITE: u32 = 1;
}

/// A range of the text section, in bytes.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct TextRange {
    pub(super) start: U32,
    pub(super) len: U16,
}

/// A URL path, decoded, with a slash at its start.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct PathRecord {
    pub(super) path: TextRange,
    /// A kind in the upper three bits, and a number that means what the kind says.
    pub(super) target: U32,
}

/// Where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To a file, by its number.
    File(u32),
    /// To the same path with a slash at its end.
    Directory,
    /// To what tine says of itself, by its place in `Probe::ALL`.
    Probe(u32),
    /// Nowhere: the file or directory could not be read.
    Unreadable,
}

impl Target {
    const SHIFT: u32 = 29;
    /// Most numbers of each kind.
    pub(super) const NUMBERS: u32 = 1 << Self::SHIFT;

    pub(super) fn encode(self) -> U32 {
        let (kind, number) = match self {
            Self::File(number) => (0, number),
            Self::Directory => (1, 0),
            Self::Probe(number) => (2, number),
            Self::Unreadable => (3, 0),
        };
        U32::new(kind << Self::SHIFT | number)
    }

    /// `None` for a kind that this version does not know.
    pub(super) fn decode(encoded: U32) -> Option<Self> {
        let (kind, number) = (encoded.get() >> Self::SHIFT, encoded.get() & (Self::NUMBERS - 1));
        Some(match kind {
            0 => Self::File(number),
            1 => Self::Directory,
            2 => Self::Probe(number),
            3 => Self::Unreadable,
            _ => return None,
        })
    }
}

/// A file in one form: as it is, or in a content coding.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Representation {
    /// Where the body is in the arena, or the number of a [`DiskRecord`].
    pub(super) body: U64,
    /// Of the body, in bytes.
    pub(super) size: U64,
    /// Where the head of its 200 response is in the arena, but for what each moment adds.
    pub(super) head: U64,
    /// The first half of the body's SHA-256.
    pub(super) digest: [u8; 16],
    /// `Last-Modified` in seconds since 1970; 0 is none.
    pub(super) modified: U32,
    /// The first variant, by its number.
    pub(super) first_variant: U32,
    /// Of the head, in bytes; 0 is none.
    pub(super) head_len: U16,
    /// The media type, by its number.
    pub(super) media: U16,
    pub(super) variants: u8,
    pub(super) flags: u8,
    /// The content coding, by its place in `Coding::ALL` + 1; 0 is none.
    pub(super) coding: u8,
    pub(super) reserved: u8,
}

impl Representation {
    /// `body` is the number of a [`DiskRecord`].
    pub(super) const ON_DISK: u8 = 1;
    /// The digest is known.
    pub(super) const HAS_DIGEST: u8 = 2;
    /// gzip was tried and saves too little.
    pub(super) const IS_DENSE: u8 = 4;
    /// A variant whose body was made here, and is no file of the site.
    pub(super) const IS_GENERATED: u8 = 8;

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A file that is not in memory: where it is and what it was when it was compiled.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct DiskRecord {
    /// Relative to the root, without a symbolic link in it.
    pub(super) path: TextRange,
    /// Its own URL path, which links may lead over.
    pub(super) url: TextRange,
    pub(super) reserved: U32,
    pub(super) device: U64,
    pub(super) stat: StatRecord,
}

/// A file's stat (inode(7)), but for its size and its device.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct StatRecord {
    pub(super) inode: U64,
    pub(super) modified: I64,
    pub(super) changed: I64,
    pub(super) modified_nanos: U32,
    pub(super) changed_nanos: U32,
    /// The device, by its number among the devices.
    pub(super) device: U32,
}

/// What the history section begins with.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct HistoryHeader {
    /// When the scan began that found the site so, in nanoseconds since 1970.
    pub(super) as_of: U64,
}

/// The generations that named a body and a head first.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Births {
    pub(super) body: U32,
    pub(super) head: U32,
}

/// A retained file.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RetainedRecord {
    /// When it was found to be gone, in seconds since boot (CLOCK_BOOTTIME).
    pub(super) since: U64,
}

/// The places of the sections, relative to the index, as the counts in its header say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sections {
    pub(super) slots: usize,
    pub(super) paths: usize,
    pub(super) files: usize,
    pub(super) variants: usize,
    pub(super) disks: usize,
    pub(super) media: usize,
    pub(super) text: usize,
    pub(super) history: usize,
    pub(super) devices: usize,
    pub(super) stats: usize,
    pub(super) births: usize,
    pub(super) origins: usize,
    pub(super) retained: usize,
    pub(super) end: usize,
}

impl Sections {
    /// `None` if they are too long to be counted.
    pub(super) fn new(header: &Header) -> Option<Self> {
        let mut at = size_of::<Header>();
        let mut section = |count: U32, size: usize| {
            let start = at;
            at = at.checked_add(usize::try_from(count.get()).ok()?.checked_mul(size)?)?;
            Some(start)
        };
        let representations = U32::new(header.files.get().checked_add(header.variants.get())?);
        Some(Self {
            slots: section(header.slots, size_of::<U32>())?,
            paths: section(header.paths, size_of::<PathRecord>())?,
            files: section(header.files, size_of::<Representation>())?,
            variants: section(header.variants, size_of::<Representation>())?,
            disks: section(header.disks, size_of::<DiskRecord>())?,
            media: section(header.media, size_of::<TextRange>())?,
            text: section(header.text, 1)?,
            history: section(U32::new(1), size_of::<HistoryHeader>())?,
            devices: section(header.devices, size_of::<U64>())?,
            stats: section(header.files, size_of::<StatRecord>())?,
            births: section(representations, size_of::<Births>())?,
            origins: section(header.variants, size_of::<U32>())?,
            retained: section(header.retained, size_of::<RetainedRecord>())?,
            end: at,
        })
    }
}
