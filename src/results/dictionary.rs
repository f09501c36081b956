//! Holds `results/README.md` against the types: every key and column is explained, and nothing else is.

use super::capacity::{STEPS, StepRow};
use super::folder::{CLOSES, COUNTS, EVENTS, RECONNECTS, TIMELINE};
use super::record::{CountRow, EndingRow, EventRow, ReconnectRow, TimelineRow, Verdict};
use super::{Evidence, manifest, peaks, summary, tables};
use crate::metrics::metric::METRICS;
use crate::metrics::tests::finished;
use crate::seed::Seed;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

const README: &str = include_str!("../../results/README.md");

/// The first cells of the table under a heading that begins with `heading`, in order and without quotes.
fn explained(heading: &str) -> Vec<&'static str> {
    let section = README.split("\n## ").find(|section| section.starts_with(heading)).unwrap_or_else(|| panic!("no section {heading}"));
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    cells.map(|(name, _)| name).collect()
}

/// The columns that a struct has on disk.
fn columns<T: Serialize>(row: &T) -> Vec<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.serialize(row).unwrap();
    let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
    text.lines().next().unwrap().split(',').map(str::to_owned).collect()
}

#[test]
fn columns_agree_with_headers_and_dictionary() {
    let results = finished();
    let first = |columns: &mut dyn Iterator<Item = Vec<String>>| columns.next().unwrap();
    let timeline = first(&mut tables::timeline_rows(&results).iter().map(columns::<TimelineRow>));
    let closes = first(&mut tables::ending_rows(&results).iter().map(columns::<EndingRow>));
    let reconnects = first(&mut tables::reconnect_rows(&results).iter().map(columns::<ReconnectRow>));
    let events = first(&mut tables::event_rows(&results).iter().map(columns::<EventRow>));
    let run = super::runs::RunRow::of(&results, &crate::results::record::Verdict::default());
    let runs = first(&mut std::iter::once(columns(&run)));
    let counts = first(&mut tables::count_rows(&results).iter().map(columns::<CountRow>));
    for (file, header, columns) in [
        ("timeline.csv", TIMELINE, timeline),
        ("closes.csv", CLOSES, closes),
        ("reconnects.csv", RECONNECTS, reconnects),
        ("events.csv", EVENTS, events),
        ("counts.csv", COUNTS, counts),
        ("peaks.csv", peaks::PEAKS, columns(&peaks::peak_rows(&results)[0])),
        ("limits.csv", super::exact::LIMITS, columns(&super::exact::ExactRow::default())),
        ("runs.csv", super::runs::RUNS, runs),
        ("runs_reconnect.csv", super::bands::RECONNECT, columns(&super::bands::ReconnectBand::default())),
        ("runs_timeline.csv", super::bands::TIMELINE, columns(&super::bands::TimelineBand::default())),
    ] {
        assert_eq!(header, columns, "{file}");
        assert_eq!(explained(file), columns, "{file}");
    }
}

#[test]
fn keys_of_the_summary_agree_with_the_dictionary() {
    let results = finished();
    let verdict = crate::verdict::judge(&Evidence::of(&results), &crate::metrics::tests::expectations());
    assert!(!Verdict::default().eq(&verdict));
    let value = serde_json::to_value(summary::summarise(&results, None, &verdict, "closestorm run")).unwrap();
    let mut found = BTreeSet::new();
    walk(&value, "", &mut found);
    let explained: BTreeSet<_> = explained("summary.json").into_iter().map(str::to_owned).collect();
    assert_eq!(found, explained);
}

#[test]
fn keys_of_the_manifest_agree_with_the_dictionary() {
    let manifest = manifest::collect(vec!["closestorm".to_owned()], Seed(1));
    let value = serde_json::to_value(&manifest).unwrap();
    let keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
    assert_eq!(explained("manifest.json"), keys);
    let facts = manifest.machine.keys().chain(manifest.limits.keys());
    facts.for_each(|fact| assert!(README.contains(&format!("`{fact}`")), "{fact}"));
}

#[test]
fn the_capacity_folder_agrees_with_the_dictionary() {
    assert_eq!(explained("steps.csv"), columns(&StepRow::default()));
    assert_eq!(explained("steps.csv"), STEPS);
    let search = super::fixture::with_law();
    let mut found = BTreeSet::new();
    walk(&serde_json::to_value(&search.capacity).unwrap(), "", &mut found);
    // The law is explained as one.
    let found: BTreeSet<String> =
        found.into_iter().filter(|path| !path.starts_with("limits[].usl.")).chain(["limits[].usl".to_owned()]).collect();
    let explained: BTreeSet<_> = explained("capacity.json").into_iter().map(str::to_owned).collect();
    assert_eq!(found, explained);
}

#[test]
fn the_folder_of_a_map_agrees_with_the_dictionary() {
    let mapped = super::map::fixture::mapped(true);
    assert_eq!(explained("map.csv"), columns(&mapped.points[0]));
    assert_eq!(explained("map.csv"), super::map::POINTS);
    let mut found = BTreeSet::new();
    walk(&serde_json::to_value(&mapped.map).unwrap(), "", &mut found);
    let explained: BTreeSet<_> = explained("map.json").into_iter().map(str::to_owned).collect();
    assert_eq!(found, explained);
}

#[test]
fn tags_of_the_interval_log_agree_with_the_dictionary() {
    assert_eq!(explained("latency.hlog"), METRICS.map(|metric| metric.name()));
}

/// Collects the paths of leaves: `a.b`, `list[].key`. Distributions, maps by code and what the dictionary refers elsewhere are leaves.
fn walk(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    let referred = ["endings", "errors", "http_requests"].contains(&path)
        || path.ends_with("by_status")
        || path.ends_with("close_codes.client")
        || path.ends_with("close_codes.server");
    let of_cohort = path.strip_prefix("cohorts.<name>.").is_some_and(|rest| !rest.contains('.'));
    let times = |map: &serde_json::Map<String, Value>| map.contains_key("p999");
    match value {
        Value::Object(map) if !referred && !of_cohort && !times(map) => {
            for (key, value) in map {
                let key = if path == "cohorts" { "<name>" } else { key.as_str() };
                walk(value, &if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }, found);
            }
        }
        Value::Array(list) if !referred && list.iter().any(Value::is_object) => {
            list.iter().for_each(|value| walk(value, &format!("{path}[]"), found));
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}
