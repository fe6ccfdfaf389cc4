//! How a connection reads on: from bytes to a response that can be sent.

use std::mem;
use std::time::Instant;

use crate::answer::{Plan, Reply, answer};
use crate::http::fields::Slots;
use crate::http::framing::{Discard, Framing};
use crate::http::reject::Reject;
use crate::http::request::{Expectation, Persistence, Request, is_head_request};
use crate::http::status::Status;
use crate::peer::preface::Preface;
use crate::response::Response;
use crate::scoreboard::{Counter, Ending, Scoreboard};

use super::account::{Account, rejection};
use super::kept::Kept;
use super::turn::{OpenError, Subject};
use super::{Awaited, Conn, Mode, PENDING_MAX, SITE_WAIT, State, Turn};

/// How often a file is opened anew because another image was published meanwhile.
const OPENS_MAX: usize = 3;

/// What a decision has come to.
#[derive(Clone, Copy)]
enum Decided {
    /// A response, which is to be sent.
    Response,
    /// The same, and it is not logged.
    HealthCheck,
    /// A file on disk is gone, or another one: another image is waited for.
    AwaitSite(Stale),
}

/// A file on disk that was found to be gone, or another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stale {
    /// Of the image that names it.
    pub(super) generation: u64,
    /// How many stale files were counted, this one among them.
    count: u64,
}

impl Stale {
    fn new(generation: u64, board: Scoreboard<'_>) -> Self {
        Self { generation, count: board.total(Counter::StaleFiles) }
    }
}

/// Whether a request may wait for another image.
#[derive(Clone, Copy)]
pub(super) enum Wait {
    /// It has not waited yet.
    New,
    /// It waits until then.
    Until(Instant),
    /// It has waited, because of this.
    Over(Stale),
}

