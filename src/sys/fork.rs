//! fork(2).

use nix::libc;
use nix::unistd::ForkResult;

/// Ends this process, and does nothing else. In a forked child the end that Rust makes of `main`
/// would wait for locks of its own that another thread of the parent held at the moment of the fork
/// (that of ctrlc holds one while it starts).
pub(crate) fn end(code: u8) -> ! {
    // SAFETY: _exit(2) runs no code of this process any more.
    unsafe { libc::_exit(code.into()) }
}

/// Makes a second process out of this one; only the calling thread goes on in it.
///
/// # Errors
/// Those of fork(2): `EAGAIN` at a limit on processes, `ENOMEM`.
pub(crate) fn fork() -> nix::Result<ForkResult> {
    // SAFETY: the child may rely on nothing that another thread held at that moment. The only
    // other thread is the one that ctrlc starts in the master: it waits for a semaphore, then adds
    // to an atomic and writes to an eventfd, so it holds no lock of ours; the allocator's locks
    // are put right in the child by the C library (musl and glibc both do).
    unsafe { nix::unistd::fork() }
}
