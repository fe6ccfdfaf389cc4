//! The decision: what a request is answered with, as a value. Only a file on disk is decided about
//! once more, when it is open ([`Plan::with_file`]).

use std::io;
use std::ops::Range;

use nix::errno::Errno;

use crate::http::coding::Wishes;
use crate::http::extra::Caching;
use crate::http::fields::{Fields, Name};
use crate::http::limits::Limits;
use crate::http::method::Method;
use crate::http::navigation::is_navigation;
use crate::http::precondition::{Conditions, Validators, Verdict};
use crate::http::range::{Asked, Extent};
use crate::http::request::{Expectation, Persistence, Request};
use crate::http::status::Status;
use crate::http::target::{self, Abnormal, Locator, Target};
use crate::site::{Asset, Content, DiskFile, FileStat, Probe, Route, Selected, Site};

/// What to answer. The status follows from the reply; it is never set.
#[derive(Debug)]
pub struct Plan<'s> {
    /// The answer's kind.
    pub reply: Reply<'s>,
    /// Whether the reply's body is sent; its head is the same without it (RFC 9110 §9.3.2).
    pub body: bool,
    /// What the client and the protocol want to become of the connection.
    pub persistence: Persistence,
}

/// The methods that a site answers (RFC 9110 §10.2.1).
pub const METHODS: &str = "GET, HEAD, OPTIONS";

