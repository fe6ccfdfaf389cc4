//! The scheduler of scans through any history of changes, requests and scans: no change is lost,
//! and nothing spins.

use std::time::{Duration, Instant};

use fastrand::Rng;
use tine::control::reload::{
    Event, INDEX_LOSS_GRACE, Pace, ReloadScheduler, SHORT_SCAN, Scan, ScanEnd, Unstable,
};
use tine::site::Pass;

use crate::for_each_seed;

const DEBOUNCE: Duration = Duration::from_millis(100);
const DEBOUNCE_MAX: Duration = Duration::from_secs(5);
const RESCAN: Duration = Duration::from_secs(3600);
/// Between scans that found no room.
const ROOM_PAUSE: Duration = Duration::from_secs(1);
const PACE: Pace = Pace { reload_debounce: DEBOUNCE, rescan_interval: RESCAN };
const UNCHANGED: ScanEnd = ScanEnd::Unchanged { is_unfinished: false, lacks_memory: false };
const FINISHED: ScanEnd =
    ScanEnd::Published { is_unfinished: false, is_partial: false, lacks_memory: false };

/// A scan that is going on.
#[derive(Clone, Copy)]
struct Running {
    scan: Scan,
    began: Instant,
    /// The version of the directory that it reads.
    read: u64,
    /// How many requests were made before it.
    requests: u64,
}

struct World {
    now: Instant,
    scheduler: ReloadScheduler,
    /// Counts the changes of the directory.
    disk: u64,
    served: u64,
    /// Whether the served version has its gzip variants.
    is_full: bool,
    running: Option<Running>,
    requests: u64,
    scanned_requests: u64,
    /// When the first and the last change were noticed that no scan has begun after.
    first_change: Option<Instant>,
    last_change: Instant,
    /// Changes wait until then after a scan that took long.
    changes_from: Instant,
    index_lost_since: Option<Instant>,
    scans: u64,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            now,
            scheduler: ReloadScheduler::new(PACE, now),
            disk: 1,
            served: 0,
            is_full: false,
            running: None,
            requests: 0,
            scanned_requests: 0,
            first_change: None,
            last_change: now,
            changes_from: now,
            index_lost_since: None,
            scans: 0,
        }
    }

    fn change(&mut self) {
        self.disk += 1;
        self.notice();
    }

    /// A notice, with or without a change.
    fn notice(&mut self) {
        self.scheduler.handle(Event::Changed, self.now);
        self.first_change.get_or_insert(self.now);
        self.last_change = self.now;
        self.index_lost_since = self.index_lost_since.map(|_| self.now);
    }

    fn request(&mut self) {
        self.requests += 1;
        self.scheduler.handle(Event::Requested, self.now);
        if self.running.is_none() {
            assert!(self.scheduler.poll_timeout().unwrap() <= self.now, "a request waits");
        }
    }

    /// Begins the scan that is due.
    fn poll(&mut self) -> bool {
        let Some(scan) = self.scheduler.poll_scan(self.now) else { return false };
        assert!(self.running.is_none(), "two scans at a time");
        let is_quiet =
            self.index_lost_since.is_some_and(|since| self.now >= since + INDEX_LOSS_GRACE);
        assert_eq!(scan.may_lose_index, is_quiet, "the index was lost for another time");
        let (began, read, requests) = (self.now, self.disk, self.requests);
        self.running = Some(Running { scan, began, read, requests });
        self.first_change = None;
        self.scans += 1;
        true
    }

    /// Ends the scan, if one is going on.
    fn end(&mut self, end: ScanEnd) {
        let Some(running) = self.running.take() else { return };
        let took = self.now - running.began;
        let is_usual = matches!(end, ScanEnd::Unchanged { .. } | ScanEnd::Published { .. });
        if let ScanEnd::Published { is_unfinished, .. } = end {
            assert!(running.read >= self.served, "an earlier version came back");
            (self.served, self.is_full) = (running.read, !is_unfinished);
        }
        if is_usual {
            (self.changes_from, self.index_lost_since) = (self.now + pause_after(took), None);
        }
        if !matches!(end, ScanEnd::Unstable | ScanEnd::NoRoom) {
            self.scanned_requests = running.requests;
        }
        if end == ScanEnd::IndexLost {
            self.index_lost_since.get_or_insert(self.now);
        }
        self.scheduler.handle(Event::Ended(end, took), self.now);
        self.check_due(end);
    }

    /// How long what is pending waits after the end of a scan.
    fn check_due(&self, end: ScanEnd) {
        let due = self.scheduler.poll_timeout().unwrap();
        let retry = self.now + DEBOUNCE.max(ROOM_PAUSE);
        if self.requests > self.scanned_requests {
            assert!(due <= retry, "a request waits for {:?} after {end:?}", due - self.now);
        }
        if let Some(first) = self.first_change {
            let debounced = (self.last_change + DEBOUNCE).min(first + DEBOUNCE_MAX);
            let latest = debounced.max(self.changes_from).max(retry);
            assert!(due <= latest, "a change waits for {:?} after {end:?}", due - self.now);
        }
    }

    /// What the scan would come to if nothing goes wrong.
    fn calm_end(&self) -> ScanEnd {
        let Some(running) = self.running else { return UNCHANGED };
        let is_full = running.scan.pass == Pass::Full;
        if running.read == self.served && (self.is_full || !is_full) {
            let is_unfinished = !self.is_full;
            return ScanEnd::Unchanged { is_unfinished, lacks_memory: false };
        }
        let is_unfinished = !is_full;
        ScanEnd::Published { is_unfinished, is_partial: false, lacks_memory: false }
    }

    fn any_end(&self, rng: &mut Rng) -> ScanEnd {
        match rng.u8(0..12) {
            0 => ScanEnd::Unstable,
            1 => ScanEnd::IndexLost,
            2 => ScanEnd::NoRoom,
            3 => ScanEnd::Refused,
            // A former version of a file was served: the compiler notices that as a change.
            4 if self.running.is_some_and(|running| running.read > self.served + 1) => {
                ScanEnd::Published { is_unfinished: true, is_partial: true, lacks_memory: true }
            }
            _ => self.calm_end(),
        }
    }

    fn trouble(&mut self, rng: &mut Rng) {
        match rng.u8(0..12) {
            0..3 => self.change(),
            3 => self.notice(),
            4 => self.request(),
            5..8 => {
                let end = self.any_end(rng);
                let is_running = self.running.is_some();
                self.end(end);
                if end == ScanEnd::Refused && is_running {
                    // What cannot be served is put right by another change.
                    self.change();
                }
            }
            8 if rng.u8(0..4) == 0 => self.now += INDEX_LOSS_GRACE / 2,
            _ => self.now += Duration::from_millis(rng.u64(0..400)),
        }
        self.poll();
    }

    /// Lets time go by until something is due, and does it.
    fn go_on(&mut self, took: Duration) {
        if !self.poll() {
            self.now = self.now.max(self.scheduler.poll_timeout().unwrap());
            assert!(self.poll(), "nothing is done at the time that was said");
        }
        self.now += took;
        let end = self.calm_end();
        self.end(end);
    }
}

