//! The head of an answer, written field by field into a buffer that is lent.

use std::io::Write as _;
use std::ops::Range;
use std::time::SystemTime;

use super::coding::Coding;
use super::date;
use super::etag::ETag;
use super::extra::{Caching, Extra};
use super::request::Persistence;
use super::status::Status;

/// A head that is being written. It is made of two parts: what is known when the site is compiled
/// (status line and fields), and what all heads of a moment end with (see [`Endings`]).
pub struct Head<'o>(&'o mut Vec<u8>);

impl<'o> Head<'o> {
    /// Writes the status line behind what `out` holds already. The version is always HTTP/1.1
    /// (RFC 9110 §6.2).
    pub fn start(out: &'o mut Vec<u8>, status: Status) -> Self {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(status.text().as_bytes());
        out.extend_from_slice(b"\r\n");
        Self(out)
    }

    /// Writes the fields of one part of a multipart body: it has no status line.
    pub fn part(out: &'o mut Vec<u8>) -> Self {
        Self(out)
    }

    /// Adds a field whose value is a few texts, one behind the other. None of them may contain a
    /// CR or an LF.
    pub fn field(self, name: &str, value: &[&str]) -> Self {
        debug_assert!(
            !value.iter().any(|part| part.contains(['\r', '\n'])),
            "a line end in {name}"
        );
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
        for part in value {
            self.0.extend_from_slice(part.as_bytes());
        }
        self.0.extend_from_slice(b"\r\n");
        self
    }

    /// Adds `ETag` and `Last-Modified` as far as there are any.
    pub fn validators(self, etag: Option<ETag>, modified: Option<u64>) -> Self {
        let head = match etag {
            Some(etag) => self.field("ETag", &[etag.as_str()]),
            None => self,
        };
        if let Some(second) = modified {
            let date = date::imf_fixdate(second);
            write!(head.0, "Last-Modified: {date}\r\n").expect("a Vec takes all that is written");
        }
        head
    }

    /// Adds `Vary` where the answer depends on the codings that a client wants.
    pub fn varies(self, varies: bool) -> Self {
        if varies { self.field("Vary", &["Accept-Encoding"]) } else { self }
    }

    /// Adds `Content-Range`: which octets, of how many.
    pub fn range(self, range: &Range<u64>, size: u64) -> Self {
        let (first, last) = (range.start, range.end - 1);
        write!(self.0, "Content-Range: bytes {first}-{last}/{size}\r\n")
            .expect("a Vec takes all that is written");
        self
    }

    /// Adds `Content-Range` for a range that there is nothing of.
    pub fn no_range(self, size: u64) -> Self {
        write!(self.0, "Content-Range: bytes */{size}\r\n")
            .expect("a Vec takes all that is written");
        self
    }

    /// Adds `Content-Length`, in octets.
    pub fn length(self, length: u64) -> Self {
        write!(self.0, "Content-Length: {length}\r\n").expect("a Vec takes all that is written");
        self
    }
}

/// What a head says of the bytes that follow it.
#[derive(Clone, Copy, Debug)]
pub struct Representation<'r> {
    /// The media type, and its parameter with the semicolon.
    pub media_type: [&'r str; 2],
    /// In which they travel.
    pub coding: Option<Coding>,
    /// Whether other clients get other bytes.
    pub varies: bool,
    /// Strong.
    pub etag: Option<ETag>,
    /// In seconds since 1970.
    pub modified: Option<u64>,
    /// In octets.
    pub length: u64,
}

impl<'r> Representation<'r> {
    /// Bytes of which no more is known.
    pub fn plain(media_type: [&'r str; 2], length: u64) -> Self {
        Self { media_type, coding: None, varies: false, etag: None, modified: None, length }
    }

    /// Writes the head of an answer with these bytes, which stand in for something else: an error's
    /// page.
    pub fn head<'o>(&self, out: &'o mut Vec<u8>, status: Status) -> Head<'o> {
        let mut head = Head::start(out, status).field("Content-Type", &self.media_type);
        if let Some(coding) = self.coding {
            head = head.field("Content-Encoding", &[coding.token()]);
        }
        head.field("X-Content-Type-Options", &["nosniff"]).length(self.length).varies(self.varies)
    }

    /// Writes the head of an answer with these bytes, found under their own URL: they can be
    /// revalidated, and had in parts.
    pub fn file_head<'o>(&self, out: &'o mut Vec<u8>, status: Status) -> Head<'o> {
        self.head(out, status)
            .validators(self.etag, self.modified)
            .field("Accept-Ranges", &["bytes"])
    }
}

/// What every head ends with, spelled out once a second and not once an answer: what the operator
/// adds, the date (RFC 9110 §6.6.1), what becomes of the connection, and the empty line.
#[derive(Clone, Debug)]
pub struct Endings {
    second: u64,
    /// By [`Caching`] and [`Persistence`].
    texts: [[Box<str>; 3]; 2],
}

impl Endings {
    /// Those for the second of `time`.
    pub fn new(extra: &Extra, time: SystemTime) -> Self {
        let second = date::second(time);
        let date = date::imf_fixdate(second).to_string();
        let texts = [Caching::AsConfigured, Caching::Never].map(|caching| {
            let block = extra.block(caching);
            ["", "Connection: keep-alive\r\n", "Connection: close\r\n"]
                .map(|line| [block, "Date: ", &date, "\r\n", line, "\r\n"].concat().into())
        });
        Self { second, texts }
    }

    /// The second that they are for, since 1970.
    pub fn second(&self) -> u64 {
        self.second
    }

    /// How a head ends.
    pub fn of(&self, caching: Caching, persistence: Persistence) -> &str {
        let place = match persistence {
            Persistence::Keep => 0,
            Persistence::KeepSaid => 1,
            Persistence::Close => 2,
        };
        &self.texts[caching as usize][place]
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_head_is_a_status_line_fields_and_an_empty_line() {
        let mut out = Vec::new();
        Head::start(&mut out, Status::NotFound).field("A", &["b", "c"]).length(7);
        let endings = Endings::new(&Extra::default(), UNIX_EPOCH);
        out.extend_from_slice(endings.of(Caching::Never, Persistence::Close).as_bytes());
        let text = "HTTP/1.1 404 Not Found\r\nA: bc\r\nContent-Length: 7\r\n\
                    Cache-Control: no-store\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
                    Connection: close\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}
