//! What the master opens before anything is forked.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mio::Waker;
use nix::errno::Errno;
use nix::unistd::Uid;

use crate::compile::Root;
use crate::failure::Failure;
use crate::figures::bytes;
use crate::host::arena::Arena;
use crate::host::doorbell::Doorbell;
use crate::host::shared_scoreboard::SharedScoreboard;
use crate::process::failed;
use crate::process::machine::Allowance;
use crate::scoreboard::Role;

pub(super) fn root(path: &Path) -> Result<Root, Failure> {
    let shown = path.display();
    Root::new(path).map_err(|error| {
        Failure::user(match error.kind() {
            io::ErrorKind::NotFound => format!("no folder {shown}; name one: tine FOLDER"),
            io::ErrorKind::NotADirectory => {
                format!("{shown} is no folder; name the folder that the file is in")
            }
            io::ErrorKind::PermissionDenied => format!(
                "may not open the folder {shown}; let others in (chmod o+rx, also on what leads to \
                 it), or start tine as who may"
            ),
            _ => format!("cannot open the folder {shown}: {error}"),
        })
    })
}

/// Found out here, as the user that will serve: a publisher could only say so and die.
pub(super) fn check_readable(root: &Root, path: &Path) -> Result<(), Failure> {
    root.open_beneath(Path::new("")).map(drop).map_err(|error| {
        let (shown, uid) = (path.display(), Uid::effective());
        Failure::user(format!(
            "cannot read the folder {shown} as user {uid}: {error}; let others in (chmod o+rx), \
             or choose who serves by --user"
        ))
    })
}

/// Has ctrlc's thread count INT and TERM; it cannot tell which came. QUIT comes by the signalfd.
pub(super) fn count_stops(waker: &Arc<Waker>) -> Result<Arc<AtomicU32>, Failure> {
    let stops = Arc::new(AtomicU32::new(0));
    let (counter, waker) = (Arc::clone(&stops), Arc::downgrade(waker));
    let count = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        let _ = waker.upgrade().map(|waker| waker.wake());
    };
    ctrlc::set_handler(count)
        .map_err(|error| Failure::system(format!("cannot handle signals: {error}")))?;
    Ok(stops)
}

/// What the children do, in the order in which they are started. A site needs a worker and the
/// compiler: under a limit on processes these come before all other workers.
pub(super) fn roles(has_admin: bool, workers: usize) -> Vec<Role> {
    let mut roles = vec![Role::Logger];
    roles.extend(has_admin.then_some(Role::Admin));
    roles.extend([Role::Worker, Role::Compiler]);
    roles.extend(std::iter::repeat_n(Role::Worker, workers.saturating_sub(1)));
    roles
}

/// Pins of each process beyond its connections.
const PINS_SPARE: usize = 64;

/// The arena, as large as the site may be.
pub(super) fn arena(allowance: &Allowance) -> Result<Arena, Failure> {
    let budget = allowance.arena_size();
    Arena::create(budget).map_err(|errno| {
        Failure::system(match errno {
            Errno::EFBIG => format!(
                "a limit on file sizes or address space (ulimit -f, ulimit -v) leaves no room for \
                 a site of {}: at least {} are needed; lower --memory-max, or raise the limit",
                bytes(allowance.site.memory_max),
                bytes(budget.saturating_mul(4)),
            ),
            _ => format!("cannot make memory for the site: {}", errno.desc()),
        })
    })
}

/// A scoreboard, and a doorbell for each of its slots.
pub(super) fn scoreboard(
    allowance: &Allowance,
) -> Result<(SharedScoreboard, Vec<Doorbell>), Failure> {
    // A worker that can make no room takes a connection that it has accepted all the same.
    let pins = allowance.connections_max + PINS_SPARE;
    let shared =
        SharedScoreboard::create(allowance.slots, pins).map_err(failed("cannot share memory"))?;
    let doorbells = (0..allowance.slots).map(|_| Doorbell::new());
    let doorbells: nix::Result<Vec<Doorbell>> = doorbells.collect();
    Ok((shared, doorbells.map_err(failed("cannot make an eventfd"))?))
}
