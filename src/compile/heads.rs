//! The heads of 200 responses, but for what the moment adds: written once for each form of a file.

use super::assemble::Assembly;
use crate::http::head::Representation;
use crate::http::status::Status;
use crate::site::{Form, media};

/// What the head of a file says at its end that has variants.
const VARY: &[u8] = b"Vary: Accept-Encoding\r\n";

impl Assembly<'_> {
    /// Writes the heads of all files in memory and of their variants. What the former image has
    /// stays where it is.
    pub(super) fn write_heads(&mut self) {
        let mut head = Vec::new();
        for number in 0..self.draft.files() {
            let Some(&form) = self.draft.form_of(number) else { continue };
            let media_type = self.draft.media_type(number);
            let former = self.former_file(number);
            let had_variants = former.is_some_and(|former| former.form.variants() > 0);
            let varies = form.variants() > 0;
            let is_same = former.is_some() && had_variants == varies;
            let form = self.with_head(form, media_type, varies, is_same, &mut head);
            let variants: Vec<Form> = self.draft.variants_of(number).map(|form| *form).collect();
            let variants: Vec<Form> = variants
                .into_iter()
                .map(|form| self.with_head(form, media_type, true, true, &mut head))
                .collect();
            if let Some(own) = self.draft.file_form(number) {
                *own = form;
            }
            for (own, form) in self.draft.variants_of(number).zip(variants) {
                *own = form;
            }
        }
    }

    /// A form with its head; `keeps` is whether the one that it has is the right one.
    fn with_head(
        &mut self,
        form: Form,
        media_type: &'static str,
        varies: bool,
        keeps: bool,
        head: &mut Vec<u8>,
    ) -> Form {
        if form.body().is_none() {
            return form;
        }
        let keeps = keeps && !self.job.verifies;
        if form.head().is_some_and(|head| keeps && !self.memory.is_to_move(head)) {
            return form;
        }
        let representation = Representation {
            coding: form.coding(),
            varies: varies && form.coding().is_some(),
            etag: form.etag(),
            modified: form.modified(),
            ..Representation::plain([media_type, media::parameter(media_type)], form.size())
        };
        head.clear();
        representation.file_head(head, Status::Ok);
        if varies && form.coding().is_none() {
            head.extend_from_slice(VARY);
        }
        let former = form.head().filter(|&former| !self.memory.is_to_move(former));
        if former.and_then(|former| self.memory.view().bytes(former.offset, former.len))
            == Some(head)
        {
            return form;
        }
        // Without room it is written for each response.
        match self.put(head) {
            Some(extent) => form.with_head(extent, self.job.generation),
            None => form.without_head(),
        }
    }
}
