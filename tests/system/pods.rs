//! Pods as the manifests describe them, in real containers: what kubelet and the endpoints
//! controller do to them is done here, by the figures of the rendered Deployment, beside clients
//! that ask.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Client, Folder, Over, get, pass, until};
use crate::kustomize::{TOP, environment, find, objects, rendered};
use crate::peers::Peer;
use crate::podman::{Container, ask_podman, image, podman};
use crate::rollouts::{Count, ROLLOUTS, Replica, Slots, half_keep, nginx_for};
use crate::versions::{publish, text, volume};

/// A pod of the base, in a container with all that its Deployment says.
struct Pod {
    container: Container,
    admin: SocketAddr,
    grace: u64,
    /// What stops it, once it is told to stop.
    stopping: Option<JoinHandle<Output>>,
    /// A site that comes late.
    _late: Option<Arc<Folder>>,
}

/// What is changed of the manifests.
#[derive(Clone, Copy, Default)]
struct Without {
    shutdown_delay: bool,
    readiness: bool,
    grace: bool,
}

/// The Deployment's pod.
fn spec() -> Value {
    let objects = objects(&rendered(&[], ""));
    find(&objects, "Deployment")["spec"]["template"]["spec"].clone()
}

/// podman's words for what a pod says.
fn options(pod: &Value, environment: &BTreeMap<String, String>) -> Vec<String> {
    let (container, security) = (&pod["containers"][0], &pod["securityContext"]);
    let memory = container["resources"]["limits"]["memory"].as_str().unwrap();
    let mut options = vec![
        format!("--user={}:{}", security["runAsUser"], security["runAsGroup"]),
        format!("--memory={}", memory.replace("Mi", "m")),
        "--read-only".to_owned(),
        "--cap-drop=ALL".to_owned(),
        "--security-opt=no-new-privileges".to_owned(),
        "--publish=127.0.0.1::7789".to_owned(),
    ];
    options.extend(environment.iter().map(|(name, value)| format!("--env={name}={value}")));
    options
}

impl Pod {
    fn start(without: Without, more: &[&str]) -> Self {
        let spec = spec();
        let mut environment = environment(&spec["containers"][0]);
        if without.shutdown_delay {
            environment.insert("TINE_SHUTDOWN_DELAY".to_owned(), "0s".to_owned());
        }
        let options = options(&spec, &environment);
        let options: Vec<&str> =
            options.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let container = Container::begin(image(), &options, &[], 7788);
        let admin = container.published(7789);
        let grace = spec["terminationGracePeriodSeconds"].as_u64().unwrap();
        let grace = if without.grace { 0 } else { grace };
        let pod = Self { container, admin, grace, stopping: None, _late: None };
        if !without.readiness {
            until("the pod is ready", || pod.is_ready().then_some(()));
        }
        pod
    }

    /// The status of a probe; none if nobody answers.
    fn probe(&self, path: &str) -> Option<u16> {
        let mut client = Client::try_connect(self.admin).ok()?;
        client.try_send(get(path)).then_some(())?;
        client.try_answer(true).map(|answer| answer.status())
    }
}

impl Replica for Pod {
    fn address(&self) -> SocketAddr {
        self.container.address
    }

    fn is_ready(&self) -> bool {
        self.probe("/readyz") == Some(200)
    }

    /// What kubelet does in the background: TERM, and KILL when the grace period is over.
    fn stop(&mut self) {
        let (id, time) = (self.container.id().to_owned(), format!("--time={}", self.grace));
        self.stopping = Some(thread::spawn(move || podman(&["stop", &time, &id])));
        until("the pod is told to stop", || (!self.is_ready()).then_some(()));
    }

    fn ends(&mut self) {
        let stopped = self.stopping.take().expect("who stops it").join().unwrap();
        assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
        let state = self.container.inspect("{{.State.Status}} {{.State.ExitCode}}");
        assert_eq!(state, if self.grace > 0 { "exited 0" } else { "exited 137" });
    }
}

/// The site of all of them.
fn site() -> Folder {
    Folder::new(&[("index.html", b"home")])
}

fn mount(folder: &Folder, place: &str) -> String {
    format!("--volume={}:{place}:ro", folder.path().display())
}

/// A pod whose site comes a moment later, as volumes do.
fn start_late(without: Without) -> Pod {
    let late = Arc::new(Folder::new(&[]));
    let mount = mount(&late, "/late");
    let more = [&*mount, "--env=TINE_ROOT=/late/html", "--env=TINE_WAIT_FOR_ROOT=1m"];
    let mut pod = Pod::start(without, &more);
    pod._late = Some(Arc::clone(&late));
    thread::spawn(move || {
        pass(Duration::from_secs(1));
        late.write("html/index.html", b"home");
    });
    pod
}

fn roll(rollouts: usize, without: Without) -> Count {
    let site = site();
    let start = || match without.readiness {
        true => start_late(without),
        false => Pod::start(without, &[&mount(&site, "/html")]),
    };
    let first = start();
    until("the first is ready", || first.is_ready().then_some(()));
    let place = Folder::new(&[]);
    let socket = place.join("socket");
    let proxy = Peer::haproxy(&Slots::config(&socket, first.address()));
    until("haproxy answers", || Client::try_get(proxy.address, "/"));
    let mut slots = Slots::new(socket, first.address());
    let count = Count::default();
    count.beside(proxy.address, (first, rollouts), start, half_keep, |servers| slots.set(servers));
    count
}

