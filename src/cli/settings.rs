//! The table of settings: the one place that knows their names, defaults and meanings. The help,
//! the environment's names and the README's table come from it or are tested against it.

use std::num::NonZeroUsize;

use crate::config::{Config, MEMORY_MAX_MOST};
use crate::http::extra::Extra;
use crate::peer::Trusted;

use super::values::{
    INDEX, admin, auto_or_off, count, duration, duration_or_none, listen, log, on_or_off,
    positive_count, positive_size, size, spa, trusted_proxies, user, watchdog_timeout,
};

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
        variable(self.flag)
    }

    /// The values in a variable.
    pub(super) fn parts<'v>(&self, value: &'v str) -> impl Iterator<Item = &'v str> {
        let separator = self.separator;
        let parts = value.split(move |letter| Some(letter) == separator).map(str::trim);
        // A list may end in a separator, as a text of lines does.
        parts.filter(move |part| separator.is_none() || !part.is_empty())
    }
}

/// The name of the variable of a flag.
pub(super) fn variable(flag: &str) -> String {
    format!("TINE_{}", flag.replace('-', "_").to_ascii_uppercase())
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
            "where; repeatable; $PORT moves the default",
            listen,
        )
    },
    Setting::new(
        "admin-listen",
        "ADDR:PORT",
        "127.0.0.1:7789",
        "probes, metrics, status; or off",
        admin,
    ),
    Setting::new("workers", "N", "by CPUs", "worker processes", |config, value| {
        let mend = "is not a number of workers; write 1 to 1024";
        let workers = value.parse::<NonZeroUsize>().ok().filter(|workers| workers.get() <= 1024);
        config.workers = Some(workers.ok_or(mend)?);
        Ok(())
    }),
    Setting::new(
        "user",
        "UID:GID",
        "65532:65532 if root",
        "user and group that serve",
        |config, value| {
            config.user = Some(user(value).ok_or("is not a user; write two numbers, 65532:65532")?);
            Ok(())
        },
    ),
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
        ..Setting::new("spa", "FILE", "off", "file served for unknown paths", spa)
    },
    Setting::new("health", "on/off", "on", "/livez and /readyz say how it is", |config, value| {
        config.health = on_or_off(value)?;
        Ok(())
    }),
    Setting::new("log", "FORMAT", "by terminal", "text, json, combined, headers, off", log),
    Setting::new("memory-file-max", "SIZE", "1MiB", "largest file in memory", |config, value| {
        config.memory_file_max = size(value)?;
        Ok(())
    })
    .limit(),
    Setting::new("memory-max", "SIZE", "64MiB", "most memory for files", |config, value| {
        let most = Some(size(value)?).filter(|&most| most <= MEMORY_MAX_MOST);
        config.memory_max = Some(most.ok_or("is too large; write 64GiB at most")?);
        Ok(())
    })
    .limit(),
    Setting::new("open-files-max", "N", "1024", "most files on disk kept open", |config, value| {
        config.open_files_max = Some(count(value)?);
        Ok(())
    })
    .limit(),
    Setting::new(
        "gzip-max",
        "SIZE",
        "8MiB",
        "largest text with a gzip variant",
        |config, value| {
            config.gzip_max = size(value)?;
            Ok(())
        },
    )
    .limit(),
    Setting::new("files-max", "N", "2000000", "most files and directories", |config, value| {
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
    Setting::new(
        "request-head-max",
        "SIZE",
        "16KiB",
        "longest request head, or 431",
        |config, value| {
            config.limits.request_head_max = positive_size(value)?;
            Ok(())
        },
    )
    .limit(),
    Setting::new(
        "header-count-max",
        "N",
        "100",
        "most headers in a head, or 431",
        |config, value| {
            config.limits.header_count_max = positive_count(value)?;
            Ok(())
        },
    )
    .limit(),
    Setting::new(
        "body-max",
        "SIZE",
        "64KiB",
        "largest request body taken, or 413",
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
    Setting::new(
        "idle-timeout",
        "TIME",
        "75s",
        "kept connection without a request",
        |config, value| {
            config.limits.idle_timeout = duration(value)?;
            Ok(())
        },
    )
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
    Setting::new(
        "watchdog-timeout",
        "TIME",
        "10s",
        "replace a hung process after",
        |config, value| {
            config.watchdog_timeout = watchdog_timeout(value)?;
            Ok(())
        },
    )
    .limit(),
    Setting::new(
        "shutdown-delay",
        "TIME",
        "0s",
        "connections are taken after TERM",
        |config, value| {
            config.shutdown_delay = duration_or_none(value)?;
            Ok(())
        },
    )
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
    Setting::new("watch", "auto/off", "auto", "notice changes by inotify", |config, value| {
        config.watch = auto_or_off(value)?;
        Ok(())
    })
    .limit(),
    Setting::new(
        "reload-debounce",
        "TIME",
        "100ms",
        "quiet time before a reload",
        |config, value| {
            config.reload_debounce = duration(value)?;
            Ok(())
        },
    )
    .limit(),
    Setting::new("rescan-interval", "TIME", "30s", "time between scans", |config, value| {
        config.rescan_interval = duration(value)?;
        Ok(())
    })
    .limit(),
    Setting::new(
        "keep-removed-assets",
        "TIME",
        "1h",
        "serve removed hashed files for; 0s off",
        |config, value| {
            config.keep_removed_assets = duration_or_none(value)?;
            Ok(())
        },
    )
    .limit(),
    Setting::new(
        "wait-for-root",
        "TIME",
        "0s",
        "wait for a missing directory at the start",
        |config, value| {
            config.wait_for_root = duration_or_none(value)?;
            Ok(())
        },
    )
    .limit(),
    Setting::new(
        "old-response-timeout",
        "TIME",
        "20s",
        "for an older site's response in memory",
        |config, value| {
            config.old_response_timeout = duration(value)?;
            Ok(())
        },
    )
    .limit(),
    Setting {
        separator: Some(','),
        reset: |config| config.trusted_proxies = Trusted::default(),
        ..Setting::new(
            "trusted-proxies",
            "CIDR",
            "none",
            "who may name clients; repeatable",
            trusted_proxies,
        )
        .limit()
    },
    Setting::new(
        "proxy-protocol",
        "on/off",
        "off",
        "trusted proxies begin with PROXY",
        |config, value| {
            config.proxy_protocol = on_or_off(value)?;
            Ok(())
        },
    )
    .limit(),
];
