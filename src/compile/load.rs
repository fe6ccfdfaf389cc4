//! Takes the files of a walk into memory, or leaves them on disk, within the limits. What has not
//! changed since the former image stays where it is, without being read.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;

use super::Interrupt;
use super::Unstable;
use super::assemble::Assembly;
use super::root::path_of;
use crate::http::etag::{ETag, Hash};
use crate::site::{Extent, FileStat, FormerFile, Pass, Place, media};

/// Largest file that is read for its ETag, in bytes.
const HASH_MAX: u64 = 1 << 30;
/// How much of a file is read at once to hash it, in bytes.
const READ: usize = 128 * 1024;

/// What has become of a file of the walk.
#[derive(Debug)]
pub(super) enum Load {
    /// It is in the draft.
    Done,
    Failed(io::Error),
}

/// The outcomes that are no [`Load::Done`], by the numbers of the files.
pub(super) type Loads = HashMap<u32, Load>;

/// Loads the files of an assembly.
pub(super) struct Loader<'l, 'a> {
    assembly: &'l mut Assembly<'a>,
    interrupt: Interrupt<'l>,
    /// The files in memory of the former image by their digests; made when it is needed.
    by_digest: Option<Vec<([u8; 16], u32)>>,
}

/// A file that was read.
struct Reading {
    stat: FileStat,
    /// Whether a writer may be in the middle of it.
    is_unstable: bool,
    /// Whether it was written to while it was read.
    is_torn: bool,
}

/// Where a file's body is to be.
enum Home {
    Memory,
    Disk,
}

impl<'l, 'a> Loader<'l, 'a> {
    pub(super) fn new(assembly: &'l mut Assembly<'a>, interrupt: Interrupt<'l>) -> Self {
        Self { assembly, interrupt, by_digest: None }
    }

    /// Smallest first, ties in the order of the walk, for as long as the memory lasts; all others
    /// are left on disk.
    pub(super) fn load(mut self) -> Loads {
        let mut loads = Loads::new();
        let size = |number: u32| self.assembly.walked(number).map_or(0, |stat| stat.size);
        let mut by_size: Vec<u32> = (0..self.assembly.draft.files()).collect();
        by_size.sort_unstable_by_key(|&number| (size(number), number));
        // One for all of them: a new buffer would be new pages for the kernel to clear each time.
        let mut buffer = Vec::new();
        for number in by_size {
            // The compile is tried again later: each moment that it goes on is lost.
            if self.assembly.unstable.is_some() {
                break;
            }
            let loaded = match self.take_into_memory(number, &mut buffer) {
                Ok(Home::Memory) => Ok(()),
                Ok(Home::Disk) => self.leave_on_disk(number),
                Err(error) => Err(error),
            };
            match loaded {
                Ok(()) => {}
                Err(error) if is_gone(&error) && self.note_unstable(number) => {}
                Err(error) => {
                    self.assembly.has_lost_file |= is_gone(&error);
                    loads.insert(number, Load::Failed(error));
                }
            }
        }
        loads
    }

    /// The file of the former image under the same URL path.
    fn former(&self, number: u32) -> Option<FormerFile> {
        self.assembly.former?.file_at(self.assembly.url(number))
    }

    /// Whether a file is sure to be in the version that the former image has.
    fn is_unchanged(&self, former: &FormerFile, stat: &FileStat) -> bool {
        stat.is_same_version(&former.stat) && stat.is_clean_at(self.assembly.job.former_as_of)
    }

