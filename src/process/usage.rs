//! What the processes have used up, as /proc tells it (proc_pid_stat(5)).

use std::cell::Cell;
use std::fs;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};

use crate::admin::Usage;
use crate::scoreboard::{Scoreboard, Slot};

/// Reads what the processes on the board have used.
pub(super) struct Meter {
    board: Scoreboard<'static>,
    /// Where the most CPU time that was seen is noted: between a death and its reaping some of it
    /// is nobody's, and an admin may die too.
    slot: Slot<'static>,
    ticks_per_second: u64,
    page: u64,
    /// What was read last; it is not read again for each who asks.
    last: Cell<Option<Usage>>,
}

impl Meter {
    pub(super) fn new(board: Scoreboard<'static>, slot: Slot<'static>) -> Self {
        let ask = |what, default| {
            let told = sysconf(what).ok().flatten();
            told.and_then(|value| u64::try_from(value).ok()).unwrap_or(default)
        };
        Self {
            board,
            slot,
            ticks_per_second: ask(SysconfVar::CLK_TCK, 100).max(1),
            page: ask(SysconfVar::PAGE_SIZE, 4096),
            last: Cell::new(None),
        }
    }

    /// Has it read again by the next who asks.
    pub(super) fn forget(&self) {
        self.last.set(None);
    }

    pub(super) fn get(&self) -> Usage {
        let usage = self.last.get().unwrap_or_else(|| self.read());
        self.last.set(Some(usage));
        usage
    }

    #[expect(clippy::cast_precision_loss, reason = "2^53 ticks are enough")]
    fn read(&self) -> Usage {
        let descriptors_max = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
        let unknown = Usage { descriptors_max, ..Usage::default() };
        let pids = self.board.processes().map(|process| process.pid);
        let stats: Vec<(i32, Stat)> =
            pids.filter_map(|pid| Some((pid, Stat::read(pid)?))).collect();
        if stats.is_empty() {
            return unknown;
        }
        let cpu = stats.iter().map(|(_, stat)| stat.cpu).sum();
        let noted = self.board.slots().map(|(_, slot)| slot.cpu()).max().unwrap_or(0);
        let cpu = noted.max(cpu);
        self.slot.set_cpu(cpu);
        let cpu = cpu as f64 / self.ticks_per_second as f64;
        let resident =
            |(pid, stat): &(i32, Stat)| proportional(*pid).unwrap_or(stat.resident * self.page);
        let open = |(pid, _): &(i32, Stat)| fs::read_dir(format!("/proc/{pid}/fd")).ok();
        let descriptors = stats.iter().map(|stat| Some(open(stat)?.count() as u64)).sum();
        Usage {
            cpu: Some(cpu),
            resident: Some(stats.iter().map(resident).sum()),
            mapped: Some(stats.iter().map(|(_, stat)| stat.mapped).sum()),
            descriptors,
            ..unknown
        }
    }
}

struct Stat {
    /// Its own and its dead children's, in ticks.
    cpu: u64,
    /// In bytes.
    mapped: u64,
    /// In pages.
    resident: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // A name may have blanks and parentheses.
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        let cpu = (11..=14).filter_map(number).sum();
        Some(Self { cpu, mapped: number(20)?, resident: number(21)? })
    }
}

/// What a process has of the memory that it shares with others, and all that it does not share, in
/// bytes; of a process that was root once the system does not say.
fn proportional(pid: i32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
