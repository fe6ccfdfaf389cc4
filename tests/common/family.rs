//! The processes of a running tine.

use std::fs;

use nix::unistd::Pid;

/// The processes whose parent is `pid`, the oldest first.
pub fn children(pid: Pid) -> Vec<Pid> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    children.split_ascii_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}

/// The name of a process (comm).
pub fn name(pid: Pid) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

/// The master's children of that name, the oldest first.
pub fn children_named(master: Pid, wanted: &str) -> Vec<Pid> {
    children(master).into_iter().filter(|&child| name(child) == wanted).collect()
}
