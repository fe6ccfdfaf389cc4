//! The lines of one worker on their way to the log: gathered for a turn, and written by its loop.

use std::net::IpAddr;

use crate::config::LogFormat;
use crate::http::request::Request;
use crate::peer::Trusted;
use crate::scoreboard::{Counter, Slot};

use super::line::Page;
use super::{LINE_MAX, Line, Record, Stamp, Style};

/// Most that is gathered, in bytes; lines beyond it are lost.
const PENDING_MAX: usize = 256 * 1024;

/// What is to be logged of a worker's answers.
#[derive(Debug)]
pub struct Ledger {
    style: Style,
    /// The process whose lines these are.
    pid: i32,
    /// The generation of the last line, and that and the process as objects have them.
    origin: (u64, String),
    /// The client of the last line, who is often that of the next.
    client: (IpAddr, String),
    /// Whose word about a client's address is believed.
    trusted: Trusted,
    stamp: Stamp,
    /// Whole lines.
    pending: Vec<u8>,
    /// How much of them is written, in bytes.
    written: usize,
    /// A record to be used again, so that none has to be allocated.
    spare: Record,
}

impl Ledger {
    /// A ledger with nothing in it.
    pub fn new(style: Style, pid: i32, trusted: Trusted) -> Self {
        let (stamp, pending, spare) = (Stamp::new(0), Vec::new(), Record::default());
        let origin = (0, origin(0, pid));
        let client = (spare.client, spare.client.to_string());
        Self { style, pid, origin, client, trusted, stamp, pending, written: 0, spare }
    }

    /// A ledger that nothing is written to.
    pub fn off() -> Self {
        let style = Style { format: LogFormat::Off, has_colours: false };
        Self::new(style, 0, Trusted::default())
    }

    fn is_off(&self) -> bool {
        self.style.format == LogFormat::Off
    }

    /// Takes a request down that came over a connection from `peer`; none if nothing is logged.
    pub fn record(&mut self, request: &Request<'_, '_>, peer: IpAddr) -> Option<Record> {
        if self.is_off() {
            return None;
        }
        let mut record = std::mem::take(&mut self.spare);
        record.client = self.trusted.client_of(request, peer);
        record.read(request, self.style.format);
        Some(record)
    }

    /// Takes down what was not understood.
    pub fn record_unknown(&mut self, bytes: &[u8], peer: IpAddr) -> Option<Record> {
        if self.is_off() {
            return None;
        }
        let mut record = std::mem::take(&mut self.spare);
        record.client = peer;
        record.read_unknown(bytes);
        Some(record)
    }

    /// Adds a line.
    pub fn write(&mut self, line: &Line<'_>, slot: Slot<'_>) {
        if self.len() + LINE_MAX > PENDING_MAX {
            slot.add(Counter::LostLines, 1);
            return;
        }
        if self.pending.len() + LINE_MAX > PENDING_MAX {
            self.pending.drain(..self.written);
            self.written = 0;
        }
        let second = line.millis / 1000;
        if !self.stamp.is_of(second) {
            self.stamp = Stamp::new(second);
        }
        if line.record.client != self.client.0 {
            self.client = (line.record.client, line.record.client.to_string());
        }
        if line.generation != self.origin.0 {
            self.origin = (line.generation, origin(line.generation, self.pid));
        }
        let Self { style, stamp, client: (_, client), origin: (_, origin), pending, .. } = self;
        line.write(*style, &Page { stamp, client, owner: origin }, pending);
    }

    /// Gives a record back.
    pub fn give_back(&mut self, record: Record) {
        self.spare = record;
    }

    /// What is not written.
    fn rest(&self) -> &[u8] {
        &self.pending[self.written..]
    }

    /// As many whole lines as fit `max` bytes, and one at least; nothing if there are none.
    pub fn chunk(&self, max: usize) -> &[u8] {
        let rest = self.rest();
        let most = &rest[..max.min(rest.len())];
        let end = most.iter().rposition(|&octet| octet == b'\n').map_or(0, |at| at + 1);
        &most[..end]
    }

    /// How much is gathered, in bytes.
    pub fn len(&self) -> usize {
        self.rest().len()
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// Takes note that the next `len` bytes were written.
    pub fn wrote(&mut self, len: usize) {
        self.written += len;
        if self.is_empty() {
            self.pending.clear();
            self.written = 0;
        }
    }

    /// Gives up what is gathered.
    pub fn lose(&mut self, slot: Slot<'_>) {
        let lines = self.rest().iter().filter(|&&octet| octet == b'\n').count();
        slot.add(Counter::LostLines, lines as u64);
        self.pending.clear();
        self.written = 0;
    }
}

/// A generation and a process, as an object has them.
fn origin(generation: u64, pid: i32) -> String {
    format!("\"generation\":{generation},\"worker\":{pid}")
}