#[test]
fn changes_of_any_history_are_served_at_last_with_their_variants() {
    for_each_seed(|rng| {
        let mut world = World::new();
        for _ in 0..rng.usize(1..200) {
            world.trouble(rng);
        }
        world.end(ScanEnd::Unstable);
        // Longer than any wait; the rescan is not needed for it.
        let end = world.now + RESCAN / 2;
        while world.scheduler.poll_timeout().is_none_or(|due| due < end) {
            world.go_on(Duration::from_millis(rng.u64(0..50)));
            assert!(world.now < end, "it never comes to rest");
        }
        assert_eq!(world.served, world.disk, "a change was lost");
        assert!(world.is_full, "the variants were left out");
        assert_eq!(world.scanned_requests, world.requests, "a request was lost");
    });
}

/// How long changes wait after a scan.
fn pause_after(scan: Duration) -> Duration {
    if scan > SHORT_SCAN { scan } else { Duration::ZERO }
}

#[test]
fn change_waits_for_the_debounce_and_the_length_of_one_scan_at_most() {
    for_each_seed(|rng| {
        let mut world = World::new();
        let took =
            Duration::from_millis(if rng.bool() { rng.u64(..=200) } else { rng.u64(..20_000) });
        let pause = pause_after(took);
        // The first scan, and the gzip variants.
        world.go_on(took);
        world.go_on(took);
        let ended = world.now;
        let mut first = None;
        while !world.poll() {
            let step = Duration::from_millis(rng.u64(1..=150));
            let due = world.scheduler.poll_timeout().unwrap();
            if first.is_some() && (rng.u8(0..20) == 0 || due < world.now + step) {
                world.now = world.now.max(due);
                continue;
            }
            world.now += step;
            world.change();
            first.get_or_insert(world.now);
        }
        let first = first.unwrap();
        let latest = (world.last_change + DEBOUNCE).min(first + DEBOUNCE_MAX).max(ended + pause);
        assert!(world.now >= ended + pause, "the pause after a long scan is cut short");
        assert!(world.now <= latest, "the change has waited for {:?}", world.now - first);
        let unstable = world.running.unwrap().scan.unstable;
        let is_late = world.now >= first + DEBOUNCE_MAX;
        assert_eq!(unstable, if is_late { Unstable::Accept } else { Unstable::Retry });
    });
}

