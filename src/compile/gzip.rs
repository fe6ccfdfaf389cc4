//! Gzip variants of texts that have no precompressed file. They are made when all else is done, and
//! stay where they are for as long as the text does not change.

use std::borrow::Cow;
use std::io::{self, Read as _, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Interrupt;
use super::assemble::Assembly;
use crate::http::coding::Coding;
use crate::http::etag::ETag;
use crate::site::{FileStat, Form, Pass, Place, media};

/// From 1 (fast) to 9 (small). Above 6 it takes twice as long for a percent less.
const LEVEL: u32 = 6;
/// Smallest file that gets a variant, in bytes: less fits into a packet as it is.
const SIZE_MIN: u64 = 1024;
/// Least part of a file that its variant must save.
const GAIN_MIN: u64 = 10;

impl Assembly<'_> {
    /// Keeps the variants that there were, and makes others, the smallest first, for as long as the
    /// memory lasts and nothing interrupts.
    pub(super) fn make_gzip_variants(&mut self, interrupt: Interrupt<'_>) {
        let limits = &self.job.rules.limits;
        // What bodies have left, and the share of variants.
        self.memory_left += limits.memory_max - limits.for_bodies();
        let size = |number: u32| self.draft.form_of(number).map_or(0, Form::size);
        let wanted = self.numbers().iter().copied().filter(|&number| self.wants_gzip(number));
        let mut wanted: Vec<u32> = wanted.collect();
        wanted.sort_unstable_by_key(|&number| (size(number), number));
        for number in wanted {
            if self.keep_gzip(number) {
                continue;
            }
            if self.draft.form_of(number).is_some_and(Form::is_dense) {
                continue;
            }
            if self.job.pass < Pass::Full || interrupt() {
                self.is_unfinished = true;
                continue;
            }
            if !self.make_gzip(number) {
                break;
            }
        }
    }

    fn wants_gzip(&self, number: u32) -> bool {
        let Some(form) = self.draft.form_of(number) else { return false };
        (SIZE_MIN..=self.job.rules.limits.gzip_max).contains(&form.size())
            && form.variants() == 0
            && media::is_text(self.draft.media_type(number))
    }

    /// Names the variant of the former image again, if there is one of the same text.
    fn keep_gzip(&mut self, number: u32) -> bool {
        let Some(former) = self.former else { return false };
        let Some(file) = former.file_at(self.url(number)) else { return false };
        let Some(form) = self.draft.form_of(number) else { return false };
        let is_same_text = form.etag().is_some() && form.etag() == file.form.etag();
        let mut variants = former.variants(file).map(|variant| variant.form);
        let variant = variants.find(Form::is_generated);
        let Some(variant) = variant.filter(|_| is_same_text) else { return false };
        if self.job.verifies && !former.is_intact(&variant) {
            return false;
        }
        let is_same = self.files[number as usize].former.is_some();
        let modified = form.modified();
        let form = variant.with_modified(modified);
        let form = if is_same { form } else { form.without_head() };
        if self.charge(form.size()) {
            let form = self.moved(form);
            self.draft.variants(number, &[(form, None)]);
        }
        true
    }

    /// Makes a variant; false if there is no memory left for it.
    fn make_gzip(&mut self, number: u32) -> bool {
        let Some(form) = self.draft.form_of(number).copied() else { return true };
        // What cannot be read now, or is not what it was, goes without.
        let Ok(Some(body)) = self.text_of(number) else { return true };
        let Ok(packed) = pack(&body) else { return true };
        let len = packed.len() as u64;
        if len > form.size() - form.size() / GAIN_MIN {
            if let Some(form) = self.draft.file_form(number) {
                *form = form.dense();
            }
            return true;
        }
        if !self.charge(len) {
            return false;
        }
        let Some(extent) = self.put(&packed) else { return false };
        let place = Place::Memory(extent, self.job.generation);
        let modified = form.modified().or_else(|| self.modified_of_disk(number));
        let media_type = self.draft.media_type(number);
        let variant = self.draft.form(media_type, len, place, Some(ETag::of(&packed)), modified);
        let variant = variant.with_coding(Coding::Gzip).generated();
        self.draft.variants(number, &[(variant, None)]);
        true
    }

    fn modified_of_disk(&self, number: u32) -> Option<u64> {
        self.walked(number)?.last_modified(self.job.now.as_secs())
    }

    /// All bytes of a file as compiled; `None` if it has changed since.
    fn text_of(&self, number: u32) -> io::Result<Option<Cow<'static, [u8]>>> {
        if let Some(body) = self.body(number) {
            return Ok(Some(body.into()));
        }
        let (mut file, _) = self.open(number)?;
        let Some(walked) = self.walked(number) else { return Ok(None) };
        let mut body = Vec::new();
        (&mut file).take(walked.size.saturating_add(1)).read_to_end(&mut body)?;
        let is_same = FileStat::of(&file)?.1.is_same_version(walked);
        Ok((is_same && body.len() as u64 == walked.size).then(|| body.into()))
    }
}

/// The same bytes for the same body, whenever and wherever it is packed: without a time or a name.
fn pack(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(LEVEL));
    encoder.write_all(body)?;
    encoder.finish()
}
