//! Metrics in the OpenMetrics text format, with names and units by Prometheus' conventions.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::scoreboard::{
    Asked, Cause, Class, Counter, Ending, Phase, Rejection, ReloadResult, Role, TOOK_MAX,
};

use super::View;
use super::checks::Probe;

/// All of them, as text.
pub(super) fn of(view: &View<'_>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Readings::take(view)));
    let mut out = String::new();
    text::encode(&mut out, &registry).expect("a String takes all that is written");
    out
}

/// A label and its values, by their places.
type Label = (&'static str, fn(usize) -> Option<&'static str>);

static BYTES: Unit = Unit::Bytes;
static SECONDS: Unit = Unit::Seconds;

/// Counters that stand side by side on the board: for each value of the first label all those of
/// the second.
struct Counts {
    name: &'static str,
    help: &'static str,
    unit: Option<&'static Unit>,
    labels: &'static [Label],
    first: Counter,
}

impl Counts {
    const fn new(name: &'static str, help: &'static str, first: Counter) -> Self {
        Self { name, help, unit: None, labels: &[], first }
    }

    const fn by(self, labels: &'static [Label]) -> Self {
        Self { labels, ..self }
    }
}

const METHOD: Label = ("method", |at| Asked::ALL.get(at).map(|asked| asked.name()));
const CLASS: Label = ("code", |at| Class::ALL.get(at).map(|class| class.name()));
const CODE: Label = ("code", |at| Rejection::ALL.get(at).map(|why| why.name()));
const REASON: Label = ("reason", |at| Ending::ALL.get(at).map(|why| why.name()));
const ROLE: Label = ("role", |at| Role::ALL.get(at).map(|role| role.name()));
const CAUSE: Label = ("cause", |at| Cause::ALL.get(at).map(|cause| cause.name()));
const RESULT: Label = ("result", |at| ReloadResult::ALL.get(at).map(|result| result.name()));

static COUNTS: [Counts; 11] = [
    Counts::new(
        "tine_http_requests",
        "Answers by method and status class",
        Counter::Requests(Asked::Get, Class::Success),
    )
    .by(&[METHOD, CLASS]),
    Counts::new(
        "tine_http_rejected",
        "Requests refused before they were understood",
        Counter::Rejected(Rejection::BadRequest),
    )
    .by(&[CODE]),
    Counts::new("tine_http_answers_cut", "Answers that were cut short", Counter::Cut),
    Counts {
        unit: Some(&BYTES),
        ..Counts::new("tine_http_sent", "Sent to clients, heads included", Counter::Sent)
    },
    Counts::new("tine_log_lines_dropped", "Lines of answers not logged", Counter::LostLines),
    Counts::new("tine_connections_accepted", "Connections accepted", Counter::Accepted),
    Counts::new(
        "tine_old_responses_aborted",
        "Responses of an older site aborted because the next one needed their memory",
        Counter::OldResponses,
    ),
    Counts::new(
        "tine_connections_closed",
        "Connections that have ended",
        Counter::Ended(Ending::Client),
    )
    .by(&[REASON]),
    Counts::new(
        "tine_restarts",
        "Processes that died and were replaced",
        Counter::Died(Role::Master, Cause::Exit),
    )
    .by(&[ROLE, CAUSE]),
    Counts::new(
        "tine_stale_files",
        "Files on disk that were not what they were when they were compiled",
        Counter::StaleFiles,
    ),
    Counts::new(
        "tine_log_events_dropped",
        "Lines about tine itself not logged",
        Counter::LostEvents,
    ),
];

/// What is measured, and not counted.
struct Gauge {
    name: &'static str,
    help: &'static str,
    unit: Option<&'static Unit>,
    value: f64,
}

/// What is read off the board at one moment.
struct Readings {
    /// By the places of the counters.
    totals: Vec<u64>,
    gauges: Vec<Gauge>,
    result: usize,
    arch: &'static str,
    cpu: Option<f64>,
}

impl fmt::Debug for Readings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readings")
    }
}

impl Collector for Readings {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for counts in &COUNTS {
            self.encode_counts(counts, &mut encoder)?;
        }
        self.encode_durations(&mut encoder)?;
        if let Some(cpu) = self.cpu.map(ConstCounter::new) {
            let (help, unit) = ("CPU time of all processes", Some(&SECONDS));
            cpu.encode(encoder.encode_descriptor(
                "process_cpu",
                help,
                unit,
                MetricType::Counter,
            )?)?;
        }
        for Gauge { name, help, unit, value } in &self.gauges {
            let metric = encoder.encode_descriptor(name, help, *unit, MetricType::Gauge)?;
            ConstGauge::new(*value).encode(metric)?;
        }
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("arch", self.arch)];
        let mut metric = encoder.encode_descriptor(
            "tine_build_info",
            "What is running",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(1.0).encode(metric.encode_family(&&labels[..])?)?;
        let help = "Whether the last scan of the directory has come to this";
        let (label, name_of) = RESULT;
        let mut metric =
            encoder.encode_descriptor("tine_reload_result", help, None, MetricType::Gauge)?;
        for (at, result) in (0..).map_while(name_of).enumerate() {
            let value = if at == self.result { 1.0 } else { 0.0 };
            ConstGauge::new(value).encode(metric.encode_family(&&[(label, result)][..])?)?;
        }
        Ok(())
    }
}

