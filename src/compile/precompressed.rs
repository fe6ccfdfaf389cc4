//! Precompressed files: `page.html.br` beside `page.html`.
//!
//! Build tools make them, and may leave them when the file itself is made anew. So such a file has
//! to prove what it is, as far as its coding lets it, and to be worth sending.

use std::io;
use std::os::unix::fs::FileExt as _;

use super::assemble::Assembly;
use crate::http::coding::Coding;
use crate::site::{FileStat, Form};

/// How much older than its file a precompressed file may be that cannot prove what it is, in
/// seconds: a tool may write them in any order, and so do the volumes of Kubernetes.
const AGE_MAX: i64 = 60;

impl Assembly<'_> {
    /// Finds the files that are others in a content coding, and has them answer for these.
    pub(super) fn find_precompressed(&mut self) {
        let mut found: Vec<(u32, u32, Coding)> = Vec::new();
        for &number in self.numbers() {
            if let Some((own, coding)) = split(self.url(number))
                && let Some(own) = self.file_at(own)
                && self.is_variant(own, number, coding)
            {
                found.push((own, number, coding));
            }
        }
        found.sort_by_key(|&(own, ..)| own);
        for variants in found.chunk_by(|(a, ..), (b, ..)| a == b) {
            let Some(&(own, ..)) = variants.first() else { continue };
            let variants = variants.iter().filter_map(|&(_, number, coding)| {
                let form = *self.draft.form_of(number)?;
                let head = self.former_head(own, number);
                let form = form.without_head().with_coding(coding);
                let form = match head {
                    Some((head, birth)) => form.with_head(head, birth),
                    None => form,
                };
                Some((form, Some(number)))
            });
            let variants: Vec<(Form, Option<u32>)> = variants.collect();
            self.draft.variants(own, &variants);
        }
    }

    /// The head of a variant that the former image has too, of the same versions of both files.
    fn former_head(&self, own: u32, number: u32) -> Option<(crate::site::Extent, u64)> {
        let (own, number) = (self.former_file(own)?, self.former_file(number)?);
        let mut variants = self.former?.variants(own);
        let form = variants.find(|variant| variant.origin == Some(number.number))?.form;
        let head = form.head().filter(|&head| !self.memory.is_to_move(head))?;
        Some((head, form.births().1))
    }

    fn is_variant(&self, own: u32, number: u32, coding: Coding) -> bool {
        match (self.former_file(own), self.former_file(number), self.former) {
            // What both are in the version of the former image fits as it did there.
            (Some(own), Some(number), Some(former)) => {
                former.variants(own).any(|variant| variant.origin == Some(number.number))
            }
            _ => self.fits(own, number, coding),
        }
    }

    /// Whether a file is another one in this coding, and smaller.
    fn fits(&self, own: u32, number: u32, coding: Coding) -> bool {
        let size = |number: u32| self.draft.form_of(number).map_or(0, Form::size);
        let mtime = |number: u32| self.walked(number).map_or(0, FileStat::mtime);
        let is_current = mtime(number).saturating_add(AGE_MAX) >= mtime(own);
        size(number) < size(own)
            && match coding {
                Coding::Brotli => is_current,
                Coding::Zstd => is_current && self.starts_as_zstd(number).unwrap_or(false),
                Coding::Gzip => self.ends_as_gzip_of(own, number, is_current).unwrap_or(false),
            }
    }

    /// A frame's magic number (RFC 8878 §3.1.1).
    fn starts_as_zstd(&self, number: u32) -> io::Result<bool> {
        Ok(self.read_at::<4>(number, 0)? == [0x28, 0xb5, 0x2f, 0xfd])
    }

    /// The last member's length and checksum (RFC 1952 §2.3.1). The checksum of a file on disk is
    /// not known; then its age has to do.
    fn ends_as_gzip_of(&self, own: u32, number: u32, is_current: bool) -> io::Result<bool> {
        let size = |number: u32| self.draft.form_of(number).map_or(0, Form::size);
        let start = self.read_at::<3>(number, 0)?;
        let end = size(number).saturating_sub(8);
        let [a, b, c, d, length @ ..] = self.read_at::<8>(number, end)?;
        let is_same = match self.body(own) {
            Some(body) => crc32fast::hash(body) == u32::from_le_bytes([a, b, c, d]),
            None => is_current,
        };
        // The length is told modulo 2^32.
        let is_as_long = u64::from(u32::from_le_bytes(length)) == size(own) & 0xffff_ffff;
        Ok(start == [0x1f, 0x8b, 8] && is_as_long && is_same)
    }

    /// The body of a file in memory.
    pub(super) fn body(&self, number: u32) -> Option<&'static [u8]> {
        let extent = self.draft.form_of(number)?.body()?;
        self.memory.view().bytes(extent.offset, extent.len)
    }

    /// Some bytes of a file.
    fn read_at<const N: usize>(&self, number: u32, at: u64) -> io::Result<[u8; N]> {
        if let Some(body) = self.body(number) {
            let start = usize::try_from(at).map_err(io::Error::other)?;
            let bytes = body.get(start..).and_then(|rest| rest.first_chunk());
            return bytes.copied().ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
        }
        let (file, _) = self.open(number)?;
        let mut bytes = [0; N];
        file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }
}

/// What a path is the precompressed file of, and in which coding.
fn split(path: &[u8]) -> Option<(&[u8], Coding)> {
    let endings: [(&[u8], _); 3] =
        [(b".br", Coding::Brotli), (b".zst", Coding::Zstd), (b".gz", Coding::Gzip)];
    endings.into_iter().find_map(|(ending, coding)| Some((path.strip_suffix(ending)?, coding)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precompressed_files_are_known_by_their_names() {
        assert_eq!(split(b"/a.js.br"), Some((&b"/a.js"[..], Coding::Brotli)));
        assert_eq!(split(b"/a.zst"), Some((&b"/a"[..], Coding::Zstd)));
        assert_eq!(split(b"/a.tar.gz"), Some((&b"/a.tar"[..], Coding::Gzip)));
        assert_eq!(split(b"/a.gzip"), None);
        assert_eq!(split(b"/br"), None);
    }
}
