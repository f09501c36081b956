//! One run of a search: its plan, the run itself, and what is kept of it.

use super::super::console;
use super::super::execute;
use super::super::progress::ShowProgress;
use super::super::signals::Stop;
use super::super::vary;
use crate::api::{self, RunPart};
use crate::capacity::{RunOutcome, Vary, Why};
use crate::cli::Capacity as Args;
use crate::expect::{self, Expectation, Metric};
use crate::metrics::{Results, Status};
use crate::number;
use crate::plan::{Plan, Shard, Target};
use crate::report;
use crate::results::capacity::StepRow;
use crate::results::capacity_limit::Measure;
use crate::results::opened::Opened;
use crate::results::record::{ExpectationRow, Summary, Verdict};
use crate::results::summary::summarise;
use crate::results::tables::timeline_rows;
use crate::run::output_file;
use crate::scenario::{Errors, Overrides};
use crate::text::json;
use anyhow::Context;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The plan with these values of the varied parameters.
///
/// # Errors
/// What is wrong with the scenario.
pub(super) fn plan(args: &Args, varied: &[Vary], values: &[f64]) -> Result<Plan, Errors> {
    let overrides = vary::overrides(&args.changes, varied, values);
    Ok(Plan { limits: args.load.limits(), ..console::load_changed(Some(&args.scenario), &overrides)? })
}

/// The command line that makes one step alone.
fn command(args: &Args, varied: &[Vary], values: &[f64]) -> String {
    let Overrides { set, clients, duration, seed, target: _, recorded: _, trust: _ } = vary::overrides(&args.changes, varied, values);
    let mut words = vec!["closestorm".to_owned(), "run".to_owned(), args.scenario.clone()];
    words.extend(set.into_iter().flat_map(|set| ["--set".to_owned(), set]));
    words.extend(clients.into_iter().flat_map(|clients| ["--clients".to_owned(), clients.to_string()]));
    words.extend(duration.into_iter().flat_map(|time| ["--duration".to_owned(), crate::units::print_duration(time)]));
    words.extend(seed.into_iter().flat_map(|seed| ["--seed".to_owned(), seed.to_string()]));
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

/// How long a fresh target is warmed up: our own server has nothing to warm, and its queue would remember.
pub(super) fn warm_up(args: &Args, plan: &Plan) -> Duration {
    if plan.target.before().warm_up { args.warm_up } else { Duration::ZERO }
}

/// The share of those who want a connection that must get one; `None` where nobody asks, or the scenario has its own say.
pub(super) fn needs(args: &Args, plan: &Plan) -> Option<f64> {
    let own = |one: &Expectation| one.metric == Metric::Attempts && one.labels.outcome == Some(expect::OutcomeLabel::Opened);
    (args.opened.0 > 0.0 && !plan.expectations.iter().any(own)).then_some(args.opened.0)
}

/// How an expectation on the share that opened is written: of a plan with faults by clients, as attempts fail there as they should.
pub(super) fn words(plan_has_faults: bool, needed: f64) -> String {
    let what = if plan_has_faults { "clients connected at the end" } else { "attempts opened" };
    format!("{what} >= {} (--opened)", number::percent(needed * 100.0))
}

/// Nothing speaks against what a run says but its expectations.
fn trusted(results: &Results) -> bool {
    results.status == Status::Completed && !results.saturated() && results.lost.is_empty() && results.unreliable.is_empty()
}

/// The verdict with one more expectation: so many of those who wanted a connection got one. Too few are a failure also where the others
/// cannot be told: a server that serves few gives few samples.
fn with_opened(verdict: &Verdict, opened: Option<Opened>, needed: f64, trusted: bool) -> Verdict {
    let mut verdict = verdict.clone();
    let Some(opened) = opened else { return verdict };
    let holds = opened.share() >= needed;
    let text = words(opened.what == "clients", needed);
    if !holds {
        let (of, got) = (number::counted(opened.of, opened.what.trim_end_matches('s')), number::count(opened.opened));
        verdict.reasons.push(format!("{text}: observed {}, {got} of {of}", number::percent(opened.share() * 100.0)));
        if trusted {
            "fail".clone_into(&mut verdict.result);
        }
    }
    verdict.expectations.push(ExpectationRow {
        text,
        observed: Some(opened.share() * 100.0),
        samples: None,
        needed: None,
        note: None,
        unit: "percent".to_owned(),
        result: if holds { "pass" } else { "fail" }.to_owned(),
    });
    verdict
}

/// What came of a step.
pub(super) enum Stepped {
    /// It was observed.
    Seen(RunOutcome),
    /// A signal came; the step does not count.
    Stopped,
}

/// A run whose results are kept.
pub(super) struct Busiest {
    /// Number of the step.
    pub(super) step: u32,
    throughput: f64,
    /// Its plan.
    pub(super) plan: Arc<Plan>,
    /// Its results.
    pub(super) results: Results,
    /// What it came to.
    pub(super) verdict: Verdict,
}

/// Where steps are run and kept.
pub(super) struct Bench<'a> {
    args: &'a Args,
    varied: &'a [Vary],
    measure: Measure,
    /// Share of those who want a connection that must get one.
    needs: Option<f64>,
    folder: PathBuf,
    stop: Stop,
    /// The run in which the server opened most: what a model is fitted to where none is known.
    busiest: Option<Busiest>,
    knows_model: bool,
    /// So far.
    pub(super) steps: Vec<StepRow>,
    /// Opening handshakes that targets were asked for before the runs.
    uncounted: u64,
    notices: Vec<String>,
}

