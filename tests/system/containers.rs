//! The image as people meet it: run, mounted, derived, checked, stopped.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::thread;

use crate::harness::{Folder, get};
use crate::podman::{Container, LOCKED, ask_podman, build, image};

/// Most bytes of the image's files, as of today, so that growth is a decision.
const IMAGE_MAX: u64 = 995_000;

fn mount(folder: &Folder) -> String {
    format!("--volume={}:/html:ro", folder.path().display())
}

#[test]
fn the_image_says_what_it_is_and_has_nothing_else() {
    let inspect = |format: &str| ask_podman(&["image", "inspect", "--format", format, image()]);
    assert_eq!(inspect("{{.Config.User}}"), "65532:65532");
    assert_eq!(inspect("{{.Config.StopSignal}}"), "SIGTERM");
    assert_eq!(inspect("{{json .Config.Entrypoint}}"), r#"["/tine"]"#);
    assert_eq!(inspect("{{json .Config.ExposedPorts}}"), r#"{"7788/tcp":{},"7789/tcp":{}}"#);
    assert_eq!(inspect("{{json .HealthCheck.Test}}"), r#"["CMD","/tine","healthcheck"]"#);
    let environment = inspect("{{json .Config.Env}}");
    assert!(environment.contains("\"TINE_ROOT=/html\",\"TINE_ADMIN_LISTEN=[::]:7789\""));
    let version = inspect("{{index .Labels \"org.opencontainers.image.version\"}}");
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let size: u64 = inspect("{{.Size}}").parse().unwrap();
    println!("image: {size} bytes (at most {IMAGE_MAX})");
    assert!(size <= IMAGE_MAX);
    let files = mounted(image(), |folder| {
        let mut files = Vec::new();
        walk(folder, &mut files);
        // What is reproducible has no time of its own.
        for path in &files {
            assert_eq!(fs::metadata(folder.join(path)).unwrap().mtime(), 0, "{path}");
        }
        files
    });
    assert_eq!(files, ["html/index.html", "tine"]);
}

/// Looks at the files of an image.
fn mounted<T>(image: &str, look: impl FnOnce(&Path) -> T) -> T {
    let folder = ask_podman(&["image", "mount", image]);
    let seen = look(Path::new(&folder));
    ask_podman(&["image", "unmount", image]);
    seen
}

/// The files beneath a folder, in order.
fn walk(folder: &Path, files: &mut Vec<String>) {
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(inner).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path.strip_prefix(folder).unwrap().display().to_string()),
            }
        }
    }
    files.sort();
}

#[test]
fn another_build_has_the_same_layers() {
    let layers =
        |name: &str| ask_podman(&["image", "inspect", "--format", "{{json .RootFS.Layers}}", name]);
    let first = layers(image());
    // In another place, with nothing left of the first.
    let cache = tempfile::tempdir().unwrap();
    build("localhost/tine-again", &[], Some(cache.path()));
    let second = layers("localhost/tine-again");
    ask_podman(&["rmi", "localhost/tine-again"]);
    assert_eq!(first, second);
}

#[test]
fn the_same_lines_build_for_arm64() {
    let (name, arm64) = ("localhost/tine-arm64", ["--build-arg", "TARGETARCH=arm64"]);
    build(name, &arm64, None);
    let head = mounted(name, |folder| fs::read(folder.join("tine")).unwrap()[..20].to_vec());
    ask_podman(&["rmi", name]);
    // An ELF file for machine 183, which is AArch64 (elf(5)).
    assert_eq!((&head[..4], head[18]), (&b"\x7fELF"[..], 183));
}

#[test]
fn it_runs_with_all_taken_away_that_can_be() {
    let container = Container::run(image(), LOCKED, &[], 7788);
    let home = container.get("/");
    assert_eq!((home.status(), home.body), (200, fs::read("html/index.html").unwrap()));
    assert_eq!(container.check_health(), (Some(0), String::new()));
    let idle = container.memory();
    let ask = || {
        let mut client = container.connect();
        for _ in 0..2500 {
            client.send(get("/"));
            assert_eq!(client.answer().status(), 200);
        }
    };
    thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(ask))));
    let busy = container.memory();
    println!("memory: {} KiB idle, {} KiB after 10,000 requests", idle >> 10, busy >> 10);
    assert!(busy < 4 << 20, "{busy} bytes");
    assert_eq!(container.inspect("{{.State.OOMKilled}} {{.State.Running}}"), "false true");
    assert_eq!(container.stop(), "0");
}

