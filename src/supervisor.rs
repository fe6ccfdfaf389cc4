//! Who is started, killed and waited for. It decides and does nothing: it is told what happened
//! to the children of one process, and at what time, and says what is to be done next.
//!
//! ```text
//!                Start                 Started                 Died
//! Nobody(until) ───────► (starting) ───────────► Child ──────────────────► Nobody(until)
//!       ▲                     │ NotStarted         │ silent for the watchdog: Kill
//!       └─────────────────────┘                    ▼
//!                              given up ◄──────── Child(doomed), if a turn later it is not dead
//! ```
//!
//! Each event is followed by [`Supervisor::poll_action`] until that returns nothing.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "a post is told by its place, a child by its number")]
pub enum Event {
    /// A child was forked for a post.
    Started { post: usize, pid: i32 },
    /// None could be.
    NotStarted { post: usize },
    /// A post has gone over to another child, without a gap.
    Succeeded { post: usize, pid: i32 },
    /// One of the supervisor's own turns is over, at which a child's heart had beaten this often. A
    /// child that holds no post is an orphan, adopted from a publisher that died.
    Beat { pid: i32, count: u64 },
    /// A child is dead; whether it had come so far as to do its work.
    Died { pid: i32, was_ready: bool },
    /// There is nobody any more who has work to do, adopted ones included.
    Alone,
    /// Everybody was asked to leave, and has until then. There is work still: who dies is replaced.
    Stop { deadline: Instant },
    /// No work will come any more: who dies has left.
    Shut,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "a post is told by its place, a child by its number")]
pub enum Action {
    /// Fork a child for a post.
    Start { post: usize },
    /// Kill a child. It is not reaped yet, so that nobody else can have its pid.
    Kill { pid: i32 },
    /// Be gone: all others are, or had their time.
    End,
}

/// The posts of a process, each for one child at a time.
#[derive(Debug)]
pub struct Supervisor {
    posts: Vec<Post>,
    /// Orphans, and those that were killed and do not die: never replaced.
    adopted: Vec<Child>,
    /// Turns without a heartbeat that make a child a hung one.
    silence_max: u32,
    end: Option<End>,
}

#[derive(Debug)]
struct Post {
    holder: Holder,
    backoff: Backoff,
}

#[derive(Debug)]
enum Holder {
    /// To be filled then.
    Nobody {
        until: Instant,
    },
    /// A start was asked for.
    Starting,
    Child(Child),
}

#[derive(Clone, Copy, Debug)]
struct Child {
    pid: i32,
    since: Instant,
    beats: Option<u64>,
    /// Turns since the last heartbeat.
    silent: u32,
    doom: Doom,
}

/// How far the end of a hung child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doom {
    None,
    Due,
    Killed,
}

#[derive(Clone, Copy, Debug)]
struct End {
    deadline: Instant,
    is_shut: bool,
    is_alone: bool,
}

impl Supervisor {
    /// Posts to be filled at once. A child without a heartbeat for `watchdog_timeout` is killed;
    /// that time is counted in turns of a second, and not by a clock, since in a paused container
    /// nobody's heart beats and nobody's turns go by.
    pub fn new(posts: usize, watchdog_timeout: Duration, now: Instant) -> Self {
        let vacant = || Post { holder: Holder::Nobody { until: now }, backoff: Backoff::default() };
        Self {
            posts: (0..posts).map(|_| vacant()).collect(),
            adopted: Vec::new(),
            silence_max: u32::try_from(watchdog_timeout.as_millis().div_ceil(1000))
                .unwrap_or(u32::MAX),
            end: None,
        }
    }

    /// Leaves posts that are to be filled vacant until a later time.
    pub fn put_off(&mut self, until: Instant) {
        for post in &mut self.posts {
            if let Holder::Nobody { until: due } = &mut post.holder {
                *due = until.max(*due);
            }
        }
    }

    /// Whether everybody was asked to leave.
    pub fn is_ending(&self) -> bool {
        self.end.is_some()
    }

