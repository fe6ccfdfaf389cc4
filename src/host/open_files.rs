//! The files on disk that a worker has open: each is opened when it is first asked for, and closed
//! when others have been asked for since.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::{collections::HashMap, ffi::OsStr};

use nix::errno::Errno;
use slab::Slab;

use super::recency::RecencyQueue;
use crate::compile::{Root, path_of};
use crate::conn::{DiskRequest, Files, OpenError};
use crate::response::Opened;
use crate::site::{FileKind, FileStat};

/// The open files of a worker.
#[derive(Debug)]
pub struct OpenFiles {
    path: PathBuf,
    /// The root as it was before privileges were dropped, for when its path cannot be walked now.
    inherited: Option<Root>,
    root: Option<((u64, u64), Root)>,
    files: Slab<OpenFile>,
    by_path: HashMap<Vec<u8>, usize>,
    recency: RecencyQueue,
    files_max: usize,
}

#[derive(Debug)]
struct OpenFile {
    path: Vec<u8>,
    /// What it was when it was compiled.
    stat: FileStat,
    root: (u64, u64),
    file: Rc<OwnedFd>,
}

impl OpenFiles {
    /// Nothing is open yet; at most `files_max` files will stay so.
    pub fn new(path: PathBuf, inherited: Option<Root>, files_max: usize) -> Self {
        Self {
            path,
            inherited,
            root: None,
            files: Slab::new(),
            by_path: HashMap::new(),
            recency: RecencyQueue::new(),
            files_max,
        }
    }

    fn open_anew(&mut self, request: &DiskRequest) -> Result<Opened, OpenError> {
        let accepts_another = request.accepts_another;
        let root = self.root(request)?;
        let opened = if accepts_another {
            root.open_beneath(path_of(&request.url)).map_err(failed)?
        } else {
            root.open_resolved(Path::new(OsStr::from_bytes(&request.path))).map_err(replaced)?
        };
        let (kind, stat) = FileStat::of(&opened).map_err(failed)?;
        if kind == FileKind::File && (accepts_another || stat.is_same_file(&request.stat)) {
            return Ok(Opened { file: Rc::new(opened), stat });
        }
        Err(if accepts_another { failed(Errno::ENOENT) } else { OpenError::Replaced })
    }

    /// The root of a request's image; it is opened by its path when it is first asked for.
    fn root(&mut self, request: &DiskRequest) -> Result<&Root, OpenError> {
        let is_it = |root: &Option<((u64, u64), Root)>| {
            root.as_ref().is_some_and(|(identity, _)| *identity == request.root)
        };
        if !is_it(&self.root) || request.accepts_another {
            let root = Root::new_or_inherited(&self.path, self.inherited.as_ref());
            let root = root.map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOENT | Errno::ENOTDIR) if !request.accepts_another => {
                    OpenError::Replaced
                }
                _ => OpenError::Failed(error),
            })?;
            let (_, stat) = FileStat::of(&root).map_err(failed)?;
            self.root = Some((stat.identity(), root));
        }
        match &self.root {
            Some((identity, root)) if *identity == request.root || request.accepts_another => {
                Ok(root)
            }
            _ => Err(OpenError::Replaced),
        }
    }

    /// Closes the file that was asked for longest ago; responses that send it keep it. False if
    /// there is none.
    fn close_oldest(&mut self) -> bool {
        let oldest = self.recency.first();
        oldest.map(|key| self.close(key)).is_some()
    }

    fn close(&mut self, key: usize) {
        self.recency.take_out(key);
        let file = self.files.remove(key);
        self.by_path.remove(&file.path);
    }

    /// Closes the files that have lost their last name: the disk needs their space.
    pub fn close_unlinked(&mut self) {
        let is_unlinked =
            |file: &OpenFile| FileStat::of(&*file.file).is_ok_and(|(_, stat)| stat.is_unlinked());
        let gone = self.files.iter().filter(|(_, file)| is_unlinked(file));
        let gone: Vec<usize> = gone.map(|(key, _)| key).collect();
        gone.into_iter().for_each(|key| self.close(key));
    }
}

impl Files for OpenFiles {
    fn open(&mut self, request: &DiskRequest) -> Result<Opened, OpenError> {
        if let Some(&key) = self.by_path.get(&request.path) {
            let OpenFile { stat, root, file, .. } = &self.files[key];
            if (stat, root) == (&request.stat, &request.root) {
                let file = Rc::clone(file);
                self.recency.put_last(key);
                let (_, stat) = FileStat::of(&*file).map_err(failed)?;
                return Ok(Opened { file, stat });
            }
            self.close(key);
        }
        let opened = match self.open_anew(request) {
            Err(OpenError::Failed(error)) if is_lack(&error) && self.close_oldest() => {
                self.open_anew(request)
            }
            outcome => outcome,
        }?;
        if opened.stat.is_same_file(&request.stat) && self.files_max > 0 {
            while self.files.len() >= self.files_max && self.close_oldest() {}
            let (path, root) = (request.path.clone(), request.root);
            let file = Rc::clone(&opened.file);
            let key = self.files.insert(OpenFile { path, stat: request.stat, root, file });
            self.by_path.insert(request.path.clone(), key);
            self.recency.put_last(key);
        }
        Ok(opened)
    }
}

/// Why a file could not be opened where it was compiled.
fn replaced(errno: Errno) -> OpenError {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => OpenError::Replaced,
        errno => failed(errno),
    }
}

fn failed(error: impl Into<io::Error>) -> OpenError {
    OpenError::Failed(error.into())
}

/// Whether there was no descriptor.
fn is_lack(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE))
}
