//! The processes of a running tine: by name, their connections, and what each holds.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{PATIENCE, Tine, within};

use super::content::{ON_DISK, name};

/// Returns the master and all processes below it.
pub fn processes(master: Pid) -> Vec<Pid> {
    let mut found = vec![master];
    let mut at = 0;
    while at < found.len() {
        let path = format!("/proc/{0}/task/{0}/children", found[at]);
        let children = fs::read_to_string(path).unwrap_or_default();
        found.extend(
            children.split_ascii_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())),
        );
        at += 1;
    }
    found
}

/// Returns the processes below the master that have this name (comm in proc(5)).
pub fn processes_named(master: Pid, comm: &str) -> Vec<Pid> {
    let has_name = |&pid: &Pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.trim_end() == comm)
    };
    processes(master).into_iter().filter(has_name).collect()
}

/// Returns the client ports of the connections that a process has open.
pub fn client_ports(pid: Pid, server: SocketAddr) -> BTreeSet<u16> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let inode = |target: PathBuf| {
        Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    };
    let inodes: HashSet<String> = targets.filter_map(inode).collect();
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    let connection = |line: &str| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_its = port(columns[1]) == Some(server.port()) && inodes.contains(columns[9]);
        // A listener has port 0 as its peer's.
        port(columns[2]).filter(|&client| is_its && client != 0)
    };
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().skip(1).filter_map(connection).collect()
}

/// A stopped process, which continues when this is dropped.
pub struct Stopped(pub Pid);

impl Stopped {
    /// Stops a process and waits until it is stopped. Returns `None` if it ends before.
    pub fn new(pid: Pid) -> Option<Self> {
        kill(pid, Signal::SIGSTOP).ok()?;
        let stopped = Self(pid);
        let is_stopped =
            within(PATIENCE, || match fs::read_to_string(format!("/proc/{pid}/stat")) {
                Ok(stat) => match stat.rsplit(") ").next()?.chars().next()? {
                    'T' => Some(true),
                    'Z' | 'X' => Some(false),
                    _ => None,
                },
                Err(_) => Some(false),
            });
        is_stopped.expect("it stops or ends").then_some(stopped)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

/// What a process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    comm: String,
    descriptors: usize,
    /// Mappings of a file or a memfd by its name.
    named_mappings: BTreeMap<String, usize>,
    /// All lines of maps.
    mappings: usize,
}

/// How many more anonymous mappings a process may have afterwards: its heap may have grown.
const HEAP_MAPPINGS: usize = 16;

impl Held {
    /// Whether a process holds what it held before.
    pub fn is_like(&self, before: &Self) -> bool {
        self.mappings <= before.mappings + HEAP_MAPPINGS
            && Self { mappings: before.mappings, ..self.clone() } == *before
    }
}

/// Returns what each process of a running tine holds.
pub fn held(tine: &Tine) -> BTreeMap<Pid, Held> {
    let of = |pid: Pid| {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
        let mut named_mappings = BTreeMap::new();
        let names = maps.lines().filter_map(|line| line.split_ascii_whitespace().nth(5));
        for name in names.filter(|name| name.starts_with('/')) {
            *named_mappings.entry(name.to_owned()).or_insert(0) += 1;
        }
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        // A file on disk may stay open until it is removed; so may one that memory had no room for
        // at times.
        let targets = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let targets = targets.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let names: Vec<String> = (0..=ON_DISK).map(name).collect();
        let is_kept =
            |target: &PathBuf| target.exists() && names.iter().any(|name| target.ends_with(name));
        let descriptors = targets.filter(|target| !is_kept(target)).count();
        Some((pid, Held { comm, descriptors, named_mappings, mappings: maps.lines().count() }))
    };
    processes(tine.master()).into_iter().filter_map(of).collect()
}
