//! A body on its way: what is left of it, and where that is.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;
use std::os::fd::{AsFd as _, BorrowedFd};

use crate::site::{Facts, Source};

/// Longest part of a file that is sent before other connections have their turn, in bytes.
pub const SLICE_MAX: u64 = 512 * 1024;

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

#[derive(Debug)]
pub(super) enum Body<'s> {
    Empty,
    Held(&'s [u8]),
    Made(Vec<u8>),
    File(FileBody<'s>),
    /// Apart, since it is large and rare.
    Several(Box<Several<'s>>),
}

/// A file, or what is left of the part of it that was asked for.
#[derive(Debug)]
pub(super) struct FileBody<'s> {
    source: Source<'s>,
    facts: Facts,
    left: Range<u64>,
}

/// Several parts of one origin, each behind a text of its own.
#[derive(Debug)]
pub(super) struct Several<'s> {
    origin: Origin<'s>,
    /// What is left; the last piece is the closing text with nothing behind it.
    pieces: VecDeque<Piece>,
}

/// Where the parts come from.
#[derive(Debug)]
pub(super) enum Origin<'s> {
    Held(&'s [u8]),
    File(Source<'s>, Facts),
}

/// A text, and the part that it announces.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) text: Vec<u8>,
    pub(super) part: Range<u64>,
}

impl<'s> Body<'s> {
    /// A part of an origin, or all of it.
    pub(super) fn part(origin: Origin<'s>, part: Range<u64>) -> Self {
        match origin {
            // sendfile has nothing to send of no bytes.
            _ if part.is_empty() => Self::Empty,
            Origin::Held(body) => Self::Held(within(body, &part)),
            Origin::File(source, facts) => Self::File(FileBody { source, facts, left: part }),
        }
    }

    /// Several parts.
    pub(super) fn several(origin: Origin<'s>, pieces: VecDeque<Piece>) -> Self {
        Self::Several(Box::new(Several { origin, pieces }))
    }
}

impl FileBody<'_> {
    pub(super) fn outgoing(&self) -> Outgoing<'_> {
        Outgoing::File(slice(&self.source, &self.facts, &self.left, true))
    }

    /// Takes note of bytes that were sent; whether those were the last ones.
    pub(super) fn sent(&mut self, len: usize) -> bool {
        self.left.start += len as u64;
        self.left.is_empty()
    }
}

impl Several<'_> {
    /// What is to be sent next; `follows` is what comes behind all of it.
    pub(super) fn outgoing(&self, follows: Follows) -> Outgoing<'_> {
        let Some(Piece { text, part }) = self.pieces.front() else {
            return Outgoing::Bytes([IoSlice::new(&[]), IoSlice::new(&[])], follows);
        };
        let follows = if self.pieces.len() > 1 { Follows::More } else { follows };
        match &self.origin {
            Origin::Held(body) => {
                let part = IoSlice::new(within(body, part));
                Outgoing::Bytes([IoSlice::new(text), part], follows)
            }
            Origin::File(source, facts) if text.is_empty() => {
                // Behind the last part there is only the closing text.
                Outgoing::File(slice(source, facts, part, self.pieces.len() <= 2))
            }
            Origin::File(..) => Outgoing::Bytes([IoSlice::new(text), IoSlice::new(&[])], follows),
        }
    }

    /// Takes note of bytes that were sent; whether those were the last ones.
    pub(super) fn sent(&mut self, len: usize) -> bool {
        if let Some(Piece { text, part }) = self.pieces.front_mut() {
            let of_text = len.min(text.len());
            text.drain(..of_text);
            part.start += (len - of_text) as u64;
            if text.is_empty() && part.is_empty() {
                self.pieces.pop_front();
            }
        }
        self.pieces.is_empty()
    }
}

fn slice<'r>(
    source: &'r Source<'_>,
    facts: &'r Facts,
    left: &Range<u64>,
    is_last_part: bool,
) -> Slice<'r> {
    let len = (left.end - left.start).min(SLICE_MAX);
    let is_last = is_last_part && left.start + len == left.end;
    let unless_changed_from = is_last.then_some(facts);
    Slice { file: source.as_fd(), at: left.start, len, unless_changed_from }
}

/// A part of a body in memory; nothing of what is not there.
fn within<'b>(body: &'b [u8], part: &Range<u64>) -> &'b [u8] {
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    body.get(index(part.start)..index(part.end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces() -> VecDeque<Piece> {
        let piece = |text: &[u8], part| Piece { text: text.to_vec(), part };
        [piece(b"first:", 1..3), piece(b"second:", 5..9), piece(b"end", 0..0)].into()
    }

    /// All that comes out, `step` bytes at a time; what is of a file stands in brackets.
    fn drain(mut body: Several<'_>, step: usize) -> (String, Vec<bool>) {
        let (mut out, mut checks) = (String::new(), Vec::new());
        loop {
            let len = match body.outgoing(Follows::Nothing) {
                Outgoing::Bytes(slices, _) => {
                    let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
                    let len = step.min(bytes.len());
                    out.push_str(std::str::from_utf8(&bytes[..len]).unwrap());
                    len
                }
                Outgoing::File(Slice { at, len, unless_changed_from, .. }) => {
                    out.push_str(&format!("[{at}+{len}]"));
                    checks.push(unless_changed_from.is_some());
                    usize::try_from(len).unwrap()
                }
            };
            if body.sent(len) {
                return (out, checks);
            }
        }
    }

    #[test]
    fn parts_of_a_held_body_come_behind_their_texts() {
        for step in 1..30 {
            let origin = Origin::Held(b"0123456789");
            let (out, _) = drain(Several { origin, pieces: pieces() }, step);
            assert_eq!(out, "first:12second:5678end", "{step}");
        }
    }

    #[test]
    fn only_the_last_part_of_a_file_is_compared_with_what_it_was() {
        let file = tempfile::tempfile().unwrap();
        let (_, facts) = Facts::of(&file).unwrap();
        let origin = Origin::File(Source::Own(file), facts);
        let (out, checks) = drain(Several { origin, pieces: pieces() }, 4);
        assert_eq!(out, "first:[1+2]second:[5+4]end");
        assert_eq!(checks, [false, true]);
    }
}
