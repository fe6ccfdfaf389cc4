//! Laws that hold for any input: what tine computes against a plain model of the same rule, and
//! reading what was printed. A failure prints the smallest input that it found, which is best kept
//! as a case of its own. `PROPTEST_CASES` makes the runs longer.

mod codings;
mod conditions;
mod image;
mod image_spec;
#[path = "../fuzz/images.rs"]
mod images;
mod layout;
mod memory;
mod printing;
mod ranges;
mod space;

use tine::http::fields::{Fields, Slots};

/// Reads field lines, and looks at them.
fn with_fields<T>(lines: &[String], look: impl FnOnce(&Fields<'_, '_>) -> T) -> T {
    let block: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let block = block + "\r\n";
    let mut slots = Slots::new();
    let parsed = Fields::parse(block.as_bytes(), &mut slots, 100).unwrap();
    let (fields, len) = parsed.expect("a whole block");
    assert_eq!(len, block.len());
    look(&fields)
}
