//! An answer as bytes on their way: its head, and a body that is left to send.

mod body;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;

use crate::answer::{METHODS, Plan, Reply};
use crate::http::etag::ETag;
use crate::http::head::{Endings, Head, Representation};
use crate::http::precondition::Validators;
use crate::http::status::Status;
use crate::site::{Content, Extent, Selected, View};

use body::{Body, Origin, Piece, bytes, within};
pub use body::{COPY_MAX, Follows, Opened, Outgoing, SLICE_MAX, Slice};

/// An answer that is being sent.
#[derive(Debug)]
pub struct Response {
    /// The head, in the buffer that was lent for it.
    head: Vec<u8>,
    /// How much of the head, and of a body in memory, is sent.
    sent: usize,
    body: Body,
    /// The generation that it is from.
    generation: u64,
}

impl Response {
    /// Spells out a plan that was made from a generation. `opened` is the file of [`Plan::file`];
    /// `head` is a buffer that is lent for the head.
    pub fn new(
        plan: Plan<'_>,
        generation: u64,
        opened: Option<Opened>,
        endings: &Endings,
        mut head: Vec<u8>,
    ) -> Self {
        head.clear();
        let now = endings.second();
        let ending = endings.of(plan.reply.caching(), plan.persistence);
        let body = match plan.reply {
            Reply::Whole(selected) => whole(&mut head, selected, opened, now),
            Reply::Part(selected, range) => part(&mut head, selected, range, opened, now),
            Reply::Parts(selected, ranges) => parts(&mut head, selected, &ranges, opened, now),
            Reply::Unsatisfiable(selected, size) => unsatisfiable(&mut head, selected, size),
            Reply::Failed(selected) => failed(&mut head, selected),
            Reply::StandIn(selected) => stand_in(&mut head, Status::Ok, selected, opened, now),
            Reply::Missing(selected) => {
                stand_in(&mut head, Status::NotFound, selected, opened, now)
            }
            Reply::Unchanged(selected, validators) => unchanged(&mut head, selected, validators),
            Reply::NeedsFile(..) | Reply::Awaited => unsettled(&mut head),
            Reply::Made(status, media_type, text) => made(&mut head, status, media_type, text),
            Reply::Underway => {
                let text = b"still looking; the status page will say what it comes to\n";
                made(&mut head, Status::Accepted, PLAIN, text.to_vec())
            }
            Reply::Moved(location) => moved(&mut head, &location),
            Reply::Health(is_well) => health(&mut head, is_well),
            Reply::NotAllowed(allowed) => not_allowed(&mut head, allowed),
            Reply::Methods => {
                Head::start(&mut head, Status::NoContent).field("Allow", &[METHODS]);
                Body::Empty
            }
            Reply::Error(status) => error(&mut head, status),
        };
        head.extend_from_slice(ending.as_bytes());
        let body = if plan.body { body } else { Body::Empty };
        Self { head, sent: 0, body, generation }
    }

    /// What is to be sent next; `follows` is what comes behind the whole answer, and `view` the
    /// arena.
    pub fn outgoing<'r>(&'r self, follows: Follows, view: View<'r>) -> Outgoing<'r> {
        let head = &self.head[self.sent.min(self.head.len())..];
        match &self.body {
            Body::Empty => Outgoing::Bytes(slices(head, &[]), follows),
            Body::Static(body) => Outgoing::Bytes(slices(head, self.rest_of(body)), follows),
            Body::Memory(body) if body.len <= COPY_MAX => {
                let rest = bytes(view, self.rest_of_extent(*body));
                Outgoing::Bytes(slices(head, rest), follows)
            }
            Body::Memory(_) if !head.is_empty() => {
                Outgoing::Bytes(slices(head, &[]), Follows::More)
            }
            Body::Memory(body) => {
                let rest = self.rest_of_extent(*body);
                let len = rest.len.min(SLICE_MAX);
                let follows = if len < rest.len { Follows::More } else { follows };
                Outgoing::Arena(Extent { len, ..rest }, follows)
            }
            Body::Made(body) => Outgoing::Bytes(slices(head, self.rest_of(body)), follows),
            Body::File(_) | Body::Several(_) if !head.is_empty() => {
                Outgoing::Bytes(slices(head, &[]), Follows::More)
            }
            Body::File(file) => file.outgoing(),
            Body::Several(several) => several.outgoing(follows, view),
        }
    }

