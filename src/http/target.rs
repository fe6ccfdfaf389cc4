//! The request target and the authority: their forms (RFC 9112 §3.2), and the way from a target
//! to the one spelling of a path under which the site knows it (RFC 3986 §5.2.4, §6.2.2).

use std::borrow::Cow;
use std::net::Ipv6Addr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_decode, percent_encode};

use super::method::Method;
use super::octets::REG_NAME;
use super::reject::Reject;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'b> {
    /// A resource, by origin-form or absolute-form.
    Path(Locator<'b>),
    /// The server as a whole (`OPTIONS *`).
    Server,
    /// The far end of a tunnel (`CONNECT host:port`).
    Tunnel,
}

/// A path and a query as they were sent, still encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locator<'b> {
    /// Begins with a slash.
    pub path: &'b [u8],
    /// What follows the question mark, if there is one.
    pub query: Option<&'b [u8]>,
}

impl<'b> Target<'b> {
    /// Reads a target, together with the authority that absolute-form brings along.
    ///
    /// # Errors
    /// [`Reject::BadRequest`] if it has no form that the method allows, or has an octet that no
    /// URI has (a control character, a blank, a non-ASCII octet), or a fragment.
    pub fn parse(method: Method, raw: &'b [u8]) -> Result<Self, Reject> {
        if !raw.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(Reject::BadRequest);
        }
        if method == Method::Connect {
            return if is_tunnel(raw) { Ok(Self::Tunnel) } else { Err(Reject::BadRequest) };
        }
        match raw {
            b"*" if method == Method::Options => Ok(Self::Server),
            [b'/', ..] => Ok(Self::Path(Locator::split(raw))),
            _ => Self::absolute(raw),
        }
    }

    /// `http://authority/path?query`; a path that is missing means `/` (RFC 9110 §4.2.3).
    fn absolute(raw: &'b [u8]) -> Result<Self, Reject> {
        let after_scheme = ["http://", "https://"].iter().find_map(|scheme| {
            let (start, rest) = raw.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
        });
        let rest = after_scheme.ok_or(Reject::BadRequest)?;
        let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
        let (authority, locator) = rest.split_at(end);
        // An http URI without a host is invalid (RFC 9110 §4.2.1).
        if authority.is_empty() || authority[0] == b':' || !authority_is_valid(authority) {
            return Err(Reject::BadRequest);
        }
        let mut locator = Locator::split(locator);
        if locator.path.is_empty() {
            locator.path = b"/";
        }
        Ok(Self::Path(locator))
    }
}

impl<'b> Locator<'b> {
    fn split(raw: &'b [u8]) -> Self {
        match raw.iter().position(|&byte| byte == b'?') {
            Some(mark) => Self { path: &raw[..mark], query: Some(&raw[mark + 1..]) },
            None => Self { path: raw, query: None },
        }
    }
}

/// Whether this is `host ":" port`, of which nothing may be missing (RFC 9110 §9.3.6).
fn is_tunnel(raw: &[u8]) -> bool {
    let mut parts = raw.rsplitn(2, |&byte| byte == b':');
    let (port, host) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    !host.is_empty() && !port.is_empty() && !port.contains(&b']') && authority_is_valid(raw)
}

/// Whether `value` is `host [":" port]` without userinfo (RFC 3986 §3.2, RFC 9110 §4.2.4, §7.2).
/// Empty is valid: a client without an authority must send it so.
pub fn authority_is_valid(value: &[u8]) -> bool {
    let behind_host = match value {
        [b'[', literal @ ..] => behind_ipv6(literal),
        name => behind_reg_name(name),
    };
    match behind_host {
        Some([]) => true,
        Some([b':', port @ ..]) => port_is_valid(port),
        _ => false,
    }
}

/// What follows an IPv6 address and its closing bracket.
fn behind_ipv6(literal: &[u8]) -> Option<&[u8]> {
    let end = literal.iter().position(|&byte| byte == b']')?;
    let address = std::str::from_utf8(&literal[..end]).ok()?;
    address.parse::<Ipv6Addr>().is_ok().then(|| &literal[end + 1..])
}

