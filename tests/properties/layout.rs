//! Sites that change for a long time do not spread over ever more pages of the arena.

use std::collections::BTreeSet;

use tine::control::space::Space;
use tine::site::Extent;

/// A site as the compiler keeps it.
struct Site {
    space: Space,
    files: Vec<Extent>,
    generation: u64,
    moved_bytes: u64,
}

const PAGE: u64 = 4096;

impl Site {
    fn allocate(space: &mut Space, len: u64) -> Extent {
        space.allocate_packed(len).expect("the budget is never reached")
    }

    fn new(lens: impl Iterator<Item = u64>) -> Self {
        let mut space = Space::new(PAGE, 1 << 24, 1 << 20);
        let files = lens.map(|len| Self::allocate(&mut space, len)).collect();
        space.close_shared();
        Self { space, files, generation: 1, moved_bytes: 0 }
    }

    /// One generation: new content for a few files, and new places for what lies on sparse pages.
    fn change(&mut self, changes: &[(usize, u64)]) {
        self.generation += 1;
        let mut retired = Vec::new();
        for &(file, len) in changes {
            let new = Self::allocate(&mut self.space, len);
            retired.push(std::mem::replace(&mut self.files[file], new));
        }
        for extent in retired.drain(..) {
            self.space.retire(extent, 0, self.generation);
        }
        if self.space.is_fragmented() {
            self.space.mark_sparse();
            for file in &mut self.files {
                if self.space.is_marked(*file) {
                    self.moved_bytes += file.len;
                    let new = Self::allocate(&mut self.space, file.len);
                    retired.push(std::mem::replace(file, new));
                }
            }
            for extent in retired {
                self.space.retire(extent, 0, self.generation);
            }
            assert!(!self.space.is_fragmented());
        }
        self.space.close_shared();
        for run in self.space.release(&[self.generation], &[]).punch {
            self.space.punched(run);
        }
    }

    fn pages(&self) -> u64 {
        let pages = self.files.iter().flat_map(|extent| {
            let last = (extent.offset + extent.len - 1) / PAGE;
            extent.offset / PAGE..=last
        });
        pages.collect::<BTreeSet<u64>>().len() as u64
    }

    /// The pages of the same files, packed without a gap.
    fn fresh_pages(&self) -> u64 {
        self.files.iter().map(|extent| extent.len).sum::<u64>().div_ceil(PAGE)
    }
}

/// Mostly small files, some of a few pages.
fn mixed_len(random: &mut fastrand::Rng) -> u64 {
    match random.u8(..10) {
        0 => random.u64(PAGE..5 * PAGE),
        1..=3 => random.u64(1..PAGE),
        _ => random.u64(1..600),
    }
}

#[test]
fn pages_with_live_bytes_stay_below_one_and_a_half_of_a_fresh_layout() {
    for seed in 0..3 {
        let mut random = fastrand::Rng::with_seed(seed);
        let lens: Vec<u64> = (0..1000).map(|_| mixed_len(&mut random)).collect();
        let mut site = Site::new(lens.into_iter());
        let mut changed_bytes = 0;
        for round in 0..10_000 {
            let count = if random.u8(..50) == 0 { random.usize(1..100) } else { 1 };
            let changes: Vec<(usize, u64)> =
                (0..count).map(|_| (random.usize(..1000), mixed_len(&mut random))).collect();
            changed_bytes += changes.iter().map(|(_, len)| len).sum::<u64>();
            site.change(&changes);
            if round % 500 == 499 {
                let (pages, fresh) = (site.pages(), site.fresh_pages());
                assert!(2 * pages <= 3 * fresh, "seed {seed}, round {round}: {pages}, {fresh}");
                assert_eq!(site.space.allocated_pages(), pages, "seed {seed}");
            }
        }
        let moved_bytes = site.moved_bytes;
        assert!(moved_bytes < 2 * changed_bytes, "{moved_bytes} for {changed_bytes} changed");
    }
}

#[test]
fn tiny_files_that_change_one_by_one_are_moved_together() {
    let mut site = Site::new((0..1000).map(|file| 1 + file % 300));
    for round in 0..10_000 {
        site.change(&[(round * 7 % 1000, 1 + round as u64 % 300)]);
    }
    assert!(2 * site.pages() <= 3 * site.fresh_pages());
}

#[test]
fn files_of_awkward_lengths_are_not_moved_again_and_again() {
    for lens in [[2100, 2100], [3900, 300], [1400, 2800], [4095, 1]] {
        let mut site = Site::new(lens.into_iter().cycle().take(1000));
        for round in 0..2000 {
            let file = round * 7 % 1000;
            site.change(&[(file, lens[file % 2])]);
        }
        // Each of them changes in a generation of its own, and has a page of its own at first.
        let changed_bytes = 1000 * lens.iter().sum::<u64>();
        assert!(site.moved_bytes < 3 * changed_bytes, "{lens:?}: {} moved", site.moved_bytes);
        assert!(2 * site.pages() <= 3 * site.fresh_pages(), "{lens:?}");
    }
}
