//! The memory of all processes together, as the kernel counts it for a control group, while sites
//! change beside downloads.

use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use crate::budget;
use crate::groups::Group;
use crate::harness::{Client, Folder, Over, PROGRAM, Tine, command, get, pass, until};
use crate::observe::metric;
use crate::versions::flip;

/// A site in a tree of its own to which a symbolic link leads, as git-sync checks it out. A file
/// `version` says which tree it is.
struct Checkout {
    folder: Folder,
    number: u64,
}

impl Checkout {
    fn new(write: impl FnOnce(&Checkout)) -> Self {
        let checkout = Self { folder: Folder::new(&[]), number: 0 };
        fs::create_dir(checkout.tree(0)).unwrap();
        fs::write(checkout.tree(0).join("version"), "0").unwrap();
        write(&checkout);
        symlink("tree-0", checkout.root()).unwrap();
        checkout
    }

    fn root(&self) -> PathBuf {
        self.folder.join("html")
    }

    fn tree(&self, number: u64) -> PathBuf {
        self.folder.join(format!("tree-{number}"))
    }

    /// Makes the next tree and leads the link to it; the former one is removed at once.
    fn commit(&mut self, write: impl FnOnce(&Self)) {
        self.number += 1;
        fs::create_dir(self.tree(self.number)).unwrap();
        fs::write(self.tree(self.number).join("version"), self.number.to_string()).unwrap();
        write(self);
        flip(&self.root(), &format!("tree-{}", self.number));
        fs::remove_dir_all(self.tree(self.number - 1)).unwrap();
    }

    /// Waits until the last tree is served.
    fn wait_until_served(&self, tine: &Tine) {
        until("the last commit is served", || {
            (tine.get("/version").text() == self.number.to_string()).then_some(())
        });
    }
}

/// Starts tine on a checkout, in a control group.
fn start(group: &Group, checkout: &Checkout, args: &[&str]) -> Tine {
    let mut command = group.command(PROGRAM);
    command.arg(checkout.root()).args(["--listen", "127.0.0.1:0", "--log", "off"]);
    Tine::start(command.args(["--admin-listen", "127.0.0.1:0"]).args(args))
}

/// What a reload may take beside the live site, what has changed, and two indexes: the processes
/// themselves, and what the compiler needs to compare.
const ROOM: u64 = 16 << 20;

/// Reloads a site of files of a size, and compares the peak of all memory with what is allowed.
fn assert_peak(files: usize, size: usize, is_flipped: bool) {
    let mut rng = Rng::with_seed(1);
    let bodies: Vec<Vec<u8>> =
        (0..files).map(|_| (0..size).map(|_| rng.u8(..)).collect()).collect();
    let write = |checkout: &Checkout| {
        for (number, body) in bodies.iter().enumerate() {
            let section = checkout.tree(checkout.number).join(format!("section-{}", number / 100));
            fs::create_dir_all(&section).unwrap();
            fs::write(section.join(format!("file-{number:06}.bin")), body).unwrap();
        }
    };
    let mut checkout = Checkout::new(write);
    let group = Group::new("memory");
    let tine = start(&group, &checkout, &["--workers", "2", "--memory-max", "1GiB"]);
    group.reset_peak();
    let before = group.memory();
    for _ in 0..3 {
        if is_flipped {
            checkout.commit(write);
        } else {
            checkout.number += 1;
            fs::write(checkout.folder.join("new"), checkout.number.to_string()).unwrap();
            fs::rename(checkout.folder.join("new"), checkout.root().join("version")).unwrap();
        }
        checkout.wait_until_served(&tine);
        until("the reload is complete", || {
            let is_over = metric(&tine, "tine_site_memory_bytes")
                <= metric(&tine, "tine_site_in_memory_bytes")
                    + 2 * metric(&tine, "tine_site_index_bytes")
                    + (1 << 20);
            is_over.then_some(())
        });
    }
    let live = metric(&tine, "tine_site_in_memory_bytes");
    let index = metric(&tine, "tine_site_index_bytes");
    // A file whose pages this test's writing has not left in the cache is read again by tine.
    let peak = group.peak() - group.file_cache();
    let limit = live + 2 * index + ROOM;
    println!(
        "{files} files of {size} bytes, flipped: {is_flipped}: live {live}, index {index}, \
         before {before}, peak {peak}, allowed {limit}"
    );
    assert!(peak <= limit, "{peak} of {limit}");
}

