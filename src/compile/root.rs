//! The root directory, and opening beneath it: no path and no link leads out.

use std::ffi::OsStr;
use std::fs::read_link;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlinkat};
use nix::sys::stat::Mode;

use crate::site::{FileKind, FileStat};

/// How everything here is opened: never to write, never to wait (a FIFO would), never to become
/// the controlling terminal.
const READ: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC).union(OFlag::O_NOCTTY);

/// Most links that one path may lead through, as in the kernel (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// The directory that is served, held open: what happens to the path that led to it, or to the
/// right to walk that path, does not matter any more.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    /// By which it was opened.
    path: PathBuf,
}

impl Root {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// Those of open(2); `ENOTDIR` if it is no directory.
    pub fn new(path: &Path) -> io::Result<Self> {
        let directory = open(path, READ | OFlag::O_DIRECTORY, Mode::empty())?;
        Ok(Self { directory, path: path.to_owned() })
    }

    /// Opens the directory at `path`, which may be another one than at the start. If the path
    /// cannot be walked since privileges were dropped, returns `inherited`, which was opened
    /// before.
    ///
    /// # Errors
    /// Those of [`Root::new`] and [`Root::try_clone`].
    pub fn new_or_inherited(path: &Path, inherited: Option<&Self>) -> io::Result<Self> {
        match Self::new(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                inherited.map_or(Err(error), Self::try_clone)
            }
            opened => opened,
        }
    }

    /// The same directory, held open once more.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { directory: self.directory.try_clone()?, path: self.path.clone() })
    }

    /// The path by which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its path leads elsewhere by now, or nowhere. If it cannot be walked, that is not
    /// known.
    pub fn is_replaced(&self) -> bool {
        let identity = |root: &Self| FileStat::of(root).map(|(_, stat)| stat.identity());
        match Self::new(&self.path) {
            Ok(now) => identity(&now) != identity(self),
            Err(error) => error.kind() != io::ErrorKind::PermissionDenied,
        }
    }

    /// Opens `path` for reading, following links as long as they stay beneath the root. The root
    /// itself is the empty path. The caller looks at what kind of file it got.
    ///
    /// # Errors
    /// Those of openat2(2): among them `EXDEV` for a link that leads out (an absolute one does),
    /// `ELOOP` for a loop of links.
    pub fn open_beneath(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open(path, READ)
    }

    /// Opens `path` only to be looked at (stat): that needs no right to read it. Where openat2(2)
    /// is not to be had it needs that right all the same.
    ///
    /// # Errors
    /// Those of [`Root::open_beneath`].
    pub fn look_beneath(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open(path, OFlag::O_PATH | OFlag::O_CLOEXEC)
    }

    /// Returns the stat of what `path` leads to.
    ///
    /// # Errors
    /// Those of [`Root::look_beneath`] and fstat(2).
    pub fn stat_beneath(&self, path: &Path) -> io::Result<(FileKind, FileStat)> {
        Ok(FileStat::of(self.look_beneath(path)?)?)
    }

    /// Returns the path beneath the root, without a link in it, of something that was opened;
    /// `None` if the kernel does not tell, as without /proc.
    pub fn path_of_opened(&self, opened: BorrowedFd<'_>) -> Option<PathBuf> {
        let path = |file: BorrowedFd<'_>| read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let (root, path) = (path(self.as_fd()).ok()?, path(opened).ok()?);
        Some(path.strip_prefix(root).ok()?.to_owned())
    }

    /// Returns the path beneath the root, without a link in it, of what `path` leads to.
    ///
    /// # Errors
    /// Those of readlinkat(2) and openat(2); `EXDEV` for a link that leads out.
    pub fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let mut pending = reversed(path)?;
        let mut resolved = PathBuf::new();
        let mut links = 0;
        while let Some(step) = pending.pop() {
            if step.as_os_str() == ".." {
                if !resolved.pop() {
                    return Err(Errno::EXDEV.into());
                }
                continue;
            }
            let path = resolved.join(&step);
            // What the directories on the way are was resolved before: none of them is a link.
            match self.readlink_resolved(&path) {
                Ok(target) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Errno::ELOOP.into());
                    }
                    pending.extend(reversed(&target)?);
                }
                Err(Errno::EINVAL) => resolved = path,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(resolved)
    }

    fn readlink_resolved(&self, path: &Path) -> nix::Result<PathBuf> {
        let name = path.file_name().ok_or(Errno::EINVAL)?;
        let parent = path.parent().unwrap_or(Path::new(""));
        let directory = self.open_directory_resolved(parent)?;
        let directory = directory.as_ref().map_or(self.directory.as_fd(), AsFd::as_fd);
        Ok(PathBuf::from(readlinkat(directory, name)?))
    }

    /// Opens the directory at a path without links; none for the root itself.
    fn open_directory_resolved(&self, path: &Path) -> nix::Result<Option<OwnedFd>> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut directory: Option<OwnedFd> = None;
        for step in path.components() {
            let parent = directory.as_ref().map_or(self.directory.as_fd(), AsFd::as_fd);
            directory = Some(openat(parent, step.as_os_str(), flags, Mode::empty())?);
        }
        Ok(directory)
    }

    /// Opens the file at a path without links, one component at a time: with these flags, and no
    /// others, a sandbox can see that no link is followed.
    ///
    /// # Errors
    /// Those of openat(2); `ELOOP` for a link.
    pub fn open_resolved(&self, path: &Path) -> nix::Result<OwnedFd> {
        let name = path.file_name().ok_or(Errno::EISDIR)?;
        let directory = self.open_directory_resolved(path.parent().unwrap_or(Path::new("")))?;
        let directory = directory.as_ref().map_or(self.directory.as_fd(), AsFd::as_fd);
        openat(directory, name, READ | OFlag::O_NOFOLLOW, Mode::empty())
    }

    fn open(&self, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        match openat2(&self.directory, path, OpenHow::new().flags(flags).resolve(resolve)) {
            // Kernels before 5.6, gVisor, and seccomp profiles do not know the call; EAGAIN is its
            // word for a rename that got in its way.
            Err(Errno::ENOSYS | Errno::EPERM | Errno::EAGAIN) => Ok(self.open_step_by_step(path)?),
            opened => Ok(opened?),
        }
    }

    /// The same by hand: one component at a time, each link read and spelled out, and never above
    /// the root, because the directories on the way are remembered and not asked for.
    fn open_step_by_step(&self, path: &Path) -> nix::Result<OwnedFd> {
        let mut pending = reversed(path)?;
        let mut directories: Vec<OwnedFd> = Vec::new();
        let mut links = 0;
        while let Some(step) = pending.pop() {
            let directory = directories.last().map_or(self.directory.as_fd(), AsFd::as_fd);
            if step.as_os_str() == ".." {
                directories.pop().ok_or(Errno::EXDEV)?;
                continue;
            }
            match openat(directory, &step, READ | OFlag::O_NOFOLLOW, Mode::empty()) {
                Ok(opened) if pending.is_empty() => return Ok(opened),
                Ok(opened) => directories.push(opened),
                Err(Errno::ELOOP) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Errno::ELOOP);
                    }
                    let target = PathBuf::from(readlinkat(directory, &step)?);
                    pending.extend(reversed(&target)?);
                }
                Err(error) => return Err(error),
            }
        }
        let directory = directories.last().map_or(self.directory.as_fd(), AsFd::as_fd);
        openat(directory, ".", READ, Mode::empty())
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// The steps of a relative path, the first one last.
fn reversed(path: &Path) -> nix::Result<Vec<PathBuf>> {
    let steps = path.components().rev().filter(|step| *step != Component::CurDir);
    let steps: Vec<PathBuf> = steps.map(|step| step.as_os_str().into()).collect();
    if path.is_absolute() { Err(Errno::EXDEV) } else { Ok(steps) }
}

