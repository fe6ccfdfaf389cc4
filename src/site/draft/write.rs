//! Lays out the index of a draft, and writes it.

use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U32, U64};

use super::{Draft, DraftError, short};
use crate::site::Former;
use crate::site::hash::{hash, place};
use crate::site::index::header_sum;
use crate::site::layout::{
    Header, HistoryHeader, MAGIC, PROBES_MAX, Representation, Sections, Target, TextRange, VERSION,
};

/// Slots for each path: the table is two thirds full at first. A larger one has half as many again.
const SLOTS: (u64, u64) = (3, 2);
/// How many seeds are tried before a larger table. With a million paths in a table that is two
/// thirds full, clusters are longer than [`PROBES_MAX`] under any seed.
const SEEDS: u64 = 2;

/// What an image says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct About {
    /// Its number.
    pub generation: u64,
    /// The directory that was compiled, by device and inode; none for a placeholder.
    pub root: Option<(u64, u64)>,
    /// When the scan began that found the site so, in nanoseconds since 1970.
    pub as_of: u64,
}

/// A draft that is complete: its index has a length, and a hash table with a seed.
#[derive(Clone, Debug)]
pub struct Finished {
    draft: Draft,
    header: Header,
    sections: Sections,
    slots: Vec<U32>,
    about: About,
}

impl Draft {
    /// Lays the index out.
    ///
    /// # Errors
    /// If the format has too few numbers for the site.
    pub fn finish(self, about: About) -> Result<Finished, DraftError> {
        let count = |len: usize| u32::try_from(len).map_err(|_| DraftError::TooLarge);
        let paths = count(self.paths.len())?;
        // The table is not filled before all numbers fit: it reads the text.
        let (files, text) = (count(self.files.len())?, count(self.text.len())?);
        if paths.max(files) >= Target::NUMBERS || self.has_long_path {
            return Err(DraftError::TooLarge);
        }
        let (seed, slots) = self.hash_table().ok_or(DraftError::TooLarge)?;
        let root = about.root.unwrap_or_default();
        let header = Header {
            magic: MAGIC,
            version: U32::new(VERSION),
            flags: U32::new(if about.root.is_some() { Header::IS_SITE } else { 0 }),
            generation: U64::new(about.generation),
            seed: U64::new(seed),
            root: [U64::new(root.0), U64::new(root.1)],
            slots: U32::new(count(slots.len())?),
            paths: U32::new(paths),
            files: U32::new(files),
            retained: U32::new(count(self.retained.len())?),
            variants: U32::new(count(self.variants.len())?),
            disks: U32::new(count(self.disks.len())?),
            media: U32::new(count(self.media.len())?),
            text: U32::new(text),
            devices: U32::new(count(self.devices.len())?),
            not_found: U32::new(self.not_found.map_or(0, |file| file + 1)),
            spa_fallback: U32::new(self.spa_fallback.map_or(0, |file| file + 1)),
            ..Header::default()
        };
        let sections = Sections::new(&header).ok_or(DraftError::TooLarge)?;
        let header = Header { len: U64::new(sections.end as u64), ..header };
        Ok(Finished { draft: self, header, sections, slots, about })
    }

    /// Fills a hash table that is large enough, under a seed that lets each path be found within
    /// [`PROBES_MAX`]; `None` if there is none with slots that a number can count.
    fn hash_table(&self) -> Option<(u64, Vec<U32>)> {
        let mut count = self.paths.len() as u64;
        loop {
            count = count * SLOTS.0 / SLOTS.1 + 1;
            for seed in 0..SEEDS {
                let mut slots = vec![U32::new(0); u32::try_from(count).ok()? as usize];
                let mut fits = (1..).zip(&self.paths);
                if fits.all(|(number, record)| self.insert(&mut slots, seed, number, record.path)) {
                    return Some((seed, slots));
                }
            }
        }
    }

