//! Sites of all kinds to make images of, and what can happen to these.

use proptest::prelude::*;
use tine::http::coding::Coding;
use tine::site::FileStat;

use crate::images::COUNTS;

pub const MEDIA: [&str; 4] = ["text/html", "text/css", "image/png", "application/wasm"];

/// A file in one form.
#[derive(Clone, Debug)]
pub struct FormSpec {
    pub body: Vec<u8>,
    pub head: Vec<u8>,
    pub is_on_disk: bool,
    pub digest: Option<[u8; 16]>,
    pub modified: Option<u32>,
    pub births: (u32, u32),
    pub is_dense: bool,
    pub origin: Option<u32>,
}

#[derive(Clone, Debug)]
pub struct FileSpec {
    pub name: Vec<u8>,
    pub is_index: bool,
    pub media: usize,
    pub stat: (u64, u64, i64, u32),
    pub form: FormSpec,
    /// Which codings there are, as bits.
    pub codings: u8,
    pub variant: FormSpec,
    pub retained_since: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct SiteSpec {
    pub files: Vec<FileSpec>,
    pub unreadable: Vec<Vec<u8>>,
    pub has_probes: bool,
    pub about: (u64, Option<(u64, u64)>, u64),
    /// Where the index is.
    pub gap: usize,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_map(|byte| if byte == b'/' { b'.' } else { byte });
    prop_oneof![
        9 => prop::collection::vec(byte.clone(), 0..40),
        1 => prop::collection::vec(byte, 0..2000),
    ]
}

fn form() -> impl Strategy<Value = FormSpec> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..50);
    let digest = any::<Option<[u8; 16]>>();
    let modified = prop::option::of(1..=u32::MAX);
    let flags = (prop::bool::weighted(0.3), any::<bool>());
    let births = any::<(u32, u32)>();
    let origin = prop::option::of(0..100_u32);
    (bytes(), bytes(), flags, digest, modified, births, origin).prop_map(
        |(body, head, (is_on_disk, is_dense), digest, modified, births, origin)| FormSpec {
            body,
            head: if is_on_disk { Vec::new() } else { head },
            is_on_disk,
            digest,
            modified,
            births,
            is_dense,
            origin,
        },
    )
}

fn file() -> impl Strategy<Value = FileSpec> {
    let retained = prop::option::weighted(0.2, any::<u64>());
    let stat = (any::<u64>(), any::<u64>(), any::<i64>(), 0..1_000_000_000_u32);
    (name(), any::<bool>(), 0..MEDIA.len(), stat, form(), 0..8_u8, form(), retained).prop_map(
        |(name, is_index, media, stat, form, codings, variant, retained_since)| FileSpec {
            name,
            is_index,
            media,
            stat,
            form,
            codings,
            variant,
            retained_since,
        },
    )
}

pub fn site() -> impl Strategy<Value = SiteSpec> {
    let files = prop::collection::vec(file(), 0..30);
    let unreadable = prop::collection::vec(name(), 0..4);
    let about = (any::<u64>(), any::<Option<(u64, u64)>>(), any::<u64>());
    (files, unreadable, any::<bool>(), about, 0..100_usize).prop_map(
        |(mut files, unreadable, has_probes, about, gap)| {
            files.sort_by_key(|file| file.retained_since.is_some());
            SiteSpec { files, unreadable, has_probes, about, gap }
        },
    )
}

impl FileSpec {
    pub fn path(&self, number: usize) -> Vec<u8> {
        let start = format!("/{number}-").into_bytes();
        let end: &[u8] = if self.is_index { b"/index.html" } else { b"" };
        [&start, &self.name[..], end].concat()
    }

    /// The path beneath the root: that of the URL, or where a link on that leads to.
    pub fn real_path(&self, url: &[u8]) -> Vec<u8> {
        if self.is_index { url[1..].to_owned() } else { [b"linked", url].concat() }
    }

    pub fn stat(&self, size: usize) -> FileStat {
        let mut stat = nix::sys::stat::stat("/").unwrap();
        let (device, inode, second, nanos) = self.stat;
        (stat.st_dev, stat.st_ino, stat.st_size) = (device % 5, inode, size.try_into().unwrap());
        (stat.st_mtime, stat.st_mtime_nsec) = (second, nanos.into());
        (stat.st_ctime, stat.st_ctime_nsec) = (second ^ 1, i64::from(nanos / 2));
        FileStat::from_stat(&stat).1
    }

    pub fn codings(&self) -> impl Iterator<Item = Coding> {
        let codings = self.codings;
        Coding::ALL.into_iter().filter(move |&coding| codings >> coding as usize & 1 == 1)
    }
}

/// What happens to an image.
#[derive(Clone, Debug)]
pub enum Damage {
    Flip(usize, u8),
    Cut(usize),
    Swap(usize, usize, usize),
    Count(usize, u32),
    /// No slot of the hash table is empty any more.
    FillSlots(u8),
}

pub fn damage() -> impl Strategy<Value = Damage> {
    let count = prop_oneof![0..100_u32, any::<u32>(), Just(u32::MAX), Just(1 << 29)];
    prop_oneof![
        4 => (any::<usize>(), 1..=u8::MAX).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        1 => any::<usize>().prop_map(Damage::Cut),
        2 => any::<(usize, usize, usize)>().prop_map(|(a, b, len)| Damage::Swap(a, b, len)),
        1 => (1..4_u8).prop_map(Damage::FillSlots),
        2 => (0..COUNTS.len() / 4, count).prop_map(|(which, to)| Damage::Count(which, to)),
    ]
}

pub fn apply(image: &mut Vec<u8>, damage: &Damage) {
    if image.len() < COUNTS.end {
        return;
    }
    let len = image.len();
    match *damage {
        Damage::Flip(at, bits) => image[at % len] ^= bits,
        Damage::Cut(at) => image.truncate(at % len),
        Damage::FillSlots(number) => {
            let count = image[COUNTS.start..][..4].try_into().unwrap();
            let count = usize::try_from(u32::from_le_bytes(count)).unwrap();
            for slot in image[COUNTS.end..].chunks_exact_mut(4).take(count) {
                slot.copy_from_slice(&u32::from(number).to_le_bytes());
            }
        }
        Damage::Swap(a, b, count) => {
            for step in 0..count % 64 {
                image.swap((a % len + step) % len, (b % len + step) % len);
            }
        }
        Damage::Count(which, to) => {
            let at = COUNTS.start + 4 * which;
            let from = u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
            // Small numbers are differences: the sections still fit, mostly.
            let to = if to < 100 { from.wrapping_add(to).wrapping_sub(50) } else { to };
            image[at..at + 4].copy_from_slice(&to.to_le_bytes());
        }
    }
}
