//! Ranges, octet by octet.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tine::http::precondition::Validators;
use tine::http::range::{Asked, Extent};

use crate::with_fields;

#[derive(Clone, Copy, Debug)]
enum Spec {
    FromTo(u128, u128),
    From(u128),
    Last(u128),
}

const RANGES_MAX: usize = 4;

/// Mostly near the sizes below, sometimes near or beyond what 64 bits hold.
fn number() -> impl Strategy<Value = u128> {
    prop_oneof![
        4 => 0..12_u128,
        4 => 0..70_u128,
        1 => (u128::from(u64::MAX) - 2)..(u128::from(u64::MAX) + 3),
        1 => any::<u128>(),
    ]
}

fn specs() -> impl Strategy<Value = Vec<Spec>> {
    let spec = prop_oneof![
        (number(), number()).prop_map(|(a, b)| Spec::FromTo(a.min(b), a.max(b))),
        number().prop_map(Spec::From),
        number().prop_map(Spec::Last),
    ];
    prop::collection::vec(spec, 1..RANGES_MAX + 3)
}

fn print(specs: &[Spec], separator: &str) -> String {
    let print = |spec: &Spec| match spec {
        Spec::FromTo(first, last) => format!("{first}-{last}"),
        Spec::From(first) => format!("{first}-"),
        Spec::Last(count) => format!("-{count}"),
    };
    format!("Range: bytes={}", specs.iter().map(print).collect::<Vec<_>>().join(separator))
}

fn ask(line: String, size: u64) -> Extent {
    let asked = with_fields(&[line], |fields| Asked::read(fields, RANGES_MAX, || None));
    asked.map_or(Extent::Whole, |asked| asked.of(size, Validators::default()))
}

/// The octets of a small representation that a range names, one by one.
fn octets(spec: Spec, size: u64) -> BTreeSet<u64> {
    let names = |octet: u64| match spec {
        Spec::FromTo(first, last) => (first..=last).contains(&u128::from(octet)),
        Spec::From(first) => u128::from(octet) >= first,
        Spec::Last(count) => u128::from(size - octet) <= count,
    };
    (0..size).filter(|&octet| names(octet)).collect()
}

/// What RFC 9110 §14.2 says and §17.15 advises, by sets of octets.
fn model(specs: &[Spec], size: u64) -> Extent {
    if specs.len() > RANGES_MAX {
        return Extent::Whole;
    }
    // §14.1.2: "satisfiable" is said of the ranges, whether or not they have an octet.
    let is_satisfiable = |spec: &Spec| match *spec {
        Spec::FromTo(first, _) | Spec::From(first) => first < u128::from(size),
        Spec::Last(count) => count > 0,
    };
    if !specs.iter().any(is_satisfiable) {
        return Extent::Unsatisfiable;
    }
    let parts: Vec<BTreeSet<u64>> =
        specs.iter().map(|&spec| octets(spec, size)).filter(|part| !part.is_empty()).collect();
    let all: BTreeSet<u64> = parts.iter().flatten().copied().collect();
    let range = |part: &BTreeSet<u64>| *part.first().unwrap()..*part.last().unwrap() + 1;
    match &parts[..] {
        // There is no Content-Range for no octets.
        [] => Extent::Whole,
        [part] => Extent::Part(range(part)),
        _ if all.len() < parts.iter().map(BTreeSet::len).sum() => Extent::Whole,
        _ => Extent::Parts(parts.iter().map(range).collect()),
    }
}

proptest! {
    #[test]
    fn they_agree_with_a_model_of_single_octets(
        specs in specs(),
        size in 0..64_u64,
        separator in "[ \t]{0,2}(,[ \t]?){1,3}",
    ) {
        prop_assert_eq!(ask(print(&specs, &separator), size), model(&specs, size));
    }

    #[test]
    fn no_number_and_no_size_leads_out_of_what_there_is(specs in specs(), size in any::<u64>()) {
        let inside = |part: &std::ops::Range<u64>| part.start < part.end && part.end <= size;
        match ask(print(&specs, ","), size) {
            Extent::Whole | Extent::Unsatisfiable => {}
            Extent::Part(part) => prop_assert!(inside(&part), "{:?}", part),
            Extent::Parts(parts) => {
                prop_assert!(parts.len() <= RANGES_MAX && parts.iter().all(inside), "{:?}", parts);
            }
        }
    }

    #[test]
    fn whatever_else_is_asked_for_is_the_whole_or_inside_it(value in "[0-9a-z=, -]{0,30}") {
        let extent = ask(format!("Range: bytes={value}"), 10);
        let is_inside = match &extent {
            Extent::Part(part) => part.end <= 10,
            Extent::Parts(parts) => parts.iter().all(|part| part.end <= 10),
            Extent::Whole | Extent::Unsatisfiable => true,
        };
        prop_assert!(is_inside, "{:?}", extent);
    }
}
