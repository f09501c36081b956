//! The simulator against sockets: five strategies after a crash, all in one queue, seeds 1 to 5, the model fitted to another run.
//! `scripts/fidelity` has the same with each strategy alone.

use super::{alone, home, node};
use std::path::Path;
use std::process::{Command, Output};

/// Runs in which the machine was too busy to compare anything are made again so often, the one of the fit as well.
const TRIES: usize = 4;
/// A miss is looked at again with a fresh fit; so many misses of one seed are no accident.
const MISSES: usize = 3;
const SEEDS: std::ops::RangeInclusive<u64> = 1..=5;
/// Strategies of `embedded.toml` and `node.toml`.
const STRATEGIES: usize = 5;
/// Runs the program; `cost` is that of an opening handshake in the scenario of the fit.
fn program(cost: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_closestorm"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("COST", cost).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn file(name: &str) -> String {
    home(&format!("tests/interop/fidelity/{name}.toml")).to_str().unwrap().to_owned()
}

/// Fits the model to a run of its own, from the run folder alone.
fn fitted(target: &str, cost: &str, folder: &Path) -> String {
    std::fs::create_dir_all(folder).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (run, model) = (path("fit"), path("model.toml"));
    let output = program(cost, &["run", &file(&format!("{target}-fit-many")), "--quiet", "--allow-inconclusive", "--out", &run]);
    assert!(Path::new(&run).join("summary.json").exists(), "{}", text(&output.stderr));
    let output = program(cost, &["calibrate", &run, "--out", &model]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    println!("{}", text(&output.stdout));
    model
}

fn agrees(target: &str, cost: &str) {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut model = fitted(target, cost, folder.path());
    for seed in SEEDS.map(|seed| seed.to_string()) {
        let (mut said, mut misses) = (String::new(), 0);
        let conclusive = (0..TRIES).any(|attempt| {
            if attempt > 0 {
                model = fitted(target, cost, &folder.path().join(format!("{seed}-{attempt}-again")));
            }
            let out = folder.path().join(format!("{seed}-{attempt}"));
            let output = program(cost, &["fidelity", &file(target), "--model", &model, "--seed", &seed, "--out", out.to_str().unwrap()]);
            said = text(&output.stdout) + &text(&output.stderr);
            println!("{}", text(&output.stdout));
            match output.status.code() {
                Some(3) => false,
                Some(0) => {
                    assert_eq!(text(&output.stdout).matches("\n✓ ").count(), STRATEGIES, "{said}");
                    true
                }
                Some(99) if misses + 1 < MISSES => {
                    misses += 1;
                    false
                }
                code => panic!("{target}, seed {seed}, exit {code:?}:\n{said}"),
            }
        });
        assert!(conclusive, "{target}, seed {seed}: the machine was too busy {TRIES} times:\n{said}");
    }
}

#[test]
fn the_simulator_agrees_with_the_embedded_server() {
    agrees("embedded", "1500us");
}

#[test]
fn the_simulator_agrees_with_a_node_server() {
    if node("the simulator against Node's ws") {
        agrees("node", "1.5");
    }
}
