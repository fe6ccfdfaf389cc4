//! The way out with a delay: whoever still comes is served, and told not to come again.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Client, Folder, Tine, command, get, until};

fn serve(folder: &Folder, delay: &str) -> Tine {
    let mut command = command(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    Tine::start(command.args(["--workers", "2", "--shutdown-delay", delay]))
}

fn site() -> Folder {
    Folder::new(&[("index.html", b"home"), ("big", &vec![1; 20_000_000])])
}

/// Asks on a connection of its own, which would be kept.
fn ask(tine: &Tine, path: &str) -> (u16, Option<String>) {
    let mut client = tine.connect();
    client.send(get(path));
    let answer = client.answer();
    (answer.status(), answer.field("Connection").map(str::to_owned))
}

#[test]
fn newcomers_are_served_as_long_as_the_delay_lasts() {
    let folder = site();
    let mut tine = serve(&folder, "1h");
    let mut idle = tine.connect();
    idle.send(get("/"));
    assert_eq!(idle.answer().field("Connection"), None);
    tine.signal(Signal::SIGTERM);
    let close = Some("close".to_owned());
    until("it is not ready", || (tine.ask(get("/readyz")).status() == 503).then_some(()));
    assert_eq!(tine.ask(get("/readyz")).text(), "phase: told to stop\n");
    // Each worker hears of it by itself.
    until("the port that serves says so", || (ask(&tine, "/readyz").0 == 503).then_some(()));
    until("every worker closes", || (0..20).all(|_| ask(&tine, "/").1 == close).then_some(()));
    assert_eq!(ask(&tine, "/"), (200, close.clone()));
    assert_eq!(ask(&tine, "/livez"), (200, close));
    assert_eq!(tine.ask(get("/livez")).text(), "ok\n");
    assert_eq!(tine.ask("POST /reload HTTP/1.1\r\nHost: x\r\n\r\n").status(), 503);
    assert!(tine.ask(get("/metrics")).text().contains("tine_draining 1"));
    // Who was idle is not cut off, and hears of it with the next answer.
    idle.send(get("/"));
    assert_eq!(idle.answer().field("Connection"), Some("close"));
    assert!(idle.is_closed());
    end_at_once(&mut tine);
}

/// A second signal does not wait for the delay.
fn end_at_once(tine: &mut Tine) {
    tine.signal(Signal::SIGTERM);
    assert_eq!(tine.wait().code(), Some(1));
}

#[test]
fn when_the_delay_is_over_the_door_is_shut() {
    let folder = site();
    let mut tine = serve(&folder, "1s");
    let mut idle = tine.connect();
    idle.send(get("/"));
    assert_eq!(idle.answer().text(), "home");
    let told = Instant::now();
    tine.signal(Signal::SIGTERM);
    until("newcomers are kept out", || {
        TcpStream::connect_timeout(&tine.address, Duration::from_millis(100)).err()
    });
    assert!(told.elapsed() >= Duration::from_secs(1));
    assert!(idle.is_closed());
    assert_eq!(tine.wait().code(), Some(0));
    let said = tine.rest_of_lines();
    assert!(said[0].contains("new connections are taken for 1s"), "{said:?}");
}

#[test]
fn what_was_begun_is_finished_while_the_admin_says_that_it_is_alive() {
    let folder = site();
    let mut tine = serve(&folder, "100ms");
    let mut download = tine.connect();
    download.send(get("/big"));
    until("it has begun", || download.stream.peek(&mut [0]).ok().filter(|&len| len > 0));
    tine.signal(Signal::SIGTERM);
    until("newcomers are kept out", || {
        TcpStream::connect_timeout(&tine.address, Duration::from_millis(100)).err()
    });
    for _ in 0..20 {
        assert_eq!(tine.ask(get("/livez")).status(), 200);
        assert_eq!(tine.ask(get("/startupz")).status(), 200);
        assert_eq!(tine.ask(get("/readyz")).status(), 503);
    }
    assert!(download.rest().len() > 20_000_000);
    assert_eq!(tine.wait().code(), Some(0));
}

#[test]
fn the_delay_may_be_longer_than_the_drain() {
    let folder = site();
    let mut command = command(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--workers", "2"]);
    let mut tine = Tine::start(command.args(["--shutdown-delay", "1h", "--drain-timeout", "1s"]));
    let workers = tine.workers();
    tine.signal(Signal::SIGTERM);
    let told = Instant::now();
    let mut served = 0;
    while told.elapsed() < Duration::from_secs(4) {
        assert_eq!(ask(&tine, "/").0, 200);
        served += 1;
    }
    assert!(served > 0 && tine.workers() == workers);
    end_at_once(&mut tine);
}

#[test]
fn a_worker_that_dies_meanwhile_is_replaced_by_one_that_knows() {
    let folder = site();
    let mut tine = serve(&folder, "1h");
    tine.signal(Signal::SIGTERM);
    until("it is not ready", || (tine.ask(get("/readyz")).status() == 503).then_some(()));
    for worker in tine.workers() {
        nix::sys::signal::kill(worker, Signal::SIGKILL).unwrap();
    }
    let mut client = Client::connect(tine.address);
    client.send(get("/"));
    let answer = client.answer();
    assert_eq!((answer.text(), answer.field("Connection")), ("home", Some("close")));
    end_at_once(&mut tine);
}
