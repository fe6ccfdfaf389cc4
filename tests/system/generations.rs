//! Generations under load: volumes are flipped, links moved, files copied in place, processes
//! killed, and each client checks every body. Counted: what was torn, what failed, what went back.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use crate::budget;
use crate::harness::{Client, Folder, Over, Tine, children, get, pass, until};
use crate::peers::Peer;
use crate::versions::{FILES, flip, publish, text, volume, write_version};

const CLIENTS: usize = 6;

/// What clients have seen.
#[derive(Debug, Default)]
struct Count {
    is_over: AtomicBool,
    /// The latest version that anybody has seen.
    newest: AtomicU64,
    answers: AtomicU64,
    connections: AtomicU64,
    failed: AtomicU64,
    torn: AtomicU64,
    back: AtomicU64,
}

impl Count {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks on one connection until it ends, and checks every body: nobody may be shown an older
    /// version than somebody else had seen before he asked.
    fn ask(&self, mut client: Client) {
        Self::add(&self.connections);
        for file in (0..FILES).cycle() {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let newest = self.newest.load(Ordering::SeqCst);
            let request = get(&format!("/{file}.txt"));
            let answer = match client.try_send(request) {
                true => client.try_answer(true),
                false => None,
            };
            let Some(answer) = answer.filter(|answer| answer.status() == 200) else {
                return Self::add(&self.failed);
            };
            let version: u64 = answer.text()[..6].parse().unwrap_or(0);
            if answer.text() != text(version, file) {
                Self::add(&self.torn);
            }
            if version < newest {
                Self::add(&self.back);
            }
            self.newest.fetch_max(version, Ordering::SeqCst);
            Self::add(&self.answers);
        }
    }

    /// Has `change` make version after version beside clients that ask; how long each took until
    /// somebody saw it.
    fn beside(
        &self,
        address: SocketAddr,
        versions: u64,
        mut change: impl FnMut(u64),
    ) -> Vec<Duration> {
        thread::scope(|scope| {
            let _over = Over(&self.is_over);
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    while !self.is_over.load(Ordering::Relaxed) {
                        self.ask(Client::connect(address));
                    }
                });
            }
            let wait = |version: u64| {
                change(version);
                let changed = Instant::now();
                until("the version is served", || {
                    (self.newest.load(Ordering::Relaxed) >= version).then(|| changed.elapsed())
                })
            };

            (1..=versions).map(wait).collect()
        })
    }

    fn say(&self, what: &str, mut times: Vec<Duration>) {
        times.sort_unstable();
        let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].as_millis();
        println!(
            "{what}: {} answers on {} connections, {} failed, {} torn, {} back; {} versions, seen \
             after {} ms (median), {} ms (p99)",
            self.answers.load(Ordering::Relaxed),
            self.connections.load(Ordering::Relaxed),
            self.failed.load(Ordering::Relaxed),
            self.torn.load(Ordering::Relaxed),
            self.back.load(Ordering::Relaxed),
            times.len(),
            at(50),
            at(99),
        );
    }

    /// Nothing at all went wrong.
    fn check(&self) {
        let counters = [&self.failed, &self.torn, &self.back];
        assert_eq!(counters.map(|counter| counter.load(Ordering::Relaxed)), [0; 3], "{self:?}");
    }
}

#[test]
fn a_hundred_flips_of_a_volume() {
    let (folder, count) = (volume(), Count::default());
    let tine = Tine::serve(&folder, &[]);
    let times = count.beside(tine.address, 100, |version| publish(&folder, version));
    count.say("flips of a volume", times);
    count.check();
}

#[test]
fn the_same_behind_nginx_with_a_pool_of_connections() {
    let (folder, count) = (volume(), Count::default());
    let tine = Tine::serve(&folder, &[]);
    let proxy = Peer::nginx(&format!(
        "access_log off; upstream tine {{ server {}; keepalive 8; }}\n\
         server {{ listen LISTEN; keepalive_requests 1000000; location / {{\n\
         proxy_pass http://tine; proxy_http_version 1.1; proxy_set_header Connection '';\n\
         proxy_next_upstream off; }} }}",
        tine.address
    ));
    // A client behind it may have one version by one connection and an earlier one by the next.
    let times = count.beside(proxy.address, 50, |version| publish(&folder, version));
    count.say("flips behind nginx", times);
    let counters = [&count.failed, &count.torn];
    assert_eq!(counters.map(|counter| counter.load(Ordering::Relaxed)), [0; 2], "{count:?}");
}

