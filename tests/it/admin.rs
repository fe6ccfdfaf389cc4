//! How tine is, as it says on a port of its own.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use crate::harness::{Client, Folder, Tine, command, get, pass, until};

fn site() -> Folder {
    Folder::new(&[("index.html", b"home"), ("big", &vec![1; 20_000_000])])
}

fn serve(folder: &Folder, args: &[&str]) -> Tine {
    let always = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--workers", "2"];
    Tine::start(command(folder.path()).args(always).args(args))
}

fn post(fields: &str) -> String {
    format!("POST /reload HTTP/1.1\r\nHost: x\r\n{fields}\r\n")
}

#[test]
fn it_says_whether_it_is_alive_ready_and_started() {
    let folder = site();
    let tine = serve(&folder, &[]);
    for path in ["/livez", "/readyz", "/startupz"] {
        let answer = tine.ask(get(path));
        assert_eq!((answer.status(), answer.text()), (200, "ok\n"), "{path}");
        assert_eq!(answer.field("Cache-Control"), Some("no-store"));
        let mut client = Client::connect(tine.admin.unwrap());
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let head = client.try_answer(false).unwrap();
        assert_eq!((head.status(), head.field("Content-Length")), (200, Some("3")));
    }
    let ready = tine.ask(get("/readyz?verbose"));
    assert_eq!(
        ready.text(),
        "[+]phase ok: takes requests\n[+]generation ok: generation 2 serves\n\
         [+]workers ok: 2 of 2 give signs of life\nreadyz check passed\n"
    );
    for query in ["verbose", "verbose=", "a=b&verbose=true"] {
        let live = tine.ask(get(&format!("/livez?{query}")));
        assert_eq!(live.text(), "[+]master ok\n[+]workers ok\nlivez check passed\n", "{query}");
    }
    assert_eq!(tine.ask(get("/livez?verbosely")).text(), "ok\n");
}

#[test]
fn there_is_nothing_else_and_the_limits_are_those_of_the_other_port() {
    let folder = site();
    let tine = serve(&folder, &["--target-max", "100", "--request-head-max", "1000"]);
    for (request, status) in [
        (get("/index.html"), 404),
        (get("/livez/"), 404),
        (get("/reload"), 405),
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\n".into(), 405),
        ("DELETE /reload HTTP/1.1\r\nHost: x\r\n\r\n".into(), 405),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n".into(), 405),
        ("FROB / HTTP/1.1\r\nHost: x\r\n\r\n".into(), 501),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nExpect: more\r\n\r\n".into(), 417),
        (get(&"/".repeat(101)), 414),
        (format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "b".repeat(1000)), 431),
    ] {
        let answer = tine.ask(&request);
        assert_eq!(answer.status(), status, "{request}");
        let allow = answer.field("Allow");
        match status {
            405 if request.contains("/reload") => assert_eq!(allow, Some("POST")),
            405 => assert_eq!(allow, Some("GET, HEAD")),
            _ => assert_eq!(allow, None),
        }
    }
    // And nothing of it is on the port that serves.
    assert_eq!(tine.get("/metrics").status(), 404);
    assert_eq!(tine.get("/startupz").status(), 404);
}

#[test]
fn a_look_is_asked_for_and_answered_with_what_it_came_to() {
    let folder = site();
    let tine = serve(&folder, &["--watch", "off", "--rescan-interval", "1h"]);
    let reload = || {
        let answer = tine.ask(post(""));
        (answer.status(), answer.text().to_owned())
    };
    assert_eq!(reload(), (200, "unchanged: generation 2\n".to_owned()));
    folder.write("new.html", b"new");
    // The scan that confirms the ETag of the large file may have found it before.
    let (status, text) = reload();
    assert!(status == 200 && text.ends_with(": generation 3\n"), "{text}");
    assert_eq!(tine.get("/new.html").text(), "new");
    let away = folder.path().with_extension("away");
    fs::rename(folder.path(), &away).unwrap();
    let (status, text) = reload();
    assert!(status == 409 && text.starts_with("refused: cannot read the directory: No such file"));
    let page = tine.ask(get("/"));
    assert!(page.text().contains("cannot read the directory: No such file"), "{}", page.text());
    fs::rename(&away, folder.path()).unwrap();
    assert_eq!(reload().0, 200);
    assert_eq!(tine.get("/new.html").text(), "new");
}

