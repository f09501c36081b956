//! `closestorm __server`: One instance of the embedded server. Started by closestorm itself.

use crate::cli::Internal;

/// One instance of the embedded server.
///
/// # Errors
/// Always, so far.
pub fn main(args: Internal) -> anyhow::Result<u8> {
    anyhow::bail!("`__server` is not built: {}", args.json)
}
