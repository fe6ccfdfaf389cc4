//! One connection, without its socket and without a clock: it is told what happened and at what
//! time, and says what it wants next.
//!
//! ```text
//!            bytes                    head read                 body dropped
//! Waiting ──────────► Waiting(Rest) ────────────► Dropping ─────────────────┐
//!    ▲                     │ refused        │        │ refused     decided   ▼
//!    │                     ▼                │        ▼        ┌── AwaitingSite: a file is gone
//!    └──── persists ◄── Writing ◄───────────┴────────┴────────┴── Pending: not known yet
//!                          │ closes
//!                          └──────────► Finishing ──────► Lingering ──────► Closed
//! ```
//!
//! An idle connection holds no memory but this struct: bytes are parsed where they were read, and
//! only what cannot be answered yet is kept.

mod account;
mod kept;
mod reading;
mod turn;

use std::mem;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::answer::{Plan, Reply};
use crate::http::framing::Discard;
use crate::http::request::Persistence;
use crate::http::status::Status;
use crate::response::{Follows, Outgoing, Response};
use crate::scoreboard::{Counter, Ending, Rejection};
use crate::site::{Extent, View};

use account::Account;
use kept::Kept;
use reading::{Stale, Wait};
pub use turn::{DiskRequest, Files, Mode, OpenError, SiteSource, Subject, Turn};

/// How long an idle connection is given for a last request once the server is draining.
const LAST_REQUEST: Duration = Duration::from_secs(1);
/// How long a new connection may say nothing before it counts as idle.
const GRACE: Duration = Duration::from_secs(1);
/// How long a connection lingers once the server is draining.
const LAST_LINGER: Duration = Duration::from_millis(100);

/// How long an answer that is not known yet is waited for.
const PENDING_MAX: Duration = Duration::from_secs(30);
/// How long another site image is waited for if a file on disk is gone.
const SITE_WAIT: Duration = Duration::from_secs(1);

/// A connection.
#[derive(Debug)]
pub struct Conn {
    state: State,
    deadline: Instant,
    /// Part of a head, or requests behind the one that is being answered.
    kept: Kept,
    /// Who is at its other end.
    peer: IpAddr,
    /// What is to be said of the request in hand, once it is answered.
    account: Account,
}

#[derive(Debug)]
enum State {
    Waiting(Awaited),
    /// A request's body, before it is answered; the head is kept.
    Dropping {
        request: Box<[u8]>,
        discard: Discard,
    },
    /// Another site image than the one that names a stale file.
    AwaitingSite {
        request: Box<[u8]>,
        stale: Stale,
    },
    /// An answer that is not known yet, and the number that it was asked for by.
    Pending {
        number: Option<u64>,
        body: bool,
        persistence: Persistence,
    },
    /// An answer.
    Writing(Response, Persistence),
    /// The end of our side, to be said to the socket.
    Finishing,
    /// Dropping what still comes in, so that no reset destroys the last answer on its way
    /// (RFC 9112 §9.6).
    Lingering,
    Closed(Ending),
}

/// What a waiting connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// What a proxy says before all else.
    Preface,
    /// Its first request, of which nothing has come yet.
    First,
    /// The rest of a request.
    Rest,
    /// Another request, of which nothing has come yet.
    Next,
}

/// What a connection wants to be done.
#[derive(Debug)]
pub enum Want<'c> {
    /// Read, then call [`Conn::received`], or [`Conn::ended`] at the end.
    Read,
    /// Nothing, until [`Conn::answered`] or [`Conn::on_new_site`] is called.
    Wait,
    /// Send, then call [`Conn::sent`].
    Send(Outgoing<'c>),
    /// Shut down the sending side, then call [`Conn::finished`].
    Finish,
    /// Close the socket and forget the connection.
    Close,
}

