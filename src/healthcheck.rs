//! Asks a running tine whether it is ready, for a container's HEALTHCHECK: the image has no other
//! program that could.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::config::{Config, Listen};
use crate::failure::Failure;

/// Most of an answer that is read, in bytes.
const ANSWER_MAX: usize = 4096;

/// Asks where tine listens by these settings, within a time in all; the first address that is ready
/// will do.
///
/// # Errors
/// Why no address is ready, as one line.
pub fn ask(config: &Config, timeout: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + timeout;
    let mut failures = Vec::new();
    for address in addresses(&config.listen) {
        match exchange(address, question(config.health), deadline) {
            Ok(status) if status.starts_with('2') => return Ok(()),
            Ok(status) => failures.push(format!("{address} says {status}")),
            Err(error) => failures.push(format!("{address}: {error}")),
        }
    }
    Err(Failure::unready(format!("not ready: {}", failures.join("; "))))
}

/// Where that is, as seen from this machine: what takes all addresses takes the loopback's.
fn addresses(listen: &Listen) -> Vec<SocketAddr> {
    let loopback = |port: u16| {
        let addresses: [IpAddr; 2] = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        addresses.map(|address| SocketAddr::new(address, port))
    };
    match listen {
        Listen::Everywhere(port) => loopback(*port).into(),
        Listen::On(addresses) => addresses
            .iter()
            .flat_map(|address| match address.ip() {
                IpAddr::V6(ip) if ip.is_unspecified() => loopback(address.port()).to_vec(),
                IpAddr::V4(ip) if ip.is_unspecified() => loopback(address.port())[1..].to_vec(),
                _ => vec![*address],
            })
            .collect(),
    }
}

/// Where there is no answer about health, any answer at all has to do.
fn question(has_health: bool) -> &'static str {
    if has_health {
        "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    } else {
        "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    }
}

/// Asks, and returns the status with its reason.
fn exchange(address: SocketAddr, question: &str, deadline: Instant) -> io::Result<String> {
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(question.as_bytes())?;
    // To its end, so that closing resets nothing.
    let mut answer = Vec::new();
    let mut buffer = [0; 512];
    while answer.len() < ANSWER_MAX {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => answer.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split("\r\n").next());
    status.map(str::to_owned).ok_or_else(|| io::Error::other("what answers is not tine"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_where_a_server_with_the_same_settings_listens() {
        let of = |listen: &Listen| {
            addresses(listen).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        let on =
            |texts: &[&str]| Listen::On(texts.iter().map(|text| text.parse().unwrap()).collect());
        assert_eq!(of(&Listen::Everywhere(80)), "[::1]:80 127.0.0.1:80");
        assert_eq!(of(&on(&["[::]:1"])), "[::1]:1 127.0.0.1:1");
        assert_eq!(of(&on(&["0.0.0.0:1"])), "127.0.0.1:1");
        assert_eq!(of(&on(&["10.0.0.7:1", "[fd00::7]:2"])), "10.0.0.7:1 [fd00::7]:2");
    }
}
