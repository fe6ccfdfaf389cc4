//! Where a request's body ends. The body itself is never needed, but read wrongly it would be
//! taken for the next request: that is how requests are smuggled (RFC 9112 §6, §11.2).

use super::fields::{Fields, Name};
use super::octets::TOKEN;
use super::reject::Reject;

/// How a body's length is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    Empty,
    /// It has this many octets, one at least.
    Length(u64),
    /// It comes in chunks.
    Chunked,
}

/// The framing that a request of HTTP/1.`minor` announces (RFC 9112 §6.3).
///
/// # Errors
/// [`Reject::NotImplemented`] for a transfer coding other than chunked, [`Reject::BadRequest`]
/// for all that two readers might read differently: both fields at once, one of them on several
/// lines, a length that is not digits alone, a transfer coding in HTTP/1.0, chunked twice or not at
/// the end, an empty member beside it.
pub fn of(fields: &Fields<'_, '_>, minor: u8) -> Result<Framing, Reject> {
    let has_length = fields.has(Name::ContentLength);
    if fields.has(Name::TransferEncoding) {
        if has_length || minor == 0 {
            return Err(Reject::BadRequest);
        }
        return transfer_coding(fields);
    }
    if !has_length {
        return Ok(Framing::Empty);
    }
    match decimal(fields.only(Name::ContentLength).ok_or(Reject::BadRequest)?)? {
        0 => Ok(Framing::Empty),
        length => Ok(Framing::Length(length)),
    }
}

fn transfer_coding(fields: &Fields<'_, '_>) -> Result<Framing, Reject> {
    let value = fields.only(Name::TransferEncoding).ok_or(Reject::BadRequest)?;
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let mut codings = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let first = codings.next().unwrap_or_default();
    match (is_chunked(first), codings.next()) {
        (true, None) => Ok(Framing::Chunked),
        (true, Some(_)) => Err(Reject::BadRequest),
        (false, _) if first.is_empty() => Err(Reject::BadRequest),
        (false, _) => Err(Reject::NotImplemented),
    }
}

fn decimal(digits: &[u8]) -> Result<u64, Reject> {
    if digits.is_empty() {
        return Err(Reject::BadRequest);
    }
    digits
        .iter()
        .try_fold(0_u64, |value, &digit| {
            let digit = char::from(digit).to_digit(10)?;
            value.checked_mul(10)?.checked_add(u64::from(digit))
        })
        .ok_or(Reject::BadRequest)
}

/// A body on its way to nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discard {
    at: At,
    /// Octets of the body that may still come.
    allowance: u64,
    /// Octets of the chunks' own lines that may still come: sizes, extensions, trailers.
    lines_allowance: u64,
}

/// Most octets that the lines of a chunked body may have in all.
const LINES_MAX: u64 = 16 * 1024;

/// Most digits of a chunk's size: what 64 bits hold, zeros before it included, so that nobody in
/// front who counts in less has read another size.
const DIGITS_MAX: u8 = 16;

/// Where in the body the next octet stands (RFC 9112 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Counted(u64),
    FirstDigit,
    /// And how many more digits may come.
    Size(u64, u8),
    Extension(u64),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

impl Discard {
    /// Begins to drop a body of at most `body_max` octets.
    ///
    /// # Errors
    /// [`Reject::ContentTooLarge`] if it announces more.
    pub fn new(framing: Framing, body_max: u64) -> Result<Self, Reject> {
        let at = match framing {
            Framing::Empty => At::End,
            Framing::Length(length) if length > body_max => return Err(Reject::ContentTooLarge),
            Framing::Length(length) => At::Counted(length),
            Framing::Chunked => At::FirstDigit,
        };
        Ok(Self { at, allowance: body_max, lines_allowance: LINES_MAX })
    }

    /// Whether the body's end was seen.
    pub fn is_done(&self) -> bool {
        self.at == At::End
    }

