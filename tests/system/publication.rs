//! The claim of a reload, held under load: once any client has been answered from a generation, no
//! request that is sent later is answered from an older one, by any worker; no response mixes two;
//! and no connection is closed, moved or delayed by a reload.
//!
//! A ConfigMap volume is flipped while fast and slow clients check every byte that they receive.
//! `SIM_SEED` repeats the faults of a run, `BUDGET` multiplies the generations.

mod clients;
mod content;
mod faults;
mod mutants;
mod observations;
mod processes;
mod volume;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::unistd::Pid;

use crate::budget;
use crate::harness::{Over, PATIENCE, Tine, command, until, within};
use crate::observe::metric;

use self::clients::{Connection, FAST, exchange, run_fast, run_slow};
use self::content::{ON_DISK, SIZES, body, check};
use self::faults::{Faults, inject, seed};
use self::observations::Observations;
use self::processes::{Held, Stopped, client_ports, held, processes_named};
use self::volume::{Pace, Volume};

const WORKERS: usize = 2;
const FLAGS: [&str; 10] = [
    "--listen",
    "127.0.0.1:0",
    "--admin-listen",
    "127.0.0.1:0",
    "--workers",
    "2",
    "--memory-file-max",
    "1MiB",
    "--reload-debounce",
    "5ms",
];
const FAST_PER_WORKER: usize = 2;
const SLOW: usize = 30;
/// How many generations the slowest response in memory must span.
const SPANNED_MIN: u64 = 5;
/// The most bytes that the index and a stored head take for a file (paths of 40 bytes).
const INDEX_AND_HEAD_MAX: usize = 160 + 256;

/// How a site is published.
struct Publication {
    what: &'static str,
    generations: u64,
    pace: Pace,
    /// How many of the generations the clients must have seen. A compile shares the CPUs with all
    /// clients, and one that a flip comes into is begun anew.
    seen_min: u64,
    has_faults: bool,
}

struct Setup {
    volume: Volume,
    tine: Tine,
    observations: Observations,
}

impl Setup {
    fn new() -> Self {
        let volume = Volume::new();
        let mut command = command(volume.folder.path());
        command.args(FLAGS);
        let tine = Tine::begin(&mut command);
        Self { volume, tine, observations: Observations::default() }
    }

    fn workers(&self) -> Vec<Pid> {
        processes_named(self.tine.master(), "tine-worker")
    }

    /// Publishes a few generations and requests every file of each worker, so that all that is
    /// made on first use is there.
    fn warm_up(&mut self) {
        for _ in 0..5 {
            self.volume.publish(Instant::now(), &self.observations);
            self.wait_for_last_generation();
        }
        let every_file: Vec<usize> = (0..SIZES.len()).collect();
        for mut connection in self.connect_to_each_worker() {
            let mut rng = Rng::new();
            exchange(&mut connection, &every_file, FAST, &self.observations, &mut rng).unwrap();
        }
    }

    /// Waits until a client has received the last generation.
    fn wait_for_last_generation(&self) {
        let mut rng = Rng::new();
        let mut connection = Connection::open(self.tine.address).unwrap();
        until("the last generation is served", || {
            exchange(&mut connection, &[1], FAST, &self.observations, &mut rng).unwrap();
            (self.observations.newest() == self.volume.generation).then_some(())
        });
    }

    /// Opens the same number of connections to each worker: all others are stopped meanwhile.
    fn connect_to_each_worker(&self) -> Vec<Connection> {
        let workers = until("all workers are there, and no other", || {
            Some(self.workers()).filter(|workers| workers.len() == WORKERS)
        });
        let mut connections = Vec::new();
        for &worker in &workers {
            let others = workers.iter().filter(|&&other| other != worker);
            let stopped: Vec<_> = others.filter_map(|&other| Stopped::new(other)).collect();
            assert_eq!(stopped.len(), WORKERS - 1);
            for _ in 0..FAST_PER_WORKER {
                let mut connection = Connection::open(self.tine.address).unwrap();
                let mut rng = Rng::new();
                exchange(&mut connection, &[1], FAST, &self.observations, &mut rng).unwrap();
                connections.push(connection);
            }
        }
        connections
    }

    /// Returns what each process holds while no client is connected.
    fn held_without_clients(&self) -> BTreeMap<Pid, Held> {
        until("all connections are closed", || {
            let ports = |&worker: &Pid| client_ports(worker, self.tine.address);
            self.workers().iter().all(|worker| ports(worker).is_empty()).then_some(())
        });
        held(&self.tine)
    }

    /// Returns the workers of these connections.
    fn workers_of(&self, ports: &BTreeSet<u16>) -> BTreeMap<Pid, BTreeSet<u16>> {
        let of = |worker: Pid| &client_ports(worker, self.tine.address) & ports;
        self.workers().into_iter().map(|worker| (worker, of(worker))).collect()
    }

