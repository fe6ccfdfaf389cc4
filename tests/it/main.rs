//! tine from outside: each test starts the program and talks to it over real sockets.

mod codings;
mod crashes;
mod exhaustion;
mod fairness;
mod files;
mod generations;
mod golden;
#[path = "../common/harness.rs"]
mod harness;
mod health;
mod limits;
mod processes;
mod requests;
mod running;
mod stopping;
mod tidy;
mod tree;
