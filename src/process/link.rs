//! A connection and its socket: does what the connection wants, as long as the socket lets it.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::AsRawFd as _;
use std::time::Instant;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use nix::libc;
use nix::sys::sendfile::sendfile64;
use nix::sys::socket::{MsgFlags, sendmsg};

use crate::board::Ending;
use crate::conn::{Conn, Subject, Turn, Want};
use crate::response::{Follows, Outgoing, Slice};
use crate::site::Facts;
use crate::sys::queue::unacknowledged;

/// Most steps that a connection is taken on before others have their turn.
const STEPS_MAX: usize = 64;

/// A socket and the connection on it.
pub(super) struct Link<'s> {
    stream: TcpStream,
    conn: Conn<'s>,
    /// Whether the socket may have bytes for us. What arrives later is announced by an event.
    readable: bool,
    /// Whether the socket may have room for ours.
    writable: bool,
    /// Whether the client has said that it sends no more: then the end is there to be read, and
    /// no event announces it a second time.
    ended: bool,
    /// How much the client had not taken of what the socket holds, in bytes, when that was last
    /// looked at; none if it was not since something was sent.
    untaken: Option<usize>,
    /// Whether it stands among the unfinished, so that it need not stand there twice.
    pub(super) is_unfinished: bool,
}

/// How far a link was taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// As far as the socket let it; an event or a deadline is next.
    Blocked,
    /// As far as its turn went; there is more to do.
    Unfinished,
    /// To its end.
    Closed,
}

/// What has become of bytes that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    Taken,
    /// They are another generation's to answer: no more is read here.
    Kept,
}

impl<'s> Link<'s> {
    /// A link that was just accepted, or handed over: its bytes are looked at unasked.
    pub(super) fn new(stream: TcpStream, conn: Conn<'s>) -> Self {
        Self {
            stream,
            conn,
            readable: true,
            writable: true,
            ended: false,
            untaken: None,
            is_unfinished: false,
        }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(super) fn conn(&mut self) -> &mut Conn<'s> {
        &mut self.conn
    }

    /// Has the poll say what the socket is ready for, once for each change.
    pub(super) fn watch(&mut self, poll: &Registry, token: Token) -> io::Result<()> {
        poll.register(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Takes note of what the socket is ready for.
    pub(super) fn ready(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_error();
        self.writable |= event.is_writable() || event.is_error();
        self.ended |= event.is_read_closed() || event.is_error();
    }

    /// Has the next pump look for bytes that no event has announced yet.
    pub(super) fn look_again(&mut self) {
        self.readable = true;
    }

    /// Does what the connection wants.
    pub(super) fn pump(&mut self, input: &mut [u8], turn: &mut Turn<'_, 's>) -> Progress {
        for _ in 0..STEPS_MAX {
            let outcome = match self.conn.want() {
                Want::Close => return self.close(Ending::Broken, turn),
                Want::Wait => return Progress::Blocked,
                Want::Read if !self.readable => return Progress::Blocked,
                // What it has is another generation's to answer, before anything else is read.
                Want::Read if turn.is_superseded() && self.conn.has_to_carry() => {
                    return Progress::Blocked;
                }
                Want::Send(_) if !self.writable => return Progress::Blocked,
                Want::Read => match self.read(input, turn) {
                    Ok(Read::Kept) => return Progress::Blocked,
                    outcome => outcome.map(drop),
                },
                Want::Send(Outgoing::File(slice)) => {
                    let sent = send_slice(&self.stream, &slice);
                    let outcome = self.wrote(sent, turn);
                    if outcome.is_ok() && matches!(self.conn.want(), Want::Send(_)) {
                        return Progress::Unfinished;
                    }
                    outcome
                }
                Want::Send(Outgoing::Bytes(bytes, follows)) => {
                    let sent = send_bytes(&self.stream, &bytes, follows);
                    self.wrote(sent, turn)
                }
                Want::Open(large) => {
                    let Subject::Site(site) = turn.subject else {
                        return self.close(Ending::Broken, turn);
                    };
                    self.conn.opened(site.open(large), turn);
                    Ok(())
                }
                Want::Finish => {
                    let finished = self.stream.shutdown(Shutdown::Write);
                    self.conn.finished(turn);
                    finished
                }
            };
            if outcome.is_err() {
                return self.close(Ending::Broken, turn);
            }
        }
        Progress::Unfinished
    }

    /// Whether the client takes what it was sent: then its time begins anew. A socket holds
    /// megabytes, and has room again only when a good part of that is gone; a client that reads
    /// slowly would look like one that does not read.
    pub(super) fn is_taken(&mut self, turn: &mut Turn<'_, 's>) -> bool {
        let Ok(untaken) = unacknowledged(&self.stream) else { return false };
        let is_less = self.untaken.is_none_or(|before| untaken < before);
        self.untaken = Some(untaken);
        untaken > 0 && is_less && self.conn.taken(turn)
    }

    /// Whether the client has yet to take something of its last answer.
    pub(super) fn has_untaken(&self) -> bool {
        unacknowledged(&self.stream).is_ok_and(|untaken| untaken > 0)
    }

    /// Takes note of the connection's end, for a reason of its own or else for this one.
    pub(super) fn close(&mut self, reason: Ending, turn: &mut Turn<'_, 's>) -> Progress {
        self.conn.over(reason, turn);
        Progress::Closed
    }

    fn read(&mut self, input: &mut [u8], turn: &mut Turn<'_, 's>) -> io::Result<Read> {
        match (&self.stream).read(input) {
            Ok(0) => self.conn.ended(),
            Ok(len) => {
                // A short read has emptied the socket.
                self.readable = len == input.len() || self.ended;
                if turn.is_superseded() && self.conn.keep(&input[..len]) {
                    return Ok(Read::Kept);
                }
                self.conn.received(&input[..len], turn);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(Read::Taken)
    }

    fn wrote(&mut self, sent: io::Result<usize>, turn: &mut Turn<'_, 's>) -> io::Result<()> {
        match sent {
            // Nothing is left of a file that was longer when its head was sent.
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(len) => {
                self.untaken = None;
                self.conn.sent(len, Instant::now(), turn);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.writable = false;
                self.untaken = unacknowledged(&self.stream).ok();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn send_bytes(
    mut stream: &TcpStream,
    bytes: &[IoSlice<'_>; 2],
    follows: Follows,
) -> io::Result<usize> {
    match follows {
        Follows::Nothing => stream.write_vectored(bytes),
        Follows::More => {
            // nix has no name for MSG_MORE.
            let flags = MsgFlags::from_bits_retain(libc::MSG_MORE | libc::MSG_NOSIGNAL);
            Ok(sendmsg::<()>(stream.as_raw_fd(), bytes, &[], flags, None)?)
        }
    }
}

fn send_slice(stream: &TcpStream, slice: &Slice<'_>) -> io::Result<usize> {
    if let Some(expected) = slice.unless_changed_from
        && !Facts::of(slice.file)?.1.is_same_state(expected)
    {
        return Err(io::Error::other("the file was changed while it was sent"));
    }
    let mut at = i64::try_from(slice.at).map_err(io::Error::other)?;
    let len = usize::try_from(slice.len).map_err(io::Error::other)?;
    Ok(sendfile64(stream, slice.file, Some(&mut at), len)?)
}
