//! The field lines of a head: strict where they are read, cheap where they are looked up.
//!
//! A request carries a dozen fields of which tine minds few, and mostly none of those is there.
//! So each name is looked at once, and a set remembers which of the minded ones were seen.

use httparse::{EMPTY_HEADER, Error, Header, Status as Progress};

use super::reject::Reject;

/// The fields that change an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the RFC's own")]
pub enum Name {
    Host,
    Connection,
    ContentLength,
    TransferEncoding,
    Expect,
    IfMatch,
    IfNoneMatch,
    IfModifiedSince,
    IfUnmodifiedSince,
    Range,
    IfRange,
    AcceptEncoding,
    Accept,
    SecFetchMode,
}

impl Name {
    /// Which minded field `name` is; names compare without case (RFC 9110 §5.1).
    fn of(name: &str) -> Option<Self> {
        let candidates: &[Self] = match name.len() {
            4 => &[Self::Host],
            5 => &[Self::Range],
            6 => &[Self::Accept, Self::Expect],
            8 => &[Self::IfMatch, Self::IfRange],
            10 => &[Self::Connection],
            13 => &[Self::IfNoneMatch],
            14 => &[Self::SecFetchMode, Self::ContentLength],
            15 => &[Self::AcceptEncoding],
            17 => &[Self::TransferEncoding, Self::IfModifiedSince],
            19 => &[Self::IfUnmodifiedSince],
            _ => &[],
        };
        candidates.iter().copied().find(|known| known.is(name))
    }

    /// Whether `token`, which is as long as the name, is the name; four octets at a time. One bit
    /// tells the cases of a letter apart, and it is set in a dash; no other octet of a token is
    /// made one of these by it.
    fn is(self, token: &str) -> bool {
        const CASE: u32 = 0x2020_2020;
        let differ = |token: &[u8; 4], name: &[u8; 4]| {
            (u32::from_ne_bytes(*token) | CASE) ^ u32::from_ne_bytes(*name) != 0
        };
        let (token, name) = (token.as_bytes(), self.text().as_bytes());
        let (Some(token_end), Some(name_end)) = (token.last_chunk(), name.last_chunk()) else {
            return false; // no name is that short
        };
        let (token_words, name_words) = (token.as_chunks().0, name.as_chunks().0);
        !differ(token_end, name_end)
            && !token_words.iter().zip(name_words).any(|(token, name)| differ(token, name))
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Connection => "connection",
            Self::ContentLength => "content-length",
            Self::TransferEncoding => "transfer-encoding",
            Self::Expect => "expect",
            Self::IfMatch => "if-match",
            Self::IfNoneMatch => "if-none-match",
            Self::IfModifiedSince => "if-modified-since",
            Self::IfUnmodifiedSince => "if-unmodified-since",
            Self::Range => "range",
            Self::IfRange => "if-range",
            Self::AcceptEncoding => "accept-encoding",
            Self::Accept => "accept",
            Self::SecFetchMode => "sec-fetch-mode",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Most field lines that are parsed without asking for memory: more than any browser sends.
const USUAL: usize = 24;

/// Room for parsed field lines, lent by the caller so that [`Fields`] can borrow from it.
pub struct Slots<'b> {
    usual: [Header<'b>; USUAL],
    many: Vec<Header<'b>>,
}

impl Slots<'_> {
    /// Empty slots, without a heap allocation.
    pub fn new() -> Self {
        Self { usual: [EMPTY_HEADER; USUAL], many: Vec::new() }
    }
}

impl Default for Slots<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// The field lines of one request.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'h, 'b> {
    lines: &'h [Header<'b>],
    seen: u16,
    repeated: u16,
}