    /// Takes a file into memory, unless it is too large for that.
    fn take_into_memory(&mut self, number: u32, body: &mut Vec<u8>) -> io::Result<Home> {
        let job = self.assembly.job;
        let memory_file_max = job.rules.limits.memory_file_max;
        let Some(&walked) = self.assembly.walked(number) else { return Ok(Home::Disk) };
        if walked.size > memory_file_max
            || self.assembly.cost(walked.size) > self.assembly.memory_left
        {
            return Ok(Home::Disk);
        }
        let former = self.former(number);
        if let Some(former) = former.filter(|former| self.is_unchanged(former, &walked))
            && former.form.body().is_some()
            && !job.verifies
        {
            self.keep(number, &former, &walked, former.form.modified());
            return Ok(Home::Memory);
        }
        let Reading { stat, is_unstable, is_torn } = self.read(number, body)?;
        if is_unstable {
            self.note_unstable(number);
            if let Some(former) = former.filter(|former| keeps_previous(former, &stat, is_torn)) {
                self.note_kept_previous(number);
                self.keep(number, &former, &former.stat, former.form.modified());
                return Ok(Home::Memory);
            }
            if is_torn {
                // It is sent as it is then, for as long as it does not change while that is done.
                self.note_kept_previous(number);
                return Ok(Home::Disk);
            }
        }
        if body.len() as u64 > memory_file_max {
            return Ok(Home::Disk);
        }
        let modified = stat.last_modified(job.now.as_secs());
        if let Some(former) = former.filter(|former| self.has_body(former, body)) {
            // A file that was replaced by equal content keeps its date.
            let modified = former.form.modified().or(modified);
            self.keep(number, &former, &stat, modified);
            return Ok(Home::Memory);
        }
        Ok(self.write(number, body, ETag::of(body), modified, &stat))
    }

    /// Names a body of the former image again.
    fn keep(&mut self, number: u32, former: &FormerFile, stat: &FileStat, modified: Option<u64>) {
        let form = former.form.without_variants().with_modified(modified);
        let form = self.assembly.moved(form);
        let form = self.assembly.draft.with_media_type(form, self.media_type(number));
        let is_same = former.form.modified() == modified;
        let assembly = &mut *self.assembly;
        // A former version that is kept may be larger than the one that there is room for.
        assembly.memory_left = assembly.memory_left.saturating_sub(assembly.cost(form.size()));
        assembly.draft.set_file(number, form, stat);
        assembly.files[number as usize].former = is_same.then_some(former.number);
    }

    fn write(
        &mut self,
        number: u32,
        body: &[u8],
        etag: ETag,
        modified: Option<u64>,
        stat: &FileStat,
    ) -> Home {
        let generation = self.assembly.job.generation;
        if !self.assembly.charge(body.len() as u64) {
            return Home::Disk;
        }
        let known = self.same_body(&etag, body);
        let placed = known.or_else(|| Some((self.assembly.put(body)?, generation)));
        let Some((extent, birth)) = placed else { return Home::Disk };
        let media_type = self.media_type(number);
        let place = Place::Memory(extent, birth);
        let assembly = &mut *self.assembly;
        let form = assembly.draft.form(media_type, body.len() as u64, place, Some(etag), modified);
        assembly.draft.set_file(number, form, stat);
        Home::Memory
    }

    /// The body of another file of the former image with the same bytes.
    fn same_body(&mut self, etag: &ETag, body: &[u8]) -> Option<(Extent, u64)> {
        let former = self.assembly.former?;
        let by_digest = self.by_digest.get_or_insert_with(|| {
            let files = (0..former.files()).filter_map(|number| {
                let form = former.file(number)?.form;
                form.body()?;
                Some((form.etag()?.digest(), number))
            });
            let mut by_digest: Vec<_> = files.collect();
            by_digest.sort_unstable();
            by_digest
        });
        let digest = etag.digest();
        let at = by_digest.binary_search_by_key(&digest, |&(digest, _)| digest).ok()?;
        let file = former.file(by_digest[at].1)?;
        let extent = file.form.body()?;
        let is_same = self.has_body(&file, body) && !self.assembly.memory.is_to_move(extent);
        is_same.then_some((extent, file.form.births().0))
    }

    /// Whether a file of the former image has these bytes, in memory.
    fn has_body(&self, former: &FormerFile, body: &[u8]) -> bool {
        former.form.body().and_then(|extent| self.assembly.former?.bytes(extent)) == Some(body)
    }

