//! What a line says of a request. It is taken down when the head is read, since the head is gone
//! when the answer is done.

use std::net::{IpAddr, Ipv4Addr};

use crate::config::LogFormat;
use crate::http::request::Request;

use super::text::{fit_octets, is_plain};

/// Most of each text that a line has, in bytes as escaped; together they leave room for the rest.
const METHOD_MAX: usize = 64;
const TARGET_MAX: usize = 1500;
const PROTOCOL_MAX: usize = 16;
const HOST_MAX: usize = 300;
const REFERRER_MAX: usize = 900;
const AGENT_MAX: usize = 700;
/// Most of a head that a record of head lines has, likewise.
const HEAD_MAX: usize = 3600;
/// Most of a request that was not understood.
const UNKNOWN_MAX: usize = 400;

/// The texts of a record, in their order.
const TEXTS: usize = 6;

/// A request, as far as its line needs it.
#[derive(Debug)]
pub struct Record {
    /// Who asked.
    pub client: IpAddr,
    octets: Vec<u8>,
    ends: [u16; TEXTS],
    /// Whether a text is cut, and ends in dots.
    pub(super) is_truncated: bool,
    /// Whether no text has anything that is escaped in any format.
    pub(super) is_plain: bool,
}

impl Default for Record {
    fn default() -> Self {
        let client = Ipv4Addr::UNSPECIFIED.into();
        let (octets, ends) = (Vec::new(), [0; TEXTS]);
        Self { client, octets, ends, is_truncated: false, is_plain: true }
    }
}

impl Record {
    /// Takes a request down, in place of what was there.
    pub(super) fn read(&mut self, request: &Request<'_, '_>, format: LogFormat) {
        self.clear();
        if format == LogFormat::Headers {
            self.push(0, request.head.trim_ascii_end(), HEAD_MAX);
            // Its lines are told apart by what is escaped.
            let lines_are_plain = self.head_lines().flatten().all(|&octet| is_plain(octet));
            self.is_plain = lines_are_plain;
            return;
        }
        let line = request.head.split(|&octet| octet == b'\r').next().unwrap_or_default();
        let mut words = line.splitn(3, |&octet| octet == b' ');
        let mut word = || words.next().unwrap_or_default();
        self.push(0, word(), METHOD_MAX);
        self.push(1, word(), TARGET_MAX);
        self.push(2, word(), PROTOCOL_MAX);
        let value = |name: &str| request.fields.first(name).unwrap_or_default();
        self.push(3, value("host"), HOST_MAX);
        self.push(4, value("referer"), REFERRER_MAX);
        self.push(5, value("user-agent"), AGENT_MAX);
    }

    /// Takes down what was not understood: its first line, in the target's place.
    pub(super) fn read_unknown(&mut self, bytes: &[u8]) {
        self.clear();
        let bytes = bytes.trim_ascii_start();
        let line =
            bytes.split(|&octet| octet == b'\r' || octet == b'\n').next().unwrap_or_default();
        self.push(1, line, UNKNOWN_MAX);
    }

    fn clear(&mut self) {
        self.octets.clear();
        self.ends = [0; TEXTS];
        self.is_truncated = false;
        self.is_plain = true;
    }

    fn push(&mut self, place: usize, text: &[u8], max: usize) {
        let fitted = fit_octets(text, max);
        self.is_plain &= fitted.iter().all(|&octet| is_plain(octet));
        self.octets.extend_from_slice(fitted);
        if fitted.len() < text.len() {
            self.is_truncated = true;
            self.octets.extend_from_slice(b"...");
        }
        let end = u16::try_from(self.octets.len()).unwrap_or(u16::MAX);
        self.ends[place..].fill(end);
    }

    fn text(&self, place: usize) -> &[u8] {
        let start = if place == 0 { 0 } else { usize::from(self.ends[place - 1]) };
        &self.octets[start..usize::from(self.ends[place])]
    }

    pub(super) fn method(&self) -> &[u8] {
        self.text(0)
    }

    pub(super) fn target(&self) -> &[u8] {
        self.text(1)
    }

    pub(super) fn protocol(&self) -> &[u8] {
        self.text(2)
    }

    pub(super) fn host(&self) -> &[u8] {
        self.text(3)
    }

    pub(super) fn referrer(&self) -> &[u8] {
        self.text(4)
    }

    pub(super) fn agent(&self) -> &[u8] {
        self.text(5)
    }

    /// The lines of the head.
    pub(super) fn head_lines(&self) -> impl Iterator<Item = &[u8]> {
        self.octets.split(|&octet| octet == b'\n').map(<[u8]>::trim_ascii_end)
    }
}
