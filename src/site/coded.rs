//! A file in a content coding, as it answers for the file itself.

use super::Content;
use crate::http::coding::Coding;

/// A file in a coding, as it answers for another.
#[derive(Debug)]
pub(super) struct Coded {
    pub(super) coding: Coding,
    pub(super) from: From,
}

/// Where a file in a coding comes from.
#[derive(Debug)]
pub(super) enum From {
    /// A file of the site, by its place among the assets. Its 200 head is empty if the bytes are
    /// not held, or the head is not.
    Sibling { asset: usize, head: Box<[u8]> },
    /// A twin that was made of it.
    Twin(Twin),
}

impl Coded {
    pub(super) fn memory(&self) -> u64 {
        match &self.from {
            From::Sibling { head, .. } => head.len() as u64,
            From::Twin(twin) => twin.content.memory(),
        }
    }

    pub(super) fn is_twin(&self) -> bool {
        matches!(self.from, From::Twin(_))
    }

    pub(super) fn is_sibling(&self, sibling: usize) -> bool {
        matches!(self.from, From::Sibling { asset, .. } if asset == sibling)
    }
}

/// A file in gzip, with its own head.
#[derive(Debug)]
pub(super) struct Twin {
    pub(super) content: Content,
    /// What it says of the last change, in seconds since 1970.
    pub(super) modified: Option<u64>,
}
