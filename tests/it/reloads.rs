//! Requests across reloads: each is answered from one site image, and none from an older one.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sys::signal::{Signal, kill};

use crate::generations::{ANEW, flip, volume};
use crate::harness::{Folder, Tine, command, get, until};

#[test]
fn worker_that_was_stopped_across_a_reload_answers_from_the_new_site() {
    let folder = Folder::new(&[("a.txt", b"1")]);
    let tine = Tine::serve(&folder, &["--workers", "2"]);
    let workers = tine.workers();
    // Both connections are the first worker's.
    kill(workers[1], Signal::SIGSTOP).unwrap();
    let (mut idle, mut begun) = (tine.connect(), tine.connect());
    for client in [&mut idle, &mut begun] {
        client.send(get("/a.txt"));
        assert_eq!(client.answer().text(), "1");
    }
    begun.send("GET /a.txt HT");
    kill(workers[1], Signal::SIGCONT).unwrap();
    kill(workers[0], Signal::SIGSTOP).unwrap();
    folder.write("a.txt", b"2");
    tine.wait_for_line(ANEW);
    assert_eq!(tine.get("/a.txt").text(), "2");
    idle.send(get("/a.txt").repeat(2));
    begun.send("TP/1.1\r\nHost: x\r\n\r\n");
    kill(workers[0], Signal::SIGCONT).unwrap();
    for client in [&mut idle, &mut begun] {
        assert_eq!(client.answer().text(), "2");
    }
    assert_eq!(idle.answer().text(), "2");
}

/// Ends a connection when it goes, and with it those who read and write there.
struct HangUp<'c>(&'c TcpStream);

impl Drop for HangUp<'_> {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

#[test]
fn a_client_that_never_stops_asking_is_answered_across_changes() {
    // Far more than what is answered in that time of a pile that is in the wrong place.
    const OCTETS: u64 = 1_000_000;
    let folder = volume();
    let tine = Tine::serve(&folder, &["--workers", "1", "--reload-debounce", "1ms"]);
    let (client, taken) = (tine.connect(), AtomicUsize::new(0));
    let (mut writer, mut reader) = (&client.stream, &client.stream);
    let pile = get("/a.txt").repeat(1_000);
    let (memory, so_far) = (tine.memory(), || taken.load(Ordering::Relaxed) as u64);
    thread::scope(|scope| {
        let _hang_up = HangUp(&client.stream);
        scope.spawn(|| while writer.write_all(pile.as_bytes()).is_ok() {});
        scope.spawn(|| {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(len @ 1..) = reader.read(&mut buffer) {
                taken.fetch_add(len, Ordering::Relaxed);
            }
        });
        for round in 0..10 {
            flip(&folder.join("..data"), ["..2", "..1"][round % 2]);
            tine.wait_for_line(ANEW);
            let before = so_far();
            until("it goes on", || (so_far() > before + OCTETS).then_some(()));
        }
    });
    assert!(tine.memory() < memory + 4_096, "{memory} KiB grew to {} KiB", tine.memory());
}

#[test]
fn on_the_way_out_too_the_newest_version_is_what_is_seen() {
    let folder = Folder::new(&[("a.txt", b"1"), ("big", &vec![1; 20_000_000])]);
    let mut command = command(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let mut tine = Tine::start(command.args(["--workers", "1", "--shutdown-delay", "1h"]));
    let mut download = tine.connect();
    download.send(get("/big"));
    until("it has begun", || download.stream.peek(&mut [0]).ok().filter(|&len| len > 0));
    folder.write("a.txt", b"2");
    tine.wait_for_line(ANEW);
    tine.signal(Signal::SIGTERM);
    until("it is not ready", || (tine.ask(get("/readyz")).status() == 503).then_some(()));
    assert_eq!(download.answer().body.len(), 20_000_000);
    download.send(get("/a.txt"));
    let answer = download.answer();
    assert_eq!((answer.text(), answer.field("Connection")), ("2", Some("close")));
    tine.signal(Signal::SIGTERM);
    assert_eq!(tine.wait().code(), Some(1));
}

#[test]
fn file_on_disk_is_found_by_its_url_path_while_the_new_site_is_refused() {
    let folder = Folder::new(&[("..1/index.html", b"1"), ("..1/large", &[1; 100])]);
    let data = folder.join("..data");
    flip(&data, "..1");
    for name in ["index.html", "large"] {
        symlink(format!("..data/{name}"), folder.join(name)).unwrap();
    }
    let tine = Tine::serve(&folder, &["--memory-file-max", "10", "--open-files-max", "0"]);
    assert_eq!(tine.get("/large").body, [1; 100]);
    folder.write("..2/large", &[2; 100]);
    flip(&data, "..2");
    fs::remove_dir_all(folder.join("..1")).unwrap();
    tine.wait_for_line("index.html is gone; what there was is served");
    let answer = tine.get("/large");
    assert_eq!((answer.status(), answer.body), (200, vec![2; 100]));
    assert_eq!(tine.get("/").text(), "1");
}
