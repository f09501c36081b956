//! Signals: the first one stops and writes, the second one leaves at once, and not even SIGKILL leaves a process behind.

use super::{LISTENING, LONG, Place, at_once, command_target, exists, until};
use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn a_signal_ends_the_run_with_a_readable_folder_that_is_marked_aborted() {
    at_once([("INT", 130), ("TERM", 143), ("HUP", 129)], |(name, code)| {
        let place = Place::with(&format!("expect = [\"clients_lost count == 0\"]\n{LISTENING}"));
        let run = place.start(&["run", "test.toml", "--out", "run", "--allow-inconclusive"]);
        run.until_it_runs();
        run.signal(name);
        let ended = run.end();
        ended.assert_code(code);
        assert!(ended.out.contains("? INCONCLUSIVE: the run was stopped before its planned length"), "{ended:?}");
        let summary = place.json("run/summary.json");
        assert_eq!((&summary["status"], &summary["verdict"]["result"]), (&"aborted".into(), &"inconclusive".into()));
        assert_eq!(summary["connections"]["opened"], 10);
        assert!(exists(&place.path("run/report.html")) && exists(&place.path("run/timeline.svg")));
        place.run(&["check", "run"]).assert_code(3);
    });
}

#[test]
fn a_signal_among_many_seeds_keeps_those_that_were_done_and_marks_the_folder_aborted() {
    let place = Place::new();
    let run = place.start(&["simulate", "default", "--runs", "100000", "--out", "run"]);
    // What the first seed has cost.
    until("the first seed is not done", || run.err().contains("of CPU time"));
    run.signal("INT");
    let ended = run.end();
    ended.assert_code(130);
    assert!(ended.out.contains("? INCONCLUSIVE: the simulation was stopped after "), "{ended:?}");
    let summary = place.json("run/summary.json");
    assert_eq!((&summary["status"], &summary["verdict"]["result"]), (&"aborted".into(), &"inconclusive".into()));
    assert_eq!(summary["measured_ms"], summary["duration_ms"], "the first seed is complete");
    let done = summary["runs"]["done"].as_u64().expect("a count");
    assert!((1..100_000).contains(&done) && summary["runs"]["planned"] == 100_000, "{done}");
    let rows = std::fs::read_to_string(place.path("run/runs.csv")).expect("a table");
    assert_eq!(rows.lines().count() as u64, 1 + done);
    assert!(rows.lines().nth(1).is_some_and(|row| row.contains(",pass,")), "its own verdict: {rows}");
    let again = place.run(&["check", "run"]);
    again.assert_code(3);
    assert!(again.out.contains(&format!("the simulation was stopped after {done} of 100000 seeds")), "{again:?}");
}

