//! The life of pull requests, as docs/ci.md recommends it: a main branch keeps a baseline, and each branch is told what it changed.

use super::{alone, home, left_out, node};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// What a branch was told.
struct Told {
    code: String,
    /// Lines of annotations.
    annotations: Vec<String>,
    /// Cases of `junit.xml` that did not pass, without seeds: name, result, line of the scenario.
    cases: Vec<(String, String, String)>,
    summary: String,
}

impl Told {
    fn read(folder: &Path, branch: &str) -> Told {
        let text =
            |name: &str| std::fs::read_to_string(folder.join(branch).join(name)).unwrap_or_else(|why| panic!("{branch} {name}: {why}"));
        let mut cases: Vec<_> = cases(&folder.join(branch).join("report"))
            .iter()
            .filter(|case| case["result"] != "passed")
            .map(|case| {
                let name = case["name"].as_str().unwrap().split(" [seed ").next().unwrap().to_owned();
                (name, case["result"].as_str().unwrap().to_owned(), case["line"].as_str().unwrap_or("none").to_owned())
            })
            .collect();
        cases.dedup();
        let annotations = text("log").lines().filter(|line| line.starts_with("::")).map(str::to_owned).collect();
        Told { code: text("code").trim().to_owned(), annotations, cases, summary: text("summary.md") }
    }
}

/// The cases that a reader of JUnit XML finds in a folder of `--report-dir`.
fn cases(folder: &Path) -> Vec<Value> {
    let read =
        Command::new(home("target/ci/bin/python")).arg(home("tests/python/ci.py")).arg(folder).arg(home("tests/ci")).output().unwrap();
    assert!(read.status.success(), "{}: {}", folder.display(), String::from_utf8_lossy(&read.stderr));
    serde_json::from_slice::<Value>(&read.stdout).unwrap()["junit"].as_array().unwrap().clone()
}

#[test]
fn each_pull_request_is_told_what_it_changed() {
    let what = "the life of pull requests";
    if !node(what) || left_out("CLOSESTORM_NO_PYTHON", what) {
        return;
    }
    let _alone = alone();
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("all");
    let program = Path::new(env!("CARGO_BIN_EXE_closestorm")).parent().unwrap();
    let done = Command::new(home("tests/ci/pull-request.sh"))
        .arg(&folder)
        .env("PATH", format!("{}:{}", program.display(), std::env::var("PATH").unwrap()))
        .env("NODE_PATH", home("tests/node/node_modules"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}\n{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let log = |branch: &str| std::fs::read_to_string(folder.join(branch).join("log")).unwrap();
    let main = Told::read(&folder, "main");
    assert_eq!((main.code.as_str(), main.annotations.len(), main.cases.len()), ("0", 0, 0), "{}", log("main"));
    assert!(log("main").contains("\nbaseline: results/baselines/main\n"), "{}", log("main"));

    // Every expectation holds, and yet it is worse: only the comparison tells.
    let slower = Told::read(&folder, "slower");
    assert_eq!(slower.code, "99", "{}", log("slower"));
    let worse = ("opening_handshake p50 is not worse".to_owned(), "failure".to_owned(), "7".to_owned());
    assert_eq!(slower.cases, [worse]);
    let [annotation] = &slower.annotations[..] else { panic!("{:?}", slower.annotations) };
    assert!(
        annotation.starts_with("::error file=storm.toml,line=7,title=opening_handshake p50 is not worse::worse: base 1"),
        "{annotation}"
    );
    assert!(
        slower.summary.contains("\n**✗ 1 of 18 checks failed**\n\n## Comparison\n\n**✗ Regression: 1 of 3 metrics worse.**\n"),
        "{}",
        slower.summary
    );
    assert!(slower.summary.contains("\n| ✓ | opening\\_handshake p50 \\< 1s | 5 of 5 | "), "{}", slower.summary);

    // The expectation fails in each run, and it was not so before.
    let silent = Told::read(&folder, "silent");
    assert_eq!(silent.code, "99", "{}", log("silent"));
    let failure = |name: &str| (name.to_owned(), "failure".to_owned(), "6".to_owned());
    assert_eq!(silent.cases, [failure("closes{reported=1001} share == 100%"), failure("closes{reported=1001} share is not worse")]);
    assert_eq!(
        silent.annotations,
        [
            "::error file=storm.toml,line=6,title=closes{reported=1001} share == 100%25::in 5 runs: observed 0 %25; expected closes{reported=1001} share == 100%25",
            "::error file=storm.toml,line=6,title=closes{reported=1001} share is not worse::worse: base 100 %25, new 0 %25, p 0.024",
        ]
    );
    assert!(
        silent.summary.contains("new close code 1006 on the client side: 150 connections in 5 runs; no run of base had it"),
        "{}",
        silent.summary
    );

    // What is the same is called the same.
    let same = Told::read(&folder, "same");
    assert_eq!((same.code.as_str(), same.annotations.len(), same.cases.len()), ("0", 0, 0), "{}", log("same"));
    assert!(same.summary.contains("\n**✓ 18 checks passed**\n"), "{}", same.summary);

    // The same runs compared afterwards, as `compare` does it, have the same answer.
    for (branch, result) in [("slower", "regression"), ("silent", "regression"), ("same", "no_regression")] {
        let compared = std::fs::read(folder.join(branch).join("compared/comparison.json")).unwrap();
        let compared: Value = serde_json::from_slice(&compared).unwrap();
        assert_eq!(compared["result"], result, "{branch}");
        let failed = cases(&folder.join(branch).join("compared")).iter().filter(|case| case["result"] == "failure").count();
        assert_eq!(failed, usize::from(result == "regression"), "{branch}");
    }
}
