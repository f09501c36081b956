//! What the commands that vary parameters share: `--vary` as given, and the scenario with other values of what it names.

use super::exit::Usage;
use crate::capacity::{Vary, vary};
use crate::cli::Changes;
use crate::scenario::Overrides;

/// The parameters of one or two `--vary`, in order.
///
/// # Errors
/// What is wrong with them, with an example.
pub(super) fn varied(texts: &[String], changes: &Changes) -> Result<Vec<Vary>, Usage> {
    let varied: Vec<Vary> = texts.iter().map(|text| Vary::parse(text)).collect::<Result<_, _>>().map_err(Usage)?;
    if varied.len() > 2 {
        return Err(Usage("`--vary` can be given once or twice: at most two parameters can be varied".to_owned()));
    }
    if varied.len() == 2 && varied[0].key == varied[1].key {
        return Err(Usage(format!("`--vary {}` is given twice", varied[0].key)));
    }
    if changes.clients.is_some() && varied.iter().any(|vary| vary.key == vary::CLIENTS) {
        return Err(Usage("`--clients` and `--vary clients` conflict: leave one out".to_owned()));
    }
    Ok(varied)
}

/// What the command line changes, with these values of the varied parameters on top.
pub(super) fn overrides(changes: &Changes, varied: &[Vary], values: &[f64]) -> Overrides {
    let mut overrides = changes.overrides();
    for (vary, value) in varied.iter().zip(values) {
        if vary.key == vary::CLIENTS {
            overrides.clients = Some(*value as u32);
        } else {
            overrides.set.push(format!("{}={}", vary.key, vary.text(*value)));
        }
    }
    overrides
}
