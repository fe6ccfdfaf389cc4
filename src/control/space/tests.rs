use super::recovery::RECOVERED_RUN_MAX;
use super::*;

pub(super) const PAGE: u64 = 4096;

pub(super) fn space(budget: u64) -> Space {
    Space::new(PAGE, 1 << 20, budget)
}

fn run(first: u64, count: u64) -> PageRun {
    PageRun { first, count }
}

pub(super) fn own(space: &mut Space, len: u64) -> Extent {
    space.allocate(len, 1).expect("the budget allows it")
}

pub(super) fn packed(space: &mut Space, len: u64) -> Extent {
    space.allocate_packed(len).expect("the budget allows it")
}

pub(super) fn page_of(extent: Extent) -> u64 {
    extent.offset / PAGE
}

pub(super) fn punch_all(space: &mut Space) -> Vec<PageRun> {
    let punch = space.release(&[], &[]).punch;
    punch.iter().for_each(|&run| space.punched(run));
    punch
}

#[test]
fn page_run_covers_every_page_that_an_extent_touches() {
    let of = |offset, len| PageRun::of(Extent { offset, len }, PAGE);
    assert_eq!(of(0, 0).count, 0);
    assert_eq!([of(0, 1), of(0, PAGE), of(0, PAGE + 1)], [run(0, 1), run(0, 1), run(0, 2)]);
    assert_eq!([of(PAGE - 1, 1), of(PAGE - 1, 2)], [run(0, 1), run(0, 2)]);
    assert_eq!([of(PAGE, 1), of(2 * PAGE + 5, 2 * PAGE)], [run(1, 1), run(2, 3)]);
    assert!(run(2, 2).overlaps(run(3, 1)) && run(3, 1).overlaps(run(2, 2)));
    assert!(!run(2, 2).overlaps(run(4, 1)) && !run(4, 1).overlaps(run(2, 2)));
    assert!(!run(3, 0).overlaps(run(2, 4)) && run(1, u64::MAX).overlaps(run(5, 1)));
}

#[test]
fn allocation_takes_whole_pages_first_fit() {
    let mut space = space(100);
    let lens = [1, PAGE, PAGE + 1, 3 * PAGE, 1];
    let extents = lens.map(|len| own(&mut space, len));
    assert_eq!(extents.map(page_of), [0, 1, 2, 4, 7]);
    assert_eq!(extents.map(|extent| extent.len), lens);
    assert_eq!((space.allocated_pages(), space.available_pages()), (8, 92));
    space.abandon(extents[1]);
    space.abandon(extents[3]);
    assert_eq!(punch_all(&mut space), [run(1, 1), run(4, 3)]);
    let extents = [4 * PAGE, 2 * PAGE, 2 * PAGE, 1, 1].map(|len| own(&mut space, len));
    assert_eq!(extents.map(page_of), [8, 4, 12, 1, 6]);
}

#[test]
fn freed_pages_join_the_free_pages_before_and_after_them() {
    let mut space = space(1000);
    let extents: Vec<Extent> = (0..200).map(|_| own(&mut space, PAGE)).collect();
    for page in [70, 72, 71] {
        assert_eq!(page_of(own(&mut space, 3 * PAGE)) % 3, 200 % 3);
        space.abandon(extents[page]);
        punch_all(&mut space);
    }
    assert_eq!(page_of(own(&mut space, 3 * PAGE)), 70);
    // The last page joins what was never allocated.
    let mut space = Space::new(PAGE, 8, 8);
    let extents: Vec<Extent> = (0..6).map(|_| own(&mut space, PAGE)).collect();
    assert_eq!(space.allocate(3 * PAGE, 1), None);
    space.abandon(extents[5]);
    punch_all(&mut space);
    assert_eq!(page_of(own(&mut space, 3 * PAGE)), 5);
}

#[test]
fn aligned_run_begins_at_a_multiple_and_leaves_the_gap_to_others() {
    let mut space = space(100);
    own(&mut space, PAGE);
    let aligned = [16, 16, 4].map(|align| space.allocate(2 * PAGE, align).map(page_of));
    assert_eq!(aligned, [Some(16), Some(32), Some(4)]);
    assert_eq!([3 * PAGE, PAGE, PAGE].map(|len| page_of(own(&mut space, len))), [1, 6, 7]);
    let mut space = Space::new(PAGE, 20, 20);
    own(&mut space, PAGE);
    assert_eq!(space.allocate(5 * PAGE, 16), None);
    assert_eq!(space.allocate(4 * PAGE, 16).map(page_of), Some(16));
}

