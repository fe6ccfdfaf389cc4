//! How a connection reads on: from bytes to an answer that is due.

use crate::answer::{Plan, answer};
use crate::board::{Counter, Ending};
use crate::http::fields::Slots;
use crate::http::framing::{Discard, Framing};
use crate::http::reject::Reject;
use crate::http::request::{Expectation, Persistence, Request, is_head_request};
use crate::http::status::Status;
use crate::peer::preface::Preface;

use super::account::{Account, rejection};
use super::kept::Kept;
use super::{Awaited, Conn, Mode, State, Subject, Turn};

impl<'s> Conn<'s> {
    /// Reads on, until an answer is due or the bytes end; how many bytes were used.
    pub(super) fn advance(&mut self, bytes: &[u8], turn: &mut Turn<'_, 's>) -> usize {
        let mut used = 0;
        while used < bytes.len() {
            let outcome = match &self.state {
                State::Waiting(Awaited::Preface) => Ok(self.read_preface(&bytes[used..])),
                State::Waiting(_) => self.read_head(&bytes[used..], turn),
                State::Dropping(..) => self.drop_body(&bytes[used..], turn),
                _ => break,
            };
            match outcome {
                Ok(0) => break,
                Ok(len) => used += len,
                Err(reject) => {
                    turn.row.add(Counter::Rejected(rejection(reject)), 1);
                    self.refuse(reject.status(), &bytes[used..], turn);
                    return bytes.len();
                }
            }
        }
        used
    }

    /// Reads what a proxy says before all else; who says nothing of the kind is not served.
    fn read_preface(&mut self, bytes: &[u8]) -> usize {
        match Preface::parse(bytes) {
            Ok(None) => 0,
            Ok(Some(Preface { client, len })) => {
                self.peer = client.unwrap_or(self.peer);
                self.state = State::Waiting(Awaited::First);
                len
            }
            Err(_) => {
                self.state = State::Closed(Ending::Refused);
                bytes.len()
            }
        }
    }

    fn read_head(&mut self, bytes: &[u8], turn: &mut Turn<'_, 's>) -> Result<usize, Reject> {
        if !matches!(self.state, State::Waiting(Awaited::Rest)) {
            self.account = Account::new(turn.now);
        }
        let mut slots = Slots::new();
        let Some((request, len)) = Request::parse(bytes, &mut slots, turn.limits)? else {
            if !matches!(self.state, State::Waiting(Awaited::Rest)) {
                self.state = State::Waiting(Awaited::Rest);
                self.deadline = turn.now + turn.limits.head_timeout;
            }
            return Ok(0);
        };
        let is_ready = matches!(turn.mode, Mode::Serving | Mode::Retiring);
        let mut plan = match turn.subject {
            Subject::Site(site) => answer(site, turn.limits, is_ready, &request),
            Subject::Admin(answer) => answer(&request),
        };
        self.account.read(&request, &plan, self.peer, turn.ledger);
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
    pub(super) fn refuse(&mut self, status: Status, bytes: &[u8], turn: &mut Turn<'_, 's>) {
        self.kept = Kept::default();
        let body = match self.take_state() {
            State::Dropping(plan, _) => plan.body,
            _ => {
                self.account.read_unknown(bytes, self.peer, turn.ledger);
                !is_head_request(bytes)
            }
        };
        self.respond(Plan::refusal(status, body), turn);
    }
}
