//! Reading a site image from any bytes.
#![allow(dead_code, reason = "each of the tests that share this uses a part of it")]

use std::time::Duration;

use tine::http::coding::Wishes;
use tine::http::fields::{Fields, Slots};
use tine::site::{Asset, Content, Former, FormerFile, Selected, Site, View};

/// Where the header has what: checksums, the length, and the counts of the sections.
const HEADER_SUM: usize = 16;
const CONTENT_SUM: usize = 24;
const LEN: usize = 32;
pub const COUNTS: std::ops::Range<usize> = 72..120;
const HEADER: usize = COUNTS.end;

/// Whatever the bytes are, reading gives values or errors, and nothing outside of them.
pub fn site_image_reading_is_sound(data: &[u8]) {
    use_everything(data, 0);
    let mut sealed = data.to_vec();
    seal(&mut sealed);
    if use_everything(&sealed, 0) {
        let site = Site::open(View::of(&sealed), 0).unwrap();
        assert_eq!(site.verify(), Ok(()), "the checksum is another one");
    }
}

/// What a client may want, one coding or none.
pub fn wishes(coding: &str) -> Wishes {
    let block = format!("Accept-Encoding: {coding}\r\n\r\n");
    let mut slots = Slots::new();
    Wishes::read(&Fields::parse(block.as_bytes(), &mut slots, 4).unwrap().unwrap().0)
}

/// Opens the image at `offset` and calls all that reads it; whether it could be opened.
pub fn use_everything(bytes: &[u8], offset: u64) -> bool {
    let Ok(site) = Site::open(View::of(bytes), offset) else { return false };
    let _ = site.verify();
    assert!(site.index_extent().len <= bytes.len() as u64);
    let mut paths: Vec<&[u8]> = site.paths().collect();
    assert!(paths.len() <= bytes.len(), "more paths than bytes");
    paths.iter().for_each(|path| assert_inside(bytes, path));
    paths.extend([&b""[..], b"/", b"/index.html", b"/livez", b"/missing"]);
    for path in &paths {
        if let Some(tine::site::Route::Asset(asset)) = site.lookup(path) {
            use_asset(bytes, &site, asset);
        }
    }
    let pages = [site.not_found_page(), site.spa_fallback()];
    pages.into_iter().flatten().for_each(|asset| use_asset(bytes, &site, asset));
    let _ = (site.generation(), site.is_there(), site.root());
    for extent in site.extents() {
        assert_inside(bytes, site.bytes(extent).unwrap_or_default());
    }
    if let Some(former) = Former::new(site) {
        use_former(bytes, &former, &paths);
    }
    true
}

fn use_asset(bytes: &[u8], site: &Site<'_>, asset: Asset<'_>) {
    use_selected(bytes, site, &asset.identity());
    for coding in ["br", "zstd", "gzip", "identity"] {
        use_selected(bytes, site, &asset.select(|| wishes(coding)));
    }
}

fn use_selected(bytes: &[u8], site: &Site<'_>, selected: &Selected<'_>) {
    let _ = (selected.media_type(), selected.coding(), selected.varies(), selected.etag());
    assert_inside(bytes, selected.head().unwrap_or_default());
    match selected.content() {
        Content::Memory(extent) => {
            assert_eq!(extent.len, selected.size());
            assert_inside(bytes, site.bytes(extent).unwrap_or_default());
        }
        Content::Disk(file) => {
            assert_inside(bytes, file.path);
            assert!(selected.is_compiled_version(&file.stat));
            let _ = selected.validators_of(&file.stat, 2_000_000_000);
            let _ = file.stat.is_unchanged_for(Duration::MAX, Duration::MAX);
            let _ = file.stat.is_clean_at(Duration::ZERO);
        }
    }
    let _ = selected.validators();
}

fn use_former(bytes: &[u8], former: &Former<'_>, paths: &[&[u8]]) {
    let _ = former.as_of();
    assert!(former.files() as usize <= bytes.len(), "more files than bytes");
    for number in (0..former.files()).chain([former.files(), u32::MAX]) {
        let _ = former.retained_since(number);
        if let Some(file) = former.file(number) {
            use_former_file(bytes, former, file);
        }
    }
    for path in paths {
        let _ = former.has_path(path);
        if let Some(file) = former.file_at(path) {
            use_former_file(bytes, former, file);
        }
    }
    former.file_paths().for_each(|(path, _)| assert_inside(bytes, path));
    assert!(former.births().count() <= bytes.len());
}

fn use_former_file(bytes: &[u8], former: &Former<'_>, file: FormerFile) {
    let variants = former.variants(file).map(|variant| variant.form);
    for form in [file.form].into_iter().chain(variants) {
        let _ = (form.births(), form.etag(), form.modified(), form.coding(), form.variants());
        let extents = form.body().into_iter().chain(form.head());
        extents.for_each(|extent| {
            assert_inside(bytes, former.bytes(extent).unwrap_or_default());
        });
        assert_eq!(form.without_variants().variants(), 0);
    }
    assert_inside(bytes, former.media_type(file).as_bytes());
}

/// Reads each byte too.
fn assert_inside(bytes: &[u8], slice: &[u8]) {
    let (outer, inner) = (bytes.as_ptr_range(), slice.as_ptr_range());
    let is_inside = outer.start <= inner.start && inner.end <= outer.end;
    assert!(slice.is_empty() || is_inside, "a slice leaves the bytes");
    std::hint::black_box(slice.iter().fold(0_u8, |sum, byte| sum ^ byte));
}

/// Makes the checksums right, and the length, as a damaged or forged image may have them.
pub fn seal(image: &mut [u8]) {
    if image.len() < HEADER {
        return;
    }
    let len = image.len() as u64;
    image[LEN..LEN + 8].copy_from_slice(&len.to_le_bytes());
    let sum = hash(&image[HEADER..]);
    image[CONTENT_SUM..CONTENT_SUM + 8].copy_from_slice(&sum.to_le_bytes());
    image[HEADER_SUM..HEADER_SUM + 8].fill(0);
    let sum = hash(&image[..HEADER]);
    image[HEADER_SUM..HEADER_SUM + 8].copy_from_slice(&sum.to_le_bytes());
}

/// The checksum of the format: multiply and fold, 16 bytes at a time.
fn hash(bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    const FIRST: u64 = 0xa076_1d64_78bd_642f;
    const SECOND: u64 = 0xe703_7ed1_a0b4_28db;
    let fold = |a: u64, b: u64| {
        let [low, high] = split(u128::from(a) * u128::from(b));
        low ^ high
    };
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let mut state = (bytes.len() as u64).wrapping_mul(ODD);
    let mut chunks = bytes.chunks_exact(16);
    for chunk in chunks.by_ref() {
        state = fold(word(chunk) ^ state ^ FIRST, word(&chunk[8..]) ^ SECOND);
    }
    let rest = chunks.remainder();
    let (low, high) = match rest.len() {
        0..8 => (rest.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)), 0),
        len => (word(rest), word(&rest[len - 8..])),
    };
    fold(low ^ state ^ FIRST, high ^ SECOND ^ ODD)
}

fn split(number: u128) -> [u64; 2] {
    let bytes = number.to_le_bytes();
    let half = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    [half(0), half(8)]
}
