//! A site that is being put together: its paths, and what they lead to.

use std::io;
use std::path::Path;

use super::load::Loaded;
use super::retire::Retired;
use super::walk::url;
use super::{Entry, Leads, Probe, Site};

/// The file that answers for its folder.
const INDEX: &[u8] = b"index.html";

/// Paths, and the files behind them by their places.
#[derive(Default)]
pub(super) struct Draft {
    /// Sorted once all are there.
    pub(super) entries: Vec<Entry>,
    pub(super) files: Vec<Loaded>,
    pub(super) retired: Vec<Retired>,
    pub(super) warnings: Vec<String>,
}

impl Draft {
    pub(super) fn add_file(&mut self, url: &[u8], file: Loaded) {
        self.files.push(file);
        self.add_with_folder(url, Leads::ToAsset(self.files.len() - 1));
    }

    pub(super) fn add_unreadable_file(&mut self, path: &Path, error: &io::Error) {
        self.warn_unreadable(path, error);
        self.add_with_folder(&url(path), Leads::Nowhere);
    }

    /// A folder, or a link to something, that cannot be looked into.
    pub(super) fn add_unreadable(&mut self, path: &Path, error: &io::Error) {
        self.warn_unreadable(path, error);
        let url = url(path);
        self.add(&url, Leads::Nowhere);
        self.add(&[&*url, b"/"].concat(), Leads::Nowhere);
    }

    fn warn_unreadable(&mut self, path: &Path, error: &io::Error) {
        self.warnings.push(format!("cannot read {}: {error}; it answers 403", path.display()));
    }

    /// Adds a file, and what stands for it if it is its folder's index.
    fn add_with_folder(&mut self, url: &[u8], leads: Leads) {
        self.add(url, leads);
        let Some(folder) = url.strip_suffix(INDEX).filter(|folder| folder.ends_with(b"/")) else {
            return;
        };
        self.add(folder, leads);
        if let [without_slash @ .., b'/'] = folder
            && !without_slash.is_empty()
        {
            self.add(without_slash, Leads::ToFolder);
        }
    }

    /// Adds what tine says of itself, in the place of whatever there is.
    pub(super) fn add_probes(&mut self) {
        for (path, probe) in Probe::ALL {
            self.entries.retain(|entry| *entry.path != *path);
            self.add(path, Leads::ToProbe(probe));
        }
    }

    /// Says that a file is not served, since tine says something of itself there.
    pub(super) fn hide(&mut self, url: &[u8]) {
        let path = String::from_utf8_lossy(url);
        self.warnings.push(format!(
            "the file {path} is not served, since tine says there how it is; --health off"
        ));
    }

    fn add(&mut self, path: &[u8], leads: Leads) {
        self.entries.push(Entry { path: path.into(), leads });
    }

    /// Sorts the paths; nothing is added behind this but by [`Draft::retire`].
    pub(super) fn sort(&mut self) {
        self.entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    }

    /// Adds files of `old` that are gone, under the paths that nothing else has.
    pub(super) fn retire(&mut self, old: &Site, gone: &[Retired]) {
        let mut entries = Vec::new();
        for &Retired { asset, since } in gone {
            let paths = old.entries.iter().filter(|entry| entry.leads == Leads::ToAsset(asset));
            for Entry { path, .. } in paths {
                if self.entries.binary_search_by(|entry| entry.path.cmp(path)).is_err() {
                    let at = self.files.len();
                    self.files.push(Loaded::Same(asset));
                    self.retired.push(Retired { asset: at, since });
                    entries.push(Entry { path: path.clone(), leads: Leads::ToAsset(at) });
                }
            }
        }
        self.entries.append(&mut entries);
        self.sort();
    }

    /// Whether it would be the same site once more.
    pub(super) fn is_same_as(&self, old: &Site) -> bool {
        let is_same =
            |(at, file): (usize, &Loaded)| matches!(file, Loaded::Same(was) if *was == at);
        self.files.len() == old.assets.len()
            && self.files.iter().enumerate().all(is_same)
            && self.retired == old.retired
            && self.entries == old.entries
    }
}
