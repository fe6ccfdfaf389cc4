//! What all clients of a run have seen together, and the rules that each response is held to.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use super::content::{Content, ON_DISK, ONE_BYTE, check, low_byte};

/// Violations that are told in full; all are counted.
const TOLD: usize = 20;

#[derive(Default)]
pub struct Observations {
    pub is_over: AtomicBool,
    /// The greatest generation that any client has received complete.
    newest: AtomicU64,
    /// The greatest generation that a client can have received.
    published: AtomicU64,
    pub responses: AtomicU64,
    /// Responses of a generation below the newest one known before the request was sent.
    pub older: AtomicU64,
    pub torn: AtomicU64,
    /// Connections that ended early or could not be made, and responses other than 200.
    pub failures: AtomicU64,
    /// 503 with Retry-After for the file on disk, which its directory's removal explains.
    pub unavailable: AtomicU64,
    /// Connections that ended early because their worker was killed.
    pub killed: AtomicU64,
    /// The most generations that were published after that of a response in memory, until the
    /// response was complete.
    pub spanned: AtomicU64,
    /// Client ports of connections whose worker is about to be killed.
    excused: Mutex<HashSet<u16>>,
    /// Generations that any client has received complete.
    seen: Mutex<BTreeSet<u64>>,
    /// File and generation of each ETag.
    etags: Mutex<HashMap<String, (usize, u64)>>,
    pub latencies: Mutex<Vec<Duration>>,
    violations: Mutex<Vec<String>>,
}

/// A response with status 200.
pub struct Received<'r> {
    pub file: usize,
    pub etag: Option<&'r str>,
    pub body: &'r [u8],
    /// `Observations::newest` before the request was sent.
    pub at_least: u64,
}

impl Observations {
    pub fn newest(&self) -> u64 {
        self.newest.load(SeqCst)
    }

    pub fn begin_publication(&self, generation: u64) {
        self.published.store(generation, SeqCst);
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(SeqCst)
    }

    pub fn seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Checks a response and takes note of its generation.
    pub fn check(&self, received: &Received) {
        self.responses.fetch_add(1, SeqCst);
        let published = self.published.load(SeqCst);
        let file = received.file;
        let generation = match check(file, received.body) {
            Content::Torn(what) => {
                return self.count(&self.torn, || format!("file {file} is torn {what}"));
            }
            Content::Whole(generation) => generation,
            // The latest generation with that last byte: a violation of it is one of all others.
            Content::LowByte(byte) => {
                let age = u64::from(low_byte(published).wrapping_sub(byte));
                let Some(generation) = published.checked_sub(age) else {
                    return self.count(&self.torn, || format!("byte {byte} of {published}"));
                };
                generation
            }
        };
        let at_least = received.at_least;
        if generation > published {
            self.count(&self.torn, || format!("{generation} was received before its publication"));
        }
        if file != ON_DISK && file != ONE_BYTE {
            self.spanned.fetch_max(published.saturating_sub(generation), SeqCst);
        }
        if generation < at_least {
            self.count(&self.older, || format!("file {file} of {generation} after {at_least}"));
        }
        if file != ONE_BYTE {
            self.check_etag(received, generation);
            self.newest.fetch_max(generation, SeqCst);
            self.seen.lock().unwrap().insert(generation);
        }
    }

    /// An ETag that belongs to another body shows a head and a body of two generations.
    fn check_etag(&self, received: &Received, generation: u64) {
        let Some(etag) = received.etag else { return };
        let own = (received.file, generation);
        let known = *self.etags.lock().unwrap().entry(etag.to_owned()).or_insert(own);
        if known != own {
            self.count(&self.torn, || format!("{own:?} has the ETag of {known:?}"));
        }
    }

    /// Counts a response that is not a 200.
    pub fn refuse(&self, file: usize, head: &str) {
        let is_unavailable = head.starts_with("HTTP/1.1 503 ") && head.contains("Retry-After: ");
        match is_unavailable && file == ON_DISK {
            true => self.count(&self.unavailable, || "503 for the file on disk".to_owned()),
            false => self.count(&self.failures, || format!("file {file}: {head}")),
        }
    }

