//! What tine says of itself, and the health check that asks.

use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use tine::config::{AdminListen, Config, Listen};
use tine::healthcheck::ask;

use crate::harness::{Folder, PROGRAM, Tine, get, until};

fn site() -> Folder {
    Folder::new(&[("index.html", b"home"), ("livez", b"a file"), ("docs/readyz", b"another")])
}

/// Runs a health check in an environment of its own.
fn check(env: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(PROGRAM);
    // Longer than a busy machine takes; the last one counts.
    command.args(["healthcheck", "--timeout=20s"]).args(args).env_clear().envs(env.iter().copied());
    let Output { status, stderr, stdout } = command.stdin(Stdio::null()).output().unwrap();
    assert!(stdout.is_empty());
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_file_of_that_name_loses_and_is_served_if_nobody_is_told_how_it_is() {
    let folder = site();
    let tine = Tine::serve(&folder, &[]);
    assert_eq!(tine.get("/livez").text(), "ok\n");
    assert_eq!(tine.get("/docs/readyz").text(), "another");
    assert!(tine.warnings.iter().any(|line| line.contains("/livez")), "{:?}", tine.warnings);
    let tine = Tine::serve(&folder, &["--health", "off"]);
    assert_eq!(tine.get("/livez").text(), "a file");
    assert_eq!(tine.get("/readyz").status(), 404);
    assert_eq!(tine.warnings, [""; 0]);
}

#[test]
fn while_it_drains_it_is_alive_and_not_ready() {
    let folder = site();
    let mut tine = Tine::serve(&folder, &["--workers", "1"]);
    let (mut ready, mut live) = (tine.connect(), tine.connect());
    for client in [&mut ready, &mut live] {
        client.send(get("/readyz"));
        assert_eq!(client.answer().text(), "ok\n");
        // What has begun is answered to the end.
        client.send("GET /");
    }
    tine.signal(Signal::SIGTERM);
    until("newcomers are kept out", || {
        let address = tine.address;
        std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100))
            .is_err()
            .then_some(())
    });
    ready.send("readyz HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = ready.answer();
    assert_eq!((answer.status(), answer.text()), (503, "not ready\n"));
    assert_eq!(answer.field("Cache-Control"), Some("no-store"));
    live.send("livez HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(live.answer().status(), 200);
    tine.ends_well();
}

#[test]
fn the_check_finds_a_server_with_the_same_environment() {
    let folder = site();
    let well = (Some(0), String::new());
    for listen in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
        let tine = Tine::start(
            crate::harness::command(folder.path()).env("TINE_LISTEN", listen).arg("--workers=1"),
        );
        let port = tine.address.port().to_string();
        let listen = listen.replace(":0", &format!(":{port}"));
        assert_eq!(check(&[("TINE_LISTEN", &listen)], &[]), well, "{listen}");
        assert_eq!(check(&[], &["--listen", &listen, "--timeout=20s"]), well, "{listen}");
    }
    let tine = Tine::serve(&folder, &["--health", "off"]);
    let port = tine.address.port().to_string();
    let env = [("PORT", &*port), ("TINE_HEALTH", "off")];
    assert_eq!(check(&env, &[]), well);
    let (code, said) = check(&env[..1], &[]);
    assert!(code == Some(1) && said.contains("says 404 Not Found"), "{code:?} {said}");
}

#[test]
fn the_check_asks_first_where_tine_says_how_it_is() {
    let folder = site();
    let mut command = crate::harness::command(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let mut tine = Tine::start(command.args(["--shutdown-delay", "1h"]));
    let (admin, gone) = (tine.admin.unwrap().to_string(), "127.0.0.1:1");
    let env = [("TINE_ADMIN_LISTEN", &*admin), ("TINE_LISTEN", gone)];
    assert_eq!(check(&env, &[]), (Some(0), String::new()));
    tine.signal(Signal::SIGTERM);
    until("it says that it is not ready", || {
        let (code, said) = check(&env, &[]);
        (code == Some(1) && said.contains("503 Service Unavailable (phase: told to stop)"))
            .then_some(())
    });
    tine.signal(Signal::SIGTERM);
    tine.wait();
    // Nobody answers there: then it is asked where it serves.
    let tine = Tine::serve(&folder, &[]);
    let address = tine.address.to_string();
    let env = [("TINE_ADMIN_LISTEN", gone), ("TINE_LISTEN", &*address)];
    assert_eq!(check(&env, &[]), (Some(0), String::new()));
    // Somebody listens there and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    let env = [("TINE_ADMIN_LISTEN", &*silent), ("TINE_LISTEN", &*address)];
    assert_eq!(check(&env, &["--timeout=4s"]), (Some(0), String::new()));
}

#[test]
fn the_check_believes_no_other_tine_on_the_default_port() {
    let folder = site();
    let (tine, patience) = (Tine::serve(&folder, &[]), Duration::from_secs(20));
    let mut config = Config { listen: Listen::On(vec![tine.address]), ..Config::default() };
    config.admin = AdminListen::ByDefault(tine.address);
    assert_eq!(ask(&config, patience), Ok(()));
    // It is busy, or speaks another language there: who says that it is ready is believed.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    config.listen = Listen::On(vec![silent.local_addr().unwrap()]);
    assert_eq!(ask(&config, patience), Ok(()));
    config.listen = Listen::On(vec!["127.0.0.1:1".parse().unwrap()]);
    assert!(ask(&config, patience).unwrap_err().to_string().contains("refused"));
    config.admin = AdminListen::On(tine.address);
    assert_eq!(ask(&config, patience), Ok(()));
}

#[test]
fn the_check_says_why_not_and_does_not_wait_for_ever() {
    let one_line = |said: &str| said.starts_with("tine: ") && said.matches('\n').count() == 1;
    // Nobody listens, since the port was somebody's who has left; or somebody says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (code, said) = check(&[("TINE_LISTEN", &gone)], &[]);
    assert!(code == Some(1) && one_line(&said) && said.contains("refused"), "{code:?} {said}");
    let silent = silent.local_addr().unwrap().to_string();
    let (code, said) = check(&[("TINE_LISTEN", &silent)], &["--timeout", "50ms"]);
    assert!(code == Some(1) && one_line(&said) && said.contains("timed out"), "{code:?} {said}");
    let (code, said) = check(&[], &["--timeout", "soon"]);
    assert!(code == Some(1) && said.contains("write 10s"), "{code:?} {said}");
}
