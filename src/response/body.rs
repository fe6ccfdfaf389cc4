//! A body on its way: what is left of it, and where that is.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::rc::Rc;

use crate::site::{Extent, FileStat, View};

/// Longest part of a file that is sent before other connections have their turn, in bytes.
pub const SLICE_MAX: u64 = 512 * 1024;
/// Longest body that is copied from the arena, in bytes: for a longer one sendfile(2) costs less,
/// which has the socket refer to the arena's pages.
pub const COPY_MAX: u64 = 64 * 1024;

/// What a response wants to be done with the socket.
#[derive(Debug)]
pub enum Outgoing<'r> {
    /// Bytes from memory; with more to follow, or not.
    Bytes([IoSlice<'r>; 2], Follows),
    /// Bytes of the arena, to be sent without a copy where that can be.
    Arena(Extent, Follows),
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
    pub unless_changed_from: Option<&'r FileStat>,
}

/// An open file of the site, and what it was then.
#[derive(Clone, Debug)]
pub struct Opened {
    /// To be read from by offset: other responses share it.
    pub file: Rc<OwnedFd>,
    /// What it is now; that it is still the compiled version is not certain.
    pub stat: FileStat,
}

#[derive(Debug)]
pub(super) enum Body {
    Empty,
    Static(&'static [u8]),
    /// In the arena.
    Memory(Extent),
    Made(Vec<u8>),
    File(FileBody),
    /// Apart, since it is large and rare.
    Several(Box<Several>),
}

/// A file, or what is left of the part of it that was asked for.
#[derive(Debug)]
pub(super) struct FileBody {
    opened: Opened,
    left: Range<u64>,
}

/// Several parts of one origin, each behind a text of its own.
#[derive(Debug)]
pub(super) struct Several {
    origin: Origin,
    /// What is left; the last piece is the closing text with nothing behind it.
    pieces: VecDeque<Piece>,
}

/// Where the parts come from.
#[derive(Debug)]
pub(super) enum Origin {
    Memory(Extent),
    File(Opened),
}

/// A text, and the part that it announces.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) text: Vec<u8>,
    pub(super) part: Range<u64>,
}

impl Body {
    /// A part of an origin, or all of it.
    pub(super) fn part(origin: Origin, part: Range<u64>) -> Self {
        match origin {
            // sendfile has nothing to send of no bytes.
            _ if part.is_empty() => Self::Empty,
            Origin::Memory(body) => Self::Memory(within(body, &part)),
            Origin::File(opened) => Self::File(FileBody { opened, left: part }),
        }
    }

    /// Several parts.
    pub(super) fn several(origin: Origin, pieces: VecDeque<Piece>) -> Self {
        Self::Several(Box::new(Several { origin, pieces }))
    }

    /// What it needs of the arena.
    pub(super) fn extent(&self) -> Option<Extent> {
        match self {
            Self::Memory(extent) => Some(*extent),
            Self::Several(several) => match several.origin {
                Origin::Memory(extent) => Some(extent),
                Origin::File(_) => None,
            },
            Self::Empty | Self::Static(_) | Self::Made(_) | Self::File(_) => None,
        }
    }
}

impl FileBody {
    pub(super) fn outgoing(&self) -> Outgoing<'_> {
        Outgoing::File(slice(&self.opened, &self.left, true))
    }

    /// Takes note of bytes that were sent; whether those were the last ones.
    pub(super) fn sent(&mut self, len: usize) -> bool {
        self.left.start += len as u64;
        self.left.is_empty()
    }
}

impl Several {
    /// What is to be sent next; `follows` is what comes behind all of it.
    pub(super) fn outgoing<'r>(&'r self, follows: Follows, view: View<'r>) -> Outgoing<'r> {
        let Some(Piece { text, part }) = self.pieces.front() else {
            return Outgoing::Bytes([IoSlice::new(&[]), IoSlice::new(&[])], follows);
        };
        let follows = if self.pieces.len() > 1 { Follows::More } else { follows };
        match &self.origin {
            Origin::Memory(body) => {
                let part = IoSlice::new(bytes(view, within(*body, part)));
                Outgoing::Bytes([IoSlice::new(text), part], follows)
            }
            Origin::File(opened) if text.is_empty() => {
                // Behind the last part there is only the closing text.
                Outgoing::File(slice(opened, part, self.pieces.len() <= 2))
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

fn slice<'r>(opened: &'r Opened, left: &Range<u64>, is_last_part: bool) -> Slice<'r> {
    let len = (left.end - left.start).min(SLICE_MAX);
    let is_last = is_last_part && left.start + len == left.end;
    let unless_changed_from = is_last.then_some(&opened.stat);
    Slice { file: opened.file.as_fd(), at: left.start, len, unless_changed_from }
}

/// A part of a body in memory; nothing of what is not there.
pub(super) fn within(body: Extent, part: &Range<u64>) -> Extent {
    let (start, end) = (part.start.min(body.len), part.end.min(body.len));
    Extent { offset: body.offset + start, len: end.saturating_sub(start) }
}

/// The bytes of an extent; none if it is not there, which the connection then ends by.
pub(super) fn bytes(view: View<'_>, extent: Extent) -> &[u8] {
    let bytes = view.bytes(extent.offset, extent.len);
    debug_assert!(bytes.is_some(), "{extent:?} is outside of the arena");
    bytes.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces() -> VecDeque<Piece> {
        let piece = |text: &[u8], part| Piece { text: text.to_vec(), part };
        [piece(b"first:", 1..3), piece(b"second:", 5..9), piece(b"end", 0..0)].into()
    }

    /// All that comes out, `step` bytes at a time; what is of a file stands in brackets.
    fn drain(mut body: Several, step: usize) -> (String, Vec<bool>) {
        let (mut out, mut checks) = (String::new(), Vec::new());
        let view = View::of(b"x0123456789");
        loop {
            let len = match body.outgoing(Follows::Nothing, view) {
                Outgoing::Arena(..) => unreachable!("parts are copied"),
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
    fn parts_of_a_body_in_memory_follow_their_texts() {
        for step in 1..30 {
            let origin = Origin::Memory(Extent { offset: 1, len: 10 });
            let (out, _) = drain(Several { origin, pieces: pieces() }, step);
            assert_eq!(out, "first:12second:5678end", "{step}");
        }
    }

    #[test]
    fn only_the_last_part_of_a_file_is_compared_with_what_it_was() {
        let file = tempfile::tempfile().unwrap();
        let (_, stat) = FileStat::of(&file).unwrap();
        let origin = Origin::File(Opened { file: Rc::new(file.into()), stat });
        let (out, checks) = drain(Several { origin, pieces: pieces() }, 4);
        assert_eq!(out, "first:[1+2]second:[5+4]end");
        assert_eq!(checks, [false, true]);
    }
}