    /// Of equal paths the first counts; no seed would let more than [`PROBES_MAX`] of them fit.
    fn insert(&self, slots: &mut [U32], seed: u64, number: u32, path: TextRange) -> bool {
        let text = self.text_of(path);
        let count = short(slots.len() as u64);
        let mut at = place(hash(text, seed), count);
        for _ in 0..PROBES_MAX {
            let slot = &mut slots[at as usize];
            if slot.get() == 0 {
                *slot = U32::new(number);
                return true;
            }
            if self.text_of(self.paths[slot.get() as usize - 1].path) == text {
                return true;
            }
            at = if at + 1 == count { 0 } else { at + 1 };
        }
        false
    }

    pub(super) fn text_of(&self, range: TextRange) -> &[u8] {
        let start = range.start.get() as usize;
        &self.text[start..start + usize::from(range.len.get())]
    }
}

impl Finished {
    /// How long the index is, in bytes.
    pub fn index_len(&self) -> u64 {
        self.sections.end as u64
    }

    /// Writes the index to `out`, which has [`Finished::index_len`] bytes. What was written is
    /// freed at once, so that it takes no memory twice.
    pub fn write(self, out: &mut [u8]) {
        let Self { draft, sections, slots, about, header } = self;
        put(out, sections.slots, slots.iter());
        drop(slots);
        put(out, sections.paths, draft.paths.iter());
        drop(draft.paths);
        out[sections.text..sections.history].copy_from_slice(&draft.text);
        drop(draft.text);
        put(out, sections.stats, draft.stats.iter());
        drop(draft.stats);
        put(out, sections.files, draft.files.iter().map(|form| &form.record));
        put(out, sections.variants, draft.variants.iter().map(|variant| &variant.form.record));
        let forms = draft.files.iter().chain(draft.variants.iter().map(|variant| &variant.form));
        put(out, sections.births, forms.map(|form| &form.births));
        drop(draft.files);
        put(out, sections.disks, draft.disks.iter());
        put(out, sections.media, draft.media.iter());
        let history = HistoryHeader { as_of: U64::new(about.as_of) };
        put(out, sections.history, [&history].into_iter());
        put(out, sections.devices, draft.devices.iter());
        let origins = draft.variants.iter().map(|variant| U32::new(variant.origin));
        let origins: Vec<U32> = origins.collect();
        put(out, sections.origins, origins.iter());
        put(out, sections.retained, draft.retained.iter());
        let content_sum = U64::new(hash(&out[size_of::<Header>()..], 0));
        let header = Header { content_sum, ..header };
        let header = Header { header_sum: U64::new(header_sum(&header)), ..header };
        out[..size_of::<Header>()].copy_from_slice(header.as_bytes());
    }

    /// Returns the index as bytes of its own.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![0; self.sections.end];
        self.write(&mut bytes);
        bytes
    }

    /// Whether the former image holds the same, whenever it was made.
    pub fn is_same_as(&self, former: &Former<'_>) -> bool {
        let (draft, index, history) = (&self.draft, former.index(), former.history());
        let forms = draft.files.iter().map(|form| &form.record);
        let variants = draft.variants.iter().map(|variant| &variant.form.record);
        let origins = draft.variants.iter().map(|variant| variant.origin);
        let header = Header {
            generation: index.header.generation,
            content_sum: index.header.content_sum,
            header_sum: index.header.header_sum,
            ..self.header
        };
        header.as_bytes() == index.header.as_bytes()
            && draft.paths.as_bytes() == index.paths.as_bytes()
            && forms
                .map(Representation::as_bytes)
                .eq(index.files.iter().map(Representation::as_bytes))
            && variants
                .map(Representation::as_bytes)
                .eq(index.variants.iter().map(Representation::as_bytes))
            && index.has_same_text(&draft.disks, &draft.media, &draft.text)
            && draft.devices == history.devices
            && draft.stats.as_bytes() == history.stats.as_bytes()
            && origins.eq(history.origins.iter().map(|origin| origin.get()))
            && draft.retained.as_bytes() == history.retained.as_bytes()
    }
}

fn put<'r, T>(out: &mut [u8], start: usize, records: impl Iterator<Item = &'r T>)
where
    T: zerocopy::IntoBytes + zerocopy::Immutable + 'r,
{
    let places = out[start..].chunks_exact_mut(size_of::<T>());
    places.zip(records).for_each(|(place, record)| place.copy_from_slice(record.as_bytes()));
}
