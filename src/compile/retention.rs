//! Files that are gone and still served for a while: a page that was opened before the site changed
//! asks for its chunks by names that the new site has no more.
//!
//! Only names that are made from their content are retained, since such a name cannot mean another
//! content; pages are not, whatever they are called.

use super::assemble::Assembly;
use crate::site::Former;

/// What part of the memory, and of the number of files, retained files may have.
const SHARE: u64 = 4;
/// Shortest part of a name that counts as a hash.
const HASH_MIN: usize = 8;

/// Files of the former image that go on being served.
#[derive(Debug, Default)]
pub(super) struct Retention {
    /// Each with its URL path, its number in the former image, and since when it is gone, in
    /// seconds since boot. In the order of the former image.
    pub(super) files: Vec<(Vec<u8>, u32, u64)>,
    /// What their bodies and heads take, in bytes.
    pub(super) memory: u64,
}

impl Retention {
    /// Chooses among the files of the former image that the walk has not found; the latest first,
    /// for as long as there is room.
    pub(super) fn choose(assembly: &Assembly<'_>) -> Self {
        let job = assembly.job;
        let keep = job.rules.keep_removed_assets.as_secs();
        let Some(former) = assembly.former.filter(|_| keep > 0) else { return Self::default() };
        let is_gone = |path: &[u8]| assembly.file_at(path).is_none();
        let gone = former.file_paths().filter(|&(path, number)| {
            is_fingerprinted(path) && is_in_memory(&former, number) && is_gone(path)
        });
        let mut gone: Vec<(Vec<u8>, u32, u64)> = gone
            .map(|(path, number)| {
                let since = former.retained_since(number).unwrap_or(job.boot_seconds);
                (path.to_vec(), number, since)
            })
            .filter(|&(_, _, since)| job.boot_seconds < since.saturating_add(keep))
            .collect();
        gone.sort_unstable_by_key(|&(_, number, since)| (std::cmp::Reverse(since), number));
        let limits = &job.rules.limits;
        let mut retention = Self::default();
        for (path, number, since) in gone {
            let Some(form) = former.file(number).map(|file| file.form) else { continue };
            if job.verifies && !former.is_intact(&form) {
                continue;
            }
            let memory = retention.memory + assembly.cost(form.size());
            let files = retention.files.len() as u64 + 1;
            if memory <= limits.memory_max / SHARE && files <= limits.files_max as u64 / SHARE {
                retention.memory = memory;
                retention.files.push((path, number, since));
            }
        }
        retention.files.sort_unstable_by_key(|&(_, number, _)| number);
        retention
    }
}

/// Whether a file that is gone from the file system can be served still, and may be.
fn is_in_memory(former: &Former<'_>, number: u32) -> bool {
    former
        .file(number)
        .is_some_and(|file| file.form.body().is_some() && former.media_type(file) != "text/html")
}

/// Whether a name has a part that looks like a hash: at least eight characters behind a `.`, `-`,
/// `_` or `~` and in front of a dot or the end, or a whole name of at least sixteen. It changes
/// between letters and digits twice or more, or has two capitals in a row beside small letters.
/// Hashes of digits alone, or of small letters alone, look like dates and words and do not count;
/// nor does what has a `-` or `_` inside, unless it has both capitals and small letters.
fn is_fingerprinted(path: &[u8]) -> bool {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let mut parts = name.split(|&byte| byte == b'.');
    let stem = parts.next().unwrap_or_default();
    let is_whole = stem.len() >= 2 * HASH_MIN && stem.iter().all(u8::is_ascii_alphanumeric);
    is_whole && is_hash(stem)
        || ends_in_hash(stem)
        || parts.any(|part| is_hash(part) || ends_in_hash(part))
}

/// Whether a hash stands behind a separator; some have `-` and `_` in their alphabet (base64url).
fn ends_in_hash(part: &[u8]) -> bool {
    let separators = (0..part.len()).filter(|&at| b"-_~".contains(&part[at]));
    separators.map(|at| &part[at + 1..]).any(is_hash)
}

fn is_hash(part: &[u8]) -> bool {
    let is_separator = |byte: &u8| b"-_".contains(byte);
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || is_separator(byte);
    let pairs = || part.windows(2).map(|pair| (pair[0], pair[1]));
    let is_turn = |&(a, b): &(u8, u8)| {
        a.is_ascii_digit() && b.is_ascii_alphabetic()
            || a.is_ascii_alphabetic() && b.is_ascii_digit()
    };
    let turns = pairs().filter(is_turn).count();
    let has_capitals = pairs().any(|(a, b)| a.is_ascii_uppercase() && b.is_ascii_uppercase());
    let has_small = part.iter().any(u8::is_ascii_lowercase);
    let is_mixed = has_small && part.iter().any(u8::is_ascii_uppercase);
    part.len() >= HASH_MIN
        && part.iter().all(is_plain)
        && (is_mixed || !part.iter().any(is_separator))
        && (turns >= 2 || has_capitals && has_small)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_hash_are_known() {
        for name in [
            "/assets/index-BkR3xY9z.js",
            "/assets/index-BkRTxYzQ.js",
            "/assets/index-B_R3-Y9z.css",
            "/main.3f2a9c1b.js",
            "/main.3f2a9c1b.js.map",
            "/main.3f2a9c1b.js.br",
            "/static/js/787.8bc02f42.chunk.js",
            "/app-5OZ2KQEX.css",
            "/logo.svg-d41d8cd98f00b204.svg",
            "/d41d8cd98f00b204e980.woff2",
            "/vendor~3f2a9c1bd4.js",
        ] {
            assert!(is_fingerprinted(name.as_bytes()), "{name}");
        }
        for name in [
            "/index.html",
            "/report-20240101.pdf",
            "/report-2024-01-15.pdf",
            "/backup_2024-01-15_12-30.tar.gz",
            "/my-long-name-v2-final.pdf",
            "/song-mp3-v2-final.mp3",
            "/photo-2024holiday.jpg",
            "/jquery-3.7.1.min.js",
            "/background-image.png",
            "/my-Component.js",
            "/a.b.c",
            "/3f2a9c1b.js",
            "/main.3f2a9c1b/app.js",
        ] {
            assert!(!is_fingerprinted(name.as_bytes()), "{name}");
        }
    }
}
