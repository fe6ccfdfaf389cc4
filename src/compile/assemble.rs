//! A site image that is being put together: its files, their paths, and what is to be said of them.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::load::{Load, Loader};
use super::retention::Retention;
use super::root::{Root, path_of};
use super::walk::{Walk, What};
use super::{CompileError, Compiled, Interrupt, Job, Rules, SiteMemory, Summary, is_of_disk};
use crate::control::space::PACKED_MAX;
use crate::site::{
    About, Draft, DraftError, FileKind, FileStat, Form, Former, FormerFile, Probe, media,
};

/// The root's page for what is missing.
const NOT_FOUND: &[u8] = b"/404.html";
/// What a head takes of the memory, about, in bytes.
const HEAD: u64 = 256;
/// The file that answers for its directory.
const INDEX: &[u8] = b"index.html";

/// A site image that is being put together.
pub(super) struct Assembly<'a> {
    pub(super) root: &'a Root,
    pub(super) job: &'a Job<'a>,
    pub(super) former: Option<Former<'a>>,
    walk: &'a Walk,
    pub(super) memory: &'a mut SiteMemory,
    pub(super) draft: Draft,
    /// The files by their numbers.
    pub(super) files: Vec<File>,
    /// The numbers of the files that have a path, in the order of these.
    by_url: Vec<u32>,
    /// What bodies and heads may still take, in bytes.
    pub(super) memory_left: u64,
    /// A file that was being written while it was read.
    pub(super) unstable: Option<PathBuf>,
    /// Whether a file is gone that the walk has found.
    pub(super) has_lost_file: bool,
    /// A file whose former version is served, since it was being written.
    pub(super) kept_previous: Option<PathBuf>,
    /// Whether there are files that want an ETag or a gzip variant still.
    pub(super) is_unfinished: bool,
    lacks_memory: bool,
    retained: u32,
    warnings: Vec<String>,
}

/// What is known of a file beside its form.
#[derive(Clone, Copy, Debug)]
pub(super) struct File {
    /// Its place in the walk; for a retained file none.
    pub(super) entry: Option<u32>,
    /// The file of the former image in the same version.
    pub(super) former: Option<u32>,
}

impl<'a> Assembly<'a> {
    pub(super) fn new(
        root: &'a Root,
        job: &'a Job<'a>,
        former: Option<Former<'a>>,
        walk: &'a Walk,
        memory: &'a mut SiteMemory,
    ) -> Self {
        let entries = (0..).zip(walk.entries());
        let files: Vec<File> = entries
            .filter(|(_, (url, entry))| {
                matches!(entry.what, What::File(_)) && !is_hidden(job.rules, url)
            })
            .map(|(at, _)| File { entry: Some(at), former: None })
            .collect();
        let draft = Draft::with_files(files.len());
        let mut by_url: Vec<u32> = (0..draft.files()).collect();
        by_url.sort_unstable_by_key(|&number| url_of(walk, &files, number));
        Self {
            root,
            job,
            former,
            walk,
            memory,
            draft,
            files,
            by_url,
            memory_left: job.rules.limits.for_bodies(),
            unstable: None,
            has_lost_file: false,
            kept_previous: None,
            is_unfinished: false,
            lacks_memory: false,
            retained: 0,
            warnings: Vec::new(),
        }
    }

    /// Loads the files of the walk and adds their paths.
    ///
    /// # Errors
    /// [`CompileError::Unstable`] if a file is being written and that is to be waited for;
    /// [`CompileError::Read`] if a disk has failed and there is a former image.
    pub(super) fn add_files(&mut self, interrupt: Interrupt<'_>) -> Result<(), CompileError> {
        let retention = Retention::choose(self);
        self.memory_left = self.memory_left.saturating_sub(retention.memory);
        let mut loads = Loader::new(self, interrupt).load();
        if let Some(path) = self.unstable.take() {
            return Err(CompileError::Unstable(path));
        }
        let mut number = 0;
        let mut hidden = Vec::new();
        for (url, entry) in self.walk.entries() {
            match &entry.what {
                What::Unreadable(error) => {
                    self.fail_with_disk(url, error)?;
                    self.add_unreadable(url, error);
                    self.draft.unreadable(&[url, b"/"].concat());
                }
                What::Directory => {}
                What::File(_) if is_hidden(self.job.rules, url) => {
                    let path = String::from_utf8_lossy(url);
                    self.warnings.push(format!(
                        "the file {path} is not served, since tine answers there; --health off"
                    ));
                }
                What::File(_) => {
                    let load = loads.remove(&number).unwrap_or(Load::Done);
                    if !self.add_file(number, url, load)? {
                        hidden.push(number);
                    }
                    number += 1;
                }
            }
        }
        self.add_retained_files(&retention);
        if self.job.rules.health {
            self.draft.probes();
        }
        self.by_url.retain(|number| hidden.binary_search(number).is_err());
        for link in &self.walk.links_out {
            let path = link.display();
            self.warnings
                .push(format!("{path} is a link that leads out of the directory; it answers 404"));
        }
        Ok(())
    }

