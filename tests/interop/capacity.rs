//! `closestorm capacity` finds a truth that it cannot know: the cost of an opening handshake is set in the environment of the server's
//! process, which alone reads it.

use super::alone;
use closestorm::results::capacity::read;
use std::process::Command;

/// More clients than the server can open in two seconds arrive in one and a half: then it opens one after the other to the end, and the
/// others are left over. It counts, and measures no time, so that a busy machine does not matter: the server's queue makes up for a late
/// timer, and the generator may be late by a twentieth of the 20 s.
const SCENARIO: &str = r#"
duration = "2s"
expect   = ["attempts{outcome=opened} share > 96%", "opening_handshake p50 < 20s"]

[target.embedded]
backlog = 4096

[clients.web]
count  = 100
arrive = { over = "1500ms" }
"#;

/// Searches from an eighth to ten times what the server opens in two seconds; gives its rate, per second.
fn find(cost_ms: f64) -> f64 {
    let truth = 1_000.0 / cost_ms;
    let folder = tempfile::tempdir().unwrap();
    let (scenario, out) = (folder.path().join("cost.toml"), folder.path().join("found"));
    std::fs::write(&scenario, SCENARIO).unwrap();
    let vary = format!("clients={}..{}", (truth * 0.26).round(), truth * 20.0);
    let mut command = Command::new(env!("CARGO_BIN_EXE_closestorm"));
    command.env("CLOSESTORM_HANDSHAKE_COST", format!("{cost_ms}ms"));
    command.arg("capacity").arg(&scenario).args(["--quiet", "--vary", &vary, "--out"]).arg(&out);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let search = read(&out).unwrap();
    let limit = &search.capacity.limits[0];
    assert_eq!((limit.ended.as_str(), limit.complete), ("edge", true), "{limit:?}");
    let most = limit.throughput_max_per_s.unwrap();
    assert!((most - truth).abs() < truth * 0.15, "throughput levels off at the truth: {most} for {truth}");
    // Each step has its summary, judged and repeatable as a run.
    for step in &search.steps {
        let text = std::fs::read_to_string(out.join(format!("steps/{}.json", step.step))).unwrap();
        let summary: closestorm::results::record::Summary = serde_json::from_str(&text).unwrap();
        assert_eq!(step.outcome == "held", summary.verdict.result == "pass", "step {}", step.step);
        assert!(summary.command.contains(&format!("--clients {}", step.setting)), "{}", summary.command);
    }
    limit.limit.unwrap() / 2.0
}

#[test]
fn a_hidden_handshake_cost_is_found_within_a_tenth() {
    let _alone = alone();
    // The cost burns no processor time, so the three do not disturb each other.
    std::thread::scope(|scope| {
        let searches: Vec<_> = [2.0, 5.0, 10.0].into_iter().map(|cost| (cost, scope.spawn(move || find(cost)))).collect();
        for (cost, search) in searches {
            let (found, truth) = (search.join().unwrap(), 1_000.0 / cost);
            assert!((found - truth).abs() <= truth * 0.1, "{found} a second found, {truth} is true");
        }
    });
}
