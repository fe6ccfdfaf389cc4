use std::time::Duration;

use super::*;
use crate::config::User;
use crate::http::extra::Caching;

fn run(args: &[&str], env: &[(&str, &str)]) -> Result<Command, Failure> {
    parse(args.iter().map(Into::into), env.iter().map(|(name, value)| (name.into(), value.into())))
}

fn config(args: &[&str], env: &[(&str, &str)]) -> Config {
    match run(args, env) {
        Ok(Command::Serve(config, _)) => *config,
        other => panic!("{other:?}"),
    }
}

fn complaint(args: &[&str], env: &[(&str, &str)]) -> String {
    run(args, env).expect_err("a mistake").to_string()
}

#[test]
fn without_arguments_the_defaults_hold() {
    assert_eq!(config(&[], &[]), Config::default());
}

#[test]
fn a_flag_wins_over_its_variable() {
    let env = [("TINE_IDLE_TIMEOUT", "5s"), ("TINE_ROOT", "a"), ("TINE_WORKERS", "")];
    assert_eq!(config(&[], &env).limits.idle_timeout, Duration::from_secs(5));
    assert_eq!(config(&[], &env).root.to_str(), Some("a"));
    let both = config(&["--idle-timeout=7s", "b"], &env);
    assert_eq!(both.limits.idle_timeout, Duration::from_secs(7));
    assert_eq!(both.root.to_str(), Some("b"));
}

#[test]
fn addresses_are_gathered_and_port_moves_only_the_default() {
    let address = |text: &str| text.parse().unwrap();
    let two = [address("127.0.0.1:1"), address("[::1]:2")];
    assert_eq!(
        config(&["--listen", "127.0.0.1:1", "--listen", "[::1]:2"], &[]).listen,
        Listen::On(two.to_vec())
    );
    let env = [("TINE_LISTEN", "127.0.0.1:1, [::1]:2"), ("PORT", "99")];
    assert_eq!(config(&[], &env).listen, Listen::On(two.to_vec()));
    assert_eq!(config(&["--listen", "[::1]:2"], &env).listen, Listen::On(vec![two[1]]));
    assert_eq!(config(&[], &[("PORT", "99")]).listen, Listen::Everywhere(99));
}

#[test]
fn sizes_counts_and_users_are_read() {
    let config = config(
        &[
            "--memory-file-max=1KiB",
            "--memory-max",
            "2 MiB",
            "--body-max=0",
            "--user",
            "7",
            "--workers=3",
        ],
        &[("TINE_REQUEST_HEAD_MAX", "9")],
    );
    assert_eq!((config.memory_file_max, config.memory_max), (1024, Some(2 << 20)));
    assert_eq!((config.limits.body_max, config.limits.request_head_max), (0, 9));
    assert_eq!(config.user, Some(User { uid: 7, gid: 7 }));
    assert_eq!(config.workers.map(std::num::NonZero::get), Some(3));
}

#[test]
fn the_page_for_missing_ones_is_index_unless_it_is_said() {
    let spa = |args: &[&str], env: &[(&str, &str)]| {
        config(args, env).spa.map(|path| path.to_str().unwrap().to_owned())
    };
    assert_eq!(spa(&["--spa", "folder"], &[]).as_deref(), Some("index.html"));
    assert_eq!(config(&["--spa", "folder"], &[]).root.to_str(), Some("folder"));
    assert_eq!(spa(&["--spa=/app/shell.html"], &[]).as_deref(), Some("app/shell.html"));
    assert_eq!(spa(&[], &[("TINE_SPA", "on")]).as_deref(), Some("index.html"));
    assert_eq!(spa(&["--spa=off"], &[("TINE_SPA", "a.html")]), None);
}

#[test]
fn fields_are_gathered_and_a_variable_has_one_a_line() {
    let block = |args: &[&str], env: &[(&str, &str)]| {
        config(args, env).extra.block(Caching::Never).to_owned()
    };
    let both = "Cache-Control: no-store\r\nX-A: b\r\nX-C: d, e\r\n";
    assert_eq!(block(&["--header", "X-A: b", "--header=X-C: d, e"], &[]), both);
    let env = [("TINE_HEADER", "X-A: b\nX-C: d, e\n")];
    assert_eq!(block(&[], &env), both);
    assert_eq!(block(&["--header", "A: b"], &env), "Cache-Control: no-store\r\nA: b\r\n");
}

