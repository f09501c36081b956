//! What a run shows on stderr while it lasts: a live line on a terminal, a plain line each second elsewhere.

use crate::metrics::Live;
use crate::plan::Plan;
use crate::units::print_duration;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// A terminal with fewer columns has no room for a bar beside the figures.
const BAR_FROM: u16 = 100;

/// The progress of a run.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    duration: Duration,
    clients: u32,
    next: Duration,
    quiet: bool,
}

impl Progress {
    /// Nothing where `quiet`; plain lines where stderr is no terminal, where `CI` is set, and on a terminal that can only print (`TERM=dumb`).
    pub(super) fn new(plan: &Plan, quiet: bool) -> Self {
        let live =
            !quiet && io::stderr().is_terminal() && !super::is_set("CI") && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let bar = live.then(|| {
            let bar = ProgressBar::new(u64::try_from(plan.duration.as_millis()).unwrap_or(u64::MAX));
            let columns = terminal_size::terminal_size_of(io::stderr()).map_or(80, |(width, _)| width.0);
            // `wide_msg` is cut at the edge: a line that wraps could not be drawn over.
            let template = if columns >= BAR_FROM { "{bar:12} {wide_msg}" } else { "{wide_msg}" };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        Progress { bar, duration: plan.duration, clients: plan.clients(), next: LINE_EVERY, quiet }
    }

    /// Shows how far the run is.
    pub(super) fn show(&mut self, at: Duration, live: Live) {
        if let Some(bar) = &self.bar {
            bar.set_position(u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
            bar.set_message(self.line(at, live));
        } else if !self.quiet && at >= self.next {
            while self.next <= at {
                self.next += LINE_EVERY;
            }
            // Nobody to tell where stderr is closed.
            let _ = writeln!(io::stderr(), "{}", self.line(at, live));
        }
    }

    fn line(&self, at: Duration, live: Live) -> String {
        let (at, length) = (at.as_secs_f64(), print_duration(self.duration));
        let Live { open, attempts, failed, closes, away, lost, .. } = live;
        let clients = self.clients;
        let lost = if lost > 0 { format!("  lost {lost}") } else { String::new() };
        format!("{at:5.1}s/{length}  open {open}/{clients}  away {away}{lost}  attempts {attempts} ({failed} failed)  closes {closes}")
    }

    /// Clears the live line.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
