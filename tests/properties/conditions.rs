//! Conditional requests, step by step as RFC 9110 §13.2.2 tells them.

use proptest::prelude::*;
use tine::http::date::imf_fixdate;
use tine::http::etag::ETag;
use tine::http::precondition::{Conditions, Validators, Verdict};

use crate::with_fields;

/// A tag of a list: one of a few contents, and whether it is weak.
type Tag = (u8, bool);

/// The value of `If-Match` or `If-None-Match`, over one or more lines.
#[derive(Clone, Debug)]
enum Wanted {
    Any,
    Listed(Vec<Vec<Tag>>),
}

#[derive(Clone, Debug)]
struct Input {
    if_match: Option<Wanted>,
    if_none_match: Option<Wanted>,
    /// In seconds, and in which of the three formats.
    unmodified_since: Option<(u64, u8)>,
    modified_since: Option<(u64, u8)>,
    /// Whether the representation has a tag, which is that of content 0.
    has_tag: bool,
    modified: Option<u64>,
}

/// A few seconds of 2001, so that they are often the same.
fn second() -> impl Strategy<Value = u64> {
    1_000_000_000..1_000_000_004_u64
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let list = prop::collection::vec((0..3_u8, any::<bool>()), 0..4);
    prop_oneof![
        1 => Just(Wanted::Any),
        4 => prop::collection::vec(list, 1..3).prop_map(Wanted::Listed),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let date = || prop::option::of((second(), 0..3_u8));
    (
        prop::option::of(wanted()),
        prop::option::of(wanted()),
        date(),
        date(),
        any::<bool>(),
        prop::option::of(second()),
    )
        .prop_map(
            |(if_match, if_none_match, unmodified_since, modified_since, has_tag, modified)| {
                Input {
                    if_match,
                    if_none_match,
                    unmodified_since,
                    modified_since,
                    has_tag,
                    modified,
                }
            },
        )
}

fn tag(content: u8) -> ETag {
    ETag::of(&[content])
}

fn print_wanted(name: &str, wanted: &Wanted) -> Vec<String> {
    let print = |&(content, is_weak): &Tag| {
        format!("{}{}", if is_weak { "W/" } else { "" }, tag(content).as_str())
    };
    match wanted {
        Wanted::Any => vec![format!("{name}: *")],
        Wanted::Listed(lines) => lines
            .iter()
            .map(|list| {
                format!("{name}: {}", list.iter().map(print).collect::<Vec<_>>().join(" ,\t"))
            })
            .collect(),
    }
}

/// A date of September 2001 in one of the formats of RFC 9110 §5.6.7.
fn print_date(name: &str, (second, format): (u64, u8)) -> String {
    let fixdate = imf_fixdate(second).to_string();
    let time = &fixdate["Sun, 09 Sep 2001 ".len()..fixdate.len() - " GMT".len()];
    assert!(fixdate.starts_with("Sun, 09 Sep 2001 "));
    match format {
        0 => format!("{name}: {fixdate}"),
        1 => format!("{name}: Sunday, 09-Sep-01 {time} GMT"),
        _ => format!("{name}: Sun Sep  9 {time} 2001"),
    }
}

fn print(input: &Input) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(input.if_match.iter().flat_map(|wanted| print_wanted("If-Match", wanted)));
    lines.extend(
        input.if_none_match.iter().flat_map(|wanted| print_wanted("If-None-Match", wanted)),
    );
    lines.extend(input.unmodified_since.map(|date| print_date("If-Unmodified-Since", date)));
    lines.extend(input.modified_since.map(|date| print_date("If-Modified-Since", date)));
    lines
}

/// Whether a list has the tag of the representation.
fn has_ours(wanted: &Wanted, has_tag: bool, weak_counts: bool) -> bool {
    match wanted {
        Wanted::Any => true,
        Wanted::Listed(lines) => lines
            .iter()
            .flatten()
            .any(|&(content, is_weak)| has_tag && content == 0 && (weak_counts || !is_weak)),
    }
}

fn model(input: &Input) -> Verdict {
    // Steps 1 and 2.
    if let Some(wanted) = &input.if_match {
        if !has_ours(wanted, input.has_tag, false) {
            return Verdict::Failed;
        }
    } else if let (Some((limit, _)), Some(modified)) = (input.unmodified_since, input.modified)
        && modified > limit
    {
        return Verdict::Failed;
    }
    // Steps 3 and 4.
    if let Some(wanted) = &input.if_none_match {
        if has_ours(wanted, input.has_tag, true) {
            return Verdict::Unchanged;
        }
    } else if let (Some((limit, _)), Some(modified)) = (input.modified_since, input.modified)
        && modified <= limit
    {
        return Verdict::Unchanged;
    }
    Verdict::Proceed
}

proptest! {
    #[test]
    fn they_agree_with_a_plain_model(input in input(), order in any::<prop::sample::Index>()) {
        let mut lines = print(&input);
        // Lines of different names may come in any order.
        if !lines.is_empty() {
            let start = order.index(lines.len());
            lines.rotate_left(start);
        }
        let etag = input.has_tag.then(|| tag(0));
        let verdict = with_fields(&lines, |fields| {
            Conditions::read(fields, || etag).weigh(Validators { etag, modified: input.modified })
        });
        prop_assert_eq!(verdict, model(&input), "{:?}", lines);
    }
}
