//! Rules of the table of children, one by one.

use super::*;

const WATCHDOG_TIMEOUT: Duration = Duration::from_secs(3);

/// All that is to be done now.
fn actions(supervisor: &mut Supervisor, now: Instant) -> Vec<Action> {
    std::iter::from_fn(|| supervisor.poll_action(now)).take(99).collect()
}

fn with_child(role: Role, now: Instant) -> Supervisor {
    let mut supervisor = Supervisor::new(&[role], 4, WATCHDOG_TIMEOUT, now);
    let slot = if role == Role::Compiler { 1 } else { 2 };
    assert_eq!(actions(&mut supervisor, now), [Action::Start { place: 0, slot }]);
    supervisor.handle(Event::Started { place: 0, pid: 7 }, now);
    assert_eq!(actions(&mut supervisor, now), []);
    supervisor
}

fn heartbeat(pid: i32, count: u64) -> Event {
    Event::Heartbeat { pid, count, waits_for_disk: false }
}

#[test]
fn dead_child_is_replaced_at_once_and_then_after_a_while() {
    let now = Instant::now();
    let mut supervisor = with_child(Role::Worker, now);
    supervisor.handle(Event::Died { pid: 7, was_ready: true }, now);
    assert_eq!(actions(&mut supervisor, now), [Action::Start { place: 0, slot: 2 }]);
    supervisor.handle(Event::NotStarted { place: 0 }, now);
    assert_eq!(actions(&mut supervisor, now), []);
    let later = supervisor.poll_timeout().unwrap();
    assert!(later > now);
    assert_eq!(actions(&mut supervisor, later), [Action::Start { place: 0, slot: 2 }]);
}

#[test]
fn hung_child_is_killed_and_replaced_in_another_slot_if_it_does_not_die() {
    let now = Instant::now();
    let mut supervisor = with_child(Role::Worker, now);
    for count in [1, 1, 1, 2, 2, 2] {
        supervisor.handle(heartbeat(7, count), now);
        assert_eq!(actions(&mut supervisor, now), []);
    }
    supervisor.handle(heartbeat(7, 2), now);
    assert_eq!(actions(&mut supervisor, now), [Action::Kill { pid: 7 }]);
    supervisor.handle(heartbeat(7, 2), now);
    assert_eq!(actions(&mut supervisor, now), [Action::Start { place: 0, slot: 3 }]);
    supervisor.handle(Event::Started { place: 0, pid: 8 }, now);
    supervisor.handle(Event::Died { pid: 7, was_ready: true }, now);
    assert_eq!(supervisor.children().map(|child| child.pid).collect::<Vec<_>>(), [8]);
}

#[test]
fn killed_compiler_is_replaced_only_once_it_is_dead() {
    let now = Instant::now();
    let mut supervisor = with_child(Role::Compiler, now);
    for _ in 0..4 {
        supervisor.handle(heartbeat(7, 1), now);
    }
    assert_eq!(actions(&mut supervisor, now), [Action::Kill { pid: 7 }]);
    for _ in 0..9 {
        supervisor.handle(heartbeat(7, 1), now);
        assert_eq!(actions(&mut supervisor, now), []);
    }
    supervisor.handle(Event::Died { pid: 7, was_ready: true }, now);
    assert_eq!(actions(&mut supervisor, now), [Action::Start { place: 0, slot: 1 }]);
}

#[test]
fn child_that_waits_for_a_disk_is_not_killed() {
    let now = Instant::now();
    let mut supervisor = with_child(Role::Compiler, now);
    for _ in 0..99 {
        supervisor.handle(Event::Heartbeat { pid: 7, count: 1, waits_for_disk: true }, now);
        assert_eq!(actions(&mut supervisor, now), []);
    }
}

#[test]
fn child_that_does_not_end_is_killed_at_the_deadline() {
    let now = Instant::now();
    let deadline = now + WATCHDOG_TIMEOUT;
    let mut supervisor = with_child(Role::Worker, now);
    supervisor.handle(Event::ShutDown { deadline }, now);
    assert_eq!(actions(&mut supervisor, now), []);
    assert_eq!(supervisor.poll_timeout(), Some(deadline));
    assert_eq!(supervisor.poll_action(deadline), Some(Action::Kill { pid: 7 }));
    assert_eq!(supervisor.poll_action(deadline), Some(Action::End));
}

#[test]
fn dead_worker_is_replaced_during_a_shutdown_as_long_as_there_is_work() {
    let now = Instant::now();
    let mut supervisor = with_child(Role::Worker, now);
    supervisor.handle(Event::ShutDown { deadline: now + WATCHDOG_TIMEOUT }, now);
    supervisor.handle(Event::Died { pid: 7, was_ready: true }, now);
    assert_eq!(actions(&mut supervisor, now), [Action::Start { place: 0, slot: 2 }]);
    supervisor.handle(Event::Started { place: 0, pid: 8 }, now);
    supervisor.handle(Event::NoMoreWork, now);
    assert_eq!(actions(&mut supervisor, now), []);
    supervisor.handle(Event::Died { pid: 8, was_ready: true }, now);
    assert_eq!(supervisor.poll_action(now), Some(Action::EndRest));
    assert_eq!(supervisor.poll_action(now), Some(Action::End));
}

#[test]
fn drain_kills_the_compiler_and_the_end_does_not_wait_for_it() {
    let now = Instant::now();
    let mut supervisor = with_child(Role::Compiler, now);
    supervisor.handle(Event::ShutDown { deadline: now + WATCHDOG_TIMEOUT }, now);
    assert_eq!(actions(&mut supervisor, now), []);
    supervisor.handle(Event::Drain, now);
    assert_eq!(actions(&mut supervisor, now), [Action::Kill { pid: 7 }]);
    supervisor.handle(Event::NoMoreWork, now);
    assert_eq!(supervisor.poll_action(now), Some(Action::EndRest));
    assert_eq!(supervisor.poll_action(now), Some(Action::End));
}

#[test]
fn long_start_that_came_to_nothing_is_slowed_down() {
    let now = Instant::now();
    let later = now + Duration::from_secs(60);
    let mut supervisor = with_child(Role::Worker, now);
    supervisor.handle(Event::Died { pid: 7, was_ready: false }, later);
    assert_eq!(actions(&mut supervisor, later), [Action::Start { place: 0, slot: 2 }]);
    supervisor.handle(Event::Started { place: 0, pid: 8 }, later);
    let later = later + Duration::from_secs(60);
    supervisor.handle(Event::Died { pid: 8, was_ready: false }, later);
    assert_eq!(actions(&mut supervisor, later), []);
}
