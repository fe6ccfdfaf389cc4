//! Control groups of either version (cgroups(7)), made for one test and removed with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{PATIENCE, until, within};

/// A control group with one controller.
pub struct Group {
    folder: PathBuf,
    is_v2: bool,
}

impl Group {
    pub fn new(controller: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tine-test-{}-{number}", std::process::id());
        let top = Path::new("/sys/fs/cgroup");
        let is_v2 = top.join("cgroup.controllers").exists();
        let folder = if is_v2 { top.join(name) } else { top.join(controller).join(name) };
        if is_v2 && controller != "freezer" {
            fs::write(top.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
        }
        fs::create_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}; run as root", folder.display()));
        Self { folder, is_v2 }
    }

    /// Writes to one of the group's files, which has a name in each version.
    pub fn set(&self, v1: &str, v2: &str, value: &str) {
        let name = if self.is_v2 { v2 } else { v1 };
        let path = self.folder.join(name);
        fs::write(&path, value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Stops everybody in the group, or lets them go on.
    pub fn freeze(&self, frozen: bool) {
        let v2 = if frozen { "1" } else { "0" };
        let v1 = if frozen { "FROZEN" } else { "THAWED" };
        self.set("freezer.state", "cgroup.freeze", if self.is_v2 { v2 } else { v1 });
        if !self.is_v2 {
            let state = || fs::read_to_string(self.folder.join("freezer.state")).unwrap();
            until("the state is reached", || (state().trim() == v1).then_some(()));
        }
    }

    /// How many processes the kernel has killed for want of memory.
    pub fn oom_kills(&self) -> u64 {
        let name = if self.is_v2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.folder.join(name)).unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.expect("a count").parse().unwrap()
    }

    /// The memory that is in use, in bytes.
    pub fn memory(&self) -> u64 {
        self.read_number("memory.usage_in_bytes", "memory.current")
    }

    /// The most memory that was in use, in bytes: since [`Group::reset_peak`], or with version 2
    /// since the start.
    pub fn peak(&self) -> u64 {
        self.read_number("memory.max_usage_in_bytes", "memory.peak")
    }

    pub fn reset_peak(&self) {
        if !self.is_v2 {
            fs::write(self.folder.join("memory.max_usage_in_bytes"), "0").unwrap();
        }
    }

    /// The most memory that the send buffers of so many connections may take, in bytes: version 1
    /// does not count them.
    pub fn sockets_max(&self, connections: u32) -> u64 {
        let limits = fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").unwrap();
        let limit: u64 = limits.split_ascii_whitespace().last().unwrap().parse().unwrap();
        if self.is_v2 { u64::from(connections) * limit } else { 0 }
    }

    /// The page cache of files on disk that is counted for the group, in bytes: the kernel takes it
    /// back before it refuses memory.
    pub fn file_cache(&self) -> u64 {
        let stat = fs::read_to_string(self.folder.join("memory.stat")).unwrap();
        let value = |name: &str| {
            let mut values = stat.lines().filter_map(|line| line.strip_prefix(name));
            values.find_map(|value| value.strip_prefix(' ')?.parse::<u64>().ok()).unwrap()
        };
        value(if self.is_v2 { "file" } else { "cache" }) - value("shmem")
    }

    fn read_number(&self, v1: &str, v2: &str) -> u64 {
        let name = if self.is_v2 { v2 } else { v1 };
        fs::read_to_string(self.folder.join(name)).unwrap().trim().parse().unwrap()
    }

    /// A command that begins in this group.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ >"$0" && exec "$@""#]);
        command.arg(self.folder.join("cgroup.procs")).arg(program);
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever was in it may be on the way out still.
        let is_removed = within(PATIENCE, || fs::remove_dir(&self.folder).ok()).is_some();
        assert!(is_removed || std::thread::panicking(), "the group cannot be removed");
    }
}
