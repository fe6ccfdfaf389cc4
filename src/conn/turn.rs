//! What holds for all connections of a process during one turn of its loop.

use std::time::Instant;

use crate::answer::Plan;
use crate::board::{Board, Row};
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
    pub mode: Mode,
    /// The generation that answers, as long as connections can go over to another one.
    pub term: Option<Term<'t>>,
    /// Where what was sent is counted.
    pub row: Row<'t>,
    /// A buffer for heads, lent from answer to answer so that none has to be allocated.
    pub spare: &'t mut Vec<u8>,
    /// Where answers are logged.
    pub ledger: &'t mut Ledger,
}

impl Turn<'_, '_> {
    /// Whether another generation serves by now and can have what comes in. To be asked behind each
    /// read: nobody who knows the other one's answers is to see an older one.
    pub fn is_superseded(&self) -> bool {
        self.term.is_some_and(|term| term.is_over())
    }
}

/// The time for which a generation serves.
#[derive(Clone, Copy, Debug)]
pub struct Term<'t> {
    /// Where it is said which one does.
    pub board: Board<'t>,
    /// This one.
    pub generation: u64,
}

impl Term<'_> {
    /// Whether another one serves by now.
    pub fn is_over(&self) -> bool {
        self.board.serving() > self.generation
    }
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
pub enum Mode {
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
