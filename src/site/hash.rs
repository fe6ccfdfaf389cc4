//! The hash of URL paths: multiply and fold, 16 bytes at a time.
//!
//! It is no defence against chosen paths: the paths are the operator's own. Requests only look up.

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
const FIRST: u64 = 0xa076_1d64_78bd_642f;
const SECOND: u64 = 0xe703_7ed1_a0b4_28db;

/// Returns the hash of `bytes` under a seed.
pub(super) fn hash(bytes: &[u8], seed: u64) -> u64 {
    let mut state = seed ^ (bytes.len() as u64).wrapping_mul(ODD);
    let (chunks, rest) = bytes.as_chunks::<16>();
    for chunk in chunks {
        let (low, high) = chunk.split_at(8);
        state = fold(word(low) ^ state ^ FIRST, word(high) ^ SECOND);
    }
    let (low, high) = match rest.len() {
        0 => (0, 0),
        1..8 => (short(rest), 0),
        _ => (word(&rest[..8]), word(&rest[rest.len() - 8..])),
    };
    fold(low ^ state ^ FIRST, high ^ SECOND ^ ODD)
}

/// Returns the place among `count` for a hash: equally likely each, without a division.
#[expect(clippy::cast_possible_truncation, reason = "it is less than count")]
pub(super) fn place(hash: u64, count: u32) -> u32 {
    ((u128::from(hash) * u128::from(count)) >> 64) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "both halves are wanted")]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

/// Fewer than eight bytes as a number.
fn short(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn similar_paths_of_any_length_have_different_hashes() {
        let mut seen = HashSet::new();
        let path = b"/assets/images/0123456789/abcdefghijklmnopqrstuvwxyz.webp";
        for len in 0..=path.len() {
            for at in 0..len {
                for flipped in [1, 2, 128] {
                    let mut bytes = path[..len].to_vec();
                    bytes[at] ^= flipped;
                    assert!(seen.insert(hash(&bytes, 7)), "{len} {at} {flipped}");
                }
            }
            assert!(seen.insert(hash(&path[..len], 7)), "{len}");
        }
        assert_ne!(hash(path, 1), hash(path, 2));
    }

    #[test]
    fn places_are_spread_evenly() {
        let mut counts = [0; 10];
        for number in 0..10_000 {
            counts[place(hash(format!("/{number}").as_bytes(), 3), 10) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }
}
