//! An answer as bytes on their way: what is left to send, and from where.

use std::io::IoSlice;
use std::os::fd::{AsFd as _, BorrowedFd};

use crate::answer::{Plan, Reply};
use crate::http::date::HttpDate;
use crate::http::head::{self, Head, Representation};
use crate::http::precondition::Validators;
use crate::http::status::Status;
use crate::site::{Asset, Content, Facts, Opened, Source, media};

/// Longest part of a file that is sent before other connections have their turn, in bytes.
pub const SLICE_MAX: u64 = 512 * 1024;

/// An answer that is being sent.
#[derive(Debug)]
pub struct Response<'s> {
    /// The head, in the buffer that was lent for it.
    head: Vec<u8>,
    /// How much of the head, and of a body in memory, is sent.
    sent: usize,
    body: Body<'s>,
}

#[derive(Debug)]
enum Body<'s> {
    Empty,
    Held(&'s [u8]),
    File(FileBody<'s>),
}

#[derive(Debug)]
struct FileBody<'s> {
    source: Source<'s>,
    facts: Facts,
    at: u64,
}

/// What a response wants to be done with the socket.
#[derive(Debug)]
pub enum Outgoing<'r> {
    /// Bytes from memory; with more to follow, or not.
    Bytes([IoSlice<'r>; 2], Follows),
    /// Bytes from a file.
    File(Slice<'r>),
}

/// Whether a packet that is not full should wait for what comes behind it (MSG_MORE, send(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// More of the answer, or the connection's end, which then needs no packet of its own.
    More,
    /// Nothing that is known yet.
    Nothing,
}

/// A part of a file.
#[derive(Debug)]
pub struct Slice<'r> {
    /// What to read from.
    pub file: BorrowedFd<'r>,
    /// Where to begin, in bytes.
    pub at: u64,
    /// How much at most, in bytes.
    pub len: u64,
    /// What the file must still be, if this is the last slice: otherwise the client has been sent
    /// parts of different files, or one that does not fit its head, and must not take it for whole.
    pub unless_changed_from: Option<&'r Facts>,
}

impl<'s> Response<'s> {
    /// Spells a plan out. `opened` is the file of [`Plan::file`]; `head` is an empty buffer.
    pub fn new(
        plan: Plan<'s>,
        opened: Option<Opened<'s>>,
        date: &HttpDate,
        mut head: Vec<u8>,
    ) -> Self {
        head.clear();
        let body = match plan.reply {
            Reply::Whole(asset) => represent(&mut head, Status::Ok, asset, opened, date),
            Reply::Missing(asset) => represent(&mut head, Status::NotFound, asset, opened, date),
            Reply::Unchanged(validators) => unchanged(&mut head, validators),
            Reply::AsFound(..) => unsettled(&mut head),
            Reply::Moved(location) => moved(&mut head, &location),
            Reply::Methods => {
                Head::start(&mut head, Status::NoContent).field("Allow", &[METHODS]);
                Body::Empty
            }
            Reply::Error(status) => error(&mut head, status),
        };
        head::end(&mut head, date, plan.persistence);
        Self { head, sent: 0, body: if plan.body { body } else { Body::Empty } }
    }

    /// What is to be sent next; `follows` is what comes behind the whole answer.
    pub fn outgoing(&self, follows: Follows) -> Outgoing<'_> {
        let head = &self.head[self.sent.min(self.head.len())..];
        match &self.body {
            Body::Empty => Outgoing::Bytes(slices(head, &[]), follows),
            Body::Held(body) => {
                let body = &body[self.sent.saturating_sub(self.head.len())..];
                Outgoing::Bytes(slices(head, body), follows)
            }
            Body::File(_) if !head.is_empty() => Outgoing::Bytes(slices(head, &[]), Follows::More),
            Body::File(file) => Outgoing::File(file.slice()),
        }
    }

    /// Takes note of bytes that were sent; whether those were the last ones.
    pub fn sent(&mut self, len: usize) -> bool {
        match &mut self.body {
            Body::File(file) if self.sent == self.head.len() => file.at += len as u64,
            _ => self.sent += len,
        }
        let left_in_memory = match &self.body {
            Body::Held(body) => self.head.len() + body.len() - self.sent,
            Body::Empty | Body::File(_) => self.head.len() - self.sent,
        };
        let left_in_file = match &self.body {
            Body::File(file) => file.facts.size - file.at,
            Body::Empty | Body::Held(_) => 0,
        };
        left_in_memory == 0 && left_in_file == 0
    }

    /// Gives the head's buffer back.
    pub fn into_buffer(self) -> Vec<u8> {
        self.head
    }
}

