//! `closestorm check`: Judges a run again, from its files.

use crate::cli::Check;

/// Judges a run again.
///
/// # Errors
/// Always, so far.
pub fn main(args: Check) -> anyhow::Result<u8> {
    anyhow::bail!("{}: `check` is not built", args.run.display())
}
