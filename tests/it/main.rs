//! tine from outside: each test starts the program and talks to it over real sockets.

mod admin;
mod adversity;
mod codings;
mod crashes;
mod drain;
mod exhaustion;
mod fairness;
mod files;
mod generations;
mod golden;
#[path = "../common/harness.rs"]
mod harness;
mod health;
mod limits;
mod logging;
mod processes;
mod proxies;
mod readers;
mod reloads;
mod requests;
mod running;
mod stopping;
mod tidy;
mod tree;
