//! Rolling replacements behind real proxies: a new tine is started, and once it is ready the old
//! one is told to stop, while the proxy still sends it requests for a while. No request fails.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Client, Folder, Tine, command, get, pass, until};
use crate::peers::Peer;

const ROLLOUTS: usize = 10;
const CLIENTS: usize = 4;
/// How long the proxy goes on sending requests to who was told to stop.
const LATE: Duration = Duration::from_millis(500);

/// What clients have seen.
#[derive(Debug, Default)]
struct Count {
    is_over: AtomicBool,
    answers: AtomicU64,
    failed: AtomicU64,
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

    /// Replaces tine again and again beside clients that ask.
    fn beside(
        &self,
        address: SocketAddr,
        first: Tine,
        is_kept: impl Fn(usize) -> bool + Sync,
        mut send_to: impl FnMut(&[SocketAddr]),
    ) {
        let is_kept = &is_kept;
        thread::scope(|scope| {
            for number in 0..CLIENTS {
                scope.spawn(move || self.ask(address, is_kept(number)));
            }
            let mut old = first;
            for _ in 0..ROLLOUTS {
                let new = serve();
                send_to(&[old.address, new.address]);
                old.signal(Signal::SIGTERM);
                until("it is not ready", || {
                    (old.ask(get("/readyz")).status() == 503).then_some(())
                });
                pass(LATE);
                send_to(&[new.address]);
                assert_eq!(old.wait().code(), Some(0));
                let said = old.rest_of_lines();
                assert!(!said.last().unwrap().contains("cut short"), "{said:?}");
                old = new;
            }
            self.is_over.store(true, Ordering::Relaxed);
        });
    }

    fn check(&self, what: &str) {
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
    until("it is ready", || (tine.ask(get("/readyz")).status() == 200).then_some(()));
    tine
}

#[test]
fn behind_nginx_with_a_pool_of_connections() {
    let upstream = |servers: &[SocketAddr]| {
        let servers: String =
            servers.iter().map(|address| format!("server {address} max_fails=0; ")).collect();
        // What fails is to be seen.
        format!(
            "access_log off; upstream tine {{ {servers} keepalive 16; }}\n\
             server {{ listen LISTEN; location / {{ proxy_pass http://tine; \
             proxy_next_upstream off; proxy_http_version 1.1; \
             proxy_set_header Connection \"\"; }} }}"
        )
    };
    let first = serve();
    let proxy = Peer::nginx(&upstream(&[first.address]));
    until("nginx answers", || Client::try_get(proxy.address, "/"));
    let count = Count::default();
    // An nginx that reads its configuration anew closes what its clients keep: that is not ours.
    let keeps_none = |_| false;
    count
        .beside(proxy.address, first, keeps_none, |servers| proxy.reload_nginx(&upstream(servers)));
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

#[test]
fn behind_haproxy() {
    let first = serve();
    let place = Folder::new(&[]);
    let socket = place.join("socket");
    let config = format!(
        "global\n stats socket {} level admin\n\
         defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n \
         retries 0\n http-reuse always\n\
         frontend in\n bind LISTEN\n default_backend out\n\
         backend out\n balance roundrobin\n server s0 {} \n server s1 127.0.0.1:1 disabled\n",
        socket.display(),
        first.address,
    );
    let proxy = Peer::haproxy(&config);
    until("haproxy answers", || Client::try_get(proxy.address, "/"));
    let count = Count::default();
    let mut slots = [Some(first.address), None];
    let half_keep = |number| number % 2 == 0;
    count.beside(proxy.address, first, half_keep, |servers| {
        for (number, slot) in slots.iter_mut().enumerate() {
            if slot.is_some_and(|address| !servers.contains(&address)) {
                tell(&socket, &format!("set server out/s{number} state maint"));
                *slot = None;
            }
        }
        for address in servers {
            if slots.contains(&Some(*address)) {
                continue;
            }
            let number = slots.iter().position(Option::is_none).unwrap();
            let port = address.port();
            tell(&socket, &format!("set server out/s{number} addr 127.0.0.1 port {port}"));
            tell(&socket, &format!("set server out/s{number} state ready"));
            slots[number] = Some(*address);
        }
    });
    count.check("haproxy");
}