    /// Takes note of what happened.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Started { post, pid } => {
                self.posts[post].holder = Holder::Child(Child::new(pid, now));
                if let Some(end) = &mut self.end {
                    end.is_alone = false;
                }
            }
            Event::NotStarted { post } => self.posts[post].vacate(Duration::ZERO, now),
            Event::Succeeded { post, pid } => {
                self.adopted.retain(|child| child.pid != pid);
                self.posts[post].holder = Holder::Child(Child::new(pid, now));
            }
            Event::Beat { pid, count } => self.beat(pid, count, now),
            Event::Died { pid, was_ready } => {
                self.adopted.retain(|child| child.pid != pid);
                if let Some(post) = self.post_of(pid)
                    && let Holder::Child(Child { since, .. }) = self.posts[post].holder
                {
                    // A start that took long and came to nothing was no good start.
                    let lived = now.saturating_duration_since(since);
                    let lived = if was_ready { lived } else { Duration::ZERO };
                    self.posts[post].vacate(lived, now);
                }
            }
            Event::Alone => {
                if let Some(end) = &mut self.end {
                    end.is_alone = true;
                }
            }
            Event::Stop { deadline } => {
                let end = End { deadline, is_shut: false, is_alone: false };
                self.end.get_or_insert(end);
            }
            Event::Shut => {
                if let Some(end) = &mut self.end {
                    end.is_shut = true;
                }
            }
        }
    }

    fn beat(&mut self, pid: i32, count: u64, now: Instant) {
        let silence_max = self.silence_max;
        let Some(post) = self.post_of(pid) else { return self.beat_of_orphan(pid, count, now) };
        let Holder::Child(child) = &mut self.posts[post].holder else { return };
        if child.doom == Doom::Killed {
            // It had a turn to die in, and waits for a disk: the post is not to wait with it.
            self.adopted.push(*child);
            self.posts[post].vacate(Duration::MAX, now);
        } else {
            child.beat(count, silence_max);
        }
    }

    fn beat_of_orphan(&mut self, pid: i32, count: u64, now: Instant) {
        if !self.adopted.iter().any(|child| child.pid == pid) {
            self.adopted.push(Child::new(pid, now));
        }
        let orphan = self.adopted.iter_mut().find(|child| child.pid == pid);
        if let Some(child) = orphan.filter(|child| child.doom != Doom::Killed) {
            child.beat(count, self.silence_max);
        }
    }

    fn post_of(&self, pid: i32) -> Option<usize> {
        self.posts.iter().position(|post| post.pid() == Some(pid))
    }

    /// What is to be done now; nothing once all is done.
    pub fn poll_action(&mut self, now: Instant) -> Option<Action> {
        if let Some(pid) = self.kill_one(Doom::Due) {
            return Some(Action::Kill { pid });
        }
        let is_over = self.end.is_some_and(|end| end.is_shut || now >= end.deadline);
        let is_due = |post: &Post| post.due().is_some_and(|due| due <= now);
        if let Some(post) = self.posts.iter().position(is_due).filter(|_| !is_over) {
            self.posts[post].holder = Holder::Starting;
            return Some(Action::Start { post });
        }
        let end = self.end?;
        if end.is_shut && end.is_alone {
            return Some(Action::End);
        }
        if now < end.deadline {
            return None;
        }
        // Those that were asked and have not left are killed, one by one; then this ends too.
        let pid = self.kill_one(Doom::None);
        Some(pid.map_or(Action::End, |pid| Action::Kill { pid }))
    }

    /// Marks one of the children that are so far as killed.
    fn kill_one(&mut self, so_far: Doom) -> Option<i32> {
        let posts = self.posts.iter_mut().filter_map(|post| match &mut post.holder {
            Holder::Child(child) => Some(child),
            Holder::Nobody { .. } | Holder::Starting => None,
        });
        let child = posts.chain(&mut self.adopted).find(|child| child.doom == so_far)?;
        child.doom = Doom::Killed;
        Some(child.pid)
    }

    /// When there will be something to do, if nothing happens until then.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.posts.iter().filter_map(Post::due).min();
        match self.end {
            None => due,
            Some(end) if end.is_shut => Some(end.deadline),
            Some(end) => due.into_iter().chain([end.deadline]).min(),
        }
    }
}

impl Child {
    fn new(pid: i32, since: Instant) -> Self {
        Self { pid, since, beats: None, silent: 0, doom: Doom::None }
    }

    fn beat(&mut self, count: u64, silence_max: u32) {
        if self.beats != Some(count) {
            (self.beats, self.silent) = (Some(count), 0);
            return;
        }
        self.silent += 1;
        if self.silent >= silence_max {
            self.doom = Doom::Due;
        }
    }
}

impl Post {
    fn pid(&self) -> Option<i32> {
        match &self.holder {
            Holder::Child(child) => Some(child.pid),
            Holder::Nobody { .. } | Holder::Starting => None,
        }
    }

    /// When it is to be filled; none while somebody holds it.
    fn due(&self) -> Option<Instant> {
        match self.holder {
            Holder::Nobody { until } => Some(until),
            Holder::Starting | Holder::Child(_) => None,
        }
    }

