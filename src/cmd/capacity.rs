//! `closestorm capacity`: runs a scenario again and again with another value of one parameter, until the largest that holds is known.
//!
//! Which value comes next is decided in `capacity::search`; each run is one of `closestorm run`, judged as there.

mod lost;
mod step;

use super::console;
use super::exit;
use super::exit::Usage;
use super::signals::Stop;
use super::vary::varied;
use super::{artifacts, execute};
use crate::capacity::search::so_far;
use crate::capacity::{Ended, Next, Observation, SearchFound, Settings, Vary, search};
use crate::cli::{Capacity as Args, Format};
use crate::metrics::meta::RunMeta;
use crate::plan::{Plan, Target};
use crate::report;
use crate::results::capacity::{CAPACITY_VERSION, Capacity, Conclusion, LimitRow, Search, SearchRow, VaryRow, write};
use crate::results::capacity_limit::{Measure, limit_row, reconnect_within};
use crate::results::folder::Folder;
use crate::results::manifest;
use crate::results::record::Manifest;
use crate::text::json;
use crate::units::print_duration;
use anyhow::Context;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;
use step::{Bench, Stepped};

/// Searches, and writes what was found.
///
/// # Errors
/// The scenario or the parameters are wrong, the very first run could not begin, or the results could not be written.
pub fn main(args: &Args) -> anyhow::Result<u8> {
    let varied = varied(&args.vary, &args.changes)?;
    let at_least = at_least(args, &varied)?;
    let (lowest, highest) = ends(args, &varied)?;
    if args.dry_run {
        let note =
            execute::needs_yes(&highest).filter(|_| highest.limits.elsewhere).map(|note| format!("note: {note}\n")).unwrap_or_default();
        console::print(&format!("{}{}{note}", announcement(args, &varied, &lowest), lowest.dry_run()))?;
        return Ok(exit::OK);
    }
    execute::check_remote_limits(&highest)?;
    execute::check_programs(&highest)?;
    if !args.output.quiet {
        let _ = write!(io::stderr(), "{}", announcement(args, &varied, &lowest));
    }
    let stop = Stop::listen().context("cannot listen for signals")?;
    let manifest = manifest::of(console::command_line(), &lowest);
    let default = || {
        let run = manifest::default_folder(&lowest.name, &manifest);
        run.with_file_name(format!("capacity-{}", run.file_name().unwrap_or_default().to_string_lossy()))
    };
    let folder = console::noted(Folder::open(args.output.out.as_deref(), args.output.force, default)?);
    let mut hunt = Hunt {
        bench: Bench::new(args, &varied, &lowest, folder.path(), stop.clone()),
        args,
        varied: &varied,
        at_least,
        limits: Vec::new(),
    };
    if let Err(error) = hunt.all(&lowest) {
        if !hunt.bench.steps.is_empty() {
            return Err(error.context(format!("the search stopped early; its steps so far are in {}", folder.path().display())));
        }
        // Nothing was measured; what the target printed is in the message.
        folder.discard();
        return match stop.code() {
            Some(code) => {
                exit::report_error(&error);
                Ok(code)
            }
            None => Err(error),
        };
    }
    let search = hunt.conclude(&lowest, &manifest::command_line(&manifest), stop.code().is_some());
    deliver(&search, folder, &manifest, &lowest.resolved, args)?;
    Ok(stop.code().unwrap_or_else(|| exit::allowed(exit_code(&search.capacity.verdict), args.output.allow_inconclusive)))
}

/// Writes what was found, and prints it.
fn deliver(search: &Search, folder: Folder, manifest: &Manifest, resolved: &str, args: &Args) -> anyhow::Result<()> {
    let written = write(&folder, search, manifest, resolved).map_err(anyhow::Error::from);
    if let Err(error) = written.and_then(|()| artifacts::search(search, folder.path())) {
        // What took so long to find must not be lost with the disk, not even where nobody asked for it.
        return Err(match print_search(search, args.output.format) {
            Ok(()) => error,
            Err(unprinted) => error.context(format!("{unprinted:#}")),
        });
    }
    let dir = folder.finish()?;
    if args.output.format.is_told(args.output.quiet) {
        print_search(search, args.output.format)?;
        if args.output.format == Format::Text {
            console::print(&format!("report       {}\n", dir.join("report.html").display()))?;
        }
    }
    Ok(())
}

