//! What is said of scans: in the log, and on the scoreboard.

use std::time::Instant;

use crate::compile::{CompileError, Summary, WriteStats};
use crate::control::reload::ScanEnd;
use crate::figures::{bytes, counted};
use crate::process::clock::millis;
use crate::process::listen;
use crate::scoreboard::{ReloadResult, ScanRecord, SiteStats};
use crate::site::Extent;

use super::Compiler;

/// Most warnings of a compile that are shown one by one.
const WARNINGS_MAX: usize = 10;

impl Compiler<'_> {
    /// Says once that nothing is left to be made of the files.
    pub(super) fn say_if_complete(&mut self, is_unfinished: bool) {
        if !is_unfinished && !self.is_complete {
            self.is_complete = true;
            let root = self.args.config.root.display();
            let variants = counted(self.page.stats().variants, "gzip variant");
            self.args.log.say(&format!("{root} is complete with {variants}"));
        }
    }

    pub(super) fn on_unchanged(&mut self, requests: u64) {
        if self.scheduler.is_on_request() {
            let root = self.args.config.root.display();
            if self.page.result().1 != ReloadResult::Pending {
                self.args.log.say(&format!("nothing new in {root}"));
            }
            self.record(ReloadResult::Unchanged, 0);
        }
        self.page.set_result(requests, ReloadResult::Unchanged);
    }

    /// Keeps a record of a scan, for the status page.
    pub(super) fn record(&self, result: ReloadResult, changed: u64) {
        let generation = self.args.board.generation();
        self.page.record_scan(ScanRecord { at: millis(), result, generation, changed });
    }

    /// Says what is published now.
    pub(super) fn say(
        &mut self,
        summary: &Summary,
        is_first: bool,
        requests: u64,
        (began, now): (Instant, Instant),
        index: Extent,
    ) {
        // Another first site than that of the start has a time of its own.
        let is_start = is_first && self.args.board.generation() == 1;
        let since = if is_start { self.args.started } else { began };
        let took = |since: Instant| now.saturating_duration_since(since).as_micros();
        let WriteStats { written, allocated } = self.memory.stats();
        self.page.set_stats(SiteStats {
            files: summary.files as u64,
            bytes: summary.bytes,
            in_memory: summary.in_memory,
            variants: summary.variants as u64,
            took: u64::try_from(took(began)).unwrap_or(u64::MAX),
            since: millis(),
            written,
            allocated,
            index: index.len,
        });
        self.record(ReloadResult::Published, summary.changed as u64);
        self.page.set_result(requests, ReloadResult::Published);
        for warning in summary.warnings.iter().take(WARNINGS_MAX) {
            self.args.log.say(warning);
        }
        if summary.warnings.len() > WARNINGS_MAX {
            let more = summary.warnings.len() - WARNINGS_MAX;
            self.args.log.say(&format!("and {more} more like these"));
        }
        let (whole, tenth) = (took(since) / 1000, took(since) % 1000 / 100);
        if is_first || summary.changed > 0 {
            let announcement = self.announcement(summary, is_first);
            self.args.log.say(&format!("{announcement}, ready in {whole}.{tenth} ms"));
        }
    }

    /// What is served now; of the first site also where, and by how many.
    pub(super) fn announcement(&self, summary: &Summary, is_first: bool) -> String {
        let root = self.args.config.root.display();
        let site = format!("{} ({}", root, counted(summary.files as u64, "file"));
        let site = format!("{site}, {})", bytes(summary.bytes));
        if !is_first {
            return format!("serving {site} anew, with {} changed", summary.changed);
        }
        let urls: Vec<_> = self.args.addresses.iter().copied().map(listen::url).collect();
        let allowance = &self.args.allowance;
        let workers = counted(allowance.workers as u64, "worker");
        let (urls, reason) = (urls.join(" and "), allowance.reason);
        let admin = self.args.admin_url.as_ref();
        let admin = admin.map_or(String::new(), |url| format!(", status page on {url}"));
        format!("serving {site} on {urls} with {workers} ({reason}){admin}")
    }

    /// Says why there is no new image, unless the scan before had to say so too.
    pub(super) fn refuse(&mut self, error: &CompileError, requests: u64) -> ScanEnd {
        let root = self.args.config.root.display();
        let reason = error.to_string();
        let (end, result, line) = match error {
            CompileError::Unstable(_) => return ScanEnd::Unstable,
            CompileError::IndexLost => (
                ScanEnd::IndexLost,
                ReloadResult::IndexLost,
                format!(
                    "{root}: index.html is gone; what there was is served until this has lasted"
                ),
            ),
            _ => (
                ScanEnd::Refused,
                ReloadResult::Refused,
                format!("{root}: {reason}; what there was before is served on"),
            ),
        };
        let (_, before) = self.page.result();
        let was_said = before.is_refusal() && self.page.reason() == reason;
        self.page.set_reason(&reason);
        if !was_said {
            self.args.log.say(&line);
        }
        if result != before || self.scheduler.is_on_request() {
            self.record(result, 0);
        }
        self.page.set_result(requests, result);
        end
    }
}
