//! Rolling replacements behind real proxies: a new tine is started, and once it is ready the old
//! one is told to stop, while the proxy still sends it requests for a while. No request fails.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Client, Folder, Over, Tine, command, get, pass, until};
use crate::peers::Peer;

pub const ROLLOUTS: usize = 10;
const CLIENTS: usize = 4;
/// How long the proxy goes on sending requests to who was told to stop.
const LATE: Duration = Duration::from_millis(500);

/// A tine that others replace.
pub trait Replica {
    fn address(&self) -> SocketAddr;
    /// Whether it says that it is ready.
    fn is_ready(&self) -> bool;
    /// Tells it to stop, and waits until it knows.
    fn stop(&mut self);
    /// Waits for its end, and looks whether it was a good one.
    fn ends(&mut self);
}

impl Replica for Tine {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn is_ready(&self) -> bool {
        self.ask(get("/readyz")).status() == 200
    }

    fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        until("it is told to stop", || (!self.is_ready()).then_some(()));
    }

    fn ends(&mut self) {
        assert_eq!(self.wait().code(), Some(0));
        let said = self.rest_of_lines();
        assert!(!said.last().unwrap().contains("cut short"), "{said:?}");
    }
}

/// What clients have seen.
#[derive(Debug, Default)]
pub struct Count {
    is_over: AtomicBool,
    pub answers: AtomicU64,
    pub failed: AtomicU64,
}

impl Count {
    /// Asks, on one connection or on one for each request.
    fn ask(&self, address: SocketAddr, keeps: bool) {
        let mut kept = Client::connect(address);
        while !self.is_over.load(Ordering::Relaxed) {
            let mut own = (!keeps).then(|| Client::connect(address));
            let client = own.as_mut().unwrap_or(&mut kept);
            let answer = client.try_send(get("/")).then(|| client.try_answer(true)).flatten();
            match answer.filter(|answer| answer.status() == 200 && answer.text() == "home") {
                Some(_) => self.answers.fetch_add(1, Ordering::Relaxed),
                None => {
                    kept = Client::connect(address);
                    self.failed.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
    }

    /// Replaces `first` again and again, beside clients that ask.
    pub fn beside<R: Replica>(
        &self,
        address: SocketAddr,
        (first, rollouts): (R, usize),
        serve: impl Fn() -> R,
        is_kept: impl Fn(usize) -> bool + Sync,
        mut send_to: impl FnMut(&[SocketAddr]),
    ) {
        let is_kept = &is_kept;
        // The last of them answers until the clients are done.
        let mut all = vec![first];
        thread::scope(|scope| {
            let _over = Over(&self.is_over);
            for number in 0..CLIENTS {
                scope.spawn(move || self.ask(address, is_kept(number)));
            }
            for _ in 0..rollouts {
                let (old, new) = (all.last_mut().expect("one that serves"), serve());
                send_to(&[old.address(), new.address()]);
                old.stop();
                pass(LATE);
                send_to(&[new.address()]);
                // That the old one takes its time holds up no further rollout.
                all.push(new);
            }
            all[..rollouts].iter_mut().for_each(Replica::ends);
        });
    }

    pub fn check(&self, what: &str) {
        let (answers, failed) =
            (self.answers.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        println!("{ROLLOUTS} rollouts behind {what}: {answers} answers, {failed} failed");
        assert!(failed == 0 && answers > 1000, "{self:?}");
    }
}

fn serve() -> Tine {
    let folder = Folder::new(&[("index.html", b"home")]);
    let mut command = command(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.args(["--workers", "2", "--shutdown-delay", "2s", "--watch", "off"]);
    let tine = Tine::start(&mut command);
    until("it is ready", || tine.is_ready().then_some(()));
    tine
}

/// nginx in front of these, with a pool of connections to them.
pub fn nginx_for(servers: &[SocketAddr]) -> String {
    let servers: String =
        servers.iter().map(|address| format!("server {address} max_fails=0; ")).collect();
    // What fails is to be seen.
    format!(
        "access_log off; upstream tine {{ {servers} keepalive 16; }}\n\
         server {{ listen LISTEN; location / {{ proxy_pass http://tine; \
         proxy_next_upstream off; proxy_http_version 1.1; \
         proxy_set_header Connection \"\"; }} }}"
    )
}

#[test]
fn behind_nginx_with_a_pool_of_connections() {
    let first = serve();
    let proxy = Peer::nginx(&nginx_for(&[first.address]));
    until("nginx answers", || Client::try_get(proxy.address, "/"));
    let count = Count::default();
    // An nginx that reads its configuration anew closes what its clients keep: that is not ours.
    let keeps_none = |_| false;
    count.beside(proxy.address, (first, ROLLOUTS), serve, keeps_none, |servers| {
        proxy.reload_nginx(&nginx_for(servers));
    });
    count.check("nginx");
}

/// Says one line to haproxy.
fn tell(socket: &Path, line: &str) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let is_well = said.trim().is_empty() || said.contains("changed") || said.contains("no need");
    assert!(is_well, "{line}: {said}");
}

/// The two places for servers of a haproxy, told by its socket who is in them.
pub struct Slots {
    socket: PathBuf,
    servers: [Option<SocketAddr>; 2],
}

impl Slots {
    /// haproxy's configuration with one server, and the socket by which it is told of others.
    pub fn config(socket: &Path, first: SocketAddr) -> String {
        format!(
            "global\n stats socket {} level admin\n\
             defaults\n mode http\n timeout connect 5s\n timeout client 60s\n \
             timeout server 60s\n retries 0\n http-reuse always\n\
             frontend in\n bind LISTEN\n default_backend out\n\
             backend out\n balance roundrobin\n server s0 {first} \n \
             server s1 127.0.0.1:1 disabled\n",
            socket.display(),
        )
    }

    pub fn new(socket: PathBuf, first: SocketAddr) -> Self {
        Self { socket, servers: [Some(first), None] }
    }

    pub fn set(&mut self, servers: &[SocketAddr]) {
        for number in 0..self.servers.len() {
            if self.servers[number].is_some_and(|address| !servers.contains(&address)) {
                tell(&self.socket, &format!("set server out/s{number} state maint"));
                self.servers[number] = None;
            }
        }
        for &address in servers {
            if self.servers.contains(&Some(address)) {
                continue;
            }
            let number = self.servers.iter().position(Option::is_none).unwrap();
            let port = address.port();
            let line = format!("set server out/s{number} addr 127.0.0.1 port {port}");
            tell(&self.socket, &line);
            tell(&self.socket, &format!("set server out/s{number} state ready"));
            self.servers[number] = Some(address);
        }
    }
}

/// Every other client keeps its connection.
pub fn half_keep(number: usize) -> bool {
    number.is_multiple_of(2)
}

#[test]
fn behind_haproxy() {
    let first = serve();
    let place = Folder::new(&[]);
    let socket = place.join("socket");
    let config = Slots::config(&socket, first.address);
    let proxy = Peer::haproxy(&config);
    until("haproxy answers", || Client::try_get(proxy.address, "/"));
    let count = Count::default();
    let mut slots = Slots::new(socket, first.address);
    count.beside(proxy.address, (first, ROLLOUTS), serve, half_keep, |servers| slots.set(servers));
    count.check("haproxy");
}
