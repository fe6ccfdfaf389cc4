//! Publication of site images: how a reader learns which image is published, and how the compiler
//! learns what readers still use (epoch-based reclamation, with an offline state and pins).
//!
//! ```text
//! compiler                                   reader
//! write heads, bodies, index                 go_offline: generation = 0     (before it may wait)
//! publish: published = G  (SeqCst, fence)    adopt:
//! in_use: load all generations,                load published               (relaxed, acquire)
//!            then all pins                     generation = its generation  (release)
//! what is retired, and in no reader's          fence (SeqCst)
//! generation and under no pin, is punched      load published again; if it differs, once more
//! ```
//!
//! The fences order each side's store before its load: either the compiler sees the reader's
//! generation, or the reader sees the newer image. A pin is stored before the generation that
//! follows it, and the compiler reads pins after generations: a response that outlives its
//! generation is seen by one or the other.

use std::sync::atomic::{Ordering, fence};

use super::space::PageRun;
use crate::faults::{self, Fault, Window};
use crate::scoreboard::{CompilerPage, Scoreboard, Slot, generation_of, index_offset};
use crate::site::{Extent, ImageError, Site, View};

/// A process that reads site images. A copy writes the same slot.
#[derive(Clone, Debug)]
pub struct Reader<'m> {
    compiler: CompilerPage<'m>,
    slot: Slot<'m>,
    view: View<'m>,
    page_size: u64,
    /// The published word that the site was opened by; 0 for the placeholder.
    published: u64,
    is_online: bool,
    site: Site<'m>,
    placeholder: Site<'m>,
    error: Option<ImageError>,
}

impl<'m> Reader<'m> {
    /// A reader that has adopted nothing. Until an image is published the placeholder is served.
    pub fn new(
        board: Scoreboard<'m>,
        slot: Slot<'m>,
        view: View<'m>,
        page_size: u64,
        placeholder: Site<'m>,
    ) -> Self {
        Self {
            compiler: board.compiler(),
            slot,
            view,
            page_size,
            published: 0,
            is_online: false,
            site: placeholder,
            placeholder,
            error: None,
        }
    }

    /// Adopts the published image and returns it: to be called before each decision.
    pub fn adopt(&mut self) -> &Site<'m> {
        let mut published = self.compiler.published();
        if self.is_online && published == self.published {
            return &self.site;
        }
        if faults::is_on(Fault::GenerationAfterLoad) {
            self.confirm(published);
            faults::wait_in(Window::Adopt);
            self.announce(published);
            return &self.site;
        }
        loop {
            faults::wait_in(Window::Adopt);
            self.announce(published);
            let again = self.compiler.published();
            if again == published || faults::is_on(Fault::NoSecondLoad) {
                break;
            }
            published = again;
        }
        self.confirm(published);
        faults::wait_in(Window::Read);
        &self.site
    }

    /// Says which generation is about to be read; it may be read if it is still published then.
    pub fn announce(&mut self, published: u64) {
        self.slot.set_generation(generation_of(published));
        fence(Ordering::SeqCst);
    }

    /// Opens the image that was announced and is still published.
    pub fn confirm(&mut self, published: u64) -> &Site<'m> {
        self.is_online = true;
        if published != self.published {
            self.published = published;
            self.site = match Site::open(self.view, index_offset(published)) {
                Ok(site) => site,
                Err(error) => {
                    self.error = Some(error);
                    self.placeholder
                }
            };
        }
        &self.site
    }

    /// Says that nothing is read until the next [`Reader::adopt`]: to be called before anything
    /// that may wait. What is left to send has to be pinned before.
    pub fn go_offline(&mut self) {
        self.is_online = false;
        self.slot.set_generation(0);
    }

    /// The generation that was adopted last.
    pub fn generation(&self) -> u64 {
        generation_of(self.published)
    }

    /// What is wrong with a published image; the process had better end then.
    pub fn error(&self) -> Option<ImageError> {
        self.error
    }

    /// The bytes of an extent that was adopted or pinned.
    pub fn bytes(&self, Extent { offset, len }: Extent) -> Option<&'m [u8]> {
        self.view.bytes(offset, len)
    }

    /// Pins the pages of an extent, or of none, under an entry of this process: they keep their
    /// bytes until another pin takes the place.
    pub fn pin(&self, entry: usize, extent: Option<Extent>) {
        let pages = extent.filter(|extent| extent.len > 0);
        let pages = pages.map(|extent| PageRun::of(extent, self.page_size));
        self.slot.pin(entry, pages.map_or(0, pin_word));
    }
}

/// The word of a pin.
pub fn pin_word(PageRun { first, count }: PageRun) -> u64 {
    debug_assert!(first < 1 << 32 && count < 1 << 32, "an arena has fewer than 2^32 pages");
    first << 32 | count
}

/// The pages of a pin's word.
pub fn pinned_pages(word: u64) -> PageRun {
    PageRun { first: word >> 32, count: word & u64::from(u32::MAX) }
}

/// What readers use: to be taken after a publication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// The generations that are read from now.
    pub generations: Vec<u64>,
    /// The pages that are pinned.
    pub pins: Vec<PageRun>,
}

/// Reads all generations, and after them all pins.
pub fn in_use(board: Scoreboard<'_>) -> InUse {
    let generations = generations_in_use(board);
    InUse { generations, pins: pins_in_use(board) }
}

/// Reads the generations of all readers.
pub fn generations_in_use(board: Scoreboard<'_>) -> Vec<u64> {
    fence(Ordering::SeqCst);
    let generations = board.slots().map(|(_, slot)| slot.generation());
    generations.filter(|&generation| generation != 0).collect()
}

/// Reads the pins of all readers: to be called after [`generations_in_use`].
pub fn pins_in_use(board: Scoreboard<'_>) -> Vec<PageRun> {
    board.slots().flat_map(|(_, slot)| slot.pins()).map(pinned_pages).collect()
}