/// The path beneath the root of a decoded URL path.
pub fn path_of(url: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(url.strip_prefix(b"/").unwrap_or(url)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Opens by the kernel's way and by hand, and expects the same of both.
    fn open_both_ways(root: &Root, path: &str) -> Result<(), Errno> {
        let path = Path::new(path);
        let by_kernel = root.open_beneath(path).map(drop).map_err(|error| {
            Errno::from_raw(error.raw_os_error().expect("an error of the system"))
        });
        assert_eq!(root.open_step_by_step(path).map(drop), by_kernel, "{}", path.display());
        by_kernel
    }

    #[test]
    fn links_are_followed_beneath_the_root_and_nowhere_else() {
        let outside = tempfile::tempdir().unwrap();
        let top = outside.path().join("top");
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::write(top.join("a/b/file"), "x").unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        for (link, target) in [
            ("to_file", "a/b/file"),
            ("a/up", "../to_file"),
            ("to_directory", "./a/b/"),
            ("out", "../secret"),
            ("a/b/far_out", "../../../secret"),
            ("absolute", "/etc/passwd"),
            ("dangling", "nothing"),
            ("loop", "loop"),
            ("in_again", "../top/a/b/file"),
        ] {
            symlink(target, top.join(link)).unwrap();
        }
        let root = Root::new(&top).unwrap();
        for path in ["", "a", "a/b/file", "to_file", "a/up", "to_directory/file", "a/../to_file"] {
            assert_eq!(open_both_ways(&root, path), Ok(()), "{path}");
        }
        for path in ["a/b/file", "to_file", "a/up", "to_directory/file", "a/../to_file"] {
            let resolved = root.resolve(Path::new(path)).unwrap();
            assert_eq!(resolved, Path::new("a/b/file"), "{path}");
            root.open_resolved(&resolved).unwrap();
        }
        assert_eq!(root.open_resolved(Path::new("to_file")).unwrap_err(), Errno::ELOOP);
        assert_eq!(root.open_resolved(Path::new("to_directory/file")).unwrap_err(), Errno::ENOTDIR);
        for path in ["out", "a/b/far_out", "absolute", "in_again", "..", "/etc/passwd"] {
            assert_eq!(open_both_ways(&root, path), Err(Errno::EXDEV), "{path}");
        }
        assert_eq!(open_both_ways(&root, "dangling"), Err(Errno::ENOENT));
        assert_eq!(open_both_ways(&root, "loop"), Err(Errno::ELOOP));
        assert_eq!(open_both_ways(&root, "to_file/x"), Err(Errno::ENOTDIR));
    }
}
