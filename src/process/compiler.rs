//! The compiler: watches the directory, compiles it into the arena and publishes the image. All
//! disk I/O for the whole site is here, so that no other process waits for it.

mod report;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use crate::compile::{
    CompileError, Compiled, Job, Outcome, Root, Rules, SiteMemory, Unstable, compile,
};
use crate::config::Config;
use crate::control::publication::{InUse, in_use};
use crate::control::reload::{Event, Pace, ReloadScheduler, Scan, ScanEnd};
use crate::failure::Failure;
use crate::faults::{self, Fault, Race, Window};
use crate::host::arena::Arena;
use crate::host::doorbell::Doorbell;
use crate::scoreboard::{CompilerPage, Counter, Scoreboard, Slot, index_offset, published_word};
use crate::site::{Extent, Former, Site};

use super::clock::{boot_seconds, since_1970};
use super::log::Log;
use super::machine::Allowance;
use super::watcher::Watcher;
use super::{failed, wait};

const DOORBELL: Token = Token(0);
const CHANGES: Token = Token(1);

/// How often it stores its heartbeat, and releases what readers use no more.
const TICK: Duration = Duration::from_secs(1);
/// The same while the site lacks memory that readers still use.
const BLOCKED_TICK: Duration = Duration::from_millis(20);

/// What a compiler is started with.
pub(super) struct CompilerArgs<'c> {
    pub(super) config: &'c Config,
    pub(super) allowance: Allowance,
    /// The directory as it was before privileges were dropped; none if it was missing.
    pub(super) root: Option<Root>,
    /// When the program was started.
    pub(super) started: Instant,
    pub(super) board: Scoreboard<'static>,
    pub(super) slot: Slot<'static>,
    /// Of all slots, by their numbers.
    pub(super) doorbells: Vec<Doorbell>,
    /// Its own, by its number.
    pub(super) own_doorbell: usize,
    pub(super) log: Rc<Log>,
    /// Where the site is served, to be shown.
    pub(super) addresses: Vec<SocketAddr>,
    /// Where the status page is, to be shown.
    pub(super) admin_url: Option<String>,
}

/// A process that compiles.
pub(super) struct Compiler<'c> {
    args: CompilerArgs<'c>,
    page: CompilerPage<'static>,
    memory: SiteMemory,
    /// The published image.
    former: Option<Former<'static>>,
    rules: Rules,
    scheduler: ReloadScheduler,
    watcher: Watcher,
    poll: Poll,
    /// When the published image was last known to be as the file system is, in a time since 1970.
    as_of: Duration,
    /// How often a reload was requested, and a file was found to be stale, as far as that is acted
    /// on.
    requests: u64,
    stale_files: u64,
    /// Whether it was said that some changes are not noticed.
    has_said_lack: bool,
    /// Whether files are left on disk, or an index could not be written, only because the arena has
    /// no room.
    lacks_memory: bool,
    /// Whether it was said that all is made of the files that was to be.
    is_complete: bool,
    /// Whether what an earlier compiler has written was compared with the files.
    is_verified: bool,
}

impl<'c> Compiler<'c> {
    /// # Errors
    /// If the system refuses what it needs, or what an earlier compiler has left cannot be read.
    pub(super) fn new(args: CompilerArgs<'c>, arena: Arena) -> Result<Self, Failure> {
        let poll = Poll::new().map_err(failed("cannot watch for events"))?;
        args.doorbells[args.own_doorbell]
            .watch(&poll, DOORBELL)
            .map_err(failed("cannot watch an eventfd"))?;
        let memory = arena.into_memory().map_err(failed("cannot map the arena"))?;
        let (board, config) = (args.board, args.config);
        let pace = Pace {
            reload_debounce: config.reload_debounce,
            rescan_interval: config.rescan_interval,
        };
        let mut compiler = Self {
            page: board.compiler(),
            memory,
            former: None,
            rules: args.allowance.rules(config),
            scheduler: ReloadScheduler::new(pace, Instant::now()),
            watcher: Watcher::new(config.watch),
            poll,
            as_of: Duration::ZERO,
            requests: board.reload_requests(),
            stale_files: board.total(Counter::StaleFiles),
            has_said_lack: false,
            lacks_memory: false,
            is_complete: board.generation() != 0,
            is_verified: board.generation() == 0,
            args,
        };
        compiler.recover()?;
        Ok(compiler)
    }

    /// Begins where an earlier compiler ended, if there was one.
    fn recover(&mut self) -> Result<(), Failure> {
        let published = self.page.published();
        if published != 0 {
            let site = Site::open(self.memory.view(), index_offset(published));
            match site.and_then(|site| site.verify().map(|()| site)) {
                Ok(site) => self.former = Former::new(site),
                Err(error) => self.args.log.say(&format!("{error}; compiling the whole site")),
            }
        }
        self.as_of =
            self.former.map_or(Duration::ZERO, |former| Duration::from_nanos(former.as_of()));
        let next = self.args.board.generation() + 1;
        self.memory.recover(self.former, next).map_err(failed("cannot read the arena"))?;
        if faults::is_on(Fault::RestartWithoutWaiting) {
            self.memory.release(&InUse::default());
        }
        self.release();
        Ok(())
    }

