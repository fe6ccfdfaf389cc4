//! A volume as Kubernetes makes it of a ConfigMap, whose generations can be told apart.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use crate::harness::{Folder, pass, until};
use crate::versions::flip;

use super::content::{SIZES, body, name};
use super::observations::Observations;

/// How many generations the directories stay that `..data` has left.
const KEPT: u64 = 3;

/// When the next generation is published.
#[derive(Clone, Copy)]
pub enum Pace {
    /// One in each interval.
    Interval(Duration),
    /// As soon as a client has received the former one.
    AfterResponse,
}

pub struct Volume {
    pub folder: Folder,
    pub generation: u64,
}

impl Volume {
    /// Makes a volume of generation 0.
    pub fn new() -> Self {
        let volume = Self { folder: Folder::new(&[]), generation: 0 };
        volume.write(0);
        symlink(directory(0), volume.folder.join("..data")).unwrap();
        for name in (0..SIZES.len()).map(name) {
            symlink(format!("..data/{name}"), volume.folder.join(name)).unwrap();
        }
        volume
    }

    fn write(&self, generation: u64) {
        let directory = self.folder.join(directory(generation));
        fs::create_dir(&directory).unwrap();
        for file in 0..SIZES.len() {
            fs::write(directory.join(name(file)), body(file, generation)).unwrap();
        }
    }

    /// Writes the next generation and flips `..data` to it at `due`, or at once if that is past.
    pub fn publish(&mut self, due: Instant, observations: &Observations) {
        self.generation += 1;
        let generation = self.generation;
        self.write(generation);
        pass(due.saturating_duration_since(Instant::now()));
        // No response may be of a generation above this one.
        observations.begin_publication(generation);
        flip(&self.folder.join("..data"), &directory(generation));
        if let Some(former) = generation.checked_sub(KEPT) {
            fs::remove_dir_all(self.folder.join(directory(former))).unwrap();
        }
    }

    /// Publishes so many generations.
    pub fn publish_many(&mut self, count: u64, pace: Pace, observations: &Observations) {
        let mut due = Instant::now();
        for _ in 0..count {
            if let Pace::Interval(interval) = pace {
                due += interval;
            }
            self.publish(due, observations);
            if let Pace::AfterResponse = pace {
                until("a client has received the generation", || {
                    (observations.newest() >= self.generation).then_some(())
                });
            }
        }
    }
}

fn directory(generation: u64) -> String {
    format!("..{generation}")
}