    /// Adds the paths of a file; whether it has any.
    fn add_file(&mut self, number: u32, url: &[u8], load: Load) -> Result<bool, CompileError> {
        let is_served = matches!(load, Load::Done);
        match load {
            Load::Done => {
                self.draft.path(url, number);
                if is_index(url) {
                    self.draft.directory_of_last(INDEX);
                }
            }
            // Gone since the walk: it was never there.
            Load::Failed(error) if error.kind() == io::ErrorKind::NotFound => {}
            Load::Failed(error) => {
                self.fail_with_disk(url, &error)?;
                self.add_unreadable(url, &error);
                if is_index(url) {
                    self.draft.directory_of_last(INDEX);
                }
            }
        }
        Ok(is_served)
    }

    /// An error that tells of a disk says nothing about what is to be served: better an old site
    /// than a part of the new one.
    fn fail_with_disk(&self, url: &[u8], error: &io::Error) -> Result<(), CompileError> {
        if self.former.is_none() || !is_of_disk(error) {
            return Ok(());
        }
        let error = error.raw_os_error().map_or(error.kind().into(), io::Error::from_raw_os_error);
        Err(CompileError::Read(path_of(url).to_owned(), error))
    }

    fn add_unreadable(&mut self, url: &[u8], error: &io::Error) {
        let path = path_of(url).display();
        self.warnings.push(format!("cannot read {path}: {error}; it answers 403"));
        self.draft.unreadable(url);
    }

    /// Adds files of the former image that are gone, under the paths that nothing else has.
    fn add_retained_files(&mut self, retention: &Retention) {
        let Some(former) = self.former else { return };
        for (url, file, since) in &retention.files {
            let Some(file) = former.file(*file) else { continue };
            let form = self.moved(file.form.without_variants());
            let form = self.draft.with_media_type(form, media::of(url));
            let number = self.draft.retained_file(form, &file.stat, *since);
            self.draft.path(url, number);
            self.files.push(File { entry: None, former: Some(file.number) });
            self.retained += 1;
        }
    }

    /// A former form, whose body and head are written anew if their pages are to be given back.
    pub(super) fn moved(&mut self, mut form: Form) -> Form {
        let generation = self.job.generation;
        if let Some(body) = form.body().filter(|&body| self.memory.is_to_move(body))
            && let Some(bytes) = self.former.and_then(|former| former.bytes(body))
            && let Some(extent) = self.memory.put(bytes)
        {
            form = form.with_body(extent, generation);
        }
        form
    }

    /// The number of the file under a URL path.
    pub(super) fn file_at(&self, url: &[u8]) -> Option<u32> {
        let url_of = |number: &u32| url_of(self.walk, &self.files, *number);
        let at = self.by_url.binary_search_by(|number| url_of(number).cmp(url)).ok()?;
        Some(self.by_url[at])
    }

    /// Whether a URL path leads to a file, or to a directory with an index.
    pub(super) fn has_path(&self, url: &[u8]) -> bool {
        if url.ends_with(b"/") {
            return self.file_at(&[url, INDEX].concat()).is_some();
        }
        self.file_at(url).is_some()
    }

    /// The files that have a path, by their URL paths.
    pub(super) fn numbers(&self) -> &[u32] {
        &self.by_url
    }

