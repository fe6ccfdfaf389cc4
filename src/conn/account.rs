//! What is to be said of a request and its answer: for those who count, and for the log.

use std::net::IpAddr;
use std::time::Instant;

use crate::http::method::Method;
use crate::http::reject::Reject;
use crate::http::request::Request;
use crate::log::{Ledger, Line, Record};
use crate::response::Response;
use crate::scoreboard::{Asked, Class, Counter, Rejection};

use super::Turn;

/// A request in hand.
#[derive(Debug)]
pub(super) struct Account {
    /// When its first byte was read.
    began: Instant,
    /// How much of the answer was sent, in bytes.
    pub(super) sent: u64,
    asked: Asked,
    /// For its line; none if there is none to be.
    record: Option<Record>,
}

impl Account {
    pub(super) fn new(began: Instant) -> Self {
        Self { began, sent: 0, asked: Asked::Other, record: None }
    }

    /// Takes a request down that was understood.
    pub(super) fn read(&mut self, request: &Request<'_, '_>, peer: IpAddr, ledger: &mut Ledger) {
        self.asked = match request.method {
            Method::Get => Asked::Get,
            Method::Head => Asked::Head,
            Method::Options => Asked::Options,
            _ => Asked::Other,
        };
        self.record = ledger.record(request, peer);
    }

    /// Has nothing logged of the request: health checks are not.
    pub(super) fn forget(&mut self, ledger: &mut Ledger) {
        if let Some(record) = self.record.take() {
            ledger.give_back(record);
        }
    }

    /// Takes down what was not understood, if it was not after all.
    pub(super) fn read_unknown(&mut self, bytes: &[u8], peer: IpAddr, ledger: &mut Ledger) {
        if self.record.is_none() {
            self.record = ledger.record_unknown(bytes, peer);
        }
    }

    /// Says what is to be said of an answer that is done, or cut short.
    pub(super) fn settle(
        &mut self,
        response: &Response,
        now: Instant,
        is_cut: bool,
        turn: &mut Turn<'_>,
    ) {
        let status = response.status();
        let took = now.saturating_duration_since(self.began);
        let slot = turn.slot;
        slot.add(if is_cut { Counter::Cut } else { Counter::Answered }, 1);
        slot.add(Counter::Requests(self.asked, Class::of(status)), 1);
        slot.add(Counter::took(took), 1);
        slot.add(Counter::TookInAll, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        if let Some(record) = self.record.take() {
            let bytes = self.sent.saturating_sub(response.head_len() as u64);
            let (record_of, millis) = (&record, turn.millis);
            let generation = response.generation();
            let line = Line { record: record_of, millis, status, bytes, took, is_cut, generation };
            turn.ledger.write(&line, slot);
            turn.ledger.give_back(record);
        }
    }
}

/// How a refusal is counted.
pub(super) fn rejection(reject: Reject) -> Rejection {
    match reject {
        Reject::BadRequest => Rejection::BadRequest,
        Reject::ContentTooLarge => Rejection::ContentTooLarge,
        Reject::UriTooLong => Rejection::UriTooLong,
        Reject::FieldsTooLarge => Rejection::FieldsTooLarge,
        Reject::NotImplemented => Rejection::NotImplemented,
        Reject::VersionNotSupported => Rejection::VersionNotSupported,
    }
}