impl<'a> Bench<'a> {
    /// For steps that are kept in `folder`.
    pub(super) fn new(args: &'a Args, varied: &'a [Vary], lowest: &Plan, folder: &Path, stop: Stop) -> Self {
        let mut notices = Vec::new();
        if matches!(lowest.target, Target::Url(_)) {
            notices.push(
                "closestorm did not start the target: all runs used the same server process, so earlier runs may influence \
                later ones"
                    .to_owned(),
            );
        }
        Bench {
            args,
            varied,
            measure: Measure::of(lowest),
            needs: needs(args, lowest),
            folder: folder.to_owned(),
            stop,
            busiest: None,
            knows_model: lowest.simulated_as().is_ok(),
            steps: Vec::new(),
            uncounted: 0,
            notices,
        }
    }

    /// What else a reader must know.
    pub(super) fn notices(&self) -> Vec<String> {
        let mut notices = self.notices.clone();
        if self.uncounted > 0 {
            let what = "opening handshakes before the runs (readiness probe and warm-up, with the values of client 0), not counted";
            notices.push(format!("{what}: {}", self.uncounted));
        }
        notices
    }

    /// Says one more thing.
    pub(super) fn notice(&mut self, notice: String) {
        self.notices.push(notice);
    }

    /// The run in which the server opened most, if a model has to be fitted.
    pub(super) fn busiest(&self) -> Option<&Busiest> {
        self.busiest.as_ref()
    }

