//! tine, a container-first static web server. ARCHITECTURE.md is the way in.

#![warn(missing_docs, unreachable_pub)]
#![warn(clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]

pub mod admin;
pub mod answer;
pub mod cli;
pub mod compile;
pub mod config;
pub mod conn;
pub mod control;
pub mod failure;
pub mod faults;
pub mod figures;
pub mod healthcheck;
pub mod host;
pub mod http;
pub mod log;
pub mod peer;
pub mod process;
pub mod response;
pub mod scoreboard;
pub mod site;
mod sys;
