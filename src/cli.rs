//! The command line and the environment, read into a [`Config`].

mod renamed;
mod settings;
mod values;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::time::Duration;

use lexopt::Arg;

use crate::config::{Config, Listen};
use crate::failure::Failure;

pub use settings::{SETTINGS, Setting};

/// What the user wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// To serve, after having been warned.
    Serve(Box<Config>, Vec<String>),
    /// To ask a running tine with these settings, within a time, whether it is ready.
    CheckHealth(Box<Config>, Duration),
    /// To be told something.
    Print(String),
}

/// Reads the arguments (without the program's name) and the environment; a flag wins over its
/// variable.
///
/// # Errors
/// The user's mistakes, each naming the setting and the mend.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Command, Failure> {
    let args: Vec<_> = args.into_iter().collect();
    let is_health_check = args.iter().any(|arg| arg == HEALTH_CHECK);
    let command = parse_arguments(args, env);
    // Docker reserves the exit code 2 of a health check.
    if is_health_check { command.map_err(Failure::into_run_time) } else { command }
}

fn parse_arguments(
    args: Vec<OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Command, Failure> {
    let mut args = lexopt::Parser::from_args(args);
    let mut flags = Vec::new();
    let mut root = None;
    let mut check = None;
    while let Some(arg) = args.next().map_err(mistake)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Print(help())),
            Arg::Short('V') | Arg::Long("version") => return Ok(Command::Print(version())),
            Arg::Long("timeout") if check.is_some() => {
                let value = text(args.value().map_err(mistake)?, "--timeout")?;
                let timeout = values::duration(&value);
                check = Some(
                    timeout
                        .map_err(|mend| Failure::user(format!("--timeout: {value:?} {mend}")))?,
                );
            }
            Arg::Long(name) => {
                let Some(setting) = SETTINGS.iter().find(|setting| setting.flag == name) else {
                    return Err(unknown_flag(name));
                };
                let value = match setting.implied {
                    Some(implied) => args.optional_value().unwrap_or_else(|| implied.into()),
                    None => args.value().map_err(mistake)?,
                };
                flags.push((setting, value));
            }
            Arg::Short(letter) => {
                return Err(Failure::user(format!("unknown flag -{letter}; see tine --help")));
            }
            Arg::Value(value) if value == HEALTH_CHECK && root.is_none() && check.is_none() => {
                check = Some(CHECK_TIMEOUT);
            }
            Arg::Value(_) if check.is_some() => {
                return Err(Failure::user("healthcheck takes no folder; it asks who serves one"));
            }
            Arg::Value(_) if root.is_some() => {
                return Err(Failure::user("more than one folder; tine serves one ROOT"));
            }
            Arg::Value(value) => root = Some(value),
        }
    }
    let mut config = Config::default();
    let Environment { warnings, port } = read_environment(env, &mut config)?;
    apply_flags(flags, &mut config)?;
    if let Some(root) = root {
        config.root = root.into();
    }
    if let (Listen::Everywhere(default), Some(port)) = (&mut config.listen, port) {
        let number = port.to_str().and_then(|text| text.parse().ok());
        *default = number.ok_or_else(|| {
            Failure::user(format!("PORT: {port:?} is not a port; write 0 to 65535"))
        })?;
    }
    if config.proxy_protocol && config.trusted_proxies.is_empty() {
        let mend = "name the proxies by --trusted-proxies, as 10.0.0.0/8";
        return Err(Failure::user(format!("--proxy-protocol: from nobody; {mend}")));
    }
    Ok(match check {
        Some(timeout) => Command::CheckHealth(Box::new(config), timeout),
        None => Command::Serve(Box::new(config), warnings),
    })
}

/// The command that asks a running tine whether it is ready.
const HEALTH_CHECK: &str = "healthcheck";

