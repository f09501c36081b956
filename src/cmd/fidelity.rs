//! `closestorm fidelity`: a scenario on real sockets and in the simulator, with a model fitted to another run, laid over one another.

use super::console;
use super::console::command_line;
use super::execute::{check_programs, check_remote_limits, run_and_judge};
use super::exit;
use super::progress::ShowProgress;
use super::signals::Stop;
use crate::api::{RunPart, divide};
use crate::calibrate::{self, fragment};
use crate::cli::{Fidelity, Format};
use crate::fidelity::{self, Comparison, FidelityLimits, text};
use crate::metrics::{Results, Status};
use crate::output;
use crate::plan::{Plan, Shard};
use crate::plot;
use crate::results::evidence::Evidence;
use crate::results::folder::Folder;
use crate::results::manifest;
use crate::results::read::{self, Loaded};
use crate::sim;
use crate::text::json;
use crate::verdict::judge;
use anyhow::Context;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Between the seed of the run and that of the run for the fit, where both are of one scenario.
const OTHER_SEED: u64 = 1_000;

/// Runs, simulates and compares.
///
/// # Errors
/// The scenario or the model is wrong, a run could not begin, or its results could not be written.
pub fn main(args: &Fidelity) -> anyhow::Result<u8> {
    let mut changes = args.changes.clone();
    let before = args.run.as_deref().map(read::read).transpose()?;
    changes.seed = changes.seed.or(before.as_ref().map(|run| run.summary.seed));
    let plan = Plan { limits: args.load.limits(), ..console::load(Some(&args.scenario), &changes)? };
    if let Some(run) = &before {
        same_run(&plan, run)?;
    }
    check_remote_limits(&plan)?;
    check_programs(&plan)?;
    let stop = Stop::listen().context("cannot listen for signals")?;
    let manifest = manifest::of(command_line(), &plan);
    let default = || manifest::default_folder(&format!("{}-fidelity", plan.name), &manifest);
    let folder = console::noted(Folder::open(args.output.out.as_deref(), args.output.force, default)?);
    let comparison = match work(args, &changes, (plan, before), folder.path(), &stop) {
        Ok(comparison) => comparison,
        Err(error) => {
            folder.discard();
            let Some(code) = stop.code() else { return Err(error) };
            exit::report_error(&error);
            return Ok(code);
        }
    };
    let dir = folder.finish()?;
    if args.output.format.is_told(args.output.quiet) {
        console::print(&match args.output.format {
            Format::Json => format!("{}\n", serde_json::to_string_pretty(&comparison)?),
            Format::Text => format!("{}chart        {}\n", text::text(&comparison), dir.join("fidelity.png").display()),
        })?;
    }
    let code = match comparison.result {
        "pass" => exit::OK,
        "fail" => exit::FAILED,
        _ => exit::INCONCLUSIVE,
    };
    Ok(stop.code().unwrap_or_else(|| exit::allowed(code, args.output.allow_inconclusive)))
}

/// All that is done, into a folder that exists.
fn work(
    args: &Fidelity,
    changes: &crate::cli::Changes,
    run: (Plan, Option<Loaded>),
    dir: &Path,
    stop: &Stop,
) -> anyhow::Result<Comparison> {
    let (plan, before) = run;
    let model = match &args.model {
        Some(file) => fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?,
        None => fitted(args, changes, &plan, &dir.join("fit"), stop)?,
    };
    put(dir, "model.toml", &model)?;
    let with_model = with_model(args, changes, &plan, &model)?;
    let plan = Arc::new(plan);
    let real = match before {
        Some(run) => run,
        None => measure(&plan, &dir.join("real"), args.output.quiet, stop)?,
    };
    let simulated = simulate(&with_model, &dir.join("simulated"))?;
    let comparison = fidelity::compare(&with_model, &real, &simulated, FidelityLimits::default());
    put(dir, "fidelity.json", &json(&comparison)?)?;
    put(dir, "fidelity.txt", &text::text(&comparison))?;
    plot::write_scene("fidelity", plot::fidelity::scene(&comparison, &real, &simulated), dir)?;
    Ok(comparison)
}

