//! A connection on its way from one process to another, as bytes: the little state that it has, and
//! what was read of its next request. Its descriptor travels beside them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Awaited, Conn, State, Turn};

/// Most bytes of a connection that are handed over with it: a message has room for 64 KiB.
const KEPT_MAX: usize = 60 * 1024;

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

impl<'s> Conn<'s> {
    /// A connection that was handed over. What it has brought is read by [`Conn::resume`].
    pub fn adopted(handed: Handed<'_>, turn: &Turn<'_, 's>) -> Self {
        let Handed { awaited, left, peer, kept, .. } = handed;
        let mut conn = Self::waiting(awaited, turn.now + left, peer, turn);
        conn.kept.push(kept);
        conn
    }

    /// What is to be handed over of it; none while it cannot be.
    pub fn handed(&self, generation: u64, now: Instant) -> Option<Handed<'_>> {
        let State::Waiting(awaited) = self.state else { return None };
        let left = self.deadline.saturating_duration_since(now);
        let (peer, kept) = (self.peer, self.kept.bytes());
        self.can_go_over().then_some(Handed { generation, awaited, left, peer, kept })
    }

    /// Keeps bytes that were read for another generation to answer, if it can have them: false
    /// while there is something to send, in the middle of a body, or if that is too much.
    pub fn keep(&mut self, input: &[u8]) -> bool {
        let is_kept = self.can_go_over() && self.kept.bytes().len() + input.len() <= KEPT_MAX;
        if is_kept {
            self.kept.push(input);
        }
        is_kept
    }

    /// Whether there are bytes that were read and not answered, and can be handed over.
    pub fn has_to_carry(&self) -> bool {
        !self.kept.is_empty() && self.can_go_over()
    }

    /// Whether it can be handed over: not while it has something to send, is in the middle of a
    /// body, or has too much to carry.
    pub(super) fn can_go_over(&self) -> bool {
        matches!(self.state, State::Waiting(_)) && self.kept.bytes().len() <= KEPT_MAX
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
