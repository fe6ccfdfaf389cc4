//! One connection, without its socket and without a clock: it is told what happened and at what
//! time, and says what it wants next.
//!
//! ```text
//!            bytes                    head read            body dropped
//! Waiting ──────────► Waiting(begun) ───────────► Dropping ────────────► Opening
//!    ▲                     │ refused                 │ refused              │ opened (or held)
//!    │                     ▼                         ▼                      ▼
//!    └──── persists ◄── Writing ◄───────────────────────────────────────────┘
//!                          │ closes
//!                          ├──────────► Finishing ──────► Lingering ──────► Closed
//!                          └── nothing unread can be on its way ──────────► Closed
//! ```
//!
//! An idle connection holds no memory but this struct: bytes are parsed where they were read, and
//! only what cannot be answered yet is kept.

mod kept;

use std::io;
use std::mem;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::answer::{Plan, Reply, answer};
use crate::http::date::HttpDate;
use crate::http::fields::Slots;
use crate::http::framing::Discard;
use crate::http::limits::Limits;
use crate::http::request::{Expectation, Persistence, Reject, Request};
use crate::http::status::Status;
use crate::response::{Follows, Outgoing, Response, file_of};
use crate::site::{Large, Opened, Site};

use kept::Kept;

/// How long an idle connection is given for a last request once the server is draining.
const LAST_REQUEST: Duration = Duration::from_secs(1);
/// How long a connection lingers once the server is draining.
const LAST_LINGER: Duration = Duration::from_millis(100);

/// What holds for all connections during one turn of the loop.
#[derive(Debug)]
pub struct Turn<'t, 's> {
    /// What there is to serve.
    pub site: &'s Site,
    /// What a connection may cost.
    pub limits: &'t Limits,
    /// The time of this turn.
    pub now: Instant,
    /// The same as a date.
    pub date: &'t HttpDate,
    /// Whether the server is on its way out.
    pub draining: bool,
    /// A buffer for heads, lent from answer to answer so that none has to be allocated.
    pub spare: &'t mut Vec<u8>,
}

/// A connection.
#[derive(Debug)]
pub struct Conn<'s> {
    state: State<'s>,
    deadline: Instant,
    /// Part of a head, or requests behind the one that is being answered.
    kept: Kept,
}

