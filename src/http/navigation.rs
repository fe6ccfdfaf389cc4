//! Whether somebody goes to a page, or a page asks for one of its parts.

use super::coding::weight;
use super::fields::{Fields, Name};

/// Whether a request, as far as it tells, is a browser's that goes to a page: it says so
/// (`Sec-Fetch-Mode`, Fetch Metadata §2.3), or, from an older browser or over a plain connection,
/// it accepts HTML and the last segment of its path, as it was sent, has no extension.
pub fn is_navigation(fields: &Fields<'_, '_>, path: &[u8]) -> bool {
    if fields.has(Name::SecFetchMode) {
        return fields.only(Name::SecFetchMode) == Some(b"navigate");
    }
    fields.members(Name::Accept).any(is_html) && !has_extension(path)
}

/// Whether a member of `Accept` (RFC 9110 §12.5.1) names HTML, and does not say `q=0`.
fn is_html(member: &[u8]) -> bool {
    let mut parts = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let is_named = parts.next().is_some_and(|range| range.eq_ignore_ascii_case(b"text/html"));
    is_named
        && !parts.any(|part| matches!(part, [b'q' | b'Q', b'=', q @ ..] if weight(q) == Some(0)))
}

fn has_extension(path: &[u8]) -> bool {
    path.rsplit(|&byte| byte == b'/').next().is_some_and(|segment| segment.contains(&b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields::Slots;

    fn navigates(block: &str, path: &str) -> bool {
        let block = format!("{block}\r\n\r\n");
        let mut slots = Slots::new();
        let parsed = Fields::parse(block.as_bytes(), &mut slots, 9).unwrap();
        is_navigation(&parsed.unwrap().0, path.as_bytes())
    }

    #[test]
    fn who_says_it_is_believed() {
        let html = "Accept: text/html";
        assert!(navigates("Sec-Fetch-Mode: navigate", "/a.b"));
        for mode in [
            "cors",
            "no-cors",
            "Navigate",
            "navigate, cors",
            "",
            "navigate\r\nSec-Fetch-Mode: navigate",
        ] {
            assert!(!navigates(&format!("{html}\r\nSec-Fetch-Mode: {mode}"), "/a"), "{mode}");
        }
    }

    #[test]
    fn who_does_not_is_told_by_what_is_accepted_and_by_the_path() {
        for accept in ["text/html", "a/b, TEXT/HTML;q=0.1", "text/html;level=1;q=1"] {
            assert!(navigates(&format!("Accept: {accept}"), "/user/7"), "{accept}");
        }
        for accept in ["*/*", "text/*", "text/htmlx", "text/html;q=0", "text/html; Q=0.000", ""] {
            assert!(!navigates(&format!("Accept: {accept}"), "/user/7"), "{accept}");
        }
        assert!(navigates("Accept: text/html", "/v1.2/"));
        assert!(!navigates("Accept: text/html", "/app.js"));
        assert!(!navigates("A: b", "/"));
    }
}
