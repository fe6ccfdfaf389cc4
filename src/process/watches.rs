//! What is watched for changes (inotify(7)): every folder of the site, the files that links lead
//! to, and what leads to the root. It tells that something has changed, and not what: whoever looks
//! then finds out.
//!
//! Watches are by inode, and so they are made before a folder is read and belong to one generation.

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

/// Most links that the way to the root may have (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// Watches of one generation.
pub(super) struct Watches {
    /// None if nothing is to be watched, or nothing can be.
    inotify: Option<Inotify>,
    /// Folders outside the site in which only some names matter.
    way: HashMap<WatchDescriptor, Vec<OsString>>,
    /// Why not everything is watched.
    lack: Option<&'static str>,
}

impl Watches {
    /// Watches nothing as yet, or never.
    pub(super) fn new(is_wanted: bool) -> Self {
        let mut watches = Self { inotify: None, way: HashMap::new(), lack: None };
        if is_wanted {
            match Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC) {
                Ok(inotify) => watches.inotify = Some(inotify),
                Err(errno) => watches.lack = Some(reason(errno)),
            }
        }
        watches
    }

    /// Why some changes will not be noticed.
    pub(super) fn lack(&self) -> Option<&'static str> {
        self.lack
    }

    /// Watches what leads to the root: each folder that has the root, or a link on the way to it,
    /// by the name of that.
    pub(super) fn add_way(&mut self, root: &Path) {
        let mut pending = steps(&std::path::absolute(root).unwrap_or_else(|_| root.into()));
        let (mut folder, mut links) = (PathBuf::from("/"), 0);
        while let Some(step) = pending.pop() {
            let path = folder.join(&step);
            match read_link(&path) {
                Ok(target) if links < LINKS_MAX => {
                    links += 1;
                    self.add_name(&folder, &step);
                    if target.is_absolute() {
                        folder = PathBuf::from("/");
                    }
                    pending.extend(steps(&target));
                }
                _ if step == ".." => drop(folder.pop()),
                _ => {
                    if pending.is_empty() {
                        self.add_name(&folder, &step);
                    }
                    folder = path;
                }
            }
        }
    }

    fn add_name(&mut self, folder: &Path, name: &OsStr) {
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVE;
        if let Some(watch) = self.add(folder, flags) {
            self.way.entry(watch).or_default().push(name.to_owned());
        }
    }

    /// Watches a folder of the site, or a file, whatever happens there.
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
            self.way.remove(&watch);
        } else if !Path::new("/proc/self/fd").exists() {
            self.lack = Some("/proc is not there, and what is in the folder is watched by it");
        }
    }

    fn add(&mut self, path: &Path, flags: AddWatchFlags) -> Option<WatchDescriptor> {
        // nix has no name for adding to what is watched of the same folder already.
        let flags = flags | AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD);
        let added = self.inotify.as_ref()?.add_watch(path, flags);
        match added {
            Ok(watch) => return Some(watch),
            // It will be looked at again, since its folder is watched.
            Err(Errno::ENOENT) => {}
            Err(errno) => self.lack = Some(reason(errno)),
        }
        None
    }

    /// Has the poll say when something has changed.
    pub(super) fn register(&self, poll: &Poll, token: Token) -> Result<(), Failure> {
        let Some(inotify) = &self.inotify else { return Ok(()) };
        poll.registry()
            .register(&mut SourceFd(&inotify.as_fd().as_raw_fd()), token, Interest::READABLE)
            .map_err(failed("cannot watch for changes"))
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

    /// Events that were lost matter too: they come with no watch.
    fn matters(&self, event: &InotifyEvent) -> bool {
        let Some(names) = self.way.get(&event.wd) else { return true };
        // A watch that ends, as the folder does.
        event.name.as_ref().is_none_or(|name| names.contains(name))
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