    /// Takes note of bytes that were sent; whether those were the last ones.
    pub fn sent(&mut self, len: usize) -> bool {
        let head_len = self.head.len();
        match &mut self.body {
            Body::File(file) if self.sent == head_len => return file.sent(len),
            Body::Several(several) if self.sent == head_len => return several.sent(len),
            _ => self.sent += len,
        }
        match &self.body {
            Body::Empty => self.sent == head_len,
            Body::Static(body) => self.sent == head_len + body.len(),
            Body::Memory(body) => self.sent as u64 == head_len as u64 + body.len,
            Body::Made(body) => self.sent == head_len + body.len(),
            Body::File(_) | Body::Several(_) => false,
        }
    }

    /// What it has yet to send from the arena, if anything.
    pub fn extent(&self) -> Option<Extent> {
        self.body.extent()
    }

    /// The generation that it is from.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    fn rest_of_extent(&self, body: Extent) -> Extent {
        within(body, &(self.sent.saturating_sub(self.head.len()) as u64..body.len))
    }

    /// What is left of a body in memory.
    fn rest_of<'b>(&self, body: &'b [u8]) -> &'b [u8] {
        &body[self.sent.saturating_sub(self.head.len())..]
    }

    /// The status, as the head says it.
    pub fn status(&self) -> u16 {
        let digits = self.head.get("HTTP/1.1 ".len()..).unwrap_or_default().iter().take(3);
        digits.fold(0, |number, digit| number * 10 + u16::from(digit.wrapping_sub(b'0')))
    }

    /// How long the head is, in bytes.
    pub fn head_len(&self) -> usize {
        self.head.len()
    }

    /// Gives the head's buffer back.
    pub fn into_buffer(self) -> Vec<u8> {
        self.head
    }
}

/// The media type of tine's own pages.
const PAGE: [&str; 2] = ["text/html", "; charset=utf-8"];
/// The media type of tine's own texts.
const PLAIN: [&str; 2] = ["text/plain", "; charset=utf-8"];

fn slices<'r>(head: &'r [u8], body: &'r [u8]) -> [IoSlice<'r>; 2] {
    [IoSlice::new(head), IoSlice::new(body)]
}

/// A file of the site as it is to be described and sent.
struct Chosen<'s> {
    selected: Selected<'s>,
    validators: Validators,
    size: u64,
    origin: Origin,
}

impl<'s> Chosen<'s> {
    /// None if the file had to be opened and was not.
    fn new(selected: Selected<'s>, opened: Option<Opened>, now: u64) -> Option<Self> {
        let (validators, size, origin) = match (selected.content(), opened) {
            (Content::Memory(body), _) => (selected.validators(), body.len, Origin::Memory(body)),
            (Content::Disk(_), opened) => {
                let opened = opened?;
                let (validators, size) =
                    (selected.validators_of(&opened.stat, now), opened.stat.size);
                (validators, size, Origin::File(opened))
            }
        };
        Some(Self { selected, validators, size, origin })
    }

    fn representation(&self, length: u64) -> Representation<'s> {
        let Validators { etag, modified } = self.validators;
        let (coding, varies) = (self.selected.coding(), self.selected.varies());
        let media_type = self.selected.media_type();
        Representation { media_type, coding, varies, etag, modified, length }
    }
}

/// A file of the site: the head of one in memory was written when the site was compiled.
fn whole(out: &mut Vec<u8>, selected: Selected<'_>, opened: Option<Opened>, now: u64) -> Body {
    if let (Some(head), Content::Memory(body)) = (selected.head(), selected.content()) {
        out.extend_from_slice(head);
        return if body.len == 0 { Body::Empty } else { Body::Memory(body) };
    }
    let Some(chosen) = Chosen::new(selected, opened, now) else { return unsettled(out) };
    chosen.representation(chosen.size).file_head(out, Status::Ok);
    Body::part(chosen.origin, 0..chosen.size)
}

/// All of a file that stands in for what is not there.
fn stand_in(
    out: &mut Vec<u8>,
    status: Status,
    selected: Selected<'_>,
    opened: Option<Opened>,
    now: u64,
) -> Body {
    let Some(chosen) = Chosen::new(selected, opened, now) else { return unsettled(out) };
    chosen.representation(chosen.size).head(out, status);
    Body::part(chosen.origin, 0..chosen.size)
}