fn put(dir: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = dir.join(name);
    output::write(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

/// A run that was made before must be one of this scenario.
fn same_run(plan: &Plan, run: &Loaded) -> Result<(), exit::Usage> {
    let summary = &run.summary;
    if summary.simulated {
        return Err(exit::Usage(format!("{} is a simulated run: --run needs a run on real sockets", run.dir.display())));
    }
    let cohorts = |names: &mut dyn Iterator<Item = (&str, u64)>| names.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>();
    let planned = cohorts(&mut plan.cohorts.iter().map(|cohort| (cohort.name.as_str(), u64::from(cohort.count))));
    let ran = cohorts(&mut summary.cohorts.iter().map(|(name, cohort)| (name.as_str(), cohort.clients.planned)));
    if planned != ran || plan.seed.0 != summary.seed || plan.duration.as_millis() as u64 != summary.duration_ms {
        return Err(exit::Usage(format!(
            "{} is a run of a different plan: it has seed {} and {} clients, the scenario has seed {} and {} clients",
            run.dir.display(),
            summary.seed,
            ran.join(", "),
            plan.seed.0,
            planned.join(", ")
        )));
    }
    Ok(())
}

/// A model fitted to a run that is not the one compared: of another scenario, or of this one with another seed.
fn fitted(args: &Fidelity, changes: &crate::cli::Changes, plan: &Plan, dir: &Path, stop: &Stop) -> anyhow::Result<String> {
    let plan = match &args.fit {
        Some(scenario) => console::load(Some(scenario), &crate::cli::Changes::default())?,
        None => {
            let seed = Some(plan.seed.0.wrapping_add(OTHER_SEED) & i64::MAX as u64);
            console::load(Some(&args.scenario), &crate::cli::Changes { seed, ..changes.clone() })?
        }
    };
    let plan = Plan { limits: args.load.limits(), ..plan };
    check_remote_limits(&plan)?;
    check_programs(&plan)?;
    let loaded = measure(&Arc::new(plan), dir, args.output.quiet, stop)?;
    let fit = calibrate::fit(&loaded).map_err(super::calibrate::usage)?;
    Ok(fragment::fragment(&fit))
}

/// The plan with the fitted model laid over it.
fn with_model(args: &Fidelity, changes: &crate::cli::Changes, plan: &Plan, model: &str) -> anyhow::Result<Plan> {
    let mut overrides = changes.overrides();
    overrides.seed = Some(plan.seed.0);
    let keys = fragment::overrides(model).map_err(|why| exit::Usage(format!("the model cannot be used: {why}")))?;
    overrides.set.extend(keys);
    Ok(console::load_changed(Some(&args.scenario), &overrides)?)
}

/// Runs a plan on real sockets, into a run folder without charts.
fn measure(plan: &Arc<Plan>, dir: &Path, quiet: bool, stop: &Stop) -> anyhow::Result<Loaded> {
    let folder = Folder::create(dir)?;
    let (plan, division) = divide(Plan::clone(plan), Shard::WHOLE, None, None)?;
    let plan = Arc::new(plan);
    let (results, _) =
        run_and_judge(&plan, RunPart::whole(division), folder.path(), Duration::ZERO, ShowProgress::line(quiet), stop.clone())?;
    let why = results.lost.first().map_or("stopped", String::as_str);
    anyhow::ensure!(results.status == Status::Completed, "{why}: nothing to compare");
    written(folder, &results, &plan)
}

fn simulate(plan: &Plan, dir: &Path) -> anyhow::Result<Loaded> {
    let model = plan.simulated_as().map_err(|error| exit::Usage(error.to_string()))?;
    let simulated = sim::run(plan, &model).map_err(|error| exit::Usage(error.to_string()))?;
    written(Folder::create(dir)?, &simulated.results, plan)
}

fn written(folder: Folder, results: &Results, plan: &Plan) -> anyhow::Result<Loaded> {
    results.check_ledger().context("the counts are inconsistent: this is a bug in closestorm, please report it")?;
    let verdict = judge(&Evidence::of(results), &plan.expectations);
    let manifest = manifest::of(command_line(), plan);
    folder.write(results, None, &plan.resolved, &verdict, &manifest)?;
    Ok(read::read(&folder.finish()?)?)
}
