//! What the processes have used up.

/// The sums over all processes, as far as the system tells.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time of those that live and of those that have died, in seconds.
    pub cpu: Option<f64>,
    /// Memory in use, in bytes; what they share is counted once where that is known.
    pub resident: Option<u64>,
    /// Memory that is mapped, in bytes.
    pub mapped: Option<u64>,
    /// Open descriptors.
    pub descriptors: Option<u64>,
    /// Most open descriptors of a process.
    pub descriptors_max: u64,
}
