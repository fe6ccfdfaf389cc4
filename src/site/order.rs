//! Sorting, in one place and one shape: each kind of element that is sorted by itself would cost
//! the binary some 6 KB.

use std::cmp::Ordering;

/// The places of `count` things in their order.
pub(super) fn order(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count).collect();
    places.sort_unstable_by(|&a, &b| compare(a, b));
    places
}