    /// Counts a connection that ended early.
    pub fn fail(&self, port: u16, error: &std::io::Error) {
        match self.excused.lock().unwrap().remove(&port) {
            true => drop(self.killed.fetch_add(1, SeqCst)),
            false => self.count(&self.failures, || format!("connection of port {port}: {error}")),
        }
    }

    /// Expects connections to end, since their worker is killed.
    pub fn excuse(&self, ports: impl IntoIterator<Item = u16>) {
        self.excused.lock().unwrap().extend(ports);
    }

    fn count(&self, counter: &AtomicU64, describe: impl FnOnce() -> String) {
        counter.fetch_add(1, SeqCst);
        let mut violations = self.violations.lock().unwrap();
        if violations.len() < TOLD {
            violations.push(describe());
        }
    }

    pub fn print(&self, what: &str) {
        let mut latencies = self.latencies.lock().unwrap();
        latencies.sort_unstable();
        let part = |share: usize| {
            latencies.get((latencies.len() * share / 1000).min(latencies.len().saturating_sub(1)))
        };
        println!(
            "{what}: {} of {} generations seen, {} responses, which span up to {}; {} older, \
             {} torn, {} failures, {} unavailable, {} connections of killed workers; latency \
             p50 {:?}, p99 {:?}, max {:?}",
            self.seen(),
            self.published.load(SeqCst),
            self.responses.load(SeqCst),
            self.spanned.load(SeqCst),
            self.older.load(SeqCst),
            self.torn.load(SeqCst),
            self.failures.load(SeqCst),
            self.unavailable.load(SeqCst),
            self.killed.load(SeqCst),
            part(500).copied().unwrap_or_default(),
            part(990).copied().unwrap_or_default(),
            part(1000).copied().unwrap_or_default(),
        );
    }

    /// Fails if any response was older or torn, or any connection failed.
    pub fn assert_none_wrong(&self) {
        let wrong = [&self.older, &self.torn, &self.failures].map(|counter| counter.load(SeqCst));
        let violations = self.violations.lock().unwrap();
        assert_eq!(wrong, [0; 3], "older, torn, failures: {violations:#?}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::body;
    use super::*;

    fn counts(file: usize, of: u64, at_least: u64, published: u64) -> (u64, u64) {
        let observations = Observations::default();
        observations.begin_publication(published);
        let body = body(file, of);
        observations.check(&Received { file, etag: Some("e"), body: &body, at_least });
        (observations.older.into_inner(), observations.torn.into_inner())
    }

    #[test]
    fn response_below_the_newest_generation_counts_as_older() {
        for file in [ONE_BYTE, 1, ON_DISK] {
            assert_eq!(counts(file, 300, 300, 301), (0, 0));
            assert_eq!(counts(file, 301, 300, 301), (0, 0));
            assert_eq!(counts(file, 299, 300, 301), (1, 0));
        }
        assert_eq!(counts(1, 302, 300, 301), (0, 1));
        assert_eq!(counts(ONE_BYTE, 4, 0, 3), (0, 1));
    }

    #[test]
    fn etag_of_another_generation_counts_as_torn() {
        let observations = Observations::default();
        observations.begin_publication(2);
        for generation in [1, 1, 2] {
            let body = body(1, generation);
            observations.check(&Received { file: 1, etag: Some("e"), body: &body, at_least: 0 });
        }
        assert_eq!(observations.torn.into_inner(), 1);
    }

    #[test]
    fn failure_is_excused_once_and_only_for_connections_of_a_killed_worker() {
        let observations = Observations::default();
        observations.excuse([1]);
        for port in [1, 1, 2] {
            observations.fail(port, &std::io::ErrorKind::ConnectionReset.into());
        }
        assert_eq!(observations.killed.into_inner(), 1);
        assert_eq!(observations.failures.into_inner(), 2);
    }

    #[test]
    #[should_panic(expected = "older, torn, failures")]
    fn any_older_response_fails_the_run() {
        let observations = Observations::default();
        observations.begin_publication(2);
        let body = body(1, 1);
        observations.check(&Received { file: 1, etag: None, body: &body, at_least: 2 });
        observations.assert_none_wrong();
    }
}
