//! One worker, and a client that would take all of it: the others are answered meanwhile.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::harness::{Client, Folder, Over, Tine, get, until};

fn site() -> Folder {
    Folder::new(&[("a.txt", b"a"), ("b.txt", &[b'b'; 1000])])
}

/// A hundred requests of somebody else's.
fn ask_beside(tine: &Tine) {
    let mut kept = tine.connect();
    for _ in 0..50 {
        kept.send(get("/a.txt"));
        assert_eq!(kept.answer().text(), "a");
        assert_eq!(tine.get("/a.txt").text(), "a");
    }
}

/// Runs `greed` in a thread until others were answered; it is told when to stop, and tells how
/// much it has had.
fn beside(tine: &Tine, greed: impl Fn(SocketAddr, &AtomicBool, &AtomicU64) + Sync) {
    let (is_over, taken, address) = (AtomicBool::new(false), AtomicU64::new(0), tine.address);
    thread::scope(|scope| {
        let _over = Over(&is_over);
        scope.spawn(|| greed(address, &is_over, &taken));
        until("it has begun", || (taken.load(Ordering::Relaxed) > 0).then_some(()));
        ask_beside(tine);
        let before = taken.load(Ordering::Relaxed);
        until("it goes on", || (taken.load(Ordering::Relaxed) > before).then_some(()));
    });
}

#[test]
fn a_big_file_for_a_fast_client_holds_up_nobody() {
    let folder = site();
    // Nothing but holes, and far more than is sent while the others are answered.
    File::create(folder.join("huge")).unwrap().set_len(1 << 40).unwrap();
    let tine = Tine::serve(&folder, &["--workers", "1"]);
    beside(&tine, |address, is_over, taken| {
        let mut client = Client::connect(address);
        client.send(get("/huge"));
        let mut buffer = vec![0; 1 << 20];
        while !is_over.load(Ordering::Relaxed) {
            let len = client.stream.read(&mut buffer).unwrap();
            taken.fetch_add(len as u64, Ordering::Relaxed);
        }
    });
}

#[test]
fn a_flood_of_pipelined_requests_holds_up_nobody() {
    let folder = site();
    let tine = Tine::serve(&folder, &["--workers", "1"]);
    beside(&tine, |address, is_over, taken| {
        let client = Client::connect(address);
        let (mut writer, mut reader) = (&client.stream, &client.stream);
        let pile = get("/b.txt").repeat(1_000);
        thread::scope(|scope| {
            scope.spawn(|| while writer.write_all(pile.as_bytes()).is_ok() {});
            let mut buffer = vec![0; 1 << 20];
            while !is_over.load(Ordering::Relaxed) {
                let len = reader.read(&mut buffer).unwrap();
                taken.fetch_add(len as u64, Ordering::Relaxed);
            }
            client.stream.shutdown(std::net::Shutdown::Both).unwrap();
        });
    });
}

#[test]
fn a_flood_of_new_connections_holds_up_nobody() {
    let folder = site();
    let tine = Tine::serve(&folder, &["--workers", "1"]);
    beside(&tine, |address, is_over, taken| {
        while !is_over.load(Ordering::Relaxed) {
            let flood: Vec<Client> = (0..200).map(|_| Client::connect(address)).collect();
            taken.fetch_add(flood.len() as u64, Ordering::Relaxed);
        }
    });
}
