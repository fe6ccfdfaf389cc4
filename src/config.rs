//! What tine was told, as values. How it is told (flags, environment) is `cli`'s business.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::http::extra::Extra;
use crate::http::limits::Limits;
use crate::peer::Trusted;

/// The port that is listened on unless another one is asked for.
pub const PORT: u16 = 7788;
/// The port on which tine says how it is, unless another one is asked for.
pub const ADMIN_PORT: u16 = 7789;

/// All settings. `None` is a default that depends on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The folder to serve.
    pub root: PathBuf,
    /// Where to listen.
    pub listen: Listen,
    /// Where tine says how it is.
    pub admin: AdminListen,
    /// How many worker processes; by default what the machine allows.
    pub workers: Option<NonZeroUsize>,
    /// Who serves; by default [`User::DEFAULT`] if tine is started as root.
    pub user: Option<User>,
    /// The file that stands in for missing pages, beneath the root.
    pub spa: Option<PathBuf>,
    /// What every answer says.
    pub extra: Extra,
    /// Whether `/livez` and `/readyz` tell how tine is.
    pub health: bool,
    /// Largest file that is held in memory, in bytes.
    pub memory_file_max: u64,
    /// Most memory for held files; by default [`MEMORY_MAX`], or less in a small container.
    pub memory_max: Option<u64>,
    /// Most files kept open; by default [`OPEN_FILES_MAX`], or less under a low descriptor limit.
    pub open_files_max: Option<usize>,
    /// Largest text that gets a gzip twin, in bytes; 0 for none.
    pub gzip_max: u64,
    /// Most files and directories of a site.
    pub files_max: usize,
    /// Most connections of each worker; by default [`CONNECTIONS_MAX`], or less under a low
    /// descriptor limit.
    pub connections_max: Option<usize>,
    /// What a connection may cost.
    pub limits: Limits,
    /// How long a process may miss its heartbeat before it is replaced.
    pub watchdog_timeout: Duration,
    /// How long newcomers are still taken once tine is told to stop.
    pub shutdown_delay: Duration,
    /// How long answers in flight may take once tine is told to stop.
    pub drain_timeout: Duration,
    /// Whether the kernel is asked to tell of changes in the folder.
    pub watch: bool,
    /// How long nothing must have changed in the folder before a reload.
    pub reload_debounce: Duration,
    /// How long until the folder is scanned although the kernel reported no change.
    pub rescan_interval: Duration,
    /// How long a file with a name made from its content is served after it was removed.
    pub keep_removed_assets: Duration,
    /// How long tine waits for a missing directory at the start.
    pub wait_for_root: Duration,
    /// How long a response of an older site may hold memory that the next site needs.
    pub old_response_timeout: Duration,
    /// How answers are logged; by default [`LogFormat::Text`] at a terminal, else
    /// [`LogFormat::Json`].
    pub log: Option<LogFormat>,
    /// Whose word about a client's address is believed.
    pub trusted_proxies: Trusted,
    /// Whether these begin each connection with that word.
    pub proxy_protocol: bool,
}

/// Default of [`Config::memory_max`] where there is enough, in bytes.
pub const MEMORY_MAX: u64 = 64 * 1024 * 1024;
/// The largest [`Config::memory_max`], in bytes: what an arena of several times that size can hold.
pub const MEMORY_MAX_MOST: u64 = 64 << 30;
/// Default of [`Config::open_files_max`] where there are enough descriptors.
pub const OPEN_FILES_MAX: usize = 1024;

/// Default of [`Config::connections_max`] where there are enough descriptors.
pub const CONNECTIONS_MAX: usize = 10_000;

/// Where tine says how it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminListen {
    /// Nowhere.
    Off,
    /// There, if nobody else does; nobody has asked for it.
    ByDefault(SocketAddr),
    /// There.
    On(SocketAddr),
}

impl AdminListen {
    /// On the loopback's address.
    pub const DEFAULT: Self =
        Self::ByDefault(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), ADMIN_PORT));

    /// Where that is, if it is anywhere.
    pub fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::ByDefault(address) | Self::On(address) => Some(address),
        }
    }
}

/// How answers are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// An object.
    Json,
    /// As Apache and nginx do.
    Combined,
    /// The lines of each request's head.
    Headers,
    /// Not at all.
    Off,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On this port of all addresses, of IPv4 alone where there is no IPv6.
    Everywhere(u16),
    /// On these addresses.
    On(Vec<SocketAddr>),
}

/// A user and a group, by number: a scratch image has no /etc/passwd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the system's own")]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

impl User {
    /// Nobody's number, as container images have come to use it.
    pub const DEFAULT: Self = Self { uid: 65532, gid: 65532 };
}

impl Default for Config {
    fn default() -> Self {
        Self {
            root: "html".into(),
            listen: Listen::Everywhere(PORT),
            admin: AdminListen::DEFAULT,
            workers: None,
            user: None,
            spa: None,
            extra: Extra::default(),
            health: true,
            memory_file_max: 1024 * 1024,
            memory_max: None,
            open_files_max: None,
            gzip_max: 8 * 1024 * 1024,
            files_max: 2_000_000,
            connections_max: None,
            limits: Limits::default(),
            watchdog_timeout: Duration::from_secs(10),
            shutdown_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(20),
            watch: true,
            reload_debounce: Duration::from_millis(100),
            rescan_interval: Duration::from_secs(30),
            keep_removed_assets: Duration::from_secs(60 * 60),
            wait_for_root: Duration::ZERO,
            old_response_timeout: Duration::from_secs(20),
            log: None,
            trusted_proxies: Trusted::default(),
            proxy_protocol: false,
        }
    }
}
