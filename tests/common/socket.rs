//! A virtual socket with a connection on it.
#![allow(dead_code, reason = "each of the tests that share this uses a part of it")]

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant, UNIX_EPOCH};

use nix::sys::stat::fstat;
use nix::sys::uio::pread;
use tine::conn::{Conn, DiskRequest, Mode, SiteSource, Subject, Turn, Want};
use tine::control::publication::Reader;
use tine::host::open_files::OpenFiles;
use tine::http::head::Endings;
use tine::http::limits::Limits;
use tine::log::Ledger;
use tine::response::Outgoing;

use crate::site::CompiledSite;

/// What a connection waits for, as seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Reading,
    Sending,
    Closed,
}

/// A connection with all that it needs.
pub struct Sim<'s> {
    conn: Conn,
    desk: Desk<'s>,
    inbox: VecDeque<u8>,
    has_ended: bool,
    pub has_finished: bool,
    pub sent: Vec<u8>,
}

/// What its process has.
struct Desk<'s> {
    site: &'s CompiledSite,
    limits: &'s Limits,
    reader: Reader<'static>,
    files: OpenFiles,
    disk: DiskRequest,
    wants_reload: bool,
    now: Instant,
    endings: Endings,
    mode: Mode,
    spare: Vec<u8>,
    ledger: Ledger,
}

impl Desk<'_> {
    fn turn(&mut self) -> Turn<'_> {
        let Self { site, limits, reader, files, disk, wants_reload, .. } = self;
        let board = site.board();
        let source = SiteSource { reader, files, disk, wants_reload, board };
        Turn {
            subject: Subject::Site(source),
            view: site.view(),
            limits,
            now: self.now,
            millis: 0,
            endings: &self.endings,
            mode: self.mode,
            slot: site.slot(),
            spare: &mut self.spare,
            ledger: &mut self.ledger,
        }
    }
}

impl<'s> Sim<'s> {
    pub fn new(site: &'s CompiledSite, limits: &'s Limits) -> Self {
        let mut desk = Desk {
            site,
            limits,
            reader: site.reader(),
            files: site.files(),
            disk: DiskRequest::default(),
            wants_reload: false,
            now: Instant::now(),
            endings: Endings::new(&site.extra, UNIX_EPOCH + Duration::from_secs(2_000_000_000)),
            mode: Mode::Serving,
            spare: Vec::new(),
            ledger: Ledger::off(),
        };
        let conn = Conn::new(Ipv4Addr::LOCALHOST.into(), false, &desk.turn());
        let (inbox, sent) = (VecDeque::new(), Vec::new());
        Self { conn, desk, inbox, has_ended: false, has_finished: false, sent }
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
        self.desk.mode = Mode::Draining;
        self.conn.drain(self.desk.now);
    }

    /// Time goes by; whatever falls due in it happens at its time or, as when a process was
    /// stopped, later.
    pub fn pass(&mut self, time: Duration) {
        self.desk.now += time;
        if self.state() != State::Closed && self.conn.deadline() <= self.desk.now {
            self.with_turn(Conn::expired);
        }
    }

    pub fn state(&self) -> State {
        match self.conn.want(self.desk.site.view()) {
            Want::Read | Want::Wait => State::Reading,
            Want::Send(_) | Want::Finish => State::Sending,
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
        match self.conn.want(self.desk.site.view()) {
            Want::Close | Want::Wait => false,
            Want::Read => self.read(share),
            Want::Send(_) => self.send(share),
            Want::Finish => {
                assert!(!self.has_finished, "the end was said twice");
                self.has_finished = true;
                self.with_turn(|conn, turn| conn.finished(turn));
                true
            }
        }
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
        let view = self.desk.site.view();
        let Want::Send(outgoing) = self.conn.want(view) else { unreachable!() };
        let bytes: Vec<u8> = match outgoing {
            Outgoing::Bytes(slices, _) => {
                slices.iter().flat_map(|s: &IoSlice| s.to_vec()).collect()
            }
            Outgoing::Arena(extent, _) => view.bytes(extent.offset, extent.len).unwrap().to_vec(),
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

    fn with_turn(&mut self, act: impl FnOnce(&mut Conn, &mut Turn<'_>)) {
        act(&mut self.conn, &mut self.desk.turn());
    }
}
