//! The limits that a control group sets (cgroups(7)), of either version.

use std::fs;
use std::path::{Path, PathBuf};

/// The limits of a control group and those above it (cgroups(7)), of either version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ControlGroup {
    /// Whole ones, rounded up.
    pub(super) cpus: Option<u64>,
    /// In bytes.
    pub(super) memory: Option<u64>,
    /// Processes and threads.
    pub(super) pids: Option<u64>,
}

impl ControlGroup {
    /// Reads them beneath `top`, which is `/` but for tests.
    pub(super) fn read(top: &Path) -> Self {
        let memberships = fs::read_to_string(top.join("proc/self/cgroup")).unwrap_or_default();
        let mut group = Self::default();
        for membership in memberships.lines() {
            let mut parts = membership.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            // Where several share a hierarchy, its folder may name them in another order, and has
            // a link by the name of each.
            let mounts = controllers.split(',').chain([controllers]);
            for mount in mounts.map(|mount| top.join("sys/fs/cgroup").join(mount)) {
                folders(&mount, path).iter().for_each(|folder| group.tighten(folder));
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

    /// Lays the tree of a recording out, and reads it.
    fn read(recording: &str) -> ControlGroup {
        let top = tempfile::tempdir().unwrap();
        for section in recording.split("== ").skip(1) {
            let (path, text) = section.split_once('\n').unwrap();
            let path = top.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        ControlGroup::read(top.path())
    }

    macro_rules! recording {
        ($name:literal) => {
            read(include_str!(concat!("../../tests/data/cgroups/", $name, ".txt")))
        };
    }

    const MIB: u64 = 1 << 20;

    #[test]
    fn limits_are_found_wherever_a_system_puts_them() {
        let limits = |cpus, memory, pids| ControlGroup { cpus, memory, pids };
        assert_eq!(recording!("podman-v1"), limits(Some(2), Some(64 * MIB), Some(32)));
        assert_eq!(recording!("containerd-v1"), limits(Some(2), Some(32 * MIB), None));
        assert_eq!(recording!("container-v2"), limits(Some(1), Some(16 * MIB), Some(16)));
        assert_eq!(recording!("service-v2"), limits(Some(2), Some(1024 * MIB), Some(4915)));
    }

    #[test]
    fn without_limits_there_are_none_that_matter() {
        let host = recording!("host-v1");
        assert_eq!((host.cpus, host.pids), (None, None));
        assert!(host.memory.is_none_or(|memory| memory > 1 << 60));
        assert_eq!(read(""), ControlGroup::default());
    }
}
