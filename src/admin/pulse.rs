//! Whose heart beats: listened to once a second, and counted in turns and not by a clock, so that a
//! container that was paused does not look like one that hangs.

use crate::board::{Board, Role, Row};

/// Within how many turns a beat is fresh.
const FRESH: u32 = 3;

/// How long each process has been silent.
#[derive(Debug)]
pub struct Pulse {
    /// By the rows of the board.
    hearts: Vec<Heart>,
    /// Turns since any worker of the generation that serves was heard.
    pub(super) workers_silent: u32,
}

#[derive(Clone, Debug, Default)]
struct Heart {
    holder: Option<i32>,
    beats: u64,
    silent: u32,
}

impl Pulse {
    /// Everybody counts as heard who is there.
    pub fn new(board: Board<'_>) -> Self {
        let mut pulse = Self { hearts: Vec::new(), workers_silent: 0 };
        pulse.hearts.resize(board.rows().count(), Heart::default());
        pulse.listen(board);
        pulse
    }

    /// Takes note of a turn.
    pub fn listen(&mut self, board: Board<'_>) {
        for (heart, row) in self.hearts.iter_mut().zip(board.rows()) {
            let (holder, beats) = (row.holder(), row.beats());
            let is_heard = holder != heart.holder || beats != heart.beats;
            let silent = if is_heard { 0 } else { heart.silent + 1 };
            *heart = Heart { holder, beats, silent };
        }
        let is_heard = self.workers(board).any(|(_, silent)| silent == 0);
        self.workers_silent = if is_heard { 0 } else { self.workers_silent + 1 };
    }

    /// The workers of the generation that serves, as far as they are ready, each with the turns for
    /// which it has been silent.
    pub(super) fn workers<'w>(&self, board: Board<'w>) -> impl Iterator<Item = (Row<'w>, u32)> {
        let serving = board.serving();
        self.of(board, Role::Worker)
            .filter(move |(row, _)| row.is_ready() && row.generation() == serving)
    }

    /// The processes of one role, likewise.
    pub(super) fn of<'w>(
        &self,
        board: Board<'w>,
        role: Role,
    ) -> impl Iterator<Item = (Row<'w>, u32)> {
        let rows = board.rows().zip(&self.hearts);
        rows.filter(move |(row, _)| row.holder().is_some() && row.role() == Some(role))
            .map(|(row, heart)| (row, heart.silent))
    }

    /// How many workers of the generation that serves were heard lately.
    pub(super) fn fresh_workers(&self, board: Board<'_>) -> usize {
        self.workers(board).filter(|&(_, silent)| is_fresh(silent)).count()
    }

    /// For how many turns the master has been silent.
    pub(super) fn master_silent(&self, board: Board<'_>) -> u32 {
        self.of(board, Role::Master).map(|(_, silent)| silent).min().unwrap_or(u32::MAX)
    }
}

/// Whether who was silent for so many turns was heard lately.
pub(super) fn is_fresh(silent: u32) -> bool {
    silent < FRESH
}
