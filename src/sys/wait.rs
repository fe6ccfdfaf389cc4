//! Children that have ended, by numbers: nix takes a death by a signal that it has no name for, a
//! real-time one, for an error.

use std::mem::MaybeUninit;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;

/// A child that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dead {
    pub(crate) pid: Pid,
    pub(crate) end: End,
}

/// How it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with this code.
    Exited(i32),
    /// By a signal of this number.
    Killed(i32),
}

/// One of the children that have ended, adopted ones too. It is not reaped by that, so that its pid
/// stays its own.
///
/// # Errors
/// `ECHILD` if there are no children at all.
pub(crate) fn next_dead() -> nix::Result<Option<Dead>> {
    let found = waitid(libc::P_ALL, 0, libc::WNOWAIT)?;
    // SAFETY: of a child that has ended waitid(2) says pid and status; of none, a pid of 0.
    let (pid, status) = unsafe { (found.si_pid(), found.si_status()) };
    let is_exit = found.si_code == libc::CLD_EXITED;
    let end = if is_exit { End::Exited(status) } else { End::Killed(status) };
    Ok((pid != 0).then_some(Dead { pid: Pid::from_raw(pid), end }))
}

/// Reaps a child that has ended: its pid may be another process's from now on.
pub(crate) fn reap(child: Pid) {
    let _ = waitid(libc::P_PID, child.as_raw().cast_unsigned(), 0);
}

/// Whether a process is a child of this one that is not reaped yet: then its pid is its own.
pub(crate) fn is_own_child(pid: Pid) -> bool {
    waitid(libc::P_PID, pid.as_raw().cast_unsigned(), libc::WNOWAIT).is_ok()
}

/// waitid(2) for children that have ended, without waiting.
fn waitid(
    which: libc::idtype_t,
    id: libc::id_t,
    flags: libc::c_int,
) -> nix::Result<libc::siginfo_t> {
    let mut found = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: waitid(2) writes to memory that is ours; all zeroes is a valid value of it, and what
    // stands there if nobody is found.
    let found = unsafe {
        let flags = libc::WEXITED | libc::WNOHANG | flags;
        Errno::result(libc::waitid(which, id, found.as_mut_ptr(), flags))?;
        found.assume_init()
    };
    Ok(found)
}