#[test]
fn a_stop_waits_for_what_is_in_flight_and_for_nobody_who_is_idle() {
    let folder = Folder::new(&[("large.bin", &vec![7; 30_000_000])]);
    let container = Container::run(image(), &[&mount(&folder)], &[], 7788);
    let mut idle = container.connect();
    idle.send(get("/missing"));
    assert_eq!(idle.answer().status(), 404);
    let mut download = container.connect();
    download.send(get("/large.bin"));
    let stopped = thread::scope(|scope| {
        let stop = scope.spawn(|| container.stop());
        // It is not killed, which a code of 137 would say, and its connections end with it.
        assert!(idle.is_closed());
        assert_eq!(download.answer().body.len(), 30_000_000);
        stop.join().unwrap()
    });
    assert_eq!(stopped, "0");
}

#[test]
fn arguments_add_to_what_the_image_says() {
    let container = Container::run(image(), &[], &["--workers", "3"], 7788);
    assert_eq!(container.get("/").status(), 200);
    assert!(container.log().contains("serving /html (1 file"), "{}", container.log());
    assert!(container.log().contains("3 workers"), "{}", container.log());
}

#[test]
fn health_is_found_wherever_the_environment_says() {
    let off = ["--env", "TINE_ADMIN_LISTEN=off"];
    for (variable, port) in [
        ("TINE_LISTEN=[::1]:7788", 7788),
        ("TINE_LISTEN=127.0.0.1:9000", 9000),
        ("TINE_LISTEN=0.0.0.0:8088", 8088),
        ("PORT=8080", 8080),
    ] {
        let options = [&["--env", variable], &off[..]].concat();
        let container = Container::run(image(), &options, &[], port);
        assert_eq!(container.check_health(), (Some(0), String::new()), "{variable}");
    }
    // A health check does not see the arguments of another process; where that serves it need not
    // know, as long as it finds where it says how it is.
    let arguments = ["--listen=127.0.0.1:9000"];
    let container = Container::run(image(), &[], &arguments, 9000);
    assert_eq!(container.check_health(), (Some(0), String::new()));
    let container = Container::run(image(), &off, &arguments, 9000);
    let (code, said) = container.check_health();
    assert!(code == Some(1) && said.starts_with("tine: not ready: "), "{code:?} {said}");
}

#[test]
fn where_there_is_no_ipv6_it_listens_on_ipv4() {
    let without = ["--sysctl=net.ipv6.conf.all.disable_ipv6=1"];
    let container = Container::run(image(), &without, &[], 7788);
    assert_eq!(container.get("/").status(), 200);
    assert_eq!(container.check_health(), (Some(0), String::new()));
    assert!(
        container.log().contains("status page on http://localhost:7789/"),
        "{}",
        container.log()
    );
}

#[test]
fn volumes_of_all_kinds_are_served_or_named() {
    let folder = Folder::new(&[("index.html", b"mine"), ("secret.txt", b"secret")]);
    fs::set_permissions(folder.join("secret.txt"), Permissions::from_mode(0o600)).unwrap();
    for path in [folder.path(), &folder.join("index.html"), &folder.join("secret.txt")] {
        chown(path, Some(4321), Some(4321)).unwrap();
    }
    let container = Container::run(image(), &[LOCKED, &[&*mount(&folder)]].concat(), &[], 7788);
    assert_eq!(container.get("/").text(), "mine");
    assert_eq!(container.get("/secret.txt").status(), 403);
    assert!(container.log().contains("cannot read secret.txt"), "{}", container.log());

    let empty = Folder::new(&[]);
    let container = Container::run(image(), &[&mount(&empty)], &[], 7788);
    assert_eq!(container.get("/").status(), 404);
    assert!(container.log().contains("(0 files"), "{}", container.log());
    assert_eq!(container.check_health().0, Some(0));
}

#[test]
fn nothing_of_the_default_site_is_left_in_a_derived_image() {
    let folder = Folder::new(&[("dist/index.html", b"mine"), ("dist/a/b.txt", b"b")]);
    folder.write("Dockerfile", format!("FROM {}\nCOPY dist/ /html/\n", image()).as_bytes());
    let place = folder.path().to_str().unwrap();
    ask_podman(&["build", "--isolation=chroot", "--tag=localhost/tine-derived", place]);
    let container = Container::run("localhost/tine-derived", LOCKED, &[], 7788);
    assert_eq!((container.get("/").text(), container.get("/a/b.txt").text()), ("mine", "b"));
    let log = container.log();
    drop(container);
    ask_podman(&["rmi", "localhost/tine-derived"]);
    assert!(log.contains("serving /html (2 files"), "{log}");
}
