//! What is served of a run while it is under way: `--web` and `--metrics`.

use crate::cli::WatchArgs;
use crate::web::{WebAddresses, WebServer};
use std::io::{self, Write};
use std::path::Path;

/// Takes the ports, says on stderr where they are, and warns of those that others can reach.
///
/// # Errors
/// A port is taken.
pub(super) fn bind(args: &WatchArgs, quiet: bool) -> anyhow::Result<Option<WebServer>> {
    let Some(web) = WebServer::bind(&WebAddresses { page: args.web.clone(), metrics: args.metrics.clone() })? else { return Ok(None) };
    let mut lines = String::new();
    if !quiet {
        web.page_url().iter().for_each(|url| lines += &format!("page of the run: {url}\n"));
        web.metrics_url().iter().for_each(|url| lines += &format!("metrics of the run: {url}\n"));
    }
    web.open_to_others().for_each(|address| lines += &format!("warning: whoever reaches {address} can read this run\n"));
    // There is nowhere left to say that stderr is closed.
    let _ = io::stderr().write_all(lines.as_bytes());
    Ok(Some(web))
}

/// The report in a run folder, or why there is none.
pub(super) fn report(dir: &Path) -> Result<String, String> {
    let path = dir.join("report.html");
    std::fs::read_to_string(&path).map_err(|error| format!("The run has ended; its report cannot be read: {}: {error}.", path.display()))
}
