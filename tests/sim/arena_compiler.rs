//! The compiler of the arena, step by step, with each mutant's mistake.

use std::collections::BTreeSet;
use std::rc::Rc;

use tine::control::publication::{generations_in_use, pins_in_use};
use tine::control::space::{PageRun, Space};
use tine::scoreboard::{generation_of, published_word};
use tine::site::Extent;

use crate::arena::{
    ALIGN, FILES, HOLE, Image, LENS, Mutant, Named, Outcome, PAGE, PAGES, Work, World, cells_of,
    runs,
};

impl World {
    /// The compiler's next step.
    pub fn work(&mut self) -> Outcome {
        let next = match self.work {
            Work::WriteBodies if self.is_complete() => self.read_generations(),
            Work::WriteBodies => self.write_bodies()?,
            Work::WriteIndex => self.write_index()?,
            Work::Publish => {
                let image = self.images.last().expect("an index was written");
                let word = published_word(image.generation, image.index.extent.offset);
                self.board().compiler().publish(word);
                if self.mutant == Some(Mutant::ReleaseBeforePublish) {
                    Work::WriteBodies
                } else {
                    self.retire();
                    Work::ReadGenerations
                }
            }
            Work::ReadGenerations => self.read_generations(),
            Work::ReadPins => {
                let pins = pins_in_use(self.board());
                let is_ignorant = self.mutant == Some(Mutant::IgnorePins);
                self.release(if is_ignorant { &[] } else { &pins });
                self.after_punch()
            }
            Work::Punch => {
                if let Some(run) = self.punch.pop() {
                    self.punch_run(run);
                }
                self.after_punch()
            }
        };
        self.work = next;
        Ok(())
    }

    fn after_punch(&self) -> Work {
        if !self.punch.is_empty() {
            Work::Punch
        } else if self.has_unpublished() {
            Work::Publish
        } else {
            Work::WriteBodies
        }
    }

    fn read_generations(&mut self) -> Work {
        self.generations = generations_in_use(self.board());
        Work::ReadPins
    }

    /// Whether an index was written and is not published: by a mutant, or before a crash.
    fn has_unpublished(&self) -> bool {
        let newest = self.images.last().map_or(0, |image| image.generation);
        self.mutant == Some(Mutant::ReleaseBeforePublish)
            && newest > generation_of(self.board().compiler().published())
            && self.draft.len() == FILES
    }

    /// Begins where a dead compiler has ended.
    pub fn recover(&mut self) {
        let published = self.board().compiler().published();
        let generation = generation_of(published);
        let data = runs((0..PAGES).filter(|&page| self.is_data(page)));
        let image = self.image(published);
        let named = image.iter().flat_map(|image| image.files.iter().chain([&image.index]));
        let live: Vec<Extent> = named.map(|named| named.extent).collect();
        let pages = |extent: &Extent| {
            let run = PageRun::of(*extent, PAGE);
            run.first..run.first + run.count
        };
        let on: BTreeSet<u64> = live.iter().flat_map(pages).collect();
        let unnamed = (0..PAGES).filter(|&page| self.is_data(page) && !on.contains(&page));
        // All are short enough to share their pages with extents of older generations.
        let shared = on.iter().map(|&first| PageRun { first, count: 1 });
        let retired = runs(unnamed).into_iter().chain(shared);
        self.retired = retired.map(|run| (run, 0, generation)).collect();
        self.space = Space::recover(PAGE, PAGES, PAGES, &data, live, generation);
        if self.mutant == Some(Mutant::RestartWithoutWaiting) {
            self.release(&[]);
            self.work = self.after_punch();
        } else {
            self.work = Work::ReadGenerations;
        }
    }

    pub fn is_data(&self, page: u64) -> bool {
        self.cells[cells_of(Extent { offset: page * PAGE, len: PAGE })]
            .iter()
            .any(|&cell| cell != HOLE)
    }

    fn write_bodies(&mut self) -> Result<Work, &'static str> {
        let published = self.board().compiler().published();
        let generation = generation_of(published) + 1;
        let changes = self.changes[usize::try_from(generation).unwrap() - 1];
        let former = self.image(published);
        self.attempts += 1;
        self.draft.clear();
        for (file, len) in LENS.into_iter().enumerate() {
            let kept = former.as_ref().map(|former| former.files[file]);
            let kept = kept.filter(|_| changes >> file & 1 == 0);
            let named = match kept {
                Some(kept) => kept,
                None => {
                    let Some(extent) = self.space.allocate_packed(len) else {
                        return Ok(self.give_up(generation));
                    };
                    let named = Named { extent, content: self.content(file), birth: generation };
                    self.write(named)?;
                    named
                }
            };
            self.draft.push(named);
        }
        Ok(Work::WriteIndex)
    }

    /// There is no room: readers have to let go of something first.
    fn give_up(&mut self, generation: u64) -> Work {
        for named in self.draft.drain(..).filter(|named| named.birth == generation) {
            self.space.abandon(named.extent);
        }
        self.space.close_shared();
        self.read_generations()
    }

    /// A content that nothing else has.
    fn content(&self, file: usize) -> u16 {
        self.attempts * 4 + u16::try_from(file).unwrap() + 1
    }

    fn write_index(&mut self) -> Result<Work, &'static str> {
        let generation = generation_of(self.board().compiler().published()) + 1;
        let Some(extent) = self.space.allocate(PAGE, ALIGN) else {
            return Ok(self.give_up(generation));
        };
        let index = Named { extent, content: self.content(FILES), birth: generation };
        self.write(index)?;
        self.space.close_shared();
        self.images.push(Rc::new(Image { generation, index, files: self.draft.clone() }));
        if self.mutant == Some(Mutant::ReleaseBeforePublish) {
            self.retire();
            return Ok(Work::ReadGenerations);
        }
        Ok(Work::Publish)
    }

    /// Retires what the newest image does not name.
    fn retire(&mut self) {
        let newest = Rc::clone(self.images.last().expect("an index was written"));
        let by = newest.generation;
        let Some(former) = self.image(published_word(by - 1, 0)) else { return };
        for named in former.files.iter().chain([&former.index]) {
            if !newest.files.contains(named) {
                self.space.retire(named.extent, named.birth, by);
                self.retired.push((PageRun::of(named.extent, PAGE), named.birth, by));
            }
        }
    }

    fn release(&mut self, pins: &[PageRun]) {
        let generations = std::mem::take(&mut self.generations);
        let released = self.space.release(&generations, pins);
        self.retired.retain(|&(run, birth, by)| {
            generations.iter().any(|generation| (birth..by).contains(generation))
                || pins.iter().any(|pin| pin.overlaps(run))
        });
        let highest = self.retired.iter().map(|&(_, _, by)| by).max();
        assert_eq!(released.refusals.blocked_below, highest);
        self.punch = released.punch;
    }

    fn punch_run(&mut self, run: PageRun) {
        self.space.punched(run);
        if self.mutant != Some(Mutant::ReuseWithoutPunch) {
            let extent = Extent { offset: run.first * PAGE, len: run.count * PAGE };
            self.cells[cells_of(extent)].fill(HOLE);
        }
    }
}