impl FileBody<'_> {
    fn slice(&self) -> Slice<'_> {
        let left = self.facts.size - self.at;
        let is_last = left <= SLICE_MAX;
        Slice {
            file: self.source.as_fd(),
            at: self.at,
            len: left.min(SLICE_MAX),
            unless_changed_from: is_last.then_some(&self.facts),
        }
    }
}

/// The methods that are answered (RFC 9110 §10.2.1).
const METHODS: &str = "GET, HEAD, OPTIONS";

/// The media type of tine's own pages.
const PAGE: [&str; 2] = ["text/html", "; charset=utf-8"];

fn slices<'r>(head: &'r [u8], body: &'r [u8]) -> [IoSlice<'r>; 2] {
    [IoSlice::new(head), IoSlice::new(body)]
}

/// A file of the site. Only the 200 of a held one was written when the site was compiled.
fn represent<'s>(
    out: &mut Vec<u8>,
    status: Status,
    asset: &'s Asset,
    opened: Option<Opened<'s>>,
    date: &HttpDate,
) -> Body<'s> {
    let media_type = [asset.media_type, media::parameter(asset.media_type)];
    match (&asset.content, opened) {
        (Content::Held(held), _) => {
            if status == Status::Ok {
                out.extend_from_slice(held.head());
            } else {
                let length = held.body().len() as u64;
                Representation { media_type, etag: None, modified: None, length }.head(out, status);
            }
            Body::Held(held.body())
        }
        (Content::Large(_), Some(opened)) => {
            let modified = opened.modified(asset, date.second());
            let Opened { source, facts, .. } = opened;
            let length = facts.size;
            Representation { media_type, etag: None, modified, length }.head(out, status);
            // A file of no bytes has nothing to send by sendfile.
            if length == 0 { Body::Empty } else { Body::File(FileBody { source, facts, at: 0 }) }
        }
        (Content::Large(_), None) => unsettled(out),
    }
}

fn unsettled<'s>(out: &mut Vec<u8>) -> Body<'s> {
    debug_assert!(false, "a file that nobody opened");
    error(out, Status::InternalServerError)
}

/// 304 carries what a cache needs to go on with its copy (RFC 9110 §15.4.5).
fn unchanged<'s>(out: &mut Vec<u8>, validators: Validators) -> Body<'s> {
    Head::start(out, Status::NotModified)
        .validators(validators.etag, validators.modified)
        .field("Cache-Control", &["no-cache"]);
    Body::Empty
}

fn moved<'s>(out: &mut Vec<u8>, location: &str) -> Body<'s> {
    Head::start(out, Status::MovedPermanently)
        .field("Location", &[location])
        .field("Cache-Control", &["no-cache"])
        .length(0);
    Body::Empty
}

fn error<'s>(out: &mut Vec<u8>, status: Status) -> Body<'s> {
    let page = status.page().as_bytes();
    let length = page.len() as u64;
    let head =
        Representation { media_type: PAGE, etag: None, modified: None, length }.head(out, status);
    match status {
        Status::MethodNotAllowed => drop(head.field("Allow", &[METHODS])),
        Status::ServiceUnavailable => drop(head.field("Retry-After", &["1"])),
        _ => {}
    }
    Body::Held(page)
}
