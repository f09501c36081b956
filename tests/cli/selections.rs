//! What a firing selected, and why so few; and limits of this machine that are met while a run goes on.

use super::{LISTENING, Place, at_once, until};
use std::fs;
use std::process::Command;

/// Ten clients; firings that find fewer than they are asked for, nobody, or are not due.
const FEW: &str = r#"
[[faults]]
name   = "many"
at     = "1s"
side   = "client"
select = { count = 500 }
inject = { latency = { latency = "1ms" } }
for    = "200ms"
[[faults]]
name   = "old"
at     = "1s"
side   = "client"
select = { min_age = "1h" }
inject = { drop_rst = {} }
[[faults]]
name   = "share"
at     = "1s"
side   = "client"
select = { percent = "1%" }
inject = { drop_rst = {} }
[[faults]]
name   = "status"
at     = "1s"
inject = { upgrade_status = { status = 503 } }
[[faults]]
name   = "late"
at     = "1h"
inject = { drop_rst = {} }
"#;

#[test]
#[ignore = "long: scripts/test"]
fn a_firing_that_selected_fewer_says_why_and_one_that_was_not_due_has_a_row() {
    let scenario = format!("{}{FEW}", LISTENING.replace("30s", "2s"));
    let asked = "fault many: select.count is 500, but there are 10 clients: a firing cannot hit more";
    at_once(["1", "2"], |workers| {
        let place = Place::with(&scenario);
        let dry = place.run(&["run", "test.toml", "--dry-run"]);
        assert!(dry.out.contains(asked), "{dry:?}");
        place.run(&["run", "test.toml", "--workers", workers, "--out", "run"]).assert_code(3);
        let events = fs::read_to_string(place.path("run/events.csv")).expect("events");
        for (fault, what, detail) in [
            ("many", "fired", "selected=10 eligible=10 why=\"only 10 of 500 connections matched its `select` filters\""),
            ("old", "fired", "selected=0 eligible=0 why=\"no connection matched its `select` filters\""),
            ("share", "fired", "selected=0 eligible=10 why=\"its percentage of 10 connections rounds to zero\""),
            ("status", "fired", "selected=0 why=\"it acts on attempts that begin after the firing\""),
            ("late", "not_carried_out", "why=\"it was due after the end of the run\""),
        ] {
            let of = |line: &&str| line.contains(&format!(",{what},")) && line.contains(&format!(",{fault},"));
            let rows: Vec<_> = events.lines().filter(of).collect();
            assert!(rows.len() == 1 && rows[0].replace("\"\"", "\"").contains(detail), "{fault}: {rows:?}");
        }
        let notices = place.json("run/summary.json")["notices"].to_string();
        assert!(notices.contains(asked), "{notices}");
        assert!(notices.contains("select.count is 500, and in 1 firing 10 connections matched its filters"), "{notices}");
    });
}

#[test]
#[ignore = "long: scripts/test"]
fn a_run_that_has_no_file_left_is_inconclusive_and_does_not_blame_the_server() {
    at_once([("the client", "1"), ("__server", "1"), ("__worker", "2")], |(whose, workers)| {
        let scenario = LISTENING.replace("30s", "4s").replace("count = 10", "count = 150").replace("300ms", "3s");
        let place = Place::with(&format!(
            "expect = [\"attempts{{outcome=opened}} count > 0\"]\n{scenario}reconnect = {{ fixed = {{ delay = \"1s\" }} }}\n"
        ));
        let run = place.start(&["run", "test.toml", "--workers", workers, "--out", "run"]);
        run.until_it_runs();
        let of =
            |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.split('\0').any(|word| word == whose));
        let pid = if whose == "the client" { Some(run.child.id()) } else { place.processes().into_iter().find(of) };
        // Fewer than the plan needs, of which it knew nothing when it began.
        let starve = Command::new("prlimit").args(["--nofile=40:40", "--pid", &pid.expect("it runs").to_string()]).status();
        assert!(starve.expect("prlimit is there").success());
        until("it is not over", || super::exists(&place.path("run")));
        run.end().assert_code(3);
        let summary = place.json("run/summary.json");
        let reasons = summary["verdict"]["reasons"].to_string();
        let met = "reached a limit of this machine: ";
        let what =
            if whose == "__server" { "server 0: no file descriptor left" } else { "no file descriptor left in this process (EMFILE)" };
        assert!(reasons.contains(&format!("{met}{what}")) && reasons.contains("raise the limit (`ulimit -n`)"), "{whose}: {reasons}");
        let events = fs::read_to_string(place.path("run/events.csv")).expect("events");
        assert!(events.lines().any(|line| line.contains(",local_limit,")), "{whose}");
    });
}