/// The kinds of answer.
#[derive(Debug)]
pub enum Reply<'s> {
    /// A file on disk: what it is now decides, see [`Plan::with_file`].
    NeedsFile(Selected<'s>, Conditions, Option<Box<Asked>>),
    /// A file: 200.
    Whole(Selected<'s>),
    /// A part of a file: 206.
    Part(Selected<'s>, Range<u64>),
    /// Several parts of a file: 206 as multipart/byteranges.
    Parts(Selected<'s>, Box<[Range<u64>]>),
    /// No part that there is of a file of this size: 416.
    Unsatisfiable(Selected<'s>, u64),
    /// The client has it: 304.
    Unchanged(Selected<'s>, Validators),
    /// The client wanted another one: 412.
    Failed(Selected<'s>),
    /// The page that answers for all that is missing, and finds out itself what to show: 200.
    StandIn(Selected<'s>),
    /// It has another URL: 301 to this one, as it stands in the `Location` field.
    Moved(String),
    /// The site's own page for what is missing: 404.
    Missing(Selected<'s>),
    /// How tine is: whether it is well (200), or not (503).
    Health(bool),
    /// What is said of tine itself, with this status, media type and text.
    Made(Status, [&'static str; 2], Vec<u8>),
    /// What is not known yet.
    Awaited,
    /// That what was asked for is begun and not done: 202.
    Underway,
    /// Another method than these: 405.
    NotAllowed(&'static str),
    /// What methods there are: 204.
    Methods,
    /// An error with a short page of tine's own.
    Error(Status),
}

impl Reply<'_> {
    /// Whether the answer may be kept.
    pub fn caching(&self) -> Caching {
        match self {
            Self::Whole(_)
            | Self::Part(..)
            | Self::Parts(..)
            | Self::Unchanged(..)
            | Self::Moved(_) => Caching::AsConfigured,
            Self::NeedsFile(..)
            | Self::Unsatisfiable(..)
            | Self::Failed(_)
            | Self::StandIn(_)
            | Self::Missing(_)
            | Self::Health(_)
            | Self::Made(..)
            | Self::Awaited
            | Self::Underway
            | Self::NotAllowed(_)
            | Self::Methods
            | Self::Error(_) => Caching::Never,
        }
    }
}

impl<'s> Plan<'s> {
    /// The answer to what could not be understood, or not be waited for any longer; it ends the
    /// connection.
    pub fn refusal(status: Status, body: bool) -> Self {
        Self { reply: Reply::Error(status), body, persistence: Persistence::Close }
    }

    /// The file that has to be opened before the plan can be carried out, if there is one.
    pub fn file(&self) -> Option<DiskFile<'s>> {
        match self.selected()?.content() {
            Content::Disk(file) => Some(file),
            Content::Memory(_) => None,
        }
    }

    /// What is sent in full or decided about, as long as that takes its file.
    fn selected(&self) -> Option<Selected<'s>> {
        match self.reply {
            Reply::NeedsFile(selected, ..)
            | Reply::StandIn(selected)
            | Reply::Missing(selected) => Some(selected),
            _ => None,
        }
    }

    /// Whether its file, which was opened, is the one that was compiled, in the same version.
    pub fn is_compiled_version(&self, opened: &FileStat) -> bool {
        self.selected().is_none_or(|selected| selected.is_compiled_version(opened))
    }

    /// The plan once its file is open; `now` is in seconds since 1970.
    #[must_use]
    pub fn with_file(self, opened: &FileStat, now: u64) -> Self {
        let Reply::NeedsFile(selected, conditions, asked) = self.reply else { return self };
        let validators = selected.validators_of(opened, now);
        let reply = weigh(selected, opened.size, validators, conditions, asked.as_deref());
        Self { reply, ..self }
    }

    /// The plan if its file, which was there when the site was compiled, cannot be opened now.
    #[must_use]
    pub fn without_file(self, site: &'s Site<'s>, error: &io::Error) -> Self {
        let reply = match error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw) {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV => match self.reply {
                Reply::Missing(_) => Reply::Error(Status::NotFound),
                // A page on disk would have to be opened too, and may be gone likewise.
                _ => site
                    .not_found_page()
                    .map(Asset::identity)
                    .filter(|page| matches!(page.content(), Content::Memory(_)))
                    .map_or(Reply::Error(Status::NotFound), Reply::Missing),
            },
            Errno::EACCES => Reply::Error(Status::Forbidden),
            // Others may soon be closed.
            Errno::EMFILE | Errno::ENFILE => Reply::Error(Status::ServiceUnavailable),
            _ => Reply::Error(Status::InternalServerError),
        };
        Self { reply, ..self }
    }
}

/// Decides. It knows nothing but the site, the limits, whether more requests are wanted, and the
/// request.
pub fn answer<'s>(
    site: &'s Site<'s>,
    limits: &Limits,
    is_ready: bool,
    request: &Request<'_, '_>,
) -> Plan<'s> {
    let reply = match request.method {
        _ if request.expectation == Expectation::Unknown => Reply::Error(Status::ExpectationFailed),
        Method::Get | Method::Head => represent(site, limits, is_ready, request),
        Method::Options => Reply::Methods,
        Method::Connect | Method::Post | Method::NotAllowed => Reply::NotAllowed(METHODS),
        Method::Unknown => Reply::Error(Status::NotImplemented),
    };
    let body = request.method != Method::Head;
    Plan { reply, body, persistence: request.persistence }
}

/// From target to file, then the conditions (RFC 9110 §13.2.1: only for what would be a 200).
fn represent<'s>(
    site: &'s Site<'s>,
    limits: &Limits,
    is_ready: bool,
    request: &Request<'_, '_>,
) -> Reply<'s> {
    let Target::Path(locator) = request.target else {
        return Reply::Error(Status::BadRequest);
    };
    let normal = match target::normalise(locator.path) {
        Ok(normal) => normal,
        Err(Abnormal::Malformed) => return Reply::Error(Status::BadRequest),
        Err(Abnormal::EncodedSlash) => return missing(site, locator, &request.fields),
    };
    match site.lookup(&normal.path) {
        None => missing(site, locator, &request.fields),
        Some(Route::Directory) => moved(&normal.path, "/", locator),
        Some(_) if normal.merged => moved(&normal.path, "", locator),
        // Who can answer is alive.
        Some(Route::Probe(Probe::Live)) => Reply::Health(true),
        Some(Route::Probe(Probe::Ready)) => Reply::Health(is_ready && site.is_there()),
        Some(Route::Unreadable) => Reply::Error(Status::Forbidden),
        Some(Route::Asset(asset)) => {
            let fields = &request.fields;
            choose(asset.select(|| Wishes::read(fields)), fields, limits, request.method)
        }
    }
}

/// The fields that make anything but the whole of a file the answer.
const SELECTING: [Name; 5] =
    [Name::IfMatch, Name::IfNoneMatch, Name::IfUnmodifiedSince, Name::IfModifiedSince, Name::Range];

/// From a file to what of it is to be sent.
fn choose<'s>(
    selected: Selected<'s>,
    fields: &Fields<'_, '_>,
    limits: &Limits,
    method: Method,
) -> Reply<'s> {
    let is_in_memory = matches!(selected.content(), Content::Memory(_));
    if is_in_memory && !fields.has_any(SELECTING) {
        return Reply::Whole(selected);
    }
    let conditions = Conditions::read(fields, || selected.etag());
    let asked = match method {
        Method::Get => Asked::read(fields, limits.ranges_max, || selected.etag()),
        _ => None,
    };
    if is_in_memory {
        weigh(selected, selected.size(), selected.validators(), conditions, asked.as_ref())
    } else {
        Reply::NeedsFile(selected, conditions, asked.map(Box::new))
    }
}

/// The conditions first, and then the ranges (RFC 9110 §13.2.2).
fn weigh<'s>(
    selected: Selected<'s>,
    size: u64,
    validators: Validators,
    conditions: Conditions,
    asked: Option<&Asked>,
) -> Reply<'s> {
    match conditions.weigh(validators) {
        Verdict::Unchanged => return Reply::Unchanged(selected, validators),
        Verdict::Failed => return Reply::Failed(selected),
        Verdict::Proceed => {}
    }
    match asked.map_or(Extent::Whole, |asked| asked.of(size, validators)) {
        Extent::Whole => Reply::Whole(selected),
        Extent::Part(range) => Reply::Part(selected, range),
        // Octets in a coding are decoded by whoever gets them, and what frames the parts is in none
        // (RFC 9110 §8.4, §15.3.7.2).
        Extent::Parts(_) if selected.coding().is_some() => Reply::Whole(selected),
        Extent::Parts(ranges) => Reply::Parts(selected, ranges),
        Extent::Unsatisfiable => Reply::Unsatisfiable(selected, size),
    }
}

