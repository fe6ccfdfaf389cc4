//! Walks the tree beneath the root: what is there to serve, by which name.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
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

/// What a walk comes to.
#[derive(Debug)]
pub(super) struct Walk {
    /// Each folder before what is in it, names in byte order.
    pub(super) steps: Vec<Step>,
    /// Links that lead out of the root, which are not followed.
    pub(super) links_out: Vec<PathBuf>,
    /// A walk ends once it has more steps than this.
    steps_max: usize,
    /// The folders from the root to the one being walked: a link to one of them is a loop.
    ancestors: Vec<Facts>,
}

impl Walk {
    /// Walks all that is beneath `root`, and ends early once there are more than
    /// `steps_max` files and folders.
    ///
    /// # Errors
    /// Those of opening and reading the root itself; whatever else cannot be read is a
    /// [`What::Unreadable`], and what vanishes meanwhile is left out.
    pub(super) fn new(root: &Root, steps_max: usize) -> io::Result<Self> {
        let (steps, links_out, ancestors) = (Vec::new(), Vec::new(), Vec::new());
        let mut walk = Self { steps, links_out, steps_max, ancestors };
        walk.enter(root, Path::new(""))?;
        Ok(walk)
    }

    fn enter(&mut self, root: &Root, path: &Path) -> io::Result<()> {
        let folder = root.open_beneath(path)?;
        let (_, facts) = Facts::of(&folder)?;
        if self.ancestors.iter().any(|ancestor| ancestor.is_same_file(&facts)) {
            return Ok(());
        }
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
            // A name that is gone again by now was never there.
            if let Ok(stat) = stat {
                self.add(root, path.join(OsStr::from_bytes(name)), Facts::from_stat(&stat));
            }
        }
        self.ancestors.pop();
        Ok(())
    }

    fn add(&mut self, root: &Root, path: PathBuf, (kind, facts): (Kind, Facts)) {
        let what = match kind {
            Kind::Special => return,
            Kind::File => What::File(facts),
            Kind::Folder => What::Folder,
            Kind::Link => match root.look_beneath(&path).and_then(|file| Ok(Facts::of(file)?)) {
                Ok((Kind::File, facts)) => What::File(facts),
                Ok((Kind::Folder, _)) => What::Folder,
                Ok(_) => return,
                Err(error) => match error.kind() {
                    io::ErrorKind::CrossesDevices => return self.links_out.push(path),
                    io::ErrorKind::PermissionDenied => What::Unreadable(error),
                    _ => return, // dangling, a loop, or a link to a socket
                },
            },
        };
        if !matches!(what, What::Folder) {
            return self.steps.push(Step { path, what });
        }
        let at = self.steps.len();
        self.steps.push(Step { path: path.clone(), what });
        match self.enter(root, &path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.steps.truncate(at),
            Err(error) => self.steps[at].what = What::Unreadable(error),
        }
    }
}

/// Dotfiles are not served, but for the one name that the web has agreed on (RFC 8615).
fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".") && name != b".well-known"
}
