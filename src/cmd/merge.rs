//! `closestorm merge`: adds up the shards of a run, and judges the whole.

use super::ci::{self, CiOutput, check_folders};
use super::console;
use super::exit;
use crate::cli::Merge;
use crate::metrics::Results;
use crate::metrics::carried::missed;
use crate::metrics::meta::RunMeta;
use crate::number::counted;
use crate::plan::Plan;
use crate::results::folder::Folder;
use crate::results::read::read_regular;
use crate::results::record::Manifest;
use crate::results::shard::{self, ShardError, ShardPart};
use crate::results::{Evidence, manifest};
use crate::scenario;
use crate::seed::Seed;
use crate::verdict::{exit_code, judge};
use anyhow::{Context, anyhow};

/// Adds up the shards of a run into one run folder, and judges it.
///
/// # Errors
/// They are not all shards of one run, or the folder cannot be written.
pub fn main(args: &Merge) -> anyhow::Result<u8> {
    let mut ci = CiOutput::begin(&args.ci, None, "merge");
    let done = merge(args, &mut ci);
    ci.finish(done)
}

fn merge(args: &Merge, ci: &mut CiOutput<'_>) -> anyhow::Result<u8> {
    check_folders(args.output.out.as_deref(), &args.ci)?;
    let mut manifest = manifest::collect(console::command_line(), Seed(0));
    let parts = args.shards.iter().map(|dir| shard::read(dir, &manifest)).collect::<Result<Vec<_>, _>>().map_err(told)?;
    shard::check(&parts).map_err(told)?;
    let plan = plan(&parts)?;
    ci.named(&plan.name);
    let mut results = shard::add_up(&parts, &RunMeta::of(&plan))?;
    if parts.len() > 1 {
        results.meta.notices.extend(missed(&results, &plan));
    }
    results.meta.notices.push({
        let shards = counted(parts.len() as u64, "shard");
        format!("merged from {shards} with {}", counted(results.workers.into(), "process"))
    });
    (manifest.seed, manifest.variables) = (plan.seed.0, manifest::variables(&plan));
    // The whole began when its first part did.
    if let Some(started) = parts.iter().map(|part| &part.header.started).min() {
        manifest.started.clone_from(started);
    }
    let default = || manifest::default_folder(&plan.name, &manifest);
    let folder = console::noted(Folder::open(args.output.out.as_deref(), args.output.force, default)?);
    finish((args, ci), folder, &results, &plan, &manifest)
}

fn finish(
    (args, ci): (&Merge, &mut CiOutput<'_>),
    folder: Folder,
    results: &Results,
    plan: &Plan,
    manifest: &Manifest,
) -> anyhow::Result<u8> {
    let verdict = judge(&Evidence::of(results), &plan.expectations);
    let summary = crate::api::save(&folder, results, None, plan, &verdict, manifest)?;
    let dir = folder.finish()?;
    if args.output.format.is_told(args.output.quiet) {
        super::execute::print_result(&summary, args.output.format, &dir)?;
    }
    ci.runs(Some(ci::told(plan, summary, manifest, &dir)));
    results.check_ledger().context("the counts are inconsistent: this is a bug in closestorm, please report it with the shards")?;
    Ok(exit::allowed(exit_code(&verdict), args.output.allow_inconclusive))
}

/// What the user can mend is a matter of usage.
fn told(error: ShardError) -> anyhow::Error {
    match error {
        ShardError::Damaged { .. } => error.into(),
        _ => exit::Usage(error.to_string()).into(),
    }
}

/// The plan of which these are the parts.
fn plan(parts: &[ShardPart]) -> anyhow::Result<Plan> {
    let first = parts.first().ok_or_else(|| exit::Usage("no shards: name their run folders".to_owned()))?;
    let file = first.dir.join("scenario.toml");
    let stored = read_regular(&file).with_context(|| format!("cannot read {}", file.display()))?;
    if stored != first.header.scenario.as_bytes() {
        return Err(anyhow!("{} is not the scenario of this run; restore the original file", file.display()));
    }
    let mut plan = scenario::load_stored(&file, false).map_err(|errors| anyhow!("{} is damaged\n{errors}", file.display()))?;
    plan.name.clone_from(&first.header.name);
    for notice in parts.iter().flat_map(|part| &part.header.notices) {
        if !plan.notices.contains(notice) {
            plan.notices.push(notice.clone());
        }
    }
    let together = first.header.start_at.is_some() && parts.iter().all(|part| part.header.start_at == first.header.start_at);
    if parts.len() > 1 && !together {
        plan.notices
            .push("the shards were not started with the same --start-at: their timelines may be shifted against each other".to_owned());
    }
    Ok(plan)
}
