//! closestorm as a client under measurement: the scenario for a job, and what its summary says.

use super::machine::Cores;
use crate::job::{Job, Load};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Runs of a job that the driver ends last at most this long.
const LONG: &str = "120s";

/// The program measured: that of `CLOSESTORM`, otherwise the one built with this benchmark.
pub(crate) fn program() -> String {
    std::env::var("CLOSESTORM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_closestorm").to_owned())
}

pub(crate) fn command(job: &Job, cores: Cores, folder: &Path) -> Result<Command, String> {
    let path = folder.join("scenario.toml");
    std::fs::write(&path, scenario(job)).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut command = cores.client(&program());
    command.arg("run").arg(path).arg("--quiet").arg("--out").arg(folder.join("run"));
    Ok(command)
}

fn scenario(job: &Job) -> String {
    let address = job.address(0);
    let (duration, arrive, reconnect, traffic) = match job.load {
        Load::Idle => (LONG.to_owned(), "at_once = true".to_owned(), "\"none\"".to_owned(), None),
        Load::Closed => (LONG.to_owned(), "at_once = true".to_owned(), "\"none\"".to_owned(), Some("in_flight = 1".to_owned())),
        Load::Rate(rate) => {
            let each = rate / f64::from(job.clients);
            let arriving = 1.0;
            let duration = format!("{}s", job.seconds + arriving);
            (duration, format!("over = \"{arriving}s\""), "\"none\"".to_owned(), Some(format!("rate = \"{each}/s\"")))
        }
        Load::Return(delay) => {
            let reconnect = format!("{{ fixed = {{ delay = \"{}ms\" }} }}", delay.as_millis());
            (LONG.to_owned(), "at_once = true".to_owned(), reconnect, None)
        }
    };
    let traffic = traffic.map(|kind| format!("traffic   = {{ echo = {{ {kind}, payload = \"{}B\" }} }}\n", job.payload));
    let (scheme, trust) = if job.secure { ("wss", "insecure = true\n") } else { ("ws", "") };
    format!(
        "duration = \"{duration}\"\n\n[target.url]\naddress = \"{scheme}://{address}/\"\n{trust}\n[clients.all]\ncount     = {}\narrive    = {{ {arrive} }}\n\
         reconnect = {reconnect}\n{}",
        job.clients,
        traffic.unwrap_or_default()
    )
}

/// A number of the summary in a run folder, by its path of keys.
pub(crate) fn number(folder: &Path, keys: &[&str]) -> Result<f64, String> {
    let path = folder.join("run/summary.json");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let summary: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let value = keys.iter().fold(&summary, |value, key| &value[*key]);
    value.as_f64().ok_or_else(|| format!("{}: no {}", path.display(), keys.join(".")))
}
