//! Half-open connections: the SYN is answered, the ACK has not come. A listener's queue does not
//! show them; the kernel's table of connections does.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;

/// The state of such a connection in the table (proc(5), `/proc/net/tcp`).
const SYN_RECV: &str = "03";

/// Whether one of these listeners has half-open connections; `None` if the system does not say.
pub(super) fn are_half_open(listeners: &[TcpListener]) -> Option<bool> {
    let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok());
    let ports: Vec<u16> = addresses.map(|address| address.port()).collect();
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    let mut known = tables.iter().filter_map(|table| File::open(table).ok()).peekable();
    known.peek()?;
    let mut lines = known.flat_map(|table| BufReader::new(table).lines().map_while(Result::ok));
    Some(lines.any(|line| half_open_port(&line).is_some_and(|port| ports.contains(&port))))
}

/// The local port of a line of the table that is a half-open connection.
fn half_open_port(line: &str) -> Option<u16> {
    let mut columns = line.split_ascii_whitespace().skip(1);
    let (local, state) = (columns.next()?, columns.nth(1)?);
    let (_, port) = local.split_once(':')?;
    u16::from_str_radix(port, 16).ok().filter(|_| state == SYN_RECV)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_a_half_open_connection_has_its_port() {
        let v4 = "   2: 0100007F:1E6C 0100007F:A3F2 03 00000000:00000000 01:00000063 00000000";
        let v6 = "   0: 0000000000000000FFFF00000100007F:1E6C \
                  00000000000000000000000000000000:A3F2 03 00000000:00000000 01:00000063";
        assert_eq!([v4, v6].map(half_open_port), [Some(7788), Some(7788)]);
        let established = v4.replace(" 03 ", " 01 ");
        let title = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt";
        assert_eq!([&established, title, ""].map(half_open_port), [None; 3]);
    }
}