#[test]
fn ten_rollouts_of_pods_lose_nothing_behind_haproxy() {
    roll(ROLLOUTS, Without::default()).check("haproxy, in containers");
}

#[test]
fn ten_rollouts_of_pods_lose_nothing_behind_nginx() {
    let site = site();
    let start = || Pod::start(Without::default(), &[&mount(&site, "/html")]);
    let first = start();
    let proxy = Peer::nginx(&nginx_for(&[first.address()]));
    until("nginx answers", || Client::try_get(proxy.address, "/"));
    let count = Count::default();
    let keeps_none = |_| false;
    count.beside(proxy.address, (first, ROLLOUTS), start, keeps_none, |servers| {
        proxy.reload_nginx(&nginx_for(servers));
    });
    count.check("nginx, in containers");
}

#[test]
fn without_what_protects_a_rollout_requests_are_lost() {
    for (what, without) in [
        ("the shutdown delay", Without { shutdown_delay: true, ..Without::default() }),
        ("the readiness probe", Without { readiness: true, ..Without::default() }),
        ("the grace period", Without { grace: true, ..Without::default() }),
    ] {
        let count = roll(2, without);
        let (answers, failed) =
            (count.answers.load(Ordering::Relaxed), count.failed.load(Ordering::Relaxed));
        println!("without {what}: {answers} answers, {failed} failed");
        assert!(failed > 0 && answers > failed, "without {what} nothing was lost");
    }
}

#[test]
fn a_configmap_is_flipped_under_load_in_a_running_pod() {
    const VERSIONS: u64 = 20;
    let folder = volume();
    let pod = Pod::start(Without::default(), &[&mount(&folder, "/html")]);
    let (newest, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let _over = Over(&is_over);
        for file in 0..3 {
            let (newest, is_over, address) = (&newest, &is_over, pod.address());
            scope.spawn(move || {
                let (mut client, mut last) = (Client::connect(address), 0);
                while last < VERSIONS && !is_over.load(Ordering::Relaxed) {
                    client.send(get(&format!("/{file}.txt")));
                    let answer = client.answer();
                    let version = answer.text()[..6].parse().unwrap();
                    assert!(answer.text() == text(version, file) && version >= last);
                    last = version;
                    newest.fetch_max(version, Ordering::Relaxed);
                }
            });
        }
        for version in 1..=VERSIONS {
            publish(&folder, version);
            until("the version is served", || {
                (newest.load(Ordering::Relaxed) == version).then_some(())
            });
            assert!(pod.is_ready());
        }
    });
}

#[test]
fn the_pod_has_memory_enough_idle_and_loaded() {
    let pod = Pod::start(Without::default(), &[]);
    let idle = pod.container.memory();
    let output = Command::new("wrk")
        .args(["-t1", "-c200", "-d5s", &format!("http://{}/", pod.address())])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!said.contains("Non-2xx"), "{said}");
    let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:")).unwrap().trim();
    let loaded = pod.container.memory();
    println!("a pod: {} KiB idle, {} KiB after {rate} requests a second", idle >> 10, loaded >> 10);
    // A quarter of what it may have.
    assert!(loaded < 24 << 20, "{loaded}");
    assert_eq!(pod.container.inspect("{{.State.OOMKilled}}"), "false");
}

#[test]
fn podman_plays_the_rendered_base_with_a_configmap() {
    // podman has no probes for an image without a shell, and would publish each port on the host.
    let mut changes = format!(
        "images:\n  - name: tine\n    newName: {}\n    newTag: latest\npatches:\n  \
         - target:\n      kind: Deployment\n    patch: |-\n      \
         - op: replace\n        path: /spec/replicas\n        value: 1\n",
        image()
    );
    let container = "/spec/template/spec/containers/0";
    for part in ["startupProbe", "livenessProbe", "readinessProbe", "ports"] {
        changes += &format!("      - op: remove\n        path: {container}/{part}\n");
    }
    let file = Path::new(TOP).join("target/k8s/play.yaml");
    fs::write(&file, rendered(&["html-configmap"], &changes)).unwrap();
    let file = file.to_str().unwrap();
    // One that an aborted run has left.
    podman(&["pod", "rm", "--force", "--ignore", "tine-pod-0"]);
    let played = Played(file);
    ask_podman(&["kube", "play", file]);
    let infra = ask_podman(&["pod", "inspect", "--format", "{{.InfraContainerID}}", "tine-pod-0"]);
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let where_it_is = || {
        until("it has an address", || {
            let ip = ask_podman(&["inspect", "--format", format, &infra]);
            Some(SocketAddr::new(ip.parse().ok()?, 7788))
        })
    };
    let page = "It works, from a ConfigMap.";
    let asks = || {
        let address = where_it_is();
        until("it serves", || Client::try_get(address, "/"));
        let mut client = Client::connect(address);
        client.send(get("/"));
        assert!(client.answer().text().contains(page));
    };
    asks();
    // A restart of podman's own now and then leaves the pod without its network.
    for command in ["stop", "start"] {
        ask_podman(&["pod", command, "tine-pod-0"]);
    }
    asks();
    ask_podman(&["pod", "stop", "tine-pod-0"]);
    assert_eq!(ask_podman(&["inspect", "--format", "{{.State.ExitCode}}", "tine-pod-0-tine"]), "0");
    drop(played);
}

/// What was played, to be taken down.
struct Played<'f>(&'f str);

impl Drop for Played<'_> {
    fn drop(&mut self) {
        podman(&["kube", "down", self.0]);
        podman(&["pod", "rm", "--force", "tine-pod-0"]);
    }
}
