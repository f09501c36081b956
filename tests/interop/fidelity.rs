//! The simulator against sockets: five strategies after a crash, the model fitted to another run. `scripts/fidelity` has the long form.

use super::{Run, alone, home, node};
use std::path::Path;
use std::process::{Command, Output};

/// Runs in which the machine was too busy to compare anything are made again so often, the one of the fit as well.
const TRIES: usize = 3;

fn program(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_closestorm")).current_dir(env!("CARGO_MANIFEST_DIR")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn file(name: &str) -> String {
    home(&format!("tests/interop/fidelity/{name}.toml")).to_str().unwrap().to_owned()
}

/// Fits the model to a run of its own, from the run folder alone.
fn fitted(target: &str, folder: &Path) -> String {
    let run = Run::new();
    let output = run.output(&file(&format!("{target}-fit-many")), &["--allow-inconclusive"]);
    assert!(run.out().join("summary.json").exists(), "{}", text(&output.stderr));
    let model = folder.join("model.toml").to_str().unwrap().to_owned();
    let output = program(&["calibrate", run.out().to_str().unwrap(), "--out", &model]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    println!("{}", text(&output.stdout));
    model
}

fn agrees(target: &str) {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut model = fitted(target, folder.path());
    for seed in 1..=5_u64 {
        let mut said = String::new();
        let conclusive = (0..TRIES).any(|attempt| {
            if attempt > 0 {
                model = fitted(target, folder.path());
            }
            let out = folder.path().join(format!("{seed}-{attempt}"));
            let seed = seed.to_string();
            let output = program(&["fidelity", &file(target), "--model", &model, "--seed", &seed, "--out", out.to_str().unwrap()]);
            said = text(&output.stdout) + &text(&output.stderr);
            println!("{}", text(&output.stdout));
            match output.status.code() {
                Some(3) => false,
                Some(0) => true,
                code => panic!("{target}, seed {seed}, exit {code:?}:\n{said}"),
            }
        });
        assert!(conclusive, "{target}, seed {seed}: the machine was too busy {TRIES} times:\n{said}");
    }
}

#[test]
fn the_simulator_agrees_with_the_embedded_server() {
    agrees("embedded");
}

#[test]
fn the_simulator_agrees_with_a_node_server() {
    if node("the simulator against Node's ws") {
        agrees("node");
    }
}
