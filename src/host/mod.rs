//! What else asks the kernel, beside the sockets of workers.

pub mod arena;
pub mod doorbell;
pub mod open_files;
pub(crate) mod recency;
pub mod shared_scoreboard;