#[test]
fn many_who_ask_at_once_are_answered_by_few_looks() {
    let folder = site();
    let tine = serve(&folder, &["--watch", "off", "--rescan-interval", "1h"]);
    folder.write("new.html", b"new");
    let mut clients: Vec<_> = (0..40).map(|_| Client::connect(tine.admin.unwrap())).collect();
    kill(tine.compiler(), Signal::SIGSTOP).unwrap();
    clients.iter_mut().for_each(|client| client.send(post("")));
    // Who asks behind them is answered behind them.
    assert_eq!(tine.ask(get("/livez")).status(), 200);
    kill(tine.compiler(), Signal::SIGCONT).unwrap();
    let answers: Vec<_> =
        clients.iter_mut().map(|client| client.answer().text().to_owned()).collect();
    assert!(answers.iter().all(|text| text.ends_with(": generation 3\n")), "{answers:?}");
    let page = tine.ask(get("/"));
    let looks = page.text().matches(" ago<td>").count();
    // Those of the two site images at the start, and one for each half of the requests at most.
    assert!((3..=4).contains(&looks), "{looks} scans");
}

#[test]
fn a_page_of_somebody_else_cannot_ask_for_a_look() {
    let folder = site();
    let tine = serve(&folder, &[]);
    assert_eq!(tine.ask(post("Origin: http://evil.example\r\n")).status(), 403);
    assert_eq!(tine.ask(post("origin: null\r\n")).status(), 403);
    assert_eq!(tine.ask(post("Sec-Fetch-Site: cross-site\r\n")).status(), 403);
    assert_eq!(tine.ask(post("Content-Length: 3\r\n") + "abc").status(), 200);
}

#[test]
fn when_all_workers_hang_it_is_not_ready_and_when_they_are_replaced_it_is() {
    let folder = site();
    let tine = serve(&folder, &["--watchdog-timeout", "10s"]);
    let workers = tine.workers();
    workers.iter().for_each(|&worker| kill(worker, Signal::SIGSTOP).unwrap());
    let answer = until("it is not ready", || {
        let answer = tine.ask(get("/readyz"));
        (answer.status() == 503).then_some(answer)
    });
    assert_eq!(answer.text(), "workers: none has given a sign of life lately\n");
    // The leader has its time to replace them.
    assert_eq!(tine.ask(get("/livez")).status(), 200);
    until("it is ready again", || (tine.ask(get("/readyz")).status() == 200).then_some(()));
    assert_eq!(tine.ask(get("/livez")).status(), 200);
    // The first that was replaced is enough for that.
    until("all are replaced", || {
        let now = tine.workers();
        (now.len() == 2 && now.iter().all(|worker| !workers.contains(worker))).then_some(())
    });
    let line = "tine_restarts_total{role=\"worker\",cause=\"silence\"} 2";
    assert!(tine.ask(get("/metrics")).text().contains(line));
}

#[test]
fn when_nobody_replaces_the_workers_it_is_not_alive() {
    let folder = site();
    let tine = serve(&folder, &["--watchdog-timeout", "3s"]);
    let everybody = tine.workers();
    everybody.iter().for_each(|&pid| kill(pid, Signal::SIGSTOP).unwrap());
    // Nor does the master, which would replace them, go on.
    let master = tine.master();
    let answer = until("it is not alive", || {
        let _ = kill(master, Signal::SIGSTOP);
        let answer = tine.ask(get("/livez?verbose"));
        answer.text().contains("[-]workers none has given a sign of life for").then_some(answer)
    });
    assert_eq!(answer.status(), 503);
    let stopped = everybody.into_iter().chain([master]);
    stopped.for_each(|pid| kill(pid, Signal::SIGCONT).unwrap());
    until("it is alive again", || (tine.ask(get("/livez")).status() == 200).then_some(()));
    until("it is ready again", || (tine.ask(get("/readyz")).status() == 200).then_some(()));
}

#[test]
fn a_paused_container_is_alive_when_it_goes_on() {
    let folder = site();
    let tine = serve(&folder, &["--watchdog-timeout", "3s"]);
    let everybody = tine.everybody();
    everybody.iter().for_each(|&pid| kill(pid, Signal::SIGSTOP).unwrap());
    pass(Duration::from_secs(5));
    // In this order the admin sees the others stopped, as it would if it were the first to run.
    everybody.iter().rev().for_each(|&pid| kill(pid, Signal::SIGCONT).unwrap());
    for _ in 0..20 {
        assert_eq!(tine.ask(get("/livez")).text(), "ok\n");
    }
    assert_eq!(tine.get("/").text(), "home");
}

