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
use crate::site::{Content, Opened, Pick};

use body::{Body, Origin, Piece};
pub use body::{Follows, Outgoing, SLICE_MAX, Slice};

/// An answer that is being sent.
#[derive(Debug)]
pub struct Response<'s> {
    /// The head, in the buffer that was lent for it.
    head: Vec<u8>,
    /// How much of the head, and of a body in memory, is sent.
    sent: usize,
    body: Body<'s>,
}

impl<'s> Response<'s> {
    /// Spells a plan out. `opened` is the file of [`Plan::file`]; `head` is a buffer that is lent
    /// for the head.
    pub fn new(
        plan: Plan<'s>,
        opened: Option<Opened<'s>>,
        endings: &Endings,
        mut head: Vec<u8>,
    ) -> Self {
        head.clear();
        let now = endings.second();
        let ending = endings.of(plan.reply.caching(), plan.persistence);
        let body = match plan.reply {
            Reply::Whole(pick) => whole(&mut head, pick, opened, now),
            Reply::Part(pick, range) => part(&mut head, pick, range, opened, now),
            Reply::Parts(pick, ranges) => parts(&mut head, pick, &ranges, opened, now),
            Reply::Unsatisfiable(pick, size) => unsatisfiable(&mut head, pick, size),
            Reply::Failed(pick) => failed(&mut head, pick),
            Reply::StandIn(pick) => stand_in(&mut head, Status::Ok, pick, opened, now),
            Reply::Missing(pick) => stand_in(&mut head, Status::NotFound, pick, opened, now),
            Reply::Unchanged(pick, validators) => unchanged(&mut head, pick, validators),
            Reply::AsFound(..) | Reply::Awaited => unsettled(&mut head),
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
        Self { head, sent: 0, body: if plan.body { body } else { Body::Empty } }
    }

    /// What is to be sent next; `follows` is what comes behind the whole answer.
    pub fn outgoing(&self, follows: Follows) -> Outgoing<'_> {
        let head = &self.head[self.sent.min(self.head.len())..];
        match &self.body {
            Body::Empty => Outgoing::Bytes(slices(head, &[]), follows),
            Body::Held(body) => Outgoing::Bytes(slices(head, self.rest_of(body)), follows),
            Body::Made(body) => Outgoing::Bytes(slices(head, self.rest_of(body)), follows),
            Body::File(_) | Body::Several(_) if !head.is_empty() => {
                Outgoing::Bytes(slices(head, &[]), Follows::More)
            }
            Body::File(file) => file.outgoing(),
            Body::Several(several) => several.outgoing(follows),
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
            Body::Held(body) => self.sent == head_len + body.len(),
            Body::Made(body) => self.sent == head_len + body.len(),
            Body::File(_) | Body::Several(_) => false,
        }
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
    pick: Pick<'s>,
    validators: Validators,
    size: u64,
    origin: Origin<'s>,
}

impl<'s> Chosen<'s> {
    /// None if the file had to be opened and was not.
    fn new(pick: Pick<'s>, opened: Option<Opened<'s>>, now: u64) -> Option<Self> {
        Some(match pick.content() {
            Content::Held(held) => Self {
                pick,
                validators: pick.validators(),
                size: held.body().len() as u64,
                origin: Origin::Held(held.body()),
            },
            Content::Large(_) => {
                let opened = opened?;
                let Opened { source, facts } = opened;
                Self {
                    pick,
                    validators: pick.validators_of(&facts, now),
                    size: facts.size,
                    origin: Origin::File(source, facts),
                }
            }
        })
    }

    fn representation(&self, length: u64) -> Representation<'static> {
        let Validators { etag, modified } = self.validators;
        let (coding, varies) = (self.pick.coding(), self.pick.varies());
        let media_type = self.pick.media_type();
        Representation { media_type, coding, varies, etag, modified, length }
    }
}

/// A file of the site: the head of a held one was written when the site was compiled.
fn whole<'s>(out: &mut Vec<u8>, pick: Pick<'s>, opened: Option<Opened<'s>>, now: u64) -> Body<'s> {
    if let (Some(head), Content::Held(held)) = (pick.head(), pick.content()) {
        out.extend_from_slice(head);
        return Body::Held(held.body());
    }
    let Some(chosen) = Chosen::new(pick, opened, now) else { return unsettled(out) };
    chosen.representation(chosen.size).file_head(out, Status::Ok);
    Body::part(chosen.origin, 0..chosen.size)
}

