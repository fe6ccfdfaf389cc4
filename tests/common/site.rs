//! A site that was compiled into an arena of this process.
#![allow(dead_code, reason = "each of the tests that share this uses a part of it")]

use std::path::{Path, PathBuf};

use tine::compile::{Job, Root, Rules, compile};
use tine::control::publication::Reader;
use tine::host::arena::{Arena, page_size};
use tine::host::open_files::OpenFiles;
use tine::http::extra::Extra;
use tine::scoreboard::{Scoreboard, Slot, published_word};
use tine::site::{Site, View, placeholder};

/// The slot of the process that reads the site.
const READER: usize = 1;

/// A published site.
pub struct CompiledSite {
    root: PathBuf,
    view: View<'static>,
    board: Scoreboard<'static>,
    placeholder: Site<'static>,
    pub extra: Extra,
}

impl CompiledSite {
    /// Compiles a directory, as a first site.
    pub fn new(root: &Path, rules: &Rules, job: &Job<'_>) -> Self {
        let arena = Arena::create(2 * rules.limits.memory_max + (1 << 20)).unwrap();
        let mut memory = arena.into_memory().unwrap();
        memory.begin(u64::MAX);
        let opened = Root::new(root).unwrap();
        let (watch, interrupt) = (&mut |_: std::os::fd::BorrowedFd<'_>| (), &mut || false);
        let outcome = compile(&opened, job, None, &mut memory, watch, interrupt).unwrap();
        let image = outcome.ready().expect("there was none before").image;
        let index = memory.put_index(image).unwrap();
        memory.close().unwrap();
        let board = Scoreboard::leaked(2, 64);
        board.compiler().publish(published_word(job.generation, index.offset));
        let view = memory.view();
        // The arena stays mapped.
        std::mem::forget(memory);
        let placeholder = Site::open(View::of(Vec::leak(placeholder(true))), 0).unwrap();
        Self { root: root.to_owned(), view, board, placeholder, extra: rules.extra.clone() }
    }

    /// A reader of the site.
    pub fn reader(&self) -> Reader<'static> {
        Reader::new(self.board, self.slot(), self.view, page_size(), self.placeholder)
    }

    /// What a reader opens its files on disk with.
    pub fn files(&self) -> OpenFiles {
        OpenFiles::new(self.root.clone(), None, 4)
    }

    pub fn slot(&self) -> Slot<'static> {
        self.board.own_slot(READER)
    }

    pub fn board(&self) -> Scoreboard<'static> {
        self.board
    }

    pub fn view(&self) -> View<'static> {
        self.view
    }
}
