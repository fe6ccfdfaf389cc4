//! Generations through any history of changes and deaths: one leads, a change is never lost.

use std::time::{Duration, Instant};

use fastrand::Rng;
use tine::site::Patience;
use tine::succession::{Action, End, Event, Pace, Succession};

use crate::for_each_seed;

const PACE: Pace = Pace {
    reload_debounce: Duration::from_millis(100),
    rescan_interval: Duration::from_secs(3600),
    crowd_max: Duration::from_secs(20),
};

/// A process that leads, with the successor that it has, if it has one.
struct Leader {
    succession: Succession,
    successor: Option<Successor>,
}

/// A child of the leader: it dies with it, until it is in office.
struct Successor {
    /// What it has read; none before it has walked.
    read: Option<u64>,
    /// Whether something has changed since it made its watches.
    has_news: bool,
}

struct World {
    now: Instant,
    /// Counts the changes on the disk.
    disk: u64,
    serving: u64,
    /// None between its death and the end of the line.
    leader: Option<Leader>,
    /// Whether former generations leave room for the next.
    has_room: bool,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let (disk, serving, leader) = (1, 0, Some(first(now)));
        Self { now, disk, serving, leader, has_room: true }
    }

    fn change(&mut self) {
        self.disk += 1;
        let Some(leader) = &mut self.leader else { return };
        leader.succession.handle(Event::Changed, self.now);
        if let Some(successor) = &mut leader.successor {
            successor.has_news = true;
        }
    }

    /// The leader does what is due.
    fn act(&mut self) {
        let (now, has_room) = (self.now, self.has_room);
        let Some(leader) = &mut self.leader else { return };
        match leader.succession.poll_action(has_room, now) {
            None => {}
            Some(Action::Cut) => self.has_room = true,
            Some(Action::Start(_)) => {
                assert!(leader.successor.is_none(), "two successors at a time");
                leader.successor = Some(Successor { read: None, has_news: false });
                leader.succession.handle(Event::Started, now);
            }
        }
    }

    /// The successor goes on by one step: it walks, and then it ends or takes office.
    fn step(&mut self) {
        let (now, disk, serving) = (self.now, self.disk, self.serving);
        let Some(leader) = &mut self.leader else { return };
        let Some(successor) = &mut leader.successor else { return };
        let Some(read) = successor.read else {
            successor.read = Some(disk);
            return;
        };
        if read == serving {
            leader.end(End::Unchanged, now);
            return;
        }
        assert!(read > serving, "an earlier state came back");
        self.serving = read;
        let mut succession = Succession::new(PACE, Duration::from_millis(2), now);
        if successor.has_news {
            succession.handle(Event::Changed, now);
        }
        // The former leader finds on the board that it does not lead any more.
        self.leader = Some(Leader { succession, successor: None });
    }

    /// The leader dies, and its successor with it; then the line has ended.
    fn lose_leader(&mut self) {
        self.leader = None;
    }

    fn heed_line(&mut self) {
        self.leader.get_or_insert_with(|| first(self.now));
    }

    fn trouble(&mut self, rng: &mut Rng) {
        let now = self.now;
        match rng.u8(0..12) {
            0..3 => self.change(),
            3 => self.lose_leader(),
            4 => self.heed_line(),
            5 => {
                let ends = [End::Died, End::Unsettled, End::Refused];
                let end = *rng.choice(&ends).unwrap();
                if let Some(leader) = &mut self.leader {
                    leader.end(end, now);
                    if end == End::Refused {
                        // What could not be served is mended by another change.
                        self.change();
                    }
                }
            }
            6 => self.has_room = rng.bool(),
            7 => {
                if let Some(leader) = &mut self.leader {
                    leader.succession.handle(Event::Asked, now);
                }
            }
            _ => self.now += Duration::from_millis(rng.u64(0..300)),
        }
    }
}

