//! The program as it is started: its words, its mistakes, its exit codes.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::Uid;

use crate::harness::{Client, Folder, PROGRAM, Tine, command};

fn run(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).env_clear().stdin(Stdio::null()).output().unwrap()
}

/// The exit code and the only line of a start that fails.
fn failure(command: &mut Command) -> (i32, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    (output.status.code().unwrap(), said)
}

fn assert_failure(command: &mut Command, code: i32, words: &[&str]) {
    let (got, said) = failure(command);
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
    assert_eq!(got, code, "{said}");
}

#[test]
fn help_and_version_are_printed() {
    let help = run(&["--help"]);
    assert!(help.status.success() && help.stderr.is_empty());
    assert!(String::from_utf8(help.stdout).unwrap().contains("--idle-timeout 75s"));
    let version = String::from_utf8(run(&["--version"]).stdout).unwrap();
    let expected = format!("tine {} (", env!("CARGO_PKG_VERSION"));
    assert!(version.starts_with(&expected), "{version}");
}

#[test]
fn a_page_for_missing_ones_that_is_missing_itself_is_said() {
    let folder = Folder::new(&[("index.html", b"home")]);
    let tine = Tine::serve(&folder, &["--spa=shell.html"]);
    let line = "tine: --spa: shell.html is no file that can be served; unknown pages answer 404";
    assert_eq!(tine.warnings, [line]);
    let mut client = tine.connect();
    client.send("GET /user/7 HTTP/1.1\r\nHost: x\r\nSec-Fetch-Mode: navigate\r\n\r\n");
    assert_eq!(client.answer().status(), 404);
}

#[test]
fn each_mistake_is_one_line_and_an_exit_code() {
    let folder = Folder::new(&[("file", b"")]);
    let file = folder.join("file");
    let nowhere = folder.join("nowhere");
    assert_failure(&mut command(&nowhere), 2, &["no folder", "nowhere", "tine FOLDER"]);
    assert_failure(&mut command(&file), 2, &["file is no folder", "name the folder"]);
    let with = |args: &[&str]| {
        let mut command = command(folder.path());
        command.args(args);
        command
    };
    assert_failure(&mut with(&["--idle-timeout", "x"]), 2, &["--idle-timeout", "write 10s"]);
    assert_failure(&mut with(&["--memory-file-max", "x"]), 2, &["--memory-file-max", "64KiB"]);
    assert_failure(&mut with(&["--nonsense"]), 2, &["--nonsense", "--help"]);
    let elsewhere = ["--listen", "203.0.113.1:80"];
    assert_failure(&mut with(&elsewhere), 1, &["203.0.113.1:80", "not have that address"]);
}

#[test]
fn a_port_that_is_taken_is_said_also_if_tine_has_it() {
    let folder = Folder::new(&[]);
    let words = ["another program has that port", "--listen"];
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut second = command(folder.path());
    assert_failure(second.args(["--listen", &address]), 1, &[&address, words[0], words[1]]);
    let tine = Tine::serve(&folder, &[]);
    let address = tine.address.to_string();
    let mut second = command(folder.path());
    assert_failure(second.args(["--listen", &address]), 1, &[&address, words[0], words[1]]);
}

#[test]
fn a_port_without_the_right_to_it_is_said() {
    let folder = Folder::new(&[]);
    let start = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    assert_ne!(start.trim(), "0", "this machine lets anybody have any port");
    // Root loses the right with the capability.
    let mut command = if Uid::effective().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"]);
        command.arg(PROGRAM).arg(folder.path()).env_clear();
        command.args(["--log", "off", "--admin-listen", "off"]);
        command
    } else {
        command(folder.path())
    };
    let words = ["127.0.0.1:1", "below 1024", "CAP_NET_BIND_SERVICE"];
    assert_failure(command.args(["--listen", "127.0.0.1:1"]), 1, &words);
}

