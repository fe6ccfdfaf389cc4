//! A line of the access log, in each format.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use crate::config::LogFormat;

use super::stamp::Moment;
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
}

/// The same as an object; these names are promised.
#[derive(Serialize)]
struct Object<'l> {
    time: Moment<'l>,
    client: IpAddr,
    method: Cow<'l, str>,
    target: Cow<'l, str>,
    protocol: Cow<'l, str>,
    host: Cow<'l, str>,
    referrer: Cow<'l, str>,
    agent: Cow<'l, str>,
    status: u16,
    bytes: u64,
    duration_us: u64,
    cut: bool,
    truncated: bool,
    generation: u64,
    worker: i32,
}

/// What stands where there is nothing, in the common format and its heirs.
const NOTHING: &[u8] = b"-";

impl Line<'_> {
    /// Adds the line with its end to `out`.
    pub(super) fn write(
        &self,
        style: Style,
        stamp: &Stamp,
        (generation, worker): (u64, i32),
        out: &mut Vec<u8>,
    ) {
        match style.format {
            LogFormat::Json => self.write_json(stamp, (generation, worker), out),
            LogFormat::Combined => self.write_combined(stamp, out),
            LogFormat::Text => self.write_text(style.has_colours, stamp, out),
            LogFormat::Headers => self.write_headers(out),
            LogFormat::Off => return,
        }
        out.push(b'\n');
    }

    fn write_json(&self, stamp: &Stamp, (generation, worker): (u64, i32), out: &mut Vec<u8>) {
        let record = self.record;
        let text = String::from_utf8_lossy;
        let object = Object {
            time: stamp.at(self.millis),
            client: record.client,
            method: text(record.method()),
            target: text(record.target()),
            protocol: text(record.protocol()),
            host: text(record.host()),
            referrer: text(record.referrer()),
            agent: text(record.agent()),
            status: self.status,
            bytes: self.bytes,
            duration_us: u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX),
            cut: self.is_cut,
            truncated: record.is_truncated,
            generation,
            worker,
        };
        json::write(&object, out);
    }

    /// What Apache and nginx call combined.
    fn write_combined(&self, stamp: &Stamp, out: &mut Vec<u8>) {
        let record = self.record;
        write!(out, "{} - - [{}] \"", record.client, stamp.common())
            .expect("a Vec takes all that is written");
        push_request(out, record, b'"');
        write!(out, "\" {} {} \"", self.status, self.bytes)
            .expect("a Vec takes all that is written");
        push_escaped(out, or_nothing(record.referrer()));
        out.extend_from_slice(b"\" \"");
        push_escaped(out, or_nothing(record.agent()));
        out.push(b'"');
    }

    /// For people: what matters most comes first.
    fn write_text(&self, has_colours: bool, stamp: &Stamp, out: &mut Vec<u8>) {
        let record = self.record;
        let (colour, end) = match self.status {
            _ if !has_colours => ("", ""),
            0..300 => ("\x1b[32m", "\x1b[0m"),
            300..400 => ("\x1b[36m", "\x1b[0m"),
            400..500 => ("\x1b[33m", "\x1b[0m"),
            _ => ("\x1b[31m", "\x1b[0m"),
        };
        write!(out, "{} {} {colour}{}{end} ", stamp.clock(), record.client, self.status)
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
            push_escaped(out, line);
            start = b"\", \"";
        }
        out.extend_from_slice(b"\"");
        if self.record.is_truncated {
            out.extend_from_slice(b", ...");
        }
        out.push(b']');
    }
}

/// The request line, or what there was instead of one.
fn push_request(out: &mut Vec<u8>, record: &Record, end: u8) {
    if record.method().is_empty() {
        push_escaped(out, or_nothing(record.target()));
    } else {
        push_escaped(out, record.method());
        out.push(b' ');
        push_escaped(out, record.target());
        if record.is_truncated {
            out.extend_from_slice(b"...");
        }
        if end == b'"' {
            out.push(b' ');
            push_escaped(out, record.protocol());
        }
    }
}

fn or_nothing(text: &[u8]) -> &[u8] {
    if text.is_empty() { NOTHING } else { text }
}
