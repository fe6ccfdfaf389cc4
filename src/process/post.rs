//! Posts that forked children hold, and the reaping of children.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::backoff::Backoff;

/// A post that one child at a time holds.
#[derive(Debug)]
pub(super) struct Post {
    holder: Holder,
    backoff: Backoff,
}

#[derive(Debug)]
enum Holder {
    Child {
        pid: Pid,
        since: Instant,
    },
    /// To be filled then.
    Nobody {
        until: Instant,
    },
}

impl Post {
    /// A post to be filled at once.
    pub(super) fn vacant(now: Instant) -> Self {
        Self { holder: Holder::Nobody { until: now }, backoff: Backoff::default() }
    }

    /// When it is to be filled; none while somebody holds it.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.holder {
            Holder::Child { .. } => None,
            Holder::Nobody { until } => Some(until),
        }
    }

    /// Takes note of the child that holds it from now on.
    pub(super) fn fill(&mut self, pid: Pid, now: Instant) {
        self.holder = Holder::Child { pid, since: now };
    }

    /// Takes note that no child could be forked.
    pub(super) fn put_off(&mut self, now: Instant) {
        self.holder = Holder::Nobody { until: now + self.backoff.after(Duration::ZERO) };
    }

    /// Takes note of a child's death; whether it held this post.
    pub(super) fn bury(&mut self, dead: Pid, now: Instant) -> bool {
        match self.holder {
            Holder::Child { pid, since } if pid == dead => {
                let wait = self.backoff.after(now.saturating_duration_since(since));
                self.holder = Holder::Nobody { until: now + wait };
                true
            }
            _ => false,
        }
    }

    /// Kills the holder. A child that is not reaped yet keeps its pid, so that the signal can hit
    /// no other process.
    pub(super) fn kill(&self) {
        if let Holder::Child { pid, .. } = self.holder {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// Reaps every child that is dead; whether there are children left.
pub(super) fn reap(mut bury: impl FnMut(Pid, WaitStatus)) -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Ok(status) => {
                if let Some(pid) = status.pid() {
                    bury(pid, status);
                }
            }
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}

/// A child's end in words.
pub(super) fn cause(status: WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("exit code {code}"),
        WaitStatus::Signaled(_, signal, _) => signal.to_string(),
        other => format!("{other:?}"),
    }
}
