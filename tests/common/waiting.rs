//! Waiting for what is to happen, with a deadline, and for nothing else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take on a slow and busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for an event that nothing announces.
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, look).unwrap_or_else(|| panic!("in vain: {what}"))
}

/// The same, with its own end.
pub fn within<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// Sets a flag when it goes: threads that go on until then end where a check fails, too, and the
/// failure is told instead of waited behind.
pub struct Over<'f>(pub &'f AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Lets time go by in which nothing is to happen.
pub fn pass(time: Duration) {
    within::<()>(time, || None);
}
