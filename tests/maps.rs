//! `closestorm simulate --vary`: the same bytes on repeat and with any number of threads, and an edge where arithmetic says it is.

use closestorm::results::map::{Mapped, PointOutcome, read};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Runs `simulate` in a new folder, which becomes `map` below it.
fn map(args: &[&str]) -> (tempfile::TempDir, Mapped) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_closestorm"));
    command.current_dir(folder.path()).args(["simulate"]).args(args).args(["--quiet", "--out", "map"]);
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mapped = read(&folder.path().join("map")).expect("a map");
    (folder, mapped)
}

/// Every file by name, without the command, which names the threads.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder.join("map")).expect("a folder").map(|entry| entry.expect("an entry"));
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("a file"))).collect()
}

#[test]
#[ignore = "long: scripts/test"]
fn a_map_is_the_same_on_repeat_and_its_points_with_any_number_of_threads() {
    let args =
        ["stuck", "--levels", "3", "--vary", "clients=60..960", "--vary", "clients.web.deadlines.handshake=500ms..2s", "--duration", "20s"];
    let (first, mapped) = map(&args);
    let (second, _) = map(&args);
    assert!(files(first.path()) == files(second.path()), "two maps differ");
    let names: Vec<_> = files(first.path()).into_keys().collect();
    assert_eq!(names, ["map.csv", "map.json", "map.png", "map.svg", "report.html", "report.md", "scenario.toml"]);
    for threads in ["1", "3"] {
        let (_, other) = map(&[&args[..], &["--threads", threads]].concat());
        assert_eq!(other.points, mapped.points, "{threads} threads");
        assert_eq!(
            (other.map.boundary, other.map.ways_out),
            (mapped.map.boundary.clone(), mapped.map.ways_out.clone()),
            "{threads} threads"
        );
    }
    assert_eq!(mapped.points.len(), 9);
    assert!(mapped.map.points.iter().all(|count| *count < 9) && !mapped.map.boundary.is_empty(), "{:?}", mapped.map.points);
}

/// The server completes 200 a second. Of the herd, those of the first second get in; the others come back every 1.5 s, and it is stuck
/// exactly if they are more than it completes in that time: above 200 + 300 clients.
#[test]
fn the_edge_lies_where_arithmetic_says() {
    let (_, mapped) = map(&["stuck", "--levels", "9", "--vary", "clients=460..540"]);
    let [edge] = &mapped.map.boundary[..] else { panic!("{:?}", mapped.map.boundary) };
    assert!(edge.low_outcome != PointOutcome::Never && edge.high_outcome == PointOutcome::Never, "{edge:?}");
    assert!(edge.low <= 510.0 && edge.high >= 490.0, "{edge:?}");
    // Newest first always gets out: whoever is served has just come.
    let lifo = mapped.map.ways_out.iter().find(|way| way.setting.ends_with("queue=lifo")).expect("it was tried");
    assert_eq!((lifo.recover + lifo.late, Some(&lifo.change)), (lifo.points, mapped.map.cheapest.as_ref()));
    let jitter = mapped.map.ways_out.iter().find(|way| way.setting.starts_with("jitter")).expect("it was tried");
    assert_eq!(jitter.recover + jitter.late, 0, "as many attempts as before");
}

#[test]
fn a_fleet_that_loses_a_node_recovers_the_sooner_the_larger_it_is() {
    let (folder, mapped) = map(&["lose-a-node", "--vary", "target.embedded.instances=2..8"]);
    let times: Vec<_> = mapped.points.iter().map(|point| point.p99_us.expect("all are back")).collect();
    assert_eq!(times.len(), 7, "every whole number");
    assert!(times.is_sorted_by(|a, b| a > b), "{times:?}");
    // Half of 3,000 clients on one node of 100 a second take at least 15 s.
    assert!((15_000_000..25_000_000).contains(&times[0]), "{times:?}");
    let report = std::fs::read_to_string(folder.path().join("map/report.md")).expect("a report");
    assert!(
        report.contains("with 2 nodes, 99 % reconnect within 19") && report.contains("From 4 nodes on, 99 % are back within 6.25 s"),
        "{report}"
    );
}

#[test]
fn what_makes_no_map_is_refused_with_an_example() {
    for (args, part) in [
        (&["--vary", "clients=9..5"][..], "not below"),
        (&["--vary", "clients=1..9", "--vary", "clients=1..5"], "given twice"),
        (&["--vary", "clients=1..9", "--clients", "7"], "leave one out"),
        (&["--vary", "clients.web.cuont=1..9"], "count"),
        (&["--within", "3s"], "--vary"),
    ] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_closestorm")).args(["simulate", "stuck"]).args(args).output().expect("the program starts");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && message.contains(part), "{args:?}: {message}");
    }
}
