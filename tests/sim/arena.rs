//! An arena with one compiler and a few readers on a real scoreboard: each step is a move, and what
//! no reader may ever see is an error.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::rc::Rc;

use tine::control::publication::{Reader, pin_word};
use tine::control::space::{PageRun, Space};
use tine::scoreboard::{INDEX_ALIGN, Scoreboard, generation_of, index_offset};
use tine::site::Extent;
use tine::site::{Site, View, placeholder};

use crate::arena_reader::{Step, Worker};

pub const PAGE: u64 = 1024;
/// A content is told from others by what each cell holds.
const CELL: u64 = 256;
pub const PAGES: u64 = 6 * ALIGN;
pub const ALIGN: u64 = INDEX_ALIGN / PAGE;
/// What a cell holds that was punched, or never written: poison for a reader.
pub const HOLE: u16 = 0;
/// Two lie on a page, the third begins there and ends on the next one.
pub const LENS: [u64; FILES] = [CELL, 2 * CELL, PAGE];
pub const FILES: usize = 3;
/// Slots of the master and of the compiler come first.
pub const FIRST_SLOT: usize = 2;
/// Responses of one reader at a time.
pub const PINS: usize = 2;

/// A mistake that is made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    ReleaseBeforePublish,
    ReuseWithoutPunch,
    IgnorePins,
    GenerationAfterLoad,
    NoSecondLoad,
    RestartWithoutWaiting,
}

/// What a process may do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    Compiler,
    KillCompiler,
    Kill(usize),
    Restart(usize),
    Load(usize),
    Announce(usize),
    LoadAgain(usize),
    Decide(usize, usize),
    Pin(usize),
    GoOffline(usize),
    Finish(usize, usize),
}

/// A range of the arena with its content, and the generation that named it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Named {
    pub extent: Extent,
    pub content: u16,
    pub birth: u64,
}

/// What an index says.
#[derive(Debug, Hash)]
pub struct Image {
    pub generation: u64,
    pub index: Named,
    pub files: Vec<Named>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    WriteBodies,
    WriteIndex,
    Publish,
    ReadGenerations,
    ReadPins,
    Punch,
}

#[derive(Clone)]
pub struct World {
    board: Scoreboard<'static>,
    pub mutant: Option<Mutant>,
    /// How many of the files are requested.
    pub requested: usize,
    /// Which files each generation changes, as bits.
    pub changes: Rc<[u8]>,
    pub cells: Vec<u16>,
    /// All that were written, published or not.
    pub images: Vec<Rc<Image>>,
    pub workers: Vec<Worker>,
    /// The newest generation that a response was completed from.
    pub completed: u64,
    pub space: Space,
    pub work: Work,
    pub is_compiler_dead: bool,
    pub compiler_kills: u8,
    pub attempts: u16,
    pub draft: Vec<Named>,
    pub generations: Vec<u64>,
    pub punch: Vec<PageRun>,
    /// What the space has retired: range, birth, and the generation that does not name it.
    pub retired: Vec<(PageRun, u64, u64)>,
    /// The scoreboard as this world has left it.
    pub published: u64,
    pub slots: Vec<(u64, [u64; PINS])>,
}

pub type Outcome = Result<(), &'static str>;

impl World {
    /// A world in which the first generation is to be published.
    pub fn new(board: Scoreboard<'static>, readers: usize, requests: u8, changes: &[u8]) -> Self {
        let placeholder = Site::open(View::of(Vec::leak(placeholder(false))), 0).unwrap();
        let reader = |number| {
            Reader::new(
                board,
                board.own_slot(FIRST_SLOT + number),
                View::of(&[]),
                PAGE,
                placeholder,
            )
        };
        let worker = |number| Worker::new(reader(number), requests);
        Self {
            board,
            mutant: None,
            requested: FILES,
            changes: changes.into(),
            cells: vec![HOLE; usize::try_from(PAGES * PAGE / CELL).unwrap()],
            images: Vec::new(),
            workers: (0..readers).map(worker).collect(),
            completed: 0,
            space: Space::new(PAGE, PAGES, PAGES),
            work: Work::WriteBodies,
            is_compiler_dead: false,
            compiler_kills: 1,
            attempts: 0,
            draft: Vec::new(),
            generations: Vec::new(),
            punch: Vec::new(),
            retired: Vec::new(),
            published: 0,
            slots: vec![(0, [0; PINS]); readers],
        }
    }