    /// The URL path of a file that is no retained one.
    pub(super) fn url(&self, number: u32) -> &'a [u8] {
        url_of(self.walk, &self.files, number)
    }

    /// What the walk has found of a file.
    pub(super) fn walked(&self, number: u32) -> Option<&'a FileStat> {
        self.walk.file(self.files[number as usize].entry? as usize)
    }

    /// The path beneath the root of a file that is no retained one, without a link in it.
    pub(super) fn real_path(&self, number: u32) -> Option<PathBuf> {
        self.walk.real_path(self.files[number as usize].entry? as usize)
    }

    /// Opens a file of the walk where the walk has found it.
    ///
    /// # Errors
    /// Those of [`Root::open_beneath`]; `NotFound` if it is no file now.
    pub(super) fn open(&self, number: u32) -> io::Result<(fs::File, FileStat)> {
        let real_path = self.real_path(number).ok_or(io::ErrorKind::NotFound)?;
        let file = self.root.open_beneath(&real_path)?;
        match FileStat::of(&file)? {
            (FileKind::File, stat) => Ok((file.into(), stat)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The file of the former image in the same version.
    pub(super) fn former_file(&self, number: u32) -> Option<FormerFile> {
        self.former?.file(self.files.get(number as usize)?.former?)
    }

    /// Finds the pages that answer for unknown paths.
    pub(super) fn name_special_pages(&mut self) {
        self.draft.set_not_found(self.file_at(NOT_FOUND));
        let Some(path) = &self.job.rules.spa_fallback else { return };
        let url = [b"/", path.as_os_str().as_encoded_bytes()].concat();
        let file = self.file_at(&url);
        self.draft.set_spa_fallback(file);
        if file.is_none() {
            let path = path.display();
            self.warnings.push(format!(
                "--spa: {path} is no file that can be served; unknown pages answer 404"
            ));
        }
    }

    /// What a body costs with its head, in bytes: all of its pages if it has a run of its own.
    pub(super) fn cost(&self, body: u64) -> u64 {
        let is_packed = body <= PACKED_MAX;
        let pages = if is_packed { body } else { body.next_multiple_of(self.memory.page_size()) };
        pages.saturating_add(HEAD)
    }

    /// Takes memory for a body and its head; false if it is not left.
    pub(super) fn charge(&mut self, body: u64) -> bool {
        let left = self.memory_left.checked_sub(self.cost(body));
        self.memory_left = left.unwrap_or(self.memory_left);
        left.is_some()
    }

    /// Writes bytes to the arena; `None` if there is no room now.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Option<crate::site::Extent> {
        let extent = self.memory.put(bytes);
        self.lacks_memory |= extent.is_none();
        extent
    }

    /// Whether a file on disk is the one of the former image, which had no ETag for it yet.
    fn only_gained_etag(&self, number: u32) -> bool {
        let former = self.former.and_then(|former| former.file_at(self.url(number)));
        let Some((former, walked)) = former.zip(self.walked(number)) else { return false };
        former.form.is_on_disk()
            && former.form.etag().is_none()
            && walked.is_same_version(&former.stat)
    }

    /// Completes the image.
    ///
    /// # Errors
    /// If the format has too few numbers for the site.
    pub(super) fn finish(self, about: About) -> Result<Compiled, DraftError> {
        let present = self.draft.files() - self.retained;
        let forms = || (0..present).filter_map(|number| self.draft.form_of(number));
        let (files, bytes) = (self.by_url.len(), forms().map(Form::size).sum());
        let is_new = |&&number: &&u32| {
            self.files[number as usize].former.is_none() && !self.only_gained_etag(number)
        };
        let changed = self.by_url.iter().filter(is_new).count();
        let in_memory = self.draft.extents().map(|extent| extent.len).sum();
        let variants = self.draft.generated_variants();
        let image = self.draft.finish(about)?;
        let summary = Summary {
            files,
            bytes,
            in_memory,
            changed,
            variants,
            is_partial: false,
            is_unfinished: self.is_unfinished,
            lacks_memory: self.lacks_memory,
            warnings: self.warnings,
        };
        Ok(Compiled { image, summary })
    }
}

fn url_of<'w>(walk: &'w Walk, files: &[File], number: u32) -> &'w [u8] {
    let entry = files.get(number as usize).and_then(|file| file.entry);
    entry.map_or(&[], |entry| walk.url(entry as usize))
}

/// Whether a URL path is that of a directory's index.
fn is_index(url: &[u8]) -> bool {
    url.strip_suffix(INDEX).is_some_and(|directory| directory.ends_with(b"/"))
}

/// Whether tine itself answers under a URL path.
fn is_hidden(rules: &Rules, url: &[u8]) -> bool {
    rules.health && Probe::is_at(url)
}