#[test]
fn allocation_over_budget_is_refused_until_pages_are_punched() {
    let mut space = space(4);
    let first = own(&mut space, 3 * PAGE);
    assert_eq!(space.allocate(PAGE + 1, 1), None);
    assert_eq!(space.allocate(u64::MAX, 1), None);
    packed(&mut space, 10);
    assert_eq!(space.available_pages(), 0);
    assert_eq!(space.allocate(1, 1), None);
    assert_eq!(page_of(packed(&mut space, PAGE - 10)), 3);
    assert_eq!(space.allocate_packed(1), None);
    space.retire(first, 1, 2);
    let punch = space.release(&[], &[]).punch;
    assert_eq!((punch.as_slice(), space.available_pages()), ([run(0, 3)].as_slice(), 0));
    assert_eq!(space.allocate(1, 1), None);
    space.punched(run(1, 1));
    assert_eq!(space.available_pages(), 1);
    assert_eq!(page_of(own(&mut space, 1)), 1);
    assert_eq!(space.release(&[], &[]).punch, [run(0, 1), run(2, 1)]);
}

#[test]
fn empty_extent_takes_no_page() {
    let mut space = space(0);
    for extent in [space.allocate(0, 4), space.allocate_packed(0)].map(Option::unwrap) {
        assert_eq!(extent.len, 0);
        space.retire(extent, 1, 2);
    }
    assert_eq!(space.release(&[1], &[]), Released::default());
}

#[test]
fn packed_extents_follow_each_other() {
    let mut space = space(100);
    let extents = [3000, 2000, PAGE, 1, PACKED_MAX, 200].map(|len| packed(&mut space, len));
    let mut end = 0;
    for extent in extents {
        assert_eq!(extent.offset, end);
        end += extent.len;
    }
    assert_eq!(space.allocated_pages(), end.div_ceil(PAGE));
    let long = packed(&mut space, PACKED_MAX + 1);
    assert_eq!(long.offset, end.next_multiple_of(PAGE));
    // What follows is taken, so the next one begins elsewhere if it lacks a page.
    let slack = end.next_multiple_of(PAGE) - end;
    assert_eq!(packed(&mut space, slack).offset, end);
    assert_eq!(page_of(packed(&mut space, 100)), long.offset / PAGE + 17);
}

#[test]
fn packed_extent_is_refused_if_the_budget_lacks_its_last_page() {
    let mut space = space(2);
    packed(&mut space, PAGE + 100);
    assert_eq!(space.allocate_packed(PAGE), None);
    assert_eq!(packed(&mut space, PAGE - 100).offset, PAGE + 100);
    let mut space = Space::new(PAGE, 2, 9);
    packed(&mut space, PAGE + 100);
    assert_eq!(space.allocate_packed(PAGE), None);
}

#[test]
fn slack_of_a_published_page_is_never_reused() {
    let mut space = space(100);
    let first = packed(&mut space, 100);
    space.close_shared();
    let second = packed(&mut space, 100);
    assert_eq!((page_of(first), page_of(second)), (0, 1));
    space.close_shared();
    // Not even after everything on it was released.
    space.retire(first, 1, 3);
    assert_eq!(space.release(&[], &[]).punch, [run(0, 1)]);
    assert_eq!(page_of(packed(&mut space, 100)), 2);
    space.close_shared();
    space.punched(run(0, 1));
    assert_eq!(page_of(packed(&mut space, PAGE - 10)), 0);
}

#[test]
fn bytes_of_an_abandoned_extent_are_not_reused() {
    let mut space = space(100);
    let abandoned = packed(&mut space, 1000);
    let kept = packed(&mut space, 1000);
    space.abandon(abandoned);
    assert!(punch_all(&mut space).is_empty());
    assert_eq!(packed(&mut space, 1000).offset, 2000);
    assert_eq!(page_of(kept), 0);
    // An open page that is to be punched takes nothing more.
    let other = packed(&mut space, PAGE);
    assert_eq!(other.offset, 3000);
    space.abandon(other);
    assert_eq!(space.release(&[], &[]).punch, [run(1, 1)]);
    assert_eq!(page_of(packed(&mut space, 1000)), 2);
}

#[test]
fn page_that_two_packed_extents_share_is_punched_after_both() {
    let mut space = space(100);
    let [first, second] = [3 * PAGE / 2; 2].map(|len| packed(&mut space, len));
    space.close_shared();
    space.retire(first, 1, 2);
    assert_eq!(space.release(&[2], &[]).punch, [run(0, 1)]);
    space.retire(second, 1, 3);
    assert_eq!(space.release(&[3], &[run(1, 1)]).punch, [run(0, 1)]);
    assert_eq!(space.release(&[3], &[]).punch, [run(0, 3)]);
}

#[test]
fn half_dead_page_is_not_punched() {
    let mut space = space(100);
    let extents = [1000, 1000, 1000].map(|len| packed(&mut space, len));
    space.close_shared();
    space.retire(extents[0], 1, 2);
    space.retire(extents[2], 1, 2);
    assert!(space.release(&[], &[]).punch.is_empty());
    space.retire(extents[1], 1, 3);
    assert!(space.release(&[2], &[]).punch.is_empty());
    assert_eq!(space.release(&[3], &[]).punch, [run(0, 1)]);
}

