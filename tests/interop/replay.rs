//! The same seed gives the same plan: byte for byte before the run, and the same waits in it.

use super::{Run, alone, detail};
use closestorm::results::Loaded;
use closestorm::scenario::BUNDLED;
use std::collections::BTreeMap;
use std::process::Command;

/// Two attempts or more for each client while the server is down; full jitter, so that equal waits are no accident.
const CRASH: &str = r#"
duration = "9s"
seed     = 7
expect   = ["clients_lost count == 0", "attempts{outcome=refused} count > 0"]
[target.embedded]
[clients.web]
count     = 100
arrive    = { over = "1s" }
reconnect = { exponential = { base = "1s", factor = 2, cap = "4s", jitter = "full" } }
[[faults]]
at     = "2s"
inject = { server_crash = { down = "1500ms" } }
"#;

#[test]
fn a_dry_run_is_byte_identical_and_follows_the_seed() {
    let dry = |name: &str, seed: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_closestorm"));
        let output = command.args(["run", name, "--dry-run", "--seed", seed]).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    for scenario in BUNDLED {
        let first = dry(scenario.name, "7");
        assert!(!first.is_empty() && first == dry(scenario.name, "7"), "{}", scenario.name);
        assert_ne!(first, dry(scenario.name, "8"), "{}", scenario.name);
    }
}

/// Each client's losses and failures with the wait that its policy answered: what it heard, and what it chose.
fn choices(loaded: &Loaded) -> BTreeMap<u32, Vec<(String, String)>> {
    let mut choices: BTreeMap<u32, Vec<(String, String)>> = BTreeMap::new();
    let mut heard: BTreeMap<u32, String> = BTreeMap::new();
    for row in &loaded.events {
        let Some(client) = row.client else { continue };
        let mut pairs = detail(row);
        match row.event.as_str() {
            "ended" => drop(heard.insert(client, pairs["code"].clone())),
            "attempt_failed" => drop(heard.insert(client, pairs["outcome"].clone())),
            "waiting" => {
                let why = heard.remove(&client).expect("a wait has a reason");
                choices.entry(client).or_default().push((why, pairs.remove("delay_us").unwrap()));
            }
            _ => {}
        }
    }
    choices
}

#[test]
fn clients_choose_the_same_waits_in_two_runs_and_others_with_another_seed() {
    let _alone = alone();
    let run = |seed: &str| {
        let run = Run::new();
        let file = run.file(CRASH);
        choices(&run.load(&file, &["--seed", seed]))
    };
    let (first, second, other) = (run("7"), run("7"), run("8"));
    assert_eq!((first.len(), second.len()), (100, 100), "every client lost its connection");
    let mut compared = 0;
    for (client, waits) in &first {
        // How many refused attempts fit into the down time may differ by timing; as long as the endings are the same, so are the waits.
        for (ours, theirs) in waits.iter().zip(&second[client]).take_while(|(ours, theirs)| ours.0 == theirs.0) {
            assert_eq!(ours, theirs, "client {client}");
            compared += 1;
        }
    }
    assert!(compared >= 150, "{compared} waits were compared");
    assert!(first.iter().filter(|(client, waits)| other[client][0] != waits[0]).count() > 90, "another seed, other waits");
}
