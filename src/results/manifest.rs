//! `manifest.json`: what was run, where and by which program. The one place that reads the clock on the wall.

use super::record::{Manifest, SCHEMA_VERSION};
use crate::plan::Plan;
use crate::seed::Seed;
use jiff::Timestamp;
use nix::sys::resource::{Resource, getrlimit};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The manifest of a run of a plan that starts now, with `command` as its command line.
pub fn of(command: Vec<String>, plan: &Plan) -> Manifest {
    Manifest { variables: variables(plan), ..collect(command, plan.seed) }
}

/// Names of the variables of the environment that a plan was made with.
pub fn variables(plan: &Plan) -> Vec<String> {
    plan.secrets.variables().keys().cloned().collect()
}

/// As [`of`], without variables.
pub fn collect(command: Vec<String>, seed: Seed) -> Manifest {
    Manifest {
        schema_version: SCHEMA_VERSION,
        command,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("CLOSESTORM_COMMIT").unwrap_or_default().to_owned(),
        variables: Vec::new(),
        seed: seed.0,
        started: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        machine: machine(),
        limits: limits(),
    }
}

/// The run folder of a scenario where the user names none: `results/<scenario>/<UTC time>-<seed>`.
pub fn default_folder(scenario: &str, manifest: &Manifest) -> PathBuf {
    // `2026-01-31T12:00:00.123Z` becomes `20260131T120000.123Z`, which sorts and is a file name everywhere.
    let time: String = manifest.started.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let safe = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let name: String = scenario.chars().map(safe).collect();
    let name = if name.chars().all(|c| c == '.') { "run".to_owned() } else { name };
    Path::new("results").join(name).join(format!("{time}-{}", manifest.seed))
}

/// The start of a run in seconds since 1970; 0 if the manifest does not tell.
pub fn started_s(manifest: &Manifest) -> f64 {
    manifest.started.parse::<Timestamp>().map_or(0.0, |time| time.as_millisecond() as f64 / 1e3)
}

/// How long it is until a time of day, RFC 3339 as `2026-01-31T12:00:00Z`.
///
/// # Errors
/// It is not such a time, or over.
pub fn until(time: &str) -> Result<std::time::Duration, String> {
    let at: Timestamp = time.parse().map_err(|_| format!("`{time}` is not a time: write it as 2026-01-31T12:00:00Z"))?;
    let now = Timestamp::now();
    at.duration_since(now).try_into().map_err(|_| format!("{time} is in the past: it is {} now", now.strftime("%Y-%m-%dT%H:%M:%SZ")))
}

/// The command line of a manifest as a shell would take it, behind the variables that must be set: `TOKEN=… closestorm run a.toml`.
pub fn command_line(manifest: &Manifest) -> String {
    let words = shlex::try_join(manifest.command.iter().map(String::as_str)).unwrap_or_else(|_| manifest.command.join(" "));
    let variables: String = manifest.variables.iter().map(|name| format!("{name}=… ")).collect();
    variables + &words
}

/// Kernel, processors and memory; what cannot be read is left out.
fn machine() -> BTreeMap<String, String> {
    let cpu_model = || {
        let info = fs::read_to_string("/proc/cpuinfo").ok()?;
        let line = info.lines().find_map(|line| line.strip_prefix("model name"))?;
        Some(line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
    };
    present([
        ("os", Some(std::env::consts::OS.to_owned())),
        ("arch", Some(std::env::consts::ARCH.to_owned())),
        ("kernel", proc("sys/kernel/osrelease")),
        ("cpu_model", cpu_model()),
        ("cpus", std::thread::available_parallelism().ok().map(|cpus| cpus.to_string())),
        ("memory_bytes", super::usage::size("/proc/meminfo", "MemTotal:").map(|bytes| bytes.to_string())),
    ])
}

/// Limits that shape a run; what cannot be read is left out.
fn limits() -> BTreeMap<String, String> {
    let files = getrlimit(Resource::RLIMIT_NOFILE).ok();
    present([
        ("nofile_soft", files.map(|(soft, _)| soft.to_string())),
        ("nofile_hard", files.map(|(_, hard)| hard.to_string())),
        ("ephemeral_ports", proc("sys/net/ipv4/ip_local_port_range").map(|range| range.split_whitespace().collect::<Vec<_>>().join("-"))),
        ("somaxconn", proc("sys/net/core/somaxconn")),
        ("tcp_max_syn_backlog", proc("sys/net/ipv4/tcp_max_syn_backlog")),
    ])
}

fn proc(file: &str) -> Option<String> {
    fs::read_to_string(Path::new("/proc").join(file)).ok().map(|text| text.trim().to_owned())
}

fn present<const N: usize>(facts: [(&str, Option<String>); N]) -> BTreeMap<String, String> {
    facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_name_says_when_and_with_which_seed() {
        let mut manifest = collect(vec!["closestorm".to_owned(), "run".to_owned(), "a b.toml".to_owned()], Seed(7));
        assert!(started_s(&manifest) > 1.7e9);
        assert_eq!(command_line(&manifest), "closestorm run 'a b.toml'");
        manifest.variables.push("TOKEN".to_owned());
        assert_eq!(command_line(&manifest), "TOKEN=… closestorm run 'a b.toml'");
        assert!(manifest.limits.contains_key("nofile_soft") && manifest.machine.contains_key("kernel"));
        manifest.started = "2026-01-31T12:00:00.123Z".to_owned();
        assert_eq!(started_s(&manifest), 1_769_860_800.123);
        for (scenario, folder) in [
            ("crash", "results/crash/20260131T120000.123Z-7"),
            ("../x y", "results/.._x_y/20260131T120000.123Z-7"),
            ("..", "results/run/20260131T120000.123Z-7"),
        ] {
            assert_eq!(default_folder(scenario, &manifest), Path::new(folder), "{scenario}");
        }
    }
}
