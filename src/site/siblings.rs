//! Files that are another file in a content coding: `page.html.br` beside `page.html`.
//!
//! Build tools make them, and may leave them behind when the file itself is made anew. So a sibling
//! has to prove what it is, as far as its coding lets it, and to be worth sending.

use std::io;

use super::coded::{Coded, From};
use super::large::Large;
use super::{Asset, Content, Entry, Held, Leads, Root, Site, media};
use crate::http::coding::Coding;
use crate::http::head::Representation;
use crate::http::status::Status;

/// How much older than its file a sibling may be that cannot prove what it is, in seconds: a tool
/// may write them in any order, and so do the volumes of Kubernetes.
const AGE_MAX: i64 = 60;

/// What the head of a file says that has other forms.
const VARY: &[u8] = b"Vary: Accept-Encoding\r\n";

impl Site {
    /// Finds the files that are others in a content coding, and has them answer for these. Their
    /// heads are held for as long as the memory lasts. `origins` are the places of the files in the
    /// former site: what both are from there is known to fit, or not to.
    pub(super) fn find_siblings(&mut self, origins: &[Option<usize>], memory_left: &mut u64) {
        let mut found: Vec<Vec<(usize, Coding)>> = vec![Vec::new(); self.assets.len()];
        for Entry { path, leads } in &self.entries {
            if let &Leads::ToAsset(sibling) = leads
                && let Some((own, coding)) = split(path)
                && let Some(own) = self.asset_at(own)
                && self.is_sibling(own, sibling, coding, origins)
            {
                found[own].push((sibling, coding));
            }
        }
        for (own, siblings) in found.into_iter().enumerate() {
            let former = self.assets[own].coded.take().map(<[_]>::into_vec);
            if siblings.is_empty() && former.is_none() {
                continue;
            }
            let (was_varied, mut former) = (former.is_some(), former.unwrap_or_default());
            // A twin is made only of what has no sibling.
            former.retain(|coded| coded.is_twin() == siblings.is_empty());
            let siblings = siblings.into_iter().map(|(asset, coding)| {
                let is_it = |coded: &Coded| origins[asset].is_some_and(|was| coded.is_sibling(was));
                let known = former.iter().position(is_it).map(|at| former.swap_remove(at));
                let head = match known {
                    Some(Coded { from: From::Sibling { head, .. }, .. }) => head,
                    _ => self.coded_head(own, asset, coding),
                };
                Coded { coding, from: From::Sibling { asset, head } }
            });
            let siblings: Vec<_> = siblings.collect();
            let forms = if siblings.is_empty() { former } else { siblings };
            self.assets[own].set_forms(forms, was_varied, memory_left);
        }
    }

    fn is_sibling(
        &self,
        own: usize,
        sibling: usize,
        coding: Coding,
        origins: &[Option<usize>],
    ) -> bool {
        let Self { root: Some(root), assets, .. } = self else { return false };
        match (origins[own], origins[sibling]) {
            (Some(_), Some(was)) => {
                let mut former = assets[own].coded.iter().flatten();
                former.any(|coded| coded.is_sibling(was))
            }
            _ => fits(root, &assets[own], &assets[sibling], coding),
        }
    }

    /// The 200 head of a held sibling, with the type of what it is another form of.
    fn coded_head(&self, own: usize, sibling: usize, coding: Coding) -> Box<[u8]> {
        let (own, sibling) = (&self.assets[own], &self.assets[sibling]);
        let Content::Held(held) = &sibling.content else { return Box::default() };
        let media_type = [own.media_type, media::parameter(own.media_type)];
        let representation = Representation {
            coding: Some(coding),
            varies: true,
            etag: held.etag(),
            modified: sibling.modified(),
            ..Representation::plain(media_type, sibling.size())
        };
        let mut head = Vec::new();
        representation.file_head(&mut head, Status::Ok);
        head.into()
    }
}

