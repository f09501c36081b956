//! `closestorm check`: judges a run again, from its files.

use super::ci::{self, CiOutput, check_folders};
use super::console;
use super::exit;
use crate::cli::{Check, Format};
use crate::plan::Plan;
use crate::report;
use crate::results::answer::answer;
use crate::results::evidence::Evidence;
use crate::results::read::{self, ReadError};
use crate::results::record::SCHEMA_VERSION;
use crate::results::shard;
use crate::scenario;
use crate::text::json;
use crate::verdict::{exit_code, judge};
use anyhow::anyhow;
use std::io::IsTerminal;
use std::path::Path;

/// Judges a run again, by the expectations of the scenario that is stored with it.
///
/// # Errors
/// The run folder cannot be read.
pub fn main(args: &Check) -> anyhow::Result<u8> {
    let mut ci = CiOutput::begin(&args.ci, None, &args.run.to_string_lossy());
    let done = check(args, &mut ci);
    ci.finish(done)
}

fn check(args: &Check, ci: &mut CiOutput<'_>) -> anyhow::Result<u8> {
    // Each has a `report.md` of its own.
    let same = |_| exit::Usage("RUN and --report-dir name the same folder: name two".to_owned());
    check_folders(Some(&args.run), &args.ci).map_err(same)?;
    if args.run.join(shard::FILE).exists() {
        let dir = args.run.display();
        return Err(exit::Usage(format!("{dir} is one shard of a run: use `closestorm merge` to combine and judge all shards")).into());
    }
    let loaded = read::read(&args.run)?;
    let plan = stored_plan(&args.run, loaded.summary.schema_version < SCHEMA_VERSION)?;
    let evidence = Evidence::read(&loaded)?;
    console::note_missing(&loaded);
    let mut verdict = judge(&evidence, &plan.expectations);
    verdict.answer = answer(&verdict, &loaded.summary, plan.answer.as_ref());
    if args.format.is_told(args.quiet) {
        let text = match args.format {
            Format::Json => json(&verdict)?,
            Format::Text => {
                let colour = std::io::stdout().is_terminal() && console::colours_allowed();
                let width = terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0));
                report::judgement(&verdict, width, colour)
            }
        };
        console::print(&text)?;
    }
    let code = exit::allowed(exit_code(&verdict), args.allow_inconclusive);
    let mut summary = loaded.summary;
    summary.verdict = verdict;
    ci.named(&summary.scenario);
    let started = loaded.manifest.map(|manifest| manifest.started).unwrap_or_default();
    ci.runs(Some(ci::told_of(&plan, summary, started, &args.run)));
    Ok(code)
}

/// The plan as the run resolved it; `recorded`: in an earlier schema version. What is wrong with it is damage, not somebody's mistake.
pub(super) fn stored_plan(run: &Path, recorded: bool) -> anyhow::Result<Plan> {
    let path = run.join("scenario.toml");
    if !path.exists() {
        return Err(ReadError::Missing { path, why: "it has the expectations, so nothing can be judged without it" }.into());
    }
    scenario::load_stored(&path, recorded).map_err(|errors| anyhow!("{} is damaged\n{errors}", path.display()))
}
