//! The table of settings: the one place that knows their names, defaults and meanings. The help,
//! the environment's names and the README's table come from it or are tested against it.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use crate::config::{Config, Listen, User};

/// A setting.
pub struct Setting {
    /// Its flag, without the dashes.
    pub flag: &'static str,
    /// What kind of value it takes.
    pub value: &'static str,
    /// Its default, as it is shown.
    pub default: &'static str,
    /// What it is, in a few words.
    pub meaning: &'static str,
    /// Reads a value; says the mend if that cannot be done.
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
    /// Forgets values that were read before.
    pub(super) reset: fn(&mut Config),
}

impl Setting {
    /// The name of its variable.
    pub fn variable(&self) -> String {
        format!("TINE_{}", self.flag.replace('-', "_").to_ascii_uppercase())
    }

    /// The values in a variable: several for a flag that may be repeated.
    pub(super) fn parts<'v>(&self, value: &'v str) -> impl Iterator<Item = &'v str> {
        let repeats = self.flag == "listen";
        value.split(move |letter| repeats && letter == ',').map(str::trim)
    }
}

/// A setting of which the last value counts.
const fn single(
    flag: &'static str,
    value: &'static str,
    default: &'static str,
    meaning: &'static str,
    set: fn(&mut Config, &str) -> Result<(), String>,
) -> Setting {
    Setting { flag, value, default, meaning, set, reset: |_| {} }
}

/// All settings but ROOT, in the order in which they are shown.
pub const SETTINGS: &[Setting] = &[
    Setting {
        flag: "listen",
        value: "ADDR:PORT",
        default: "[::]:7788",
        meaning: "where; repeatable; PORT moves the default",
        set: listen,
        reset: |config| config.listen = Config::default().listen,
    },
    single("workers", "N", "by CPUs", "worker processes", |config, value| {
        let mend = "is not a number of workers; write 1 to 1024";
        let workers = value.parse::<NonZeroUsize>().ok().filter(|workers| workers.get() <= 1024);
        config.workers = Some(workers.ok_or(mend)?);
        Ok(())
    }),
    single("user", "UID:GID", "65532:65532 if root", "who serves", |config, value| {
        config.user = Some(user(value).ok_or("is not a user; write two numbers, 65532:65532")?);
        Ok(())
    }),
    single("inline-max", "SIZE", "64KiB", "largest file held in memory", |config, value| {
        config.inline_max = size(value)?;
        Ok(())
    }),
    single("memory-max", "SIZE", "64MiB", "most memory for held files", |config, value| {
        config.memory_max = Some(size(value)?);
        Ok(())
    }),
    single("open-max", "N", "1024", "most other files kept open", |config, value| {
        config.open_max = Some(count(value)?);
        Ok(())
    }),
    single("files-max", "N", "2000000", "most files and folders", |config, value| {
        config.files_max = positive_count(value)?;
        Ok(())
    }),
    single("connections-max", "N", "10000", "most connections of a worker", |config, value| {
        config.connections_max = Some(positive_count(value)?);
        Ok(())
    }),
    single("target-max", "SIZE", "8KiB", "longest request target, or 414", |config, value| {
        config.limits.target_max = positive_size(value)?;
        Ok(())
    }),
    single("head-max", "SIZE", "16KiB", "longest request head, or 431", |config, value| {
        config.limits.head_max = positive_size(value)?;
        Ok(())
    }),
    single("fields-max", "N", "100", "most field lines in a head, or 431", |config, value| {
        config.limits.fields_max = count(value)?;
        Ok(())
    }),
    single("body-max", "SIZE", "64KiB", "largest request body dropped, or 413", |config, value| {
        config.limits.body_max = size(value)?;
        Ok(())
    }),
    single("head-timeout", "TIME", "10s", "for a whole request head, or 408", |config, value| {
        config.limits.head_timeout = duration(value)?;
        Ok(())
    }),
    single("body-timeout", "TIME", "10s", "for a whole request body, or 408", |config, value| {
        config.limits.body_timeout = duration(value)?;
        Ok(())
    }),
    single("idle-timeout", "TIME", "75s", "from answer to next request", |config, value| {
        config.limits.idle_timeout = duration(value)?;
        Ok(())
    }),
    single("write-timeout", "TIME", "60s", "for a client that takes nothing", |config, value| {
        config.limits.write_timeout = duration(value)?;
        Ok(())
    }),
    single("watchdog", "TIME", "10s", "without a sign of life: replaced", |config, value| {
        config.watchdog = watchdog(value)?;
        Ok(())
    }),
    single("drain-timeout", "TIME", "20s", "for answers in flight at the end", |config, value| {
        config.drain_timeout = duration(value)?;
        Ok(())
    }),
];

/// Most addresses that can be listened on.
const LISTEN_MAX: usize = 32;

fn listen(config: &mut Config, value: &str) -> Result<(), String> {
    let address: SocketAddr = value
        .parse()
        .map_err(|_| "is not an address with a port; write 127.0.0.1:8080 or [::]:8080")?;
    match &mut config.listen {
        Listen::Everywhere(_) => config.listen = Listen::On(vec![address]),
        Listen::On(addresses) if addresses.contains(&address) => {
            return Err("is there twice; write it once".to_owned());
        }
        Listen::On(addresses) if addresses.len() == LISTEN_MAX => {
            return Err(format!("is one too many; {LISTEN_MAX} addresses are the most"));
        }
        Listen::On(addresses) => addresses.push(address),
    }
    Ok(())
}

/// `UID` or `UID:GID`; a group that is not given has the user's number.
fn user(value: &str) -> Option<User> {
    let (uid, gid) = value.split_once(':').unwrap_or((value, value));
    // The highest number means "no change" to setuid(2).
    let id = |text: &str| text.parse().ok().filter(|&id| id < u32::MAX);
    Some(User { uid: id(uid)?, gid: id(gid)? })
}

fn count(value: &str) -> Result<usize, String> {
    value.parse().map_err(|_| "is not a number; write digits, such as 100".to_owned())
}

fn positive_count(value: &str) -> Result<usize, String> {
    match count(value)? {
        0 => Err("would leave nothing to serve; write 1 or more".to_owned()),
        count => Ok(count),
    }
}

/// A heart beats once a second, and one that is listened to once a second may miss a beat.
fn watchdog(value: &str) -> Result<Duration, String> {
    match duration(value)? {
        short if short < Duration::from_secs(3) => Err("is too short; write 3s or more".to_owned()),
        watchdog => Ok(watchdog),
    }
}

fn duration(value: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    match humantime::parse_duration(value) {
        Ok(Duration::ZERO) => Err("would end everything at once; write 1ms or more".to_owned()),
        Ok(duration) if duration > LONGEST => Err("is longer than a year".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("is not a duration; write 10s, 500ms or 1m 30s".to_owned()),
    }
}

/// Bytes, or a number with KiB, MiB or GiB behind it.
fn size(value: &str) -> Result<u64, String> {
    let digits = value.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit: u64 = match value[digits.len()..].trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .filter(|_| unit > 0)
        .ok_or_else(|| "is not a size; write bytes, or 64KiB, 8MiB, 1GiB".to_owned())
}

fn positive_size(value: &str) -> Result<usize, String> {
    let size = usize::try_from(size(value)?).map_err(|_| "is too large".to_owned())?;
    if size == 0 { Err("would refuse everything; write 1 or more".to_owned()) } else { Ok(size) }
}
