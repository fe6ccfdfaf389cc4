//! The hops that `Forwarded` (RFC 7239 §4) and `X-Forwarded-For` name, the nearest first. What is
//! no address is `None`: a name that hides somebody, or nonsense.

use std::borrow::Cow;
use std::net::IpAddr;

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

/// An address, with a port or without, and quoted or not; IPv6 with a port stands in brackets (RFC
/// 7239 §6).
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = unquoted(std::str::from_utf8(text).ok()?);
    let bare = || text.parse::<IpAddr>().ok();
    let with_port = || {
        let (name, behind) = match text.strip_prefix('[') {
            Some(literal) => literal.split_once(']')?,
            None => text.split_at(text.find(':')?),
        };
        let is_bracketed = text.starts_with('[');
        let address = name.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv6() == is_bracketed)?;
        (behind.is_empty() || is_port(behind.strip_prefix(':')?)).then_some(address)
    };
    bare().or_else(with_port).map(|address| address.to_canonical())
}

/// A number, or a word that hides one.
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(word) => {
            let is_allowed = |octet: u8| octet.is_ascii_alphanumeric() || b"._-".contains(&octet);
            !word.is_empty() && word.bytes().all(is_allowed)
        }
        None => (1..=5).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit()),
    }
}

/// The text that a quoted string stands for (RFC 9110 §5.6.4); what is none is itself.
fn unquoted(text: &str) -> Cow<'_, str> {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        None => text.into(),
        Some(inside) if !inside.contains('\\') => inside.into(),
        Some(inside) => {
            let mut is_escaped = false;
            let stays = |letter: &char| {
                is_escaped = *letter == '\\' && !is_escaped;
                !is_escaped
            };
            inside.chars().filter(stays).collect()
        }
    }
}
