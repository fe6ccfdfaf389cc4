//! Who is whose child.

use std::fs;

use nix::unistd::Pid;

/// The processes whose parent is `pid`, the oldest first.
pub fn children(pid: Pid) -> Vec<Pid> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    children.split_ascii_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
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
