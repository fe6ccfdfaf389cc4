//! Whoever looks after tine, with real programs: a browser on the status page, Prometheus' parser
//! on the metrics, goaccess on the log, and readers that stall while tine is asked as fast as it
//! can be.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe};
use serde_json::Value;

use crate::budget;
use crate::chromium::Chromium;
use crate::harness::{Client, Folder, Over, Tine, command, get, until};
use crate::older_format::as_older_format;

fn site() -> Folder {
    Folder::new(&[("index.html", b"home"), ("a.css", b"a{}"), ("big", &vec![1; 5_000_000])])
}

fn serve(folder: &Folder, args: &[&str], stdout: Stdio) -> Tine {
    let mut command = command(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]).args(args);
    Tine::start(command.stdout(stdout))
}

pub fn metric(tine: &Tine, name: &str) -> u64 {
    let metrics = tine.ask(get("/metrics"));
    let mut values =
        metrics.text().lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = values.next().unwrap_or_else(|| panic!("no {name}"));
    // Gauges have a fraction, which is 0 for bytes and counts.
    value.strip_suffix(".0").unwrap_or(value).parse().unwrap()
}

/// Asks as fast as it can for a while, on many connections; how many requests a second.
fn flood(address: SocketAddr, time: Duration) -> f64 {
    let output = Command::new("wrk")
        .args(["-t1", "-c50", "--timeout", "60s", &format!("-d{}s", time.as_secs())])
        .arg(format!("http://{address}/"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
    let line = said.lines().find_map(|line| line.strip_prefix("Requests/sec:")).unwrap();
    line.trim().parse().unwrap()
}

#[test]
fn probes_are_answered_under_a_flood() {
    let folder = site();
    let tine = serve(&folder, &[], Stdio::null());
    let (mut slowest, mut probes) = (Duration::ZERO, 0);
    thread::scope(|scope| {
        let address = tine.address;
        let flood = scope.spawn(move || flood(address, budget(8)));
        while probes < 1000 || !flood.is_finished() {
            for path in ["/livez", "/readyz", "/startupz"] {
                let began = Instant::now();
                assert_eq!(tine.ask(get(path)).text(), "ok\n");
                slowest = slowest.max(began.elapsed());
                probes += 1;
            }
        }
        let rate = flood.join().unwrap();
        println!(
            "{probes} probes beside {rate:.0} requests a second, the slowest took {slowest:?}"
        );
    });
}

#[test]
fn a_log_that_nobody_reads_costs_nothing_and_is_counted_to_the_line() {
    let folder = site();
    let (reader, writer) = pipe().unwrap();
    let tine = serve(&folder, &["--log", "json"], Stdio::from(writer));
    // It runs full first, and then nobody reads for the rest of the flood.
    let stalled = flood(tine.address, budget(4));
    let lost = metric(&tine, "tine_log_lines_dropped_total");
    assert!(lost > 0);
    let lines = thread::spawn(move || count_lines(reader));
    let read = flood(tine.address, budget(4));
    println!("{stalled:.0} requests a second while the log stalls, {read:.0} while it is read");
    let mut tine = tine;
    tine.signal(Signal::SIGTERM);
    assert_eq!(tine.wait().code(), Some(0));
    let said = tine.rest_of_lines();
    let last: Value = serde_json::from_str(said.last().unwrap()).unwrap();
    let message = last["message"].as_str().unwrap().to_owned();
    let number = |before: &str| -> u64 {
        let words = message.split_once(before).map_or("0", |(words, _)| words);
        words.rsplit([' ', ',']).find(|word| !word.is_empty()).unwrap().parse().unwrap()
    };
    // Those that were cut short when the flood ended have their lines, too.
    let answers = number(" answers on ") + number(" answers cut short") + number(" answer cut");
    let lost = number(" lines of the log lost");
    let written = lines.join().unwrap();
    println!("{answers} answers: {written} lines written, {lost} lost");
    assert_eq!(written + lost, answers);
}

fn count_lines(reader: OwnedFd) -> u64 {
    let (mut file, mut lines, mut buffer) = (File::from(reader), 0, vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return lines,
            len => lines += buffer[..len].iter().filter(|&&octet| octet == b'\n').count() as u64,
        }
    }
}

#[test]
fn goaccess_reads_the_combined_format() {
    let folder = site();
    let log = folder.path().with_extension("log");
    let tine = serve(&folder, &["--log", "combined"], File::create(&log).unwrap().into());
    for _ in 0..5 {
        assert_eq!(tine.get("/").status(), 200);
    }
    assert_eq!(tine.get("/a.css?v=1").status(), 200);
    assert_eq!(tine.get("/\"quoted\"").status(), 404);
    assert_eq!(tine.get("/missing").status(), 404);
    until("all is written", || {
        (fs::read_to_string(&log).unwrap().lines().count() == 8).then_some(())
    });
    let output = Command::new("goaccess")
        .args(["--log-format=COMBINED", "--no-global-config", "-o", "json"])
        .arg(&log)
        .output()
        .unwrap();
    fs::remove_file(&log).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    let general = &report["general"];
    assert_eq!((&general["valid_requests"], &general["failed_requests"]), (&8.into(), &0.into()));
    assert_eq!(general["unique_not_found"], 2);
}

/// Reads metrics with Prometheus' own client library, and says what breaks its conventions.
const READ_METRICS: &str = r#"
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
families = {f.name: f for f in text_string_to_metric_families(sys.stdin.read())}
units = ("seconds", "bytes")
for name, family in families.items():
    assert family.documentation, f"{name} has no help"
    assert name.startswith(("tine_", "process_")), name
    assert name == name.lower() and "__" not in name and ":" not in name, name
    assert not name.endswith(("_total", "_count", "_sum", "_bucket")), name
    assert not any(word in name for word in ("milli", "micro", "kilo", "mega", "_ms", "_kb")), name
    if family.unit:
        assert family.unit in units and name.endswith("_" + family.unit), name
    for sample in family.samples:
        assert not set(sample.labels) & {"job", "instance"}, sample
        if family.type == "counter":
            assert sample.name == name + "_total" and sample.value >= 0, sample
for name in sys.argv[1:]:
    assert name in families, f"{name} is missing"
value = lambda name, **labels: next(
    s.value for f in families.values() for s in f.samples if s.name == name and s.labels == labels)
assert value("tine_http_requests_total", method="GET", code="2xx") == 3
assert value("tine_http_requests_total", method="HEAD", code="4xx") == 1
assert value("tine_http_rejected_total", code="400") == 1
assert value("tine_http_request_duration_seconds_count") == 5
assert value("tine_http_request_duration_seconds_bucket", le="+Inf") == 5
assert value("tine_generation") == 2
assert value("tine_site_files") == 3
assert value("tine_workers") == 2 == value("tine_workers_wanted")
assert value("tine_ready") == 1
assert value("process_cpu_seconds_total") >= 0
assert value("process_resident_memory_bytes") > 100_000
print(len(families), "families")
"#;

const FAMILIES: [&str; 28] = [
    "tine_build_info",
    "tine_connections_accepted",
    "tine_connections_closed",
    "tine_connections_limit",
    "tine_connections_open",
    "tine_draining",
    "tine_http_answers_cut",
    "tine_http_sent_bytes",
    "tine_log_events_dropped",
    "tine_log_lines_dropped",
    "tine_old_responses_aborted",
    "tine_processes",
    "tine_processes_limit",
    "tine_reload_result",
    "tine_restarts",
    "tine_site_compile_seconds",
    "tine_site_gzip_variants",
    "tine_site_in_memory_bytes",
    "tine_site_in_memory_limit_bytes",
    "tine_site_index_bytes",
    "tine_site_memory_bytes",
    "tine_site_publish_time_seconds",
    "tine_site_size_bytes",
    "tine_site_written_bytes",
    "tine_stale_files",
    "process_max_fds",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
];

#[test]
fn prometheus_reads_the_metrics() {
    let folder = site();
    let tine = serve(&folder, &["--workers", "2"], Stdio::null());
    let mut client = tine.connect();
    for _ in 0..3 {
        client.send(get("/"));
        client.answer();
    }
    client.send("HEAD /missing HTTP/1.1\r\nHost: x\r\n\r\n");
    client.try_answer(false);
    client.send("nonsense\r\n\r\n");
    client.rest();
    let metrics = tine.ask(get("/metrics"));
    let media_type = metrics.field("Content-Type");
    assert_eq!(media_type, Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let file = folder.path().with_extension("metrics");
    fs::write(&file, &metrics.body).unwrap();
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin/python");
    let output = Command::new(python)
        .args(["-c", READ_METRICS])
        .args(FAMILIES)
        .stdin(File::open(&file).unwrap())
        .output()
        .unwrap();
    fs::remove_file(&file).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", String::from_utf8_lossy(&output.stdout).trim());
}

#[test]
fn the_names_are_good_and_dashboard_and_alerts_use_them() {
    let folder = site();
    let tine = serve(&folder, &["--workers", "2"], Stdio::null());
    let metrics = tine.ask(get("/metrics")).text().to_owned();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(as_older_format(&metrics).as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let known = |name: &str| {
        let start = |end: char| metrics.contains(&format!("\n{name}{end}"));
        start(' ') || start('{')
    };
    let top = concat!(env!("CARGO_MANIFEST_DIR"), "/k8s/components/");
    let mut used = 0;
    for file in ["dashboards/dashboard.json", "alerts/rules.yaml"] {
        let text = fs::read_to_string(format!("{top}{file}")).unwrap();
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        for name in words.filter(|word| word.starts_with("tine_") || word.starts_with("process_")) {
            assert!(known(name), "{file}: there is no {name}");
            used += 1;
        }
    }
    assert!(used > 20, "{used}");
    let dashboard = fs::read(format!("{top}dashboards/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_slice(&dashboard).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 10);
    // What stands beneath spec is what Prometheus itself reads.
    let rules = fs::read_to_string(format!("{top}alerts/rules.yaml")).unwrap();
    let rules = rules.split_once("\nspec:\n").unwrap().1.replace("\n  ", "\n");
    let file = folder.path().with_extension("yaml");
    fs::write(&file, &rules[2..]).unwrap();
    let checked = Command::new("promtool").args(["check", "rules"]).arg(&file).output().unwrap();
    fs::remove_file(&file).unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn counters_never_fall_whoever_dies() {
    let folder = site();
    let tine = serve(&folder, &["--workers", "2"], Stdio::null());
    let names = ["tine_connections_accepted_total", "tine_http_sent_bytes_total"];
    let is_over = AtomicBool::new(false);
    let address = tine.address;
    thread::scope(|scope| {
        let _over = Over(&is_over);
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                // A connection of a worker that is killed is lost.
                let mut client = Client::connect(address);
                client.try_send(get("/"));
                client.try_answer(true);
            }
        });
        let mut last = [0; 2];
        for round in 0..20 {
            let victims = [tine.workers(), vec![tine.compiler()]].concat();
            let victim: Pid = victims[round % victims.len()];
            let _ = kill(victim, Signal::SIGKILL);
            for _ in 0..5 {
                let now = names.map(|name| metric(&tine, name));
                assert!(now.iter().zip(last).all(|(now, last)| *now >= last), "{now:?} {last:?}");
                last = now;
            }
        }
        assert!(last[0] > 20);
    });
    let metrics = tine.ask(get("/metrics"));
    assert!(metrics.text().contains("tine_restarts_total{role=\"worker\",cause=\"signal\"}"));
}

#[test]
fn reload_request_to_a_stopped_compiler_is_answered_202() {
    let folder = site();
    let tine = serve(&folder, &["--watchdog-timeout", "1h"], Stdio::null());
    let compiler = tine.compiler();
    kill(compiler, Signal::SIGSTOP).unwrap();
    let mut client = Client::connect(tine.admin.unwrap());
    client.stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    client.send("POST /reload HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer().status(), 202);
    kill(compiler, Signal::SIGCONT).unwrap();
}

#[test]
fn the_status_page_is_readable_and_live() {
    let folder = site();
    let mut tine = serve(&folder, &["--workers", "2"], Stdio::null());
    let url = format!("http://{}/", tine.admin.unwrap());
    let mut browser = Chromium::start();
    // A telephone's width, dark and light.
    for (scheme, width) in [("light", 1200), ("dark", 375), ("light", 375)] {
        browser.look_like(scheme, width);
        browser.navigate(&url);
        assert_eq!(browser.evaluate("document.querySelector('h1').innerText"), "tine is ready");
        assert_eq!(browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), true);
        let ink = browser.evaluate("getComputedStyle(document.body).color");
        let expected = if scheme == "dark" { "rgb(237, 238, 240)" } else { "rgb(28, 32, 36)" };
        assert_eq!(ink, expected, "{scheme}");
        assert_eq!(browser.complaints(), [""; 0]);
    }
    // It shows what happens without being loaded again.
    browser.evaluate("window.same = true");
    let answers = "[...document.querySelectorAll('dt')].find(e => e.innerText == \
                   'answers so far').nextSibling.innerText";
    assert_eq!(browser.evaluate(answers), "0");
    for _ in 0..7 {
        tine.get("/");
    }
    browser.until(&format!("{answers} == '7' && window.same"));
    // What is wrong stands at the top, with the mend.
    let away = folder.path().with_extension("away");
    fs::rename(folder.path(), &away).unwrap();
    tine.ask("POST /reload HTTP/1.1\r\nHost: x\r\n\r\n");
    let warned =
        "document.querySelector('main > .warn[role]')?.innerText.includes('is not served')";
    browser.until(warned);
    fs::rename(&away, folder.path()).unwrap();
    tine.ask("POST /reload HTTP/1.1\r\nHost: x\r\n\r\n");
    browser.until("!document.querySelector('main > .warn[role]')");
    // And when nobody answers any more it says so.
    tine.signal(Signal::SIGTERM);
    tine.wait();
    browser.until("getComputedStyle(document.querySelector('#lost')).display == 'block'");
}

#[test]
fn the_status_page_needs_no_scripts() {
    let folder = site();
    let tine = serve(&folder, &["--workers", "2"], Stdio::null());
    let mut browser = Chromium::start();
    browser.without_scripts();
    browser.navigate(&format!("http://{}/", tine.admin.unwrap()));
    until("it is shown", || (browser.text_of("h1") == "tine is ready").then_some(()));
    tine.get("/");
    // It loads itself again.
    until("it shows the answer", || {
        browser.text_of("main").contains("answers so far\n1").then_some(())
    });
}
