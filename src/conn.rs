//! One connection, without its socket and without a clock: it is told what happened and at what
//! time, and says what it wants next.
//!
//! ```text
//!            bytes                    head read            body dropped
//! Waiting ──────────► Waiting(Rest) ────────────► Dropping ────────────► Opening
//!    ▲                     │ refused                 │ refused              │ opened (or held)
//!    │                     ▼                         ▼                      ▼
//!    └──── persists ◄── Writing ◄───────────────────────────────────────────┘
//!                          │ closes
//!                          └──────────► Finishing ──────► Lingering ──────► Closed
//! ```
//!
//! An idle connection holds no memory but this struct: bytes are parsed where they were read, and
//! only what cannot be answered yet is kept.

mod handed;
mod kept;

use std::io;
use std::mem;
use std::time::{Duration, Instant};

use crate::answer::{Plan, answer};
use crate::board::{Counter, Row};
use crate::http::fields::Slots;
use crate::http::framing::{Discard, Framing};
use crate::http::head::Endings;
use crate::http::limits::Limits;
use crate::http::reject::Reject;
use crate::http::request::{Expectation, Persistence, Request, is_head_request};
use crate::http::status::Status;
use crate::response::{Follows, Outgoing, Response};
use crate::site::{Large, Opened, Site};

pub use handed::Handed;
use kept::Kept;

/// How long an idle connection is given for a last request once the server is draining.
const LAST_REQUEST: Duration = Duration::from_secs(1);
/// How long a new connection may say nothing before it counts as idle.
const GRACE: Duration = Duration::from_secs(1);
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
    /// The same as a date, and what else heads end with.
    pub endings: &'t Endings,
    /// What becomes of connections.
    pub phase: Phase,
    /// Where what was sent is counted.
    pub row: Row<'t>,
    /// A buffer for heads, lent from answer to answer so that none has to be allocated.
    pub spare: &'t mut Vec<u8>,
}

