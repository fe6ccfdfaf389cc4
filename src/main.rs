//! The program: reads what it is told, serves, and says why it ended.

use std::io::{Write as _, stdout};
use std::time::Instant;

use tine::cli::{self, Command};
use tine::healthcheck;
use tine::log::Style;
use tine::process::{self, say};

// A part of the program, not of the library: tests link the library too, and their panics unwind.
#[cfg(all(target_env = "musl", panic = "abort", not(test)))]
#[path = "sys/unwind.rs"]
mod unwind;

fn main() {
    let started = Instant::now();
    let mut style = Style::PLAIN;
    let outcome = match cli::parse(std::env::args_os().skip(1), std::env::vars_os()) {
        Ok(Command::Print(text)) => {
            // A reader that has gone away wants no more.
            let _ = stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush());
            Ok(0)
        }
        Ok(Command::Serve(config, warnings)) => {
            style = process::style(&config);
            warnings.iter().for_each(|warning| say(style, warning));
            process::serve(&config, style, started)
        }
        Ok(Command::CheckHealth(config, timeout)) => healthcheck::ask(&config, timeout).map(|()| 0),
        Err(failure) => Err(failure),
    };
    process::end(outcome.unwrap_or_else(|failure| {
        say(style, &failure.to_string());
        failure.exit_code()
    }))
}
