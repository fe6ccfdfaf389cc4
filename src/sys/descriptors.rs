//! Descriptors that nobody here has opened.

use nix::libc;

/// Closes what whoever started tine has left open beyond the standard three. On kernels without
/// the call (before 5.9) it stays open.
///
/// To be called once, at the start, before anything is opened.
pub(crate) fn close_inherited() {
    // SAFETY: close_range(2) takes plain numbers. This program has opened nothing yet, so that no
    // owner of a descriptor in it loses its own.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}