    /// Compiles whenever that is due, until the master ends it.
    ///
    /// # Errors
    /// What the user has to put right before there can be a first image, and what the system
    /// refuses.
    pub(super) fn run(mut self) -> Result<(), Failure> {
        let mut events = Events::with_capacity(8);
        self.args.doorbells[self.args.own_doorbell].wait();
        self.args.slot.set_ready();
        loop {
            let now = Instant::now();
            if let Some(scan) = self.scheduler.poll_scan(now) {
                self.args.slot.set_waits_for_disk(true);
                let end = self.scan(scan)?;
                self.args.slot.set_waits_for_disk(false);
                self.args.slot.store_heartbeat();
                let ended = Instant::now();
                let took = ended.saturating_duration_since(now);
                self.scheduler.handle(Event::Ended(end, took), ended);
                self.take_notice(ended);
                continue;
            }
            let due = self.scheduler.poll_timeout().unwrap_or(now + TICK);
            let tick = if self.lacks_memory { BLOCKED_TICK } else { TICK };
            let pause = due.saturating_duration_since(now).min(tick);
            wait(&mut self.poll, &mut events, Some(pause))?;
            let now = Instant::now();
            self.args.slot.store_heartbeat();
            self.args.doorbells[self.args.own_doorbell].answer();
            self.take_notice(now);
            self.release();
        }
    }

    /// Passes what has changed, or was requested, since the last call to the scheduler.
    fn take_notice(&mut self, now: Instant) {
        let board = self.args.board;
        let stale_files = board.total(Counter::StaleFiles);
        if self.watcher.read_events() || stale_files != self.stale_files {
            self.stale_files = stale_files;
            self.scheduler.handle(Event::Changed, now);
        }
        let requests = board.reload_requests();
        if requests != self.requests {
            self.requests = requests;
            self.scheduler.handle(Event::Requested, now);
        }
    }

    /// Compiles the directory as it is now, and publishes what has changed.
    fn scan(&mut self, scan: Scan) -> Result<ScanEnd, Failure> {
        let (began, now) = (Instant::now(), since_1970());
        let requests = self.args.board.reload_requests();
        let stale_files = self.args.board.total(Counter::StaleFiles);
        (self.requests, self.stale_files) = (requests, stale_files);
        let config = self.args.config;
        self.watcher.begin_walk(&self.poll, CHANGES)?;
        self.watcher.add_path_to(&config.root);
        let former = self.former;
        self.memory.begin(self.args.allowance.arena_budget(former.as_ref()));
        let job = Job {
            rules: &self.rules,
            generation: self.args.board.generation() + 1,
            now,
            boot_seconds: boot_seconds(),
            former_as_of: self.as_of,
            verifies: !self.is_verified,
            reload_debounce: config.reload_debounce,
            pass: scan.pass,
            unstable: if former.is_some() { scan.unstable } else { Unstable::Accept },
            may_lose_index: scan.may_lose_index,
        };
        let root = Root::new_or_inherited(&config.root, self.args.root.as_ref())
            .map_err(CompileError::Root);
        let mut is_changed = false;
        let outcome = {
            let shared = RefCell::new(&mut self.watcher);
            let mut interrupt = || {
                is_changed |= shared.borrow().read_events();
                is_changed || self.args.board.reload_requests() != requests
            };
            let mut watch = |file: BorrowedFd<'_>| shared.borrow_mut().add_inside(file);
            root.and_then(|root| {
                let memory = &mut self.memory;
                compile(&root, &job, former, memory, &mut watch, &mut interrupt)
            })
        };
        self.end_walk(outcome.is_ok());
        if is_changed {
            self.scheduler.handle(Event::Changed, Instant::now());
        }
        let end = match outcome {
            Ok(Outcome::Ready(compiled)) => self.publish(compiled, former, requests, began)?,
            Ok(Outcome::Unchanged { is_unfinished, lacks_memory }) => {
                self.on_unchanged(requests);
                ScanEnd::Unchanged { is_unfinished, lacks_memory }
            }
            Err(error) if former.is_some() => self.refuse(&error, requests),
            Err(error) => return self.wait_for_first(&error),
        };
        if let ScanEnd::Published { is_unfinished, lacks_memory, .. }
        | ScanEnd::Unchanged { is_unfinished, lacks_memory } = end
        {
            (self.as_of, self.is_verified, self.lacks_memory) = (now, true, lacks_memory);
            self.say_if_complete(is_unfinished);
        }
        self.lacks_memory |= end == ScanEnd::NoRoom;
        if !matches!(end, ScanEnd::Unstable | ScanEnd::NoRoom) {
            self.page.set_scanned_stale_files(stale_files);
        }
        self.release();
        Ok(end)
    }

