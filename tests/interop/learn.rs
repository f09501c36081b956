//! `closestorm learn` finds out, blind, how clients come back whose rules are known: a loop of Node, and presets that `closestorm run` plays.

use super::{home, node};
use serde_json::Value;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::scope;

mod clients;
mod real;

/// Learns from a command; what was found, as JSON.
fn learn(args: &[&str], command: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("learnt");
    let mut closestorm = Command::new(env!("CARGO_BIN_EXE_closestorm"));
    closestorm.args(["learn", "--quiet", "--format", "json", "--out"]).arg(&out).args(args).arg("--").args(command);
    let output = closestorm.env("NODE_PATH", home("tests/node/node_modules")).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    for file in ["learned.toml", "waits.csv", "waits.svg", "waits.png", "report.html", "report.md", "client-1.log"] {
        assert!(out.join(file).exists(), "{file}: {stderr}");
    }
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"))
}

/// Learns from clients of a preset.
fn learn_preset(preset: &str, args: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("client.toml");
    let text = format!(
        "duration = \"20m\"\n[target.url]\naddress = \"${{URL}}\"\nprobe = false\n[clients.one]\ncount = 1\narrive = {{ at_once = true }}\nreconnect = \"{preset}\"\nready = \"open\"\n"
    );
    std::fs::write(&file, text).unwrap();
    // Each process draws other numbers, as real ones do.
    let run =
        format!("exec {} run {} --quiet --seed $$ --out {}/$$", env!("CARGO_BIN_EXE_closestorm"), file.display(), folder.path().display());
    learn(&[&["--quick"], args].concat(), &["sh", "-c", &run])
}

/// The interval of a number holds its true value, or nearly, and is no wider than a tenth on each side.
fn holds(found: &Value, name: &str, truth: f64) {
    let numbers = found["schedule"]["numbers"].as_array().unwrap();
    let number = numbers.iter().find(|number| number["name"] == name).unwrap_or_else(|| panic!("{name}: {}", found["schedule"]));
    let [low, high] = ["low", "high"].map(|end| number[end].as_f64().unwrap());
    // One interval of 95 % in twenty misses the truth, and hardly any misses it by half of its width.
    let half = (high - low) / 2.0;
    assert!((low - half..=high + half).contains(&truth) && high - low < 0.2 * truth, "{name} {truth}: {}", found["schedule"]);
}

fn rule<'a>(found: &'a Value, name: &str) -> &'a str {
    let rules = found["rules"].as_array().unwrap();
    rules.iter().find(|rule| rule["rule"] == name).unwrap()["result"].as_str().unwrap()
}

#[test]
fn the_rules_of_a_loop_in_node_are_found() {
    if !node("learn") {
        return;
    }
    // Its draws are new in each run, and it is short.
    if catch_unwind(the_loop_is_known).is_err() {
        twice(the_loop_is_known);
    }
}

/// What is concluded from draws is wrong now and then, above all where the machine is busy: hardly ever twice.
fn twice(test: fn()) {
    if catch_unwind(test).is_err() {
        test();
    }
}

fn the_loop_is_known() {
    let client = home("tests/node/comes_back.js");
    let found = learn(
        &["--quick", "--outages", "64", "--attempts", "6", "--instances", "8", "--held", "500ms"],
        &["node", client.to_str().unwrap(), "{url}"],
    );
    assert_eq!(found["schedule"]["growth"], "exponential", "{}", found["schedule"]);
    // In a few runs, a lower bound just above zero explains the draws better.
    assert!(["full", "mult"].iter().any(|jitter| found["schedule"]["jitter"] == *jitter), "{}", found["schedule"]);
    assert_eq!(found["schedule"]["fits"], true, "{}", found["schedule"]);
    holds(&found, "base", 130.0);
    holds(&found, "factor", 1.7);
    holds(&found, "cap", 1700.0);
    for (name, result) in [
        ("jitter", "pass"),
        ("growth", "pass"),
        ("stable-reset", "fail"),
        ("returns", "pass"),
        ("refused-stays", "fail"),
        ("one-connection", "pass"),
        ("close-answer", "pass"),
        ("silence", "not tested"),
    ] {
        assert_eq!(rule(&found, name), result, "{name}: {}", found["rules"]);
    }
    let away: Vec<u64> = found["codes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["result"]["back"] == false)
        .map(|row| row["code"].as_u64().unwrap())
        .collect();
    assert_eq!(away, [1008, 4401]);
    assert!(found["reconnect"].as_str().unwrap().contains("stop_codes = [\"1008\", \"4401\"]"), "{}", found["reconnect"]);
}

#[test]
fn presets_that_run_as_clients_are_found() {
    twice(presets_are_known);
}

fn presets_are_known() {
    let found = learn_preset("y-websocket", &["--outages", "8", "--attempts", "6", "--instances", "4"]);
    assert_eq!(
        (&found["schedule"]["growth"], &found["schedule"]["jitter"]),
        (&"exponential".into(), &"none".into()),
        "{}",
        found["schedule"]
    );
    holds(&found, "base", 200.0);
    holds(&found, "factor", 2.0);
    holds(&found, "cap", 2500.0);
    let found = learn_preset("subscriptions-transport-ws", &["--outages", "64", "--attempts", "5", "--instances", "8"]);
    assert_eq!(found["schedule"]["jitter"], "comb10", "{}", found["schedule"]);
    holds(&found, "base", 100.0);
    holds(&found, "factor", 2.0);
    assert_eq!(found["nearest"][0]["preset"], "subscriptions-transport-ws");
}

#[test]
fn more_presets_that_run_as_clients_are_found() {
    twice(more_presets_are_known);
}

fn more_presets_are_known() {
    scope(|scope| {
        scope.spawn(|| {
            let found = learn_preset("socket.io-client", &["--outages", "60", "--attempts", "5", "--instances", "12"]);
            assert_eq!(found["schedule"]["jitter"], "comb10", "{}", found["schedule"]);
            holds(&found, "base", 1000.0);
            holds(&found, "factor", 2.0);
            holds(&found, "cap", 5000.0);
        });
        scope.spawn(|| {
            let found = learn_preset("centrifuge-js", &["--outages", "64", "--attempts", "5", "--instances", "16"]);
            assert_eq!(found["schedule"]["jitter"], "offset_full", "{}", found["schedule"]);
            holds(&found, "base", 500.0);
            holds(&found, "factor", 2.0);
        });
        scope.spawn(|| {
            let found = learn_preset("phoenix-1.8", &["--outages", "8", "--attempts", "10", "--instances", "4"]);
            let growth = (&found["schedule"]["growth"], &found["schedule"]["jitter"]);
            assert_eq!(growth, (&"table".into(), &"none".into()), "{}", found["schedule"]);
            for (name, delay) in [("delay 2", 50.0), ("delay 5", 200.0), ("delay 9", 2000.0), ("delay 10", 5000.0)] {
                holds(&found, name, delay);
            }
            assert_eq!(found["nearest"][0]["preset"], "phoenix-1.8");
        });
        scope.spawn(|| {
            let found = learn_preset("mqtt.js", &["--outages", "8", "--attempts", "5", "--instances", "4"]);
            let growth = (&found["schedule"]["growth"], &found["schedule"]["jitter"]);
            assert_eq!(growth, (&"fixed".into(), &"none".into()), "{}", found["schedule"]);
            holds(&found, "base", 1000.0);
        });
    });
}