/// All of a file that stands in for what is not there.
fn stand_in<'s>(
    out: &mut Vec<u8>,
    status: Status,
    pick: Pick<'s>,
    opened: Option<Opened<'s>>,
    now: u64,
) -> Body<'s> {
    let Some(chosen) = Chosen::new(pick, opened, now) else { return unsettled(out) };
    chosen.representation(chosen.size).head(out, status);
    Body::part(chosen.origin, 0..chosen.size)
}

/// One part of a file (RFC 9110 §15.3.7.1).
fn part<'s>(
    out: &mut Vec<u8>,
    pick: Pick<'s>,
    range: Range<u64>,
    opened: Option<Opened<'s>>,
    now: u64,
) -> Body<'s> {
    let Some(chosen) = Chosen::new(pick, opened, now) else { return unsettled(out) };
    let representation = chosen.representation(range.end - range.start);
    representation.file_head(out, Status::PartialContent).range(&range, chosen.size);
    Body::part(chosen.origin, range)
}

/// Several parts of a file, each with a head of its own (RFC 9110 §14.6, §15.3.7.2).
fn parts<'s>(
    out: &mut Vec<u8>,
    pick: Pick<'s>,
    ranges: &[Range<u64>],
    opened: Option<Opened<'s>>,
    now: u64,
) -> Body<'s> {
    let Some(chosen) = Chosen::new(pick, opened, now) else { return unsettled(out) };
    let boundary = boundary(&chosen);
    let mut pieces: VecDeque<_> = ranges
        .iter()
        .map(|range| {
            let mut text = format!("\r\n--{boundary}\r\n").into_bytes();
            Head::part(&mut text)
                .field("Content-Type", &chosen.pick.media_type())
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

fn unsatisfiable<'s>(out: &mut Vec<u8>, pick: Pick<'s>, size: u64) -> Body<'s> {
    error_head(out, Status::RangeNotSatisfiable).no_range(size).varies(pick.varies());
    Body::Held(Status::RangeNotSatisfiable.page().as_bytes())
}

fn failed<'s>(out: &mut Vec<u8>, pick: Pick<'s>) -> Body<'s> {
    error_head(out, Status::PreconditionFailed).varies(pick.varies());
    Body::Held(Status::PreconditionFailed.page().as_bytes())
}

fn unsettled<'s>(out: &mut Vec<u8>) -> Body<'s> {
    debug_assert!(false, "a file that nobody opened");
    error(out, Status::InternalServerError)
}

/// 304 carries what a cache needs to go on with its copy (RFC 9110 §15.4.5).
fn unchanged<'s>(out: &mut Vec<u8>, pick: Pick<'s>, validators: Validators) -> Body<'s> {
    Head::start(out, Status::NotModified)
        .varies(pick.varies())
        .validators(validators.etag, validators.modified);
    Body::Empty
}

fn moved<'s>(out: &mut Vec<u8>, location: &str) -> Body<'s> {
    Head::start(out, Status::MovedPermanently).field("Location", &[location]).length(0);
    Body::Empty
}

fn health<'s>(out: &mut Vec<u8>, is_well: bool) -> Body<'s> {
    let (status, text) = match is_well {
        true => (Status::Ok, "ok\n"),
        false => (Status::ServiceUnavailable, "not ready\n"),
    };
    Representation::plain(PLAIN, text.len() as u64).head(out, status);
    Body::Held(text.as_bytes())
}

fn made<'s>(
    out: &mut Vec<u8>,
    status: Status,
    media_type: [&'static str; 2],
    text: Vec<u8>,
) -> Body<'s> {
    Representation::plain(media_type, text.len() as u64).head(out, status);
    Body::Made(text)
}

fn error<'s>(out: &mut Vec<u8>, status: Status) -> Body<'s> {
    let head = error_head(out, status);
    if status == Status::ServiceUnavailable {
        head.field("Retry-After", &["1"]);
    }
    Body::Held(status.page().as_bytes())
}

fn not_allowed<'s>(out: &mut Vec<u8>, allowed: &str) -> Body<'s> {
    error_head(out, Status::MethodNotAllowed).field("Allow", &[allowed]);
    Body::Held(Status::MethodNotAllowed.page().as_bytes())
}

fn error_head(out: &mut Vec<u8>, status: Status) -> Head<'_> {
    let length = status.page().len() as u64;
    Representation::plain(PAGE, length).head(out, status)
}
