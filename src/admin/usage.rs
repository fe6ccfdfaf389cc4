//! What the processes have used up.

/// The sums over all processes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time of those that live and of those that have died, in seconds.
    pub cpu: f64,
    /// Memory in use, in bytes; what they share is counted once where the system tells.
    pub resident: u64,
    /// Memory that is mapped, in bytes.
    pub mapped: u64,
    /// Open descriptors, if the system tells.
    pub descriptors: Option<u64>,
    /// Most open descriptors of a process.
    pub descriptors_max: u64,
}