#[test]
fn the_start_line_says_what_where_and_by_how_many() {
    let folder = Folder::new(&[("a", &[0; 1500]), ("b/c", b"")]);
    let tine = Tine::serve(&folder, &["--workers", "3"]);
    let line = &tine.start_line;
    for words in [
        folder.path().to_str().unwrap(),
        "(2 files, 1.5 kB)",
        &format!("on http://{}/ ", tine.address),
        "with 3 workers (--workers), ready in ",
    ] {
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn unknown_variables_are_warned_of_and_service_links_are_not() {
    let folder = Folder::new(&[]);
    let mut command = command(folder.path());
    command.args(["--listen", "127.0.0.1:0"]);
    command.env("TINE_WORKRES", "2").env("TINE_PORT", "tcp://10.0.0.1:80");
    let warning = "tine: TINE_WORKRES is no setting, TINE_WORKERS would be; it is ignored";
    assert_eq!(Tine::start(&mut command).warnings, [warning]);
}

#[test]
fn by_default_both_families_are_served_on_the_port_of_the_platform() {
    let folder = Folder::new(&[("a", b"a")]);
    let tine = Tine::start(command(folder.path()).env("PORT", "0"));
    let port = tine.address.port();
    assert!(tine.start_line.contains(&format!("http://localhost:{port}/")), "{}", tine.start_line);
    for host in ["127.0.0.1", "[::1]"] {
        let mut client = Client::connect(format!("{host}:{port}").parse().unwrap());
        client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.answer().text(), "a");
    }
}

#[test]
fn several_addresses_are_served_each_by_its_own_listener() {
    let folder = Folder::new(&[("a", b"a")]);
    // The unspecified address takes IPv4 too, but for a port that has an IPv4 listener.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let wanted = [format!("127.0.0.1:{port}"), format!("[::]:{port}"), "[::1]:0".to_owned()];
    let mut command = command(folder.path());
    command.env("TINE_LISTEN", wanted.join(", "));
    let mut tine = Tine::start(&mut command);
    let urls: Vec<_> = tine.start_line.split("http://").skip(1).collect();
    assert_eq!(urls.len(), 3, "{}", tine.start_line);
    let third = urls[2].split('/').next().unwrap();
    for address in [&*wanted[0], &format!("[::1]:{port}"), third] {
        let mut client = Client::connect(address.parse().unwrap());
        client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.answer().text(), "a", "{address}");
    }
    tine.signal(Signal::SIGTERM);
    tine.ends_well();
}

#[test]
fn it_serves_as_somebody_else_who_could_not_have_opened_the_folder() {
    if !Uid::effective().is_root() {
        let folder = Folder::new(&[]);
        let words = ["cannot become user 65532:65532", "--user"];
        let mut command = command(folder.path());
        command.args(["--listen", "127.0.0.1:0", "--user", "65532"]);
        return assert_failure(&mut command, 1, &words);
    }
    use std::os::unix::fs::PermissionsExt as _;
    let closed = Folder::new(&[("site/a", b"a")]);
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let args = ["--listen", "127.0.0.1:0", "--user", "12345:23456"];
    let tine = Tine::start(command(&closed.join("site")).args(args));
    assert_eq!(tine.get("/a").text(), "a");
    let status = |pid| fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let worker = status(tine.workers()[0]);
    for line in ["Uid:\t12345\t12345\t12345\t12345", "Gid:\t23456\t23456\t23456\t23456"] {
        assert!(worker.contains(line), "{worker}");
    }
    assert!(worker.contains("Groups:\t \n") && worker.contains("CapEff:\t0000000000000000"));

    // What the server itself may not enter is a mistake of the user's.
    let own = Folder::new(&[]);
    fs::set_permissions(own.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let words = ["cannot read the folder", "as user 65532", "chmod o+rx"];
    assert_failure(command(own.path()).args(["--listen", "127.0.0.1:0"]), 2, &words);
}

#[test]
fn a_linked_root_is_followed() {
    let folder = Folder::new(&[("real/a", b"a")]);
    symlink("real", folder.join("link")).unwrap();
    let tine = Tine::start(command(&folder.join("link")).args(["--listen", "127.0.0.1:0"]));
    assert_eq!(tine.get("/a").text(), "a");
}
