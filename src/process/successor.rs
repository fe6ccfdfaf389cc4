//! A successor: reads the folder once more, in plain code that may wait for a disk, since nobody
//! waits for it. It ends with word of why there is no new generation, or becomes the candidate that
//! leads it.

use std::io;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::board::{Facts, Role, Row};
use crate::failure::Failure;
use crate::figures::{bytes, counted};
use crate::site::{CompileError, Compiled, Grade, Job, Outcome, Patience, Root, Site, compile};
use crate::succession::{End, Errand};

use super::clock::since_1970;
use super::crew::Death;
use super::log::Log;
use super::master::Office;
use super::watches::Watches;
use super::word::Speaker;
use super::{Fate, bind_to_parent, listen, take_role};

/// Most warnings of a compile that are shown one by one.
const WARNINGS_MAX: usize = 10;

/// What a successor is born with.
pub(super) struct Heir<'c> {
    pub(super) office: Office<'c>,
    /// The site of the generation before, whose files it takes over.
    pub(super) old: Site,
    pub(super) row: Row<'static>,
    pub(super) errand: Errand,
    /// Whose child it is.
    pub(super) leader: Pid,
    /// Whether it was said that some changes will not be noticed.
    pub(super) has_said_lack: bool,
    pub(super) say_superseded: Speaker,
}

/// What makes a leader of the next generation.
pub(super) struct Candidate<'c> {
    pub(super) office: Office<'c>,
    pub(super) site: Site,
    pub(super) generation: u64,
    pub(super) row: Row<'static>,
    pub(super) watches: Watches,
    pub(super) candidacy: Candidacy,
}

/// What a leader has that is not in office yet.
pub(super) struct Candidacy {
    /// To have the leader look at the board; said in office.
    _say_superseded: Speaker,
    /// What is to be said then.
    announcement: String,
    since: Instant,
    /// Whether nobody has a site yet.
    pub(super) is_first: bool,
    /// Whether the site has former versions of files that were being written.
    pub(super) is_partial: bool,
    /// How long the folder took to be looked at.
    pub(super) look: Duration,
    /// How often a look was asked for that this one has answered.
    pub(super) reloads: u64,
    /// How many files are not as they were.
    pub(super) changed: u64,
    facts: Facts,
}

impl Candidacy {
    /// Says that it serves.
    pub(super) fn announce(&self, log: &Log, now: Instant) {
        let took = now.saturating_duration_since(self.since).as_micros();
        let (whole, tenth) = (took / 1000, took % 1000 / 100);
        log.say(&format!("{}, ready in {whole}.{tenth} ms", self.announcement));
    }

    /// What the generation is, that serves `since`, in milliseconds since 1970.
    pub(super) fn facts(&self, since: u64) -> Facts {
        Facts { since, ..self.facts }
    }
}

impl<'c> Heir<'c> {
    /// Compiles the folder as it is now.
    ///
    /// # Errors
    /// What the user has to mend before there can be a first site, and what the system refuses.
    pub(super) fn compile(self) -> Result<Fate<Candidate<'c>>, Failure> {
        bind_to_parent(self.leader)?;
        take_role(self.row, Role::Successor, self.office.board.serving());
        let Self { office, old, row, errand, has_said_lack, say_superseded, .. } = self;
        let (board, config, began) = (office.board, office.config, Instant::now());
        let reloads = board.reloads();
        // Another first site than that of the start has a time of its own.
        let is_first = !old.is_there() && board.serving() == 0;
        let since = if is_first { office.started } else { began };
        let before = old.is_there().then(|| old.grade());

        let mut watches = Watches::new(config.watch);
        watches.add_way(&config.root);
        let job = Job {
            rules: &office.rules,
            now: since_1970(),
            reload_debounce: config.reload_debounce,
            grade: if before.is_some() { Grade::Full } else { Grade::Quick },
            patience: if before.is_some() { errand.patience } else { Patience::None },
            may_lose_index: errand.may_lose_index,
        };
        let root = open_root(&office).map_err(CompileError::Root);
        let outcome =
            root.and_then(|root| compile(root, &job, old, &mut |file| watches.add_inside(file)));
        let compiled = match outcome {
            Ok(Outcome::Ready(compiled)) => compiled,
            Ok(Outcome::Unchanged) => return Ok(over(End::Unchanged)),
            // Behind a leader that died its workers serve on.
            Err(error) if before.is_some() || board.serving() > 0 => {
                return Ok(over(refuse(&office, &error)));
            }
            Err(error) => return wait_for_first(&office, &error),
        };
        if let Some(reason) = watches.lack().filter(|_| config.watch && !has_said_lack) {
            let interval = humantime::format_duration(config.rescan_interval);
            let every = format!("every {interval} (--rescan-interval)");
            office.log.say(&format!("some changes are noticed only {every}: {reason}"));
        }
        // A first look at all files tells nothing about how long the next one takes.
        let is_usual = before == Some(Grade::Full);
        let candidacy = Candidacy {
            _say_superseded: say_superseded,
            announcement: announcement(&office, &compiled, before),
            since,
            is_first: before.is_none(),
            is_partial: compiled.is_partial,
            look: if is_usual { began.elapsed() } else { Duration::ZERO },
            reloads,
            changed: compiled.changed as u64,
            facts: Facts {
                files: compiled.files as u64,
                bytes: compiled.bytes,
                held: compiled.held,
                twins: compiled.twins as u64,
                took: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
                since: 0,
            },
        };
        warn(&office.log, &compiled.warnings);
        let (site, generation) = (compiled.site, board.next_generation());
        Ok(Fate::Born(Candidate { office, site, generation, row, watches, candidacy }))
    }
}

