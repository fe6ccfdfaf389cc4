//! Starts tine and talks to it. Nothing here sleeps: what is waited for has a deadline.
#![allow(dead_code, unused_imports, reason = "each of the tests that share this uses a part of it")]

#[path = "family.rs"]
mod family;
#[path = "folder.rs"]
mod folder;
#[path = "waiting.rs"]
mod waiting;

use std::fs;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_tine");

/// The answer to a missing file.
pub const MISSING: &[u8] = b"<h1>sorry,file not found</h1>";

pub use self::family::{children, children_named, name};
pub use self::folder::Folder;
pub use self::waiting::{Over, PATIENCE, pass, until, within};

/// A running tine.
pub struct Tine {
    child: Child,
    pub address: SocketAddr,
    /// Where it says how it is; that is nowhere by default.
    pub admin: Option<SocketAddr>,
    /// What it logs of answers, if that is listened to.
    pub answers: Option<Receiver<String>>,
    /// What it says, line by line.
    said: Receiver<String>,
    /// What it said before it served.
    pub warnings: Vec<String>,
    pub start_line: String,
}

impl Tine {
    /// Serves a folder on a free port of 127.0.0.1.
    pub fn serve(folder: &Folder, args: &[&str]) -> Self {
        Self::start(command(folder.path()).args(["--listen", "127.0.0.1:0"]).args(args))
    }

    /// Starts a command and waits until it serves all that it makes of the files.
    pub fn start(command: &mut Command) -> Self {
        let tine = Self::begin(command);
        tine.settle();
        tine
    }

    /// Starts a command and waits until it serves.
    pub fn begin(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let said = lines_of(child.stderr.take().unwrap());
        let mut tine = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: None,
            answers: child.stdout.take().map(lines_of),
            child,
            said,
            warnings: Vec::new(),
            start_line: String::new(),
        };
        (tine.warnings, tine.start_line) = tine.lines_until(" ready in ");
        let mut addresses = tine.start_line.split("http://").skip(1).map(|url| {
            let authority = url.split_once('/').expect("a path").0;
            authority.replace("localhost", "127.0.0.1").parse().unwrap()
        });
        tine.address = addresses.next().expect("a URL");
        let is_told = tine.start_line.contains("status page on");
        tine.admin = addresses.last().filter(|_| is_told);
        tine
    }

    /// The next line that is logged of an answer.
    pub fn logged(&self) -> String {
        self.answers.as_ref().unwrap().recv_timeout(PATIENCE).expect("a line")
    }

    /// Asks how it is.
    pub fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut client = Client::connect(self.admin.expect("an admin"));
        client.send(request);
        client.answer()
    }

    /// Waits until all that is made of the files is published.
    fn settle(&self) {
        self.wait_for_line(" is complete with ");
    }

    /// The next line that contains `text`.
    pub fn wait_for_line(&self, text: &str) -> String {
        self.lines_until(text).1
    }

    /// The lines before the next one that contains `text`, and that one.
    fn lines_until(&self, text: &str) -> (Vec<String>, String) {
        let deadline = Instant::now() + PATIENCE;
        let mut before = Vec::new();
        loop {
            match self.said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(text) => return (before, line),
                Ok(line) => before.push(line),
                Err(error) => panic!("no line with {text:?} ({error}), but {before:?}"),
            }
        }
    }

    /// All lines until everybody has closed standard error, which is when the last process ends.
    pub fn rest_of_lines(&self) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = Vec::new();
        loop {
            match self.said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return lines,
                Err(RecvTimeoutError::Timeout) => panic!("a process is left over; said {lines:?}"),
            }
        }
    }

    pub fn master(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// The master's child of that name.
    pub fn child(&self, name: &str) -> Pid {
        until(name, || children_named(self.master(), name).first().copied())
    }

    pub fn compiler(&self) -> Pid {
        self.child("tine-compiler")
    }

    pub fn workers(&self) -> Vec<Pid> {
        children_named(self.master(), "tine-worker")
    }

    /// The master and its children.
    pub fn everybody(&self) -> Vec<Pid> {
        [vec![self.master()], children(self.master())].concat()
    }

    /// KiB of all processes, what they share counted once.
    pub fn memory(&self) -> u64 {
        let of = |pid: Pid| -> Option<u64> {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.split_whitespace().next()?.parse().ok()
        };
        // One of them may just have died.
        until("all are there", || self.everybody().into_iter().map(of).sum())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.master(), signal).unwrap();
    }

    /// Waits for the master's end.
    pub fn wait(&mut self) -> ExitStatus {
        until("tine ends", || self.child.try_wait().unwrap())
    }

    /// Waits for everybody's end, of which nothing may be said but the last line; its totals.
    pub fn ends_well(&mut self) -> Totals {
        assert_eq!(self.wait().code(), Some(0));
        let lines = self.rest_of_lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("tine: told to stop: "), "{lines:?}");
        Totals::read(&lines[1])
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Asks on a connection of its own.
    pub fn get(&self, path: &str) -> Answer {
        let mut client = self.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        client.answer()
    }
}