/// The plans of the lowest and of the highest values: what is wrong with either is better known before the first run.
fn ends(args: &Args, varied: &[Vary]) -> anyhow::Result<(Plan, Plan)> {
    let at = |end: fn(&Vary) -> f64| {
        let values: Vec<f64> = varied.iter().map(end).collect();
        step::plan(args, varied, &values)
    };
    let (lowest, highest) = (at(|vary| vary.range.low)?, at(|vary| vary.range.high)?);
    if lowest.expectations.is_empty() {
        let example = "--set 'expect=[\"opening_handshake p99 < 250ms\", \"clients_lost count == 0\"]'";
        return Err(Usage(format!(
            "the scenario has no expectations, and `capacity` searches the largest value at which all expectations hold: add `expect` \
             to it, or use {example}"
        ))
        .into());
    }
    Ok((lowest, highest))
}

/// What is about to happen, and how long it may take.
fn announcement(args: &Args, varied: &[Vary], lowest: &Plan) -> String {
    let searched = &varied[varied.len() - 1];
    let mut text =
        format!("capacity: {} from {} to {}", searched.key, searched.text(searched.range.low), searched.text(searched.range.high));
    let mut runs = u32::from(args.steps);
    if let [first, _] = varied {
        let levels = first.levels(args.levels.into());
        runs *= u32::try_from(levels.len()).unwrap_or(1);
        let levels: Vec<String> = levels.into_iter().map(|level| first.text(level)).collect();
        text += &format!(", for {} of {}", first.key, levels.join(", "));
    }
    let longest = Duration::from_secs(((lowest.duration + step::warm_up(args, lowest)) * runs).as_secs().max(1));
    text + &format!("; at most {runs} runs of {}, about {} in all\n", print_duration(lowest.duration), print_duration(longest))
}

/// A search under way.
struct Hunt<'a> {
    bench: Bench<'a>,
    args: &'a Args,
    varied: &'a [Vary],
    /// The limit that was asked for.
    at_least: Option<f64>,
    limits: Vec<LimitRow>,
}

