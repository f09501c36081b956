//! `closestorm report`: Writes charts and reports of a run again, from its files.

use crate::cli::Report;

/// Writes charts and reports of a run again.
///
/// # Errors
/// Always, so far.
pub fn main(args: Report) -> anyhow::Result<u8> {
    anyhow::bail!("{}: `report` is not built", args.run.display())
}
