//! What the master opens before anything is forked.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use mio::Waker;
use nix::sys::prctl;
use nix::unistd::{Pid, Uid, getpid};

use crate::board::{Board, Role, Row};
use crate::config::Config;
use crate::failure::Failure;
use crate::process::crew::{Crew, Post, Watch};
use crate::process::failed;
use crate::process::log::Log;
use crate::site::Root;
use crate::sys::shared;

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

/// Orphans come to the master, as they do to PID 1 anyway.
pub(super) fn adopt_orphans(pid: Pid) -> Result<(), Failure> {
    if pid.as_raw() == 1 {
        return Ok(());
    }
    prctl::set_child_subreaper(true).map_err(failed("cannot adopt orphans"))
}

/// A board, with the master's own row.
pub(super) fn board(rows: usize) -> Result<(Board<'static>, Row<'static>), Failure> {
    let words = shared::words(Board::words(rows)).map_err(failed("cannot share memory"))?;
    let (board, pid) = (Board::new(words), getpid().as_raw());
    let row = board.claim(pid).expect("a board that was just made");
    let is_ours = row.take(pid, pid);
    debug_assert!(is_ours, "somebody else is at the board already");
    row.set_role(Role::Master, 0);
    Ok((board, row))
}

/// The office, the logger, and the admin if it has something to listen at.
pub(super) fn crew(
    config: &Config,
    has_admin: bool,
    own: (Board<'static>, Row<'static>),
    log: &Rc<Log>,
    now: Instant,
) -> Crew {
    let mut posts = vec![
        Post { role: Role::Publisher, watch: Watch::FromFirstBeat },
        Post { role: Role::Logger, watch: Watch::Never },
    ];
    if has_admin {
        posts.push(Post { role: Role::Admin, watch: Watch::FromBirth });
    }
    Crew::new(posts, config.watchdog_timeout, own, Rc::clone(log), now).on_line()
}
