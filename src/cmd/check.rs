//! `closestorm check`: judges a run again, from its files.

use crate::cli::{Check, Format};
use crate::report;
use crate::results::evidence::Evidence;
use crate::results::read;
use crate::scenario::{self, Overrides, Source};
use crate::verdict::{exit_code, judge};
use std::io::IsTerminal;

/// Judges a run again, by the expectations of the scenario that is stored with it.
///
/// # Errors
/// The run folder cannot be read.
pub fn main(args: &Check) -> anyhow::Result<u8> {
    let loaded = read::read(&args.run)?;
    let stored = Source::File(args.run.join("scenario.toml"));
    let plan = scenario::load(&stored, &Overrides::default())?;
    let verdict = judge(&Evidence::read(&loaded)?, &plan.expectations);
    if !args.quiet {
        let text = match args.format {
            Format::Json => format!("{}\n", serde_json::to_string_pretty(&verdict)?),
            Format::Text => {
                let colour = std::io::stdout().is_terminal() && super::colours_allowed();
                report::judgement(&verdict, colour)
            }
        };
        super::print(&text)?;
    }
    Ok(super::allowed(exit_code(&verdict), args.allow_inconclusive))
}