/// What follows a registered name, which may be empty.
fn behind_reg_name(name: &[u8]) -> Option<&[u8]> {
    let mut rest = &name[REG_NAME.span(name)..];
    while let [b'%', escape @ ..] = rest {
        let (digits, after) = escape.split_at_checked(2)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        rest = &after[REG_NAME.span(after)..];
    }
    Some(rest)
}

/// Whether these are the digits of a port; none are valid too (RFC 3986 §3.2.3).
fn port_is_valid(digits: &[u8]) -> bool {
    let mut port = 0;
    digits.iter().all(|&digit| {
        port = port * 10 + u32::from(digit.wrapping_sub(b'0'));
        digit.is_ascii_digit() && port <= u32::from(u16::MAX)
    })
}

/// A path in the one spelling that the site knows: decoded once, without dot segments and empty
/// segments, with a slash at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normal<'b> {
    /// The path's octets; names that are not UTF-8 are names too.
    pub path: Cow<'b, [u8]>,
    /// Whether empty segments were taken out, so that the path has another URL of its own.
    pub merged: bool,
}

/// Why a path has no normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abnormal {
    /// A broken escape, an encoded NUL, or a climb above the root.
    Malformed,
    /// An encoded slash: it separates nothing, and no name can contain it.
    EncodedSlash,
}

/// Normalises a path as it was sent.
///
/// # Errors
/// See [`Abnormal`].
pub fn normalise(path: &[u8]) -> Result<Normal<'_>, Abnormal> {
    if is_normal(path) {
        return Ok(Normal { path: Cow::Borrowed(path), merged: false });
    }
    if !escapes_are_valid(path) {
        return Err(Abnormal::Malformed);
    }
    let mut normal = Vec::with_capacity(path.len());
    let segments = path.strip_prefix(b"/").unwrap_or(path).split(|&byte| byte == b'/');
    let last = segments.clone().count() - 1;
    for (index, segment) in segments.enumerate() {
        let segment: Cow<'_, [u8]> = percent_decode(segment).into();
        if segment.contains(&0) {
            return Err(Abnormal::Malformed);
        }
        if segment.contains(&b'/') {
            return Err(Abnormal::EncodedSlash);
        }
        match &*segment {
            b"." => {}
            b".." => {
                let parent = normal.iter().rposition(|&byte| byte == b'/');
                normal.truncate(parent.ok_or(Abnormal::Malformed)?);
            }
            name => {
                normal.push(b'/');
                normal.extend_from_slice(name);
            }
        }
        if index == last && matches!(&*segment, b"." | b"..") {
            normal.push(b'/');
        }
    }
    // Behind the dots, to which an empty segment is one like any other.
    let len = normal.len();
    normal.dedup_by(|next, byte| (*next, *byte) == (b'/', b'/'));
    let merged = normal.len() < len;
    Ok(Normal { path: Cow::Owned(normal), merged })
}

/// Whether there is nothing to do: no escape, and no segment that is empty or begins with a dot.
fn is_normal(path: &[u8]) -> bool {
    let mut before = 0;
    path.iter().all(|&byte| {
        let is_plain = byte != b'%' && !(before == b'/' && matches!(byte, b'/' | b'.'));
        before = byte;
        is_plain
    })
}

/// Whether each percent sign begins an escape (RFC 3986 §2.1).
fn escapes_are_valid(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(mark) = rest.iter().position(|&byte| byte == b'%') {
        let digits = rest.get(mark + 1..mark + 3);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return false;
        }
        rest = &rest[mark + 3..];
    }
    true
}

/// All octets but the unreserved ones, the slash and what is harmless in a path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b'+')
    .remove(b'=')
    .remove(b'@')
    .remove(b',');