#[test]
fn reload_of_one_file_among_5000_stays_within_the_memory_of_the_live_site() {
    assert_peak(5_000, 10_000, false);
}

#[test]
fn checkout_with_equal_content_stays_within_the_memory_of_the_live_site() {
    assert_peak(5_000, 10_000, true);
}

#[test]
fn reload_of_one_file_among_100000_stays_within_the_memory_of_the_live_site() {
    assert_peak(100_000, 200, false);
}

#[test]
fn responses_of_former_sites_are_reset_if_the_next_site_lacks_their_memory() {
    const CHANGED: u8 = 5;
    let folder = Folder::new(&[("same.bin", &[b's'; MEBIBYTE])]);
    write_mebibytes(&folder, 0..CHANGED, b'1');
    let mut command = command(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--workers", "1"]);
    command.args(["--memory-max", "8MiB", "--gzip-max", "0", "--old-response-timeout", "2s"]);
    let tine = Tine::start(&mut command);
    let live = metric(&tine, "tine_site_in_memory_bytes");
    // They take nothing, so that the whole of each body is needed.
    let paths = (0..CHANGED).map(|number| format!("/{number}.bin"));
    let mut clients: Vec<Client> = paths
        .chain(["/same.bin".to_owned()])
        .map(|path| {
            let mut client = tine.connect();
            client.send(get(&path));
            client
        })
        .collect();
    until("all are answered", || {
        (metric(&tine, "tine_site_memory_bytes") >= live).then_some(())?;
        let mut byte = [0];
        clients.iter().all(|client| client.stream.peek(&mut byte).is_ok()).then_some(())
    });
    // Six MiB and five more do not fit into ten.
    write_mebibytes(&folder, 0..CHANGED, b'2');
    until("responses are reset", || {
        (metric(&tine, "tine_old_responses_aborted_total") == u64::from(CHANGED)).then_some(())
    });
    until("all files are in memory", || {
        (metric(&tine, "tine_site_in_memory_bytes") >= live
            && tine.get("/4.bin").body[1..].iter().all(|&byte| byte == b'2'))
        .then_some(())
    });
    let same = clients.pop().unwrap().answer();
    assert_eq!(same.body, [b's'; MEBIBYTE], "what has not changed is sent to its end");
    for mut client in clients {
        assert!(
            client.rest().len() < MEBIBYTE,
            "a response of the former site was sent to its end"
        );
    }
}

const SLOW_CLIENTS: u32 = 200;
const MEBIBYTE: usize = 1 << 20;

/// Writes files of 1 MiB, all of one byte but for their first one, and renames each to its place.
fn write_mebibytes(folder: &Folder, files: std::ops::Range<u8>, byte: u8) {
    for number in files {
        // Each differs from all others, so that none is stored once for two.
        let mut body = vec![byte; MEBIBYTE];
        body[0] = b'0' + number;
        folder.write("new", &body);
        fs::rename(folder.join("new"), folder.join(format!("{number}.bin"))).unwrap();
    }
}

#[test]
fn slow_clients_beside_a_generation_each_second_stay_within_the_memory_of_the_arena() {
    const FILES: u8 = 8;
    const MEMORY_MAX: u64 = 16 << 20;
    let folder = Folder::new(&[]);
    write_mebibytes(&folder, 0..FILES, 0);
    let group = Group::new("memory");
    let mut command = group.command(PROGRAM);
    command.arg(folder.path()).args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.args(["--log", "off", "--workers", "2", "--memory-max", "16MiB"]);
    let tine = Tine::start(&mut command);
    let (is_over, whole) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut generations, mut most) = (0, 0);
    thread::scope(|scope| {
        let over = Over(&is_over);
        for number in 0..SLOW_CLIENTS {
            let (address, is_over, whole) = (tine.address, &is_over, &whole);
            scope.spawn(move || {
                pass(budget(4) * number / SLOW_CLIENTS);
                while !is_over.load(Ordering::Relaxed) {
                    let path = format!("/{}.bin", number % u32::from(FILES));
                    download(address, &path, budget(4), whole);
                }
            });
        }
        while whole.load(Ordering::Relaxed) < 2 * u64::from(SLOW_CLIENTS) {
            generations += 1;
            write_mebibytes(&folder, 0..FILES, u8::try_from(generations % 251).unwrap());
            pass(Duration::from_secs(1));
            most = most.max(metric(&tine, "tine_site_memory_bytes"));
        }
        drop(over);
    });
    let index = metric(&tine, "tine_site_index_bytes");
    let arena = MEMORY_MAX * 5 / 4 + 2 * index.next_multiple_of(1 << 16);
    let (peak, whole) = (group.peak(), whole.into_inner());
    println!(
        "{generations} generations beside {whole} downloads: arena {most} of {arena}, peak {peak}"
    );
    assert!(generations > 5, "{generations} generations");
    assert!(most <= arena, "{most} of {arena} bytes");
    assert!(peak <= arena + ROOM + group.sockets_max(SLOW_CLIENTS), "{peak} bytes");
}

