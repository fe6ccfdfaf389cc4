//! The former names of settings, so that an old command line or manifest fails with the new name.

use super::settings;

/// Former and present flags, without the dashes.
pub(super) const RENAMED: &[(&str, &str)] = &[
    ("fields-max", "header-count-max"),
    ("head-max", "request-head-max"),
    ("inline-max", "memory-file-max"),
    ("open-max", "open-files-max"),
    ("rescan", "rescan-interval"),
    ("retire-after", "keep-removed-assets"),
    ("root-wait", "wait-for-root"),
    ("settle", "reload-debounce"),
    ("watchdog", "watchdog-timeout"),
];

/// Returns the present flag of a setting by its former flag.
pub(super) fn flag(old: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(former, _)| *former == old).map(|&(_, new)| new)
}

/// Returns the present variable of a setting by its former variable.
pub(super) fn variable(old: &str) -> Option<String> {
    let renamed = RENAMED.iter().find(|(former, _)| settings::variable(former) == old);
    renamed.map(|(_, new)| settings::variable(new))
}
