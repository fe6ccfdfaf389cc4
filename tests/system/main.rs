//! tine under the limits of a real system: control groups, errors that a tracer puts into its
//! calls, ten thousand connections, a hundred thousand files, kills without end, and the programs
//! that people really use. It needs root and what `tests/all` installs; `BUDGET` makes it longer.

mod adversity;
mod browser;
mod cache;
#[path = "../common/golden.rs"]
mod cases;
mod chromium;
mod clients;
mod containers;
mod differences;
mod endurance;
mod generations;
mod groups;
#[path = "../common/harness.rs"]
mod harness;
mod injection;
mod kills;
mod kubernetes;
mod kustomize;
mod limits;
mod many;
mod memory;
mod observe;
mod older_format;
mod peers;
mod podman;
mod pods;
mod publication;
mod rollouts;
mod shared_memory;
mod smuggling;
mod versions;

/// Seconds, times what `BUDGET` says.
fn budget(seconds: u64) -> std::time::Duration {
    let budget = std::env::var("BUDGET").map_or(1, |text| text.parse().expect("a whole number"));
    std::time::Duration::from_secs(seconds * budget)
}
