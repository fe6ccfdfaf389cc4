//! Counts what a worker allocates: a real one, on real sockets, in a thread of this test.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use tine::compile::{Job, Rules, SiteLimits};
use tine::config::LogFormat;
use tine::host::arena::ReadArena;
use tine::host::doorbell::Doorbell;
use tine::http::extra::Extra;
use tine::http::limits::Limits;
use tine::log::Style;
use tine::peer::Trusted;
use tine::process::log;
use tine::process::worker::{Worker, WorkerArgs};
use tine::scoreboard::Phase;

#[path = "common/site.rs"]
mod site;

use site::CompiledSite;

/// Counts the allocations of the thread that asks for it.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static COUNTS: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    if COUNTS.get() {
        COUNT.fetch_add(1, Ordering::SeqCst);
    }
}

#[expect(unsafe_code, reason = "an allocator cannot be written without; it only counts")]
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn make_site() -> (tempfile::TempDir, CompiledSite) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.txt"), vec![b'x'; 1024]).unwrap();
    fs::write(folder.path().join("memory.bin"), vec![b'x'; 300_000]).unwrap();
    fs::write(folder.path().join("large.bin"), vec![b'x'; 3_000_000]).unwrap();
    // Its answers are alike from the first on: a file of this second has no date yet.
    let large = fs::File::options().append(true).open(folder.path().join("large.bin")).unwrap();
    large.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    let rules = Rules { limits: SiteLimits::default(), ..Rules::default() };
    let site = CompiledSite::new(folder.path(), &rules, &Job::first(&rules, 2_000_000_000));
    (folder, site)
}

/// Asks `rounds` times on one connection, and returns how much of an answer has come each time.
fn ask(client: &mut TcpStream, request: &[u8], answer_len: usize, rounds: usize) {
    let mut answer = vec![0; answer_len];
    for _ in 0..rounds {
        client.write_all(request).unwrap();
        client.read_exact(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 "));
    }
}

const JSON: Style = Style { format: LogFormat::Json, has_colours: false };

#[test]
fn a_kept_connection_is_answered_without_an_allocation() {
    let (_folder, site) = make_site();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let board = site.board();
    let worker = thread::spawn(move || {
        let slot = site.slot();
        let (_log, access_log, _read_ends) = log::open(JSON, slot).unwrap();
        let args = WorkerArgs {
            board,
            slot,
            arena: ReadArena { view: site.view(), file: None },
            files: site.files(),
            extra: Extra::default(),
            health: true,
            started: Instant::now(),
            access_log,
            trusted: Trusted::default(),
            has_preface: false,
            listeners: vec![listener],
            connections_max: 64,
            doorbell: Doorbell::new().unwrap(),
            compiler: Doorbell::new().unwrap(),
            drain_timeout: Duration::ZERO,
        };
        COUNTS.set(true);
        Worker::new(args, &Limits::default()).unwrap().run().unwrap();
        COUNTS.set(false);
    });

    let get = |path: &str, fields: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\n{fields}\r\n").into_bytes()
    };
    let requests = [
        get("/small.txt", ""),
        get("/memory.bin", ""),
        get("/large.bin", ""),
        get("/missing", ""),
        get("/small.txt", "If-None-Match: *\r\n"),
        get("/small.txt", "Content-Length: 5\r\n").into_iter().chain(*b"abcde").collect(),
    ];
    for request in &requests {
        let mut client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // The first answer says how long the others will be.
        client.write_all(request).unwrap();
        let mut first = Vec::new();
        while !is_whole(&first) {
            let mut buffer = [0; 65_536];
            let len = client.read(&mut buffer).unwrap();
            first.extend_from_slice(&buffer[..len]);
        }
        ask(&mut client, request, first.len(), 10);
        let before = COUNT.load(Ordering::SeqCst);
        ask(&mut client, request, first.len(), 100);
        let after = COUNT.load(Ordering::SeqCst);
        assert!(before > 0, "nothing is counted");
        // The date is made anew once a second, whoever asks.
        let shown = request.escape_ascii();
        assert!(after - before < 20, "{} allocations in 100 requests: {shown}", after - before);
    }
    // It looks at the scoreboard once a second.
    board.control().set_phase(Phase::Draining);
    worker.join().unwrap();
}

/// Whether an answer is there to its end.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .split_once("Content-Length: ")
        .map_or(0, |(_, rest)| rest.split_once("\r\n").unwrap().0.parse().unwrap());
    answer.len() == head.len() + 4 + length
}