#[test]
fn extent_is_released_if_no_generation_from_birth_to_retirement_is_read() {
    let is_released = |generations: &[u64]| {
        let mut space = space(100);
        let extent = own(&mut space, 1);
        space.retire(extent, 5, 8);
        let released = space.release(generations, &[]);
        let refused = u64::from(released.punch.is_empty());
        let blocked_below = (refused == 1).then_some(8);
        assert_eq!(
            released.refusals,
            Refusals { by_generation: refused, by_pin: 0, blocked_below }
        );
        refused == 0
    };
    assert!(is_released(&[]) && is_released(&[4]) && is_released(&[8]));
    assert!(!is_released(&[5]) && !is_released(&[6]) && !is_released(&[7]));
    assert!(is_released(&[9, 3, 8, 4]) && !is_released(&[9, 3, 7, 4]));
}

#[test]
fn extent_is_released_if_no_page_of_it_is_pinned() {
    let is_released = |pins: &[PageRun]| {
        let mut space = space(100);
        own(&mut space, 2 * PAGE);
        let extent = own(&mut space, 2 * PAGE + 1);
        space.retire(extent, 1, 2);
        own(&mut space, 2 * PAGE);
        let released = space.release(&[2], pins);
        assert_eq!(released.refusals.by_pin, u64::from(released.punch.is_empty()));
        !released.punch.is_empty()
    };
    assert!(is_released(&[run(0, 2), run(5, 2), run(3, 0), run(5, u64::MAX)]));
    assert!(!is_released(&[run(2, 1)]) && !is_released(&[run(4, 1)]) && !is_released(&[run(3, 1)]));
    assert!(!is_released(&[run(4, 9), run(0, 1)]) && !is_released(&[run(0, u64::MAX)]));
    assert!(!is_released(&[run(0, 5), run(1, 1), run(70, 3)]));
}

#[test]
fn refusals_tell_the_highest_generation_that_is_waited_for() {
    let mut space = space(100);
    let extents = [1, 1, 1].map(|len| own(&mut space, len));
    for (extent, retired_by) in extents.into_iter().zip([4, 7, 5]) {
        space.retire(extent, 3, retired_by);
    }
    let Released { punch, refusals } = space.release(&[6], &[run(1, 2)]);
    assert_eq!(punch, [run(0, 1)]);
    assert_eq!(refusals, Refusals { by_generation: 1, by_pin: 2, blocked_below: Some(7) });
    assert_eq!(space.release(&[], &[run(2, 1)]).refusals.blocked_below, Some(5));
    assert_eq!(space.release(&[], &[]).refusals, Refusals::default());
}

#[test]
fn recovered_pages_without_a_live_extent_are_retired_by_the_published_generation() {
    let live = [
        Extent { offset: 2 * PAGE, len: 2 * PAGE - 7 },
        Extent { offset: 6 * PAGE + 50, len: 20 },
        Extent { offset: 6 * PAGE + 90, len: 20 },
    ];
    let data = [run(0, 5), run(6, 2), run(200, 2 * RECOVERED_RUN_MAX)];
    let recover = || Space::recover(PAGE, 1 << 20, 500, &data, live, 9);
    let mut space = recover();
    assert_eq!(space.allocated_pages(), 7 + 2 * RECOVERED_RUN_MAX);
    assert!(space.release(&[8, 0], &[]).punch.is_empty());
    assert_eq!(
        space.release(&[9], &[run(200, 1)]).punch,
        [run(0, 2), run(4, 1), run(7, 1), run(264, 64)]
    );
    assert_eq!([1, 1].map(|len| page_of(own(&mut space, len))), [5, 8]);
    assert!(page_of(packed(&mut space, 1)) > 8);
    // A dead extent that a reader of 8 still reads may share page 6 with extents born in 9.
    let mut space = recover();
    space.retire(live[1], 9, 10);
    space.retire(live[2], 9, 10);
    assert!(space.release(&[8], &[]).punch.is_empty());
    assert!(space.release(&[10], &[run(6, 1)]).punch.iter().all(|run| run.first != 6));
    assert!(space.release(&[10], &[]).punch.contains(&run(6, 2)));
}

#[test]
fn many_retired_extents_are_released_in_one_pass() {
    let mut space = Space::new(PAGE, 1 << 28, 1 << 20);
    let extents: Vec<Extent> = (0..200_000).map(|_| own(&mut space, PAGE + 1)).collect();
    let pins: Vec<PageRun> = (0..10_000).map(|pin| run(pin * 40, 1)).collect();
    extents.iter().for_each(|&extent| space.retire(extent, 1, 2));
    let released = space.release(&[2; 64], &pins);
    assert_eq!((released.refusals.by_pin, released.punch.len()), (10_000, 10_000));
    punch_all(&mut space);
    assert_eq!(space.allocated_pages(), 0);
}

#[test]
#[should_panic(expected = "is not live")]
#[cfg(debug_assertions)]
fn second_retirement_is_a_bug() {
    let mut space = space(100);
    let extent = own(&mut space, 1);
    space.retire(extent, 1, 2);
    space.retire(extent, 1, 2);
}

#[test]
#[should_panic(expected = "was punched while it was in use")]
#[cfg(debug_assertions)]
fn punch_of_a_page_in_use_is_a_bug() {
    let mut space = space(100);
    own(&mut space, 1);
    space.punched(run(0, 1));
}
