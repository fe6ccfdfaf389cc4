//! What holds for all connections of a process during one iteration of its loop.

use std::io;
use std::time::Instant;

use crate::answer::Plan;
use crate::control::publication::Reader;
use crate::control::supervisor::COMPILER_SLOT;
use crate::http::head::Endings;
use crate::http::limits::Limits;
use crate::http::request::Request;
use crate::log::Ledger;
use crate::response::Opened;
use crate::scoreboard::{Scoreboard, Slot};
use crate::site::{DiskFile, FileStat, View};

/// What holds for all connections during one iteration of the loop.
pub struct Turn<'t> {
    /// What requests are about.
    pub subject: Subject<'t>,
    /// The arena, where bodies in memory are.
    pub view: View<'t>,
    /// What a connection may cost.
    pub limits: &'t Limits,
    /// The time of this iteration.
    pub now: Instant,
    /// The same in milliseconds since 1970.
    pub millis: u64,
    /// The same as a date, and what else heads end with.
    pub endings: &'t Endings,
    /// What becomes of connections.
    pub mode: Mode,
    /// Where what was sent is counted.
    pub slot: Slot<'t>,
    /// A buffer for heads, lent from answer to answer so that none has to be allocated.
    pub spare: &'t mut Vec<u8>,
    /// Where answers are logged.
    pub ledger: &'t mut Ledger,
}

/// What requests are about.
pub enum Subject<'t> {
    /// The site.
    Site(SiteSource<'t>),
    /// How tine is.
    Admin(&'t dyn Fn(&Request<'_, '_>) -> Plan<'static>),
}

impl Subject<'_> {
    /// Says that nothing of the site image is read until the next decision: to be called before
    /// anything that may wait for a disk.
    pub fn go_offline(&mut self) {
        match self {
            Self::Site(source) => source.reader.go_offline(),
            Self::Admin(_) => {}
        }
    }
}

/// How the site is read.
pub struct SiteSource<'t> {
    /// Which image is published.
    pub reader: &'t mut Reader<'static>,
    /// Opens files on disk.
    pub files: &'t mut dyn Files,
    /// The file that is to be opened, in buffers that are lent.
    pub disk: &'t mut DiskRequest,
    /// Set if a file is gone or another one: a reload is under way, or has to be.
    pub wants_reload: &'t mut bool,
    /// What the processes know of each other.
    pub board: Scoreboard<'static>,
}

impl SiteSource<'_> {
    /// Whether the compiler is at work, or will be: one that died, or has not scanned since so many
    /// stale files were counted, has its work before it.
    pub(super) fn is_compiling(&self, stale_files: u64) -> bool {
        self.board.slot(COMPILER_SLOT).waits_for_disk()
            || self.board.compiler().scanned_stale_files() < stale_files
    }
}

/// The files of a site that are not in memory.
pub trait Files {
    /// Opens a file, or finds it open. This may wait for the disk.
    ///
    /// # Errors
    /// If it is gone or another one, or the system refuses it.
    fn open(&mut self, request: &DiskRequest) -> Result<Opened, OpenError>;
}

/// A file on disk that is to be opened.
#[derive(Clone, Debug, Default)]
pub struct DiskRequest {
    /// Relative to the root; no link is on it.
    pub path: Vec<u8>,
    /// Its URL path.
    pub url: Vec<u8>,
    /// What the file was when it was compiled.
    pub stat: FileStat,
    /// What the root was, by device and inode.
    pub root: (u64, u64),
    /// Whether what is there now under its URL path will do.
    pub accepts_another: bool,
}

impl DiskRequest {
    /// Becomes the request for a file.
    pub fn set(&mut self, file: DiskFile<'_>, root: (u64, u64), accepts_another: bool) {
        for (bytes, of_file) in [(&mut self.path, file.path), (&mut self.url, file.url)] {
            bytes.clear();
            bytes.extend_from_slice(of_file);
        }
        (self.stat, self.root, self.accepts_another) = (file.stat, root, accepts_another);
    }

    /// Whether it is the request for this file.
    pub fn is_for(&self, file: DiskFile<'_>, root: (u64, u64)) -> bool {
        self.path == file.path && self.stat == file.stat && self.root == root
    }
}

/// Why a file on disk was not opened.
#[derive(Debug)]
pub enum OpenError {
    /// It is gone, or another one is in its place, or the root is another one.
    Replaced,
    /// The system refuses it.
    Failed(io::Error),
}

/// What becomes of the connections of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They are kept for as long as their clients want, within the limits.
    Serving,
    /// Each answer is its connection's last, and new ones are served alike: tine will end.
    LameDuck,
    /// Each answer is its connection's last, and idle connections have a moment for a last request:
    /// tine ends.
    Draining,
}
