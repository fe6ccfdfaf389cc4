//! What the machine, or the container, allows: the defaults that depend on it.

use std::path::Path;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

use crate::compile::{Rules, SiteLimits};
use crate::config::{CONNECTIONS_MAX, Config, MEMORY_MAX, OPEN_FILES_MAX};
use crate::site::Former;

use super::cgroup::ControlGroup;

/// Most worker processes by default.
const WORKERS_MAX: u64 = 16;
/// Processes that are no workers, with some to spare.
const OTHER_PROCESSES: u64 = 6;
/// What a worker may need of a container's memory beside the site, in bytes.
const WORKER_MEMORY: u64 = 8 * 1024 * 1024;
/// Slots of the scoreboard beside two for each worker: the master's, the compiler's, and two each
/// for admin and logger. A child that cannot be reaped has a slot until it is.
const OTHER_SLOTS: usize = 6;
/// Bytes of an index for each file.
const INDEX_FILE: u64 = 160;
/// What part of `--memory-max` the arena has beyond it, for what is replaced and not released yet.
const ARENA_SPARE: u64 = 4;
/// Descriptors of a worker that are neither connections nor files of the site: listeners, pipes,
/// the poll, and some to spare.
const OTHER_DESCRIPTORS: usize = 48;

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    /// Those that this process may run on.
    cpus: u64,
    group: ControlGroup,
    descriptors: usize,
}

/// What tine allows itself here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    /// How many workers to run.
    pub(super) workers: usize,
    /// What their number comes from.
    pub(super) reason: &'static str,
    /// Slots of the scoreboard.
    pub(super) slots: usize,
    /// Most files on disk that a worker keeps open.
    pub(super) open_files_max: usize,
    /// What the site may cost.
    pub(super) site: SiteLimits,
    /// Most connections of each worker.
    pub(super) connections_max: usize,
}

impl Allowance {
    /// What bodies and heads may take of the arena, in bytes.
    fn bodies(&self) -> u64 {
        self.site.memory_max.saturating_add(self.site.memory_max / ARENA_SPARE)
    }

    /// How much of the arena can be in use at most, in bytes: bodies and heads, and two indexes.
    pub(super) fn arena_size(&self) -> u64 {
        let index = (self.site.files_max as u64).saturating_mul(INDEX_FILE);
        self.bodies().saturating_add(index.saturating_mul(2))
    }

    /// How much of the arena may be in use while the next image is made, in bytes.
    pub(super) fn arena_budget(&self, former: Option<&Former<'_>>) -> u64 {
        let index = former.map_or(0, |former| former.site().index_extent().len);
        self.bodies().saturating_add(index.saturating_mul(2))
    }

    /// What is to be made of the folder.
    pub(super) fn rules(&self, config: &Config) -> Rules {
        Rules {
            limits: self.site.clone(),
            spa_fallback: config.spa.clone(),
            extra: config.extra.clone(),
            health: config.health,
            keep_removed_assets: config.keep_removed_assets,
        }
    }
}

impl Machine {
    /// Looks around, and raises the soft limit on descriptors to the hard one.
    pub(super) fn read() -> Self {
        let cpus = sched_getaffinity(Pid::from_raw(0)).map_or(1, |set| {
            (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).count()
        });
        let descriptors = usize::try_from(raise_descriptor_limit()).unwrap_or(usize::MAX);
        Self { cpus: cpus as u64, group: ControlGroup::read(Path::new("/")), descriptors }
    }

    /// Settles what was left to the machine.
    pub(super) fn allow(&self, config: &Config) -> Allowance {
        let site = SiteLimits {
            memory_file_max: config.memory_file_max,
            memory_max: config.memory_max.unwrap_or_else(|| {
                self.group.memory.map_or(MEMORY_MAX, |memory| memory / 4).min(MEMORY_MAX)
            }),
            gzip_max: config.gzip_max,
            files_max: config.files_max,
        };
        let open_files_max =
            config.open_files_max.unwrap_or(OPEN_FILES_MAX).min(self.descriptors / 4);
        let (workers, reason) = match config.workers {
            Some(workers) => (workers.get(), "--workers"),
            None => self.workers(&site),
        };
        let room = self.descriptors.saturating_sub(open_files_max + OTHER_DESCRIPTORS).max(1);
        let connections_max = config.connections_max.unwrap_or(CONNECTIONS_MAX).min(room);
        let slots = 2 * workers + OTHER_SLOTS;
        Allowance { workers, reason, slots, open_files_max, site, connections_max }
    }

