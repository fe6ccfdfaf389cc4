//! Whose heart beats: listened to once a second, and counted in turns and not by a clock, so that a
//! container that was paused does not look like one that hangs.

use crate::scoreboard::{Process, Role, Scoreboard};

/// Within how many ticks a heartbeat is fresh.
const FRESH: u32 = 3;

/// How many heartbeats each process has missed.
#[derive(Debug)]
pub struct Pulse {
    /// By the slots of the scoreboard.
    hearts: Vec<Heart>,
    /// Ticks since any worker was heard.
    pub(super) workers_silent: u32,
}

#[derive(Clone, Debug, Default)]
struct Heart {
    pid: Option<i32>,
    heartbeats: u64,
    silent: u32,
}

impl Pulse {
    /// Everybody counts as heard who is there.
    pub fn new(board: Scoreboard<'_>) -> Self {
        let hearts = vec![Heart::default(); board.layout().slots()];
        let mut pulse = Self { hearts, workers_silent: 0 };
        pulse.listen(board);
        pulse
    }

    /// Takes note of a tick.
    pub fn listen(&mut self, board: Scoreboard<'_>) {
        for (heart, (number, slot)) in self.hearts.iter_mut().zip(board.slots()) {
            let pid = board.control().holder(number).map(|(_, pid)| pid);
            let heartbeats = slot.heartbeat();
            let is_heard = pid != heart.pid || heartbeats != heart.heartbeats;
            let silent = if is_heard { 0 } else { heart.silent + 1 };
            *heart = Heart { pid, heartbeats, silent };
        }
        let is_heard = self.workers(board).any(|(_, silent)| silent == 0);
        self.workers_silent = if is_heard { 0 } else { self.workers_silent + 1 };
    }

    /// The workers that are ready, each with the ticks since its last heartbeat.
    pub(super) fn workers<'w>(
        &self,
        board: Scoreboard<'w>,
    ) -> impl Iterator<Item = (Process<'w>, u32)> {
        self.of(board, Role::Worker).filter(|(process, _)| process.slot.is_ready())
    }

    /// The processes of one role, likewise.
    pub(super) fn of<'w>(
        &self,
        board: Scoreboard<'w>,
        role: Role,
    ) -> impl Iterator<Item = (Process<'w>, u32)> {
        let processes = board.processes().filter(move |process| process.role == role);
        processes.map(|process| {
            // What has come since the last tick was heard.
            let heart = self.hearts.get(process.number);
            let known = heart.filter(|heart| heart.pid == Some(process.pid));
            (process, known.map_or(0, |heart| heart.silent))
        })
    }

    /// How many workers were heard lately.
    pub(super) fn fresh_workers(&self, board: Scoreboard<'_>) -> usize {
        self.workers(board).filter(|&(_, silent)| is_fresh(silent)).count()
    }

    /// Ticks since the master's last heartbeat.
    pub(super) fn master_silent(&self, board: Scoreboard<'_>) -> u32 {
        self.of(board, Role::Master).map(|(_, silent)| silent).min().unwrap_or(u32::MAX)
    }
}

/// Whether a process that has missed so many heartbeats was heard lately.
pub(super) fn is_fresh(silent: u32) -> bool {
    silent < FRESH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_in_a_slot_that_was_free_for_long_is_heard() {
        let board = Scoreboard::leaked(2, 0);
        let mut pulse = Pulse::new(board);
        for _ in 0..2 * FRESH {
            pulse.listen(board);
        }
        board.control().set_holder(1, Role::Worker, 2);
        board.own_slot(1).set_ready();
        assert_eq!(pulse.fresh_workers(board), 1, "before the next tick");
        for silent in 0..2 * FRESH {
            pulse.listen(board);
            assert_eq!(pulse.fresh_workers(board), usize::from(is_fresh(silent)));
        }
    }
}