    /// Drops what belongs to the body and returns how much of `bytes` that was.
    ///
    /// # Errors
    /// [`Reject::BadRequest`] where the chunks' syntax is broken, [`Reject::ContentTooLarge`]
    /// once more has come than the limit allows.
    pub fn consume(&mut self, bytes: &[u8]) -> Result<usize, Reject> {
        let mut used = 0;
        while used < bytes.len() && !self.is_done() {
            let (step, allowance) = match self.at {
                At::Counted(left) | At::Data(left) => {
                    let here = left.min((bytes.len() - used) as u64);
                    self.at = self.at.after_data(left - here);
                    (here, &mut self.allowance)
                }
                at => {
                    self.at = at.after(bytes[used]).ok_or(Reject::BadRequest)?;
                    (1, &mut self.lines_allowance)
                }
            };
            *allowance = allowance.checked_sub(step).ok_or(Reject::ContentTooLarge)?;
            used += usize::try_from(step).expect("a step is no longer than the bytes at hand");
        }
        Ok(used)
    }
}

impl At {
    fn after_data(self, left: u64) -> Self {
        match (self, left) {
            (Self::Counted(_), 0) => Self::End,
            (Self::Counted(_), left) => Self::Counted(left),
            (_, 0) => Self::DataCr,
            (_, left) => Self::Data(left),
        }
    }

    /// The place behind one octet of the chunks' framing; none if it may not stand here.
    fn after(self, byte: u8) -> Option<Self> {
        let is_text = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        match (self, byte) {
            (Self::FirstDigit, _) => Some(Self::Size(hex(byte)?, DIGITS_MAX - 1)),
            (Self::Size(size, _), b';') => Some(Self::Extension(size)),
            (Self::Size(size, _) | Self::Extension(size), b'\r') => Some(Self::SizeLf(size)),
            (Self::Size(size, left), _) => {
                let left = left.checked_sub(1)?;
                Some(Self::Size(size * 16 + hex(byte)?, left))
            }
            (Self::Extension(size), _) if is_text => Some(Self::Extension(size)),
            (Self::SizeLf(0), b'\n') => Some(Self::TrailerStart),
            (Self::SizeLf(size), b'\n') => Some(Self::Data(size)),
            (Self::DataCr, b'\r') => Some(Self::DataLf),
            (Self::DataLf, b'\n') => Some(Self::FirstDigit),
            (Self::TrailerStart, b'\r') => Some(Self::EndLf),
            (Self::TrailerStart | Self::TrailerName, _) if TOKEN.has(byte) => {
                Some(Self::TrailerName)
            }
            (Self::TrailerName, b':') => Some(Self::TrailerValue),
            (Self::TrailerValue, b'\r') => Some(Self::TrailerLf),
            (Self::TrailerValue, _) if is_text => Some(Self::TrailerValue),
            (Self::TrailerLf, b'\n') => Some(Self::TrailerStart),
            (Self::EndLf, b'\n') => Some(Self::End),
            _ => None,
        }
    }
}

