//! The simulator against sockets, after a crash, with two seeds and the model fitted to another run: five strategies in one queue at the
//! embedded server; at Node's, whose speed varies from run to run, a strategy alone for each seed. `scripts/fidelity` has five seeds and all
//! strategies of both, and holds them to the limits on a machine that has nothing else to do. Clients are ready when open: Node's server never
//! speaks first.

use super::{alone, home, node};
use std::path::Path;
use std::process::{Command, Output};

/// Runs in which the machine was too busy to compare anything are made again so often, the one of the fit as well.
const TRIES: usize = 8;
/// A miss is looked at again with a fresh fit, so often; then the nearest of them is within [`FAR`] times each limit, or the test fails.
const MISSES: usize = 3;
/// On a machine whose speed changes between the two runs, as shared ones do, the distance of distributions comes to 0.06 to 0.07 where 0.05
/// is the limit; a simulator without the queue, the cold process or the repeated SYNs is several limits away.
const FAR: f64 = 2.0;
/// Seeds, and the strategy that is alone with each.
const STRATEGIES: [(&str, &str); 2] =
    [("1", r#""fixed-3s""#), ("2", r#"{ exponential = { base = "1s", factor = 2, cap = "4s", jitter = "full" } }"#)];

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

/// How far the cohort that differs most is from its limit, in limits.
fn worst(folder: &Path) -> f64 {
    let written = std::fs::read(folder.join("fidelity.json")).unwrap();
    let comparison: serde_json::Value = serde_json::from_slice(&written).unwrap();
    comparison["cohorts"].as_array().unwrap().iter().map(|cohort| cohort["worst"].as_f64().unwrap()).fold(0.0, f64::max)
}

fn agrees(way: &Way) {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut model = fitted(way, folder.path());
    let scenario = way.scenario;
    for (seed, strategy) in STRATEGIES {
        let (mut said, mut misses, mut nearest) = (String::new(), 0, f64::MAX);
        let conclusive = (0..TRIES).any(|attempt| {
            if attempt > 0 {
                model = fitted(way, &folder.path().join(format!("{seed}-{attempt}-again")));
            }
            let out = folder.path().join(format!("{seed}-{attempt}"));
            let (file, set) = (file(scenario), format!("clients.web.reconnect={strategy}"));
            let mut args = vec!["fidelity", &file, "--model", &model, "--seed", seed, "--out", out.to_str().unwrap()];
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
                Some(99) => {
                    (misses, nearest) = (misses + 1, nearest.min(worst(&out)));
                    assert!(misses < MISSES || nearest <= FAR, "{scenario}, seed {seed}: {nearest} times a limit at best:\n{said}");
                    misses == MISSES
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
