//! A line of the access log, in each format.

use std::io::Write as _;
use std::time::Duration;

use crate::config::LogFormat;

use super::text::push_escaped;
use super::{Record, Stamp, Style, json};

/// What is to be said of an answer.
#[derive(Debug)]
pub struct Line<'l> {
    /// The request.
    pub record: &'l Record,
    /// When the answer was done, in milliseconds since 1970.
    pub millis: u64,
    /// The answer's status.
    pub status: u16,
    /// How much of its body was sent, in bytes.
    pub bytes: u64,
    /// From the request's first byte to the answer's last.
    pub took: Duration,
    /// Whether it was cut short.
    pub is_cut: bool,
    /// The generation that it is from; 0 if none.
    pub generation: u64,
}

/// What a line says beside, made before.
pub(super) struct Page<'p> {
    pub(super) stamp: &'p Stamp,
    pub(super) client: &'p str,
    /// The generation and the worker, as an object has them.
    pub(super) owner: &'p str,
}

/// What stands where there is nothing, in the common format and its heirs.
const NOTHING: &[u8] = b"-";

impl Line<'_> {
    /// Adds the line with its end to `out`.
    pub(super) fn write(&self, style: Style, page: &Page<'_>, out: &mut Vec<u8>) {
        match style.format {
            LogFormat::Json => self.write_json(page, out),
            LogFormat::Combined => self.write_combined(page, out),
            LogFormat::Text => self.write_text(style.has_colours, page, out),
            LogFormat::Headers => self.write_headers(out),
            LogFormat::Off => return,
        }
        out.push(b'\n');
    }

    /// An object, whose names are promised. It is put together here, since a serializer took three
    /// times as long as all else that a line costs; what has to be escaped is left to it.
    fn write_json(&self, page: &Page<'_>, out: &mut Vec<u8>) {
        let record = self.record;
        out.extend_from_slice(b"{\"time\":\"");
        page.stamp.push_moment(self.millis, out);
        out.extend_from_slice(b"\",\"client\":\"");
        out.extend_from_slice(page.client.as_bytes());
        out.push(b'"');
        for (name, text) in [
            (&b",\"method\":"[..], record.method()),
            (b",\"target\":", record.target()),
            (b",\"protocol\":", record.protocol()),
            (b",\"host\":", record.host()),
            (b",\"referrer\":", record.referrer()),
            (b",\"agent\":", record.agent()),
        ] {
            out.extend_from_slice(name);
            if record.is_plain {
                out.push(b'"');
                out.extend_from_slice(text);
                out.push(b'"');
            } else {
                json::write(&String::from_utf8_lossy(text), out);
            }
        }
        let micros = u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX);
        for (name, number) in [
            (&b",\"status\":"[..], self.status.into()),
            (b",\"bytes\":", self.bytes),
            (b",\"duration_us\":", micros),
        ] {
            out.extend_from_slice(name);
            push_number(out, number);
        }
        let truth = |is_so: bool| if is_so { &b"true,"[..] } else { b"false," };
        out.extend_from_slice(b",\"cut\":");
        out.extend_from_slice(truth(self.is_cut));
        out.extend_from_slice(b"\"truncated\":");
        out.extend_from_slice(truth(record.is_truncated));
        out.extend_from_slice(page.owner.as_bytes());
        out.push(b'}');
    }

    /// What Apache and nginx call combined.
    fn write_combined(&self, page: &Page<'_>, out: &mut Vec<u8>) {
        let record = self.record;
        out.extend_from_slice(page.client.as_bytes());
        out.extend_from_slice(b" - - [");
        out.extend_from_slice(page.stamp.common().as_bytes());
        out.extend_from_slice(b"] \"");
        push_request(out, record, b'"');
        out.extend_from_slice(b"\" ");
        push_number(out, self.status.into());
        out.push(b' ');
        push_number(out, self.bytes);
        out.extend_from_slice(b" \"");
        push_text(out, or_nothing(record.referrer()), record);
        out.extend_from_slice(b"\" \"");
        push_text(out, or_nothing(record.agent()), record);
        out.push(b'"');
    }

    /// For people: what matters most comes first.
    fn write_text(&self, has_colours: bool, page: &Page<'_>, out: &mut Vec<u8>) {
        let record = self.record;
        let (colour, end) = match self.status {
            _ if !has_colours => ("", ""),
            0..300 => ("\x1b[32m", "\x1b[0m"),
            300..400 => ("\x1b[36m", "\x1b[0m"),
            400..500 => ("\x1b[33m", "\x1b[0m"),
            _ => ("\x1b[31m", "\x1b[0m"),
        };
        let (clock, client) = (page.stamp.clock(), page.client);
        write!(out, "{clock} {client} {colour}{}{end} ", self.status)
            .expect("a Vec takes all that is written");
        push_request(out, record, b' ');
        let micros = self.took.as_micros();
        let (whole, tenth) = (micros / 1000, micros % 1000 / 100);
        let cut = if self.is_cut { " cut short" } else { "" };
        write!(out, " {} bytes {whole}.{tenth} ms{cut}", self.bytes)
            .expect("a Vec takes all that is written");
    }

    /// The head's lines as a list of texts, as the server printed them that tine descends from.
    fn write_headers(&self, out: &mut Vec<u8>) {
        let mut start: &[u8] = b"Request: [\"";
        for line in self.record.head_lines() {
            out.extend_from_slice(start);
            push_text(out, line, self.record);
            start = b"\", \"";
        }
        out.extend_from_slice(b"\"]");
    }
}

/// The request line, or what there was instead of one.
fn push_request(out: &mut Vec<u8>, record: &Record, end: u8) {
    if record.method().is_empty() {
        push_text(out, or_nothing(record.target()), record);
    } else {
        push_text(out, record.method(), record);
        out.push(b' ');
        push_text(out, record.target(), record);
        if end == b'"' {
            out.push(b' ');
            push_text(out, record.protocol(), record);
        }
    }
}

fn or_nothing(text: &[u8]) -> &[u8] {
    if text.is_empty() { NOTHING } else { text }
}

/// A text of a record, escaped if one of them has to be.
fn push_text(out: &mut Vec<u8>, text: &[u8], record: &Record) {
    if record.is_plain {
        out.extend_from_slice(text);
    } else {
        push_escaped(out, text);
    }
}

/// A number in decimal.
fn push_number(out: &mut Vec<u8>, number: u64) {
    let (mut digits, mut at, mut left) = ([0; 20], 20, number);
    loop {
        at -= 1;
        digits[at] = b"0123456789"[usize::try_from(left % 10).unwrap_or(0)];
        left /= 10;
        if left == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}