impl Conn {
    /// A connection from `peer` that was just accepted. Its first request has `head_timeout` to
    /// arrive; before it a proxy may have to say who sends it.
    pub fn new(peer: IpAddr, has_preface: bool, turn: &Turn<'_>) -> Self {
        let deadline = turn.now + turn.limits.head_timeout;
        let awaited = if has_preface { Awaited::Preface } else { Awaited::First };
        let (state, kept) = (State::Waiting(awaited), Kept::default());
        Self { state, deadline, kept, peer, account: Account::new(turn.now) }
    }

    /// What to do next; `view` is the arena.
    pub fn want<'c>(&'c self, view: View<'c>) -> Want<'c> {
        match &self.state {
            State::Waiting(_) | State::Dropping { .. } | State::Lingering => Want::Read,
            State::Pending { .. } | State::AwaitingSite { .. } => Want::Wait,
            State::Writing(response, persistence) => {
                let follows = if persistence.closes() { Follows::More } else { Follows::Nothing };
                Want::Send(response.outgoing(follows, view))
            }
            State::Finishing => Want::Finish,
            State::Closed(_) => Want::Close,
        }
    }

    /// Whether it has had its answers and only waits for its client to ask again, or to close.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Waiting(Awaited::Next) | State::Lingering)
    }

    /// Whether nothing of another request has come.
    pub fn awaits_request(&self) -> bool {
        let has_nothing = matches!(
            self.state,
            State::Waiting(Awaited::Preface | Awaited::First | Awaited::Next) | State::Lingering
        );
        has_nothing && self.kept.is_empty()
    }

    /// Whether it has never asked for anything, although it had the time to.
    pub fn is_silent(&self, turn: &Turn<'_>) -> bool {
        let grace_ends = turn.now + turn.limits.head_timeout.saturating_sub(GRACE);
        matches!(self.state, State::Waiting(Awaited::First | Awaited::Preface))
            && self.deadline <= grace_ends
    }

    /// When [`Conn::expired`] is due, if nothing else happens until then.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes bytes that were read.
    pub fn received(&mut self, input: &[u8], turn: &mut Turn<'_>) {
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
        let why = match self.state {
            State::Lingering => Ending::Finished,
            _ => Ending::Client,
        };
        self.state = State::Closed(why);
    }

    /// Whether it waits for an answer that is not known yet.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Pending { .. })
    }

    /// Whether it waits for another site image.
    pub fn awaits_site(&self) -> bool {
        matches!(self.state, State::AwaitingSite { .. })
    }

    /// What it has yet to send from the arena.
    pub fn unsent(&self) -> Option<Extent> {
        match &self.state {
            State::Writing(response, _) => response.extent(),
            _ => None,
        }
    }

    /// Decides again about a request that waits for another image than that of its generation.
    pub fn on_new_site(&mut self, published: u64, turn: &mut Turn<'_>) {
        let State::AwaitingSite { stale, .. } = self.state else { return };
        if stale.generation < published
            && let State::AwaitingSite { request, .. } = self.take_state()
        {
            self.decide_again(&request, Wait::Until(self.deadline), turn);
        }
    }

    /// The number of the answer that it waits for, which is asked for if it was not before.
    pub fn pending(&mut self, ask: impl FnOnce() -> u64) -> Option<u64> {
        match &mut self.state {
            State::Pending { number, .. } => Some(*number.get_or_insert_with(ask)),
            _ => None,
        }
    }

    /// Takes the answer that was not known yet.
    pub fn answered(&mut self, reply: Reply<'static>, turn: &mut Turn<'_>) {
        if let State::Pending { body, persistence, .. } = self.take_state() {
            self.respond(Plan { reply, body, persistence }, turn);
        }
    }

    /// Takes note that it is over, for a reason of its own or else for this one, and says what is
    /// to be said of an answer that did not come to its end.
    pub fn over(&mut self, reason: Ending, turn: &mut Turn<'_>) {
        let why = match mem::replace(&mut self.state, State::Closed(reason)) {
            State::Closed(why) => why,
            State::Writing(response, _) => {
                self.account.settle(&response, turn.now, true, turn);
                reason
            }
            State::Lingering => Ending::Finished,
            _ => reason,
        };
        turn.slot.add(Counter::Ended(why), 1);
    }

    /// Takes note of bytes that were sent, until now: a turn may be long.
    pub fn sent(&mut self, len: usize, now: Instant, turn: &mut Turn<'_>) {
        let State::Writing(response, persistence) = &mut self.state else { return };
        self.deadline = turn.now + turn.limits.write_timeout;
        turn.slot.add(Counter::Sent, len as u64);
        self.account.sent += len as u64;
        if !response.sent(len) {
            return;
        }
        self.account.settle(response, now, false, turn);
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
        if turn.mode == Mode::Draining {
            self.drain(turn.now);
        }
        if !self.kept.is_empty() {
            self.read_kept(turn);
        }
    }

    /// Takes note that the client has taken something of what was sent, and gives it time anew:
    /// nobody is idle who still receives an answer. False if it waits for nothing of the kind.
    pub fn taken(&mut self, turn: &Turn<'_>) -> bool {
        let time = match self.state {
            State::Writing(..) => turn.limits.write_timeout,
            State::Waiting(Awaited::Next) if turn.mode == Mode::Draining => LAST_REQUEST,
            State::Waiting(Awaited::Next) => turn.limits.idle_timeout,
            _ => return false,
        };
        self.deadline = turn.now + time;
        true
    }

    /// Takes note that the sending side is shut down.
    pub fn finished(&mut self, turn: &Turn<'_>) {
        self.state = State::Lingering;
        self.deadline = turn.now + turn.limits.body_timeout;
        if turn.mode == Mode::Draining {
            self.drain(turn.now);
        }
    }

    /// Takes note that the deadline has passed.
    pub fn expired(&mut self, turn: &mut Turn<'_>) {
        match self.state {
            State::Waiting(Awaited::Rest) | State::Dropping { .. } => {
                let kept = mem::take(&mut self.kept);
                turn.slot.add(Counter::Rejected(Rejection::Timeout), 1);
                self.refuse(Status::RequestTimeout, kept.bytes(), turn);
            }
            State::Pending { .. } => self.answered(Reply::Underway, turn),
            State::AwaitingSite { .. } => {
                if let State::AwaitingSite { request, stale } = self.take_state() {
                    self.decide_again(&request, Wait::Over(stale), turn);
                }
            }
            State::Writing(..) => {
                if let State::Writing(response, _) = self.take_state() {
                    self.account.settle(&response, turn.now, true, turn);
                }
                self.state = State::Closed(Ending::Slow);
            }
            State::Waiting(Awaited::Preface) => self.state = State::Closed(Ending::Slow),
            State::Lingering => self.state = State::Closed(Ending::Finished),
            State::Waiting(_) if turn.mode == Mode::Draining => {
                self.state = State::Closed(Ending::Drained);
            }
            _ => self.state = State::Closed(Ending::Idle),
        }
    }

    /// Takes note that the server is draining: what is idle, or only lingers, has a moment left,
    /// and every answer from now on is its connection's last.
    pub fn drain(&mut self, now: Instant) {
        let left = match self.state {
            State::Waiting(Awaited::Preface | Awaited::First | Awaited::Next) => LAST_REQUEST,
            State::Lingering => LAST_LINGER,
            // The compiler is gone.
            State::AwaitingSite { .. } => Duration::ZERO,
            _ => return,
        };
        self.deadline = self.deadline.min(now + left);
    }

    /// The state, leaving the connection closed unless another one is set.
    fn take_state(&mut self) -> State {
        mem::replace(&mut self.state, State::Closed(Ending::Broken))
    }

    /// Reads on in what was kept.
    fn read_kept(&mut self, turn: &mut Turn<'_>) {
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
            State::Writing(_, persistence) | State::Pending { persistence, .. } => {
                !persistence.closes()
            }
            State::AwaitingSite { .. } => true,
            State::Dropping { .. } | State::Finishing | State::Lingering | State::Closed(_) => {
                false
            }
        }
    }
}
