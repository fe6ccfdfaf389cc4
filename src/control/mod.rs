//! Decisions about processes and about the memory that they share, sans-io: no system call, no
//! clock.

pub mod backoff;
pub mod publication;
pub mod reload;
pub mod space;
pub mod supervisor;
