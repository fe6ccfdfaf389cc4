//! The log: a line for each answer, and lines about tine's own doings. Here they are formatted and
//! gathered; who writes them, and where to, is decided elsewhere.
//!
//! Whatever comes from outside is escaped: no line can be forged, and no terminal be commanded.

mod json;
mod ledger;
mod line;
mod record;
mod stamp;
mod text;

use std::fmt::Write as _;

use serde::Serialize;

use crate::config::LogFormat;

pub use ledger::Ledger;
pub use line::Line;
pub use record::Record;
use stamp::Stamp;

/// Longest line, in bytes, with its end: what is longer is cut, and says so.
pub const LINE_MAX: usize = 4000;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// The format of lines about answers. Lines about tine itself are JSON if these are, and else
    /// text.
    pub format: LogFormat,
    /// Whether a text may have colours.
    pub has_colours: bool,
}

impl Style {
    /// For people, and about tine alone.
    pub const PLAIN: Self = Self { format: LogFormat::Off, has_colours: false };
}

/// A line about tine itself, `millis` since 1970; control characters in it, as file names may have,
/// are escaped.
pub fn notice(style: Style, millis: u64, message: &str) -> String {
    #[derive(Serialize)]
    struct Notice<'n> {
        time: &'n str,
        message: &'n str,
    }
    let message = text::without_middle(message, LINE_MAX - 200);
    let mut out = match style.format {
        LogFormat::Json => {
            let stamp = Stamp::new(millis / 1000);
            let (mut time, mut out) = (Vec::new(), Vec::new());
            stamp.push_moment(millis, &mut time);
            let time = &String::from_utf8_lossy(&time);
            json::write(&Notice { time, message: &message }, &mut out);
            String::from_utf8(out).unwrap_or_default()
        }
        _ => {
            let mut out = String::from("tine: ");
            for letter in message.chars() {
                match letter {
                    _ if letter.is_control() => out.extend(letter.escape_default()),
                    _ => out.push(letter),
                }
            }
            out
        }
    };
    out.write_char('\n').expect("a String takes all");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_one_line_whatever_it_says() {
        let style = |format| Style { format, has_colours: false };
        let say = |format, message| notice(style(format), 784_111_777_042, message);
        assert_eq!(say(LogFormat::Text, "a\nb\x1b[31m"), "tine: a\\nb\\u{1b}[31m\n");
        assert_eq!(
            say(LogFormat::Json, "a\nb\""),
            "{\"time\":\"1994-11-06T08:49:37.042Z\",\"message\":\"a\\nb\\\"\"}\n"
        );
        let controls = "\u{1}".repeat(9999);
        for format in [LogFormat::Text, LogFormat::Json] {
            assert!(say(format, &controls).len() <= LINE_MAX);
        }
    }
}