#[test]
fn an_admin_that_dies_is_replaced_and_nobody_is_refused() {
    let folder = site();
    let tine = serve(&folder, &[]);
    for _ in 0..5 {
        let admin = tine.child("tine-admin");
        kill(admin, Signal::SIGKILL).unwrap();
        assert_eq!(tine.ask(get("/readyz")).text(), "ok\n");
        tine.wait_for_line(&format!("admin {admin} died (SIGKILL); starting another"));
    }
    assert_eq!(tine.get("/").text(), "home");
}

#[test]
fn it_is_started_for_ever_once_it_has_served() {
    let folder = Folder::new(&[]);
    let root = folder.join("later");
    let always =
        ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--wait-for-root", "1h"];
    // It says where it is only once it serves; the admin is there before.
    let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut waiting = command(&root);
    waiting.args(always).args(["--admin-listen", &admin]);
    let waiting = std::thread::spawn(move || Tine::start(&mut waiting));
    let ask = |path: &str| {
        let mut client = Client::connect(admin.parse().unwrap());
        client.send(get(path));
        client.answer().status()
    };
    until("the admin is there", || TcpStream::connect(&admin).ok());
    assert_eq!((ask("/startupz"), ask("/readyz"), ask("/livez")), (503, 503, 200));
    fs::create_dir(&root).unwrap();
    fs::write(root.join("index.html"), "here").unwrap();
    let mut tine = waiting.join().unwrap();
    assert_eq!((ask("/startupz"), ask("/readyz"), ask("/livez")), (200, 200, 200));
    tine.signal(Signal::SIGTERM);
    tine.wait();
}

/// The sum of all samples of a metric.
pub fn sum(metrics: &str, name: &str) -> u64 {
    let values = metrics.lines().filter(|line| line.starts_with(name));
    let number = |line: &str| line.rsplit(' ').next().unwrap().trim_end_matches(".0").parse();
    values.map(|line| number(line).unwrap_or(0)).sum()
}

#[test]
fn each_connection_is_counted_once_when_it_ends() {
    let folder = site();
    let tine = serve(&folder, &["--write-timeout", "1s", "--idle-timeout", "1s"]);
    // One that takes nothing, one that says nothing more, and some that come and go.
    let mut slow = tine.connect();
    slow.send(get("/big"));
    let mut idle = tine.connect();
    idle.send(get("/"));
    idle.answer();
    for _ in 0..5 {
        tine.get("/");
    }
    drop(tine.connect());
    until("all have ended", || {
        let metrics = tine.ask(get("/metrics")).text().to_owned();
        let ended = sum(&metrics, "tine_connections_closed_total");
        (ended == 8 && sum(&metrics, "tine_connections_open ") == 0).then_some(())
    });
    let metrics = tine.ask(get("/metrics")).text().to_owned();
    assert_eq!(sum(&metrics, "tine_connections_accepted_total"), 8);
    for (reason, count) in [("slow", 1), ("idle", 1)] {
        let name = format!("tine_connections_closed_total{{reason=\"{reason}\"}}");
        assert_eq!(sum(&metrics, &name), count, "{metrics}");
    }
    assert_eq!(sum(&metrics, "tine_http_answers_cut_total"), 1);
    assert_eq!(sum(&metrics, "tine_http_requests_total"), 7);
    assert_eq!(sum(&metrics, "tine_http_request_duration_seconds_count"), 7);
}

#[test]
fn who_downloads_status_pages_slowly_holds_up_nobody() {
    let folder = site();
    let tine = serve(&folder, &["--idle-timeout", "1h", "--head-timeout", "1h"]);
    // More than there is room for, each with half a request or none.
    let mut slow: Vec<_> = (0..100).map(|_| Client::connect(tine.admin.unwrap())).collect();
    for client in slow.iter_mut().step_by(2) {
        // It may have been closed for a later one.
        client.try_send("GET /readyz HT");
    }
    assert_eq!(tine.ask(get("/readyz")).text(), "ok\n");
    // There is room for 64; others made it.
    let is_over = |client: &mut Client| {
        client.stream.set_nonblocking(true).unwrap();
        !matches!(client.stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    until("so many are closed", || {
        let over = slow.iter_mut().map(is_over).filter(|over| *over).count();
        (over >= 36).then_some(())
    });
}
