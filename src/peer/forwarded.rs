//! The hops that `Forwarded` (RFC 7239 §4) and `X-Forwarded-For` name, the nearest first. What is
//! no address is `None`: a name that hides somebody, or nonsense.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The hops in one line of `X-Forwarded-For`.
pub(super) fn customary_hops(line: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    let members = line.rsplit(|&octet| octet == b',').map(<[u8]>::trim_ascii);
    members.filter(|member| !member.is_empty()).map(node)
}

/// The hops in one line of `Forwarded`.
pub(super) fn standard_hops(line: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    // A quote without an end would hide from its right what the proxy has added there.
    let elements = split_unquoted(line, b',').unwrap_or_else(|| vec![b"for=unknown"]);
    elements.into_iter().rev().filter(|element| !element.trim_ascii().is_empty()).map(|element| {
        let pairs = split_unquoted(element, b';')?.into_iter().map(<[u8]>::trim_ascii);
        let mut values = pairs.filter_map(|pair| {
            let (name, value) = pair.split_at_checked("for=".len())?;
            name.eq_ignore_ascii_case(b"for=").then_some(value)
        });
        match (values.next(), values.next()) {
            (Some(value), None) => node(value),
            _ => None,
        }
    })
}

/// The parts of a text between separators that stand in no quotes; none if a quote has no end.
fn split_unquoted(text: &[u8], separator: u8) -> Option<Vec<&[u8]>> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let is_separator = |&octet: &u8| {
        match octet {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ => return octet == separator && !is_quoted,
        }
        false
    };
    let parts = text.split(is_separator).collect();
    (!is_quoted).then_some(parts)
}

/// An address, with a port or without, and quoted or not; IPv6 with a port stands in brackets.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let bracketed = || {
        let inside = text.strip_prefix('[')?.strip_suffix(']')?;
        inside.parse::<Ipv6Addr>().ok().map(IpAddr::from)
    };
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(bracketed)?;
    Some(address.to_canonical())
}
