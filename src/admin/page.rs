//! The status page: one text, with all that it needs, that a browser without scripts shows as well.

use std::fmt::{self, Display, Write as _};

use crate::figures::bytes;
use crate::scoreboard::{Counter, Phase, Role};

use super::View;
use super::checks::Probe;
use super::history::Totals;
use super::pulse::is_fresh;

const STYLE: &str = concat!("<style>", include_str!("page.css"), "</style>");

/// Has the page show what is new every 2 seconds, and say so when nobody answers.
const SCRIPT: &str = "<script>setInterval(async()=>{try{const r=await fetch('/');\
    const d=new DOMParser().parseFromString(await r.text(),'text/html');\
    document.title=d.title;document.querySelector('main').replaceWith(d.querySelector('main'));\
    document.body.classList.remove('lost')}catch{document.body.classList.add('lost')}},2000)\
    </script>";

/// The page.
pub(super) fn of(view: &View<'_>) -> String {
    let mut page = Page { view, now: Totals::of(view.board), out: String::with_capacity(8192) };
    page.write().expect("a String takes all that is written");
    page.out
}

/// Text from outside, as HTML.
struct Escaped<'t>(&'t str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '<' => f.write_str("&lt;")?,
                '&' => f.write_str("&amp;")?,
                _ => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

struct Page<'p, 'v> {
    view: &'p View<'v>,
    now: Totals,
    out: String,
}

impl Page<'_, '_> {
    fn write(&mut self) -> fmt::Result {
        let (is_ready, reason) = Probe::Ready.report(self.view, false);
        let state = match (self.view.board.control().phase(), is_ready) {
            (Phase::Serving, true) => "ready",
            (Phase::Serving, false) => "not ready",
            (phase, _) => phase.name(),
        };
        let class = if is_ready { " ready" } else { "" };
        let root = &self.view.setup.root;
        write!(
            self.out,
            "<!doctype html><html lang=en><meta charset=utf-8><title>tine: {state}</title>\
             <meta name=viewport content='width=device-width,initial-scale=1'>\
             <link rel=icon href='data:,'>\
             <noscript><meta http-equiv=refresh content=5></noscript>{STYLE}<body>\
             <main><h1>tine is <span class='state{class}'>{state}</span></h1>\
             <p class=soft>{} &middot; up {}<p class=warn id=lost>There is no answer any more.</p>",
            Escaped(root),
            Span(self.view.millis.saturating_sub(self.view.setup.started)),
        )?;
        for warning in self.warnings(is_ready, &reason) {
            write!(self.out, "<p class=warn role=alert>{}</p>", Escaped(&warning))?;
        }
        self.write_figures()?;
        self.write_workers()?;
        self.write_scans()?;
        self.write_limits()?;
        write!(
            self.out,
            "<p class=soft>tine {} &middot; <a href=/metrics>metrics</a> &middot; \
             <a href='/readyz?verbose'>readiness</a> &middot; \
             <a href='/livez?verbose'>liveness</a> &middot; to have the folder looked at: \
             <code>curl -X POST</code> to <code>/reload</code></p></main>{SCRIPT}</body></html>",
            env!("CARGO_PKG_VERSION"),
        )
    }

    /// What somebody should do something about, with the mend.
    fn warnings(&self, is_ready: bool, reason: &str) -> Vec<String> {
        let (board, setup) = (self.view.board, self.view.setup);
        let mut warnings = Vec::new();
        if !is_ready {
            warnings.push(format!("Not ready: {}.", reason.trim_end().replace('\n', "; ")));
        }
        if board.compiler().result().1.is_refusal() {
            let reason = board.compiler().reason();
            warnings.push(format!(
                "The folder as it is now is not served: {reason}. What there was before is; \
                 mend the folder."
            ));
        }
        let lately = |get| self.view.history.in_last_minute(&self.now, get);
        match lately(|totals| totals.lost_lines) {
            0 => {}
            lost => warnings.push(format!(
                "{lost} log lines were lost in the last minute: read standard output faster, or \
                 say --log off."
            )),
        }
        match lately(|totals| totals.deaths) {
            0 => {}
            deaths => warnings.push(format!(
                "{deaths} processes died in the last minute and were replaced; the log says why."
            )),
        }
        let open: u64 = board.slots().map(|(_, slot)| slot.open()).sum();
        let most = setup.connections() as u64;
        if open * 10 > most * 9 {
            warnings.push(format!(
                "{open} of {most} connections are in use: raise --connections-max or --workers."
            ));
        }
        let stats = board.compiler().stats();
        if board.compiler().blocked_below() > 0 && stats.allocated > 2 * setup.memory_max {
            warnings.push(
                "Responses of older sites keep memory that the next one needs: lower \
                 --old-response-timeout, or raise --memory-max."
                    .to_owned(),
            );
        }
        warnings
    }

