//! The arena: one sparse memfd that holds all site images. The master makes it, the compiler writes
//! to it, workers read it (memfd_create(2)).

use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::sendfile::sendfile64;
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{SysconfVar, ftruncate, sysconf};

use crate::compile::SiteMemory;
use crate::scoreboard::INDEX_ALIGN;
use crate::site::View;
use crate::sys::arena::{self, ArenaWriter};

/// How many times its budget the arena's address range is, at best and at least.
const SIZE_FACTORS: [u64; 3] = [16, 8, 4];
/// Longest arena, in bytes: what the published word can address.
const LEN_MAX: u64 = 1 << 40;

/// The arena, as the master has it.
#[derive(Debug)]
pub struct Arena {
    writable: OwnedFd,
    /// None if /proc is not there to open it once more.
    readable: Option<OwnedFd>,
    len: u64,
    /// Whether bytes that sendfile(2) has queued survive a punch of their pages.
    can_sendfile: bool,
}

/// The arena, as a worker has it.
#[derive(Debug)]
pub struct ReadArena {
    /// Its bytes.
    pub view: View<'static>,
    /// What sendfile(2) may read from; none if bodies have to be copied.
    pub file: Option<OwnedFd>,
}

impl Arena {
    /// Makes an arena for a budget in bytes: an address range several times as large, without a
    /// page in it.
    ///
    /// # Errors
    /// Those of memfd_create(2) and ftruncate(2), `EFBIG` if a limit on file sizes or address space
    /// (RLIMIT_FSIZE, RLIMIT_AS) leaves less than four times the budget.
    pub fn create(budget: u64) -> nix::Result<Self> {
        let writable = create_memfd(c"tine-arena")?;
        let len = SIZE_FACTORS
            .into_iter()
            .map(|factor| {
                budget
                    .saturating_mul(factor)
                    .clamp(INDEX_ALIGN, LEN_MAX)
                    .next_multiple_of(INDEX_ALIGN)
            })
            .find(|&len| fits_address_space(len) && truncate(&writable, len).is_ok())
            .ok_or(Errno::EFBIG)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&writable, FcntlArg::F_ADD_SEALS(seals))?;
        // Only the owner may open it once more, and only to read.
        fchmod(&writable, Mode::S_IRUSR)?;
        let path = format!("/proc/self/fd/{}", writable.as_raw_fd());
        let readable = open(&*path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok();
        let can_sendfile = queued_bytes_survive_a_punch().unwrap_or(false);
        Ok(Self { writable, readable, len, can_sendfile })
    }

    /// Whether large bodies can be sent without a copy.
    pub fn can_sendfile(&self) -> bool {
        self.can_sendfile && self.readable.is_some()
    }

    /// Keeps what a worker needs, and maps it.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn into_reader(self) -> nix::Result<ReadArena> {
        match self.readable {
            Some(file) => {
                let view = arena::map(&file, self.len)?;
                Ok(ReadArena { view, file: Some(file).filter(|_| self.can_sendfile) })
            }
            None => {
                // A mapping of this descriptor could be made writable; so it is sealed.
                let view = arena::map(&self.writable, self.len)?;
                arena::seal(view);
                Ok(ReadArena { view, file: None })
            }
        }
    }

    /// Keeps what the compiler needs, and maps it.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn into_memory(self) -> nix::Result<SiteMemory> {
        let writer = ArenaWriter::map(&self.writable, self.len, page_size())?;
        Ok(SiteMemory::new(writer, self.writable, self.len, page_size()))
    }
}

/// The size of a page, in bytes.
pub fn page_size() -> u64 {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
}

/// Makes a memfd that can be sealed and never executed; kernels before 6.3 do not know the latter.
///
/// # Errors
/// Those of memfd_create(2).
pub(super) fn create_memfd(name: &std::ffi::CStr) -> nix::Result<OwnedFd> {
    const NOEXEC_SEAL: MFdFlags = MFdFlags::from_bits_retain(8);
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    match memfd_create(name, flags | NOEXEC_SEAL) {
        Err(Errno::EINVAL) => memfd_create(name, flags),
        made => made,
    }
}

fn fits_address_space(len: u64) -> bool {
    getrlimit(Resource::RLIMIT_AS).is_ok_and(|(soft, _)| len < soft / 2)
}

/// Sets the length under the hard limit on file sizes: the soft one is for files on a disk.
fn truncate(memfd: &OwnedFd, len: u64) -> nix::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_FSIZE)?;
    if len > hard {
        return Err(Errno::EFBIG);
    }
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard)?;
    let truncated = ftruncate(memfd, i64::try_from(len).map_err(|_| Errno::EFBIG)?);
    setrlimit(Resource::RLIMIT_FSIZE, soft, hard)?;
    truncated
}

/// Whether a socket that holds pages by reference keeps their bytes when the pages are punched and
/// written anew (not so with huge pages). Tried on pages of its own.
fn queued_bytes_survive_a_punch() -> io::Result<bool> {
    let page = page_size();
    let len = 4 * page;
    let memfd = create_memfd(c"tine-arena-test")?;
    ftruncate(&memfd, i64::try_from(len).map_err(io::Error::other)?)?;
    let mut writer = ArenaWriter::map(&memfd, len, page)?;
    writer.fill(0, len, |bytes| bytes.fill(b'a'))?;
    let (sender, mut receiver) = UnixStream::pair()?;
    sender.set_nonblocking(true)?;
    let mut offset = 0;
    let sent = sendfile64(&sender, &memfd, Some(&mut offset), usize::try_from(len).unwrap_or(0))?;
    arena::punch(&memfd, 0, len)?;
    writer.fill(0, len, |bytes| bytes.fill(b'b'))?;
    writer.unmap()?;
    let mut received = vec![0; sent];
    receiver.read_exact(&mut received)?;
    Ok(sent > 0 && received.iter().all(|&byte| byte == b'a'))
}
