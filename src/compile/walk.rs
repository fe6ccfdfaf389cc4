//! Walks the tree beneath the root: what is there to serve, and under which name.

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

use super::root::Root;
use crate::site::{FileKind, FileStat};

/// A file or a directory that has a URL, and what it is.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where its URL path ends among all of them.
    url_end: usize,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    File(FileStat),
    Directory,
    /// It is there, and it cannot be read.
    Unreadable(io::Error),
}

/// Where entries are, from one entry to the next place: at this path beneath the root, without a
/// link in it, followed by the rest of their URL path.
#[derive(Clone, Debug)]
struct Place {
    first: usize,
    /// How much of the URL path the real path stands for, in bytes.
    url_len: usize,
    real: PathBuf,
}

/// Gets what is worth watching.
pub(super) type Watch<'w> = &'w mut dyn FnMut(BorrowedFd<'_>);

/// What a walk has found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Each directory before what is in it, names in byte order.
    entries: Vec<Entry>,
    /// The decoded URL paths of all entries, one after the other.
    urls: Vec<u8>,
    /// Where entries really are, ordered by the first entry that each is about.
    places: Vec<Place>,
    /// Links that were followed, and where each leads.
    links: Vec<(PathBuf, PathBuf)>,
    /// Links that lead out of the root, which are not followed.
    pub(super) links_out: Vec<PathBuf>,
    /// The directories, as they were before they were read.
    directories: Vec<(PathBuf, FileStat)>,
    /// A walk ends once it has more entries than this.
    entries_max: usize,
    /// The directories from the root to the one being walked: a link to one of them is a loop.
    ancestors: Vec<FileStat>,
}

impl Walk {
    /// Walks all that is beneath `root`, and ends early once there are more than `entries_max`
    /// files and directories. `watch` gets each directory before it is read, and the files that
    /// links lead to.
    ///
    /// # Errors
    /// Those of opening and reading the root itself; whatever else cannot be read is a
    /// [`What::Unreadable`], and what vanishes meanwhile is left out.
    pub(super) fn new(root: &Root, entries_max: usize, watch: Watch<'_>) -> io::Result<Self> {
        let mut walk = Self { entries_max, ..Self::default() };
        walk.set_place(1, PathBuf::new());
        walk.enter(root, Path::new(""), watch)?;
        walk.entries.shrink_to_fit();
        walk.urls.shrink_to_fit();
        Ok(walk)
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entries, each with its decoded URL path.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&[u8], &Entry)> {
        self.entries.iter().enumerate().map(|(at, entry)| (self.url(at), entry))
    }

