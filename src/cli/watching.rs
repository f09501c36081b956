//! Options about watching a run from elsewhere than its terminal.

use clap::Args;

/// Where the page of the run is served.
const PAGE: &str = "127.0.0.1:5665";

/// What is served while a run is under way.
#[derive(Debug, Default, Args)]
pub struct WatchArgs {
    /// Serve the page of the run while it is under way, at this address or at 127.0.0.1:5665; port 0 takes a free one.
    ///
    /// The address is printed. At the end the pages that are open show the report of the run folder, and the server ends with the run.
    #[arg(long, value_name = "HOST:PORT", num_args = 0..=1, require_equals = true, default_missing_value = PAGE, value_parser = host_and_port)]
    #[arg(conflicts_with_all = ["repeat", "against", "save_baseline", "dry_run"])]
    pub web: Option<String>,
    /// Serve metrics for Prometheus at this address while the run is under way, for example 127.0.0.1:9464; the path is /metrics.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    #[arg(conflicts_with_all = ["repeat", "against", "save_baseline", "dry_run"])]
    pub metrics: Option<String>,
}

/// A host, whatever it is called, and a port.
fn host_and_port(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err(format!("an address has a host and a port, as {PAGE}")),
    }
}
