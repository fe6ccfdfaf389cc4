//! What tells one state of a file from another without reading it.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::stat::{FileStat, SFlag, fstat};

/// A file's identity, size and times, as of one moment (inode(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    device: u64,
    inode: u64,
    /// In bytes.
    pub size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// Whether it has a name still.
    has_name: bool,
}

/// Kinds of file that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Folder,
    /// A symbolic link.
    Link,
    /// A FIFO, a socket or a device: never served.
    Special,
}

/// How much older than a look at it a file's last change must be, so that another change would have
/// given it another time: clocks of file systems are coarse, and those of servers are their own.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Reproducible builds set every mtime to 1970 or 1980-01-01: it says nothing then.
const DATED_FROM: i64 = 315_619_200; // 1980-01-02

impl Facts {
    /// The facts of an open file, and its kind.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn of(file: impl AsFd) -> nix::Result<(Kind, Self)> {
        Ok(Self::from_stat(&fstat(file)?))
    }

    /// The facts in a `stat` structure, and the kind of file.
    pub fn from_stat(stat: &FileStat) -> (Kind, Self) {
        let kind = match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFREG => Kind::File,
            SFlag::S_IFDIR => Kind::Folder,
            SFlag::S_IFLNK => Kind::Link,
            _ => Kind::Special,
        };
        let facts = Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
            has_name: stat.st_nlink > 0,
        };
        (kind, facts)
    }

    /// When the bytes were last changed, as far as the file's time tells, in seconds since 1970.
    pub fn mtime(&self) -> i64 {
        self.modified.0
    }

    /// The time for `Last-Modified` in seconds since 1970; none if it is one that reproducible
    /// builds make up, or its second is not over `now`: the file may change once more in it, and
    /// two of its states would have one date (RFC 9110 §8.8.2.2).
    pub fn last_modified(&self, now: u64) -> Option<u64> {
        let second = u64::try_from(self.modified.0).ok()?;
        (self.modified.0 >= DATED_FROM && second < now).then_some(second)
    }

    /// Whether these are facts of the same file in the same state. The time of the last change of
    /// an inode tells more than that of its bytes, which anybody may set; only a file that lost its
    /// last name meanwhile, as when it was replaced, has a reason to have changed without.
    pub fn is_same_state(&self, before: &Self) -> bool {
        let is_same_change = self.changed == before.changed || !self.has_name;
        self.has_same_bytes(before) && is_same_change
    }

    /// Whether the last change, of whatever, was this long before a time since 1970. One that is
    /// yet to come was not.
    pub fn has_rested(&self, pause: Duration, at: Duration) -> bool {
        let (seconds, nanos) = self.changed;
        let changed = u64::try_from(seconds).map_or(Duration::ZERO, |seconds| {
            Duration::new(seconds, u32::try_from(nanos).unwrap_or(0))
        });
        changed.saturating_add(pause) <= at
    }

    /// Whether the file that was looked at then, in a time since 1970, is sure to have other facts
    /// by now if it has other bytes.
    pub fn were_settled(&self, looked_at: Duration) -> bool {
        self.has_rested(SETTLED_AFTER, looked_at)
    }

    /// What the file is, whatever it holds: its device and its number there.
    pub fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// Whether these are facts of the same file with the same bytes, as far as their time tells; it
    /// may have lost a name meanwhile.
    pub fn has_same_bytes(&self, before: &Self) -> bool {
        self.is_same_file(before) && self.size == before.size && self.modified == before.modified
    }

    /// Whether both are the same file, whatever it holds.
    pub fn is_same_file(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_changed_file_has_other_facts() {
        let mut file = tempfile::tempfile().unwrap();
        let (kind, before) = Facts::of(&file).unwrap();
        assert_eq!((kind, before.size), (Kind::File, 0));
        assert_eq!(Facts::of(&file).unwrap().1, before);
        file.write_all(b"x").unwrap();
        let after = Facts::of(&file).unwrap().1;
        assert!(!after.is_same_state(&before));
        assert!(after.is_same_file(&before));
        assert_eq!(Facts::of(File::open("/").unwrap()).unwrap().0, Kind::Folder);
        assert_eq!(Facts::of(File::open("/dev/null").unwrap()).unwrap().0, Kind::Special);
    }

    #[test]
    fn a_file_without_a_name_is_the_same_and_one_with_other_times_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (_, before) = Facts::of(&file).unwrap();
        let (file, path) = file.into_parts();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(!Facts::of(&file).unwrap().1.is_same_state(&before));
        path.close().unwrap();
        assert!(Facts::of(&file).unwrap().1.is_same_state(&before));
        file.set_modified(UNIX_EPOCH).unwrap();
        assert!(!Facts::of(&file).unwrap().1.is_same_state(&before));
    }

    #[test]
    fn times_of_reproducible_builds_and_of_seconds_that_are_not_over_are_none() {
        let file = tempfile::tempfile().unwrap();
        let modified_at = |second| {
            file.set_modified(UNIX_EPOCH + Duration::from_secs(second)).unwrap();
            Facts::of(&file).unwrap().1.last_modified(2_000_000_000)
        };
        assert_eq!(modified_at(0), None);
        assert_eq!(modified_at(315_532_800), None);
        assert_eq!(modified_at(315_619_200), Some(315_619_200));
        assert_eq!(modified_at(1_999_999_999), Some(1_999_999_999));
        assert_eq!(modified_at(2_000_000_000), None);
        assert_eq!(modified_at(2_000_000_001), None);
    }
}