    /// What can happen next.
    pub fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        if !self.is_settled() {
            moves.push(Move::Compiler);
        }
        if !self.is_compiler_dead && self.compiler_kills > 0 {
            moves.push(Move::KillCompiler);
        }
        for (number, worker) in self.workers.iter().enumerate() {
            worker.moves(number, self, &mut moves);
        }
        moves
    }

    /// Whether the compiler has published all and given back all that it can.
    fn is_settled(&self) -> bool {
        let is_idle = self.work == Work::WriteBodies && !self.is_compiler_dead;
        is_idle && self.is_complete() && self.retired.is_empty()
    }

    pub fn is_complete(&self) -> bool {
        generation_of(self.published) == self.changes.len() as u64
    }

    /// Makes a move; the error says what went wrong.
    pub fn make(&mut self, next: Move) -> Outcome {
        self.restore_board();
        let outcome = match next {
            Move::Compiler if self.is_compiler_dead => {
                // It is reaped before another one is forked.
                self.is_compiler_dead = false;
                self.recover();
                Ok(())
            }
            Move::Compiler => self.work(),
            Move::KillCompiler => {
                self.compiler_kills -= 1;
                self.is_compiler_dead = true;
                self.draft.clear();
                self.generations.clear();
                self.punch.clear();
                self.retired.clear();
                Ok(())
            }
            _ => self.move_worker(next),
        };
        self.published = self.board.compiler().published();
        for (number, (generation, pins)) in self.slots.iter_mut().enumerate() {
            let slot = self.board.slot(FIRST_SLOT + number);
            (*generation, *pins) = (slot.generation(), self.workers[number].pins);
        }
        outcome
    }

    /// Worlds that differ in their past share one scoreboard.
    fn restore_board(&self) {
        if self.board.compiler().published() != self.published {
            self.board.compiler().publish(self.published);
        }
        for (number, (generation, pins)) in self.slots.iter().enumerate() {
            let slot = self.board.own_slot(FIRST_SLOT + number);
            slot.set_generation(*generation);
            for (entry, &pin) in pins.iter().enumerate() {
                slot.pin(entry, pin);
            }
        }
    }

    fn move_worker(&mut self, next: Move) -> Outcome {
        let (Move::Load(number)
        | Move::Announce(number)
        | Move::LoadAgain(number)
        | Move::Decide(number, _)
        | Move::Pin(number)
        | Move::GoOffline(number)
        | Move::Finish(number, _)
        | Move::Kill(number)
        | Move::Restart(number)) = next
        else {
            unreachable!("a move of the compiler");
        };
        let mut worker = self.workers[number].clone();
        let outcome = worker.make(next, self);
        self.workers[number] = worker;
        outcome
    }

    pub fn board(&self) -> Scoreboard<'static> {
        self.board
    }

    /// Reads what the index says that a published word leads to.
    pub fn read_index(&self, published: u64) -> Result<Rc<Image>, &'static str> {
        let content = self.cells[usize::try_from(index_offset(published) / CELL).unwrap()];
        let image = self.images.iter().find(|image| image.index.content == content);
        let image = image.ok_or("an index was read that is none")?;
        self.read(&image.index)?;
        if image.generation != generation_of(published) {
            return Err("an index of another generation was read");
        }
        Ok(Rc::clone(image))
    }

    /// Reads a body.
    pub fn read(&self, named: &Named) -> Outcome {
        for &cell in &self.cells[cells_of(named.extent)] {
            if cell == HOLE {
                return Err("poison was read");
            }
            if cell != named.content {
                return Err("another content was read");
            }
        }
        Ok(())
    }

    pub fn write(&mut self, named: Named) -> Outcome {
        for cell in &mut self.cells[cells_of(named.extent)] {
            if *cell != HOLE {
                return Err("a page was written again before it was punched");
            }
            *cell = named.content;
        }
        Ok(())
    }

    pub fn image(&self, published: u64) -> Option<Rc<Image>> {
        let generation = generation_of(published);
        // A later attempt at a generation takes the place of one that came to nothing.
        self.images.iter().rev().find(|image| image.generation == generation).map(Rc::clone)
    }

    /// Whether nothing is left to be done.
    pub fn is_over(&self) -> bool {
        self.is_settled() && self.workers.iter().all(|worker| worker.step == Step::Offline)
    }

    /// What must hold once nothing is left to be done: only what is published has memory.
    pub fn check_released(&self) -> Outcome {
        let image = self.image(self.published).ok_or("nothing is published")?;
        let named = image.files.iter().chain([&image.index]);
        let runs: Vec<PageRun> = named.map(|named| PageRun::of(named.extent, PAGE)).collect();
        let is_named =
            |page| runs.iter().any(|run| run.overlaps(PageRun { first: page, count: 1 }));
        let data = (0..PAGES).filter(|&page| self.is_data(page));
        let data: Vec<u64> = data.collect();
        if data.iter().any(|&page| !is_named(page)) {
            return Err("memory was not released");
        }
        assert_eq!(self.space.allocated_pages(), data.len() as u64);
        Ok(())
    }

    /// Two worlds with the same key go on alike.
    pub fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        // It makes no difference which of the readers is which.
        let mut workers: Vec<u64> = self.workers.iter().zip(&self.slots).map(key_of).collect();
        workers.sort_unstable();
        (workers, &self.cells, self.completed, self.work, self.is_compiler_dead).hash(&mut hasher);
        (self.compiler_kills, self.attempts, &self.draft).hash(&mut hasher);
        (&self.generations, &self.retired, self.published).hash(&mut hasher);
        self.punch.hash(&mut hasher);
        hasher.finish()
    }
}

fn key_of(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The word of the pin of a body.
pub fn pin_of(named: &Named) -> u64 {
    pin_word(PageRun::of(named.extent, PAGE))
}

pub fn cells_of(extent: Extent) -> std::ops::Range<usize> {
    let cell = |offset: u64| usize::try_from(offset.div_ceil(CELL)).unwrap();
    cell(extent.offset)..cell(extent.offset + extent.len)
}

pub fn runs(pages: impl Iterator<Item = u64>) -> Vec<PageRun> {
    let mut runs: Vec<PageRun> = Vec::new();
    for page in pages {
        match runs.last_mut() {
            Some(run) if run.first + run.count == page => run.count += 1,
            _ => runs.push(PageRun { first: page, count: 1 }),
        }
    }
    runs
}
