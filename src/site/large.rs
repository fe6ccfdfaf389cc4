//! Files that are too large to hold, and how an answer gets hold of them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use nix::errno::Errno;

use super::beneath::Root;
use super::facts::{Facts, Kind};
use crate::http::etag::ETag;

/// A file that is sent from the file system.
#[derive(Debug)]
pub struct Large {
    home: Home,
    /// Of its bytes as compiled, once they have been read.
    pub(super) etag: Option<ETag>,
}

#[derive(Debug)]
enum Home {
    /// Opened once, by the compile.
    Kept(File),
    /// To be opened for each answer, beneath the root: the descriptors did not suffice.
    Named(Box<Path>),
}

/// A file ready to be sent, and what it is now: that it is still the compiled one is not certain.
#[derive(Debug)]
pub struct Opened<'s> {
    /// What to read from; always by offset, since processes share the descriptor.
    pub source: Source<'s>,
    /// As of now.
    pub facts: Facts,
}

/// An open file, owned or not.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types say it")]
pub enum Source<'s> {
    Kept(&'s File),
    Own(File),
}

impl Source<'_> {
    pub(super) fn read_exact_at(&self, octets: &mut [u8], at: u64) -> io::Result<()> {
        match self {
            Self::Kept(file) => file.read_exact_at(octets, at),
            Self::Own(file) => file.read_exact_at(octets, at),
        }
    }
}

impl AsFd for Source<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Kept(file) => file.as_fd(),
            Self::Own(file) => file.as_fd(),
        }
    }
}

impl Large {
    pub(super) fn kept(file: File) -> Self {
        Self { home: Home::Kept(file), etag: None }
    }

    pub(super) fn named(path: &Path) -> Self {
        Self { home: Home::Named(path.into()), etag: None }
    }

    /// What a file that is kept open is now.
    pub(super) fn facts(&self) -> Option<Facts> {
        match &self.home {
            Home::Kept(file) => Facts::of(file).ok().map(|(_, facts)| facts),
            Home::Named(_) => None,
        }
    }

    /// Whether it holds a descriptor.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self.home, Home::Kept(_))
    }

    pub(super) fn open<'s>(&'s self, root: &Root) -> io::Result<Opened<'s>> {
        let source = match &self.home {
            Home::Kept(file) => Source::Kept(file),
            Home::Named(path) => Source::Own(root.open_beneath(path)?.into()),
        };
        let (kind, facts) = Facts::of(&source)?;
        if kind != Kind::File {
            return Err(Errno::ENOENT.into());
        }
        Ok(Opened { source, facts })
    }
}
