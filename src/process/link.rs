//! A connection and its socket: does what the connection wants, as long as the socket lets it.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::time::Instant;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use nix::libc;
use nix::sys::sendfile::sendfile64;
use nix::sys::socket::{MsgFlags, sendmsg, setsockopt, sockopt};

use crate::conn::{Conn, Turn, Want};
use crate::faults::{self, Race};
use crate::response::{Follows, Outgoing, Slice};
use crate::scoreboard::Ending;
use crate::site::{Extent, FileStat};
use crate::sys::queue::unacknowledged;

/// Most steps that a connection is taken on before others have their turn.
const STEPS_MAX: usize = 64;

/// A socket and the connection on it.
pub(super) struct Link {
    stream: TcpStream,
    conn: Conn,
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
    /// The body of which the socket may hold pages of the arena by reference: the last one that
    /// sendfile(2) has queued a part of.
    queued: Option<Extent>,
    /// Whether it stands among the unfinished, so that it need not stand there twice.
    pub(super) is_unfinished: bool,
    /// The pages of the arena that are pinned for it.
    pub(super) pinned: Option<Extent>,
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

impl Link {
    /// A link that was just accepted: its bytes are looked at unasked.
    pub(super) fn new(stream: TcpStream, conn: Conn) -> Self {
        Self {
            stream,
            conn,
            readable: true,
            writable: true,
            ended: false,
            untaken: None,
            queued: None,
            is_unfinished: false,
            pinned: None,
        }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(super) fn conn(&mut self) -> &mut Conn {
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

    /// Does what the connection wants. Bodies of the arena are sent from `arena`, if that can be.
    pub(super) fn pump(
        &mut self,
        input: &mut [u8],
        arena: Option<BorrowedFd<'_>>,
        turn: &mut Turn<'_>,
    ) -> Progress {
        for _ in 0..STEPS_MAX {
            let outcome = match self.conn.want(turn.view) {
                Want::Close => return self.close(Ending::Broken, turn),
                Want::Wait => return Progress::Blocked,
                Want::Read if !self.readable => return Progress::Blocked,
                Want::Send(_) if !self.writable => return Progress::Blocked,
                Want::Read => self.read(input, turn),
                Want::Send(Outgoing::File(slice)) => {
                    turn.subject.go_offline();
                    let sent = send_slice(&self.stream, &slice);
                    let outcome = self.wrote(sent, turn);
                    if outcome.is_ok() && matches!(self.conn.want(turn.view), Want::Send(_)) {
                        return Progress::Unfinished;
                    }
                    outcome
                }
                Want::Send(Outgoing::Arena(extent, follows)) => {
                    let sent = match arena {
                        Some(arena) => {
                            self.queued = self.conn.unsent();
                            send_part(&self.stream, arena, extent.offset, extent.len)
                        }
                        None => {
                            let bytes = turn.view.bytes(extent.offset, extent.len);
                            let bytes = IoSlice::new(bytes.unwrap_or_default());
                            send_bytes(&self.stream, &[bytes, IoSlice::new(&[])], follows)
                        }
                    };
                    let outcome = self.wrote(sent, turn);
                    if outcome.is_ok() && matches!(self.conn.want(turn.view), Want::Send(_)) {
                        return Progress::Unfinished;
                    }
                    outcome
                }
                Want::Send(Outgoing::Bytes(bytes, follows)) => {
                    let queued = self.queued.take();
                    let is_queued = || queued.is_some() && self.has_untaken();
                    faults::note(Race::UnpinnedInSocket, is_queued);
                    let sent = send_bytes(&self.stream, &bytes, follows);
                    self.wrote(sent, turn)
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

    /// What it needs of the arena: the body that it sends, else the one whose end the socket holds.
    /// Of a response before that one the socket may hold pages too. They keep their bytes when they
    /// are punched, and are no more than a send buffer; a pin over both bodies would hold back all
    /// that lies between them.
    pub(super) fn needs(&self) -> Option<Extent> {
        self.conn.unsent().or(self.queued)
    }

    /// Forgets what the socket has held, if the client has acknowledged all of it.
    pub(super) fn forget_acknowledged(&mut self) {
        self.queued = self.queued.filter(|_| self.has_untaken());
    }

    /// Ends the connection with a reset, so that the socket keeps no pages.
    pub(super) fn abort(&mut self, turn: &mut Turn<'_>) -> Progress {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let _ = setsockopt(&self.stream, sockopt::Linger, &linger);
        self.close(Ending::Old, turn)
    }

    /// Whether the client takes what it was sent: then its time begins anew. A socket holds
    /// megabytes, and has room again only when a good part of that is gone; a client that reads
    /// slowly would look like one that does not read.
    pub(super) fn is_taken(&mut self, turn: &mut Turn<'_>) -> bool {
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
    pub(super) fn close(&mut self, reason: Ending, turn: &mut Turn<'_>) -> Progress {
        self.conn.over(reason, turn);
        Progress::Closed
    }

    fn read(&mut self, input: &mut [u8], turn: &mut Turn<'_>) -> io::Result<()> {
        match (&self.stream).read(input) {
            Ok(0) => self.conn.ended(),
            Ok(len) => {
                // A short read has emptied the socket.
                self.readable = len == input.len() || self.ended;
                self.conn.received(&input[..len], turn);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn wrote(&mut self, sent: io::Result<usize>, turn: &mut Turn<'_>) -> io::Result<()> {
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
        && !FileStat::of(slice.file)?.1.is_same_version(expected)
    {
        return Err(io::Error::other("the file was changed while it was sent"));
    }
    send_part(stream, slice.file, slice.at, slice.len)
}

fn send_part(stream: &TcpStream, file: impl AsFd, at: u64, len: u64) -> io::Result<usize> {
    let mut at = i64::try_from(at).map_err(io::Error::other)?;
    let len = usize::try_from(len).map_err(io::Error::other)?;
    Ok(sendfile64(stream, file, Some(&mut at), len)?)
}
