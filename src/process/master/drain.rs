//! The way out: newcomers are taken for a while, then the door is shut, then the listeners end.

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

use super::newcomers;

/// How long a listener whose door is shut is left to those half inside, in one step.
const LISTENER_PAUSE: Duration = Duration::from_millis(20);
/// How long those half inside are waited for, whose packets are on their way.
const HALF_INSIDE: Duration = Duration::from_secs(1);

/// The way out.
pub(super) struct Drain {
    step: Step,
    /// When the listeners end at the latest.
    latest: Instant,
}

#[derive(Clone, Copy)]
enum Step {
    /// Newcomers are taken until then.
    Open {
        until: Instant,
    },
    /// Who is half inside is let in; whether anybody is left is looked at then.
    Shut {
        look_at: Instant,
        half_inside_until: Instant,
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
        let half_inside_until = match self.step {
            Step::Open { .. } => {
                control.set_phase(Phase::Draining);
                shut_doors(listeners, log);
                now + HALF_INSIDE
            }
            Step::Shut { half_inside_until, .. } => {
                let is_waited_for = now < half_inside_until;
                if now >= self.latest || !is_anybody_coming(listeners, is_waited_for) {
                    end(listeners);
                    self.step = Step::Over;
                    return true;
                }
                half_inside_until
            }
            Step::Over => return false,
        };
        self.step = Step::Shut { look_at: now + LISTENER_PAUSE, half_inside_until };
        false
    }
}

/// Whether there are connections to come. Those half inside are looked at before those in the
/// queues: that is the way that they take.
fn is_anybody_coming(listeners: &[TcpListener], are_half_inside_waited_for: bool) -> bool {
    let are_half_inside =
        are_half_inside_waited_for && newcomers::are_half_inside(listeners).unwrap_or(true);
    are_half_inside || listeners.iter().any(has_queued)
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
