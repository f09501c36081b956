//! `closestorm compare`: is the new side of runs worse, and is that more than noise?

use super::baseline;
use super::check::stored_plan;
use super::ci::CiOutput;
use super::console;
use super::exit;
use crate::cli::{Compare, CompareFormat};
use crate::compare::{
    ComparedQuantity, ComparedRun, FEWEST_RUNS, Mismatch, RunComparison, Thresholds, check_same, compare, duplicates, quantities,
};
use crate::expect::{Expectation, Names};
use crate::output;
use crate::plan::Plan;
use crate::plot::{self, compared as chart};
use crate::report::compared;
use crate::results::read;
use crate::results::record::SCHEMA_VERSION;
use crate::text::json;
use anyhow::Context;
use std::collections::BTreeSet;
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Runs a side at most: the exact test of so many takes about a second for each metric.
const MOST_RUNS: usize = 100;

/// Compares the runs of both sides.
///
/// # Errors
/// A run folder cannot be read, or the runs cannot be compared.
pub fn main(args: &Compare) -> anyhow::Result<u8> {
    let mut ci = CiOutput::begin(&args.ci, None, "compare");
    let done = compare_sides(args, &mut ci);
    ci.finish(done)
}

fn compare_sides(args: &Compare, ci: &mut CiOutput<'_>) -> anyhow::Result<u8> {
    let base = match &args.baseline {
        Some(name) => vec![baseline::folder(name)?],
        None => args.base.clone(),
    };
    let how = ComparedBy { metric: &args.metric, relative: args.min_effect.0, allow_different: args.allow_different };
    let (base, new, comparison) = compare_folders(&base, &args.new, &how)?;
    ci.named(&new[0].summary.scenario);
    ci.comparison(comparison.clone());
    if let Some(out) = &args.out {
        write(out, (&base, &new), &comparison)?;
    }
    if !args.quiet || args.format != CompareFormat::Text {
        print(&comparison, args.format)?;
    }
    Ok(exit::allowed(comparison.exit_code, args.allow_inconclusive))
}

/// By what runs are compared.
pub(super) struct ComparedBy<'a> {
    /// In place of what the scenario expects.
    pub(super) metric: &'a [String],
    /// Changes up to this share of the median do not matter.
    pub(super) relative: f64,
    /// Runs of different scenarios are compared, too.
    pub(super) allow_different: bool,
}

/// Compares run folders, and those in folders; gives the runs of both sides, too.
///
/// # Errors
/// As [`main`].
pub(super) fn compare_folders(
    base: &[PathBuf],
    new: &[PathBuf],
    how: &ComparedBy<'_>,
) -> anyhow::Result<(Vec<ComparedRun>, Vec<ComparedRun>, RunComparison)> {
    let (base, new) = (folders(base, "base")?, folders(new, "new")?);
    let mut seen = BTreeSet::new();
    for folder in base.iter().chain(&new) {
        let place = fs::canonicalize(folder).unwrap_or_else(|_| folder.clone());
        if !seen.insert(place) {
            return Err(exit::Usage(format!("{} is named twice: each run counts once", folder.display())).into());
        }
    }
    let plan = plan(&new[0])?;
    let quantities = asked(how.metric, &plan)?;
    let few = base.len().min(new.len()) < FEWEST_RUNS;
    let by = few.then_some(&quantities[..]);
    let (base, new) = (runs(&base, by)?, runs(&new, by)?);
    for side in [&base, &new] {
        if let Some((one, other)) = duplicates(side) {
            let why = "a copy, or a simulation with the same seed; it would count twice";
            return Err(exit::Usage(format!("{} and {} are the same run: {why}", one.name, other.name)).into());
        }
    }
    let differences = check_same(&base, &new, how.allow_different).map_err(refused)?;
    let comparison = compare(&base, &new, &quantities, Thresholds { relative: how.relative }, differences);
    Ok((base, new, comparison))
}

/// Refuses a folder that runs of this scenario, as it is stored, could not be compared with: before they take their time.
///
/// # Errors
/// As [`main`].
pub(super) fn check_base(folder: &Path, scenario: &str) -> anyhow::Result<()> {
    let base = runs(&folders(&[folder.to_owned()], "base")?, None)?;
    let mut planned = base[0].clone();
    (planned.name, planned.scenario) = ("what is to run".to_owned(), scenario.to_owned());
    check_same(&base, &[planned], false).map(drop).map_err(refused)
}

fn refused(error: Mismatch) -> anyhow::Error {
    match error {
        Mismatch::Damaged { .. } => error.into(),
        _ => exit::Usage(error.to_string()).into(),
    }
}