impl Readings {
    fn encode_counts(&self, counts: &Counts, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Counts { name, help, unit, labels, first } = counts;
        let mut metric = encoder.encode_descriptor(name, help, *unit, MetricType::Counter)?;
        let mut totals = self.totals[first.place()..].iter().copied();
        if labels.is_empty() {
            return ConstCounter::new(totals.next().unwrap_or(0)).encode(metric);
        }
        let mut sample = |labels: &[(&str, &str)]| {
            let total = ConstCounter::new(totals.next().unwrap_or(0));
            total.encode(metric.encode_family(&labels)?)
        };
        match labels {
            [] => Ok(()),
            [(label, name)] => {
                (0..).map_while(name).try_for_each(|value| sample(&[(label, value)]))
            }
            [(outer, outer_name), (inner, inner_name), ..] => {
                (0..).map_while(outer_name).try_for_each(|first| {
                    let mut seconds = (0..).map_while(inner_name);
                    seconds.try_for_each(|second| sample(&[(outer, first), (inner, second)]))
                })
            }
        }
    }

    fn encode_durations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(
            "tine_http_request_duration",
            "From the first byte of a request to the last of its answer",
            Some(&SECONDS),
            MetricType::Histogram,
        )?;
        let took = &self.totals[Counter::Took(0).place()..=Counter::Took(TOOK_MAX.len()).place()];
        let limits = TOOK_MAX.iter().map(|&(_, seconds)| seconds).chain([f64::MAX]);
        let buckets: Vec<_> = limits.zip(took.iter().copied()).collect();
        let in_all = amount(self.totals[Counter::TookInAll.place()]) / 1e9;
        metric.encode_histogram::<NoLabelSet>(in_all, took.iter().sum(), &buckets, None)
    }

    fn take(view: &View<'_>) -> Self {
        let (board, setup, usage) = (view.board, view.setup, (view.usage)());
        let mut readings = Self {
            totals: board.totals(),
            gauges: Vec::new(),
            result: board.compiler().result().1 as usize,
            arch: setup.arch,
            cpu: usage.cpu,
        };
        let (is_ready, _) = Probe::Ready.report(view, false);
        let is_leaving = board.control().phase() != Phase::Serving;
        let open = board.slots().map(|(_, slot)| slot.open()).sum();
        let fresh = view.pulse.fresh_workers(board) as u64;
        let stats = board.compiler().stats();
        let (processes, slots) = (board.processes().count(), board.layout().slots());
        for (name, help, value) in [
            ("tine_ready", "Whether requests are wanted", is_ready.into()),
            ("tine_draining", "Whether it was told to stop", is_leaving.into()),
            ("tine_connections_open", "Connections now", open),
            ("tine_connections_limit", "Most connections at once", setup.connections() as u64),
            ("tine_workers", "Workers that serve", fresh),
            ("tine_workers_wanted", "Workers that should serve", setup.workers as u64),
            ("tine_processes", "Processes now", processes as u64),
            ("tine_processes_limit", "Most processes at once", slots as u64),
            ("tine_generation", "The site image that is published", board.generation()),
            ("tine_site_files", "Files of it", stats.files),
            ("tine_site_gzip_variants", "Gzip variants made for it", stats.variants),
            ("process_max_fds", "Most open descriptors of a process", usage.descriptors_max),
        ] {
            readings.add(name, help, None, amount(value));
        }
        if let Some(descriptors) = usage.descriptors {
            let help = "Open descriptors of all processes";
            readings.add("process_open_fds", help, None, amount(descriptors));
        }
        for (name, help, value) in [
            ("tine_site_size", "Size of its files", Some(stats.bytes)),
            ("tine_site_in_memory", "Its heads and bodies in memory", Some(stats.in_memory)),
            ("tine_site_in_memory_limit", "Most of these", Some(setup.memory_max)),
            ("tine_site_index", "Its index", Some(stats.index)),
            ("tine_site_written", "Written for it", Some(stats.written)),
            ("tine_site_memory", "Memory of all site images", Some(stats.allocated)),
            ("process_resident_memory", "Memory of all processes", usage.resident),
            ("process_virtual_memory", "Memory mapped by all processes", usage.mapped),
        ] {
            value.into_iter().for_each(|size| readings.add(name, help, Some(&BYTES), amount(size)));
        }
        for (name, help, count, per_second) in [
            ("tine_site_compile", "How long it took to make", stats.took, 1e6),
            ("tine_site_publish_time", "Since when it is published", stats.since, 1e3),
            ("process_start_time", "When tine was started", setup.started, 1e3),
        ] {
            readings.add(name, help, Some(&SECONDS), amount(count) / per_second);
        }
        readings
    }

    fn add(
        &mut self,
        name: &'static str,
        help: &'static str,
        unit: Option<&'static Unit>,
        value: f64,
    ) {
        self.gauges.push(Gauge { name, help, unit, value });
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 of anything are enough")]
fn amount(count: u64) -> f64 {
    count as f64
}
