//! Tests: the plans of `tests/overlaps`, in each of which two things overlap, carried out by the engine in memory and by the simulator.

use crate::event::{Event, Outcome};
use crate::plan::{Model, Plan};
use crate::random_plans;
use crate::run::in_memory::compare::{Trace, compare, engine_unchecked, simulator};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Plans in which the two worlds differ, and why that is no fault.
const LIMITS: &[(&str, &str)] = &[
    ("02", "during a slow start services end within a millisecond, and the engine's timers count whole ones"),
    ("42", "those that wait in one queue are reset in one instant, and come back in the order in which their tasks are woken"),
];

/// All plans, by name.
fn plans() -> BTreeMap<String, Plan> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/overlaps");
    let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let named = files.map(|file| (file.file_stem().unwrap_or_default().to_string_lossy().into_owned(), file));
    named
        .map(|(name, file)| {
            let text = std::fs::read_to_string(&file).expect("readable");
            let plan = random_plans::plan(&text).unwrap_or_else(|| panic!("{name}: no plan"));
            (name, plan)
        })
        .collect()
}

/// Attempts, those that opened, endings of clients by cause and code, messages sent and echoed: a row of the table.
fn figures(trace: &Trace) -> String {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for (_, event) in trace {
        let what = match event {
            Event::AttemptStarted { .. } => "attempts".to_owned(),
            Event::Opened { .. } => "opened".to_owned(),
            Event::AttemptFailed { outcome: Outcome::Rejected { status, .. }, .. } => format!("rejected {status}"),
            Event::AttemptFailed { outcome, .. } => format!("{outcome:?}").split(' ').next().unwrap_or_default().to_lowercase(),
            Event::Ended { ending, .. } => format!("{:?} {}", ending.cause, ending.code),
            Event::Sent { .. } => "sent".to_owned(),
            Event::NotStarted { .. } => "not started".to_owned(),
            Event::Echoed { .. } => "echoed".to_owned(),
            _ => continue,
        };
        *counts.entry(what).or_default() += 1;
    }
    counts.into_iter().map(|(what, count)| format!("{what} {count}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn where_two_things_overlap_both_worlds_do_the_same() {
    let mut wrong = Vec::new();
    for (name, plan) in plans() {
        let trace = engine_unchecked(&plan).1;
        // Of timers, as the engine's are.
        let model = Model { client_tick: Duration::from_millis(1), ..plan.simulated_as().expect("embedded") };
        let simulated = simulator(&plan, &model);
        let differs = compare(&trace, &simulated).err();
        let limit = LIMITS.iter().find(|(of, _)| *of == name);
        let verdict = match (&differs, limit) {
            (None, None) => "agrees".to_owned(),
            (Some(_), Some((_, why))) => format!("limit: {why}"),
            (Some(found), None) => format!("DIFFERS: {found}"),
            (None, Some(_)) => "agrees, and is said not to".to_owned(),
        };
        let (engine, simulator) = (figures(&trace), figures(&simulated));
        // Messages, which `compare` leaves out, are as many.
        let counted_alike = engine == simulator;
        let both = if counted_alike { engine } else { format!("engine {engine} | simulator {simulator}") };
        println!("{name}  {both}\n    {verdict}");
        if differs.is_some() != limit.is_some() || limit.is_none() && !counted_alike {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
