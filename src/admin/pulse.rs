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

impl Heart {
    /// For how many turns the row's holder was silent; who has come since the last turn was not.
    fn silence_of(&self, row: &Row<'_>) -> u32 {
        if row.holder() == self.holder { self.silent } else { 0 }
    }
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
            .map(|(row, heart)| (row, heart.silence_of(&row)))
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn who_has_a_row_that_was_free_for_long_is_heard() {
        let words: Vec<_> = (0..Board::words(1)).map(|_| AtomicU64::new(0)).collect();
        let board = Board::new(&words);
        let mut pulse = Pulse::new(board);
        for _ in 0..2 * FRESH {
            pulse.listen(board);
        }
        let row = board.claim(1).unwrap();
        assert!(row.take(1, 2));
        row.set_role(Role::Worker, 1);
        row.set_ready();
        board.serve(1);
        assert_eq!(pulse.fresh_workers(board), 1, "before the next turn");
        for silent in 0..2 * FRESH {
            pulse.listen(board);
            assert_eq!(pulse.fresh_workers(board), usize::from(is_fresh(silent)));
        }
    }
}
