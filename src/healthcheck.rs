//! Asks a running tine whether it is ready, for a container's HEALTHCHECK: the image has no other
//! program that could.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::config::{AdminListen, Config, Listen};
use crate::failure::Failure;

/// Most of an answer that is read, in bytes.
const ANSWER_MAX: usize = 4096;

/// Asks where tine says how it is by these settings, and if nobody answers there where it serves,
/// within a time in all; the first address that is ready will do. Where it says so only by default,
/// another tine may have that port: if this one serves elsewhere than by default, somebody has to
/// listen there, too.
///
/// # Errors
/// Why no address is ready, as one line.
pub fn ask(config: &Config, timeout: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + timeout;
    let mut failures = Vec::new();
    let admin = config.admin.address().map_or(vec![], |address| addresses(&[address]));
    let serving = match &config.listen {
        Listen::Everywhere(port) => addresses(&[SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port))]),
        Listen::On(listen) => addresses(listen),
    };
    let is_doubtful = matches!(config.admin, AdminListen::ByDefault(_))
        && config.listen != Config::default().listen;
    let asked = admin.into_iter().map(|address| (address, READY, true));
    let asked = asked.chain(serving.iter().map(|&at| (at, question(config.health), false)));
    for (address, question, is_admin) in asked {
        // If that hangs, there is time left to ask the others.
        let deadline = if is_admin { deadline - timeout / 2 } else { deadline };
        match exchange(address, question, deadline) {
            Ok((status, _)) if status.starts_with('2') && is_admin && is_doubtful => {
                let is_there = |at: &&SocketAddr| {
                    left(deadline).is_ok_and(|left| TcpStream::connect_timeout(at, left).is_ok())
                };
                if serving.iter().any(|at| is_there(&at)) {
                    return Ok(());
                }
            }
            Ok((status, _)) if status.starts_with('2') => return Ok(()),
            Ok((status, reason)) => {
                let reason = reason.map_or(String::new(), |reason| format!(" ({reason})"));
                failures.push(format!("{address} says {status}{reason}"));
                // Who knows has said it; where it serves no more is known.
                if is_admin && status.starts_with("503") {
                    break;
                }
            }
            // Mostly there is no such address, and then it is no failure.
            Err(error) if is_admin && error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => failures.push(format!("{address}: {error}")),
        }
    }
    Err(Failure::system(format!("not ready: {}", failures.join("; "))))
}

/// Asks whether it is ready.
const READY: &str = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Where these are, as seen from this machine: what takes all addresses takes the loopback's.
fn addresses(listen: &[SocketAddr]) -> Vec<SocketAddr> {
    let loopback = |port: u16| {
        let addresses: [IpAddr; 2] = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        addresses.map(|address| SocketAddr::new(address, port))
    };
    listen
        .iter()
        .flat_map(|address| match address.ip() {
            IpAddr::V6(ip) if ip.is_unspecified() => loopback(address.port()).to_vec(),
            IpAddr::V4(ip) if ip.is_unspecified() => loopback(address.port())[1..].to_vec(),
            _ => vec![*address],
        })
        .collect()
}

/// Where there is no answer about health, any answer at all has to do.
fn question(has_health: bool) -> &'static str {
    if has_health {
        READY
    } else {
        "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    }
}

/// How long it is until then.
fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// Asks, and returns the status with its phrase, and the first line of a text that says more.
fn exchange(
    address: SocketAddr,
    question: &str,
    deadline: Instant,
) -> io::Result<(String, Option<String>)> {
    let mut stream = TcpStream::connect_timeout(&address, left(deadline)?)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(question.as_bytes())?;
    // To its end, so that closing resets nothing.
    let mut answer = Vec::new();
    let mut buffer = [0; 512];
    while answer.len() < ANSWER_MAX {
        stream.set_read_timeout(Some(left(deadline)?))?;
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
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split("\r\n").next());
    let status = status.ok_or_else(|| io::Error::other("what answers is not tine"))?;
    let reason = body.lines().next().filter(|_| head.contains("text/plain"));
    Ok((status.to_owned(), reason.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_where_a_server_with_the_same_settings_listens() {
        let of = |texts: &[&str]| {
            let listen: Vec<_> = texts.iter().map(|text| text.parse().unwrap()).collect();
            addresses(&listen).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(&["[::]:1"]), "[::1]:1 127.0.0.1:1");
        assert_eq!(of(&["0.0.0.0:1"]), "127.0.0.1:1");
        assert_eq!(of(&["10.0.0.7:1", "[fd00::7]:2"]), "10.0.0.7:1 [fd00::7]:2");
    }
}