    fn write_figures(&mut self) -> fmt::Result {
        let (view, now) = (self.view, &self.now);
        let (board, stats) = (view.board, view.board.compiler().stats());
        let rate = |get| view.history.rate(now, view.millis, get);
        let latency = |share| match view.history.latency(now, share) {
            None => "none".to_owned(),
            Some(seconds) if seconds.is_infinite() => "over 300 s".to_owned(),
            Some(seconds) => format!("&le; {}", Micros(micros(seconds))),
        };
        let open: u64 = board.slots().map(|(_, slot)| slot.open()).sum();
        let mut figures = vec![
            ("answers a second", rate(|totals| totals.answered).to_string()),
            ("sent a second", bytes(rate(|totals| totals.sent))),
            ("latency, median", latency(50)),
            ("latency, 99 of 100", latency(99)),
            ("connections", open.to_string()),
            ("answers so far", now.answered.to_string()),
        ];
        self.out.push_str("<h2>Now</h2>");
        write_list(&mut self.out, &figures)?;
        if board.generation() == 0 {
            return Ok(());
        }
        figures = vec![
            ("serves for", Span(view.millis.saturating_sub(stats.since)).to_string()),
            ("files", stats.files.to_string()),
            ("size", bytes(stats.bytes)),
            ("in memory", bytes(stats.in_memory)),
            ("gzip variants", stats.variants.to_string()),
            ("made in", Micros(stats.took).to_string()),
        ];
        write!(self.out, "<h2>Generation {}</h2>", board.generation())?;
        write_list(&mut self.out, &figures)
    }

    fn write_workers(&mut self) -> fmt::Result {
        let (view, board) = (self.view, self.view.board);
        self.out.push_str(
            "<h2>Workers</h2><div class=table><table><thead><tr><th>process<th>state\
             <th class=n>connections<th class=n>answers a second<tbody>",
        );
        for (process, silent) in view.pulse.of(board, Role::Worker) {
            let answered = process.slot.count(Counter::Answered);
            let rate = view.history.slot_rate(process.number, answered, view.millis);
            let state = match process.slot.is_ready() {
                _ if !is_fresh(silent) => "silent",
                false => "starting",
                true => "serving",
            };
            let (pid, open) = (process.pid, process.slot.open());
            write!(self.out, "<tr><td>{pid}<td>{state}<td class=n>{open}<td class=n>{rate}")?;
        }
        self.out.push_str("</table></div>");
        Ok(())
    }

    fn write_scans(&mut self) -> fmt::Result {
        self.out.push_str(
            "<h2>Scans of the directory</h2><div class=table><table><thead><tr><th>when\
             <th>result<th>generation<th class=n>files changed<tbody>",
        );
        for scan in self.view.board.compiler().scans() {
            let ago = Span(self.view.millis.saturating_sub(scan.at));
            let (result, generation, changed) = (scan.result.name(), scan.generation, scan.changed);
            write!(self.out, "<tr><td>{ago} ago<td>{result}<td>{generation}<td class=n>{changed}")?;
        }
        self.out.push_str("</table></div>");
        Ok(())
    }

    fn write_limits(&mut self) -> fmt::Result {
        let (board, setup) = (self.view.board, self.view.setup);
        let open = board.slots().map(|(_, slot)| slot.open()).sum();
        let (slots, processes) = (board.layout().slots(), board.processes().count());
        self.out.push_str(
            "<h2>Limits</h2><div class=table><table><thead><tr><th>of<th>setting\
             <th class=n>in use<th class=n>most<th class=bar><tbody>",
        );
        let connections = setup.connections() as u64;
        for (of, setting, used, most, is_size) in [
            ("connections", "--connections-max", open, connections, false),
            (
                "memory of the site",
                "--memory-max",
                board.compiler().stats().in_memory,
                setup.memory_max,
                true,
            ),
            ("processes", "--workers", processes as u64, slots as u64, false),
        ] {
            let show = |count| if is_size { bytes(count) } else { count.to_string() };
            let (shown, limit) = (show(used), show(most));
            write!(
                self.out,
                "<tr><td>{of}<td><code>{setting}</code><td class=n>{shown}<td class=n>{limit}\
                 <td class=bar><meter max={} value={used}></meter>",
                most.max(1)
            )?;
        }
        self.out.push_str("</table></div>");
        Ok(())
    }
}

fn write_list(out: &mut String, figures: &[(&str, String)]) -> fmt::Result {
    out.push_str("<dl class=figures>");
    for (name, value) in figures {
        write!(out, "<div><dt>{name}<dd>{value}</div>")?;
    }
    out.push_str("</dl>");
    Ok(())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is 300 s at most")]
fn micros(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

/// A duration in milliseconds, roughly.
struct Span(u64);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        match seconds {
            0..120 => write!(f, "{seconds} s"),
            120..7_200 => write!(f, "{} min", seconds / 60),
            7_200..172_800 => write!(f, "{} h", seconds / 3_600),
            _ => write!(f, "{} d", seconds / 86_400),
        }
    }
}

/// A duration in microseconds.
struct Micros(u64);

impl Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1_000_000 => write!(f, "{}.{} ms", self.0 / 1000, self.0 % 1000 / 100),
            _ => write!(f, "{} s", self.0 / 1_000_000),
        }
    }
}
