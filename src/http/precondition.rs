//! Conditional requests: whether the client's copy is good enough (RFC 9110 §13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::etag::ETag;
use super::fields::{Fields, Name};

/// What can be compared about the representation that would be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// Strong.
    pub etag: Option<ETag>,
    /// When it was last modified, in whole seconds since 1970.
    pub modified: Option<u64>,
}

/// What the conditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// The client has it already: 304.
    Unchanged,
    /// The client wanted another one: 412.
    Failed,
}

/// The conditions of a request, compared with a tag but not yet with a date: a file's date may have
/// to be found out first. A date that cannot be read is passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// What `If-Match` lists.
    matches: Option<Listed>,
    /// What `If-None-Match` lists.
    none_matches: Option<Listed>,
    /// In seconds since 1970.
    unmodified_since: Option<u64>,
    /// In seconds since 1970.
    modified_since: Option<u64>,
}

/// What a list of tags has of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    /// `*`: whatever there is.
    Anything,
    /// The tag that it was compared with.
    Ours,
    Others,
}

impl Listed {
    /// Whether it fits what there is; the tag may have turned out not to be that of it.
    fn fits(self, etag: Option<ETag>) -> bool {
        match self {
            Self::Anything => true,
            Self::Ours => etag.is_some(),
            Self::Others => false,
        }
    }
}

impl Conditions {
    /// Reads them for a representation with this tag, which mostly nobody asks for.
    pub fn read(fields: &Fields<'_, '_>, etag: impl FnOnce() -> Option<ETag>) -> Self {
        let etag = etag();
        let date = |name| fields.only(name).and_then(seconds);
        let is_ours = |tag: Tag<'_>| etag.is_some_and(|etag| etag.as_bytes() == tag.text);
        let has = |name| fields.has(name).then_some(name);
        Self {
            matches: has(Name::IfMatch)
                .map(|name| lists(fields, name, |tag| !tag.weak && is_ours(tag))),
            none_matches: has(Name::IfNoneMatch).map(|name| lists(fields, name, is_ours)),
            unmodified_since: date(Name::IfUnmodifiedSince),
            modified_since: date(Name::IfModifiedSince),
        }
    }

    /// Weighs them in the order of RFC 9110 §13.2.2, for GET and HEAD and an answer that would be
    /// 200. A date is not compared with one that there is not. The tag is the one that they were
    /// read for, or none if that has turned out not to be the representation's.
    pub fn weigh(&self, Validators { etag, modified }: Validators) -> Verdict {
        let since = |limit: Option<u64>| limit.zip(modified);
        let fails = match self.matches {
            Some(listed) => !listed.fits(etag),
            None => since(self.unmodified_since).is_some_and(|(limit, modified)| modified > limit),
        };
        let is_unchanged = match self.none_matches {
            Some(listed) => listed.fits(etag),
            None => since(self.modified_since).is_some_and(|(limit, modified)| modified <= limit),
        };
        match (fails, is_unchanged) {
            (true, _) => Verdict::Failed,
            (false, true) => Verdict::Unchanged,
            (false, false) => Verdict::Proceed,
        }
    }
}

/// Whether the field is `*`, or has a tag that fits.
fn lists(fields: &Fields<'_, '_>, name: Name, fits: impl Fn(Tag<'_>) -> bool) -> Listed {
    let any = |fits: &dyn Fn(&[u8]) -> bool| fields.lines(name).any(fits);
    if any(&|line| line == b"*") {
        Listed::Anything
    } else if any(&|line| Tags(line).any(&fits)) {
        Listed::Ours
    } else {
        Listed::Others
    }
}

/// Any of the three date formats (RFC 9110 §5.6.7), as seconds since 1970.
pub(super) fn seconds(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let time: SystemTime = httpdate::parse_http_date(text).ok()?;
    time.duration_since(UNIX_EPOCH).as_ref().map(Duration::as_secs).ok()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag<'b> {
    weak: bool,
    /// With its quotes.
    text: &'b [u8],
}

/// The entity tags of one line, up to the first thing that is none (RFC 9110 §8.8.3).
struct Tags<'b>(&'b [u8]);

