//! Watches for changes (inotify(7)): in every directory of the site, of the files that links lead
//! to, and on the path to the root. An event says that something has changed, and not what: a scan
//! finds out.
//!
//! There is one inotify instance for as long as the compiler lives. Each walk of the directory adds
//! its watches before it reads; those that a complete walk did not add again are removed after it.
//! An instance for each walk would need no such accounts, but to close one waits for a grace period
//! of the kernel, 5 to 16 ms, before the next scan can begin.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::read_link;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::{Component, Path, PathBuf};

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use nix::errno::Errno;
use nix::libc;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use crate::failure::Failure;

use super::failed;

/// Most symbolic links on the path to the root (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// What is watched.
pub(super) struct Watcher {
    /// Whether anything is to be watched.
    is_wanted: bool,
    /// `None` before the first walk, and if nothing is or can be watched.
    inotify: Option<Inotify>,
    watched: HashMap<WatchDescriptor, Watched>,
    /// The number of the last walk that began.
    walk: u64,
    /// Why not everything is watched.
    lack: Option<&'static str>,
}

/// What an event of a watch may be about.
struct Watched {
    /// The walk that has added it last.
    walk: u64,
    names: Names,
}

enum Names {
    /// All that is in a directory of the site, or a file.
    All,
    /// Some names in a directory outside of the site.
    Named(Vec<OsString>),
}

impl Watcher {
    /// Watches nothing before the first walk, or never.
    pub(super) fn new(is_wanted: bool) -> Self {
        Self { is_wanted, inotify: None, watched: HashMap::new(), walk: 0, lack: None }
    }

    /// Begins a walk: what is added from now on replaces what there is, once the walk is complete.
    ///
    /// # Errors
    /// If the poll cannot take the instance.
    pub(super) fn begin_walk(&mut self, poll: &Poll, token: Token) -> Result<(), Failure> {
        (self.walk, self.lack) = (self.walk + 1, None);
        if self.is_wanted && self.inotify.is_none() {
            match Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC) {
                Ok(inotify) => {
                    poll.registry()
                        .register(
                            &mut SourceFd(&inotify.as_fd().as_raw_fd()),
                            token,
                            Interest::READABLE,
                        )
                        .map_err(failed("cannot watch for changes"))?;
                    self.inotify = Some(inotify);
                }
                Err(errno) => self.lack = Some(reason(errno)),
            }
        }
        Ok(())
    }

    /// Ends a walk that was complete: what it did not add is not watched any more.
    pub(super) fn end_walk(&mut self) {
        let Some(inotify) = &self.inotify else { return };
        let walk = self.walk;
        let outdated = self.watched.extract_if(|_, watched| watched.walk != walk);
        for (watch, _) in outdated {
            // One whose directory is gone has ended by itself (EINVAL).
            let _ = inotify.rm_watch(watch);
        }
    }

    /// Why some changes will not be noticed.
    pub(super) fn lack(&self) -> Option<&'static str> {
        self.lack
    }

    /// Watches the path to the root: each directory that has the root or a link on the path, for
    /// the name of that.
    pub(super) fn add_path_to(&mut self, root: &Path) {
        let mut pending = steps(&std::path::absolute(root).unwrap_or_else(|_| root.into()));
        let (mut directory, mut links) = (PathBuf::from("/"), 0);
        while let Some(step) = pending.pop() {
            let path = directory.join(&step);
            match read_link(&path) {
                Ok(target) if links < LINKS_MAX => {
                    links += 1;
                    self.add_name(&directory, &step);
                    if target.is_absolute() {
                        directory = PathBuf::from("/");
                    }
                    pending.extend(steps(&target));
                }
                _ if step == ".." => drop(directory.pop()),
                _ => {
                    if pending.is_empty() {
                        self.add_name(&directory, &step);
                    }
                    directory = path;
                }
            }
        }
    }

    fn add_name(&mut self, directory: &Path, name: &OsStr) {
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVE;
        let Some(watch) = self.add(directory, flags) else { return };
        match self.watched.get_mut(&watch).filter(|watched| watched.walk == self.walk) {
            Some(Watched { names: Names::Named(names), .. }) => names.push(name.to_owned()),
            Some(Watched { names: Names::All, .. }) => {}
            None => self.set(watch, Names::Named(vec![name.to_owned()])),
        }
    }

    /// Watches a directory of the site, or a file, for any change.
    pub(super) fn add_inside(&mut self, file: BorrowedFd<'_>) {
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        // There is no call that takes a descriptor; this is the path of one.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        if let Some(watch) = self.add(Path::new(&path), flags) {
            self.set(watch, Names::All);
        } else if !Path::new("/proc/self/fd").exists() {
            self.lack = Some("/proc is not there, and directories are watched by its paths");
        }
    }

    fn set(&mut self, watch: WatchDescriptor, names: Names) {
        self.watched.insert(watch, Watched { walk: self.walk, names });
    }

    fn add(&mut self, path: &Path, flags: AddWatchFlags) -> Option<WatchDescriptor> {
        // nix has no name for adding to the events of a watch that there is.
        let flags = flags | AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD);
        let added = self.inotify.as_ref()?.add_watch(path, flags);
        match added {
            Ok(watch) => return Some(watch),
            // It was removed since, as its directory's watch will say.
            Err(Errno::ENOENT) => {}
            Err(errno) => self.lack = Some(reason(errno)),
        }
        None
    }

    /// Reads all events that have come; whether one of them is a change of the site.
    pub(super) fn read_events(&self) -> bool {
        let Some(inotify) = &self.inotify else { return false };
        let mut is_changed = false;
        while let Ok(events) = inotify.read_events() {
            is_changed |= events.iter().any(|event| self.matters(event));
        }
        is_changed
    }

    fn matters(&self, event: &InotifyEvent) -> bool {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            return true;
        }
        match self.watched.get(&event.wd).map(|watched| &watched.names) {
            Some(Names::All) => true,
            // An event without a name is about the directory itself, as when it is removed.
            Some(Names::Named(names)) => {
                event.name.as_ref().is_none_or(|name| names.contains(name))
            }
            // It was removed, as the last event of a watch says.
            None => false,
        }
    }
}

/// The steps of a path, the first one last.
fn steps(path: &Path) -> Vec<OsString> {
    let steps = path.components().rev().filter_map(|step| match step {
        Component::Normal(_) | Component::ParentDir => Some(step.as_os_str().to_owned()),
        _ => None,
    });
    steps.collect()
}

fn reason(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOSPC => "no more watches (fs.inotify.max_user_watches)",
        Errno::EMFILE => "no more instances of inotify (fs.inotify.max_user_instances)",
        _ => errno.desc(),
    }
}
