//! A request's head, read to the letter of RFC 9112: what is not certain is refused, because a
//! proxy in front may have read it differently.

use super::fields::{Fields, Name, Slots};
use super::framing::{self, Framing};
use super::limits::Limits;
use super::method::Method;
use super::octets::TOKEN;
use super::reject::Reject;
use super::target::{Target, authority_is_valid};

/// Longest method that is waited for, in octets; the longest registered ones have 17.
const METHOD_MAX: usize = 32;

/// Most empty lines before a request line that are passed over (RFC 9112 §2.2 asks for one).
const EMPTY_LINES_MAX: usize = 4;

/// What the connection is to do after the answer (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Stay open, as HTTP/1.1 does unsaid.
    Keep,
    /// Stay open and say so, for the HTTP/1.0 client that asked.
    KeepSaid,
    /// Close.
    Close,
}

impl Persistence {
    /// Whether nothing follows the answer.
    pub fn closes(self) -> bool {
        self == Self::Close
    }
}

/// What `Expect` asked for (RFC 9110 §10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing that matters here.
    None,
    /// A word before the body is sent.
    Continue,
    /// Something that tine does not know.
    Unknown,
}

/// A head that was understood.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each type says it")]
pub struct Request<'h, 'b> {
    /// All of the head.
    pub head: &'b [u8],
    pub method: Method,
    pub target: Target<'b>,
    pub fields: Fields<'h, 'b>,
    pub framing: Framing,
    pub persistence: Persistence,
    pub expectation: Expectation,
}

impl<'h, 'b> Request<'h, 'b> {
    /// Reads a head from the start of `bytes`: `Ok(None)` if its end is not there yet, else the
    /// request and the head's length. Nothing unbounded is waited for: `Ok(None)` is never
    /// returned at `request_head_max` bytes or more.
    ///
    /// # Errors
    /// See [`Reject`].
    pub fn parse(
        bytes: &'b [u8],
        slots: &'h mut Slots<'b>,
        limits: &Limits,
    ) -> Result<Option<(Self, usize)>, Reject> {
        // What has come behind that must not matter: it may as well be on its way still.
        let bytes = &bytes[..bytes.len().min(limits.request_head_max)];
        let Some(line_start) = skip_empty_lines(bytes)? else { return Ok(None) };
        let Some(line) = RequestLine::parse(&bytes[line_start..], limits)? else {
            return if bytes.len() < limits.request_head_max {
                Ok(None)
            } else {
                Err(Reject::FieldsTooLarge)
            };
        };
        let fields_start = line_start + line.len;
        let parsed = Fields::parse(&bytes[fields_start..], slots, limits.header_count_max)?;
        let Some((fields, fields_len)) = parsed else {
            return if bytes.len() < limits.request_head_max {
                Ok(None)
            } else {
                Err(Reject::FieldsTooLarge)
            };
        };
        let head_len = fields_start + fields_len;
        let head = &bytes[line_start..head_len];
        Self::new(head, &line, fields).map(|request| Some((request, head_len)))
    }

    fn new(head: &'b [u8], line: &RequestLine<'b>, fields: Fields<'h, 'b>) -> Result<Self, Reject> {
        let framing = framing::of(&fields, line.minor)?;
        host_is_valid(&fields, line.minor)?;
        let target = Target::parse(line.method, line.target)?;
        let persistence = persistence(&fields, line.minor);
        let expectation = expectation(&fields, line.minor, framing);
        let method = line.method;
        Ok(Self { head, method, target, fields, framing, persistence, expectation })
    }
}

/// Whether a request, as far as it has come, is one of HEAD: no answer to it has a body, not even
/// the refusal of what is wrong further on.
pub fn is_head_request(bytes: &[u8]) -> bool {
    let line_start = skip_empty_lines(bytes).ok().flatten();
    line_start.is_some_and(|start| bytes[start..].starts_with(b"HEAD "))
}

/// Where the request line begins; none while there are empty lines only.
fn skip_empty_lines(bytes: &[u8]) -> Result<Option<usize>, Reject> {
    let mut start = 0;
    loop {
        match &bytes[start..] {
            [b'\r', b'\n', ..] if start < 2 * EMPTY_LINES_MAX => start += 2,
            [] | [b'\r'] => return Ok(None),
            [b'\r' | b'\n', ..] => return Err(Reject::BadRequest),
            _ => return Ok(Some(start)),
        }
    }
}