impl Hunt<'_> {
    /// One search, or one for each value of the first parameter. Fails only if nothing at all was measured.
    fn all(&mut self, lowest: &Plan) -> anyhow::Result<()> {
        let measure = Measure::of(lowest);
        let levels: Vec<Option<f64>> = match self.varied {
            [first, _] => first.levels(self.args.levels.into()).into_iter().map(Some).collect(),
            _ => vec![None],
        };
        let searched = &self.varied[self.varied.len() - 1];
        for level in levels {
            let begun = self.bench.steps.len();
            let found = self.one(level, searched)?;
            let steps = &self.bench.steps[begun..];
            if !steps.is_empty() {
                self.limits.push(LimitRow { level, ..limit_row(&found, steps, searched, measure.echoes, lowest.seed) });
            }
            if self.bench.is_stopped() {
                break;
            }
        }
        if self.bench.steps.is_empty() { Err(anyhow::anyhow!("stopped before the end of the first run")) } else { Ok(()) }
    }

    fn one(&mut self, level: Option<f64>, searched: &Vary) -> anyhow::Result<SearchFound> {
        let settings = self.settings();
        let mut seen: Vec<Observation> = Vec::new();
        loop {
            match search::next(searched.range, settings, &seen) {
                Next::Done(found) => return Ok(found),
                Next::Try { value, why } => match self.bench.step(level, value, why)? {
                    Stepped::Seen(outcome) => seen.push(Observation { value, outcome }),
                    Stepped::Stopped => return Ok(so_far(settings, &seen)),
                },
            }
        }
    }

    fn settings(&self) -> Settings {
        let Args { steps, repeats, precision, .. } = self.args;
        Settings { steps: usize::from(*steps), repeats: usize::from(*repeats), precision: precision.0 }
    }

    fn conclude(mut self, lowest: &Plan, command: &str, stopped: bool) -> Search {
        let lost_node = lost::lost_node(self.args, &mut self.bench, lowest, &self.limits, self.varied);
        let (reconnect_within_us, reconnect_stat) = reconnect_within(&lowest.expectations).unzip();
        let measure = Measure::of(lowest);
        let row =
            |vary: &Vary| VaryRow { key: vary.key.clone(), unit: vary.unit.name().to_owned(), low: vary.range.low, high: vary.range.high };
        let down = lowest.faults.iter().filter_map(|fault| fault.inject.values.duration("down")).max();
        let notices = self.bench.notices();
        let steps = self.bench.steps;
        let capacity = Capacity {
            schema_version: CAPACITY_VERSION,
            scenario: lowest.name.clone(),
            question: lowest.question.clone(),
            command: command.to_owned(),
            target: RunMeta::of(lowest).target,
            seed: lowest.seed.0,
            duration_ms: lowest.duration.as_millis() as u64,
            status: if stopped { "aborted" } else { "completed" }.to_owned(),
            verdict: match (self.at_least, self.varied.last()) {
                (Some(wanted), Some(searched)) if !stopped => gate(&self.limits, wanted, searched),
                _ => verdict(&self.limits, stopped),
            },
            vary: self.varied.iter().map(row).collect(),
            search: SearchRow {
                steps_max: self.args.steps.into(),
                repeats: self.args.repeats.into(),
                precision_percent: self.args.precision.0 * 100.0,
                warm_up_ms: step::warm_up(self.args, lowest).as_millis() as u64,
                at_least: self.at_least,
            },
            throughput: measure.throughput_name().to_owned(),
            latency: measure.latency.name().to_owned(),
            expect: lowest
                .expectations
                .iter()
                .map(|expectation| expectation.text.clone())
                .chain(step::needs(self.args, lowest).map(|needed| step::words(!lowest.faults.is_empty(), needed)))
                .collect(),
            reconnect_within_us,
            reconnect_stat,
            down_us: down.map(|down| down.as_micros() as u64),
            crashes: lowest.faults.iter().any(|fault| fault.inject.row.kind == lost::CRASH),
            instances: matches!(lowest.target, Target::Embedded(_)).then(|| lowest.target.instances().into()),
            lost_node,
            limits: self.limits,
            notices,
        };
        Search { capacity, steps }
    }
}

/// What a search came to: inconclusive where one limit was the generator's, or a search was stopped; a failure where nothing held anywhere.
fn verdict(limits: &[LimitRow], stopped: bool) -> Conclusion {
    let ended = |which: &[Ended]| limits.iter().filter(|limit| which.iter().any(|ended| ended.name() == limit.ended)).count();
    let mut reasons = Vec::new();
    if stopped {
        reasons.push("the search was stopped before its end".to_owned());
    }
    for (which, what) in [
        (Ended::Generator, "the load generator reached its limit before the server did: the result is a lower bound"),
        (Ended::Impossible, "at the next larger value the run could not start: the result is a lower bound"),
        (Ended::NoData, "no result: too few samples at every value"),
        (Ended::Never, "the expectations do not hold even at the lowest value"),
        (Ended::Top, "no tested value failed: the result is a lower bound"),
    ] {
        if ended(&[which]) > 0 {
            reasons.push(what.to_owned());
        }
    }
    if limits.iter().any(|limit| !limit.complete) && !stopped {
        reasons
            .push("the maximum number of runs (--steps) was reached before the limit was as precise as requested (--precision)".to_owned());
    }
    let result = match () {
        () if stopped || ended(&[Ended::Generator, Ended::Impossible, Ended::NoData]) > 0 => "inconclusive",
        () if ended(&[Ended::Never]) == limits.len() => "fail",
        () => "pass",
    };
    Conclusion { result: result.to_owned(), reasons }
}

/// The limit that was asked for, in the unit of the parameter that is searched.
fn at_least(args: &Args, varied: &[Vary]) -> Result<Option<f64>, Usage> {
    let (Some(text), Some(searched)) = (&args.at_least, varied.last()) else { return Ok(None) };
    searched.value(text).map(Some).map_err(|why| Usage(format!("`--at-least {text}`: {why}")))
}

