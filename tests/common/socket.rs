//! A virtual socket with a connection on it.
#![allow(dead_code, reason = "each of the tests that share this uses a part of it")]

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, UNIX_EPOCH};

use nix::sys::stat::fstat;
use nix::sys::uio::pread;
use tine::board::{Board, Row};
use tine::conn::{Conn, Mode, Subject, Turn, Want};
use tine::http::head::Endings;
use tine::http::limits::Limits;
use tine::log::Ledger;
use tine::response::Outgoing;
use tine::site::Site;

/// What a connection waits for, as seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Reading,
    Sending,
    Closed,
}

pub struct Sim<'s> {
    site: &'s Site,
    limits: &'s Limits,
    conn: Conn<'s>,
    now: Instant,
    endings: Endings,
    mode: Mode,
    words: Vec<AtomicU64>,
    spare: Vec<u8>,
    ledger: Ledger,
    inbox: VecDeque<u8>,
    has_ended: bool,
    pub has_finished: bool,
    pub sent: Vec<u8>,
}

impl<'s> Sim<'s> {
    pub fn new(site: &'s Site, limits: &'s Limits) -> Self {
        let now = Instant::now();
        let endings = Endings::new(site.extra(), UNIX_EPOCH + Duration::from_secs(2_000_000_000));
        let mut spare = Vec::new();
        let words: Vec<_> = (0..Board::words(1)).map(|_| AtomicU64::new(0)).collect();
        let mode = Mode::Serving;
        let row = row(&words);
        let mut ledger = Ledger::off();
        let turn = Turn {
            subject: Subject::Site(site),
            limits,
            now,
            millis: 0,
            endings: &endings,
            mode,
            term: None,
            row,
            spare: &mut spare,
            ledger: &mut ledger,
        };
        let conn = Conn::new(Ipv4Addr::LOCALHOST.into(), false, &turn);
        Self {
            site,
            limits,
            conn,
            now,
            endings,
            mode,
            words,
            spare,
            ledger,
            inbox: VecDeque::new(),
            has_ended: false,
            has_finished: false,
            sent: Vec::new(),
        }
    }

    /// Bytes arrive at the socket.
    pub fn deliver(&mut self, bytes: &[u8]) {
        self.inbox.extend(bytes);
    }

    /// The client sends no more.
    pub fn end_of_input(&mut self) {
        self.has_ended = true;
    }

    pub fn drain(&mut self) {
        self.mode = Mode::Draining;
        self.conn.drain(self.now);
    }

    /// Time goes by; whatever falls due in it happens at its time or, as when a process was
    /// stopped, later.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.state() != State::Closed && self.conn.deadline() <= self.now {
            self.with_turn(Conn::expired);
        }
    }

    pub fn state(&self) -> State {
        match self.conn.want() {
            Want::Read | Want::Wait => State::Reading,
            Want::Open(_) | Want::Send(_) | Want::Finish => State::Sending,
            Want::Close => State::Closed,
        }
    }

    /// Does all that can be done; `share` says how many of the bytes at hand go at once.
    pub fn run(&mut self, share: &mut dyn FnMut(usize) -> usize) {
        self.run_while(share);
        assert_ne!(self.state(), State::Sending, "the socket takes all that is sent");
    }

    /// The same, until `share` says that the socket takes or gives nothing for now.
    pub fn run_while(&mut self, share: &mut dyn FnMut(usize) -> usize) {
        while self.step(share) {}
    }

    fn step(&mut self, share: &mut dyn FnMut(usize) -> usize) -> bool {
        let opened = match self.conn.want() {
            Want::Close | Want::Wait => return false,
            Want::Read => return self.read(share),
            Want::Send(_) => return self.send(share),
            Want::Finish => {
                assert!(!self.has_finished, "the end was said twice");
                self.has_finished = true;
                self.with_turn(|conn, turn| conn.finished(turn));
                return true;
            }
            Want::Open(large) => self.site.open(large),
        };
        self.with_turn(|conn, turn| conn.opened(opened, turn));
        true
    }

    fn read(&mut self, share: &mut dyn FnMut(usize) -> usize) -> bool {
        if self.inbox.is_empty() {
            if self.has_ended {
                self.conn.ended();
            }
            return self.has_ended;
        }
        let len = share(self.inbox.len());
        let input: Vec<u8> = self.inbox.drain(..len).collect();
        if len > 0 {
            self.with_turn(|conn, turn| conn.received(&input, turn));
        }
        len > 0
    }

    fn send(&mut self, share: &mut dyn FnMut(usize) -> usize) -> bool {
        assert!(!self.has_finished, "something is sent behind the end");
        let Want::Send(outgoing) = self.conn.want() else { unreachable!() };
        let bytes: Vec<u8> = match outgoing {
            Outgoing::Bytes(slices, _) => {
                slices.iter().flat_map(|s: &IoSlice| s.to_vec()).collect()
            }
            Outgoing::File(slice) => {
                let mut bytes = vec![0; usize::try_from(slice.len).unwrap()];
                let at = i64::try_from(slice.at).unwrap();
                let len = pread(slice.file.as_fd(), &mut bytes, at).unwrap();
                assert_eq!(len, bytes.len());
                let is_whole = slice.len == fstat(slice.file).unwrap().st_size as u64;
                assert!(!is_whole || slice.unless_changed_from.is_some(), "it is not checked");
                bytes
            }
        };
        assert!(!bytes.is_empty(), "nothing is to be sent");
        let len = share(bytes.len());
        self.sent.extend_from_slice(&bytes[..len]);
        if len > 0 {
            self.with_turn(|conn, turn| conn.sent(len, turn.now, turn));
        }
        len > 0
    }

    fn with_turn(&mut self, act: impl FnOnce(&mut Conn<'s>, &mut Turn<'_, 's>)) {
        let Self { site, limits, now, endings, mode, words, spare, ledger, conn, .. } = self;
        let (subject, millis, row) = (Subject::Site(site), 0, row(words));
        let (now, mode) = (*now, *mode);
        let term = None;
        let mut turn =
            Turn { subject, limits, now, millis, endings, mode, term, row, spare, ledger };
        act(conn, &mut turn);
    }
}

/// The only row of a board.
fn row(words: &[AtomicU64]) -> Row<'_> {
    Board::new(words).rows().next().unwrap()
}
