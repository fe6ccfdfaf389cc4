//! The table of settings: the one place that knows their names, defaults and meanings. The help,
//! the environment's names and the README's table come from it or are tested against it.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Component, Path};
use std::time::Duration;

use crate::config::{Config, Listen, User};
use crate::http::extra::Extra;

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
    /// Whether its name alone says what it is.
    pub(super) is_limit: bool,
    /// What the flag means without a value, if it may stand without one.
    pub(super) implied: Option<&'static str>,
    /// What is between the values in its variable, if there may be several.
    pub(super) separator: Option<char>,
    /// Reads a value; says the mend if that cannot be done.
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
    /// Forgets values that were read before.
    pub(super) reset: fn(&mut Config),
}

impl Setting {
    /// A setting of which the last value counts.
    const fn new(
        flag: &'static str,
        value: &'static str,
        default: &'static str,
        meaning: &'static str,
        set: fn(&mut Config, &str) -> Result<(), String>,
    ) -> Self {
        Self {
            flag,
            value,
            default,
            meaning,
            is_limit: false,
            implied: None,
            separator: None,
            set,
            reset: |_| {},
        }
    }

    /// The same setting as a limit.
    const fn limit(self) -> Self {
        Self { is_limit: true, ..self }
    }

    /// The flag as it is written.
    pub fn usage(&self) -> String {
        match self.implied {
            Some(_) => format!("--{}[={}]", self.flag, self.value),
            None => format!("--{} {}", self.flag, self.value),
        }
    }

    /// The name of its variable.
    pub fn variable(&self) -> String {
        format!("TINE_{}", self.flag.replace('-', "_").to_ascii_uppercase())
    }

    /// The values in a variable.
    pub(super) fn parts<'v>(&self, value: &'v str) -> impl Iterator<Item = &'v str> {
        let separator = self.separator;
        let parts = value.split(move |letter| Some(letter) == separator).map(str::trim);
        // A list may end in a separator, as a text of lines does.
        parts.filter(move |part| separator.is_none() || !part.is_empty())
    }
}

