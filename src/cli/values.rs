//! The values of settings, read from text; what cannot be read is answered with the mend.

use std::net::SocketAddr;
use std::path::{Component, Path};
use std::time::Duration;

use crate::config::{AdminListen, Config, Listen, LogFormat, User};
use crate::peer::Cidr;

/// The page of a site that has one only.
pub(super) const INDEX: &str = "index.html";

/// A path beneath the root; the root itself may be missing as yet, or another one tomorrow.
pub(super) fn spa(config: &mut Config, value: &str) -> Result<(), String> {
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

pub(super) fn listen(config: &mut Config, value: &str) -> Result<(), String> {
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

pub(super) fn admin(config: &mut Config, value: &str) -> Result<(), String> {
    config.admin = match value {
        "off" => AdminListen::Off,
        _ => AdminListen::On(value.parse().map_err(
            |_| "is not an address with a port; write 127.0.0.1:7789, [::]:7789 or off",
        )?),
    };
    Ok(())
}

pub(super) fn log(config: &mut Config, value: &str) -> Result<(), String> {
    config.log = Some(match value {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        "combined" => LogFormat::Combined,
        "headers" => LogFormat::Headers,
        "off" => LogFormat::Off,
        _ => return Err("is no format; write text, json, combined, headers or off".to_owned()),
    });
    Ok(())
}

pub(super) fn trusted_proxies(config: &mut Config, value: &str) -> Result<(), String> {
    let network = Cidr::parse(value)
        .ok_or("is not a network; write 10.0.0.0/8, fd00::/8 or an address, without host bits")?;
    config.trusted_proxies.add(network);
    Ok(())
}

pub(super) fn on_or_off(value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("is neither on nor off".to_owned()),
    }
}

pub(super) fn auto_or_off(value: &str) -> Result<bool, String> {
    match value {
        "auto" => Ok(true),
        "off" => Ok(false),
        _ => Err("is neither auto nor off".to_owned()),
    }
}

/// `UID` or `UID:GID`; a group that is not given has the user's number.
pub(super) fn user(value: &str) -> Option<User> {
    let (uid, gid) = value.split_once(':').unwrap_or((value, value));
    // The highest number means "no change" to setuid(2).
    let id = |text: &str| text.parse().ok().filter(|&id| id < u32::MAX);
    Some(User { uid: id(uid)?, gid: id(gid)? })
}

pub(super) fn count(value: &str) -> Result<usize, String> {
    value.parse().map_err(|_| "is not a number; write digits, such as 100".to_owned())
}

pub(super) fn positive_count(value: &str) -> Result<usize, String> {
    match count(value)? {
        0 => Err("would leave nothing to serve; write 1 or more".to_owned()),
        count => Ok(count),
    }
}

/// A heart beats once a second, and one that is listened to once a second may miss a beat.
pub(super) fn watchdog_timeout(value: &str) -> Result<Duration, String> {
    match duration(value)? {
        short if short < Duration::from_secs(3) => Err("is too short; write 3s or more".to_owned()),
        timeout => Ok(timeout),
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

/// The same, or `0s`.
pub(super) fn duration_or_none(value: &str) -> Result<Duration, String> {
    match humantime::parse_duration(value) {
        Ok(Duration::ZERO) => Ok(Duration::ZERO),
        _ => duration(value),
    }
}

/// Bytes, or a number with KiB, MiB or GiB behind it.
pub(super) fn size(value: &str) -> Result<u64, String> {
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

pub(super) fn positive_size(value: &str) -> Result<usize, String> {
    let size = usize::try_from(size(value)?).map_err(|_| "is too large".to_owned())?;
    if size == 0 { Err("would refuse everything; write 1 or more".to_owned()) } else { Ok(size) }
}