    /// The decoded URL path of an entry, by its place.
    pub(super) fn url(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.entries[before].url_end);
        &self.urls[start..self.entries[at].url_end]
    }

    /// The path beneath the root of an entry, by its place, without a link in it. What it leads to
    /// stays the same even if a link on the URL path is replaced.
    pub(super) fn real_path(&self, at: usize) -> Option<PathBuf> {
        let next = self.places.partition_point(|place| place.first <= at);
        let Place { url_len, real, .. } = self.places.get(next.checked_sub(1)?)?;
        Some(match self.url(at).get(*url_len..)? {
            // To join nothing would add a slash.
            [] => real.clone(),
            rest => real.join(OsStr::from_bytes(rest)),
        })
    }

    /// Says where the entries from the next one on are.
    fn set_place(&mut self, url_len: usize, real: PathBuf) {
        let first = self.entries.len();
        while self.places.pop_if(|place| place.first >= first).is_some() {}
        self.places.push(Place { first, url_len, real });
    }

    /// The stat of an entry that is a file, by its place.
    pub(super) fn file(&self, at: usize) -> Option<&FileStat> {
        match &self.entries[at].what {
            What::File(stat) => Some(stat),
            What::Directory | What::Unreadable(_) => None,
        }
    }

    /// Whether nothing of it has changed for this long, at a time since 1970.
    pub(super) fn is_unchanged_for(&self, pause: Duration, at: Duration) -> bool {
        let files = (0..self.entries.len()).filter_map(|at| self.file(at));
        let directories = self.directories.iter().map(|(_, stat)| stat);
        files.chain(directories).all(|stat| stat.is_unchanged_for(pause, at))
    }

    /// A directory that something was added to, or removed from, since the walk began.
    pub(super) fn changed_since(&self, root: &Root) -> Option<PathBuf> {
        let is_same = |path: &Path, before: &FileStat| {
            let now = root.stat_beneath(path);
            now.is_ok_and(|(_, stat)| stat.is_same_version(before))
        };
        let changed = self.directories.iter().find(|(path, before)| !is_same(path, before));
        changed.map(|(path, _)| path.clone())
    }

    /// Whether a link leads elsewhere than when it was followed: a tree of files may have been
    /// replaced by another one.
    pub(super) fn is_relinked(&self, root: &Root) -> bool {
        let is_same = |path: &Path, real: &Path| root.resolve(path).is_ok_and(|now| now == real);
        !self.links.iter().all(|(path, real)| is_same(path, real))
    }

    fn enter(&mut self, root: &Root, path: &Path, watch: Watch<'_>) -> io::Result<()> {
        let directory = root.open_beneath(path)?;
        watch(directory.as_fd());
        let (_, stat) = FileStat::of(&directory)?;
        if self.ancestors.iter().any(|ancestor| ancestor.is_same_file(&stat)) {
            return Ok(());
        }
        self.directories.push((path.to_owned(), stat));
        // All names first, then one by one: a deep tree must not hold a descriptor for each level.
        let mut names = Vec::new();
        let mut dir = Dir::from_fd(directory)?;
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
        self.ancestors.push(stat);
        for (name, stat) in names.iter().zip(stats) {
            if self.entries.len() > self.entries_max {
                break;
            }
            let path = path.join(OsStr::from_bytes(name));
            match stat {
                Ok(stat) => self.add(root, &path, FileStat::from_stat(&stat), watch),
                // A name that is gone again by now was never there.
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(errno) => self.push(&path, What::Unreadable(errno.into())),
            }
        }
        self.ancestors.pop();
        Ok(())
    }

    fn add(
        &mut self,
        root: &Root,
        path: &Path,
        (kind, stat): (FileKind, FileStat),
        watch: Watch<'_>,
    ) {
        let mut link = None;
        let what = match kind {
            FileKind::Special => return,
            FileKind::File => What::File(stat),
            FileKind::Directory => What::Directory,
            FileKind::Link => match follow(root, path, watch) {
                Ok((FileKind::Special | FileKind::Link, ..)) => return,
                Ok((kind, stat, real)) => {
                    self.links.push((path.to_owned(), real.clone()));
                    link = Some(real);
                    if kind == FileKind::File { What::File(stat) } else { What::Directory }
                }
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EXDEV) => return self.links_out.push(path.to_owned()),
                    // Dangling, or a loop.
                    Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENXIO) => return,
                    _ => What::Unreadable(error),
                },
            },
        };
        let around = link.and_then(|real| {
            let around = self.places.last().cloned();
            let is_file = matches!(what, What::File(_));
            // A slash at each end of the URL path of a directory, and one before a file's.
            self.set_place(path.as_os_str().len() + if is_file { 1 } else { 2 }, real);
            around
        });
        self.push_all(root, path, what, watch);
        if let Some(Place { url_len, real, .. }) = around {
            self.set_place(url_len, real);
        }
    }

    /// Adds an entry, and what is in it if it is a directory.
    fn push_all(&mut self, root: &Root, path: &Path, what: What, watch: Watch<'_>) {
        let is_directory = matches!(what, What::Directory);
        let at = self.entries.len();
        self.push(path, what);
        if !is_directory {
            return;
        }
        match self.enter(root, path, watch) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.entries.truncate(at);
                let end = self.entries.last().map_or(0, |entry| entry.url_end);
                self.urls.truncate(end);
            }
            Err(error) => self.entries[at].what = What::Unreadable(error),
        }
    }

    fn push(&mut self, path: &Path, what: What) {
        self.urls.push(b'/');
        self.urls.extend_from_slice(path.as_os_str().as_bytes());
        self.entries.push(Entry { url_end: self.urls.len(), what });
    }
}

/// What a link leads to, and where that is; a file is watched, since the directory that it is in
/// may not be walked.
fn follow(root: &Root, path: &Path, watch: Watch<'_>) -> io::Result<(FileKind, FileStat, PathBuf)> {
    let found = root.look_beneath(path)?;
    let (kind, stat) = FileStat::of(&found)?;
    if kind == FileKind::File {
        watch(found.as_fd());
    }
    let real = root.path_of_opened(found.as_fd()).map_or_else(|| root.resolve(path), Ok)?;
    Ok((kind, stat, real))
}

/// Dotfiles are not served, but for the one name that the web has agreed on (RFC 8615).
fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".") && name != b".well-known"
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::root::path_of;
    use super::*;

    #[test]
    fn real_path_leads_over_no_link() {
        let top = tempfile::tempdir().unwrap();
        let real = |url: &str| {
            let root = Root::new(top.path()).unwrap();
            let walk = Walk::new(&root, 100, &mut |_| {}).unwrap();
            let at = (0..walk.len()).find(|&at| walk.url(at) == url.as_bytes())?;
            let real = walk.real_path(at).unwrap();
            assert_eq!(root.resolve(path_of(url.as_bytes())).unwrap(), real, "{url}");
            walk.file(at).map(|_| real.to_str().unwrap().to_owned())
        };
        fs::create_dir_all(top.path().join("..v1/inner")).unwrap();
        for file in ["..v1/a", "..v1/inner/b", "plain", "zoo"] {
            fs::write(top.path().join(file), file).unwrap();
        }
        for (link, target) in [
            ("..data", "..v1"),
            ("a", "..data/a"),
            ("b", "..data/inner/b"),
            ("linked", "..data"),
            ("..v1/inner/file", "../a"),
            ("..v1/inner/self", "."),
            ("m-dangling", "nowhere"),
            ("nested", "linked/inner"),
        ] {
            symlink(target, top.path().join(link)).unwrap();
        }
        for (url, path) in [
            ("/a", "..v1/a"),
            ("/b", "..v1/inner/b"),
            ("/linked/a", "..v1/a"),
            ("/linked/inner/b", "..v1/inner/b"),
            ("/linked/inner/file", "..v1/a"),
            ("/nested/b", "..v1/inner/b"),
            ("/nested/file", "..v1/a"),
            ("/plain", "plain"),
            ("/zoo", "zoo"),
        ] {
            assert_eq!(real(url).as_deref(), Some(path), "{url}");
        }
    }
}