impl<'h, 'b> Fields<'h, 'b> {
    /// Reads the field lines and the empty line that ends a head; `bytes` begins behind the
    /// request line. `Ok(None)` means that the end is not there yet, else the length is returned
    /// with the fields.
    ///
    /// # Errors
    /// [`Reject::FieldsTooLarge`] beyond `header_count_max` lines, [`Reject::BadRequest`] for all
    /// that RFC 9112 §5 does not allow: a name that is no token, a blank before the colon, a folded
    /// line, a control character in a value, a line end that is not CRLF.
    pub fn parse(
        bytes: &'b [u8],
        slots: &'h mut Slots<'b>,
        header_count_max: usize,
    ) -> Result<Option<(Self, usize)>, Reject> {
        let usual = header_count_max.min(USUAL);
        let outcome = match httparse::parse_headers(bytes, &mut slots.usual[..usual]) {
            Err(Error::TooManyHeaders) if header_count_max > USUAL => {
                // No line is shorter than its colon, a name of one letter and the CRLF.
                let lines_max = header_count_max.min(bytes.len() / "a:\r\n".len() + 1);
                slots.many.resize(lines_max, EMPTY_HEADER);
                httparse::parse_headers(bytes, &mut slots.many)
            }
            outcome => outcome,
        };
        match outcome {
            Ok(Progress::Partial) if has_bare_lf(bytes, usize::MAX) => Err(Reject::BadRequest),
            Ok(Progress::Partial) => Ok(None),
            Ok(Progress::Complete((len, lines))) => {
                if !every_line_ends_in_crlf(&bytes[..len], lines) {
                    return Err(Reject::BadRequest);
                }
                Ok(Some((Self::index(lines), len)))
            }
            Err(Error::TooManyHeaders) if has_bare_lf(bytes, header_count_max) => {
                Err(Reject::BadRequest)
            }
            Err(Error::TooManyHeaders) => Err(Reject::FieldsTooLarge),
            Err(_) => Err(Reject::BadRequest),
        }
    }

    fn index(lines: &'h [Header<'b>]) -> Self {
        let (mut seen, mut repeated) = (0, 0);
        for name in lines.iter().filter_map(|line| Name::of(line.name)) {
            repeated |= seen & name.bit();
            seen |= name.bit();
        }
        Self { lines, seen, repeated }
    }

    /// Whether there is a line of any of these names.
    pub fn has_any<const N: usize>(&self, names: [Name; N]) -> bool {
        self.seen & names.iter().fold(0, |bits, name| bits | name.bit()) != 0
    }

    /// Whether there is a line of that name.
    pub fn has(&self, name: Name) -> bool {
        self.seen & name.bit() != 0
    }

    /// Whether there is more than one line of that name.
    pub fn repeats(&self, name: Name) -> bool {
        self.repeated & name.bit() != 0
    }

    /// The values of all lines of that name, in order, without the blanks around them.
    pub fn lines(&self, name: Name) -> impl Iterator<Item = &'b [u8]> + use<'h, 'b> {
        let lines = if self.has(name) { self.lines } else { &[] };
        lines
            .iter()
            .filter(move |line| line.name.eq_ignore_ascii_case(name.text()))
            .map(|line| line.value)
    }

    /// The values of all lines of a name that changes no answer, in order.
    pub fn all<'n>(
        &self,
        name: &'n str,
    ) -> impl DoubleEndedIterator<Item = &'b [u8]> + use<'h, 'b, 'n> {
        let is_it = move |line: &&Header<'b>| line.name.eq_ignore_ascii_case(name);
        self.lines.iter().filter(is_it).map(|line| line.value)
    }

    /// The value of the first of them.
    pub fn first(&self, name: &str) -> Option<&'b [u8]> {
        self.all(name).next()
    }

    /// The value of the only line of that name; none if there is no line, or several.
    pub fn only(&self, name: Name) -> Option<&'b [u8]> {
        if self.repeats(name) { None } else { self.lines(name).next() }
    }

    /// The members of a comma-separated list that may span lines (RFC 9110 §5.6.1); empty
    /// members are passed over. Not for lists whose members may be quoted.
    pub fn members(&self, name: Name) -> impl Iterator<Item = &'b [u8]> + use<'h, 'b> {
        self.lines(name)
            .flat_map(|line| line.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|member| !member.is_empty())
    }
}

/// Whether one of the first lines ends in a bare LF, before all of the head is there.
fn has_bare_lf(bytes: &[u8], lines_max: usize) -> bool {
    let ends = bytes.iter().enumerate().filter(|&(_, &byte)| byte == b'\n');
    ends.take(lines_max).any(|(at, _)| !bytes[..at].ends_with(b"\r"))
}

