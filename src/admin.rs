//! How tine is, for those who look after it: probes, metrics, a page, and a way to ask for a look
//! at the folder. What is said follows from the board; nothing here touches a socket or a file.

mod checks;
mod history;
mod metrics;
mod page;
mod pulse;
mod usage;

use crate::answer::{Plan, Reply};
use crate::http::method::Method;
use crate::http::request::{Expectation, Request};
use crate::http::status::Status;
use crate::http::target::{Locator, Target};
use crate::scoreboard::{Phase, ReloadResult, Scoreboard};

use checks::Probe;
pub use history::History;
pub use pulse::Pulse;
pub use usage::Usage;

/// What every answer says beside the rest: the page loads nothing, and is no part of another.
pub const POLICY: &str = include_str!("admin/policy.txt");

const TEXT: [&str; 2] = ["text/plain", "; charset=utf-8"];
const HTML: [&str; 2] = ["text/html", "; charset=utf-8"];
const METRICS: [&str; 2] = ["application/openmetrics-text", "; version=1.0.0; charset=utf-8"];

const READ: &str = "GET, HEAD";
const WRITE: &str = "POST";

/// What does not change while tine runs.
#[derive(Debug)]
pub struct Setup {
    /// The folder.
    pub root: String,
    /// The architecture that it runs on.
    pub arch: &'static str,
    /// How many workers there should be.
    pub workers: usize,
    /// Most connections of each.
    pub connections_max: usize,
    /// Most memory for held files, in bytes.
    pub memory_max: u64,
    /// How many turns of a second a process may be silent.
    pub watchdog_timeout: u32,
    /// When tine was started, in milliseconds since 1970.
    pub started: u64,
}

impl Setup {
    /// Most connections of all workers.
    fn connections(&self) -> usize {
        self.workers.saturating_mul(self.connections_max)
    }
}

/// What can be seen from here at one moment.
pub struct View<'v> {
    /// What the processes say.
    pub board: Scoreboard<'v>,
    /// Whose heart beats.
    pub pulse: &'v Pulse,
    /// What was a moment ago.
    pub history: &'v History,
    /// What does not change.
    pub setup: &'v Setup,
    /// The time, in milliseconds since 1970.
    pub millis: u64,
    /// What the processes have used up.
    pub usage: &'v dyn Fn() -> Usage,
}

impl View<'_> {
    /// Decides. There is nothing here but what is said of tine itself.
    pub fn answer(&self, request: &Request<'_, '_>) -> Plan<'static> {
        let reply = match request.target {
            _ if request.expectation == Expectation::Unknown => {
                Reply::Error(Status::ExpectationFailed)
            }
            _ if request.method == Method::Unknown => Reply::Error(Status::NotImplemented),
            Target::Path(locator) => self.find(locator, request),
            Target::Server | Target::Tunnel => Reply::NotAllowed(READ),
        };
        let body = request.method != Method::Head;
        Plan { reply, body, persistence: request.persistence }
    }

    fn find(&self, locator: Locator<'_>, request: &Request<'_, '_>) -> Reply<'static> {
        let reads = matches!(request.method, Method::Get | Method::Head);
        // Whatever its value, as Kubernetes' own have it.
        let is_verbose = locator.query.is_some_and(|query| {
            let mut parts = query.split(|&octet| octet == b'&');
            parts.any(|part| part.split(|&octet| octet == b'=').next() == Some(b"verbose"))
        });
        match locator.path {
            b"/reload" if request.method == Method::Post => self.reload(request),
            b"/reload" => Reply::NotAllowed(WRITE),
            b"/" | b"/metrics" | b"/livez" | b"/readyz" | b"/startupz" if !reads => {
                Reply::NotAllowed(READ)
            }
            b"/" => Reply::Made(Status::Ok, HTML, page::of(self).into_bytes()),
            b"/metrics" => Reply::Made(Status::Ok, METRICS, metrics::of(self).into_bytes()),
            b"/livez" => self.probe(Probe::Live, is_verbose),
            b"/readyz" => self.probe(Probe::Ready, is_verbose),
            b"/startupz" => self.probe(Probe::Started, is_verbose),
            _ => Reply::Error(Status::NotFound),
        }
    }

    fn probe(&self, probe: Probe, is_verbose: bool) -> Reply<'static> {
        let (is_well, text) = probe.report(self, is_verbose);
        let status = if is_well { Status::Ok } else { Status::ServiceUnavailable };
        Reply::Made(status, TEXT, text.into_bytes())
    }

    /// A look that begins after the request. A browser says where a request comes from (RFC 6454
    /// §7, Fetch Metadata), and none is to ask for work in its user's name.
    fn reload(&self, request: &Request<'_, '_>) -> Reply<'static> {
        let says = |name: &str| request.fields.first(name).is_some();
        if says("origin") || says("sec-fetch-site") {
            return Reply::Error(Status::Forbidden);
        }
        if self.board.control().phase() != Phase::Serving {
            return Reply::Error(Status::ServiceUnavailable);
        }
        Reply::Awaited
    }
}

/// The answer to the reload request with this number, once it is known.
pub fn result_of(number: u64, board: Scoreboard<'_>) -> Option<Reply<'static>> {
    let (requests, result) = board.compiler().result();
    if requests < number {
        return None;
    }
    let generation = board.generation();
    let (status, text) = match result {
        ReloadResult::Published => (Status::Ok, format!("ready: generation {generation}\n")),
        ReloadResult::Unchanged | ReloadResult::Pending => {
            (Status::Ok, format!("unchanged: generation {generation}\n"))
        }
        ReloadResult::Refused | ReloadResult::IndexLost => {
            (Status::Conflict, format!("refused: {}\n", board.compiler().reason()))
        }
    };
    Some(Reply::Made(status, TEXT, text.into_bytes()))
}