/// One part of a file (RFC 9110 §15.3.7.1).
fn part(
    out: &mut Vec<u8>,
    selected: Selected<'_>,
    range: Range<u64>,
    opened: Option<Opened>,
    now: u64,
) -> Body {
    let Some(chosen) = Chosen::new(selected, opened, now) else { return unsettled(out) };
    let representation = chosen.representation(range.end - range.start);
    representation.file_head(out, Status::PartialContent).range(&range, chosen.size);
    Body::part(chosen.origin, range)
}

/// Several parts of a file, each with a head of its own (RFC 9110 §14.6, §15.3.7.2).
fn parts(
    out: &mut Vec<u8>,
    selected: Selected<'_>,
    ranges: &[Range<u64>],
    opened: Option<Opened>,
    now: u64,
) -> Body {
    let Some(chosen) = Chosen::new(selected, opened, now) else { return unsettled(out) };
    let boundary = boundary(&chosen);
    let mut pieces: VecDeque<_> = ranges
        .iter()
        .map(|range| {
            let mut text = format!("\r\n--{boundary}\r\n").into_bytes();
            Head::part(&mut text)
                .field("Content-Type", &chosen.selected.media_type())
                .range(range, chosen.size);
            text.extend_from_slice(b"\r\n");
            Piece { text, part: range.clone() }
        })
        .collect();
    pieces.push_back(Piece { text: format!("\r\n--{boundary}--\r\n").into_bytes(), part: 0..0 });
    let len = |piece: &Piece| piece.text.len() as u64 + piece.part.end - piece.part.start;
    let media_type = ["multipart/byteranges; boundary=", &boundary];
    let representation = chosen.representation(pieces.iter().map(len).sum());
    Representation { media_type, ..representation }.file_head(out, Status::PartialContent);
    Body::several(chosen.origin, pieces)
}

/// What no part can contain but by an accident of 2^-128, or on purpose: a hash of what is known of
/// the file.
fn boundary(chosen: &Chosen<'_>) -> String {
    let Validators { etag, modified } = chosen.validators;
    let known = format!("{etag:?} {modified:?} {}", chosen.size);
    ETag::of(known.as_bytes()).as_str().trim_matches('"').to_owned()
}

fn unsatisfiable(out: &mut Vec<u8>, selected: Selected<'_>, size: u64) -> Body {
    error_head(out, Status::RangeNotSatisfiable).no_range(size).varies(selected.varies());
    Body::Static(Status::RangeNotSatisfiable.page().as_bytes())
}

fn failed(out: &mut Vec<u8>, selected: Selected<'_>) -> Body {
    error_head(out, Status::PreconditionFailed).varies(selected.varies());
    Body::Static(Status::PreconditionFailed.page().as_bytes())
}

fn unsettled(out: &mut Vec<u8>) -> Body {
    debug_assert!(false, "a file that nobody opened");
    error(out, Status::InternalServerError)
}

/// 304 carries what a cache needs to go on with its copy (RFC 9110 §15.4.5).
fn unchanged(out: &mut Vec<u8>, selected: Selected<'_>, validators: Validators) -> Body {
    Head::start(out, Status::NotModified)
        .varies(selected.varies())
        .validators(validators.etag, validators.modified);
    Body::Empty
}

fn moved(out: &mut Vec<u8>, location: &str) -> Body {
    Head::start(out, Status::MovedPermanently).field("Location", &[location]).length(0);
    Body::Empty
}

fn health(out: &mut Vec<u8>, is_well: bool) -> Body {
    let (status, text) = match is_well {
        true => (Status::Ok, "ok\n"),
        false => (Status::ServiceUnavailable, "not ready\n"),
    };
    Representation::plain(PLAIN, text.len() as u64).head(out, status);
    Body::Static(text.as_bytes())
}

fn made(out: &mut Vec<u8>, status: Status, media_type: [&'static str; 2], text: Vec<u8>) -> Body {
    Representation::plain(media_type, text.len() as u64).head(out, status);
    Body::Made(text)
}

fn error(out: &mut Vec<u8>, status: Status) -> Body {
    let head = error_head(out, status);
    if status == Status::ServiceUnavailable {
        head.field("Retry-After", &["1"]);
    }
    Body::Static(status.page().as_bytes())
}

fn not_allowed(out: &mut Vec<u8>, allowed: &str) -> Body {
    error_head(out, Status::MethodNotAllowed).field("Allow", &[allowed]);
    Body::Static(Status::MethodNotAllowed.page().as_bytes())
}

fn error_head(out: &mut Vec<u8>, status: Status) -> Head<'_> {
    let length = status.page().len() as u64;
    Representation::plain(PAGE, length).head(out, status)
}