    /// Removes the watches of walks before, if this one could read the directory.
    fn end_walk(&mut self, is_complete: bool) {
        if is_complete {
            self.watcher.end_walk();
        }
        let (config, lack) = (self.args.config, self.watcher.lack());
        if let Some(reason) = lack.filter(|_| config.watch && !self.has_said_lack) {
            self.has_said_lack = true;
            let rescan = humantime::format_duration(config.rescan_interval);
            self.args.log.say(&format!(
                "some changes are noticed only every {rescan} (--rescan-interval): {reason}"
            ));
        }
    }

    /// Writes the index, publishes the image by one store, and retires what it does not name.
    fn publish(
        &mut self,
        Compiled { image, summary }: Compiled,
        former: Option<Former<'static>>,
        requests: u64,
        began: Instant,
    ) -> Result<ScanEnd, Failure> {
        let generation = self.args.board.generation() + 1;
        let Some(index) = self.memory.put_index(image) else {
            self.memory.abandon_new();
            return Ok(ScanEnd::NoRoom);
        };
        self.memory.close().map_err(failed("cannot protect the arena"))?;
        faults::wait_in(Window::Publish);
        self.page.publish(published_word(generation, index.offset));
        self.ring_waiting();
        let site = Site::open(self.memory.view(), index.offset);
        self.former = site.ok().and_then(Former::new);
        if let Some((former, new)) = former.zip(self.former) {
            self.retire_unnamed(&former, new.site(), generation);
        }
        self.say(&summary, former.is_none(), requests, (began, Instant::now()), index);
        self.is_complete &= summary.changed == 0 && former.is_some();
        Ok(ScanEnd::Published {
            is_unfinished: summary.is_unfinished,
            is_partial: summary.is_partial,
            lacks_memory: summary.lacks_memory,
        })
    }

    fn retire_unnamed(&mut self, former: &Former<'_>, new: &Site<'_>, generation: u64) {
        let mut named: Vec<Extent> = new.extents().collect();
        named.sort_unstable();
        named.dedup();
        let unnamed = former.births().filter(|(extent, _)| named.binary_search(extent).is_err());
        let mut unnamed: Vec<(Extent, u64)> = unnamed.collect();
        unnamed.sort_unstable();
        unnamed.dedup_by_key(|(extent, _)| *extent);
        for (extent, birth) in unnamed {
            self.memory.retire(extent, birth, generation);
        }
        let site = former.site();
        self.memory.retire(site.index_extent(), site.generation(), generation);
    }

    /// Wakes the processes that wait for an image.
    fn ring_waiting(&self) {
        for (number, slot) in self.args.board.slots() {
            if slot.is_waiting() {
                self.args.doorbells[number].ring();
            }
        }
    }

    /// Releases and punches what no reader uses any more.
    fn release(&mut self) {
        faults::wait_in(Window::Punch);
        let mut in_use = in_use(self.args.board);
        // It can be adopted at any time, even if a compiler that cannot use it has retired it.
        in_use.generations.push(self.args.board.generation());
        if faults::is_on(Fault::ReleaseAtOnce) {
            in_use = InUse::default();
        } else if faults::is_on(Fault::IgnorePins) {
            in_use.pins.clear();
        }
        let released = self.memory.release(&in_use);
        let refusals = released.refusals;
        faults::note(Race::HeldByGeneration, || refusals.by_generation > 0);
        faults::note(Race::HeldByPin, || refusals.by_pin > 0);
        faults::note(Race::LacksMemory, || self.lacks_memory);
        let blocked_below = refusals.blocked_below.filter(|_| self.lacks_memory);
        self.page.set_blocked_below(blocked_below.unwrap_or(0));
        if self.lacks_memory && !released.punch.is_empty() {
            self.scheduler.handle(Event::Changed, Instant::now());
        }
        self.page.set_allocated(self.memory.stats().allocated);
    }

    /// What to do without a first image: wait for the directory, if that is wanted.
    fn wait_for_first(&mut self, error: &CompileError) -> Result<ScanEnd, Failure> {
        let config = self.args.config;
        let line = format!("{}: {error}", config.root.display());
        let waited = Instant::now().saturating_duration_since(self.args.started);
        match error {
            CompileError::Unstable(_) => Ok(ScanEnd::Unstable),
            CompileError::Root(_) if waited < config.wait_for_root => Ok(ScanEnd::Refused),
            CompileError::Root(_) if config.wait_for_root.is_zero() => Err(Failure::system(line)),
            _ => Err(Failure::user(line)),
        }
    }
}
