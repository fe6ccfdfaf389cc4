//! Clients that keep their connections, fast and slow ones, and hold each response to the rules.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket, sockopt,
};

use crate::harness::{PATIENCE, get, pass};

use super::content::{ON_DISK, SIZES, name};
use super::observations::{Observations, Received};

/// A kept connection.
pub struct Connection {
    stream: TcpStream,
    pub port: u16,
    /// Its first `received` bytes were received and are not used yet. It is not made shorter, since
    /// to make it longer again takes time that the server lacks.
    buffer: Vec<u8>,
    received: usize,
}

pub struct Response {
    pub head: String,
    pub body: Vec<u8>,
}

/// How a client reads: at most so many bytes at once, and then a pause of at most so long.
#[derive(Clone, Copy)]
pub struct Pace {
    step: usize,
    pause_max: Duration,
}

/// How long a fast client rests between its requests, at most.
const REST_MAX: Duration = Duration::from_millis(1);

pub const FAST: Pace = Pace { step: 256 * 1024, pause_max: Duration::ZERO };
const SLOW: Pace = Pace { step: 8 * 1024, pause_max: Duration::from_millis(15) };

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    /// Opens a connection whose receive buffer is as small as the kernel makes it.
    fn open_small(address: SocketAddr) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        // Before the connection is made, so that no larger window is offered (tcp(7)).
        setsockopt(&socket, sockopt::RcvBuf, &4096)?;
        connect(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
        Self::new(TcpStream::from(socket))
    }

    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { port: stream.local_addr()?.port(), stream, buffer: Vec::new(), received: 0 })
    }

    /// Sends one request for each file at once.
    pub fn send(&mut self, files: &[usize]) -> io::Result<()> {
        let requests: String = files.iter().map(|&file| get(&format!("/{}", name(file)))).collect();
        self.stream.write_all(requests.as_bytes())
    }

    pub fn receive(&mut self, pace: Pace, rng: &mut Rng) -> io::Result<Response> {
        let mut searched = 0;
        let head_len = loop {
            let unsearched = &self.buffer[searched..self.received];
            let end = unsearched.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(at) = end {
                break searched + at + 4;
            }
            searched = self.received.saturating_sub(3);
            self.read_more(pace, rng)?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..head_len]).into_owned();
        let length = field(&head, "Content-Length").and_then(|length| length.parse().ok());
        let length: usize = length.ok_or_else(|| io::Error::other(format!("no length: {head}")))?;
        let end = head_len + length;
        while self.received < end {
            self.read_more(pace, rng)?;
        }
        let body = self.buffer[head_len..end].to_owned();
        self.buffer.copy_within(end..self.received, 0);
        self.received -= end;
        Ok(Response { head, body })
    }

    fn read_more(&mut self, pace: Pace, rng: &mut Rng) -> io::Result<()> {
        if pace.pause_max > Duration::ZERO {
            pass(pace.pause_max.mul_f64(rng.f64()));
        }
        let end = self.received + pace.step;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        let read = loop {
            match self.stream.read(&mut self.buffer[self.received..end]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.received += read;
        if read == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Sends requests for `files` at once on a connection, and checks each response.
pub fn exchange(
    connection: &mut Connection,
    files: &[usize],
    pace: Pace,
    observations: &Observations,
    rng: &mut Rng,
) -> io::Result<()> {
    let at_least = observations.newest();
    connection.send(files)?;
    for &file in files {
        let Response { head, body } = connection.receive(pace, rng)?;
        if !head.starts_with("HTTP/1.1 200 ") {
            observations.refuse(file, &head);
            continue;
        }
        let etag = field(&head, "ETag");
        observations.check(&Received { file, etag, body: &body, at_least });
    }
    Ok(())
}

/// Sends requests on a connection, and on new ones if a worker's death ends it, until the run is
/// over. Every eighth time three requests are pipelined.
pub fn run_fast(mut connection: Connection, address: SocketAddr, observations: &Observations) {
    let (mut rng, mut latencies) = (Rng::new(), Vec::new());
    while !observations.is_over() {
        // Small files are chosen oftener, so that most requests are short.
        let mut choose = || rng.usize(..SIZES.len()).min(rng.usize(..SIZES.len()));
        let mut files = vec![choose()];
        if choose() == 2 {
            files.extend([choose(), choose()]);
        }
        let begun = Instant::now();
        let result = exchange(&mut connection, &files, FAST, observations, &mut rng);
        latencies.push(begun.elapsed());
        // Clients that never rest would leave a machine of two CPUs no time to compile.
        pass(REST_MAX.mul_f64(rng.f64()));
        if let Err(error) = result {
            observations.fail(connection.port, &error);
            match Connection::open(address) {
                Ok(new) => connection = new,
                Err(error) => return observations.fail(0, &error),
            }
        }
    }
    observations.latencies.lock().unwrap().extend(latencies);
}

/// Downloads the larger files in small steps until the run is over. Every other client pipelines
/// several requests.
pub fn run_slow(number: usize, address: SocketAddr, observations: &Observations) {
    const FILES: std::ops::RangeInclusive<usize> = 6..=ON_DISK;
    let mut rng = Rng::new();
    while !observations.is_over() {
        let mut connection = match Connection::open_small(address) {
            Ok(connection) => connection,
            Err(error) => return observations.fail(0, &error),
        };
        while !observations.is_over() {
            let files = match number % 2 {
                0 => vec![rng.usize(FILES)],
                _ => vec![6, rng.usize(FILES), rng.usize(..3)],
            };
            let result = exchange(&mut connection, &files, SLOW, observations, &mut rng);
            if let Err(error) = result {
                observations.fail(connection.port, &error);
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::atomic::Ordering::SeqCst;
    use std::thread;

    use super::super::content::body;
    use super::*;

    /// Returns older, torn and failures of a fast client of a server that answers each request by
    /// the next of these bodies, as file 1, and closes the connection after the last one.
    fn counts(published: u64, bodies: &[Vec<u8>]) -> [u64; 3] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let observations = Observations::default();
        observations.begin_publication(published);
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                for body in bodies {
                    assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
                }
            });
            let mut connection = Connection::open(address).unwrap();
            let mut rng = Rng::new();
            let next = || exchange(&mut connection, &[1], FAST, &observations, &mut rng);
            let error = std::iter::repeat_with(next).find_map(Result::err).unwrap();
            observations.fail(connection.port, &error);
        });
        let Observations { older, torn, failures, .. } = &observations;
        [older, torn, failures].map(|counter| counter.load(SeqCst))
    }

    #[test]
    fn client_counts_older_and_torn_responses_and_closed_connections() {
        let [first, second] = [1, 2].map(|generation| body(1, generation));
        let mixed = [&first[..2048], &second[2048..]].concat();
        assert_eq!(counts(2, &[first.clone(), second.clone(), second.clone()]), [0, 0, 1]);
        assert_eq!(counts(2, &[second.clone(), first.clone(), first.clone()]), [2, 0, 1]);
        assert_eq!(counts(2, &[second.clone(), mixed, vec![0; 4095]]), [0, 2, 1]);
        assert_eq!(counts(1, &[second]), [0, 1, 1]);
    }
}
