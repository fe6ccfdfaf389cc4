//! The questions that orchestrators ask, each as a list of checks with their reasons, in the manner
//! of Kubernetes' own.

use std::fmt::Write as _;

use crate::scoreboard::Phase;

use super::View;
use super::pulse::is_fresh;

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// Whether it is worth waiting for; if not, it is to be started anew.
    Live,
    /// Whether it wants requests.
    Ready,
    /// Whether it has ever served.
    Started,
}

/// A check: its name, and how it is, or why it is not well.
type Check = (&'static str, Result<String, String>);

impl Probe {
    /// Whether all is well, and the text that says so.
    pub(super) fn report(self, view: &View<'_>, is_verbose: bool) -> (bool, String) {
        let (name, checks) = match self {
            Self::Live => ("livez", vec![master(view), not_all_hung(view)]),
            Self::Ready => ("readyz", vec![phase(view), generation(view), workers(view)]),
            Self::Started => ("startupz", vec![generation(view)]),
        };
        let is_well = checks.iter().all(|(_, outcome)| outcome.is_ok());
        let mut text = String::new();
        for (check, outcome) in &checks {
            let (mark, detail) = match outcome {
                Ok(detail) => ('+', detail),
                Err(reason) => ('-', reason),
            };
            if is_verbose {
                writeln!(text, "[{mark}]{check} {detail}").expect("a String takes all");
            } else if let Err(reason) = outcome {
                writeln!(text, "{check}: {reason}").expect("a String takes all");
            }
        }
        if is_verbose {
            let verdict = if is_well { "passed" } else { "failed" };
            writeln!(text, "{name} check {verdict}").expect("a String takes all");
        } else if is_well {
            text.push_str("ok\n");
        }
        (is_well, text)
    }
}

fn phase(view: &View<'_>) -> Check {
    let outcome = match view.board.control().phase() {
        Phase::Serving => Ok("ok: takes requests".to_owned()),
        Phase::LameDuck | Phase::Draining | Phase::Ended => Err("told to stop".to_owned()),
    };
    ("phase", outcome)
}

fn generation(view: &View<'_>) -> Check {
    let outcome = match view.board.generation() {
        0 => Err(format!("{} was not read yet", view.setup.root)),
        number => Ok(format!("ok: generation {number} serves")),
    };
    ("generation", outcome)
}

fn workers(view: &View<'_>) -> Check {
    let most = view.setup.workers;
    let outcome = match view.pulse.fresh_workers(view.board) {
        0 => Err("none has given a sign of life lately".to_owned()),
        fresh => Ok(format!("ok: {fresh} of {most} give signs of life")),
    };
    ("workers", outcome)
}

fn master(view: &View<'_>) -> Check {
    let silent = view.pulse.master_silent(view.board);
    let outcome = if is_fresh(silent) || silent <= view.setup.watchdog_timeout {
        Ok("ok".to_owned())
    } else {
        Err(format!("no sign of life for {silent} s"))
    };
    ("master", outcome)
}

/// Before there is a generation, and on the way out, it is not the workers that matter; and whoever
/// leads has the time that it needs to replace those that hang.
fn not_all_hung(view: &View<'_>) -> Check {
    let silent = view.pulse.workers_silent;
    let is_serving = view.board.control().phase() == Phase::Serving && view.board.generation() > 0;
    let outcome = if is_serving && silent > view.setup.watchdog_timeout {
        Err(format!("none has given a sign of life for {silent} s, longer than --watchdog-timeout"))
    } else {
        Ok("ok".to_owned())
    };
    ("workers", outcome)
}
