//! What a worker is started with.

use std::net;
use std::time::{Duration, Instant};

use crate::host::arena::ReadArena;
use crate::host::doorbell::Doorbell;
use crate::host::open_files::OpenFiles;
use crate::http::extra::Extra;
use crate::peer::Trusted;
use crate::process::log::AccessLog;
use crate::scoreboard::{Scoreboard, Slot};

/// What a worker is started with.
pub struct WorkerArgs {
    /// What the processes know of each other.
    pub board: Scoreboard<'static>,
    /// This worker's own part of it.
    pub slot: Slot<'static>,
    /// The arena.
    pub arena: ReadArena,
    /// The site's files on disk.
    pub files: OpenFiles,
    /// What every response says.
    pub extra: Extra,
    /// Whether `/livez` and `/readyz` are answered before there is a site.
    pub health: bool,
    /// When the program was started.
    pub started: Instant,
    /// Where answers are logged.
    pub access_log: AccessLog,
    /// Whose word about a client's address is believed.
    pub trusted: Trusted,
    /// Whether these begin each connection with it.
    pub has_preface: bool,
    /// Shared with all workers: the queue belongs to the listener and to none of them.
    pub listeners: Vec<net::TcpListener>,
    /// Most connections at the same time.
    pub connections_max: usize,
    /// This worker's own.
    pub doorbell: Doorbell,
    /// To wake the compiler.
    pub compiler: Doorbell,
    /// How long answers in flight may take at the end.
    pub drain_timeout: Duration,
}