/// A decoded path as it may stand in a `Location` field.
pub fn encode(path: &[u8]) -> PercentEncode<'_> {
    percent_encode(path, PATH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> Result<(String, bool), Abnormal> {
        normalise(raw.as_bytes())
            .map(|normal| (String::from_utf8_lossy(&normal.path).into_owned(), normal.merged))
    }

    #[test]
    fn targets_have_the_form_that_their_method_allows() {
        let parse = |method, raw: &'static str| Target::parse(method, raw.as_bytes());
        let found = |path: &'static str, query: Option<&'static str>| {
            let query = query.map(str::as_bytes);
            Ok(Target::Path(Locator { path: path.as_bytes(), query }))
        };
        let get = |raw| parse(Method::Get, raw);
        assert_eq!(get("/a?b?c"), found("/a", Some("b?c")));
        assert_eq!(get("/a?"), found("/a", Some("")));
        assert_eq!(get("HTTP://x:80/a"), found("/a", None));
        assert_eq!(get("https://x?q"), found("/", Some("q")));
        assert_eq!(get("http://[::1]:1"), found("/", None));
        assert_eq!(parse(Method::Options, "*"), Ok(Target::Server));
        assert_eq!(parse(Method::Connect, "x:443"), Ok(Target::Tunnel));
        for raw in [
            "",
            "*",
            "a",
            "x:443",
            "ftp://x/",
            "http:/x",
            "http://",
            "http:///a",
            "http://:80/",
            "http://u@x/",
            "http://x y/",
            "/a b",
            "/a#b",
            "/\u{7f}",
            "/\u{e9}",
        ] {
            assert_eq!(get(raw), Err(Reject::BadRequest), "{raw}");
        }
        for raw in ["/", "", "x", "x:", ":443", "[::1]", "[::1]:", "x:y"] {
            assert_eq!(parse(Method::Connect, raw), Err(Reject::BadRequest), "{raw}");
        }
        assert_eq!(parse(Method::Connect, "[::1]:443"), Ok(Target::Tunnel));
    }

    #[test]
    fn authorities_are_host_and_port() {
        for valid in [
            "",
            "x",
            "x:",
            "x:0",
            "x:65535",
            "x:000000080",
            "[::1]",
            "[::1]:80",
            "a-b_c.d~%41",
            "1.2.3.4",
        ] {
            assert!(authority_is_valid(valid.as_bytes()), "{valid}");
        }
        for wrong in [
            "a b", "a/b", "u@x", "a?", "a#", "a,b", "x:65536", "x:-1", "x:+1", "x:1x", "[::1",
            "[::1]x", "[::1]%41", "a[::1]", "[x]", "[]", "::1", "x:80:80", "a\\b", "%4", "\u{e9}",
        ] {
            assert!(!authority_is_valid(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn paths_are_decoded_once_and_have_no_dots() {
        let plain = |text: &str| Ok((text.to_owned(), false));
        assert_eq!(path("/"), plain("/"));
        assert_eq!(path("/a/b.c"), plain("/a/b.c"));
        assert_eq!(path("/%2561"), plain("/%61"));
        assert_eq!(path("/a+b\\c"), plain("/a+b\\c"));
        assert_eq!(path("/./a/../b/."), plain("/b/"));
        assert_eq!(path("/a/%2e%2E/b"), plain("/b"));
        assert_eq!(path("/a/.."), plain("/"));
        assert_eq!(path("/a/../"), plain("/"));
        assert_eq!(path("/..."), plain("/..."));
        assert_eq!(path("/a/"), plain("/a/"));
    }

    #[test]
    fn empty_segments_are_merged_and_said() {
        assert_eq!(path("//a"), Ok(("/a".to_owned(), true)));
        assert_eq!(path("/a//"), Ok(("/a/".to_owned(), true)));
        assert_eq!(path("//"), Ok(("/".to_owned(), true)));
        assert_eq!(path("//b///c"), Ok(("/b/c".to_owned(), true)));
        // To two dots an empty segment is one like any other (RFC 3986 §5.2.4).
        assert_eq!(path("/a//../b"), Ok(("/a/b".to_owned(), false)));
        assert_eq!(path("//.."), Ok(("/".to_owned(), false)));
    }

    #[test]
    fn what_cannot_be_a_path_is_named() {
        for raw in ["/%", "/%4", "/%zz", "/%00", "/..", "/a/../../b", "/%2e%2e/etc"] {
            assert_eq!(path(raw), Err(Abnormal::Malformed), "{raw}");
        }
        assert_eq!(path("/a%2Fb"), Err(Abnormal::EncodedSlash));
    }

    #[test]
    fn a_location_has_no_octet_that_could_end_it() {
        assert_eq!(encode(b"/a b/\r\n\xff%?#\"/").to_string(), "/a%20b/%0D%0A%FF%25%3F%23%22/");
    }
}