impl Conn {
    /// Reads on, until an answer is due or the bytes end; how many bytes were used.
    pub(super) fn advance(&mut self, bytes: &[u8], turn: &mut Turn<'_>) -> usize {
        let mut used = 0;
        while used < bytes.len() {
            let outcome = match &self.state {
                State::Waiting(Awaited::Preface) => Ok(self.read_preface(&bytes[used..])),
                State::Waiting(_) => self.read_head(&bytes[used..], turn),
                State::Dropping { .. } => self.drop_body(&bytes[used..], turn),
                _ => break,
            };
            match outcome {
                Ok(0) => break,
                Ok(len) => used += len,
                Err(reject) => {
                    turn.slot.add(Counter::Rejected(rejection(reject)), 1);
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

    fn read_head(&mut self, bytes: &[u8], turn: &mut Turn<'_>) -> Result<usize, Reject> {
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
        self.account.read(&request, self.peer, turn.ledger);
        if request.expectation != Expectation::None && request.framing != Framing::Empty {
            // The final answer says all, and whether the body still comes is the client's choice:
            // where the next request would begin cannot be known.
            let closing = Request { persistence: Persistence::Close, ..request };
            self.decide(&closing, Wait::New, turn);
            return Ok(len);
        }
        let mut discard = Discard::new(request.framing, turn.limits.body_max)?;
        let body_len = if discard.is_done() { 0 } else { discard.consume(&bytes[len..])? };
        if discard.is_done() {
            self.decide(&request, Wait::New, turn);
        } else {
            self.deadline = turn.now + turn.limits.body_timeout;
            self.state = State::Dropping { request: bytes[..len].into(), discard };
        }
        Ok(len + body_len)
    }

    fn drop_body(&mut self, bytes: &[u8], turn: &mut Turn<'_>) -> Result<usize, Reject> {
        let State::Dropping { discard, .. } = &mut self.state else { return Ok(0) };
        let len = discard.consume(bytes)?;
        if discard.is_done()
            && let State::Dropping { request, .. } = self.take_state()
        {
            self.decide_again(&request, Wait::New, turn);
        }
        Ok(len)
    }

    /// Decides about a request whose head was kept.
    pub(super) fn decide_again(&mut self, head: &[u8], wait: Wait, turn: &mut Turn<'_>) {
        let mut slots = Slots::new();
        match Request::parse(head, &mut slots, turn.limits) {
            Ok(Some((request, _))) => self.decide(&request, wait, turn),
            _ => debug_assert!(false, "a head that was read once is read again"),
        }
    }

    /// Decides, from the image that is published now. If a file on disk is gone, another image is
    /// waited for as `wait` says.
    fn decide(&mut self, request: &Request<'_, '_>, wait: Wait, turn: &mut Turn<'_>) {
        self.deadline = turn.now + turn.limits.write_timeout;
        if let Subject::Admin(answer) = turn.subject {
            return self.respond(answer(request), turn);
        }
        match self.decide_from_site(request, wait, turn) {
            Decided::Response => {}
            Decided::HealthCheck => self.account.forget(turn.ledger),
            Decided::AwaitSite(stale) => {
                self.deadline = match wait {
                    Wait::Until(deadline) => deadline,
                    Wait::New | Wait::Over(_) => turn.now + SITE_WAIT,
                };
                self.state = State::AwaitingSite { request: request.head.into(), stale };
            }
        }
    }

    fn decide_from_site(
        &mut self,
        request: &Request<'_, '_>,
        wait: Wait,
        turn: &mut Turn<'_>,
    ) -> Decided {
        let Turn { subject, limits, endings, mode, slot, spare, .. } = turn;
        let Subject::Site(source) = subject else { return Decided::Response };
        let closes = *mode != Mode::Serving;
        // Of the image whose files may be other ones: no newer image has come, nor will soon.
        let outdated = match wait {
            Wait::Over(stale) if !source.is_compiling(stale.count) => Some(stale.generation),
            _ => None,
        };
        let mut opened = None;
        for _ in 0..OPENS_MAX {
            let site = source.reader.adopt();
            let generation = site.generation();
            let mut plan = answer(site, limits, !closes, request);
            if closes {
                plan.persistence = Persistence::Close;
            }
            let decided = match plan.reply {
                Reply::Health(_) => Decided::HealthCheck,
                _ => Decided::Response,
            };
            let mut respond = |plan: Plan<'_>, opened| {
                let (persistence, head) = (plan.persistence, mem::take(*spare));
                let response = Response::new(plan, generation, opened, endings, head);
                self.state = State::Writing(response, persistence);
                decided
            };
            let Some(file) = plan.file() else { return respond(plan, None) };
            let outcome = match opened.take() {
                Some(outcome) if source.disk.is_for(file, site.root()) => outcome,
                _ => {
                    source.disk.set(file, site.root(), outdated == Some(generation));
                    // The disk may not answer; meanwhile nothing is read from the image.
                    source.reader.go_offline();
                    opened = Some(source.files.open(source.disk));
                    continue;
                }
            };
            let is_stale = match &outcome {
                Ok(file) => !plan.is_compiled_version(&file.stat),
                Err(_) => true,
            };
            if is_stale {
                slot.add(Counter::StaleFiles, 1);
                *source.wants_reload = true;
            }
            return match outcome {
                Ok(file) => respond(plan.with_file(&file.stat, endings.second()), Some(file)),
                Err(OpenError::Replaced) if matches!(wait, Wait::Over(_)) => {
                    let reply = Reply::Error(Status::ServiceUnavailable);
                    respond(Plan { reply, ..plan }, None)
                }
                Err(OpenError::Replaced) => {
                    Decided::AwaitSite(Stale::new(generation, source.board))
                }
                Err(OpenError::Failed(error)) => respond(plan.without_file(site, &error), None),
            };
        }
        // Images are published faster than a file can be opened.
        Decided::AwaitSite(Stale::new(source.reader.generation(), source.board))
    }

    /// Answers what cannot be understood or waited for, and ends the connection. The request, or
    /// what there is of it, begins with `bytes`, unless its head was understood.
    pub(super) fn refuse(&mut self, status: Status, bytes: &[u8], turn: &mut Turn<'_>) {
        self.kept = Kept::default();
        let body = match self.take_state() {
            State::Dropping { request, .. } => !is_head_request(&request),
            _ => {
                self.account.read_unknown(bytes, self.peer, turn.ledger);
                !is_head_request(bytes)
            }
        };
        self.respond(Plan::refusal(status, body), turn);
    }

    /// Responds with what needs no site.
    pub(super) fn respond(&mut self, mut plan: Plan<'static>, turn: &mut Turn<'_>) {
        if turn.mode != Mode::Serving {
            plan.persistence = Persistence::Close;
        }
        let Plan { body, persistence, .. } = plan;
        if matches!(plan.reply, Reply::Awaited) {
            self.deadline = turn.now + PENDING_MAX;
            self.state = State::Pending { number: None, body, persistence };
            return;
        }
        let spare = mem::take(turn.spare);
        let response = Response::new(plan, 0, None, turn.endings, spare);
        self.deadline = turn.now + turn.limits.write_timeout;
        self.state = State::Writing(response, persistence);
    }
}
