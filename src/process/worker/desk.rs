//! What the connections of a worker need while they go on.

use crate::conn::{DiskRequest, Mode, SiteSource, Subject, Turn};
use crate::control::publication::Reader;
use crate::host::open_files::OpenFiles;
use crate::http::limits::Limits;
use crate::log::Ledger;
use crate::process::clock::Clock;
use crate::process::log::AccessLog;
use crate::scoreboard::{Scoreboard, Slot};
use crate::site::View;

/// What the links need for their turns.
pub(super) struct Desk<'l> {
    pub(super) reader: Reader<'static>,
    pub(super) view: View<'static>,
    pub(super) files: OpenFiles,
    pub(super) disk: DiskRequest,
    pub(super) wants_reload: bool,
    pub(super) board: Scoreboard<'static>,
    pub(super) limits: &'l Limits,
    pub(super) slot: Slot<'static>,
    pub(super) access_log: AccessLog,
    pub(super) ledger: Ledger,
    pub(super) clock: Clock,
    pub(super) mode: Mode,
    pub(super) input: Box<[u8]>,
    pub(super) spare: Vec<u8>,
}

impl Desk<'_> {
    /// This iteration's circumstances, and the buffer to read into.
    pub(super) fn turn(&mut self) -> (Turn<'_>, &mut [u8]) {
        let Self {
            reader,
            view,
            files,
            disk,
            wants_reload,
            board,
            limits,
            slot,
            ledger,
            clock,
            mode,
            input,
            spare,
            ..
        } = self;
        let board = *board;
        let source = SiteSource { reader, files, disk, wants_reload, board };
        let turn = Turn {
            subject: Subject::Site(source),
            view: *view,
            limits,
            now: clock.now(),
            millis: clock.millis(),
            endings: clock.endings(),
            mode: *mode,
            slot: *slot,
            spare,
            ledger,
        };
        (turn, input)
    }

    /// Hands on what is to be logged, once there is enough, or at the end of an iteration.
    pub(super) fn log(&mut self, least: usize) {
        if self.ledger.len() > least {
            self.access_log.take(&mut self.ledger);
        }
    }
}