struct RequestLine<'b> {
    method: Method,
    target: &'b [u8],
    /// Of HTTP/1.x: 0, or 1 for all that is later (RFC 9110 §2.5).
    minor: u8,
    /// With the CRLF.
    len: usize,
}

impl<'b> RequestLine<'b> {
    /// `method SP request-target SP HTTP-version CRLF`, with exactly these blanks.
    fn parse(bytes: &'b [u8], limits: &Limits) -> Result<Option<Self>, Reject> {
        let method_len = TOKEN.span(bytes);
        if method_len > METHOD_MAX {
            return Err(Reject::NotImplemented);
        }
        let rest = match &bytes[method_len..] {
            [] => return Ok(None),
            [b' ', rest @ ..] if method_len > 0 => rest,
            _ => return Err(Reject::BadRequest),
        };
        let target_len = rest.iter().position(|&byte| byte <= b' ').unwrap_or(rest.len());
        if target_len > limits.target_max {
            return Err(Reject::UriTooLong);
        }
        let version = match &rest[target_len..] {
            [] => return Ok(None),
            [b' ', version @ ..] if target_len > 0 => version,
            _ => return Err(Reject::BadRequest),
        };
        let Some(minor) = Self::version(version)? else { return Ok(None) };
        Ok(Some(Self {
            method: Method::of(&bytes[..method_len]),
            target: &rest[..target_len],
            minor,
            len: method_len + 1 + target_len + 1 + VERSION.len() + 2,
        }))
    }

    /// `HTTP/d.d` and the line's end; the minor version, or none if the end is not there yet.
    fn version(bytes: &[u8]) -> Result<Option<u8>, Reject> {
        if bytes.starts_with(b"HTTP/1.1\r\n") {
            return Ok(Some(1));
        }
        let mut octets = VERSION.iter().chain(b"\r\n").zip(bytes);
        let fits = octets.all(|(wanted, &byte)| match wanted {
            b'd' => byte.is_ascii_digit(),
            literal => byte == *literal,
        });
        match bytes {
            _ if !fits => Err(Reject::BadRequest),
            [_, _, _, _, _, b'1', _, minor, b'\r', b'\n', ..] => Ok(Some((minor - b'0').min(1))),
            [_, _, _, _, _, _, _, _, b'\r', b'\n', ..] => Err(Reject::VersionNotSupported),
            _ => Ok(None),
        }
    }
}

/// The version's shape, `d` being any digit (RFC 9112 §2.3).
const VERSION: &[u8; 8] = b"HTTP/d.d";

/// Exactly one valid Host in HTTP/1.1, also with an absolute target; at most one in HTTP/1.0
/// (RFC 9112 §3.2).
fn host_is_valid(fields: &Fields<'_, '_>, minor: u8) -> Result<(), Reject> {
    let valid = match fields.only(Name::Host) {
        Some(host) => authority_is_valid(host),
        None => minor == 0 && !fields.has(Name::Host),
    };
    if valid { Ok(()) } else { Err(Reject::BadRequest) }
}

fn persistence(fields: &Fields<'_, '_>, minor: u8) -> Persistence {
    let says = |option: &str| {
        fields
            .members(Name::Connection)
            .any(|member| member.eq_ignore_ascii_case(option.as_bytes()))
    };
    match minor {
        _ if says("close") => Persistence::Close,
        0 if says("keep-alive") => Persistence::KeepSaid,
        0 => Persistence::Close,
        _ => Persistence::Keep,
    }
}

fn expectation(fields: &Fields<'_, '_>, minor: u8, framing: Framing) -> Expectation {
    let expects_continue =
        || fields.members(Name::Expect).all(|member| member.eq_ignore_ascii_case(b"100-continue"));
    match minor {
        0 => Expectation::None,
        _ if !fields.has(Name::Expect) => Expectation::None,
        _ if !expects_continue() => Expectation::Unknown,
        _ if framing == Framing::Empty => Expectation::None,
        _ => Expectation::Continue,
    }
}

#[cfg(test)]
mod tests;