    /// Leaves a file where it is.
    fn leave_on_disk(&mut self, number: u32) -> io::Result<()> {
        let job = self.assembly.job;
        let Some(&walked) = self.assembly.walked(number) else { return Ok(()) };
        let Some(real_path) = self.assembly.real_path(number) else { return Ok(()) };
        let on_disk = self.former(number).filter(|former| former.form.is_on_disk());
        // An ETag stays with its version. If another one could have the same stat, it is confirmed.
        let former = on_disk.filter(|former| walked.is_same_version(&former.stat));
        let known = former.and_then(|former| former.form.etag());
        let is_sure = former.is_some_and(|former| self.is_unchanged(&former, &walked));
        let wants_etag = walked.size <= HASH_MAX && (known.is_none() || !is_sure);
        let (mut etag, mut stat, mut is_hashed) = (known, walked, false);
        if wants_etag && job.pass == Pass::Full && !(self.interrupt)() {
            let (hashed, now) = self.hash(number)?;
            is_hashed = hashed.is_some();
            etag = hashed.or(known.filter(|_| now.is_same_version(&walked)));
            stat = now;
        }
        self.assembly.is_unfinished |= wants_etag && !is_hashed;
        let media_type = self.media_type(number);
        let path = real_path.as_os_str().as_bytes();
        let place = Place::Disk { url: self.assembly.url(number), path, stat: &stat };
        let assembly = &mut *self.assembly;
        let form = assembly.draft.form(media_type, stat.size, place, etag, None);
        let is_dense = former.is_some_and(|former| former.form.is_dense());
        let form = if is_dense { form.dense() } else { form };
        assembly.draft.set_file(number, form, &stat);
        // An ETag that was not known before is no change.
        let is_same = |former: &FormerFile| {
            let before = former.form.etag();
            former.stat.is_same_version(&stat) && (before == etag || before.is_none())
        };
        assembly.files[number as usize].former = on_disk.filter(is_same).map(|file| file.number);
        Ok(())
    }

    fn media_type(&self, number: u32) -> &'static str {
        media::of(self.assembly.url(number))
    }

    /// Reads a file that may be one for the memory; of a longer one a byte more than that.
    fn read(&self, number: u32, body: &mut Vec<u8>) -> io::Result<Reading> {
        let job = self.assembly.job;
        let (file, stat) = self.assembly.open(number)?;
        let is_as_walked =
            self.assembly.walked(number).is_some_and(|old| stat.is_same_version(old));
        let memory_file_max = job.rules.limits.memory_file_max;
        let capacity = usize::try_from(stat.size.min(memory_file_max)).unwrap_or(0);
        // One byte more than is expected lets the last read find the end without growing.
        body.clear();
        body.reserve(capacity + 1);
        (&file).take(memory_file_max.saturating_add(1)).read_to_end(body)?;
        let (_, after) = FileStat::of(&file)?;
        let is_torn = !after.is_same_version(&stat);
        let is_unchanged = after.is_unchanged_for(job.reload_debounce, job.now);
        let is_unstable = is_torn || !is_as_walked || !is_unchanged;
        Ok(Reading { stat: after, is_unstable, is_torn })
    }

    /// The ETag of a file on disk, and its stat; none while it is being written, or if that takes
    /// too long for now.
    fn hash(&mut self, number: u32) -> io::Result<(Option<ETag>, FileStat)> {
        let job = self.assembly.job;
        let (mut file, stat) = self.assembly.open(number)?;
        if !stat.is_unchanged_for(job.reload_debounce, job.now) {
            self.note_unstable(number);
            return Ok((None, stat));
        }
        let mut hash = Hash::default();
        let mut buffer = vec![0; READ];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                len => hash.add(&buffer[..len]),
            }
            if (self.interrupt)() {
                return Ok((None, stat));
            }
        }
        let is_same = FileStat::of(&file)?.1.is_same_version(&stat);
        if !is_same {
            self.note_unstable(number);
        }
        Ok((is_same.then(|| hash.etag()), stat))
    }

    /// Takes note that a writer may be in the middle of a file, or has replaced it since the walk;
    /// whether that ends the compile.
    fn note_unstable(&mut self, number: u32) -> bool {
        let ends = self.assembly.job.unstable == Unstable::Retry;
        if ends {
            let path = path_of(self.assembly.url(number));
            self.assembly.unstable.get_or_insert_with(|| path.to_owned());
        }
        ends
    }

    fn note_kept_previous(&mut self, number: u32) {
        self.assembly.kept_previous = Some(path_of(self.assembly.url(number)).to_owned());
    }
}

/// Whether an error says that a file is not there any more.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether the former version of a file is served on while the file is being written: as long as it
/// is not known where that ends.
fn keeps_previous(former: &FormerFile, stat: &FileStat, is_torn: bool) -> bool {
    let is_in_place = former.stat.is_same_file(stat) && !former.stat.is_same_version(stat);
    former.form.body().is_some() && (is_torn || is_in_place)
}