impl Drop for Tine {
    fn drop(&mut self) {
        // Everybody else leaves when the master is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What tine says in its last line that it has done.
#[derive(Debug, PartialEq, Eq)]
pub struct Totals {
    pub answers: u64,
    pub connections: u64,
}

impl Totals {
    pub fn read(line: &str) -> Self {
        let words = line.strip_prefix("tine: done: ").expect("the last line");
        let mut numbers = words.split(' ').filter_map(|word| word.parse().ok());
        let mut next = || numbers.next().expect("a number");
        Self { answers: next(), connections: next() }
    }
}

/// tine on a folder, without what the environment of the tests may say.
pub fn command(folder: &Path) -> Command {
    // Another binary, and what runs it: `qemu-aarch64 path/to/tine`.
    let runner = std::env::var("TINE_RUNNER").unwrap_or_else(|_| PROGRAM.to_owned());
    let mut words = runner.split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command.arg(folder).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    // Many run side by side; and their lines are read by people, and by these tests.
    command.env("TINE_ADMIN_LISTEN", "off").env("TINE_LOG", "off");
    command
}

fn lines_of(stderr: impl io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

pub fn only<T: Copy + std::fmt::Debug>(items: &[T]) -> T {
    assert_eq!(items.len(), 1, "{items:?}");
    items[0]
}

/// A connection to tine.
pub struct Client {
    pub stream: TcpStream,
    /// What was read and not asked for yet.
    pending: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    /// The same, if somebody listens.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Ok(Self { stream, pending: Vec::new() })
    }

    /// Whether there is an answer at all.
    pub fn try_get(address: SocketAddr, path: &str) -> Option<()> {
        let mut client = Self::try_connect(address).ok()?;
        client.try_send(get(path)).then_some(())?;
        client.try_answer(true).filter(|answer| answer.status() == 200).map(drop)
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// The same, if the connection is still there.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// The answer to a GET.
    pub fn answer(&mut self) -> Answer {
        self.try_answer(true).expect("an answer")
    }

    /// An answer, or none if the connection ends before its first byte.
    pub fn try_answer(&mut self, has_body: bool) -> Option<Answer> {
        let head_len = loop {
            match self.pending.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if self.read_more() => {}
                None if self.pending.is_empty() => return None,
                None => panic!("a broken head: {:?}", self.pending.escape_ascii().to_string()),
            }
        };
        let head = String::from_utf8(self.pending.drain(..head_len).collect()).unwrap();
        let mut answer = Answer { head, body: Vec::new() };
        let length = answer.field("Content-Length").map(|length| length.parse().unwrap());
        let length = if has_body { length.unwrap_or(0) } else { 0 };
        while self.pending.len() < length {
            assert!(self.read_more(), "{} bytes of a body of {length}", self.pending.len());
        }
        answer.body = self.pending.drain(..length).collect();
        Some(answer)
    }

    /// Whether there was more to read before the end.
    fn read_more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(len) => {
                self.pending.extend_from_slice(&buffer[..len]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            // This process was stopped, and goes on (signal(7)).
            Err(error) if error.kind() == ErrorKind::Interrupted => self.read_more(),
            Err(error) => panic!("while reading: {error}"),
        }
    }

    /// All that comes until tine ends the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.read_more() {}
        std::mem::take(&mut self.pending)
    }

    pub fn is_closed(&mut self) -> bool {
        let rest = self.rest();
        assert!(rest.is_empty(), "more came: {}", rest.escape_ascii());
        true
    }
}

/// What tine sent.
#[derive(Debug)]
pub struct Answer {
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}
