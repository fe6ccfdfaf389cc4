//! What holds for all connections of a process during one turn of its loop.

use std::time::Instant;

use crate::answer::Plan;
use crate::board::Row;
use crate::http::head::Endings;
use crate::http::limits::Limits;
use crate::http::request::Request;
use crate::log::Ledger;
use crate::site::Site;

/// What holds for all connections during one turn of the loop.
pub struct Turn<'t, 's> {
    /// What requests are about.
    pub subject: Subject<'t, 's>,
    /// What a connection may cost.
    pub limits: &'t Limits,
    /// The time of this turn.
    pub now: Instant,
    /// The same in milliseconds since 1970.
    pub millis: u64,
    /// The same as a date, and what else heads end with.
    pub endings: &'t Endings,
    /// What becomes of connections.
    pub phase: Phase,
    /// Where what was sent is counted.
    pub row: Row<'t>,
    /// A buffer for heads, lent from answer to answer so that none has to be allocated.
    pub spare: &'t mut Vec<u8>,
    /// Where answers are logged.
    pub ledger: &'t mut Ledger,
}

/// What requests are about.
#[derive(Clone, Copy)]
pub enum Subject<'t, 's> {
    /// A site.
    Site(&'s Site),
    /// How tine is.
    Admin(&'t dyn Fn(&Request<'_, '_>) -> Plan<'s>),
}

/// What becomes of the connections of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// They are kept for as long as their clients want, within the limits.
    Serving,
    /// Each is handed over to the generation that serves now, as soon as it has nothing to send.
    Retiring,
    /// Each answer is its connection's last, and newcomers are served alike: tine will end.
    Leaving,
    /// Each answer is its connection's last, and idle connections have a moment for a last request:
    /// tine ends.
    Draining,
}
