//! `closestorm calibrate`: fits the simulator's server model to a run folder, and writes it as a scenario fragment.

use super::console;
use super::exit;
use crate::calibrate::fragment::fragment;
use crate::calibrate::{Fit, NotFitted, fit};
use crate::cli::{Calibrate, Format};
use crate::output;
use crate::results::{read, shard};
use crate::text::json;
use anyhow::Context;

/// Fits a model.
///
/// # Errors
/// The run folder cannot be read, says too little of its server, or the file cannot be written.
pub fn main(args: &Calibrate) -> anyhow::Result<u8> {
    if args.run.join(shard::FILE).exists() {
        let dir = args.run.display();
        let why = "is one shard of a run, but its server served the clients of all shards: run `closestorm merge` first, and calibrate \
            the merged run";
        return Err(exit::Usage(format!("{dir} {why}")).into());
    }
    let loaded = read::read(&args.run)?;
    let fit = fit(&loaded).map_err(usage)?;
    if !fit.busy {
        exit::report_error(&anyhow::anyhow!(never_busy(&fit)));
        return Ok(exit::INCONCLUSIVE);
    }
    if let Some(out) = &args.out {
        output::write(out, fragment(&fit).as_bytes()).with_context(|| format!("cannot write {}", out.display()))?;
    }
    if args.format.is_told(args.quiet) {
        console::print(&shown(&fit, args.format)?)?;
    }
    Ok(exit::OK)
}

/// Why there is no model, and how to get one.
fn never_busy(fit: &Fit) -> String {
    format!(
        "the server was never busy in this run ({} opening handshakes), so its capacity is unknown and no model was written; calibrate \
         a run in which many clients reconnect in a single burst, for example with `--set clients.NAME.reconnect=fixed-3s` and more \
         clients",
        fit.handshakes
    )
}

/// A run that does not fit is a wrong argument.
pub(super) fn usage(error: NotFitted) -> exit::Usage {
    exit::Usage(error.to_string())
}

fn shown(fit: &Fit, format: Format) -> anyhow::Result<String> {
    Ok(match format {
        Format::Json => json(fit)?,
        Format::Text => fragment(fit),
    })
}