/// The run folders that arguments name: they themselves, or those in them, by name.
fn folders(named: &[PathBuf], side: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in named {
        let within = if path.join("summary.json").exists() { Vec::new() } else { inside(path) };
        if within.is_empty() { found.push(path.clone()) } else { found.extend(within) }
    }
    if found.len() > MOST_RUNS {
        return Err(exit::Usage(format!("{side} has {} runs: at most {MOST_RUNS} can be compared", found.len())).into());
    }
    Ok(found)
}

/// Complete run folders in a folder, without links to them, as `latest`.
fn inside(folder: &Path) -> Vec<PathBuf> {
    let is_run = |entry: &fs::DirEntry| {
        let partial = entry.file_name().to_string_lossy().ends_with(".partial");
        entry.file_type().is_ok_and(|kind| kind.is_dir()) && !partial && entry.path().join("summary.json").exists()
    };
    let mut runs: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().flatten().filter(is_run).map(|entry| entry.path()).collect();
    runs.sort();
    runs
}

/// The runs of folders, with their intervals where these are given.
fn runs(folders: &[PathBuf], by_interval: Option<&[ComparedQuantity]>) -> anyhow::Result<Vec<ComparedRun>> {
    let read = |folder: &PathBuf| -> anyhow::Result<ComparedRun> {
        let loaded = read::read(folder)?;
        if loaded.summary.schema_version < SCHEMA_VERSION {
            let why = "has schema version 1, which did not record missing replies and handshakes: it cannot be compared";
            return Err(exit::Usage(format!("{} {why}", folder.display())).into());
        }
        let run = ComparedRun::read(loaded)?;
        let Some(by) = by_interval else { return Ok(run) };
        let log = folder.join("latency.hlog");
        let read = read::read_regular(&log).and_then(|bytes| run.with_intervals(&bytes, by));
        read.with_context(|| format!("cannot read {}", log.display()))
    };
    folders.iter().map(read).collect()
}

/// The plan whose expectations say what is compared.
fn plan(run: &Path) -> anyhow::Result<Plan> {
    // Says whether it is a run folder at all, before its scenario is looked for.
    let loaded = read::read(run)?;
    stored_plan(run, loaded.summary.schema_version < SCHEMA_VERSION)
}

/// What is compared: what the command line names, else what the scenario expects.
fn asked(metric: &[String], plan: &Plan) -> anyhow::Result<Vec<ComparedQuantity>> {
    if metric.is_empty() {
        if plan.expectations.is_empty() {
            let what = "name what to compare, for example --metric \"reconnect_time p99\"";
            return Err(exit::Usage(format!("the scenario has no expectations: {what}")).into());
        }
        return Ok(quantities(&plan.expectations));
    }
    let cohorts: Vec<String> = plan.cohorts.iter().map(|cohort| cohort.name.clone()).collect();
    let faults: Vec<String> = plan.faults.iter().map(|fault| fault.name.clone()).collect();
    let causes: Vec<String> = plan.scripts().flat_map(|script| script.causes()).collect();
    let errors: Vec<String> = plan.scripts().flat_map(|script| script.errors()).map(str::to_owned).collect();
    let names = Names { cohorts: &cohorts, faults: &faults, causes: &causes, errors: &errors };
    let parse = |text: &String| {
        Expectation::parse_measured(text, names).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(|problem| format!("{}; {}", problem.found, problem.help)).collect();
            exit::Usage(format!("--metric \"{text}\": {}", problems.join("; ")))
        })
    };
    let expectations = metric.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    Ok(quantities(&expectations))
}

/// The comparison as files, with a chart where there were outages.
fn write(out: &Path, (base, new): (&[ComparedRun], &[ComparedRun]), comparison: &RunComparison) -> anyhow::Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let chart = match chart::scene(base, new, comparison, &console::command_line().join(" ")) {
        Some(scene) => Some(plot::write_scene(chart::NAME_OF_FILES, scene, out)?),
        None => None,
    };
    let chart = chart.as_ref().map(|chart| (chart.name, chart.title.as_str()));
    for (name, text) in [("comparison.json", json(comparison)?), ("comparison.md", compared::markdown(comparison, chart))] {
        let path = out.join(name);
        output::write(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Prints a comparison to stdout.
///
/// # Errors
/// It cannot be written.
pub(super) fn print(comparison: &RunComparison, format: CompareFormat) -> anyhow::Result<()> {
    let text = match format {
        CompareFormat::Json => json(comparison).context("cannot write the comparison as JSON")?,
        CompareFormat::Markdown => compared::markdown(comparison, None),
        CompareFormat::Text => {
            let colour = std::io::stdout().is_terminal() && console::colours_allowed();
            let width = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
            compared::terminal(comparison, width, colour)
        }
    };
    console::print(&text)
}
