//! Walks the tree beneath the root: what is there to serve, by which name.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;

use super::beneath::Root;
use super::facts::{Facts, Kind};

/// A file or a folder that has a URL.
#[derive(Debug)]
pub(super) struct Step {
    /// Relative to the root.
    pub(super) path: PathBuf,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    File(Facts),
    Folder,
    /// It is there, and it cannot be read.
    Unreadable(io::Error),
}

/// Gets to see what is worth watching.
pub(super) type Watch<'w> = &'w mut dyn FnMut(BorrowedFd<'_>);

/// What a walk comes to.
#[derive(Debug)]
pub(super) struct Walk {
    /// Each folder before what is in it, names in byte order.
    pub(super) steps: Vec<Step>,
    /// Links that lead out of the root, which are not followed.
    pub(super) links_out: Vec<PathBuf>,
    /// The folders, as they were before they were read.
    folders: Vec<(PathBuf, Facts)>,
    /// A walk ends once it has more steps than this.
    steps_max: usize,
    /// The folders from the root to the one being walked: a link to one of them is a loop.
    ancestors: Vec<Facts>,
}

impl Walk {
    /// Walks all that is beneath `root`, and ends early once there are more than
    /// `steps_max` files and folders. `watch` gets to see each folder before it is read, and the
    /// files that links lead to.
    ///
    /// # Errors
    /// Those of opening and reading the root itself; whatever else cannot be read is a
    /// [`What::Unreadable`], and what vanishes meanwhile is left out.
    pub(super) fn new(root: &Root, steps_max: usize, watch: Watch<'_>) -> io::Result<Self> {
        let (steps, links_out, folders, ancestors) = Default::default();
        let mut walk = Self { steps, links_out, folders, steps_max, ancestors };
        walk.enter(root, Path::new(""), watch)?;
        Ok(walk)
    }

    /// The decoded URL paths of the files, in their order.
    pub(super) fn urls(&self) -> Vec<Vec<u8>> {
        let files = self.steps.iter().filter(|step| matches!(step.what, What::File(_)));
        files.map(|step| url(&step.path)).collect()
    }

    /// What the folders are, in their order.
    pub(super) fn identities(&self) -> Vec<(u64, u64)> {
        self.folders.iter().map(|(_, facts)| facts.identity()).collect()
    }

    /// Whether nothing of it has changed for this long, at a time since 1970.
    pub(super) fn has_rested(&self, pause: Duration, at: Duration) -> bool {
        let files = self.steps.iter().filter_map(|step| match &step.what {
            What::File(facts) => Some(facts),
            What::Folder | What::Unreadable(_) => None,
        });
        let folders = self.folders.iter().map(|(_, facts)| facts);
        files.chain(folders).all(|facts| facts.has_rested(pause, at))
    }

    /// A folder that something was added to, or taken from, since the walk began.
    pub(super) fn changed_since(&self, root: &Root) -> Option<&Path> {
        let is_same = |path: &Path, before: &Facts| {
            let now = root.look_beneath(path).and_then(|folder| Ok(Facts::of(folder)?));
            now.is_ok_and(|(_, facts)| facts.is_same_state(before))
        };
        let changed = self.folders.iter().find(|(path, before)| !is_same(path, before));
        changed.map(|(path, _)| &**path)
    }

    fn enter(&mut self, root: &Root, path: &Path, watch: Watch<'_>) -> io::Result<()> {
        let folder = root.open_beneath(path)?;
        watch(folder.as_fd());
        let (_, facts) = Facts::of(&folder)?;
        if self.ancestors.iter().any(|ancestor| ancestor.is_same_file(&facts)) {
            return Ok(());
        }
        self.folders.push((path.to_owned(), facts));
        // All names first, then one by one: a deep tree must not hold a descriptor for each level.
        let mut names = Vec::new();
        let mut dir = Dir::from_fd(folder)?;
        for entry in dir.iter() {
            let name = entry?.file_name().to_bytes().to_owned();
            if !is_hidden(&name) {
                names.push(name);
            }
        }
        names.sort_unstable();
        let stats: Vec<_> = names
            .iter()
            .map(|name| fstatat(dir.as_fd(), &**name, AtFlags::AT_SYMLINK_NOFOLLOW))
            .collect();
        drop(dir);
        self.ancestors.push(facts);
        for (name, stat) in names.iter().zip(stats) {
            if self.steps.len() > self.steps_max {
                break;
            }
            let path = path.join(OsStr::from_bytes(name));
            match stat {
                Ok(stat) => self.add(root, path, Facts::from_stat(&stat), watch),
                // A name that is gone again by now was never there.
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(errno) => {
                    self.steps.push(Step { path, what: What::Unreadable(errno.into()) });
                }
            }
        }
        self.ancestors.pop();
        Ok(())
    }

    fn add(&mut self, root: &Root, path: PathBuf, (kind, facts): (Kind, Facts), watch: Watch<'_>) {
        let what = match kind {
            Kind::Special => return,
            Kind::File => What::File(facts),
            Kind::Folder => What::Folder,
            Kind::Link => match look(root, &path, watch) {
                Ok((Kind::File, facts)) => What::File(facts),
                Ok((Kind::Folder, _)) => What::Folder,
                Ok(_) => return,
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EXDEV) => return self.links_out.push(path),
                    // Dangling, or a loop.
                    Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENXIO) => return,
                    _ => What::Unreadable(error),
                },
            },
        };
        if !matches!(what, What::Folder) {
            return self.steps.push(Step { path, what });
        }
        let at = self.steps.len();
        self.steps.push(Step { path: path.clone(), what });
        match self.enter(root, &path, watch) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.steps.truncate(at),
            Err(error) => self.steps[at].what = What::Unreadable(error),
        }
    }
}

/// What a link leads to; a file is watched, since the folder that it is in may not be walked.
fn look(root: &Root, path: &Path, watch: Watch<'_>) -> io::Result<(Kind, Facts)> {
    let found = root.look_beneath(path)?;
    let (kind, facts) = Facts::of(&found)?;
    if kind == Kind::File {
        watch(found.as_fd());
    }
    Ok((kind, facts))
}

/// Dotfiles are not served, but for the one name that the web has agreed on (RFC 8615).
fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".") && name != b".well-known"
}

/// The decoded URL path of a file.
pub(super) fn url(path: &Path) -> Vec<u8> {
    [b"/", path.as_os_str().as_bytes()].concat()
}
