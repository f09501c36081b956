//! What a run shows on stderr while it lasts: the dashboard on a terminal that is large enough, else a live line, and a plain line each second
//! where there is no terminal.
//!
//! It reads the stream of snapshots on a thread of its own: a terminal that stands still, or a full pipe, does not hold up the run.

use super::{console, dashboard};
use crate::plan::Plan;
use crate::run::faults::ByHand;
use crate::snapshots::{Publisher, Update};
use crate::units::print_duration;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// A terminal with fewer columns has no room for a bar beside the figures.
const BAR_FROM: u16 = 100;

/// How long the end of a run waits for its last line: a terminal that stands still may take for ever.
const CLEARED_WITHIN: Duration = Duration::from_secs(1);

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShowProgress {
    /// Nothing.
    Nothing,
    /// A line a second.
    Plain,
    /// A line, live on a terminal.
    Line,
    /// The dashboard where it is possible.
    Dashboard,
}

impl ShowProgress {
    /// A line, where it is not quiet.
    pub(super) fn line(quiet: bool) -> ShowProgress {
        if quiet { ShowProgress::Nothing } else { ShowProgress::Line }
    }
}

/// Shows the progress of a run; disconnected when the last line is cleared.
pub(super) struct Progress(Option<Receiver<()>>);

impl Progress {
    /// Shows what is published from now on. `by_hand`: what a key fires faults with.
    pub(super) fn follow(plan: &Plan, how: ShowProgress, snapshots: &Publisher, by_hand: Option<ByHand>) -> Self {
        if how == ShowProgress::Nothing {
            return Progress(None);
        }
        let live = how != ShowProgress::Plain && is_live();
        let drawn = (how == ShowProgress::Dashboard && live && dashboard::is_possible()).then(|| dashboard::Dashboard::new(plan, by_hand));
        let (mut line, mut updates) = (ProgressLine::new(plan, live), snapshots.subscribe());
        let (shown, end) = mpsc::channel::<()>();
        let show = move || {
            let _shown = shown;
            if let Some(drawn) = drawn {
                return drawn.show(updates);
            }
            while let Some(update) = updates.wait() {
                line.show(&update);
            }
            line.clear();
        };
        // A machine that has no thread for it has other worries, and the run goes on.
        Progress(thread::Builder::new().name("progress".to_owned()).spawn(show).ok().map(|_| end))
    }

    /// Waits a while until the last snapshot was shown and the live line is cleared; the publisher must be gone.
    pub(super) fn finish(self) {
        // Nothing is sent: it ends with the thread, or in time.
        self.0.map(|end| end.recv_timeout(CLEARED_WITHIN));
        // Also of a terminal that stands still.
        dashboard::restore();
    }
}

/// Not where stderr is no terminal, where `CI` is set, and on a terminal that can only print (`TERM=dumb`).
fn is_live() -> bool {
    io::stderr().is_terminal() && !console::is_set("CI") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The line.
struct ProgressLine {
    bar: Option<ProgressBar>,
    duration: Duration,
    clients: u32,
    next: Duration,
}

impl ProgressLine {
    fn new(plan: &Plan, live: bool) -> Self {
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
        ProgressLine { bar, duration: plan.duration, clients: plan.clients(), next: LINE_EVERY }
    }

    /// Shows how far the run is.
    fn show(&mut self, update: &Update) {
        let at = update.at;
        if let Some(bar) = &self.bar {
            bar.set_position(u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
            bar.set_message(self.text(update));
        } else if at >= self.next {
            while self.next <= at {
                self.next += LINE_EVERY;
            }
            // Nobody to tell where stderr is closed.
            let _ = writeln!(io::stderr(), "{}", self.text(update));
        }
    }

    fn text(&self, Update { at, state, rates, missed: _ }: &Update) -> String {
        let (at, length, clients) = (at.as_secs_f64(), print_duration(self.duration), self.clients);
        let (open, disconnected, attempts, failed, closes) =
            (state.open, state.disconnected, state.ledger.attempts.total, state.failed(), state.ledger.closed);
        let lost = if state.lost > 0 { format!("  gave up {}", state.lost) } else { String::new() };
        let rate = if rates.attempts >= 1.0 { format!("{:.0}/s, ", rates.attempts) } else { String::new() };
        format!(
            "{at:5.1}s/{length}  open {open}/{clients}  disconnected {disconnected}{lost}  attempts {attempts} ({rate}{failed} failed)  closes {closes}"
        )
    }

    /// Clears the live line.
    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
