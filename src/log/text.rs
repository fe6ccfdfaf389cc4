//! Texts from outside: cut to what a line has room for, and escaped.

use std::borrow::Cow;

/// As much of a text as takes at most `max` bytes however it is escaped.
pub(super) fn fit(text: &str, max: usize) -> &str {
    let mut left = max;
    for (at, letter) in text.char_indices() {
        match left.checked_sub(cost(letter)) {
            Some(rest) => left = rest,
            None => return &text[..at],
        }
    }
    text
}

/// A text that takes at most `max` bytes however it is escaped: one that would take more has lost
/// its middle. What is wrong stands at the end of a line, often behind a long path.
pub(super) fn without_middle(text: &str, max: usize) -> Cow<'_, str> {
    if fit(text, max).len() == text.len() {
        return text.into();
    }
    let start = fit(text, max / 2);
    // No escape makes more than eight of one.
    let end = text.len() - max / 2 / 8 + ELLIPSIS.len();
    let end = (end..).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
    [start, ELLIPSIS, &text[end..]].concat().into()
}

/// Where something was left out.
const ELLIPSIS: &str = "...";

/// The most that an escape makes of a letter, in bytes.
fn cost(letter: char) -> usize {
    match letter {
        '"' | '\\' => 2,
        ' '..='~' => 1,
        '\0'..='\u{1f}' | '\u{7f}' => 6,
        // Octet by octet, or as itself.
        _ => 8.max(letter.len_utf8() * 4),
    }
}

/// Octets that are no text of any encoding, one letter each, so that they can be cut alike.
pub(super) fn fit_octets(octets: &[u8], max: usize) -> &[u8] {
    if octets.len() * 8 <= max {
        return octets;
    }
    let mut left = max;
    for (at, &octet) in octets.iter().enumerate() {
        let cost = if octet.is_ascii() { cost(octet.into()) } else { 8 };
        match left.checked_sub(cost) {
            Some(rest) => left = rest,
            None => return &octets[..at],
        }
    }
    octets
}

/// Whether an octet stands for itself in every format.
pub(super) fn is_plain(octet: u8) -> bool {
    matches!(octet, b' '..=b'~') && octet != b'"' && octet != b'\\'
}

/// Writes octets with those escaped that a quoted text of a log cannot have, `"` and `\` among
/// them: `\xHH`, as nginx and others do.
pub(super) fn push_escaped(out: &mut Vec<u8>, octets: &[u8]) {
    for &octet in octets {
        match octet {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', octet]),
            b' '..=b'~' => out.push(octet),
            _ => {
                let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value)];
                out.extend_from_slice(&[b'\\', b'x', digit(octet >> 4), digit(octet & 15)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_fits_in_every_spelling() {
        for sample in ["plain", "\"\\\t", "\u{1}\u{7f}", "äöü€", "\u{9b}31m", "𝔘𝔫𝔦"] {
            let text = sample.repeat(60);
            let fitted = fit(&text, 100);
            assert!(!fitted.is_empty() && text.starts_with(fitted));
            let octets = fit_octets(text.as_bytes(), 100);
            let mut escaped = Vec::new();
            push_escaped(&mut escaped, octets);
            let debug = format!("{:?}", String::from_utf8_lossy(octets));
            for spelled in [
                serde_json::to_string(fitted).unwrap(),
                serde_json::to_string(&String::from_utf8_lossy(octets)).unwrap(),
                String::from_utf8(escaped).unwrap(),
                debug,
            ] {
                assert!(spelled.len() <= 102, "{sample:?}: {} bytes", spelled.len());
            }
            assert_eq!(fit(sample, 1000), sample);
            let short = without_middle(&text, 100);
            assert_eq!(fit(&short, 100), short);
            assert_eq!(without_middle(sample, 1000), sample);
        }
        let path = "/deep".repeat(100) + " is too deep";
        assert!(without_middle(&path, 400).ends_with("... is too deep".trim_start_matches('.')));
    }
}