#[derive(Debug)]
enum State<'s> {
    /// For a request; `begun` once its first byte is there.
    Waiting {
        begun: bool,
    },
    /// A request's body, before it is answered.
    Dropping(Plan<'s>, Discard),
    /// The file that the answer is about.
    Opening(Plan<'s>, After),
    /// An answer.
    Writing(Response<'s>, After),
    /// The end of our side, to be said to the socket.
    Finishing,
    /// Dropping what still comes in, so that no reset destroys the last answer on its way
    /// (RFC 9112 §9.6).
    Lingering,
    Closed,
}

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// The next request.
    Keep,
    /// The end, slowly: the client may be sending still.
    Linger,
    /// The end, at once: the client asked for it and has nothing more to say.
    Close,
}

impl After {
    /// What follows the answer to a request that was read to its end.
    fn request(plan: &Plan<'_>, turn: &Turn<'_, '_>) -> Self {
        match plan.persistence {
            Persistence::Close => Self::Close,
            _ if turn.draining => Self::Linger,
            Persistence::Keep | Persistence::KeepSaid => Self::Keep,
        }
    }

    fn follows(self) -> Follows {
        if self == Self::Keep { Follows::Nothing } else { Follows::More }
    }
}

/// What a connection wants to be done.
#[derive(Debug)]
pub enum Want<'c, 's> {
    /// Read, then call [`Conn::received`], or [`Conn::ended`] at the end.
    Read,
    /// Open the file, then call [`Conn::opened`].
    Open(&'s Large),
    /// Send, then call [`Conn::sent`].
    Send(Outgoing<'c>),
    /// Shut down the sending side, then call [`Conn::finished`].
    Finish,
    /// Close the socket and forget the connection.
    Close,
}

impl<'s> Conn<'s> {
    /// A connection that was just accepted. Its first request has `head_timeout` to arrive.
    pub fn new(turn: &Turn<'_, 's>) -> Self {
        let deadline = turn.now + turn.limits.head_timeout;
        let state = State::Waiting { begun: false };
        Self { state, deadline, kept: Kept::default() }
    }

    /// What to do next.
    pub fn want(&self) -> Want<'_, 's> {
        match &self.state {
            State::Waiting { .. } | State::Dropping(..) | State::Lingering => Want::Read,
            State::Opening(plan, _) => file_of(plan).map_or(Want::Close, Want::Open),
            State::Writing(response, after) => Want::Send(response.outgoing(after.follows())),
            State::Finishing => Want::Finish,
            State::Closed => Want::Close,
        }
    }

    /// When [`Conn::expired`] is due, if nothing else happens until then.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes bytes that were read.
    pub fn received(&mut self, input: &[u8], turn: &mut Turn<'_, 's>) {
        let mut kept = mem::take(&mut self.kept);
        if kept.is_empty() {
            let used = self.advance(input, turn);
            kept.push(&input[used..]);
        } else {
            // Only a line's end can complete the fields: without one they are not read again from
            // their start for each byte that a slow client sends.
            let is_in_fields = kept.bytes().contains(&b'\n');
            kept.push(input);
            let is_full = kept.bytes().len() >= turn.limits.head_max;
            if !is_in_fields || is_full || input.contains(&b'\n') {
                let used = self.advance(kept.bytes(), turn);
                kept.consume(used);
            }
        }
        self.keep(kept);
    }

    /// Takes note that the client will send no more.
    pub fn ended(&mut self) {
        self.state = State::Closed;
    }

    /// Takes the file that was asked for.
    pub fn opened(&mut self, outcome: io::Result<Opened<'s>>, turn: &mut Turn<'_, 's>) {
        let State::Opening(plan, after) = self.take_state() else { return };
        match outcome {
            Ok(opened) => self.write(plan, Some(opened), after, turn),
            Err(error) => {
                let reply = Reply::Error(status_of(&error));
                self.write(Plan { reply, ..plan }, None, after, turn);
            }
        }
    }

    /// Takes note of bytes that were sent.
    pub fn sent(&mut self, len: usize, turn: &mut Turn<'_, 's>) {
        let State::Writing(response, after) = &mut self.state else { return };
        self.deadline = turn.now + turn.limits.write_timeout;
        if !response.sent(len) {
            return;
        }
        let after = *after;
        if let State::Writing(response, _) = self.take_state() {
            *turn.spare = response.into_buffer();
        }
        match after {
            After::Keep => {
                self.state = State::Waiting { begun: false };
                self.deadline = turn.now + turn.limits.idle_timeout;
                if turn.draining {
                    self.drain(turn.now);
                }
                let mut kept = mem::take(&mut self.kept);
                let used = self.advance(kept.bytes(), turn);
                kept.consume(used);
                self.keep(kept);
            }
            After::Linger => self.state = State::Finishing,
            After::Close => {}
        }
    }

    /// Takes note that the sending side is shut down.
    pub fn finished(&mut self, turn: &Turn<'_, 's>) {
        self.state = State::Lingering;
        self.deadline = turn.now + turn.limits.body_timeout;
        if turn.draining {
            self.drain(turn.now);
        }
    }

    /// Takes note that the deadline has passed.
    pub fn expired(&mut self, turn: &mut Turn<'_, 's>) {
        match self.take_state() {
            State::Waiting { begun: true } | State::Dropping(..) => {
                self.refuse(Status::RequestTimeout, turn);
            }
            _ => {}
        }
    }

    /// Takes note that the server is draining: what is idle, or only lingers, has a moment left,
    /// and every answer from now on is its connection's last.
    pub fn drain(&mut self, now: Instant) {
        let left = match self.state {
            State::Waiting { begun: false } => LAST_REQUEST,
            State::Lingering => LAST_LINGER,
            _ => return,
        };
        self.deadline = self.deadline.min(now + left);
    }

    /// The state, leaving the connection closed unless another one is set.
    fn take_state(&mut self) -> State<'s> {
        mem::replace(&mut self.state, State::Closed)
    }

    /// Keeps bytes for later, unless there is no later: what comes behind a connection's last
    /// request is waited out and not answered (RFC 9112 §9.6).
    fn keep(&mut self, kept: Kept) {
        if kept.is_empty() {
            return;
        }
        match &mut self.state {
            State::Waiting { .. }
            | State::Opening(_, After::Keep)
            | State::Writing(_, After::Keep) => self.kept = kept,
            State::Opening(_, after) | State::Writing(_, after) => *after = After::Linger,
            State::Dropping(..) | State::Finishing | State::Lingering | State::Closed => {}
        }
    }

    /// Reads on, until an answer is due or the bytes end; how many bytes were used.
    fn advance(&mut self, bytes: &[u8], turn: &mut Turn<'_, 's>) -> usize {
        let mut used = 0;
        while used < bytes.len() {
            let outcome = match &self.state {
                State::Waiting { .. } => self.read_head(&bytes[used..], turn),
                State::Dropping(..) => self.drop_body(&bytes[used..], turn),
                _ => break,
            };
            match outcome {
                Ok(0) => break,
                Ok(len) => used += len,
                Err(reject) => {
                    self.refuse(reject.status(), turn);
                    return bytes.len();
                }
            }
        }
        used
    }

    fn read_head(&mut self, bytes: &[u8], turn: &mut Turn<'_, 's>) -> Result<usize, Reject> {
        let mut slots = Slots::new();
        let Some((request, len)) = Request::parse(bytes, &mut slots, turn.limits)? else {
            if matches!(self.state, State::Waiting { begun: false }) {
                self.state = State::Waiting { begun: true };
                self.deadline = turn.now + turn.limits.head_timeout;
            }
            return Ok(0);
        };
        let plan = answer(turn.site, &request);
        if request.expectation == Expectation::Continue {
            // The final answer says all, and whether the body still comes is the client's choice:
            // where the next request would begin cannot be known.
            self.respond(plan, After::Linger, turn);
            return Ok(len);
        }
        let discard = Discard::new(request.framing, turn.limits.body_max)?;
        if discard.is_done() {
            let after = After::request(&plan, turn);
            self.respond(plan, after, turn);
            return Ok(len);
        }
        self.deadline = turn.now + turn.limits.body_timeout;
        self.state = State::Dropping(plan, discard);
        self.drop_body(&bytes[len..], turn).map(|body_len| len + body_len)
    }

    fn drop_body(&mut self, bytes: &[u8], turn: &mut Turn<'_, 's>) -> Result<usize, Reject> {
        let State::Dropping(_, discard) = &mut self.state else { return Ok(0) };
        let len = discard.consume(bytes)?;
        if discard.is_done()
            && let State::Dropping(plan, _) = self.take_state()
        {
            let after = After::request(&plan, turn);
            self.respond(plan, after, turn);
        }
        Ok(len)
    }

    /// Answers what cannot be understood or waited for, and ends the connection.
    fn refuse(&mut self, status: Status, turn: &mut Turn<'_, 's>) {
        self.kept = Kept::default();
        self.respond(Plan::refusal(status), After::Linger, turn);
    }

    fn respond(&mut self, plan: Plan<'s>, after: After, turn: &mut Turn<'_, 's>) {
        if file_of(&plan).is_some() {
            self.state = State::Opening(plan, after);
        } else {
            self.write(plan, None, after, turn);
        }
    }

    fn write(
        &mut self,
        plan: Plan<'s>,
        opened: Option<Opened<'s>>,
        after: After,
        turn: &mut Turn<'_, 's>,
    ) {
        let persistence = if after == After::Keep { plan.persistence } else { Persistence::Close };
        let head = mem::take(turn.spare);
        let response = Response::new(plan, opened, turn.date, persistence, head);
        self.deadline = turn.now + turn.limits.write_timeout;
        self.state = State::Writing(response, after);
    }
}

/// What to say of a file that was compiled and cannot be opened now.
fn status_of(error: &io::Error) -> Status {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Status::NotFound,
        io::ErrorKind::PermissionDenied => Status::Forbidden,
        // Others may soon be closed.
        _ if is_exhaustion(error) => Status::ServiceUnavailable,
        _ => Status::InternalServerError,
    }
}

/// Whether no descriptor was left.
fn is_exhaustion(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE))
}
