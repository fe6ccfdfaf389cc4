//! What tells one version of a file from another without reading it.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::stat::{self, SFlag, fstat};

use super::layout::StatRecord;

/// A file's identity, size and times, as of one moment (inode(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStat {
    device: u64,
    inode: u64,
    /// In bytes.
    pub size: u64,
    /// In seconds since 1970, with nanoseconds of their own: there are many of these.
    modified: i64,
    changed: i64,
    modified_nanos: u32,
    changed_nanos: u32,
    /// Whether it has a name still.
    has_name: bool,
}

/// Kinds of file that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A FIFO, a socket or a device: never served.
    Special,
}

/// How much older than the moment of the stat a file's last change must be, so that another change
/// would have given it another time (git's "racily clean"): the clocks of file systems are coarse,
/// and those of file servers are their own.
const CLEAN_AFTER: Duration = Duration::from_secs(2);

/// Reproducible builds set every mtime to 1970 or 1980-01-01: it says nothing then.
const DATED_FROM: i64 = 315_619_200; // 1980-01-02

impl FileStat {
    /// The stat of an open file, and its kind.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn of(file: impl AsFd) -> nix::Result<(FileKind, Self)> {
        Ok(Self::from_stat(&fstat(file)?))
    }

    /// The same from a `stat` structure.
    pub fn from_stat(stat: &stat::FileStat) -> (FileKind, Self) {
        let kind = match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFREG => FileKind::File,
            SFlag::S_IFDIR => FileKind::Directory,
            SFlag::S_IFLNK => FileKind::Link,
            _ => FileKind::Special,
        };
        let nanos = |nanos| u32::try_from(nanos).unwrap_or(0);
        let stat = Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: stat.st_mtime,
            changed: stat.st_ctime,
            modified_nanos: nanos(stat.st_mtime_nsec),
            changed_nanos: nanos(stat.st_ctime_nsec),
            has_name: stat.st_nlink > 0,
        };
        (kind, stat)
    }

    /// When the bytes were last changed, as far as the file's time tells, in seconds since 1970.
    pub fn mtime(&self) -> i64 {
        self.modified
    }

    /// The time for `Last-Modified` in seconds since 1970; none if it is one that reproducible
    /// builds make up, or its second is not over `now`: the file may change once more in it, and
    /// two of its states would have one date (RFC 9110 §8.8.2.2).
    pub fn last_modified(&self, now: u64) -> Option<u64> {
        let second = u64::try_from(self.modified).ok()?;
        (self.modified >= DATED_FROM && second < now).then_some(second)
    }

    /// Whether both are of the same version of the same file. The time of an inode's last change
    /// tells more than that of its bytes, which anybody may set; only a file that lost its last
    /// name meanwhile, as when it was replaced, has a reason to have changed without.
    pub fn is_same_version(&self, before: &Self) -> bool {
        let is_same_change = self.times().1 == before.times().1 || !self.has_name;
        self.has_same_bytes(before) && is_same_change
    }

    /// Whether nothing about the file has changed for this long, at a time since 1970. A change
    /// that is yet to come counts as one.
    pub fn is_unchanged_for(&self, pause: Duration, at: Duration) -> bool {
        let changed = u64::try_from(self.changed)
            .map_or(Duration::ZERO, |seconds| Duration::new(seconds, self.changed_nanos));
        changed.saturating_add(pause) <= at
    }

    /// Whether a file that had this stat at a time since 1970 is sure to have another one once it
    /// has other bytes.
    pub fn is_clean_at(&self, at: Duration) -> bool {
        self.is_unchanged_for(CLEAN_AFTER, at)
    }

    /// Whether the file has lost its last name.
    pub fn is_unlinked(&self) -> bool {
        !self.has_name
    }

    /// What the file is, whatever it holds: its device and its inode.
    pub fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// When the bytes were last changed and when anything was, in seconds and nanoseconds.
    pub(super) fn times(&self) -> ((i64, u32), (i64, u32)) {
        ((self.modified, self.modified_nanos), (self.changed, self.changed_nanos))
    }

    pub(super) fn from_record(record: &StatRecord, device: u64, size: u64) -> Self {
        Self {
            device,
            inode: record.inode.get(),
            size,
            modified: record.modified.get(),
            changed: record.changed.get(),
            modified_nanos: record.modified_nanos.get(),
            changed_nanos: record.changed_nanos.get(),
            has_name: true,
        }
    }

    /// Whether both are of the same file with the same bytes, as far as their time tells; it may
    /// have been renamed, linked or given another mode meanwhile.
    pub fn has_same_bytes(&self, before: &Self) -> bool {
        self.is_same_file(before) && self.size == before.size && self.times().0 == before.times().0
    }

    /// Whether both are of the same file, whatever it holds.
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
    fn a_changed_file_has_another_stat() {
        let mut file = tempfile::tempfile().unwrap();
        let (kind, before) = FileStat::of(&file).unwrap();
        assert_eq!((kind, before.size), (FileKind::File, 0));
        assert_eq!(FileStat::of(&file).unwrap().1, before);
        file.write_all(b"x").unwrap();
        let after = FileStat::of(&file).unwrap().1;
        assert!(!after.is_same_version(&before));
        assert!(after.is_same_file(&before));
        assert_eq!(FileStat::of(File::open("/").unwrap()).unwrap().0, FileKind::Directory);
        assert_eq!(FileStat::of(File::open("/dev/null").unwrap()).unwrap().0, FileKind::Special);
    }

    #[test]
    fn an_unlinked_file_is_the_same_version_and_one_with_other_times_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (_, before) = FileStat::of(&file).unwrap();
        let (file, path) = file.into_parts();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(!FileStat::of(&file).unwrap().1.is_same_version(&before));
        path.close().unwrap();
        assert!(FileStat::of(&file).unwrap().1.is_same_version(&before));
        file.set_modified(UNIX_EPOCH).unwrap();
        assert!(!FileStat::of(&file).unwrap().1.is_same_version(&before));
    }

    #[test]
    fn times_of_reproducible_builds_and_of_the_current_second_are_none() {
        let file = tempfile::tempfile().unwrap();
        let modified_at = |second| {
            file.set_modified(UNIX_EPOCH + Duration::from_secs(second)).unwrap();
            FileStat::of(&file).unwrap().1.last_modified(2_000_000_000)
        };
        assert_eq!(modified_at(0), None);
        assert_eq!(modified_at(315_532_800), None);
        assert_eq!(modified_at(315_619_200), Some(315_619_200));
        assert_eq!(modified_at(1_999_999_999), Some(1_999_999_999));
        assert_eq!(modified_at(2_000_000_000), None);
        assert_eq!(modified_at(2_000_000_001), None);
    }
}
