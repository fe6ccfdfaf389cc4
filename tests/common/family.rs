//! Who is whose child.

use std::fs;

use nix::unistd::Pid;

/// The processes whose parent is `pid`, the oldest first, but for those that only look after tine.
pub fn children(pid: Pid) -> Vec<Pid> {
    let serves = |&child: &Pid| !matches!(&*role(child), "tine-logger" | "tine-admin");
    all_children(pid).into_iter().filter(serves).collect()
}

/// The processes whose parent is `pid`, the oldest first.
pub fn all_children(pid: Pid) -> Vec<Pid> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    children.split_ascii_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}

/// What a process calls itself.
pub fn role(pid: Pid) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

/// The master's child of that name.
pub fn attendant(master: Pid, name: &str) -> Option<Pid> {
    all_children(master).into_iter().find(|&child| role(child) == name)
}

/// Whether a single generation is beneath a process: whoever leads is at the end of a chain of only
/// children, and its workers have none.
pub fn is_one_generation(ancestor: Pid) -> bool {
    let mut family = children(ancestor);
    while let [only] = family[..] {
        match children(only) {
            workers if workers.is_empty() => break,
            below => family = below,
        }
    }
    !family.is_empty() && family.iter().all(|&worker| children(worker).is_empty())
}
