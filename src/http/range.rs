//! Range requests (RFC 9110 §14): what a client asks for, and what of it there is.

use std::ops::Range;

use super::etag::ETag;
use super::fields::{Fields, Name};
use super::precondition::{Validators, seconds};

/// What a request asks for, as long as the size of the representation is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    specs: Specs,
    condition: IfRange,
}

/// One or more ranges as they were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Specs {
    One(Spec),
    Several(Box<[Spec]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec {
    /// From this octet to that, both included; the last may be beyond the end.
    From(u64, u64),
    /// The last so many octets.
    Last(u64),
}

/// What the ranges depend on (RFC 9110 §13.1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IfRange {
    Nothing,
    /// The tag that it was compared with, or another one.
    Tag {
        is_ours: bool,
    },
    /// The very time of the last modification, in seconds since 1970.
    Modified(u64),
}

/// What of a representation is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it: 200.
    Whole,
    /// One part, which is not empty: 206.
    Part(Range<u64>),
    /// Several, none of them empty and none overlapping: 206 as multipart/byteranges.
    Parts(Box<[Range<u64>]>),
    /// Nothing that there is: 416.
    Unsatisfiable,
}

impl Asked {
    /// Reads `Range` and `If-Range`; none if the client asks for the whole, for more than
    /// `ranges_max` ranges, or for something that cannot be understood and is therefore passed over
    /// (RFC 9110 §14.2).
    pub fn read(
        fields: &Fields<'_, '_>,
        ranges_max: usize,
        etag: impl FnOnce() -> Option<ETag>,
    ) -> Option<Self> {
        if !fields.has(Name::Range) {
            return None;
        }
        let specs = Specs::parse(fields.only(Name::Range)?, ranges_max)?;
        let condition = if fields.has(Name::IfRange) {
            let value = fields.only(Name::IfRange)?;
            match seconds(value) {
                Some(second) => IfRange::Modified(second),
                // Weak tags and lists are never the very same (RFC 9110 §8.8.3.2).
                None => IfRange::Tag { is_ours: etag()?.as_bytes() == value },
            }
        } else {
            IfRange::Nothing
        };
        Some(Self { specs, condition })
    }

    /// What it comes to for a representation of `size` octets with these validators. The tag is the
    /// one that it was read for, or none if that has turned out not to be the representation's.
    pub fn of(&self, size: u64, validators: Validators) -> Extent {
        let applies = match self.condition {
            IfRange::Nothing => true,
            IfRange::Tag { is_ours } => is_ours && validators.etag.is_some(),
            IfRange::Modified(second) => validators.modified == Some(second),
        };
        match &self.specs {
            _ if !applies => Extent::Whole,
            // It can be satisfied (RFC 9110 §14.1.2), and Content-Range cannot say so.
            specs if size == 0 && specs.has_suffix() => Extent::Whole,
            Specs::One(spec) => spec.of(size).map_or(Extent::Unsatisfiable, Extent::Part),
            Specs::Several(specs) => {
                let parts: Vec<_> = specs.iter().filter_map(|spec| spec.of(size)).collect();
                match &parts[..] {
                    [] => Extent::Unsatisfiable,
                    [part] => Extent::Part(part.clone()),
                    _ if overlap(&parts) => Extent::Whole,
                    _ => Extent::Parts(parts.into()),
                }
            }
        }
    }
}

impl Specs {
    /// Whether one of them is a last octet or more.
    fn has_suffix(&self) -> bool {
        let is_suffix = |spec: &Spec| matches!(spec, Spec::Last(1..));
        match self {
            Self::One(spec) => is_suffix(spec),
            Self::Several(specs) => specs.iter().any(is_suffix),
        }
    }

    /// `bytes=0-499, 1000-, -500`; the unit compares without case.
    fn parse(value: &[u8], ranges_max: usize) -> Option<Self> {
        let (unit, set) = value.split_at_checked(b"bytes=".len())?;
        if !unit.eq_ignore_ascii_case(b"bytes=") {
            return None;
        }
        let members = set.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        let mut specs = members.filter(|member| !member.is_empty()).map(Spec::parse);
        let first = specs.next()??;
        let rest = specs.collect::<Option<Vec<_>>>()?;
        match rest.len() {
            0 => Some(Self::One(first)),
            others if others < ranges_max => {
                Some(Self::Several([&[first], &rest[..]].concat().into()))
            }
            _ => None,
        }
    }
}

impl Spec {
    fn parse(member: &[u8]) -> Option<Self> {
        let dash = member.iter().position(|&byte| byte == b'-')?;
        let (first, last) = (&member[..dash], &member[dash + 1..]);
        match (first, last) {
            ([], digits) => Some(Self::Last(number(digits)?)),
            (digits, []) => Some(Self::From(number(digits)?, u64::MAX)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From(first, last))
            }
        }
    }

    /// The octets that there are of it; none if there are none.
    fn of(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(first, last) => first..last.saturating_add(1).min(size),
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

/// Digits alone; what is too large for any file counts as the largest number there is.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &digit| {
        let digit = char::from(digit).to_digit(10)?;
        Some(value.saturating_mul(10).saturating_add(u64::from(digit)))
    })
}