const SMALL_FILES: usize = 600;
const SMALL: usize = 40_000;
const LARGE: usize = 30_000_000;
const DOWNLOADS: u32 = 12;

/// A byte that tells a commit from its neighbours.
fn byte_of(commit: u64) -> u8 {
    u8::try_from(commit % 251).unwrap()
}

fn write_commit(checkout: &Checkout) {
    let tree = checkout.tree(checkout.number);
    let byte = byte_of(checkout.number);
    for number in 0..SMALL_FILES {
        // Each differs from all others, so that none is stored once for two.
        let mut body = vec![byte; SMALL];
        body[..8].copy_from_slice(&number.to_le_bytes());
        fs::write(tree.join(format!("{number}.bin")), body).unwrap();
    }
    fs::write(tree.join("large.bin"), vec![byte; LARGE]).unwrap();
}

/// Downloads a file, evenly in about this time, and checks that all of it is of one commit.
fn download(address: SocketAddr, path: &str, duration: Duration, whole: &AtomicU64) {
    const STEPS: u32 = 200;
    let mut client = Client::connect(address);
    client.send(get(path));
    let mut bytes = Vec::new();
    let head_len = loop {
        let mut part = [0; 4096];
        let len = client.stream.read(&mut part).unwrap();
        assert!(len > 0, "{path}: no head");
        bytes.extend_from_slice(&part[..len]);
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_len]).into_owned();
    assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let length: usize = length.parse().unwrap();
    let step = length / STEPS as usize;
    let mut received = bytes.split_off(head_len);
    let byte = loop {
        if let Some(&byte) = received.get(8) {
            break byte;
        }
        let mut part = [0; 64];
        let len = client.stream.read(&mut part).unwrap();
        received.extend_from_slice(&part[..len]);
    };
    let mut count = received.len();
    assert!(received[8..].iter().all(|&other| other == byte));
    let mut part = vec![0; step.max(1)];
    while count < length {
        pass(duration / STEPS);
        let wanted = part.len().min(length - count);
        client.stream.read_exact(&mut part[..wanted]).unwrap();
        assert!(part[..wanted].iter().all(|&other| other == byte), "{path} at {count}: torn");
        count += wanted;
    }
    whole.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn commits_beside_slow_downloads_fit_a_pod_of_96_mib() {
    let mut checkout = Checkout::new(write_commit);
    let group = Group::new("memory");
    group.set("memory.limit_in_bytes", "memory.max", "96M");
    let tine = start(&group, &checkout, &["--workers", "2"]);
    let compiler = tine.compiler();
    let (is_over, whole) = (AtomicBool::new(false), AtomicU64::new(0));
    let duration = budget(12);
    let mut commits = 0;
    thread::scope(|scope| {
        let over = Over(&is_over);
        for number in 0..DOWNLOADS {
            let (address, is_over, whole) = (tine.address, &is_over, &whole);
            scope.spawn(move || {
                // They begin one after the other, so that each commit meets some of any age.
                pass(duration * number / DOWNLOADS);
                while !is_over.load(Ordering::Relaxed) {
                    let small = format!("/{number}.bin");
                    let path = if number % 2 == 0 { "/large.bin" } else { &small };
                    download(address, path, duration, whole);
                }
            });
        }
        while whole.load(Ordering::Relaxed) < DOWNLOADS.into() {
            checkout.commit(write_commit);
            checkout.wait_until_served(&tine);
            commits += 1;
            pass(budget(1));
        }
        drop(over);
    });
    let whole = whole.into_inner();
    println!("{commits} commits beside {whole} downloads, peak {} bytes", group.peak());
    assert!(commits > 5, "{commits} commits");
    assert_eq!(group.oom_kills(), 0);
    assert_eq!(tine.compiler(), compiler, "the compiler has died");
}
