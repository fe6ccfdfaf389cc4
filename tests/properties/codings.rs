//! `Accept-Encoding`, read a second time and naively: text and floating point.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use tine::http::coding::{Coding, Wishes};

use crate::with_fields;

const NAMES: [&str; 10] =
    ["br", "BR", "gzip", "x-gzip", "GZip", "zstd", "identity", "*", "deflate", "gzipped"];
const WEIGHTS: [&str; 16] = [
    "",
    ";q=1",
    "; q=1.000",
    ";q=0",
    " ; Q=0.0",
    ";q=0.5",
    ";q=0.50",
    ";q=0.501",
    ";q=.5",
    ";q=2",
    ";q=1.001",
    ";q=0.1234",
    ";q=",
    ";q=x",
    ";level=1",
    ";q=-1",
];

fn member() -> impl Strategy<Value = String> {
    (select(&NAMES[..]), select(&WEIGHTS[..])).prop_map(|(name, weight)| format!("{name}{weight}"))
}

/// The weight of a member, if it is written as RFC 9110 §12.4.2 wants it.
fn weight(member: &str) -> Option<(String, f64)> {
    let (name, weight) = match member.split_once(';') {
        None => (member, "q=1"),
        Some((name, weight)) => (name, weight.trim()),
    };
    let digits = weight.to_lowercase().strip_prefix("q=")?.to_owned();
    let decimals = digits.split_once('.').map_or("", |(_, decimals)| decimals);
    let is_plain = digits.starts_with(['0', '1'])
        && digits.chars().all(|letter| letter.is_ascii_digit() || letter == '.')
        && decimals.len() <= 3;
    let number = digits.parse::<f64>().ok().filter(|number| is_plain && *number <= 1.0)?;
    Some((name.trim().to_lowercase().replace("x-gzip", "gzip"), number))
}

fn model(lines: &[Vec<String>], offered: &[Coding]) -> Option<Coding> {
    let members: Vec<_> = lines.iter().flatten().filter_map(|member| weight(member)).collect();
    let find = |name: &str| members.iter().find(|(known, _)| known == name).map(|(_, q)| *q);
    let wish = |coding: &Coding| find(coding.token()).or_else(|| find("*")).unwrap_or(0.0);
    // In the order of the server's taste, so that the first of the best is the choice.
    let most = offered.iter().map(wish).fold(0.0, f64::max);
    let own = find("identity").or_else(|| find("*")).unwrap_or(0.0);
    let choice = Coding::ALL.iter().find(|coding| offered.contains(coding) && wish(coding) == most);
    choice.copied().filter(|_| most > 0.0 && most >= own)
}

proptest! {
    #[test]
    fn wishes_agree_with_a_naive_reading(
        lines in prop::collection::vec(prop::collection::vec(member(), 0..4), 0..3),
        offered in subsequence(&Coding::ALL[..], 0..=3),
    ) {
        let printed: Vec<_> =
            lines.iter().map(|line| format!("Accept-Encoding: {}", line.join(", "))).collect();
        let choice = with_fields(&printed, |fields| {
            Wishes::read(fields).choose(offered.iter().copied())
        });
        prop_assert_eq!(choice, model(&lines, &offered), "{:?}", printed);
    }
}