/// Whether any two of a few ranges share an octet.
fn overlap(parts: &[Range<u64>]) -> bool {
    let share = |a: &Range<u64>, b: &Range<u64>| a.start < b.end && b.start < a.end;
    parts.iter().enumerate().any(|(at, part)| parts[..at].iter().any(|other| share(part, other)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields::Slots;

    const MODIFIED: Option<u64> = Some(784_111_777);
    const RANGES_MAX: usize = 16;

    fn of(block: &str, size: u64) -> Extent {
        let etag = ETag::of(b"abc");
        let block = format!("{}\r\n\r\n", block.replace("\"a\"", etag.as_str()));
        let mut slots = Slots::new();
        let parsed = Fields::parse(block.as_bytes(), &mut slots, 9).unwrap();
        let asked = Asked::read(&parsed.unwrap().0, RANGES_MAX, || Some(etag));
        asked.map_or(Extent::Whole, |asked| {
            asked.of(size, Validators { etag: Some(etag), modified: MODIFIED })
        })
    }

    fn range(value: &str, size: u64) -> Extent {
        of(&format!("Range: {value}"), size)
    }

    #[test]
    fn one_range_is_cut_to_what_there_is() {
        assert_eq!(range("bytes=0-0", 10), Extent::Part(0..1));
        assert_eq!(range("bytes=2-4", 10), Extent::Part(2..5));
        assert_eq!(range("Bytes=9-99", 10), Extent::Part(9..10));
        assert_eq!(range("bytes=3-", 10), Extent::Part(3..10));
        assert_eq!(range("bytes=-3", 10), Extent::Part(7..10));
        assert_eq!(range("bytes=-30", 10), Extent::Part(0..10));
        assert_eq!(range("bytes=0-18446744073709551615", 10), Extent::Part(0..10));
        assert_eq!(range("bytes=0-99999999999999999999999", u64::MAX), Extent::Part(0..u64::MAX));
        assert_eq!(range("bytes=,1-2,", 10), Extent::Part(1..3));
    }

    #[test]
    fn what_there_is_not_is_unsatisfiable() {
        for value in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999-"] {
            assert_eq!(range(value, 10), Extent::Unsatisfiable, "{value}");
        }
        assert_eq!(range("bytes=10-, -0", 10), Extent::Unsatisfiable);
        assert_eq!(range("bytes=0-", 0), Extent::Unsatisfiable);
        assert_eq!(range("bytes=-5", 0), Extent::Whole);
        assert_eq!(range("bytes=0-0,-5", 0), Extent::Whole);
    }

    #[test]
    fn what_cannot_be_understood_is_passed_over() {
        for value in [
            "bytes=9-0",
            "bytes=a-b",
            "bytes=-",
            "bytes=",
            "bytes=1",
            "bytes=+1-2",
            "bytes=1 -2",
            "lines=1-2",
            "bytes",
            "bytes =1-2",
            "bytes=0x1-2",
            "bytes=1-2;3-4",
            "",
            "bytes=1-2-3",
            "bytes=1-2,x",
        ] {
            assert_eq!(range(value, 10), Extent::Whole, "{value}");
        }
        assert_eq!(of("Range: bytes=1-2\r\nRange: bytes=1-2", 10), Extent::Whole);
    }

    #[test]
    fn several_are_answered_unless_they_overlap_or_are_too_many() {
        let parts = |ranges: &[Range<u64>]| Extent::Parts(ranges.into());
        assert_eq!(range("bytes=0-1, 4-5,-1", 10), parts(&[0..2, 4..6, 9..10]));
        assert_eq!(range("bytes=4-5,0-1", 10), parts(&[4..6, 0..2]));
        assert_eq!(range("bytes=0-1,2-3", 10), parts(&[0..2, 2..4]));
        assert_eq!(range("bytes=0-1,20-30", 10), Extent::Part(0..2));
        assert_eq!(range("bytes=0-4,4-5", 10), Extent::Whole);
        let many = |count: u64| {
            let ranges: Vec<_> = (0..count).map(|at| format!("{}-{}", at * 2, at * 2)).collect();
            range(&format!("bytes={}", ranges.join(",")), 1000)
        };
        assert!(matches!(many(16), Extent::Parts(parts) if parts.len() == RANGES_MAX));
        assert_eq!(many(17), Extent::Whole);
    }

    #[test]
    fn a_range_depends_on_the_very_same_representation() {
        let if_range = |value: &str| of(&format!("Range: bytes=0-0\r\nIf-Range: {value}"), 10);
        let part = Extent::Part(0..1);
        assert_eq!(if_range("\"a\""), part);
        assert_eq!(if_range("Sun, 06 Nov 1994 08:49:37 GMT"), part);
        for other in [
            "\"b\"",
            "W/\"a\"",
            "*",
            "",
            "\"a\", \"b\"",
            "Sun, 06 Nov 1994 08:49:38 GMT",
            "Sun, 06 Nov 1994 08:49:36 GMT",
        ] {
            assert_eq!(if_range(other), Extent::Whole, "{other}");
        }
        assert_eq!(of("If-Range: \"a\"", 10), Extent::Whole);
    }
}
