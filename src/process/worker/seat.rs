//! What a worker is born with.

use std::net;
use std::time::Duration;

use crate::board::{Board, Row};
use crate::peer::Trusted;
use crate::process::handover::Handover;
use crate::process::log::AccessLog;
use crate::process::word::{Speaker, Word};
use crate::site::Site;

/// What a worker is born with.
pub struct Seat {
    /// What there is to serve; shared with all workers by fork, and never changed.
    pub site: Site,
    /// The generation that it belongs to.
    pub generation: u64,
    /// Where it stands which generation serves.
    pub board: Board<'static>,
    /// This worker's own row there.
    pub row: Row<'static>,
    /// Where answers are logged.
    pub access_log: AccessLog,
    /// Whose word about a client's address is believed.
    pub trusted: Trusted,
    /// Whether these begin each connection with it.
    pub has_preface: bool,
    /// Shared with all workers: the queue belongs to the listener and to none of them.
    pub listeners: Vec<net::TcpListener>,
    /// Where connections of former generations come from, and where those of this one will go.
    pub handover: Handover,
    /// Most connections at the same time.
    pub connections_max: usize,
    /// From the publisher, to its workers: to look at the board.
    pub look: Word,
    /// The same once more, by the publisher's end.
    pub gone: Word,
    /// From the first workers of a generation, to their publisher: that they are ready.
    pub ready: Option<Speaker>,
    /// From the master, to everybody: to drain, and leave then.
    pub drain: Word,
    /// From the master, to everybody: to leave at once.
    pub leave: Word,
    /// How long answers in flight may take at the end.
    pub drain_timeout: Duration,
}
