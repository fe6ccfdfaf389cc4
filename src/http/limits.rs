//! What one connection may cost, each limit with its name, its unit and its default.

use std::time::Duration;

/// The limits of a connection: `_max` are bytes unless the name says otherwise, the others time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest request target, in bytes; beyond it 414 (RFC 9112 §3 asks for 8,000 at least).
    pub target_max: usize,
    /// Longest head (request line and fields), in bytes; beyond it 431 (RFC 6585 §5).
    pub request_head_max: usize,
    /// Most headers in a head; beyond it 431.
    pub header_count_max: usize,
    /// Longest request body that is read and dropped to keep a connection, in bytes; beyond it 413.
    pub body_max: u64,
    /// Most ranges of one request that are answered; whoever asks for more gets the whole, which
    /// costs less than what that may be meant for (RFC 9110 §17.15).
    pub ranges_max: usize,
    /// From a request's first byte to its head's last.
    pub head_timeout: Duration,
    /// From a request's head to its body's last byte; also how long a closing connection lingers.
    pub body_timeout: Duration,
    /// From an answer to the next request's first byte.
    pub idle_timeout: Duration,
    /// Longest wait for a client that takes nothing, or next to nothing, of an answer.
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            target_max: 8 * 1024,
            request_head_max: 16 * 1024,
            header_count_max: 100,
            body_max: 64 * 1024,
            ranges_max: 16,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(60),
        }
    }
}