/// All settings but ROOT, in the order in which they are shown.
pub const SETTINGS: &[Setting] = &[
    Setting {
        separator: Some(','),
        reset: |config| config.listen = Config::default().listen,
        ..Setting::new(
            "listen",
            "ADDR:PORT",
            "[::]:7788",
            "where; repeatable; PORT moves the default",
            listen,
        )
    },
    Setting::new("workers", "N", "by CPUs", "worker processes", |config, value| {
        let mend = "is not a number of workers; write 1 to 1024";
        let workers = value.parse::<NonZeroUsize>().ok().filter(|workers| workers.get() <= 1024);
        config.workers = Some(workers.ok_or(mend)?);
        Ok(())
    }),
    Setting::new("user", "UID:GID", "65532:65532 if root", "who serves", |config, value| {
        config.user = Some(user(value).ok_or("is not a user; write two numbers, 65532:65532")?);
        Ok(())
    }),
    Setting {
        separator: Some('\n'),
        reset: |config| config.extra = Extra::default(),
        ..Setting::new(
            "header",
            "'NAME: VALUE'",
            "none",
            "for every answer; repeatable",
            |config, value| config.extra.add(value),
        )
    },
    Setting {
        implied: Some(INDEX),
        ..Setting::new("spa", "FILE", "off", "answers for pages that are missing", spa)
    },
    Setting::new("health", "on/off", "on", "/livez and /readyz say how it is", |config, value| {
        config.health = match value {
            "on" => true,
            "off" => false,
            _ => return Err("is neither on nor off".to_owned()),
        };
        Ok(())
    }),
    Setting::new("inline-max", "SIZE", "64KiB", "largest file held in memory", |config, value| {
        config.inline_max = size(value)?;
        Ok(())
    })
    .limit(),
    Setting::new("memory-max", "SIZE", "64MiB", "most memory for held files", |config, value| {
        config.memory_max = Some(size(value)?);
        Ok(())
    })
    .limit(),
    Setting::new("open-max", "N", "1024", "most other files kept open", |config, value| {
        config.open_max = Some(count(value)?);
        Ok(())
    })
    .limit(),
    Setting::new("files-max", "N", "2000000", "most files and folders", |config, value| {
        config.files_max = positive_count(value)?;
        Ok(())
    })
    .limit(),
    Setting::new(
        "connections-max",
        "N",
        "10000",
        "most connections of a worker",
        |config, value| {
            config.connections_max = Some(positive_count(value)?);
            Ok(())
        },
    )
    .limit(),
    Setting::new(
        "target-max",
        "SIZE",
        "8KiB",
        "longest request target, or 414",
        |config, value| {
            config.limits.target_max = positive_size(value)?;
            Ok(())
        },
    )
    .limit(),
    Setting::new("head-max", "SIZE", "16KiB", "longest request head, or 431", |config, value| {
        config.limits.head_max = positive_size(value)?;
        Ok(())
    })
    .limit(),
    Setting::new(
        "fields-max",
        "N",
        "100",
        "most field lines in a head, or 431",
        |config, value| {
            config.limits.fields_max = positive_count(value)?;
            Ok(())
        },
    )
    .limit(),
    Setting::new(
        "body-max",
        "SIZE",
        "64KiB",
        "largest request body dropped, or 413",
        |config, value| {
            config.limits.body_max = size(value)?;
            Ok(())
        },
    )
    .limit(),
    Setting::new("ranges-max", "N", "16", "most ranges answered, or the whole", |config, value| {
        config.limits.ranges_max = positive_count(value)?;
        Ok(())
    })
    .limit(),
    Setting::new(
        "head-timeout",
        "TIME",
        "10s",
        "for a whole request head, or 408",
        |config, value| {
            config.limits.head_timeout = duration(value)?;
            Ok(())
        },
    )
    .limit(),
    Setting::new(
        "body-timeout",
        "TIME",
        "10s",
        "for a whole request body, or 408",
        |config, value| {
            config.limits.body_timeout = duration(value)?;
            Ok(())
        },
    )
    .limit(),
    Setting::new("idle-timeout", "TIME", "75s", "from answer to next request", |config, value| {
        config.limits.idle_timeout = duration(value)?;
        Ok(())
    })
    .limit(),
    Setting::new(
        "write-timeout",
        "TIME",
        "60s",
        "for a client that takes nothing",
        |config, value| {
            config.limits.write_timeout = duration(value)?;
            Ok(())
        },
    )
    .limit(),
    Setting::new("watchdog", "TIME", "10s", "without a sign of life: replaced", |config, value| {
        config.watchdog = watchdog(value)?;
        Ok(())
    })
    .limit(),
    Setting::new(
        "drain-timeout",
        "TIME",
        "20s",
        "for answers in flight at the end",
        |config, value| {
            config.drain_timeout = duration(value)?;
            Ok(())
        },
    )
    .limit(),
];

/// The page of a site that has one only.
const INDEX: &str = "index.html";

/// A path beneath the root; the root itself may be missing as yet, or another one tomorrow.
fn spa(config: &mut Config, value: &str) -> Result<(), String> {
    let path = Path::new(value.trim_start_matches('/'));
    if ["true", "false", "yes", "no", "1", "0"].contains(&value.to_ascii_lowercase().as_str()) {
        return Err("is not a file of the site; write on, off, or index.html".to_owned());
    }
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if !is_plain || value.is_empty() || value.ends_with('/') {
        return Err("is not a file of the site; write index.html or app/index.html".to_owned());
    }
    config.spa = match value {
        "off" => None,
        "on" => Some(INDEX.into()),
        _ => Some(path.components().collect()),
    };
    Ok(())
}

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

pub(super) fn duration(value: &str) -> Result<Duration, String> {
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
