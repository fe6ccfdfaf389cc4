//! Kills and stops of processes at random times, which a seed repeats.

use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::pass;

use super::observations::Observations;
use super::processes::{Stopped, client_ports, processes_named};

/// How often each fault was reached.
#[derive(Debug, Default)]
pub struct Faults {
    pub killed_workers: u64,
    pub stopped_workers: u64,
    pub killed_compilers: u64,
}

/// Returns the seed of `SIM_SEED`, or a new one; it is printed for a repetition.
pub fn seed() -> u64 {
    let seed = std::env::var("SIM_SEED").ok().map(|text| text.parse().expect("a whole number"));
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("repeat the faults with SIM_SEED={seed}");
    seed
}

/// Kills and stops processes until the run is over.
pub fn inject(master: Pid, server: SocketAddr, observations: &Observations, seed: u64) -> Faults {
    let (mut rng, mut faults) = (Rng::with_seed(seed), Faults::default());
    while !observations.is_over() {
        pass(Duration::from_millis(rng.u64(10..150)));
        let (fault, choice, stop) = (rng.u8(..10), rng.usize(..), rng.u64(5..120));
        let workers = processes_named(master, "tine-worker");
        let worker = workers.get(choice % workers.len().max(1)).copied();
        match (fault, worker) {
            (0..4, Some(worker)) => {
                faults.stopped_workers += u64::from(stop_for(worker, Duration::from_millis(stop)));
            }
            (4..6, Some(worker)) => {
                faults.killed_workers += u64::from(kill_worker(worker, server, observations));
            }
            (6.., _) => {
                for compiler in processes_named(master, "tine-compiler") {
                    faults.killed_compilers += u64::from(kill(compiler, Signal::SIGKILL).is_ok());
                }
            }
            (_, None) => {}
        }
    }
    faults
}

fn stop_for(worker: Pid, time: Duration) -> bool {
    let stopped = Stopped::new(worker);
    if stopped.is_some() {
        pass(time);
    }
    stopped.is_some()
}

/// Kills a worker while it is stopped: then it cannot accept a connection after its connections
/// were listed, and the failures of exactly these are excused.
fn kill_worker(worker: Pid, server: SocketAddr, observations: &Observations) -> bool {
    let Some(stopped) = Stopped::new(worker) else { return false };
    observations.excuse(client_ports(worker, server));
    kill(stopped.0, Signal::SIGKILL).is_ok()
}