    /// Where everything is kept.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether a signal came.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.code().is_some()
    }

    /// Runs with a value and keeps what came of it. A run that cannot begin is an observation, unless it is the very first.
    pub(super) fn step(&mut self, level: Option<f64>, value: f64, why: Why) -> anyhow::Result<Stepped> {
        let values: Vec<f64> = level.into_iter().chain([value]).collect();
        let setting = self.varied[self.varied.len() - 1].text(value);
        let step = self.steps.len() as u32 + 1;
        let blank = StepRow { step, level, value, setting, why: why.name().to_owned(), ..StepRow::default() };
        let (row, outcome) = match self.run(&values) {
            Ok((_, results, _)) if results.status == Status::Aborted => return Ok(Stepped::Stopped),
            Ok((plan, results, verdict)) => self.observe(blank, &values, plan, results, &verdict)?,
            Err(_) if self.is_stopped() => return Ok(Stepped::Stopped),
            Err(error) if self.steps.is_empty() => return Err(error),
            Err(error) => {
                let row = StepRow {
                    outcome: RunOutcome::Impossible.name().to_owned(),
                    reason: Some(crate::secret::hide(&format!("{error:#}"))),
                    ..blank
                };
                (row, RunOutcome::Impossible)
            }
        };
        self.show(&row);
        self.steps.push(row);
        Ok(Stepped::Seen(outcome))
    }

    fn run(&self, values: &[f64]) -> anyhow::Result<(Arc<Plan>, Results, Verdict)> {
        let (plan, division) = api::divide(plan(self.args, self.varied, values)?, Shard::WHOLE, None, self.args.memory)?;
        let (plan, whole) = (Arc::new(plan), RunPart::whole(division));
        let quiet = self.args.output.quiet || !io::stderr().is_terminal();
        let measured =
            execute::run_and_judge(&plan, whole, &self.folder, warm_up(self.args, &plan), ShowProgress::line(quiet), self.stop.clone());
        // What the target prints at each connection fills the disk, and an error has its end already.
        let _ = fs::remove_file(output_file(&self.folder));
        measured.map(|(results, verdict)| (plan, results, verdict))
    }

    fn observe(
        &mut self,
        blank: StepRow,
        values: &[f64],
        plan: Arc<Plan>,
        results: Results,
        verdict: &Verdict,
    ) -> anyhow::Result<(StepRow, RunOutcome)> {
        let timeline = timeline_rows(&results);
        let opened = Opened::of(&results, &timeline);
        let verdict = self.needs.map_or_else(|| verdict.clone(), |needed| with_opened(verdict, opened, needed, trusted(&results)));
        let outcome = match verdict.result.as_str() {
            "pass" => RunOutcome::Held,
            "fail" => RunOutcome::Failed,
            _ if results.saturated() => RunOutcome::Saturated,
            _ => RunOutcome::Untold,
        };
        let summary = summarise(&results, None, &verdict, &command(self.args, self.varied, values));
        self.uncounted += results.usage.uncounted_openings;
        self.keep(&summary, blank.step)?;
        if let Err(error) = results.check_ledger() {
            self.notices
                .push(format!("step {}: the counts are inconsistent: this is a bug in closestorm, please report it ({error})", blank.step));
        }
        let times = self.measure.times(&summary);
        let row = StepRow {
            outcome: outcome.name().to_owned(),
            throughput_per_s: self.measure.throughput(&timeline),
            p50_us: times.p50,
            p99_us: times.p99,
            max_us: times.max,
            late_share_max: Some(summary.generator.late_share_max),
            opened_share: opened.map(Opened::share),
            reason: (outcome != RunOutcome::Held).then(|| verdict.reasons.join("; ")),
            ..blank
        };
        let throughput = row.throughput_per_s.unwrap_or(0.0);
        if !self.knows_model && trusted(&results) && self.busiest.as_ref().is_none_or(|busiest| busiest.throughput < throughput) {
            self.busiest = Some(Busiest { step: row.step, throughput, plan, results, verdict });
        }
        Ok((row, outcome))
    }

    /// The summary of a step, as `closestorm run` would write it, under `steps/`.
    fn keep(&self, summary: &Summary, step: u32) -> anyhow::Result<()> {
        let place = self.folder.join("steps");
        fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
        let path = place.join(format!("{step}.json"));
        let text = json(summary)?;
        crate::output::write(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
    }

    /// A line on stderr.
    fn show(&self, row: &StepRow) {
        if self.args.output.quiet {
            return;
        }
        let searched = &self.varied[self.varied.len() - 1];
        let first = row.level.map(|level| format!("{} {} · ", self.varied[0].key, self.varied[0].text(level))).unwrap_or_default();
        let rate = row.throughput_per_s.map_or_else(|| "–".to_owned(), |rate| format!("{}/s", number::quantity(rate.round())));
        let (mark, p99) = (report::capacity::mark(&row.outcome), number::time_or_na(row.p99_us));
        let _ = writeln!(
            io::stderr(),
            "{:>3}  {first}{} {}  {mark} {}  {} {rate}  p99 {p99}",
            row.step,
            searched.key,
            row.setting,
            row.outcome,
            self.measure.throughput_name(),
        );
    }
}