/// The parser takes a bare LF for a line end, as RFC 9112 §2.2 allows; a strict origin does not,
/// because a proxy in front may have read it differently. Each name begins right behind the end
/// of the line before it, so two bytes a line tell.
fn every_line_ends_in_crlf(block: &[u8], lines: &[Header<'_>]) -> bool {
    let start = block.as_ptr() as usize;
    let is_behind_crlf = |at: usize| at == 0 || block[..at].ends_with(b"\r\n");
    lines.iter().all(|line| is_behind_crlf(line.name.as_ptr() as usize - start))
        && is_behind_crlf(block.len())
        && is_behind_crlf(block.len() - 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::octets::TOKEN;

    fn parse(block: &[u8]) -> Result<Option<usize>, Reject> {
        let mut slots = Slots::new();
        Ok(Fields::parse(block, &mut slots, 40)?.map(|(_, len)| len))
    }

    #[test]
    fn a_name_is_itself_in_any_case_and_no_other_token() {
        let lengths = (0..20).filter_map(|len| Name::of("x".repeat(len).as_str()));
        assert_eq!(lengths.count(), 0);
        for name in
            ["host", "range", "accept", "if-match", "accept-encoding", "if-unmodified-since"]
        {
            assert!(Name::of(name).is_some_and(|known| known.text() == name));
            for at in 0..name.len() {
                for octet in (0..=255).filter(|&octet| TOKEN.has(octet)) {
                    let mut token = name.to_ascii_uppercase().into_bytes();
                    token[at] = octet;
                    let token = String::from_utf8(token).unwrap();
                    let is_same = token.eq_ignore_ascii_case(name);
                    assert_eq!(Name::of(&token).is_some(), is_same, "{token}");
                }
            }
        }
    }

    #[test]
    fn a_block_is_read_to_its_empty_line() {
        assert_eq!(parse(b"\r\nrest"), Ok(Some(2)));
        assert_eq!(parse(b"a: b\r\n\r\nrest"), Ok(Some(8)));
        assert_eq!(parse(b"a:\r\nb: \t \r\n\r\n"), Ok(Some(13)));
        assert_eq!(parse(b"a: b\r\n"), Ok(None));
        assert_eq!(parse(b"a: \xff\tb\r\n\r\n"), Ok(Some(10)));
    }

    #[test]
    fn what_the_grammar_does_not_allow_is_refused() {
        let wrong: [&[u8]; 15] = [
            b"a: b\n\r\n",
            b"a: b\r\n\n",
            b"a: b\nc: d\r\n\r\n",
            b"a:\nc: d\r\n\r\n",
            b"\n",
            b"a: b\r\r\n\r\n",
            b"a: b\rc\r\n\r\n",
            b"a : b\r\n\r\n",
            b" a: b\r\n\r\n",
            b"a: b\r\n c\r\n\r\n",
            b": b\r\n\r\n",
            b"a\r\n\r\n",
            b"a(: b\r\n\r\n",
            b"a: \0\r\n\r\n",
            b"a: \x7f\r\n\r\n",
        ];
        for block in wrong {
            let shown = block.escape_ascii();
            assert_eq!(parse(block), Err(Reject::BadRequest), "{shown}");
        }
    }

    #[test]
    fn the_number_of_lines_is_bounded_beyond_the_usual_slots() {
        let block = |lines: usize| "a: b\r\n".repeat(lines) + "\r\n";
        for lines in [USUAL - 1, USUAL, USUAL + 1, 40] {
            let block = block(lines);
            assert_eq!(parse(block.as_bytes()), Ok(Some(block.len())), "{lines}");
        }
        assert_eq!(parse(block(41).as_bytes()), Err(Reject::FieldsTooLarge));
    }

    #[test]
    fn lookups_span_lines_and_know_repetition() {
        let mut slots = Slots::new();
        let block = b"Connection: a, ,b\r\nHOST: x\r\nconnection: c\r\n\r\n";
        let (fields, _) = Fields::parse(block, &mut slots, 9).unwrap().unwrap();
        let members: Vec<_> = fields.members(Name::Connection).collect();
        assert_eq!(members, [b"a", b"b", b"c"]);
        assert!(fields.repeats(Name::Connection) && !fields.repeats(Name::Host));
        assert_eq!(fields.only(Name::Host), Some(&b"x"[..]));
        assert_eq!(fields.only(Name::Connection), None);
        assert!(!fields.has(Name::Expect));
    }
}