/// The folder by its path, which may lead to another one than at the start; if it may not be walked
/// any more since rights were given up, the one that was opened then.
fn open_root(office: &Office<'_>) -> io::Result<Root> {
    match Root::new(&office.config.root) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            office.root.as_ref().map_or(Err(error), Root::try_clone)
        }
        opened => opened,
    }
}

/// The end of a successor, as its leader hears of it.
fn over<Next>(end: End) -> Fate<Next> {
    Fate::Done(code(end))
}

fn code(end: End) -> u8 {
    match end {
        End::Unchanged => 10,
        End::Refused => 11,
        End::Unsettled => 12,
        End::LostIndex => 13,
        End::Died => 14,
    }
}

/// How a successor has ended that is dead.
pub(super) fn end_of(death: &Death) -> End {
    let ends = [End::Unchanged, End::Refused, End::Unsettled, End::LostIndex];
    let is_it = |end: &End| death.exit_code() == Some(code(*end).into());
    ends.into_iter().find(is_it).unwrap_or(End::Died)
}

/// Says why there is no new site, unless the look before had to say so too.
fn refuse(office: &Office<'_>, error: &CompileError) -> End {
    let root = office.config.root.display();
    let reason = error.to_string();
    let (end, line) = match error {
        CompileError::Unsettled(_) => return End::Unsettled,
        CompileError::LostIndex => (
            End::LostIndex,
            format!("{root}: index.html is gone; what there was is served until this has lasted"),
        ),
        _ => (End::Refused, format!("{root}: {reason}; what there was before is served on")),
    };
    let was_said = office.board.outcome().is_refusal() && office.board.reason() == reason;
    office.board.set_reason(&reason);
    if !was_said {
        office.log.say(&line);
    }
    end
}

/// What to do without a first site: wait for the folder, if that is wanted.
fn wait_for_first<Next>(office: &Office<'_>, error: &CompileError) -> Result<Fate<Next>, Failure> {
    let config = office.config;
    let line = format!("{}: {error}", config.root.display());
    match error {
        CompileError::Root(_) if office.started.elapsed() < config.wait_for_root => {
            Ok(over(End::Refused))
        }
        CompileError::Root(_) if config.wait_for_root.is_zero() => Err(Failure::system(line)),
        _ => Err(Failure::user(line)),
    }
}

fn warn(log: &Log, warnings: &[String]) {
    warnings.iter().take(WARNINGS_MAX).for_each(|warning| log.say(warning));
    if warnings.len() > WARNINGS_MAX {
        log.say(&format!("and {} more like these", warnings.len() - WARNINGS_MAX));
    }
}

/// What is served now; of the first site also where, and by how many.
fn announcement(office: &Office<'_>, compiled: &Compiled, before: Option<Grade>) -> String {
    let root = office.config.root.display();
    let site = format!("{} ({}", root, counted(compiled.files as u64, "file"));
    let site = format!("{site}, {})", bytes(compiled.bytes));
    match before {
        Some(Grade::Full) => format!("serving {site} anew, with {} changed", compiled.changed),
        Some(Grade::Quick) => {
            format!("{root} is complete with {}", counted(compiled.twins as u64, "gzip twin"))
        }
        None => {
            let verb = if office.board.serving() == 0 { "serving" } else { "serving again" };
            let addresses = office.listeners.iter().filter_map(|one| one.local_addr().ok());
            let urls: Vec<_> = addresses.map(listen::url).collect();
            let workers = counted(office.allowance.workers as u64, "worker");
            let (urls, reason) = (urls.join(" and "), office.allowance.reason);
            let admin = office.admin_url.as_ref();
            let admin = admin.map_or(String::new(), |url| format!(", status page on {url}"));
            format!("{verb} {site} on {urls} with {workers} ({reason}){admin}")
        }
    }
}