#[test]
fn a_mistake_names_the_setting_and_the_mend() {
    for (args, words) in [
        (&["--idle-timeout", "soon"][..], ["--idle-timeout: \"soon\"", "write 10s"]),
        (&["--idle-timeout", "0s"], ["--idle-timeout", "write 1ms"]),
        (&["--memory-file-max", "1KB"], ["--memory-file-max: \"1KB\"", "64KiB"]),
        (&["--memory-max", "20000000000GiB"], ["--memory-max", "64KiB"]),
        (&["--request-head-max", "0"], ["--request-head-max", "write 1"]),
        (&["--workers", "0"], ["--workers", "write 1"]),
        (&["--user", "www-data"], ["--user", "65532:65532"]),
        (&["--user", "4294967295"], ["--user", "65532:65532"]),
        (&["--watchdog-timeout", "2s"], ["--watchdog-timeout", "write 3s"]),
        (&["--connections-max", "0"], ["--connections-max", "write 1"]),
        (&["--listen", "8080"], ["--listen: \"8080\"", "127.0.0.1:8080"]),
        (&["--listen", "[::]:1", "--listen", "[::]:1"], ["--listen", "once"]),
        (&["--header", "Content-Length: 5"], ["--header: \"Content-Length: 5\"", "leave out"]),
        (&["--spa=../secret"], ["--spa: \"../secret\"", "write index.html"]),
        (&["--spa=true"], ["--spa: \"true\"", "write on, off"]),
        (&["--header-count-max=0"], ["--header-count-max", "write 1"]),
        (&["--spa="], ["--spa", "write index.html"]),
        (&["--idle-timout", "5s"], ["--idle-timout", "did you mean --idle-timeout?"]),
        (&["--xyzzy"], ["--xyzzy", "tine --help"]),
        (&["-x"], ["-x", "tine --help"]),
        (&["--workers"], ["--workers", "tine --help"]),
        (&["healthcheck", "a"], ["healthcheck takes no folder", "asks"]),
        (&["a", "b"], ["more than one folder", "one ROOT"]),
    ] {
        let complaint = complaint(args, &[]);
        assert!(words.iter().all(|word| complaint.contains(word)), "{args:?}: {complaint}");
    }
    assert!(complaint(&[], &[("TINE_WORKERS", "x")]).starts_with("TINE_WORKERS: \"x\""));
    assert!(complaint(&[], &[("PORT", "http")]).starts_with("PORT: \"http\""));
}

#[test]
fn help_is_given_whatever_else_is_wrong_and_port_only_read_where_it_counts() {
    for args in [["--help"], ["--version"]] {
        let told = run(&args, &[("TINE_WORKERS", "x"), ("PORT", "x")]);
        assert!(matches!(told, Ok(Command::Print(_))), "{args:?}");
    }
    assert!(run(&["--listen", "127.0.0.1:0"], &[("PORT", "x")]).is_ok());
}

#[test]
fn unknown_variables_warn_and_service_links_do_not() {
    let warnings = |name| match run(&[], &[(name, "x")]) {
        Ok(Command::Serve(_, warnings)) => warnings,
        other => panic!("{other:?}"),
    };
    let near = warnings("TINE_WORKER");
    assert_eq!(near, ["TINE_WORKER is no setting, TINE_WORKERS would be; it is ignored"]);
    assert_eq!(warnings("TINE_QUUX_FROBNICATION").len(), 1);
    for name in ["TINE_PORT", "TINE_PORT_80_TCP", "TINE_SERVICE_HOST", "TINES", "HOME"] {
        assert_eq!(warnings(name), [""; 0], "{name}");
    }
}

#[test]
fn former_names_are_usage_errors_that_name_the_new_ones() {
    let usage = |args: &[&str], env: &[(&str, &str)], message: &str| {
        assert_eq!(run(args, env), Err(Failure::user(message)));
    };
    usage(&["--settle", "1ms"], &[], "--settle is now --reload-debounce");
    usage(&["--settle=1ms"], &[], "--settle is now --reload-debounce");
    usage(&[], &[("TINE_SETTLE", "1ms")], "TINE_SETTLE is now TINE_RELOAD_DEBOUNCE");
    assert_eq!(config(&[], &[("TINE_SETTLE", "")]), Config::default());
    for &(old, new) in renamed::RENAMED {
        let is_setting = |flag: &str| SETTINGS.iter().any(|setting| setting.flag == flag);
        assert!(!is_setting(old) && is_setting(new), "--{old} is now --{new}");
        usage(&[&format!("--{old}")], &[], &format!("--{old} is now --{new}"));
        let (old, new) = (settings::variable(old), settings::variable(new));
        usage(&[], &[(&old, "1")], &format!("{old} is now {new}"));
    }
}

#[test]
fn health_check_reports_usage_errors_with_exit_code_1() {
    let code = |args: &[&str]| run(args, &[]).expect_err("a mistake").exit_code();
    assert_eq!(code(&["--nonsense"]), 2);
    assert_eq!(code(&["healthcheck", "--nonsense"]), 1);
    assert_eq!(code(&["--nonsense", "healthcheck"]), 1);
    assert_eq!(code(&["healthcheck", "--timeout", "soon"]), 1);
}

#[test]
fn old_response_timeout_is_20_seconds_by_default() {
    assert_eq!(config(&[], &[]).old_response_timeout, Duration::from_secs(20));
    let longer = config(&["--old-response-timeout", "1m"], &[]);
    assert_eq!(longer.old_response_timeout, Duration::from_secs(60));
}

#[test]
fn the_help_fits_one_screen() {
    let help = help();
    assert!(help.lines().count() <= 24, "{help}");
    assert!(help.lines().all(|line| line.len() <= 80), "{help}");
    let shows = |setting: &Setting| {
        let flag = format!("  --{}", setting.flag);
        help.contains(&(flag.clone() + " ")) || help.contains(&(flag + "[="))
    };
    assert!(SETTINGS.iter().all(shows), "{help}");
}