#[test]
fn the_second_signal_leaves_at_once() {
    let place = Place::with(LISTENING);
    let run = place.start(&["run", "test.toml", "--out", "run"]);
    run.until_it_runs();
    run.signal("INT");
    sleep(Duration::from_millis(5));
    run.signal("TERM");
    let begun = Instant::now();
    let ended = run.end();
    assert!(matches!(ended.code, Some(130 | 143)), "{ended:?}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
#[ignore = "long: scripts/test"]
fn the_second_signal_is_heard_while_results_are_written() {
    let place = Place::with(&LISTENING.replace("30s", "2s"));
    // A full pipe that nobody reads holds the program when it writes what came of the run.
    let hold = place.path("hold");
    assert!(Command::new("mkfifo").arg(&hold).status().expect("mkfifo is there").success());
    let mut ends = fs::OpenOptions::new().read(true).write(true).open(&hold).expect("a pipe");
    std::io::Write::write_all(&mut ends, &[b'.'; 65_536]).expect("room for that");
    let run = place.shell("exec $C run test.toml --out run >hold");
    until("it does not write", || exists(&place.path("run/summary.json")));
    sleep(Duration::from_millis(200));
    run.signal("INT");
    sleep(Duration::from_millis(200));
    let begun = Instant::now();
    run.signal("INT");
    run.end().assert_code(130);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_signal_ends_a_comparison_which_leaves_nothing() {
    let place = Place::with(LISTENING);
    fs::write(place.path("model.toml"), "[model]\nrtt = \"1ms\"\n").expect("the folder can be written");
    let run = place.start(&["fidelity", "test.toml", "--model", "model.toml", "--out", "compared"]);
    run.until_it_runs();
    run.signal("INT");
    let ended = run.end();
    ended.assert_code(130);
    assert!(ended.err.contains("stopped: nothing to compare"), "{ended:?}");
    assert!(!exists(&place.path("compared")) && !exists(&place.path("compared.partial")));
}

#[test]
fn a_signal_before_the_target_is_ready_leaves_nothing() {
    let place = Place::with("[target.command]\nrun = \"sh -c 'echo $$ > started; sleep 100 & wait' {port}\"\n[clients.web]\ncount = 1\n");
    let run = place.start(&["run", "test.toml"]);
    until("the target is not started", || exists(&place.path("started")));
    let begun = Instant::now();
    run.signal("INT");
    let ended = run.end();
    ended.assert_code(130);
    assert!(begun.elapsed() < Duration::from_secs(8), "the deadline of `ready` is 10 s");
    assert_eq!(ended.err, "closestorm: stopped before the run began\n");
    assert_eq!(place.litter(), ["started"]);
}

#[test]
fn after_kill_9_the_same_folder_can_be_written_and_what_was_left_is_kept() {
    let place = Place::with(LISTENING);
    let run = place.start(&["run", "test.toml", "--out", "run"]);
    run.until_it_runs();
    // A place waits for all that runs in it.
    let mut beside = Command::new(env!("CARGO_BIN_EXE_closestorm"));
    let refused = beside.args(["run", "test.toml", "--out", "run"]).current_dir(place.path("")).output().expect("the program starts");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("run.partial exists: another run is writing it; choose"), "{said}");
    assert!(exists(&place.path("run.partial")));
    run.signal("KILL");
    assert_eq!(run.end().code, None);
    let left = fs::read_dir(place.path("run.partial")).expect("it is left").count();
    let ended = place.run(&["run", "test.toml", "--out", "run", "--duration", "1s", "--quiet", "--allow-inconclusive"]);
    ended.assert_code(0);
    assert!(ended.err.contains("note: a run was killed while writing run.partial; what it wrote is now run.1.partial"), "{ended:?}");
    assert!(left > 0 && exists(&place.path("run/summary.json")) && !exists(&place.path("run.partial")));
    assert_eq!(fs::read_dir(place.path("run.1.partial")).expect("it is kept").count(), left);
}

#[test]
fn kill_9_leaves_no_process_behind() {
    let pause = "[[faults]]\nat = \"0s\"\nfor = \"29s\"\ninject = { server_pause = {} }\n";
    let clients = "\n[clients.web]\ncount = 5\n";
    let command = |line| format!("duration = \"30s\"\n{}{clients}", command_target(line, LONG * 10));
    let table = [
        ("the embedded server", LISTENING.to_owned(), 3),
        ("a server that is stopped", format!("{LISTENING}{pause}").replace("[target.embedded]", "[target.embedded]\ninstances = 2"), 4),
        ("a shell and its child", command("sh -c '{serve} & wait'"), 4),
        ("a session of its own", command("sh -c 'setsid sleep 1000 & {serve} & wait'"), 5),
    ];
    at_once(table, |(what, scenario, expected)| {
        let place = Place::with(&scenario);
        let run = place.start(&["run", "test.toml", "--out", "run"]);
        run.until_it_runs();
        assert_eq!(place.processes().len(), expected, "{what}");
        run.signal("KILL");
        assert_eq!(run.end().code, None, "{what}");
    });
}
