//! A connection on its way from one process to another, as bytes: the little state that it has, and
//! what was read of its next request. Its descriptor travels beside them.

use std::net::IpAddr;
use std::time::Duration;

use super::Awaited;

/// What a connection is, when it has nothing to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handed<'b> {
    /// The generation that hands it over: no earlier one may serve it.
    pub generation: u64,
    pub(super) awaited: Awaited,
    /// How long it may still take.
    pub(super) left: Duration,
    /// Who is at its other end.
    pub(super) peer: IpAddr,
    /// What was read and not answered.
    pub(super) kept: &'b [u8],
}

impl<'b> Handed<'b> {
    /// The message, in place of what `out` holds.
    pub fn write(&self, out: &mut Vec<u8>) {
        let left = u64::try_from(self.left.as_millis()).unwrap_or(u64::MAX);
        out.clear();
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&left.to_le_bytes());
        out.push(match self.awaited {
            Awaited::First => 0,
            Awaited::Rest => 1,
            Awaited::Next => 2,
            Awaited::Preface => 3,
        });
        let peer = match self.peer {
            IpAddr::V4(peer) => peer.to_ipv6_mapped(),
            IpAddr::V6(peer) => peer,
        };
        out.extend_from_slice(&peer.octets());
        out.extend_from_slice(self.kept);
    }

    /// Reads a message; none if it is not one.
    pub fn read(message: &'b [u8]) -> Option<Self> {
        let (generation, rest) = message.split_first_chunk()?;
        let (left, rest) = rest.split_first_chunk()?;
        let (awaited, rest) = rest.split_first()?;
        let (peer, kept) = rest.split_first_chunk::<16>()?;
        let awaited = match awaited {
            0 => Awaited::First,
            1 => Awaited::Rest,
            2 => Awaited::Next,
            3 => Awaited::Preface,
            _ => return None,
        };
        let left = Duration::from_millis(u64::from_le_bytes(*left));
        let peer = IpAddr::from(*peer).to_canonical();
        Some(Self { generation: u64::from_le_bytes(*generation), awaited, left, peer, kept })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut message = b"what was there before".to_vec();
        for awaited in [Awaited::First, Awaited::Rest, Awaited::Next, Awaited::Preface] {
            for peer in ["192.0.2.7", "2001:db8::7"] {
                let peer = peer.parse().unwrap();
                let (generation, left) = (u64::MAX - 7, Duration::from_millis(74_321));
                let handed = Handed { generation, awaited, left, peer, kept: b"GET / HT" };
                handed.write(&mut message);
                assert_eq!(Handed::read(&message), Some(handed));
            }
        }
        message.truncate(32);
        assert_eq!(Handed::read(&message), None);
    }
}