#[test]
fn git_checks_out_beside_and_moves_the_link() {
    let (folder, count) = (Folder::new(&[]), Count::default());
    let git = |args: &[&str]| {
        let identity =
            ["-c", "user.name=x", "-c", "user.email=x@y", "-c", "init.defaultBranch=main"];
        let output = Command::new("git").args(identity).args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let (origin, clone) = (folder.join("origin"), folder.join("clone"));
    let (origin_path, clone_path) = (origin.to_str().unwrap(), clone.to_str().unwrap());
    git(&["init", "--quiet", origin_path]);
    let commit = |version: u64| {
        write_version(&origin, version);
        git(&["-C", origin_path, "add", "--all"]);
        git(&["-C", origin_path, "commit", "--quiet", "--message", "next"]);
    };
    commit(0);
    git(&["clone", "--quiet", origin_path, clone_path]);
    let sync = |version: u64| {
        let tree = folder.join(format!("rev-{version}"));
        git(&["-C", clone_path, "fetch", "--quiet"]);
        let tree_path = tree.to_str().unwrap();
        git(&[
            "-C",
            clone_path,
            "worktree",
            "add",
            "--quiet",
            "--detach",
            tree_path,
            "origin/main",
        ]);
        flip(&folder.join("current"), &format!("rev-{version}"));
        if version > 0 {
            let former = folder.join(format!("rev-{}", version - 1));
            let path = former.to_str().unwrap();
            git(&["-C", clone_path, "worktree", "remove", "--force", path]);
        }
    };
    sync(0);
    let mut command = crate::harness::command(&folder.join("current"));
    let tine = Tine::start(command.args(["--listen", "127.0.0.1:0"]));
    let times = count.beside(tine.address, 20, |version| {
        commit(version);
        sync(version);
    });
    count.say("git and a link", times);
    count.check();
}

#[test]
fn rsync_copies_in_place_and_a_build_tool_empties_its_folder_first() {
    for is_in_place in [true, false] {
        let (source, folder) = (Folder::new(&[]), Folder::new(&[]));
        write_version(folder.path(), 0);
        let (tine, count) = (Tine::serve(&folder, &[]), Count::default());
        let times = count.beside(tine.address, 20, |version| {
            write_version(source.path(), version);
            if is_in_place {
                let from = format!("{}/", source.path().display());
                let mut rsync = Command::new("rsync");
                let rsync = rsync.args(["-r", "--inplace", "--ignore-times", &from]);
                assert!(rsync.arg(folder.path()).status().unwrap().success());
            } else {
                for entry in fs::read_dir(folder.path()).unwrap() {
                    fs::remove_file(entry.unwrap().path()).unwrap();
                }
                // Longer than changes take to settle.
                pass(Duration::from_millis(300));
                write_version(folder.path(), version);
            }
        });
        count.say(if is_in_place { "rsync --inplace" } else { "an emptied folder" }, times);
        count.check();
    }
}

#[test]
fn kills_beside_flips_tear_no_body_and_lose_no_flip() {
    let (folder, count) = (volume(), Count::default());
    let tine = Tine::serve(&folder, &["--workers", "2"]);
    let before = children(tine.master()).len();
    let mut dice = fastrand::Rng::new();
    println!("seed {}", dice.get_seed());
    let (end, mut kills) = (Instant::now() + budget(10), 0);
    let times = count.beside(tine.address, 40, |version| {
        publish(&folder, version);
        if Instant::now() > end {
            return;
        }
        pass(Duration::from_millis(dice.u64(0..200)));
        if let Some(&victim) = dice.choice(&children(tine.master())) {
            kills += u64::from(kill(victim, Signal::SIGKILL).is_ok());
        }
    });
    count.say(&format!("{kills} kills among flips"), times);
    let counters = [&count.torn, &count.back];
    assert_eq!(counters.map(|counter| counter.load(Ordering::Relaxed)), [0; 2], "{count:?}");
    // Only a worker that dies takes its connections with it.
    let failed = count.failed.load(Ordering::Relaxed);
    assert!(failed <= kills * CLIENTS as u64, "{failed} failed");
    until("all children are there", || (children(tine.master()).len() == before).then_some(()));
}

#[test]
fn thousands_of_connections_see_no_older_version_beside_flips() {
    const KEPT: usize = 3_000;
    let folder = volume();
    let tine = Tine::serve(&folder, &["--workers", "1", "--reload-debounce", "10ms"]);
    let mut clients: Vec<Client> = (0..KEPT).map(|_| tine.connect()).collect();
    let ask = |client: &mut Client| -> u64 {
        client.send(get("/0.txt"));
        client.answer().text()[..6].parse().unwrap()
    };
    assert!(clients.iter_mut().all(|client| ask(client) == 0));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&is_over);
        scope.spawn(|| {
            for version in 1.. {
                publish(&folder, version);
                pass(Duration::from_millis(300));
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let (end, mut newest, mut asked) = (Instant::now() + budget(6), 0, 0);
        while Instant::now() < end {
            let version = ask(&mut clients[fastrand::usize(..KEPT)]);
            assert!(version >= newest, "{version} behind {newest}");
            (newest, asked) = (version, asked + 1);
        }
        println!("{asked} answers on {KEPT} connections, of {newest} versions");
        assert!(newest > 3);
    });
}
