//! The space of the arena against a map of its bytes and a few readers.

#![allow(clippy::cast_possible_truncation, reason = "an arena of 640 bytes")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use tine::control::space::{PageRun, Space};
use tine::site::Extent;

const PAGE: u64 = 16;
const PAGES: u64 = 40;
const BUDGET: u64 = 30;
const READERS: usize = 3;

#[derive(Clone, Debug)]
enum Action {
    Allocate { len: u64, align: u64 },
    AllocatePacked { len: u64 },
    Abandon { which: usize },
    Publish { retired: Vec<usize> },
    Move,
    Adopt { reader: usize },
    GoOffline { reader: usize },
    Pin { reader: usize, which: usize },
    Unpin { reader: usize, which: usize },
    Release { punched: u64 },
    Restart,
}

fn action() -> impl Strategy<Value = Action> {
    let reader = 0..READERS;
    prop_oneof![
        3 => (1..=3 * PAGE, 1..=4_u64).prop_map(|(len, align)| Action::Allocate { len, align }),
        8 => (1..=3 * PAGE).prop_map(|len| Action::AllocatePacked { len }),
        1 => any::<usize>().prop_map(|which| Action::Abandon { which }),
        5 => prop::collection::vec(any::<usize>(), 0..6)
            .prop_map(|retired| Action::Publish { retired }),
        1 => Just(Action::Move),
        3 => reader.clone().prop_map(|reader| Action::Adopt { reader }),
        2 => reader.clone().prop_map(|reader| Action::GoOffline { reader }),
        2 => (reader.clone(), any::<usize>())
            .prop_map(|(reader, which)| Action::Pin { reader, which }),
        1 => (reader, any::<usize>()).prop_map(|(reader, which)| Action::Unpin { reader, which }),
        4 => (0..=PAGES).prop_map(|punched| Action::Release { punched }),
        1 => Just(Action::Restart),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Hole,
    Own,
    Open,
    Published,
}

/// An extent as the generations name it, with `u64::MAX` for what is not known yet.
#[derive(Clone, Copy, Debug)]
struct Owner {
    extent: Extent,
    birth: u64,
    retired_by: u64,
}

impl Owner {
    fn is_named_by(&self, generation: u64) -> bool {
        self.birth <= generation && generation < self.retired_by
    }
}

/// What keeps pages from being punched until no reader is in the generations and no pin on them.
#[derive(Clone, Copy, Debug)]
struct Hold {
    pages: PageRun,
    birth: u64,
    retired_by: u64,
}

#[derive(Clone, Debug, Default)]
struct Reader {
    generation: Option<u64>,
    pins: Vec<Extent>,
}

/// The arena byte by byte: the owner that has last written each since its page was punched.
struct Model {
    bytes: Vec<Option<usize>>,
    pages: Vec<Page>,
    owners: Vec<Owner>,
    draft: Vec<usize>,
    named: Vec<usize>,
    holds: Vec<Hold>,
    readers: Vec<Reader>,
    published: u64,
    /// The extent after which the next one is packed.
    last_packed: Option<Extent>,
}

fn pages_of(extent: Extent) -> impl Iterator<Item = usize> + Clone {
    (extent.offset / PAGE) as usize..=((extent.offset + extent.len - 1) / PAGE) as usize
}

fn last_page(extent: Extent) -> usize {
    ((extent.offset + extent.len - 1) / PAGE) as usize
}

fn runs_of(pages: impl Iterator<Item = usize>) -> Vec<PageRun> {
    let mut runs: Vec<PageRun> = Vec::new();
    for page in pages.map(|page| page as u64) {
        match runs.last_mut() {
            Some(run) if run.first + run.count == page => run.count += 1,
            _ => runs.push(PageRun { first: page, count: 1 }),
        }
    }
    runs
}

fn of(run: PageRun) -> std::ops::Range<usize> {
    run.first as usize..(run.first + run.count) as usize
}

impl Model {
    fn new() -> Self {
        Self {
            bytes: vec![None; (PAGE * PAGES) as usize],
            pages: vec![Page::Hole; PAGES as usize],
            owners: Vec::new(),
            draft: Vec::new(),
            named: Vec::new(),
            holds: Vec::new(),
            readers: vec![Reader::default(); READERS],
            published: 0,
            last_packed: None,
        }
    }

    fn allocated(&self) -> usize {
        self.pages.iter().filter(|&&page| page != Page::Hole).count()
    }

    /// What a reader may read now or after it adopted the published generation.
    fn readable(&self) -> Vec<Extent> {
        let generations = self.readers.iter().filter_map(|reader| reader.generation);
        let generations: Vec<u64> = generations.chain([self.published]).collect();
        let is_named = |owner: &&Owner| generations.iter().any(|&g| owner.is_named_by(g));
        let named = self.owners.iter().filter(is_named).map(|owner| owner.extent);
        named.chain(self.readers.iter().flat_map(|reader| reader.pins.clone())).collect()
    }

    /// Checks an allocation, and writes it.
    fn write(&mut self, extent: Extent, is_shared: bool) {
        assert!(extent.offset + extent.len <= PAGE * PAGES, "{extent:?}");
        let readable: BTreeSet<usize> = self.readable().into_iter().flat_map(pages_of).collect();
        for page in pages_of(extent) {
            let state = self.pages[page];
            assert!(
                state == Page::Hole || is_shared && state == Page::Open,
                "{extent:?} {state:?}"
            );
            assert!(!readable.contains(&page), "{extent:?} is on a page that can be read");
            self.pages[page] = if is_shared { Page::Open } else { Page::Own };
        }
        assert!(is_shared || extent.offset.is_multiple_of(PAGE), "{extent:?}");
        let owner = self.owners.len();
        self.owners.push(Owner { extent, birth: u64::MAX, retired_by: u64::MAX });
        for byte in &mut self.bytes[extent.offset as usize..(extent.offset + extent.len) as usize] {
            assert_eq!(*byte, None, "{extent:?} is written twice");
            *byte = Some(owner);
        }
        self.draft.push(owner);
    }

    fn has_room(&self, pages: usize, align: usize) -> bool {
        let is_free = |first: usize| {
            let run = self.pages.get(first..first + pages);
            run.is_some_and(|run| run.iter().all(|&page| page == Page::Hole))
        };
        self.allocated() + pages <= BUDGET as usize
            && (0..PAGES as usize).step_by(align).any(is_free)
    }

    /// Whether there is room for a packed extent of a length: after the last one, or where enough
    /// pages are free.
    fn has_room_for_packed(&self, len: u64) -> bool {
        let has_run = self.has_room(len.div_ceil(PAGE) as usize, 1);
        let Some(last) = self.last_packed.filter(|last| self.is_held(last_page(*last))) else {
            return has_run;
        };
        let end = last.offset + last.len;
        let lack = (end + len).saturating_sub(end.next_multiple_of(PAGE)).div_ceil(PAGE) as usize;
        let next = last_page(last) + 1;
        let following = self.pages.get(next..next + lack);
        let can_extend = self.allocated() + lack <= BUDGET as usize
            && following.is_some_and(|pages| pages.iter().all(|&page| page == Page::Hole));
        can_extend || has_run
    }

    fn is_held(&self, page: usize) -> bool {
        let live = self.draft.iter().chain(&self.named).map(|&owner| self.owners[owner].extent);
        live.into_iter().any(|extent| pages_of(extent).any(|other| other == page))
            || self.holds.iter().any(|hold| of(hold.pages).contains(&page))
    }

    fn publish(&mut self, space: &mut Space, retired: &[usize]) {
        self.published += 1;
        for which in retired {
            if self.named.is_empty() {
                break;
            }
            let owner = self.named.swap_remove(which % self.named.len());
            let Owner { extent, birth, .. } = self.owners[owner];
            self.owners[owner].retired_by = self.published;
            space.retire(extent, birth, self.published);
            let pages = runs_of(pages_of(extent))[0];
            self.holds.push(Hold { pages, birth, retired_by: self.published });
        }
        for owner in std::mem::take(&mut self.draft) {
            self.owners[owner].birth = self.published;
            self.named.push(owner);
        }
        self.close();
        space.close_shared();
    }

    /// Publishes a generation in which the extents on sparse pages lie elsewhere.
    fn move_marked(&mut self, space: &mut Space) {
        space.mark_sparse();
        let mut moved = Vec::new();
        for (which, &owner) in self.named.clone().iter().enumerate().rev() {
            let extent = self.owners[owner].extent;
            if space.is_marked(extent)
                && let Some(new) = space.allocate_packed(extent.len)
            {
                self.write(new, true);
                self.last_packed = Some(new);
                moved.push(which);
            }
        }
        // From the last to the first, so that the places stay those of the moved ones.
        self.publish(space, &moved);
    }

    fn close(&mut self) {
        self.last_packed = None;
        for page in self.pages.iter_mut().filter(|page| **page == Page::Open) {
            *page = Page::Published;
        }
    }

    fn release(&mut self, space: &mut Space, punched: usize) {
        let generations: Vec<u64> =
            self.readers.iter().filter_map(|reader| reader.generation).collect();
        let pins = self.readers.iter().flat_map(|reader| &reader.pins);
        let pins: Vec<PageRun> = pins.map(|&pin| runs_of(pages_of(pin))[0]).collect();
        let released = space.release(&generations, &pins);
        let is_named =
            |hold: &Hold| generations.iter().any(|&g| hold.birth <= g && g < hold.retired_by);
        let is_pinned = |hold: &Hold| {
            pins.iter().any(|&pin| of(hold.pages).any(|page| of(pin).contains(&page)))
        };
        self.holds.retain(|hold| is_named(hold) || is_pinned(hold));
        let refusals = released.refusals;
        let count = |is: &dyn Fn(&Hold) -> bool| self.holds.iter().filter(|h| is(h)).count() as u64;
        assert_eq!(refusals.by_generation, count(&is_named));
        assert_eq!(refusals.by_pin, count(&is_pinned));
        assert_eq!(refusals.blocked_below, self.holds.iter().map(|hold| hold.retired_by).max());
        let dead = (0..PAGES as usize)
            .filter(|&page| self.pages[page] != Page::Hole && !self.is_held(page));
        let dead: Vec<usize> = dead.collect();
        assert_eq!(released.punch, runs_of(dead.iter().copied()));
        for extent in self.readable() {
            let is_dead = pages_of(extent).any(|page| dead.contains(&page));
            assert!(!is_dead, "{extent:?} can be read and would be punched");
        }
        // Perhaps only a part of what was returned, in any pieces.
        for run in runs_of(dead.into_iter().take(punched)) {
            space.punched(run);
            for page in of(run) {
                self.pages[page] = Page::Hole;
                self.bytes[page * PAGE as usize..][..PAGE as usize].fill(None);
            }
        }
    }

    fn restart(&mut self) -> Space {
        self.draft.clear();
        self.close();
        let published = self.published;
        let live: Vec<Extent> = self.named.iter().map(|&owner| self.owners[owner].extent).collect();
        let on =
            |page: usize| live.iter().filter(move |e| pages_of(**e).any(|other| other == page));
        let data: Vec<usize> =
            (0..PAGES as usize).filter(|&page| self.pages[page] != Page::Hole).collect();
        let unnamed = runs_of(data.iter().copied().filter(|&page| on(page).count() == 0));
        let shared = data.iter().copied().filter(|&page| on(page).next().is_some());
        let shared = shared.map(|page| PageRun { first: page as u64, count: 1 });
        let holds = unnamed.into_iter().chain(shared);
        self.holds = holds.map(|pages| Hold { pages, birth: 0, retired_by: published }).collect();
        Space::recover(PAGE, PAGES, BUDGET, &runs_of(data.into_iter()), live, published)
    }

    fn apply(&mut self, space: &mut Space, action: Action) {
        match action {
            Action::Allocate { len, align } => {
                let pages = len.div_ceil(PAGE) as usize;
                let has_room = self.has_room(pages, align as usize);
                let extent = space.allocate(len, align);
                assert_eq!(extent.is_some(), has_room, "{extent:?}");
                if let Some(extent) = extent {
                    assert_eq!((extent.offset % (align * PAGE), extent.len), (0, len));
                    self.write(extent, false);
                }
            }
            Action::AllocatePacked { len } => {
                let has_room = self.has_room_for_packed(len);
                let extent = space.allocate_packed(len);
                assert_eq!(extent.map(|extent| extent.len), has_room.then_some(len));
                if let Some(extent) = extent {
                    self.write(extent, true);
                    self.last_packed = Some(extent);
                }
            }
            Action::Abandon { which } if !self.draft.is_empty() => {
                let owner = self.draft.swap_remove(which % self.draft.len());
                let extent = self.owners[owner].extent;
                space.abandon(extent);
                // Nothing is added to a page that is to be punched.
                self.last_packed = self.last_packed.filter(|&last| self.is_held(last_page(last)));
            }
            Action::Publish { retired } => self.publish(space, &retired),
            Action::Move => self.move_marked(space),
            Action::Adopt { reader } => self.readers[reader].generation = Some(self.published),
            Action::GoOffline { reader } => self.readers[reader].generation = None,
            Action::Pin { reader, which } => {
                let Some(generation) = self.readers[reader].generation else { return };
                let named = self.owners.iter().filter(|owner| owner.is_named_by(generation));
                let named: Vec<Extent> = named.map(|owner| owner.extent).collect();
                if !named.is_empty() {
                    self.readers[reader].pins.push(named[which % named.len()]);
                }
            }
            Action::Unpin { reader, which } => {
                let pins = &mut self.readers[reader].pins;
                if !pins.is_empty() {
                    pins.swap_remove(which % pins.len());
                }
            }
            Action::Release { punched } => self.release(space, punched as usize),
            Action::Restart => *space = self.restart(),
            Action::Abandon { .. } => {}
        }
    }
}

proptest! {
    #[test]
    fn no_page_that_can_be_read_is_allocated_or_punched(
        actions in prop::collection::vec(action(), 0..120),
    ) {
        let mut space = Space::new(PAGE, PAGES, BUDGET);
        let mut model = Model::new();
        for action in actions {
            model.apply(&mut space, action);
            assert_eq!(space.allocated_pages(), model.allocated() as u64);
            assert_eq!(space.available_pages(), BUDGET - model.allocated() as u64);
        }
        // Without readers and with nothing named, everything becomes a hole again.
        model.readers = vec![Reader::default(); READERS];
        model.draft.drain(..).for_each(|owner| space.abandon(model.owners[owner].extent));
        model.publish(&mut space, &vec![0; PAGES as usize * PAGE as usize]);
        model.release(&mut space, PAGES as usize);
        assert_eq!(space.allocated_pages(), 0);
    }
}
