//! Sets of octets that the grammar names, as tables: a request has hundreds of octets to look at.

/// A set of octets.
pub struct Octets([bool; 256]);

impl Octets {
    /// The letters and digits of ASCII, and these.
    const fn alphanumeric_and(others: &[u8]) -> Self {
        let mut set = [false; 256];
        let mut octet: u8 = 0;
        while octet.is_ascii() {
            set[octet as usize] = octet.is_ascii_alphanumeric();
            octet += 1;
        }
        let mut index = 0;
        while index < others.len() {
            set[others[index] as usize] = true;
            index += 1;
        }
        Self(set)
    }

    /// Whether `octet` is one of them.
    pub const fn has(&self, octet: u8) -> bool {
        self.0[octet as usize]
    }

    /// How many of the first octets of `text` are of them.
    pub fn span(&self, text: &[u8]) -> usize {
        text.iter().position(|&octet| !self.has(octet)).unwrap_or(text.len())
    }
}

/// What a token is made of (RFC 9110 §5.6.2).
pub static TOKEN: Octets = Octets::alphanumeric_and(b"!#$%&'*+-.^_`|~");

/// What a registered name is made of (RFC 3986 §3.2.2), but for two: the percent sign, which has
/// to be looked at closely, and the comma, because that is how two Host values look that somebody
/// has merged.
pub static REG_NAME: Octets = Octets::alphanumeric_and(b"-._~!$&'()*+;=");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_have_what_the_grammar_lists() {
        let size = |set: &Octets| set.0.iter().filter(|&&has| has).count();
        assert_eq!((size(&TOKEN), size(&REG_NAME)), (62 + 15, 62 + 14));
        assert!(TOKEN.has(b'z') && TOKEN.has(b'|') && !TOKEN.has(b'(') && !TOKEN.has(0xe9));
        assert_eq!(REG_NAME.span(b"a.b:80"), 3);
        assert_eq!(REG_NAME.span(b"a.b"), 3);
    }
}