    fn vacate(&mut self, lived: Duration, now: Instant) {
        self.holder = Holder::Nobody { until: now + self.backoff.after(lived) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATCHDOG: Duration = Duration::from_secs(3);

    /// All that is to be done now.
    fn actions(supervisor: &mut Supervisor, now: Instant) -> Vec<Action> {
        std::iter::from_fn(|| supervisor.poll_action(now)).take(99).collect()
    }

    fn with_child(now: Instant) -> Supervisor {
        let mut supervisor = Supervisor::new(1, WATCHDOG, now);
        assert_eq!(actions(&mut supervisor, now), [Action::Start { post: 0 }]);
        supervisor.handle(Event::Started { post: 0, pid: 7 }, now);
        assert_eq!(actions(&mut supervisor, now), []);
        supervisor
    }

    #[test]
    fn the_dead_are_replaced_at_once_and_then_after_a_while() {
        let now = Instant::now();
        let mut supervisor = with_child(now);
        supervisor.handle(Event::Died { pid: 7, was_ready: true }, now);
        assert_eq!(actions(&mut supervisor, now), [Action::Start { post: 0 }]);
        supervisor.handle(Event::NotStarted { post: 0 }, now);
        assert_eq!(actions(&mut supervisor, now), []);
        let later = supervisor.poll_timeout().unwrap();
        assert!(later > now);
        assert_eq!(actions(&mut supervisor, later), [Action::Start { post: 0 }]);
    }

    #[test]
    fn the_silent_are_killed_and_given_up_a_turn_later() {
        let now = Instant::now();
        let mut supervisor = with_child(now);
        for count in [1, 1, 1, 2, 2, 2] {
            supervisor.handle(Event::Beat { pid: 7, count }, now);
            assert_eq!(actions(&mut supervisor, now), []);
        }
        supervisor.handle(Event::Beat { pid: 7, count: 2 }, now);
        assert_eq!(actions(&mut supervisor, now), [Action::Kill { pid: 7 }]);
        supervisor.handle(Event::Beat { pid: 7, count: 2 }, now);
        assert_eq!(actions(&mut supervisor, now), [Action::Start { post: 0 }]);
        supervisor.handle(Event::Started { post: 0, pid: 8 }, now);
        supervisor.handle(Event::Died { pid: 7, was_ready: true }, now);
        assert_eq!((supervisor.post_of(7), supervisor.post_of(8)), (None, Some(0)));
    }

    #[test]
    fn who_does_not_leave_when_asked_is_killed_in_the_end() {
        let now = Instant::now();
        let deadline = now + WATCHDOG;
        let mut supervisor = with_child(now);
        supervisor.handle(Event::Stop { deadline }, now);
        assert_eq!(actions(&mut supervisor, now), []);
        assert_eq!(supervisor.poll_timeout(), Some(deadline));
        assert_eq!(supervisor.poll_action(deadline), Some(Action::Kill { pid: 7 }));
        assert_eq!(supervisor.poll_action(deadline), Some(Action::End));
    }

    #[test]
    fn as_long_as_there_is_work_the_dead_are_replaced_and_then_it_ends_with_the_last() {
        let now = Instant::now();
        let mut supervisor = with_child(now);
        supervisor.handle(Event::Stop { deadline: now + WATCHDOG }, now);
        supervisor.handle(Event::Died { pid: 7, was_ready: true }, now);
        supervisor.handle(Event::Alone, now);
        assert_eq!(actions(&mut supervisor, now), [Action::Start { post: 0 }]);
        supervisor.handle(Event::Started { post: 0, pid: 8 }, now);
        supervisor.handle(Event::Shut, now);
        assert_eq!(actions(&mut supervisor, now), []);
        supervisor.handle(Event::Died { pid: 8, was_ready: true }, now);
        assert_eq!(actions(&mut supervisor, now), []);
        supervisor.handle(Event::Alone, now);
        assert_eq!(supervisor.poll_action(now), Some(Action::End));
    }

    #[test]
    fn orphans_are_watched_and_never_replaced() {
        let now = Instant::now();
        let mut supervisor = with_child(now);
        for _ in 0..3 {
            supervisor.handle(Event::Beat { pid: 99, count: 5 }, now);
            assert_eq!(actions(&mut supervisor, now), []);
        }
        supervisor.handle(Event::Beat { pid: 99, count: 5 }, now);
        assert_eq!(actions(&mut supervisor, now), [Action::Kill { pid: 99 }]);
        supervisor.handle(Event::Beat { pid: 99, count: 5 }, now);
        supervisor.handle(Event::Died { pid: 99, was_ready: true }, now);
        assert_eq!(actions(&mut supervisor, now), []);
    }

    #[test]
    fn a_long_start_that_came_to_nothing_is_slowed_down() {
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        let mut supervisor = with_child(now);
        supervisor.handle(Event::Died { pid: 7, was_ready: false }, later);
        assert_eq!(actions(&mut supervisor, later), [Action::Start { post: 0 }]);
        supervisor.handle(Event::Started { post: 0, pid: 8 }, later);
        let later = later + Duration::from_secs(60);
        supervisor.handle(Event::Died { pid: 8, was_ready: false }, later);
        assert_eq!(actions(&mut supervisor, later), []);
    }
}