/// How long a health check takes at most, unless it is told.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// Flags in the order in which they were given. The first of several values replaces what the
/// environment said.
fn apply_flags(flags: Vec<(&Setting, OsString)>, config: &mut Config) -> Result<(), Failure> {
    let mut given = Vec::new();
    for (setting, value) in flags {
        let name = format!("--{}", setting.flag);
        if !given.contains(&setting.flag) {
            (setting.reset)(config);
            given.push(setting.flag);
        }
        apply(setting, &name, &text(value, &name)?, config)?;
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
fn mistake(error: lexopt::Error) -> Failure {
    Failure::user(format!("{error}; see tine --help"))
}

fn unknown_flag(name: &str) -> Failure {
    if let Some(new) = renamed::flag(name) {
        return Failure::user(format!("--{name} is now --{new}"));
    }
    let hint = nearest(name, SETTINGS.iter().map(|setting| setting.flag))
        .map_or_else(|| "see tine --help".to_owned(), |flag| format!("did you mean --{flag}?"));
    Failure::user(format!("unknown flag --{name}; {hint}"))
}

fn text(value: OsString, name: &str) -> Result<String, Failure> {
    value
        .into_string()
        .map_err(|value| Failure::user(format!("{name}: {} is not UTF-8", value.display())))
}

fn apply(setting: &Setting, name: &str, value: &str, config: &mut Config) -> Result<(), Failure> {
    (setting.set)(config, value).map_err(|mend| Failure::user(format!("{name}: {value:?} {mend}")))
}

/// What the environment says beside settings.
struct Environment {
    warnings: Vec<String>,
    /// The port that a platform wants to be listened on, if nobody says otherwise.
    port: Option<OsString>,
}

/// Takes the variables that are settings; warns of names that only look like one. An empty value
/// is none, as compose files and manifests write it.
fn read_environment(
    env: impl IntoIterator<Item = (OsString, OsString)>,
    config: &mut Config,
) -> Result<Environment, Failure> {
    let mut environment = Environment { warnings: Vec::new(), port: None };
    let mut variables: Vec<_> = env
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    variables.sort_unstable();
    for (name, value) in variables {
        if name == "PORT" {
            environment.port = Some(value);
        } else if name == "TINE_ROOT" {
            config.root = value.into();
        } else if let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == name) {
            let value = text(value, &name)?;
            for part in setting.parts(&value) {
                apply(setting, &name, part, config)?;
            }
        } else if let Some(new) = renamed::variable(&name) {
            return Err(Failure::user(format!("{name} is now {new}")));
        } else if name.starts_with("TINE_") && !is_service_link(&name) {
            environment.warnings.push(unknown_variable(&name));
        }
    }
    Ok(environment)
}

/// Kubernetes injects such names for a Service that is called tine.
fn is_service_link(name: &str) -> bool {
    name.starts_with("TINE_PORT") || name.starts_with("TINE_SERVICE")
}

fn unknown_variable(name: &str) -> String {
    let variables: Vec<_> = SETTINGS.iter().map(Setting::variable).collect();
    let known = variables.iter().map(String::as_str).chain(["TINE_ROOT"]);
    nearest(name, known).map_or_else(
        || format!("{name} is no setting; it is ignored"),
        |near| format!("{name} is no setting, {near} would be; it is ignored"),
    )
}

/// The name that differs in the fewest letters, if it is near at all.
fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    known
        .map(|candidate| (distance(name.as_bytes(), candidate.as_bytes()), candidate))
        .min()
        .filter(|&(distance, _)| distance <= name.len().div_ceil(3))
        .map(|(_, candidate)| candidate)
}

/// How many letters have to be put in, taken out or replaced (Levenshtein).
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn help() -> String {
    let mut help = String::from(
        "tine serves a folder over HTTP/1.1: tine [FLAGS] [ROOT]\n\
         ROOT is the folder (html). Each flag is a variable too: --idle-timeout is\n\
         TINE_IDLE_TIMEOUT, ROOT is TINE_ROOT. Sizes: 64KiB, 8MiB. Durations: 75s, 500ms.\n\
         tine healthcheck [--timeout 3s] asks a running one, by the same variables.\n",
    );
    for setting in SETTINGS.iter().filter(|setting| !setting.is_limit) {
        let Setting { meaning, default, .. } = setting;
        let usage = setting.usage();
        writeln!(help, "  {usage:<22}  {meaning} ({default})").expect("a String takes all");
    }
    help.push_str("Limits and times, each with its default; the README says what they mean:\n");
    let limits = SETTINGS.iter().filter(|setting| setting.is_limit);
    let limits = limits.map(|setting| format!("--{} {}", setting.flag, setting.default));
    for row in limits.collect::<Vec<_>>().chunks(3) {
        let row: String = row.iter().map(|limit| format!("  {limit:<24}")).collect();
        writeln!(help, "{}", row.trim_end()).expect("a String takes all");
    }
    help.push_str(
        "-h, --help; -V, --version\n\
         Exit codes: 0 done, 1 failed at run time or not ready, 2 usage or configuration.\n",
    );
    help
}

fn version() -> String {
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    let linking = if cfg!(target_feature = "crt-static") { "static" } else { "dynamic" };
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let arch = std::env::consts::ARCH;
    format!("{name} {version} ({arch}-linux-{libc}, {linking}, {profile})\n")
}

#[cfg(test)]
mod tests;