impl<'b> Iterator for Tags<'b> {
    type Item = Tag<'b>;

    fn next(&mut self) -> Option<Tag<'b>> {
        let start = self.0.iter().position(|byte| !b" \t,".contains(byte))?;
        let rest = &self.0[start..];
        let (weak, rest) = match rest.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let end = 2 + rest.strip_prefix(b"\"")?.iter().position(|&byte| byte == b'"')?;
        let (text, rest) = rest.split_at(end);
        let (b"" | [b' ' | b'\t' | b',', ..]) = rest else { return None };
        self.0 = rest;
        Some(Tag { weak, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields::Slots;

    /// The tag of "abc" for `"a"`, so that the lists below can be read.
    fn verdict_of(block: &str, modified: Option<u64>) -> Verdict {
        let etag = ETag::of(b"abc");
        let block = block.replace("\"a\"", etag.as_str());
        verdict(&block, Validators { etag: Some(etag), modified })
    }

    const MODIFIED: Option<u64> = Some(784_111_777);
    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn verdict(block: &str, validators: Validators) -> Verdict {
        let block = format!("{block}\r\n\r\n");
        let mut slots = Slots::new();
        let parsed = Fields::parse(block.as_bytes(), &mut slots, 9).unwrap();
        Conditions::read(&parsed.unwrap().0, || validators.etag).weigh(validators)
    }

    #[test]
    fn none_match_compares_weakly_over_lists_and_lines() {
        for value in
            ["*", "\"a\"", "W/\"a\"", "\"b,c\", \"a\"", ",, \"a\"", "\"b\"\r\nIf-None-Match: \"a\""]
        {
            let block = format!("If-None-Match: {value}");
            assert_eq!(verdict_of(&block, MODIFIED), Verdict::Unchanged, "{value}");
        }
        for value in ["\"b\"", "a", "\"a", "\"b\"\"a\"", "w/\"a\"", "\"b,\"a\"", ""] {
            let block = format!("If-None-Match: {value}");
            assert_eq!(verdict_of(&block, MODIFIED), Verdict::Proceed, "{value}");
        }
    }

    #[test]
    fn match_compares_strongly() {
        assert_eq!(verdict_of("If-Match: \"b\", \"a\"", MODIFIED), Verdict::Proceed);
        assert_eq!(verdict_of("If-Match: *", MODIFIED), Verdict::Proceed);
        assert_eq!(verdict_of("If-Match: W/\"a\"", MODIFIED), Verdict::Failed);
        assert_eq!(verdict("If-Match: \"a\"", Validators::default()), Verdict::Failed);
    }

    #[test]
    fn dates_are_read_in_three_formats_and_count_only_without_tags() {
        for date in [NOW, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            let block = format!("If-Modified-Since: {date}");
            assert_eq!(verdict_of(&block, MODIFIED), Verdict::Unchanged, "{date}");
        }
        assert_eq!(verdict_of(&format!("If-Modified-Since: {BEFORE}"), MODIFIED), Verdict::Proceed);
        assert_eq!(verdict_of("If-Modified-Since: yesterday", MODIFIED), Verdict::Proceed);
        assert_eq!(verdict_of(&format!("If-Modified-Since: {NOW}"), None), Verdict::Proceed);
        let both = format!("If-Modified-Since: {NOW}\r\nIf-None-Match: \"b\"");
        assert_eq!(verdict_of(&both, MODIFIED), Verdict::Proceed);
        assert_eq!(verdict_of(&format!("If-Unmodified-Since: {NOW}"), MODIFIED), Verdict::Proceed);
        assert_eq!(
            verdict_of(&format!("If-Unmodified-Since: {BEFORE}"), MODIFIED),
            Verdict::Failed
        );
        let both = format!("If-Unmodified-Since: {BEFORE}\r\nIf-Match: \"a\"");
        assert_eq!(verdict_of(&both, MODIFIED), Verdict::Proceed);
    }

    #[test]
    fn a_failed_match_goes_before_an_unchanged_copy() {
        assert_eq!(
            verdict_of("If-None-Match: \"a\"\r\nIf-Match: \"b\"", MODIFIED),
            Verdict::Failed
        );
    }
}
