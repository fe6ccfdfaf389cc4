//! The graceful shutdown of the listeners: they accept for a while, then drop new SYNs, then end.

use std::net::TcpListener;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, shutdown};

use crate::config::Config;
use crate::process::ALL_LEAVE;
use crate::process::log::Log;
use crate::scoreboard::{Control, Phase};
use crate::sys::door;

use super::half_open;

/// How often it is checked whether connections are still in the backlog or in mid-handshake.
const LISTENER_PAUSE: Duration = Duration::from_millis(20);
/// How long half-open connections are waited for, whose packets are on their way.
const HALF_OPEN_MAX: Duration = Duration::from_secs(1);

/// The way out.
pub(super) struct Drain {
    step: Step,
    /// When the listeners end at the latest.
    latest: Instant,
}

#[derive(Clone, Copy)]
enum Step {
    /// New connections are accepted until then.
    Open {
        until: Instant,
    },
    /// New SYNs are dropped; connections in the backlog or in mid-handshake are still accepted.
    Shut {
        look_at: Instant,
        half_open_until: Instant,
    },
    Over,
}

impl Drain {
    pub(super) fn begin(config: &Config, now: Instant) -> Self {
        let until = now + config.shutdown_delay;
        Self { step: Step::Open { until }, latest: until + config.drain_timeout }
    }

    /// When everybody is to be gone.
    pub(super) fn deadline(&self) -> Instant {
        self.latest + ALL_LEAVE
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.step {
            Step::Open { until } => Some(until),
            Step::Shut { look_at, .. } => Some(look_at),
            Step::Over => None,
        }
    }

    /// Does what is due; whether the listeners have just ended.
    pub(super) fn advance(
        &mut self,
        control: Control<'_>,
        listeners: &[TcpListener],
        log: &Log,
        now: Instant,
    ) -> bool {
        if self.due().is_none_or(|due| now < due) {
            return false;
        }
        let half_open_until = match self.step {
            Step::Open { .. } => {
                control.set_phase(Phase::Draining);
                shut_doors(listeners, log);
                now + HALF_OPEN_MAX
            }
            Step::Shut { half_open_until, .. } => {
                let is_waited_for = now < half_open_until;
                if now >= self.latest || !is_anybody_coming(listeners, is_waited_for) {
                    end(listeners);
                    self.step = Step::Over;
                    return true;
                }
                half_open_until
            }
            Step::Over => return false,
        };
        self.step = Step::Shut { look_at: now + LISTENER_PAUSE, half_open_until };
        false
    }
}

/// Whether there are connections to come. Half-open ones are checked before those in the queues,
/// because that is the way that they take.
fn is_anybody_coming(listeners: &[TcpListener], are_half_open_awaited: bool) -> bool {
    let are_half_open =
        are_half_open_awaited && half_open::are_half_open(listeners).unwrap_or(true);
    are_half_open || listeners.iter().any(has_queued)
}

/// Ends the listeners, which resets whoever is queued still. To close them would do nothing, since
/// others hold copies.
fn end(listeners: &[TcpListener]) {
    for listener in listeners {
        let _ = shutdown(listener.as_raw_fd(), Shutdown::Both);
    }
}

fn shut_doors(listeners: &[TcpListener], log: &Log) {
    for listener in listeners {
        if let Err(errno) = door::shut(listener) {
            log.say(&format!("connections may be reset at the end: {}", errno.desc()));
        }
    }
}

/// Whether connections wait to be accepted.
fn has_queued(listener: &TcpListener) -> bool {
    let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}
