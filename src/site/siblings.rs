//! Files that are another file in a content coding: `page.html.br` beside `page.html`.
//!
//! Build tools make them, and may leave them behind when the file itself is made anew. So a sibling
//! has to prove what it is, as far as its coding lets it, and to be worth sending.

use std::io;

use super::large::Large;
use super::{Asset, Content, Entry, Held, Leads, Root, Site, media};
use crate::http::coding::Coding;
use crate::http::head::Representation;
use crate::http::status::Status;

/// How much older than its file a sibling may be that cannot prove what it is, in seconds: a tool
/// may write them in any order, and so do the volumes of Kubernetes.
const AGE_MAX: i64 = 60;

/// A file in a coding, as it answers for another.
#[derive(Debug)]
pub(super) struct Coded {
    pub(super) coding: Coding,
    /// The sibling, by its place among the assets.
    pub(super) asset: usize,
    /// Its 200 head; empty if the bytes are not held, or the head is not.
    pub(super) head: Box<[u8]>,
}

impl Site {
    /// Finds the files that are others in a content coding, and has them answer for these.
    /// Their heads are held for as long as the memory lasts.
    pub(super) fn find_siblings(&mut self, mut memory_left: u64) {
        let mut found = Vec::new();
        for Entry { path, leads } in &self.entries {
            if let &Leads::ToAsset(sibling) = leads
                && let Some((own, coding)) = split(path)
                && let Some(&Entry { leads: Leads::ToAsset(own), .. }) = self.entry(own)
                && fits(&self.root, &self.assets[own], &self.assets[sibling], coding)
            {
                found.push((own, sibling, coding));
            }
        }
        for (own, asset, coding) in found {
            let mut head = self.coded_head(own, asset, coding);
            match memory_left.checked_sub(head.len() as u64) {
                Some(left) => memory_left = left,
                None => head = Box::default(),
            }
            self.assets[own].vary(Coded { coding, asset, head });
        }
    }

    /// The 200 head of a held sibling, with the type of what it is another form of.
    fn coded_head(&self, own: usize, sibling: usize, coding: Coding) -> Box<[u8]> {
        let (own, sibling) = (&self.assets[own], &self.assets[sibling]);
        if matches!(sibling.content, Content::Large(_)) {
            return Box::default();
        }
        let media_type = [own.media_type, media::parameter(own.media_type)];
        let representation = Representation {
            coding: Some(coding),
            varies: true,
            etag: sibling.etag(),
            modified: sibling.modified,
            ..Representation::plain(media_type, sibling.size())
        };
        let mut head = Vec::new();
        representation.file_head(&mut head, Status::Ok);
        head.into()
    }
}

impl Asset {
    /// Other clients get another form from now on, and the head of this one says so.
    fn vary(&mut self, coded: Coded) {
        let mut all = self.coded.take().map(<[_]>::into_vec).unwrap_or_default();
        if let Content::Held(held) = &self.content
            && all.is_empty()
        {
            let head = [held.head(), b"Vary: Accept-Encoding\r\n"].concat();
            self.content = Content::Held(Held::new(&head, held.body()));
        }
        all.push(coded);
        self.coded = Some(all.into());
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
    let is_current = sibling.mtime.saturating_add(AGE_MAX) >= own.mtime;
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