impl Leader {
    fn end(&mut self, end: End, now: Instant) {
        if self.successor.take().is_some() {
            self.succession.handle(Event::Ended(end), now);
        }
    }
}

fn first(now: Instant) -> Leader {
    let mut succession = Succession::new(PACE, Duration::ZERO, now);
    succession.handle(Event::Asked, now);
    Leader { succession, successor: None }
}

#[test]
fn whoever_dies_one_leads_and_no_change_is_lost() {
    for_each_seed(|rng| {
        let mut world = World::new();
        for _ in 0..rng.usize(1..200) {
            world.trouble(rng);
            world.act();
            if rng.bool() {
                world.step();
            }
        }
        // Longer than any wait after a death, and any pause behind a long look; the rescan is not
        // needed for it.
        let end = world.now + PACE.rescan_interval / 2;
        while world.serving != world.disk && world.now < end {
            world.heed_line();
            world.act();
            world.step();
            world.now += Duration::from_millis(150);
        }
        assert_eq!(world.serving, world.disk, "a change was lost");
    });
}

#[test]
fn changes_that_never_stop_are_looked_at_all_the_same() {
    let begun = Instant::now();
    let mut succession = Succession::new(PACE, Duration::ZERO, begun);
    let mut now = begun;
    let errand = loop {
        succession.handle(Event::Changed, now);
        if let Some(Action::Start(errand)) = succession.poll_action(true, now) {
            break errand;
        }
        now += Duration::from_millis(50);
    };
    assert_eq!((now - begun, errand.patience), (Duration::from_secs(5), Patience::None));
}

#[test]
fn a_lost_index_is_accepted_after_thirty_quiet_seconds_and_not_before() {
    let mut now = Instant::now();
    let mut succession = Succession::new(PACE, Duration::ZERO, now);
    succession.handle(Event::Changed, now);
    let mut looks = Vec::new();
    let begun = now;
    while now < begun + Duration::from_secs(60) {
        if let Some(Action::Start(errand)) = succession.poll_action(true, now) {
            succession.handle(Event::Started, now);
            assert_eq!(errand.patience, Patience::Some);
            looks.push(((now - begun).as_secs(), errand.may_lose_index));
            let end = if errand.may_lose_index { End::Unchanged } else { End::LostIndex };
            succession.handle(Event::Ended(end), now);
        }
        if now == begun + Duration::from_secs(10) {
            succession.handle(Event::Changed, now);
        }
        now += Duration::from_millis(100);
    }
    assert!((30..60).contains(&looks.len()), "it is looked at once a second: {looks:?}");
    looks.retain(|&(_, may_lose_index)| may_lose_index);
    assert_eq!(looks, [(40, true)]);
}

#[test]
fn former_generations_that_leave_no_room_are_cut_in_the_end() {
    let begun = Instant::now();
    let mut succession = Succession::new(PACE, Duration::ZERO, begun);
    succession.handle(Event::Asked, begun);
    assert_eq!(succession.poll_action(false, begun), None);
    assert_eq!(succession.poll_action(false, begun + PACE.crowd_max / 2), None);
    assert_eq!(succession.poll_action(false, begun + PACE.crowd_max), Some(Action::Cut));
    let later = begun + PACE.crowd_max + Duration::from_millis(1);
    assert!(matches!(succession.poll_action(true, later), Some(Action::Start(_))));
}

#[test]
fn long_looks_are_followed_by_long_pauses() {
    let begun = Instant::now();
    let mut succession = Succession::new(PACE, Duration::from_secs(1), begun);
    succession.handle(Event::Changed, begun);
    assert_eq!(succession.poll_action(true, begun + Duration::from_secs(19)), None);
    let due = begun + Duration::from_secs(20);
    assert_eq!(succession.poll_timeout(), Some(due));
    assert!(matches!(succession.poll_action(true, due), Some(Action::Start(_))));
    succession.handle(Event::Asked, begun);
    assert!(succession.poll_action(true, begun).is_some(), "who asks does not wait");
}