/// The path begins with one slash and no more, so that the location can name no other host; the
/// query is kept as it was sent.
fn moved<'s>(path: &[u8], slash: &str, locator: Locator<'_>) -> Reply<'s> {
    debug_assert!(path.starts_with(b"/") && !path.starts_with(b"//"), "an abnormal path");
    let (mark, query) = match locator.query {
        Some(query) => ("?", String::from_utf8_lossy(query)),
        None => ("", "".into()),
    };
    Reply::Moved(format!("{}{slash}{mark}{query}", target::encode(path)))
}

/// A browser that goes to a page that there is not gets the one that stands in for all of them, if
/// the site has one; whoever asks for a part of a page hears that it is missing.
fn missing<'s>(site: &'s Site<'s>, locator: Locator<'_>, fields: &Fields<'_, '_>) -> Reply<'s> {
    if !site.is_there() {
        return Reply::Error(Status::ServiceUnavailable);
    }
    let select = |asset: Asset<'s>| asset.select(|| Wishes::read(fields));
    if let Some(asset) = site.spa_fallback()
        && is_navigation(fields, locator.path)
    {
        // Nothing is there that a tag could match (RFC 9110 §13.1.1).
        let wants_a_match = fields.has(Name::IfMatch);
        let selected = select(asset);
        return if wants_a_match { Reply::Failed(selected) } else { Reply::StandIn(selected) };
    }
    let page = site.not_found_page().map(select);
    page.map_or(Reply::Error(Status::NotFound), Reply::Missing)
}
