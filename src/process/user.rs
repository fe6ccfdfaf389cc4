//! Becoming somebody who may do less.

use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

use crate::config::User;
use crate::failure::Failure;
use crate::log::Style;

use super::log::say;

/// Becomes the user that was asked for, or the default one if tine was started as root.
///
/// # Errors
/// If the kernel refuses what was asked for. What is only the default is a wish: in a container
/// without capabilities even root may not become another, and needs not.
pub(super) fn change(wanted: Option<User>, style: Style) -> Result<(), Failure> {
    let Some(user) = wanted.or_else(|| Uid::effective().is_root().then_some(User::DEFAULT)) else {
        return Ok(());
    };
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    if (Uid::effective(), Gid::effective()) == (uid, gid) {
        return Ok(());
    }
    // Groups first: without its uid root could not give them up any more.
    let changed = setgroups(&[]).and_then(|()| setgid(gid)).and_then(|()| setuid(uid));
    match changed {
        Ok(()) => Ok(()),
        Err(errno) if wanted.is_some() => Err(Failure::system(format!(
            "cannot become user {uid}:{gid}: {}; start as root with CAP_SETUID and CAP_SETGID, or \
             leave --user out",
            errno.desc()
        ))),
        Err(errno) => {
            let reason = errno.desc();
            say(style, &format!("serving as root: cannot become user {uid}:{gid}: {reason}"));
            Ok(())
        }
    }
}
