//! The image, built from the Dockerfile, and containers of it: Debian's buildah, podman and runc.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::harness::{Answer, Client, get, until};

/// All that can be taken from a container.
pub const LOCKED: &[&str] = &[
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--user=12345:0",
    "--memory=16m",
    "--pids-limit=16",
    "--cpus=0.5",
];

/// The image's name; the first who asks has it built.
pub fn image() -> &'static str {
    static NAME: OnceLock<&str> = OnceLock::new();
    NAME.get_or_init(|| {
        build("localhost/tine-test", &[], None);
        "localhost/tine-test"
    })
}

/// Builds the Dockerfile; what an earlier build has left in `cache` is used again.
pub fn build(name: &str, args: &[&str], cache: Option<&Path>) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(top.join("tests/image"));
    command.args([name.as_ref(), top.as_os_str()]).args(args);
    if let Some(cache) = cache {
        command.env("TMPDIR", cache);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs podman, with limits that are no more than the hard ones here.
pub fn podman(args: &[&str]) -> Output {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/containers.conf");
    if !config.exists() {
        let limits =
            "[containers]\ndefault_ulimits = [\"nofile=8192:8192\", \"nproc=1024:1024\"]\n";
        fs::write(&config, limits).unwrap();
    }
    let mut command = Command::new("podman");
    command.env("CONTAINERS_CONF", &config).args(["--runtime", "runc"]).args(args);
    command.output().unwrap()
}

/// What podman says, if it succeeds.
pub fn ask_podman(args: &[&str]) -> String {
    let Output { status, stdout, stderr } = podman(args);
    assert!(status.success(), "podman {args:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap().trim().to_owned()
}

pub struct Container {
    id: String,
    pub address: SocketAddr,
}

impl Container {
    /// Runs an image with options of podman's and arguments of tine's, and waits until it serves on
    /// that port of its own.
    pub fn run(image: &str, options: &[&str], args: &[&str], port: u16) -> Self {
        let container = Self::begin(image, options, args, port);
        until("the container says that it serves", || {
            let log = container.log();
            assert!(container.inspect("{{.State.Running}}") == "true", "it ended: {log}");
            log.contains(" ready in ").then_some(())
        });
        container
    }

    /// Runs an image likewise, and waits for nothing.
    pub fn begin(image: &str, options: &[&str], args: &[&str], port: u16) -> Self {
        let publish = format!("--publish=127.0.0.1::{port}");
        let run = [&["run", "--detach", &publish], options, &[image], args].concat();
        let id = ask_podman(&run);
        let mut container = Self { id, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        container.address = container.published(port);
        container
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where a port of its own can be reached.
    pub fn published(&self, port: u16) -> SocketAddr {
        ask_podman(&["port", &self.id, &port.to_string()]).parse().unwrap()
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    pub fn get(&self, path: &str) -> Answer {
        let mut client = self.connect();
        client.send(get(path));
        client.answer()
    }

    /// All that it has said.
    pub fn log(&self) -> String {
        let Output { stdout, stderr, .. } = podman(&["logs", &self.id]);
        String::from_utf8([stdout, stderr].concat()).unwrap()
    }

    pub fn inspect(&self, format: &str) -> String {
        ask_podman(&["inspect", "--format", format, &self.id])
    }

    /// The exit code of its health check, and what that says.
    pub fn check_health(&self) -> (Option<i32>, String) {
        let checked = podman(&["healthcheck", "run", &self.id]);
        let log = self.inspect("{{range .State.Healthcheck.Log}}{{.Output}}{{end}}");
        (checked.status.code(), log)
    }

    /// Its memory in bytes, as its control group counts it: what it uses that is no file's.
    pub fn memory(&self) -> u64 {
        let pid = self.inspect("{{.State.Pid}}");
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let behind = |mark| groups.lines().find_map(|line| Some(line.split_once(mark)?.1));
        let (top, path, name) = match behind(":memory:") {
            Some(path) => ("/sys/fs/cgroup/memory", path, "rss "),
            None => ("/sys/fs/cgroup", behind("0::").expect("a control group"), "anon "),
        };
        let file = Path::new(top).join(path.trim_start_matches('/')).join("memory.stat");
        let stat = fs::read_to_string(file).unwrap();
        stat.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
    }

    /// Stops it as `docker stop` does, and returns its exit code.
    pub fn stop(&self) -> String {
        ask_podman(&["stop", "--time=60", &self.id]);
        self.inspect("{{.State.ExitCode}}")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        podman(&["rm", "--force", "--time=0", &self.id]);
    }
}