/// What becomes of the connections of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// They are kept for as long as their clients want, within the limits.
    Serving,
    /// Each is handed over to the generation that serves now, as soon as it has nothing to send.
    Retiring,
    /// Each answer is its connection's last, and idle connections have a moment for a last request:
    /// tine ends.
    Draining,
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
    Waiting(Awaited),
    /// A request's body, before it is answered.
    Dropping(Plan<'s>, Discard),
    /// The file that the answer is about.
    Opening(Plan<'s>),
    /// An answer.
    Writing(Response<'s>, Persistence),
    /// The end of our side, to be said to the socket.
    Finishing,
    /// Dropping what still comes in, so that no reset destroys the last answer on its way
    /// (RFC 9112 §9.6).
    Lingering,
    Closed,
}

/// What a waiting connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// Its first request, of which nothing has come yet.
    First,
    /// The rest of a request.
    Rest,
    /// Another request, of which nothing has come yet.
    Next,
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
        let state = State::Waiting(Awaited::First);
        Self { state, deadline, kept: Kept::default() }
    }

    /// A connection that was handed over. What it has brought is read by [`Conn::resume`].
    pub fn adopted(handed: Handed<'_>, turn: &Turn<'_, 's>) -> Self {
        let Handed { awaited, left, kept: bytes, .. } = handed;
        let mut kept = Kept::default();
        kept.push(bytes);
        Self { state: State::Waiting(awaited), deadline: turn.now + left, kept }
    }

    /// What is to be handed over of it; none while it has something to send, or is in the middle of
    /// a body.
    pub fn handed(&self, generation: u64, now: Instant) -> Option<Handed<'_>> {
        let State::Waiting(awaited) = self.state else { return None };
        let left = self.deadline.saturating_duration_since(now);
        Some(Handed { generation, awaited, left, kept: self.kept.bytes() })
    }

    /// Reads on in what is kept: it was handed over, or it could not be.
    pub fn resume(&mut self, turn: &mut Turn<'_, 's>) {
        if !self.kept.is_empty() && matches!(self.state, State::Waiting(_)) {
            self.read_kept(turn);
        }
    }

    /// What to do next.
    pub fn want(&self) -> Want<'_, 's> {
        match &self.state {
            State::Waiting(_) | State::Dropping(..) | State::Lingering => Want::Read,
            State::Opening(plan) => plan.file().map_or(Want::Close, Want::Open),
            State::Writing(response, persistence) => {
                let follows = if persistence.closes() { Follows::More } else { Follows::Nothing };
                Want::Send(response.outgoing(follows))
            }
            State::Finishing => Want::Finish,
            State::Closed => Want::Close,
        }
    }

    /// Whether it has had its answers and only waits for its client to ask again, or to close.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Waiting(Awaited::Next) | State::Lingering)
    }

    /// Whether it has never asked for anything, although it had the time to.
    pub fn is_silent(&self, turn: &Turn<'_, 's>) -> bool {
        let grace_ends = turn.now + turn.limits.head_timeout.saturating_sub(GRACE);
        matches!(self.state, State::Waiting(Awaited::First)) && self.deadline <= grace_ends
    }

    /// When [`Conn::expired`] is due, if nothing else happens until then.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes bytes that were read.
    pub fn received(&mut self, input: &[u8], turn: &mut Turn<'_, 's>) {
        if !self.kept.is_empty() {
            self.kept.push(input);
            return self.read_kept(turn);
        }
        let used = self.advance(input, turn);
        if used < input.len() && self.has_later() {
            self.kept.push(&input[used..]);
        }
    }

    /// Takes note that the client will send no more.
    pub fn ended(&mut self) {
        self.state = State::Closed;
    }

    /// Takes the file that was asked for.
    pub fn opened(&mut self, outcome: io::Result<Opened<'s>>, turn: &mut Turn<'_, 's>) {
        let State::Opening(plan) = self.take_state() else { return };
        if !outcome.as_ref().is_ok_and(|opened| plan.is_of(&opened.facts)) {
            turn.row.add(Counter::Doubted, 1);
        }
        match outcome {
            Ok(opened) => {
                let plan = plan.settle(&opened, turn.endings.second());
                self.write(plan, Some(opened), turn);
            }
            Err(error) => self.respond(plan.without_file(turn.site, &error), turn),
        }
    }

    /// Takes note of bytes that were sent.
    pub fn sent(&mut self, len: usize, turn: &mut Turn<'_, 's>) {
        let State::Writing(response, persistence) = &mut self.state else { return };
        self.deadline = turn.now + turn.limits.write_timeout;
        turn.row.add(Counter::Sent, len as u64);
        if !response.sent(len) {
            return;
        }
        turn.row.add(Counter::Answered, 1);
        let is_last = persistence.closes();
        if let State::Writing(response, _) = self.take_state() {
            *turn.spare = response.into_buffer();
        }
        if is_last {
            self.state = State::Finishing;
            return;
        }
        self.state = State::Waiting(Awaited::Next);
        self.deadline = turn.now + turn.limits.idle_timeout;
        if turn.phase == Phase::Draining {
            self.drain(turn.now);
        }
        // Another generation answers what comes behind, if it can be handed over.
        if turn.phase != Phase::Retiring {
            self.resume(turn);
        }
    }

    /// Takes note that the sending side is shut down.
    pub fn finished(&mut self, turn: &Turn<'_, 's>) {
        self.state = State::Lingering;
        self.deadline = turn.now + turn.limits.body_timeout;
        if turn.phase == Phase::Draining {
            self.drain(turn.now);
        }
    }

    /// Takes note that the deadline has passed.
    pub fn expired(&mut self, turn: &mut Turn<'_, 's>) {
        let has_begun = matches!(self.state, State::Waiting(Awaited::Rest) | State::Dropping(..));
        if has_begun {
            let kept = mem::take(&mut self.kept);
            self.refuse(Status::RequestTimeout, kept.bytes(), turn);
        } else {
            self.state = State::Closed;
        }
    }

    /// Takes note that the server is draining: what is idle, or only lingers, has a moment left,
    /// and every answer from now on is its connection's last.
    pub fn drain(&mut self, now: Instant) {
        let left = match self.state {
            State::Waiting(Awaited::First | Awaited::Next) => LAST_REQUEST,
            State::Lingering => LAST_LINGER,
            _ => return,
        };
        self.deadline = self.deadline.min(now + left);
    }

    /// The state, leaving the connection closed unless another one is set.
    fn take_state(&mut self) -> State<'s> {
        mem::replace(&mut self.state, State::Closed)
    }

    /// Reads on in what was kept.
    fn read_kept(&mut self, turn: &mut Turn<'_, 's>) {
        let mut kept = mem::take(&mut self.kept);
        let used = self.advance(kept.bytes(), turn);
        kept.consume(used);
        if self.has_later() {
            self.kept = kept;
        }
    }

    /// Whether bytes are to be kept: what comes behind a connection's last request is waited out
    /// and not answered (RFC 9112 §9.6).
    fn has_later(&self) -> bool {
        match &self.state {
            State::Waiting(_) => true,
            State::Opening(Plan { persistence, .. }) | State::Writing(_, persistence) => {
                !persistence.closes()
            }
            State::Dropping(..) | State::Finishing | State::Lingering | State::Closed => false,
        }
    }

    /// Reads on, until an answer is due or the bytes end; how many bytes were used.
    fn advance(&mut self, bytes: &[u8], turn: &mut Turn<'_, 's>) -> usize {
        let mut used = 0;
        while used < bytes.len() {
            let outcome = match &self.state {
                State::Waiting(_) => self.read_head(&bytes[used..], turn),
                State::Dropping(..) => self.drop_body(&bytes[used..], turn),
                _ => break,
            };
            match outcome {
                Ok(0) => break,
                Ok(len) => used += len,
                Err(reject) => {
                    self.refuse(reject.status(), &bytes[used..], turn);
                    return bytes.len();
                }
            }
        }
        used
    }

    fn read_head(&mut self, bytes: &[u8], turn: &mut Turn<'_, 's>) -> Result<usize, Reject> {
        let mut slots = Slots::new();
        let Some((request, len)) = Request::parse(bytes, &mut slots, turn.limits)? else {
            if !matches!(self.state, State::Waiting(Awaited::Rest)) {
                self.state = State::Waiting(Awaited::Rest);
                self.deadline = turn.now + turn.limits.head_timeout;
            }
            return Ok(0);
        };
        let mut plan = answer(turn.site, turn.limits, turn.phase != Phase::Draining, &request);
        if request.expectation != Expectation::None && request.framing != Framing::Empty {
            // The final answer says all, and whether the body still comes is the client's choice:
            // where the next request would begin cannot be known.
            plan.persistence = Persistence::Close;
            self.respond(plan, turn);
            return Ok(len);
        }
        let discard = Discard::new(request.framing, turn.limits.body_max)?;
        if discard.is_done() {
            self.respond(plan, turn);
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
            self.respond(plan, turn);
        }
        Ok(len)
    }

    /// Answers what cannot be understood or waited for, and ends the connection. The request, or
    /// what there is of it, begins with `bytes`, unless its head was understood.
    fn refuse(&mut self, status: Status, bytes: &[u8], turn: &mut Turn<'_, 's>) {
        self.kept = Kept::default();
        let body = match self.take_state() {
            State::Dropping(plan, _) => plan.body,
            _ => !is_head_request(bytes),
        };
        self.respond(Plan::refusal(status, body), turn);
    }

    fn respond(&mut self, mut plan: Plan<'s>, turn: &mut Turn<'_, 's>) {
        if turn.phase == Phase::Draining {
            plan.persistence = Persistence::Close;
        }
        if plan.file().is_some() {
            self.state = State::Opening(plan);
        } else {
            self.write(plan, None, turn);
        }
    }

    fn write(&mut self, plan: Plan<'s>, opened: Option<Opened<'s>>, turn: &mut Turn<'_, 's>) {
        let persistence = plan.persistence;
        let response = Response::new(plan, opened, turn.endings, mem::take(turn.spare));
        self.deadline = turn.now + turn.limits.write_timeout;
        self.state = State::Writing(response, persistence);
    }
}
