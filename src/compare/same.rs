//! Whether runs can be compared: what their scenarios, machines and programs have in common.
//!
//! The target may differ between the sides, because it is what is tested; everything else of the scenario must not, because then a
//! difference would say nothing of the server.

use super::side::ComparedRun;
use crate::results::record::Manifest;
use std::collections::BTreeMap;
use toml::{Table, Value};

/// Keys that decide nothing of what is measured.
const WITHOUT_EFFECT: [&str; 6] = ["seed", "expect", "question", "hypothesis", "answer", "extends"];
/// Keys that say what is tested.
const TESTED: [&str; 2] = ["target", "model"];
/// Differences that are named; more are counted.
const NAMED: usize = 5;

/// Why runs cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum Mismatch {
    /// They did something different.
    #[error("{one} and {other} did not run the same scenario: {what}; --allow-different compares them all the same")]
    Scenario {
        /// A run.
        one: String,
        /// Another.
        other: String,
        /// Where they differ.
        what: String,
    },
    /// They cannot be compared in any case.
    #[error("{one} and {other} cannot be compared: {what}")]
    Kind {
        /// A run.
        one: String,
        /// Another.
        other: String,
        /// Why.
        what: &'static str,
    },
    /// A stored scenario cannot be read.
    #[error("{run} is damaged: its scenario.toml is missing or no TOML")]
    Damaged {
        /// The run.
        run: String,
    },
}

/// Where both sides differ in what may differ, in words: target, machine, program. With `allow_different` in anything of the scenario.
///
/// # Errors
/// They ran different scenarios, or some are simulated and some are not.
pub fn check_same(base: &[ComparedRun], new: &[ComparedRun], allow_different: bool) -> Result<Vec<String>, Mismatch> {
    let (Some(first), Some(first_new)) = (base.first(), new.first()) else { return Ok(Vec::new()) };
    for run in base.iter().chain(new) {
        let kind = |what| Mismatch::Kind { one: first.name.clone(), other: run.name.clone(), what };
        if first.summary.simulated != run.summary.simulated {
            return Err(kind("one is simulated, the other is not"));
        }
        if first.summary.seen_from != run.summary.seen_from {
            return Err(kind("their clients were seen from different places"));
        }
    }
    let mut told = Vec::new();
    for (side, of) in [(base, first), (new, first_new)] {
        for run in &side[1..] {
            refuse(of, run, differences(of, run)?, allow_different, &mut told)?;
        }
    }
    let (tested, others) = differences(first, first_new)?.into_iter().partition(|(path, _)| TESTED.contains(&root(path)));
    refuse(first, first_new, others, allow_different, &mut told)?;
    told.extend(in_words(tested).map(|what| format!("what is tested differs: {what}")));
    told.extend(surroundings(base, new));
    Ok(told)
}

fn refuse(
    one: &ComparedRun,
    other: &ComparedRun,
    found: Vec<(String, String)>,
    allow_different: bool,
    told: &mut Vec<String>,
) -> Result<(), Mismatch> {
    let Some(what) = in_words(found) else { return Ok(()) };
    if !allow_different {
        return Err(Mismatch::Scenario { one: one.name.clone(), other: other.name.clone(), what });
    }
    told.push(format!("{} and {} did not run the same scenario: {what}", one.name, other.name));
    Ok(())
}

/// `key: before → after`, a few of them.
fn in_words(found: Vec<(String, String)>) -> Option<String> {
    let more = found.len().saturating_sub(NAMED);
    let mut shown: Vec<String> = found.into_iter().take(NAMED).map(|(path, change)| format!("{path}: {change}")).collect();
    shown.extend((more > 0).then(|| format!("{more} more")));
    (!shown.is_empty()).then(|| shown.join("; "))
}

/// Keys with an effect that differ, and how.
fn differences(one: &ComparedRun, other: &ComparedRun) -> Result<Vec<(String, String)>, Mismatch> {
    let leaves = |run: &ComparedRun| -> Result<BTreeMap<String, String>, Mismatch> {
        let damaged = || Mismatch::Damaged { run: run.name.clone() };
        let table: Table = run.scenario.parse().map_err(|_| damaged())?;
        if table.is_empty() {
            return Err(damaged());
        }
        let mut leaves = BTreeMap::new();
        put(&Value::Table(table), "", &mut leaves);
        leaves.retain(|path, _| !WITHOUT_EFFECT.contains(&root(path)));
        Ok(leaves)
    };
    let (before, after) = (leaves(one)?, leaves(other)?);
    let mut paths: Vec<&String> = before.keys().chain(after.keys()).collect();
    paths.sort();
    paths.dedup();
    let shown = |value: Option<&String>| value.map_or("none", String::as_str).to_owned();
    let changed = paths.into_iter().filter(|path| before.get(*path) != after.get(*path));
    Ok(changed.map(|path| (path.clone(), format!("{} → {}", shown(before.get(path)), shown(after.get(path))))).collect())
}

fn root(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or(path)
}

fn put(value: &Value, path: &str, leaves: &mut BTreeMap<String, String>) {
    match value {
        Value::Table(table) if !table.is_empty() => {
            let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            table.iter().for_each(|(key, value)| put(value, &below(key), leaves));
        }
        Value::Array(values) if !values.is_empty() => {
            values.iter().enumerate().for_each(|(at, value)| put(value, &format!("{path}[{at}]"), leaves));
        }
        _ => drop(leaves.insert(path.to_owned(), value.to_string())),
    }
}

/// Machines and programs that are not the same on both sides: then a difference may be theirs.
fn surroundings(base: &[ComparedRun], new: &[ComparedRun]) -> Vec<String> {
    let manifests = |side: &[ComparedRun]| side.iter().filter_map(|run| run.manifest.clone()).collect::<Vec<_>>();
    let (base, new) = (manifests(base), manifests(new));
    let mut told = Vec::new();
    for (key, what) in [("cpu_model", "CPU"), ("cpus", "number of CPUs"), ("memory_bytes", "memory, bytes"), ("kernel", "kernel")] {
        let of = |side: &[Manifest]| {
            let mut found: Vec<String> =
                side.iter().map(|run| run.machine.get(key).cloned().unwrap_or_else(|| "unknown".to_owned())).collect();
            found.sort();
            found.dedup();
            found.join(", ")
        };
        let (before, after) = (of(&base), of(&new));
        if before != after && !base.is_empty() && !new.is_empty() {
            told.push(format!("the machines differ: {what}: {before} → {after}"));
        }
    }
    let program = |side: &[Manifest]| {
        let mut found: Vec<String> = side.iter().map(|run| format!("{} {}", run.version, run.commit).trim().to_owned()).collect();
        found.sort();
        found.dedup();
        found.join(", ")
    };
    let (before, after) = (program(&base), program(&new));
    if before != after && !base.is_empty() && !new.is_empty() {
        told.push(format!("the versions of closestorm differ: {before} → {after}"));
    }
    told
}
