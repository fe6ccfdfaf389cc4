//! What the master opens before anything is forked.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mio::Waker;
use nix::unistd::Uid;

use crate::failure::Failure;
use crate::site::Root;

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

/// Has ctrlc's thread count INT and TERM; it cannot tell which came.
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