    /// Flips the volume beside all clients.
    fn run(&mut self, publication: &Publication) -> Faults {
        let connections = self.connect_to_each_worker();
        let ports: BTreeSet<u16> = connections.iter().map(|connection| connection.port).collect();
        let before = self.workers_of(&ports);
        let served: usize = before.values().map(BTreeSet::len).sum();
        assert_eq!(served, WORKERS * FAST_PER_WORKER, "{before:?}");
        let (address, master): (SocketAddr, _) = (self.tine.address, self.tine.master());
        let seed = publication.has_faults.then(seed);
        let observations = &self.observations;
        let (faults, after) = thread::scope(|scope| {
            let over = Over(&observations.is_over);
            for connection in connections {
                scope.spawn(move || run_fast(connection, address, observations));
            }
            for number in 0..SLOW {
                scope.spawn(move || run_slow(number, address, observations));
            }
            let faults =
                seed.map(|seed| scope.spawn(move || inject(master, address, observations, seed)));
            self.volume.publish_many(publication.generations, publication.pace, observations);
            if seed.is_none() {
                until("the last generation is seen", || {
                    (observations.newest() == self.volume.generation).then_some(())
                });
            }
            let workers_of = |worker| (worker, &client_ports(worker, address) & &ports);
            let workers = processes_named(master, "tine-worker");
            let after: BTreeMap<_, _> = workers.into_iter().map(workers_of).collect();
            drop(over);
            (faults.map(|thread| thread.join().unwrap()).unwrap_or_default(), after)
        });
        if !publication.has_faults {
            assert_eq!(after, before, "no connection is moved");
        }
        faults
    }

    /// Waits until the arena holds the last generation and little more.
    fn assert_memory_returns(&self) {
        let live: usize = SIZES[..ON_DISK].iter().map(|size| size + INDEX_AND_HEAD_MAX).sum();
        let bodies: usize = SIZES[..ON_DISK].iter().sum();
        let range = bodies as u64..=(live + live / 4) as u64;
        let mut memory = 0;
        let has_returned = within(PATIENCE, || {
            memory = metric(&self.tine, "tine_site_memory_bytes");
            range.contains(&memory).then_some(())
        });
        let in_memory = metric(&self.tine, "tine_site_in_memory_bytes");
        println!("memory of the site: {memory} bytes, heads and bodies: {in_memory} bytes");
        assert!(has_returned.is_some(), "{memory} bytes, not in {range:?}");
    }

    /// Waits until each process holds what it held before.
    fn assert_held_as_before(&self, before: &BTreeMap<Pid, Held>) {
        let mut after = self.held_without_clients();
        let is_as_before = |after: &BTreeMap<Pid, Held>| {
            let holds = |pid, held: &Held| before.get(pid).is_some_and(|old| held.is_like(old));
            after.len() == before.len() && after.iter().all(|(pid, held)| holds(pid, held))
        };
        within(PATIENCE, || {
            after = held(&self.tine);
            is_as_before(&after).then_some(())
        });
        assert!(is_as_before(&after), "before: {before:#?}\nafter: {after:#?}");
    }
}

fn assert_publication(publication: &Publication) {
    let mut setup = Setup::new();
    setup.warm_up();
    let before = setup.held_without_clients();
    let known = setup.observations.seen() as u64;
    let faults = setup.run(publication);
    setup.wait_for_last_generation();
    setup.observations.print(publication.what);
    setup.observations.assert_none_wrong();
    let seen = setup.observations.seen() as u64 - known;
    assert!(seen >= publication.seen_min, "{seen} of {} seen", publication.generations);
    // Otherwise slow clients do not test what they are there for.
    let spanned = setup.observations.spanned.load(SeqCst);
    assert!(spanned >= SPANNED_MIN, "no response spans more than {spanned} generations");
    if publication.has_faults {
        println!("{faults:?}");
        let Faults { killed_workers, stopped_workers, killed_compilers } = faults;
        let counts = [killed_workers, stopped_workers, killed_compilers];
        assert!(counts.iter().all(|&count| count > 0), "{faults:?}");
    } else if publication.seen_min > 1 {
        // Otherwise each directory is gone before a compile that names its files is published.
        assert_eq!(setup.observations.unavailable.load(SeqCst), 0);
    }
    setup.assert_memory_returns();
    if !publication.has_faults {
        setup.assert_held_as_before(&before);
    }
}

#[test]
fn responses_at_10_reloads_per_second_are_whole_and_never_older() {
    let times = budget(1).as_secs();
    assert_publication(&Publication {
        what: "10 reloads per second",
        generations: 100 * times,
        pace: Pace::Interval(Duration::from_millis(100)),
        seen_min: 90 * times,
        has_faults: false,
    });
}

#[test]
fn responses_at_50_reloads_per_second_are_whole_and_never_older() {
    let times = budget(1).as_secs();
    assert_publication(&Publication {
        what: "50 reloads per second",
        generations: 300 * times,
        pace: Pace::Interval(Duration::from_millis(20)),
        seen_min: 250 * times,
        has_faults: false,
    });
}

#[test]
fn responses_at_reloads_without_pause_are_whole_and_never_older() {
    assert_publication(&Publication {
        what: "reloads without a pause",
        generations: 500 * budget(1).as_secs(),
        pace: Pace::Interval(Duration::ZERO),
        seen_min: 1,
        has_faults: false,
    });
}

#[test]
fn responses_at_reloads_that_follow_each_response_are_whole_and_never_older() {
    let generations = budget(300).as_secs();
    assert_publication(&Publication {
        what: "a reload after each response of the former",
        generations,
        pace: Pace::AfterResponse,
        seen_min: generations,
        has_faults: false,
    });
}

#[test]
fn responses_beside_killed_and_stopped_processes_are_whole_and_never_older() {
    assert_publication(&Publication {
        what: "kills and stops at 25 reloads per second",
        generations: 250 * budget(1).as_secs(),
        pace: Pace::Interval(Duration::from_millis(40)),
        seen_min: 1,
        has_faults: true,
    });
}

#[test]
fn body_served_for_a_volume_is_the_one_that_was_generated() {
    let setup = Setup::new();
    for file in 0..SIZES.len() {
        let response = setup.tine.get(&format!("/{}", content::name(file)));
        assert_eq!(response.status(), 200);
        assert_eq!(check(file, &response.body), check(file, &body(file, 0)));
    }
}
