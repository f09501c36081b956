//! Three real libraries, in the versions of the other tests, each before a small server of its protocol.

use super::*;
use std::io::{BufRead, BufReader};

/// Learns from a library of tests/libraries/clients.js.
fn learn_library(library: &str, args: &[&str]) -> Value {
    let mut double = Command::new("node");
    double.arg(home("tests/libraries/double.js")).arg(library);
    let mut double = double.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut port = String::new();
    BufReader::new(double.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let upstream = format!("ws://127.0.0.1:{}", port.trim());
    let client = home("tests/libraries/client.js");
    // The packages of the other tests.
    let packages = format!("NODE_PATH={}", home("tests/node/node_modules").display());
    let command = ["env", &packages, "node", client.to_str().unwrap(), library, "{url}"];
    let found = learn(&[&["--quick", "--upstream", &upstream], args].concat(), &command);
    // It ends with its input.
    drop(double.stdin.take());
    double.wait().unwrap();
    found
}

/// Codes of Close frames after which it stayed away.
fn away(found: &Value) -> Vec<u64> {
    let codes = found["codes"].as_array().unwrap();
    codes.iter().filter(|row| row["result"]["back"] == false).map(|row| row["code"].as_u64().unwrap()).collect()
}

#[test]
fn real_libraries_come_back_as_the_documents_say() {
    if !node("learn") {
        return;
    }
    twice(libraries_are_known);
}

fn libraries_are_known() {
    scope(|scope| {
        scope.spawn(|| {
            let found = learn_library("socket.io", &["--outages", "48", "--attempts", "5", "--instances", "12"]);
            assert_eq!(found["schedule"]["jitter"], "comb10", "{}", found["schedule"]);
            holds(&found, "base", 1000.0);
            holds(&found, "cap", 5000.0);
            assert_eq!(found["nearest"][0]["preset"], "socket.io-client", "{}", found["nearest"]);
            assert_eq!(away(&found), [] as [u64; 0]);
        });
        scope.spawn(|| {
            let found =
                learn_library("reconnecting-websocket", &["--outages", "16", "--attempts", "3", "--instances", "8", "--held", "6s"]);
            assert_eq!(found["nearest"][0]["preset"], "reconnecting-websocket", "{}", found["nearest"]);
            // Left open where a busy machine may be the reason for what was seen.
            assert_ne!(rule(&found, "stable-reset"), "fail", "{}", found["rules"]);
            assert_eq!(away(&found), [] as [u64; 0]);
        });
        scope.spawn(|| {
            let found = learn_library("graphql-ws", &["--outages", "24", "--attempts", "4", "--instances", "12"]);
            assert_eq!(away(&found), [1008, 1009, 1011, 4401]);
            assert_ne!(rule(&found, "first-random"), "fail", "{}", found["rules"]);
        });
    });
}
