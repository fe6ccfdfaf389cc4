//! Entity tags from content.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// Digest octets that a tag keeps: 128 bits, beyond any accident.
const KEPT: usize = 16;
const TEXT: usize = 2 + 2 * KEPT;

/// A strong entity tag (RFC 9110 §8.8.3): a hash of the bytes as they are sent, and therefore the
/// same on every replica, whatever the file times are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ETag([u8; TEXT]);

impl ETag {
    /// The tag of a body.
    pub fn of(body: &[u8]) -> Self {
        let mut hash = Hash::default();
        hash.add(body);
        hash.etag()
    }

    /// The tag of a body with this digest: the first half of its SHA-256.
    pub fn from_digest(digest: &[u8; KEPT]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'"'; TEXT];
        for (pair, byte) in text[1..].chunks_exact_mut(2).zip(digest) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 0xf)];
        }
        Self(text)
    }

    /// The digest that the tag was made from.
    pub fn digest(&self) -> [u8; KEPT] {
        let digit = |text: u8| if text < b'a' { text - b'0' } else { text - b'a' + 10 };
        std::array::from_fn(|at| digit(self.0[1 + 2 * at]) << 4 | digit(self.0[2 + 2 * at]))
    }

    /// The tag's octets, with its quotes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The tag with its quotes.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("quotes and hex digits are ASCII")
    }
}

/// A tag in the making, of a body that comes in parts.
#[derive(Default)]
pub struct Hash(Sha256);

impl Hash {
    /// Takes the next part.
    pub fn add(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// The tag of all parts together.
    pub fn etag(self) -> ETag {
        let digest = self.0.finalize();
        ETag::from_digest(digest.first_chunk().expect("SHA-256 has 32 bytes"))
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_a_hash_in_quotes() {
        // The first half of SHA-256 of "abc", FIPS 180-2 appendix B.1.
        assert_eq!(ETag::of(b"abc").as_str(), "\"ba7816bf8f01cfea414140de5dae2223\"");
        assert_ne!(ETag::of(b"abd"), ETag::of(b"abc"));
        assert_eq!(ETag::from_digest(&ETag::of(b"abc").digest()), ETag::of(b"abc"));
    }
}
