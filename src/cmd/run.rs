//! `closestorm run`: a scenario on real sockets.

use crate::cli::Run;

/// Loads the scenario, and prints its plan with `--dry-run`.
///
/// # Errors
/// What is wrong with the scenario.
pub fn main(args: Run) -> anyhow::Result<u8> {
    let plan = super::load(args.scenario.as_deref(), &args.changes)?;
    if args.dry_run {
        super::print(&plan.dry_run())?;
        return Ok(super::OK);
    }
    anyhow::bail!("{}: `run` is not built", plan.name)
}
