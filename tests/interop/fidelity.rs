//! The simulator against sockets, after a crash, with seeds 1 to 5 and the model fitted to another run: five strategies in one queue at
//! the embedded server; at Node's, whose speed varies by a percent or two from run to run, each strategy alone with a seed of its own.
//! `scripts/fidelity` has all of both. Clients are ready when open: Node's server never speaks first.

use super::{alone, home, node};
use std::path::Path;
use std::process::{Command, Output};

/// Runs in which the machine was too busy to compare anything are made again so often, the one of the fit as well.
const TRIES: usize = 5;
/// A miss is looked at again with a fresh fit; so many misses of one seed are no accident.
const MISSES: usize = 3;
const SEEDS: std::ops::RangeInclusive<u64> = 1..=5;
/// Strategies alone, one for each seed.
const STRATEGIES: [&str; 5] = [
    r#""fixed-3s""#,
    r#""socket.io-client""#,
    r#""phoenix""#,
    r#"{ exponential = { base = "1s", factor = 2, cap = "4s", jitter = "full" } }"#,
    r#""reconnecting-websocket""#,
];

/// What is run.
struct Way {
    /// Scenario of the fit.
    fit: &'static str,
    scenario: &'static str,
    /// Of an opening handshake, in the scenario of the fit.
    cost: &'static str,
    /// Strategies of each run: all of the scenario's, or one of [`STRATEGIES`].
    cohorts: usize,
}

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
fn fitted(way: &Way, folder: &Path) -> String {
    std::fs::create_dir_all(folder).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (run, model) = (path("fit"), path("model.toml"));
    let output = program(way.cost, &["run", &file(way.fit), "--quiet", "--allow-inconclusive", "--out", &run]);
    assert!(Path::new(&run).join("summary.json").exists(), "{}", text(&output.stderr));
    let output = program(way.cost, &["calibrate", &run, "--out", &model]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    println!("{}", text(&output.stdout));
    model
}

fn agrees(way: &Way) {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut model = fitted(way, folder.path());
    let scenario = way.scenario;
    for (seed, strategy) in SEEDS.map(|seed| seed.to_string()).zip(STRATEGIES) {
        let (mut said, mut misses) = (String::new(), 0);
        let conclusive = (0..TRIES).any(|attempt| {
            if attempt > 0 {
                model = fitted(way, &folder.path().join(format!("{seed}-{attempt}-again")));
            }
            let out = folder.path().join(format!("{seed}-{attempt}"));
            let (file, set) = (file(scenario), format!("clients.web.reconnect={strategy}"));
            let mut args = vec!["fidelity", &file, "--model", &model, "--seed", &seed, "--out", out.to_str().unwrap()];
            if way.cohorts == 1 {
                args.extend(["--set", &set]);
            }
            let output = program(way.cost, &args);
            said = text(&output.stdout) + &text(&output.stderr);
            println!("{}", text(&output.stdout));
            match output.status.code() {
                Some(3) => false,
                Some(0) => {
                    assert_eq!(text(&output.stdout).matches("\n✓ ").count(), way.cohorts, "{said}");
                    true
                }
                Some(99) if misses + 1 < MISSES => {
                    misses += 1;
                    false
                }
                code => panic!("{scenario}, seed {seed}, exit {code:?}:\n{said}"),
            }
        });
        assert!(conclusive, "{scenario}, seed {seed}: the machine was too busy {TRIES} times:\n{said}");
    }
}

#[test]
fn the_simulator_agrees_with_the_embedded_server() {
    agrees(&Way { fit: "embedded-fit-many", scenario: "embedded", cost: "1500us", cohorts: 5 });
}

#[test]
fn the_simulator_agrees_with_a_node_server() {
    if node("the simulator against Node's ws") {
        agrees(&Way { fit: "node-fit", scenario: "node-one", cost: "3.5", cohorts: 1 });
    }
}
