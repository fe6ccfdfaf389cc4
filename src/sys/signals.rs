//! Signal dispositions.

use std::mem::MaybeUninit;
use std::ptr;

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Whether `signal` is ignored, as `nohup` leaves SIGHUP.
pub(crate) fn is_ignored(signal: Signal) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with a null pointer for the new action sigaction(2) only writes the old one, to
    // memory that is ours; all zeroes is a valid value of it should the call fail.
    let action = unsafe {
        libc::sigaction(signal as libc::c_int, ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// Undoes what whoever started this program may have left: with SIGCHLD ignored the kernel tells
/// nobody of deaths (waitpid(2)), and a signal that is blocked does not come. SIGHUP stays as it
/// is.
///
/// # Errors
/// Those of sigaction(2) and sigprocmask(2); none for the arguments used here.
pub(crate) fn begin() -> nix::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default runs no code of ours, and there is no handler yet that it could replace.
    unsafe { sigaction(Signal::SIGCHLD, &default) }?;
    SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]).thread_unblock()
}

/// Gives a forked child dispositions of its own. INT, TERM, QUIT and HUP are often sent to a whole
/// process group, and they are the master's to understand: the child ignores them. What the
/// master blocked is unblocked.
///
/// # Errors
/// Those of sigaction(2) and sigprocmask(2); none for the arguments used here.
pub(crate) fn leave_to_master() -> nix::Result<()> {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGHUP] {
        // SAFETY: ignoring runs no code of ours in a signal's context, and the handler that it
        // replaces belongs to a thread that does not exist in a child.
        unsafe { sigaction(signal, &ignore) }?;
    }
    SigSet::empty().thread_set_mask()
}