/// What a search came to where a limit was asked for: a failure where no run at that value or below it held, inconclusive where neither is known.
fn gate(limits: &[LimitRow], wanted: f64, searched: &Vary) -> Conclusion {
    let (holds, wanted_text) = (|limit: &LimitRow| limit.limit.is_some_and(|found| found >= wanted), searched.text(wanted));
    let fails = |limit: &LimitRow| !holds(limit) && limit.surely_fails.is_some_and(|value| value <= wanted);
    let found = |limit: &LimitRow| limit.limit.map_or_else(|| "nothing".to_owned(), |value| searched.text(value));
    if let Some(limit) = limits.iter().find(|limit| fails(limit)) {
        return Conclusion {
            result: "fail".to_owned(),
            reasons: vec![format!("{} holds, and at least {wanted_text} was asked for", found(limit))],
        };
    }
    if !limits.is_empty() && limits.iter().all(holds) {
        return Conclusion { result: "pass".to_owned(), reasons: vec![format!("at least {wanted_text} was asked for, and holds")] };
    }
    let mut reasons = verdict(limits, false).reasons;
    let open = limits.iter().find(|limit| !holds(limit)).map_or_else(|| "nothing".to_owned(), found);
    reasons.insert(0, format!("{open} holds; whether {wanted_text} does, as was asked for, is not known"));
    Conclusion { result: "inconclusive".to_owned(), reasons }
}

fn exit_code(verdict: &Conclusion) -> u8 {
    match verdict.result.as_str() {
        "pass" => exit::OK,
        "fail" => exit::FAILED,
        _ => exit::INCONCLUSIVE,
    }
}

fn print_search(search: &Search, format: Format) -> anyhow::Result<()> {
    let text = match format {
        Format::Json => json(&search.capacity)?,
        Format::Text => {
            let terminal = io::stdout().is_terminal();
            let width = terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0));
            report::capacity::terminal(search, width, terminal && console::colours_allowed())
        }
    };
    console::print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_was_asked_for_holds_fails_or_is_not_known() {
        let searched = Vary::parse("clients.web.arrive.rate=50/s..5000/s").unwrap();
        let row = |limit: Option<f64>, surely_fails: Option<f64>, ended: Ended| LimitRow {
            limit,
            surely_fails,
            ended: ended.name().to_owned(),
            complete: true,
            ..LimitRow::default()
        };
        let table = [
            (row(Some(4100.0), Some(4300.0), Ended::Edge), "pass"),
            (row(Some(4000.0), None, Ended::Generator), "pass"), // a lower bound is enough
            (row(Some(3200.0), Some(3300.0), Ended::Edge), "fail"),
            (row(Some(3900.0), Some(4050.0), Ended::Edge), "inconclusive"), // in between
            (row(Some(3200.0), None, Ended::Generator), "inconclusive"),
            (row(None, Some(50.0), Ended::Never), "fail"),
            (row(None, None, Ended::NoData), "inconclusive"),
        ];
        for (limit, expected) in &table {
            assert_eq!(gate(std::slice::from_ref(limit), 4000.0, &searched).result, *expected, "{limit:?}");
        }
        let all = |rows: &[usize]| gate(&rows.iter().map(|row| table[*row].0.clone()).collect::<Vec<_>>(), 4000.0, &searched);
        assert_eq!(all(&[0, 2, 4]).reasons, ["3200/s holds, and at least 4000/s was asked for"]);
        assert_eq!(
            (all(&[0, 1]).result.as_str(), all(&[0, 4]).result.as_str(), all(&[]).result.as_str()),
            ("pass", "inconclusive", "inconclusive")
        );
    }

    #[test]
    fn a_limit_that_the_search_cannot_reach_is_refused() {
        let searched = Vary::parse("clients=100..2000").unwrap();
        assert_eq!((searched.value("800"), searched.value("100")), (Ok(800.0), Ok(100.0)));
        for (text, why) in [("4000/s", "no value of clients, such as 2000"), ("5000", "not within the range of the search, 100 to 2000")] {
            assert!(searched.value(text).unwrap_err().contains(why), "{text}");
        }
    }
}