    /// As many as everything allows, and what allowed the fewest.
    fn workers(&self, site: &SiteLimits) -> (usize, &'static str) {
        let ControlGroup { cpus, memory, pids } = self.group;
        let by_pids = |pids: u64| pids.saturating_sub(OTHER_PROCESSES);
        let by_memory = |memory: u64| memory.saturating_sub(site.memory_max) / WORKER_MEMORY;
        let limits = [
            (Some(self.cpus), "one for each CPU"),
            (cpus, "by the CPU quota"),
            (Some(WORKERS_MAX), "the most by default"),
            (pids.map(by_pids), "by the limit on processes"),
            (memory.map(by_memory), "by the memory limit"),
        ];
        let limits = limits.into_iter().filter_map(|(most, reason)| Some((most?, reason)));
        let (most, reason) = limits.min_by_key(|&(most, _)| most).unwrap_or((1, "one at least"));
        (usize::try_from(most.max(1)).unwrap_or(1), reason)
    }
}

/// Raises the soft limit on open files as far as it goes, and returns it.
fn raise_descriptor_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: ControlGroup = ControlGroup { cpus: None, memory: None, pids: None };
    const BIG: Machine = Machine { cpus: 4, group: FREE, descriptors: 20_000 };
    const MIB: u64 = 1 << 20;

    fn within(cpus: Option<u64>, memory: Option<u64>, pids: Option<u64>) -> Machine {
        Machine { group: ControlGroup { cpus, memory, pids }, ..BIG }
    }

    #[test]
    fn workers_are_as_many_as_everything_allows() {
        for (machine, workers, reason) in [
            (BIG, 4, "one for each CPU"),
            (Machine { cpus: 64, ..BIG }, 16, "the most by default"),
            (within(Some(2), None, None), 2, "by the CPU quota"),
            (within(Some(9), None, None), 4, "one for each CPU"),
            (within(None, None, Some(9)), 3, "by the limit on processes"),
            (within(None, None, Some(4)), 1, "by the limit on processes"),
            (within(None, Some(32 * MIB), None), 3, "by the memory limit"),
            (within(None, Some(MIB), None), 1, "by the memory limit"),
        ] {
            let allowed = machine.allow(&Config::default());
            assert_eq!((allowed.workers, allowed.reason), (workers, reason), "{machine:?}");
        }
        let asked = Config { workers: 7.try_into().ok(), ..Config::default() };
        assert_eq!(within(Some(1), None, Some(4)).allow(&asked).workers, 7);
    }

    #[test]
    fn a_small_container_holds_less_of_the_site() {
        let config = Config::default();
        assert_eq!(BIG.allow(&config).site.memory_max, 64 * MIB);
        let small = within(None, Some(16 * MIB), None).allow(&config);
        assert_eq!(small.site.memory_max, 4 * MIB);
    }

    #[test]
    fn connections_and_files_fit_the_descriptor_limit() {
        let allow = |descriptors, config: &Config| Machine { descriptors, ..BIG }.allow(config);
        let config = Config::default();
        assert_eq!(allow(20_000, &config).connections_max, 10_000);
        let few = allow(64, &config);
        assert_eq!((few.open_files_max, few.connections_max), (16, 1));
        let some = allow(1024, &config);
        assert_eq!((some.open_files_max, some.connections_max), (256, 720));
        let asked = Config { connections_max: Some(5), ..config };
        assert_eq!(allow(20_000, &asked).connections_max, 5);
    }
}
