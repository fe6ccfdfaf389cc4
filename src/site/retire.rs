//! Files that are gone and still served for a while: a page that was opened before the site changed
//! asks for its chunks by names that the new site has no more.
//!
//! Only names that are made from their content are kept like this, since nobody can mean another
//! content by them; pages are not, whatever they are called.

use std::collections::HashSet;
use std::time::Duration;

use super::order::order;
use super::{Content, Large, Leads, Rules, Site};

/// What part of the memory, and of the descriptors, retired files may have.
const SHARE: u64 = 4;
/// Shortest part of a name that counts as a hash.
const HASH_MIN: usize = 8;

/// A file that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retired {
    /// Its place among the assets.
    pub(super) asset: usize,
    /// When it was found to be gone, in a time since 1970.
    pub(super) since: Duration,
}

/// Files of a former site that its successor goes on serving.
#[derive(Debug, Default)]
pub(super) struct Pension {
    /// By their places in the former site, in its order.
    pub(super) files: Vec<Retired>,
    /// What their bodies and heads take, in bytes.
    pub(super) memory: u64,
    /// How many descriptors they hold.
    pub(super) open: usize,
}

impl Pension {
    /// Chooses among those files of `old` that are not among `urls`; the latest first, for as long
    /// as there is room.
    pub(super) fn choose(old: &Site, urls: &[Vec<u8>], rules: &Rules, now: Duration) -> Self {
        let mut pension = Self::default();
        if rules.keep_removed_assets.is_zero() {
            return pension;
        }
        let present: HashSet<&[u8]> = urls.iter().map(Vec::as_slice).collect();
        let vanished = old.entries.iter().filter_map(|entry| match entry.leads {
            Leads::ToAsset(asset) if !present.contains(&*entry.path) => Some((asset, &entry.path)),
            _ => None,
        });
        let gone: Vec<_> = vanished
            .filter(|&(asset, path)| old.is_fingerprinted(asset, path))
            .map(|(asset, _)| Retired { asset, since: old.retired_since(asset).unwrap_or(now) })
            .filter(|retired| now < retired.since.saturating_add(rules.keep_removed_assets))
            .collect();
        let latest_first =
            order(gone.len(), &|a, b| gone[b].since.cmp(&gone[a].since).then(a.cmp(&b)));
        let mut is_granted = vec![false; gone.len()];
        for at in latest_first {
            is_granted[at] = pension.grant(gone[at], old, rules);
        }
        let granted = gone.into_iter().zip(is_granted).filter(|&(_, is_granted)| is_granted);
        pension.files = granted.map(|(retired, _)| retired).collect();
        pension
    }

    /// Makes room for a file, if there is some.
    fn grant(&mut self, retired: Retired, old: &Site, rules: &Rules) -> bool {
        let asset = &old.assets[retired.asset];
        let memory = self.memory + asset.content.memory();
        let is_kept = asset.content.large().is_some_and(Large::is_kept);
        let open = self.open + usize::from(is_kept);
        // A file that is neither held nor kept open is gone indeed.
        let is_there = is_kept || matches!(asset.content, Content::Held(_));
        let fits = memory <= rules.limits.memory_max / SHARE
            && open as u64 <= rules.limits.open_files_max as u64 / SHARE;
        if is_there && fits {
            (self.memory, self.open) = (memory, open);
        }
        is_there && fits
    }
}

impl Site {
    /// A file that has lost its name has changed by that, and not in its bytes.
    pub(super) fn look_after_retired(&mut self) {
        for retired in &self.retired {
            let asset = &mut self.assets[retired.asset];
            let now = asset.content.large().and_then(Large::facts);
            if let Some(now) = now.filter(|now| now.has_same_bytes(&asset.facts)) {
                asset.facts = now;
            }
        }
    }

    fn is_fingerprinted(&self, asset: usize, path: &[u8]) -> bool {
        self.assets[asset].media_type != "text/html" && is_fingerprinted(path)
    }

    /// Since when a file is gone, if it is.
    fn retired_since(&self, asset: usize) -> Option<Duration> {
        self.retired.iter().find(|retired| retired.asset == asset).map(|retired| retired.since)
    }
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
