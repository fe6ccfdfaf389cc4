//! Gzip twins: texts that nobody has made a sibling for, in a form that travels small. They are
//! made by a successor that nobody waits for, and taken over from site to site.

use std::borrow::Cow;
use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::coded::{Coded, From, Twin};
use super::order::order;
use super::{Asset, Content, Facts, Held, Opened, Root, Site, media};
use crate::http::coding::Coding;
use crate::http::etag::ETag;
use crate::http::head::Representation;
use crate::http::status::Status;

/// From 1 (fast) to 9 (small). Above 6 it takes twice as long for a percent less.
const LEVEL: u32 = 6;
/// Smallest file that gets a twin, in bytes: less fits into a packet as it is.
const SIZE_MIN: u64 = 1024;
/// Least part of a file that its twin must save.
const GAIN_MIN: u64 = 10;

impl Site {
    /// How many files have a twin.
    pub(super) fn twins(&self) -> usize {
        let forms = self.assets.iter().flat_map(|asset| asset.coded.iter().flatten());
        forms.filter(|form| form.is_twin()).count()
    }

    /// Makes twins of texts of at most `size_max` bytes, the smallest first, for as long as the
    /// memory lasts.
    pub(super) fn make_twins(&mut self, size_max: u64, memory_left: &mut u64) {
        let files = 0..self.assets.len() - self.retired.len();
        let wanted: Vec<_> = files.filter(|&at| self.assets[at].wants_twin(size_max)).collect();
        let size = |at: usize| (self.assets[wanted[at]].size(), at);
        let by_size = order(wanted.len(), &|a, b| size(a).cmp(&size(b)));
        let Self { root: Some(root), assets, as_of, .. } = self else { return };
        for at in by_size {
            let asset = &mut assets[wanted[at]];
            // What cannot be read now, or is not what it was, goes without.
            let Ok(body) = asset.bytes(root) else { continue };
            let Ok(packed) = pack(&body) else { continue };
            asset.is_dense = packed.len() as u64 > asset.size() - asset.size() / GAIN_MIN;
            if asset.is_dense {
                continue;
            }
            let twin = asset.twin(&packed, as_of.as_secs());
            if twin.content.memory() > *memory_left {
                break;
            }
            asset.add_twin(Coded { coding: Coding::Gzip, from: From::Twin(twin) }, memory_left);
        }
    }
}

impl Asset {
    fn wants_twin(&self, size_max: u64) -> bool {
        (SIZE_MIN..=size_max).contains(&self.size())
            && self.coded.is_none()
            && !self.is_dense
            && media::is_text(self.media_type)
    }

    /// All bytes of the file as compiled.
    fn bytes(&self, root: &Root) -> io::Result<Cow<'_, [u8]>> {
        let large = match &self.content {
            Content::Held(held) => return Ok(held.body().into()),
            Content::Large(large) => large,
        };
        let Opened { source, facts } = large.open(root)?;
        let mut body = vec![0; usize::try_from(facts.size).map_err(io::Error::other)?];
        source.read_exact_at(&mut body, 0)?;
        let (_, after) = Facts::of(&source)?;
        match facts.is_same_state(&self.facts) && after.is_same_state(&self.facts) {
            true => Ok(body.into()),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn twin(&self, packed: &[u8], now: u64) -> Twin {
        let modified = self.facts.last_modified(now);
        let media_type = [self.media_type, media::parameter(self.media_type)];
        let representation = Representation {
            coding: Some(Coding::Gzip),
            varies: true,
            etag: Some(ETag::of(packed)),
            modified,
            ..Representation::plain(media_type, packed.len() as u64)
        };
        let mut head = Vec::new();
        representation.file_head(&mut head, Status::Ok);
        Twin { content: Content::Held(Held::new(&head, packed)), modified }
    }
}

/// The same bytes for the same body, whenever and wherever it is packed: without a time or a name.
fn pack(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(LEVEL));
    encoder.write_all(body)?;
    encoder.finish()
}
