//! `closestorm __guard`: Starts a server, and ends it when closestorm ends. Started by closestorm itself.

use crate::cli::Internal;

/// Starts a server, and ends it when closestorm ends.
///
/// # Errors
/// Always, so far.
pub fn main(args: Internal) -> anyhow::Result<u8> {
    anyhow::bail!("`__guard` is not built: {}", args.json)
}
