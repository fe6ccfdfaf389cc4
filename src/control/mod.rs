//! Decisions about processes and about the memory that they share, sans-io: no system call, no clock.

pub mod space;