#[test]
fn change_noticed_while_a_full_pass_finds_no_room_keeps_its_age() {
    let mut world = World::new();
    world.go_on(Duration::ZERO);
    assert!(world.poll(), "the full pass is due");
    world.change();
    let first = world.now;
    world.now += DEBOUNCE_MAX / 2;
    world.end(ScanEnd::NoRoom);
    while !world.poll() {
        world.change();
        world.now += DEBOUNCE / 2;
    }
    assert!(world.now - first <= DEBOUNCE_MAX);
}

#[test]
fn changes_that_never_stop_are_scanned_after_five_seconds() {
    let mut world = World::new();
    world.go_on(Duration::ZERO);
    world.go_on(Duration::ZERO);
    let began = world.now;
    loop {
        world.change();
        if world.poll() {
            break;
        }
        world.now += DEBOUNCE / 2;
    }
    assert_eq!(world.now - began, DEBOUNCE_MAX);
    assert_eq!(world.running.unwrap().scan.unstable, Unstable::Accept);
}

#[test]
fn rescan_without_a_notice_waits_for_twenty_times_the_length_of_a_scan() {
    for (took, pause) in [(1, 3600), (180, 3600), (181, 3620), (1000, 20_000)] {
        let mut world = World::new();
        world.go_on(Duration::ZERO);
        world.go_on(Duration::from_secs(took));
        let due = world.scheduler.poll_timeout().unwrap();
        assert_eq!(due - world.now, Duration::from_secs(pause), "after {took} s");
        world.request();
        assert!(world.poll(), "a request does not wait");
    }
}

#[test]
fn lost_index_is_accepted_after_thirty_seconds_without_a_change() {
    let mut world = World::new();
    world.go_on(Duration::ZERO);
    world.go_on(Duration::ZERO);
    world.change();
    let began = world.now;
    let mut scans = Vec::new();
    let mut has_changed = false;
    while world.now < began + Duration::from_secs(60) {
        if world.now >= began + Duration::from_secs(10) && !has_changed {
            has_changed = true;
            world.change();
        }
        if world.poll() {
            let may_lose_index = world.running.unwrap().scan.may_lose_index;
            scans.push(((world.now - began).as_secs(), may_lose_index));
            world.end(if may_lose_index { FINISHED } else { ScanEnd::IndexLost });
        }
        world.now += Duration::from_millis(100);
    }
    assert!((30..60).contains(&scans.len()), "once a second: {scans:?}");
    scans.retain(|&(_, may_lose_index)| may_lose_index);
    assert_eq!(scans, [(40, true)]);
}

#[test]
fn scans_that_always_end_alike_do_not_spin() {
    let published =
        |lacks_memory| ScanEnd::Published { is_unfinished: true, is_partial: true, lacks_memory };
    for (end, most) in [
        (UNCHANGED, 2),
        (ScanEnd::Refused, 61),
        (ScanEnd::IndexLost, 62),
        (ScanEnd::Unstable, 610),
        (ScanEnd::NoRoom, 61),
        (FINISHED, 1),
        (published(false), 610),
        (published(true), 610),
    ] {
        let mut world = World::new();
        let began = world.now;
        while world.now < began + Duration::from_secs(60) {
            if world.poll() {
                world.served = 0;
                world.end(end);
            } else {
                world.now = world.scheduler.poll_timeout().unwrap();
            }
        }
        assert!(world.scans <= most, "{} scans that end in {end:?}", world.scans);
    }
}
