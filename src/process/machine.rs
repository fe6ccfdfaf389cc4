//! What the machine, or the container, allows: the defaults that depend on it.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

use crate::config::{Config, MEMORY_MAX, OPEN_MAX};
use crate::site::SiteLimits;

/// Most worker processes by default.
const WORKERS_MAX: u64 = 16;
/// Processes that are no workers, with some to spare.
const OTHER_PROCESSES: u64 = 6;
/// Generations that may live at the same time, at most, in a container that counts processes.
const GENERATIONS: u64 = 3;
/// What a worker may need of a container's memory beside the site, in bytes.
const WORKER_MEMORY: u64 = 8 * 1024 * 1024;

/// What there is. None is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    cpus: u64,
    /// Of the control group, in bytes.
    memory: Option<u64>,
    /// Of the control group.
    pids: Option<u64>,
    descriptors: u64,
}

impl Machine {
    /// Looks around, and raises the soft limit on descriptors to the hard one.
    pub(super) fn read() -> Self {
        let cpus = sched_getaffinity(Pid::from_raw(0)).map_or(1, |set| {
            (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).count()
        });
        let group = ControlGroup::read(Path::new("/"));
        Self {
            cpus: (cpus as u64).min(group.cpus.unwrap_or(u64::MAX)).max(1),
            memory: group.memory,
            pids: group.pids,
            descriptors: raise_descriptor_limit(),
        }
    }

    /// How many workers to run.
    pub(super) fn workers(&self, config: &Config) -> usize {
        if let Some(workers) = config.workers {
            return workers.get();
        }
        let by_pids = self.pids.map(|pids| pids.saturating_sub(OTHER_PROCESSES) / GENERATIONS);
        let by_memory = self.memory.map(|memory| {
            memory.saturating_sub(self.site_limits(config).memory_max) / WORKER_MEMORY
        });
        let limits = [Some(WORKERS_MAX), by_pids, by_memory];
        let workers = limits.into_iter().flatten().fold(self.cpus, u64::min).max(1);
        usize::try_from(workers).unwrap_or(1)
    }

    /// What the site may cost.
    pub(super) fn site_limits(&self, config: &Config) -> SiteLimits {
        let quarter = |all: u64| all / 4;
        let descriptors = usize::try_from(quarter(self.descriptors)).unwrap_or(usize::MAX);
        SiteLimits {
            inline_max: config.inline_max,
            memory_max: config
                .memory_max
                .unwrap_or_else(|| self.memory.map_or(MEMORY_MAX, quarter).min(MEMORY_MAX)),
            open_max: config.open_max.unwrap_or(OPEN_MAX).min(descriptors),
        }
    }
}

/// Raises the soft limit on open files as far as it goes, and returns it.
fn raise_descriptor_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}

/// The limits of a control group and those above it (cgroups(7)), of either version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ControlGroup {
    /// Whole ones, rounded up.
    cpus: Option<u64>,
    memory: Option<u64>,
    pids: Option<u64>,
}

impl ControlGroup {
    /// Reads them beneath `top`, which is `/` but for tests.
    fn read(top: &Path) -> Self {
        let memberships = fs::read_to_string(top.join("proc/self/cgroup")).unwrap_or_default();
        let mut group = Self::default();
        for membership in memberships.lines() {
            let mut parts = membership.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            for folder in folders(&top.join("sys/fs/cgroup").join(controllers), path) {
                group.tighten(&folder);
            }
        }
        group
    }

    /// Takes the limits in one folder over where they are tighter. A file that is not there, or
    /// says `max` or -1, is no limit.
    fn tighten(&mut self, folder: &Path) {
        let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        let number = |name: &str| text(name).trim().parse::<u64>().ok();
        let quota_v2 = text("cpu.max");
        let quota_v2 = quota_v2
            .split_once(' ')
            .and_then(|(quota, period)| Some((quota.parse().ok()?, period.trim().parse().ok()?)));
        let quota_v1 = || number("cpu.cfs_quota_us").zip(number("cpu.cfs_period_us"));
        let cpus = quota_v2
            .or_else(quota_v1)
            .filter(|&(_, period)| period > 0)
            .map(|(quota, period): (u64, u64)| quota.div_ceil(period));
        tighten(&mut self.cpus, cpus);
        tighten(&mut self.memory, number("memory.max"));
        tighten(&mut self.memory, number("memory.limit_in_bytes"));
        tighten(&mut self.pids, number("pids.max"));
    }
}

fn tighten(limit: &mut Option<u64>, found: Option<u64>) {
    *limit = [*limit, found].into_iter().flatten().min();
}

/// The folders of a group and of those above it. In a container the path may be the host's and
/// not be there; the top folder is the container's own then, and always is.
fn folders(mount: &Path, group: &str) -> Vec<PathBuf> {
    let group = Path::new(group.trim_start_matches('/'));
    group.ancestors().map(|ancestor| mount.join(ancestor)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIG: Machine = Machine { cpus: 4, memory: None, pids: None, descriptors: 20_000 };

    fn tree(files: &[(&str, &str)]) -> ControlGroup {
        let top = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = top.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        ControlGroup::read(top.path())
    }

    #[test]
    fn limits_of_both_versions_are_read_from_all_levels() {
        let v2 = tree(&[
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/a/memory.max", "max\n"),
            ("sys/fs/cgroup/a/b/memory.max", "16777216\n"),
            ("sys/fs/cgroup/a/pids.max", "99\n"),
            ("sys/fs/cgroup/a/b/pids.max", "16\n"),
        ]);
        let expected = ControlGroup { cpus: Some(2), memory: Some(1 << 24), pids: Some(16) };
        assert_eq!(v2, expected);
        let v1 = tree(&[
            ("proc/self/cgroup", "5:memory:/host\n4:cpu,cpuacct:/host\n3:pids:/host\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "16777216\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/pids/pids.max", "16\n"),
        ]);
        assert_eq!(v1, ControlGroup { cpus: Some(1), ..expected });
        let unlimited =
            [("proc/self/cgroup", "4:cpu:/\n"), ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1")];
        assert_eq!(tree(&unlimited), ControlGroup::default());
    }

    #[test]
    fn workers_are_as_many_as_everything_allows() {
        let config = Config::default();
        assert_eq!(BIG.workers(&config), 4);
        assert_eq!(Machine { cpus: 64, ..BIG }.workers(&config), 16);
        assert_eq!(Machine { pids: Some(16), ..BIG }.workers(&config), 3);
        assert_eq!(Machine { pids: Some(4), ..BIG }.workers(&config), 1);
        assert_eq!(Machine { memory: Some(16 << 20), ..BIG }.workers(&config), 1);
        let asked = Config { workers: 7.try_into().ok(), ..config };
        assert_eq!(Machine { pids: Some(4), ..BIG }.workers(&asked), 7);
    }

    #[test]
    fn a_small_container_holds_less_of_the_site() {
        let config = Config::default();
        assert_eq!(BIG.site_limits(&config).memory_max, 64 << 20);
        let small = Machine { memory: Some(16 << 20), descriptors: 64, ..BIG };
        assert_eq!(small.site_limits(&config).memory_max, 4 << 20);
        assert_eq!(small.site_limits(&config).open_max, 16);
    }
}