fn hex(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields::Slots;

    fn framing(block: &str, minor: u8) -> Result<Framing, Reject> {
        let block = format!("{block}\r\n");
        let mut slots = Slots::new();
        let parsed = Fields::parse(block.as_bytes(), &mut slots, 9).unwrap();
        of(&parsed.unwrap().0, minor)
    }

    #[test]
    fn a_sound_framing_is_known() {
        assert_eq!(framing("", 1), Ok(Framing::Empty));
        assert_eq!(framing("Content-Length: 0\r\n", 1), Ok(Framing::Empty));
        assert_eq!(framing("Content-Length: 00012\r\n", 0), Ok(Framing::Length(12)));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n", 1), Ok(Framing::Chunked));
    }

    #[test]
    fn an_ambiguous_framing_is_refused() {
        for value in ["", "+1", "-1", "0x1", "1 2", "1,1", "1_0", "18446744073709551616"] {
            let block = format!("Content-Length: {value}\r\n");
            assert_eq!(framing(&block, 1), Err(Reject::BadRequest), "{value}");
        }
        let length = "Content-Length: 1\r\n";
        let chunked = "Transfer-Encoding: chunked\r\n";
        for block in [&[length, length].concat(), &[length, chunked].concat()] {
            assert_eq!(framing(block, 1), Err(Reject::BadRequest), "{block}");
        }
        assert_eq!(framing(&[chunked, chunked].concat(), 1), Err(Reject::BadRequest));
        assert_eq!(framing(chunked, 0), Err(Reject::BadRequest));
        let nothing = "Transfer-Encoding:\r\n";
        assert_eq!(framing(&[chunked, nothing].concat(), 1), Err(Reject::BadRequest));
        for value in ["", ",", ", chunked", "chunked,", "chunked, gzip"] {
            let block = format!("Transfer-Encoding: {value}\r\n");
            assert_eq!(framing(&block, 1), Err(Reject::BadRequest), "{value}");
        }
        for other in ["gzip, chunked", "xchunked", "chunked;q=1", "identity"] {
            let block = format!("Transfer-Encoding: {other}\r\n");
            assert_eq!(framing(&block, 1), Err(Reject::NotImplemented), "{other}");
        }
    }

    /// Feeds `body` in two pieces at every possible cut and expects the same each time.
    fn discard(body: &str, body_max: u64) -> Result<(usize, bool), Reject> {
        let outcomes: Vec<_> = (0..=body.len())
            .map(|cut| {
                let mut discard = Discard::new(Framing::Chunked, body_max)?;
                let (head, tail) = body.as_bytes().split_at(cut);
                let mut used = discard.consume(head)?;
                used += discard.consume(tail)?;
                Ok((used, discard.is_done()))
            })
            .collect();
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{body:?}: {outcomes:?}");
        outcomes[0]
    }

    #[test]
    fn chunks_are_dropped_to_their_end_and_no_further() {
        assert_eq!(discard("0\r\n\r\nGET", 99), Ok((5, true)));
        assert_eq!(discard("3\r\nabc\r\n0\r\n\r\nGET", 99), Ok((13, true)));
        assert_eq!(discard("A;a=\"b\"\r\n0123456789\r\n00;x\r\nt: u\r\n\r\n", 99), Ok((35, true)));
        assert_eq!(discard("3\r\nab", 99), Ok((5, false)));
    }

    #[test]
    fn broken_chunks_are_refused() {
        for body in [
            "0x3\r\n",
            " 3\r\n",
            "3 \r\n",
            "+3\r\n",
            "-3\r\n",
            "\r\n",
            "3\nabc",
            "3\r\nabcd",
            "3\r\nabc\n",
            "g\r\n",
            ";\r\n",
            "3;\0\r\n",
            "3;a\nb\r\n",
            "3\rabc",
            "0\r\na\n",
            "0\r\n\n",
            "0\r\n a: b\r\n",
            "0\r\nno colon\r\n",
            "0\r\nnocolon\r\n",
            "0\r\na : b\r\n",
            "0\r\n: b\r\n",
            "10000000000000000\r\n",
            "fffffffffffffffff\r\n",
            "0\r\na: \x01\r\n",
        ] {
            assert_eq!(discard(body, 99), Err(Reject::BadRequest), "{body:?}");
        }
    }

    #[test]
    fn a_body_has_a_largest_size_in_every_framing() {
        assert_eq!(Discard::new(Framing::Length(100), 99), Err(Reject::ContentTooLarge));
        assert!(Discard::new(Framing::Length(99), 99).is_ok());
        assert_eq!(discard("3\r\nabc\r\n0\r\n\r\n", 3), Ok((13, true)));
        assert_eq!(discard("3\r\nabc\r\n0\r\n\r\n", 2), Err(Reject::ContentTooLarge));
    }

    #[test]
    fn the_lines_of_chunks_have_a_largest_size() {
        let mut long = Discard::new(Framing::Chunked, 99).unwrap();
        assert!(long.consume(b"1;").is_ok());
        assert_eq!(long.consume(&[b'a'; 20_000]), Err(Reject::ContentTooLarge));
    }
}
