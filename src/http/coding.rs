//! Content codings, and which of them a client wants (RFC 9110 §8.4, §12.5.3).

use super::fields::{Fields, Name};

/// A content coding that a file may come in, besides its own form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `br`, RFC 7932.
    Brotli,
    /// `zstd`, RFC 8878.
    Zstd,
    /// `gzip`, RFC 1952.
    Gzip,
}

impl Coding {
    /// Every coding, the one first that the server prefers among equals.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// Its name in `Content-Encoding`.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// The coding of that name; names compare without case, and gzip has two.
    fn of(token: &[u8]) -> Option<Self> {
        if token.eq_ignore_ascii_case(b"x-gzip") {
            return Some(Self::Gzip);
        }
        Self::ALL.into_iter().find(|coding| token.eq_ignore_ascii_case(coding.token().as_bytes()))
    }
}

/// How much a client wants each coding, in thousandths; 0 is not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    codings: [u16; Coding::ALL.len()],
    /// What is not said of the file's own form is less than anything that is wanted.
    identity: Option<u16>,
}

impl Wishes {
    /// Reads `Accept-Encoding`. Members that are not to the letter are passed over; of several that
    /// name one coding the first counts. Without the field only the file's own form is wanted.
    pub fn read(fields: &Fields<'_, '_>) -> Self {
        let mut codings = [None; Coding::ALL.len()];
        let (mut identity, mut others) = (None, None);
        for member in fields.members(Name::AcceptEncoding) {
            let Some((token, weight)) = parse(member) else { continue };
            let place = match Coding::of(token) {
                Some(coding) => &mut codings[coding as usize],
                None if token.eq_ignore_ascii_case(b"identity") => &mut identity,
                None if token == b"*" => &mut others,
                None => continue,
            };
            place.get_or_insert(weight);
        }
        let codings = codings.map(|weight| weight.or(others).unwrap_or(0));
        Self { codings, identity: identity.or(others) }
    }

    /// The coding that is wanted most of those that there are; none for the file's own form, which
    /// is also what a client gets that wants nothing that there is.
    pub fn choose(&self, offered: impl IntoIterator<Item = Coding>) -> Option<Coding> {
        let mut best = None;
        for coding in offered {
            let weight = self.codings[coding as usize];
            let is_better = best.is_none_or(|(most, chosen): (u16, Coding)| {
                (weight, chosen as usize) > (most, coding as usize)
            });
            if weight > 0 && is_better {
                best = Some((weight, coding));
            }
        }
        let (weight, coding) = best?;
        (weight >= self.identity.unwrap_or(0)).then_some(coding)
    }
}

/// `token [ OWS ";" OWS "q=" qvalue ]`; the weight is one if it is not said.
fn parse(member: &[u8]) -> Option<(&[u8], u16)> {
    let Some(end) = member.iter().position(|&byte| byte == b';') else {
        return Some((member, 1000));
    };
    let (token, parameter) = (member[..end].trim_ascii(), member[end + 1..].trim_ascii());
    match parameter {
        [b'q' | b'Q', b'=', value @ ..] => Some((token, weight(value)?)),
        _ => None,
    }
}

/// From `0` to `1`, with at most three digits behind the point (RFC 9110 §12.4.2), in thousandths.
pub(super) fn weight(value: &[u8]) -> Option<u16> {
    let (whole, decimals) = match value {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut thousandths = u16::from(whole - b'0');
    for place in 0..3 {
        let digit = decimals.get(place).copied().unwrap_or(b'0');
        thousandths = thousandths * 10 + u16::try_from(char::from(digit).to_digit(10)?).ok()?;
    }
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields::Slots;

    const BR: Option<Coding> = Some(Coding::Brotli);
    const ZSTD: Option<Coding> = Some(Coding::Zstd);
    const GZIP: Option<Coding> = Some(Coding::Gzip);

    fn choose(block: &str, offered: &[Coding]) -> Option<Coding> {
        let block = format!("{block}\r\n\r\n");
        let mut slots = Slots::new();
        let parsed = Fields::parse(block.as_bytes(), &mut slots, 9).unwrap();
        Wishes::read(&parsed.unwrap().0).choose(offered.iter().copied())
    }

    fn of_all(value: &str) -> Option<Coding> {
        choose(&format!("Accept-Encoding: {value}"), &Coding::ALL)
    }

    #[test]
    fn the_most_wanted_coding_is_chosen_and_the_servers_taste_breaks_ties() {
        assert_eq!(of_all("gzip, deflate, br, zstd"), BR);
        assert_eq!(of_all("gzip, zstd"), ZSTD);
        assert_eq!(of_all("GZip"), GZIP);
        assert_eq!(of_all("x-gzip"), GZIP);
        assert_eq!(of_all("br;q=0.5, gzip ; q=0.8"), GZIP);
        assert_eq!(of_all("br;q=0.800, gzip;q=0.8"), BR);
        assert_eq!(of_all("*"), BR);
        assert_eq!(of_all("br;q=0, *"), ZSTD);
        assert_eq!(of_all("gzip;q=0.001"), GZIP);
        assert_eq!(of_all("br;q=0, br"), None);
        assert_eq!(choose("Accept-Encoding: br, gzip", &[Coding::Gzip]), GZIP);
        assert_eq!(choose("Accept-Encoding: deflate\r\nAccept-Encoding: br", &Coding::ALL), BR);
    }

    #[test]
    fn what_is_not_wanted_is_not_chosen() {
        for value in
            ["", "identity", "deflate", "gzip;q=0", "gzip;q=0.000", "*;q=0", "br;q=0, *;q=0"]
        {
            assert_eq!(of_all(value), None, "{value}");
        }
        assert_eq!(choose("A: b", &Coding::ALL), None);
        assert_eq!(of_all("gzipped, xgzip, gzip2, b"), None);
        assert_eq!(choose("Accept-Encoding: br", &[Coding::Gzip]), None);
    }

    #[test]
    fn the_files_own_form_wins_where_it_is_wanted_more() {
        assert_eq!(of_all("identity, gzip;q=0.5"), None);
        assert_eq!(of_all("identity;q=0.5, gzip;q=0.5"), GZIP);
        assert_eq!(of_all("identity;q=0, gzip;q=0.1"), GZIP);
        assert_eq!(of_all("gzip;q=0.1, *;q=0.5"), BR);
        assert_eq!(choose("Accept-Encoding: gzip;q=0.1, *;q=0.5", &[Coding::Gzip]), None);
        // Nothing that is wanted is there: better the file's own form than 406.
        assert_eq!(of_all("identity;q=0"), None);
    }

    #[test]
    fn members_that_are_not_to_the_letter_are_passed_over() {
        for member in [
            "br;q=2",
            "br;q=1.001",
            "br;q=0.1234",
            "br;q=",
            "br;q=.5",
            "br;q=-1",
            "br;level=9",
            "br;",
        ] {
            assert_eq!(of_all(&format!("{member}, gzip;q=0.1")), GZIP, "{member}");
        }
    }
}