impl Asset {
    /// Has these forms answer for the file too, as far as the memory lasts; its head says that
    /// there are others.
    fn set_forms(&mut self, mut forms: Vec<Coded>, was_varied: bool, memory_left: &mut u64) {
        forms.retain_mut(|form| {
            let left = memory_left.checked_sub(form.memory());
            *memory_left = left.unwrap_or(*memory_left);
            match &mut form.from {
                _ if left.is_some() => true,
                From::Twin(_) => false,
                From::Sibling { head, .. } => {
                    *head = Box::default();
                    true
                }
            }
        });
        let varies = !forms.is_empty();
        if varies != was_varied
            && let Content::Held(held) = &self.content
        {
            let head = held.head();
            let head = match varies {
                true => [head, VARY].concat(),
                false => head.strip_suffix(VARY).unwrap_or(head).to_vec(),
            };
            self.content = Content::Held(Held::new(&head, held.body()));
        }
        self.coded = varies.then(|| forms.into());
    }

    /// Has a twin answer for the file, which has no other forms.
    pub(super) fn add_twin(&mut self, twin: Coded, memory_left: &mut u64) {
        self.set_forms(vec![twin], false, memory_left);
    }
}

/// What a path is a sibling of, and in which coding.
fn split(path: &[u8]) -> Option<(&[u8], Coding)> {
    let endings: [(&[u8], _); 3] =
        [(b".br", Coding::Brotli), (b".zst", Coding::Zstd), (b".gz", Coding::Gzip)];
    endings.into_iter().find_map(|(ending, coding)| Some((path.strip_suffix(ending)?, coding)))
}

/// Whether `sibling` is `own` in this coding, and smaller.
fn fits(root: &Root, own: &Asset, sibling: &Asset, coding: Coding) -> bool {
    let is_current = sibling.facts.mtime().saturating_add(AGE_MAX) >= own.facts.mtime();
    sibling.size() < own.size()
        && match coding {
            Coding::Brotli => is_current,
            Coding::Zstd => is_current && starts_as_zstd(root, sibling).unwrap_or(false),
            Coding::Gzip => ends_as_gzip_of(root, own, sibling, is_current).unwrap_or(false),
        }
}

/// A frame's magic number (RFC 8878 §3.1.1).
fn starts_as_zstd(root: &Root, sibling: &Asset) -> io::Result<bool> {
    Ok(read::<4>(root, sibling, 0)? == [0x28, 0xb5, 0x2f, 0xfd])
}

/// The last member's length and checksum (RFC 1952 §2.3.1). The checksum of a file that is not
/// held is not known; then its age has to do.
fn ends_as_gzip_of(
    root: &Root,
    own: &Asset,
    sibling: &Asset,
    is_current: bool,
) -> io::Result<bool> {
    let start = read::<3>(root, sibling, 0)?;
    let [a, b, c, d, length @ ..] = read::<8>(root, sibling, sibling.size().saturating_sub(8))?;
    let checksum = u32::from_le_bytes([a, b, c, d]);
    let is_same = match &own.content {
        Content::Held(held) => crc32fast::hash(held.body()) == checksum,
        Content::Large(_) => is_current,
    };
    // The length is told modulo 2^32.
    let is_as_long = u64::from(u32::from_le_bytes(length)) == own.size() & 0xffff_ffff;
    Ok(start == [0x1f, 0x8b, 8] && is_as_long && is_same)
}

/// Some octets of a file.
fn read<const N: usize>(root: &Root, asset: &Asset, at: u64) -> io::Result<[u8; N]> {
    match &asset.content {
        Content::Held(held) => {
            let start = usize::try_from(at).map_err(io::Error::other)?;
            let octets = held.body().get(start..).and_then(|rest| rest.first_chunk());
            octets.copied().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        }
        Content::Large(large) => read_large(root, large, at),
    }
}

fn read_large<const N: usize>(root: &Root, large: &Large, at: u64) -> io::Result<[u8; N]> {
    let mut octets = [0; N];
    large.open(root)?.source.read_exact_at(&mut octets, at)?;
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_are_known_by_their_names() {
        assert_eq!(split(b"/a.js.br"), Some((&b"/a.js"[..], Coding::Brotli)));
        assert_eq!(split(b"/a.zst"), Some((&b"/a"[..], Coding::Zstd)));
        assert_eq!(split(b"/a.tar.gz"), Some((&b"/a.tar"[..], Coding::Gzip)));
        assert_eq!(split(b"/a.gzip"), None);
        assert_eq!(split(b"/br"), None);
    }
}
