//! Run folders afterwards: charts and verdict from files alone, damaged files, and what the options of a run leave in them.

use super::{Place, SHORT, at_once, exists};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry"));
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).expect("a file"))).collect()
}

#[test]
fn calibrate_guesses_nothing_where_the_server_was_never_busy() {
    let place = Place::with(SHORT);
    place.run(&["run", "test.toml", "--out", "run"]).assert_code(0);
    let burst = ["never busy in this run (40 opening handshakes)", "no model was written", "reconnect=fixed-3s"];
    place.assert_refuses(&["calibrate", "run", "--out", "model"], 3, &burst);
    assert!(!exists(&place.path("model")));
}

#[test]
fn scenarios_are_written_with_the_programs_that_they_start_and_files_that_are_there_stay() {
    let place = Place::new();
    place.assert_refuses(
        &["run", "node-server"],
        2,
        &["scenarios/node/server.js does not exist in this folder", "closestorm scenarios --files ."],
    );
    fs::create_dir(place.path("scenarios")).expect("the folder can be written");
    place.write("scenarios/default.toml", "mine");
    let ended = place.run(&["scenarios", "--files", "."]);
    ended.assert_code(0);
    assert!(ended.out.contains("1 existing file was kept") && ended.out.contains("npm ci --prefix ./scenarios/node"), "{ended:?}");
    assert_eq!(fs::read_to_string(place.path("scenarios/default.toml")).expect("a file"), "mine");
    for (name, part) in [("node-server.toml", "scenarios/node/server.js"), ("node/server.js", "ws"), ("node/package.json", "\"ws\"")] {
        let text = fs::read_to_string(place.path("scenarios").join(name)).expect(name);
        assert!(text.contains(part), "{name}: {text}");
    }
    place.run(&["validate", "scenarios/node-echo.toml"]).assert_code(0);
}

#[test]
#[ignore = "long: scripts/test"]
fn report_draws_the_same_bytes_again_and_check_needs_no_charts() {
    let place = Place::with(SHORT);
    place.run(&["run", "test.toml", "--out", "run"]).assert_code(0);
    let before = contents(&place.path("run"));
    assert!(before.contains_key("timeline.svg") && before.contains_key("report.md") && before.contains_key("timeline.png"));
    for name in before.keys().filter(|name| [".svg", ".png", ".md", ".html"].iter().any(|end| name.ends_with(end))) {
        fs::remove_file(place.path("run").join(name)).expect("the folder can be written");
    }
    let checked = place.run(&["check", "run"]);
    checked.assert_code(0);
    assert!(checked.out.contains("✓ PASS"), "{checked:?}");
    place.run(&["report", "run"]).assert_code(0);
    let after = contents(&place.path("run"));
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    before.iter().for_each(|(name, bytes)| assert!(after[name] == *bytes, "{name} differs"));
    place.run(&["report", "run", "--out", "new/elsewhere"]).assert_code(0);
    assert!(contents(&place.path("new/elsewhere")).iter().all(|(name, bytes)| before[name] == *bytes));
}

#[test]
fn check_gives_the_verdict_and_exit_code_of_the_run() {
    let table = [
        ("clients_lost count == 0", "", 0),
        ("clients_lost count == 20", "", 99),
        ("reconnect_time p99 < 10s", "", 3), // p99 needs 299 samples
        ("reconnect_time p99 < 10s", "--allow-inconclusive", 0),
    ];
    at_once(table, |(expect, options, code)| {
        let place = Place::with(SHORT);
        let set = format!("expect=[\"{expect}\", \"opening_handshake p50 < 20s\"]");
        let options: Vec<_> = options.split_whitespace().collect();
        let ran = place.run(&[&["run", "test.toml", "--out", "run", "--set", &set, "--format", "json"], &options[..]].concat());
        ran.assert_code(code);
        let checked = place.run(&[&["check", "run", "--format", "json"], &options[..]].concat());
        checked.assert_code(code);
        assert_eq!(checked.json(), ran.json()["verdict"], "{expect}");
    });
}

#[test]
fn the_verdict_answers_the_question_in_the_words_of_the_author_and_with_figures() {
    let answer = "answer={ pass = \"Yes\", fail = \"No, as feared\" }";
    let question = "question=\"Does everybody get in?\"";
    at_once([("clients_lost count == 0", "Yes: ", 0), ("clients_lost count > 0", "No, as feared: ", 99)], |(expect, words, code)| {
        let place = Place::with(SHORT);
        let set = format!("expect=[\"{expect}\"]");
        let ran = place.run(&["run", "test.toml", "--out", "run", "--set", &set, "--set", answer, "--set", question]);
        ran.assert_code(code);
        assert!(ran.out.contains(words) && ran.out.contains("\nDoes everybody get in?\n"), "{ran:?}");
        for report in ["report.md", "report.html"] {
            let text = fs::read_to_string(place.path("run").join(report)).expect("the report");
            assert!(text.contains(words), "{report}");
        }
        // Judged again from the files, it says the same.
        assert!(place.run(&["check", "run"]).out.contains(words), "{expect}");
    });
}

/// Makes of a file what is left of it.
type Damage<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

#[test]
fn a_damaged_run_folder_is_told_and_gives_no_verdict() {
    let place = Place::with(SHORT);
    place.run(&["run", "test.toml", "--out", "run", "--quiet"]).assert_code(0);
    let before = contents(&place.path("run"));
    let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let lines = |bytes: &[u8]| bytes.split_inclusive(|byte| *byte == b'\n').take(6).collect::<Vec<_>>().concat();
    let garbage = |_: &[u8]| (0_u16..600).flat_map(|n| (n.wrapping_mul(40_503)).to_le_bytes()).chain([b'\n']).collect::<Vec<u8>>();
    let damages: [(&str, Damage); 4] = [("cut", &half), ("cut between lines", &lines), ("garbage", &garbage), ("empty", &|_| Vec::new())];
    for file in ["summary.json", "counts.csv", "latency.hlog", "scenario.toml", "timeline.csv", "closes.csv", "manifest.json"] {
        let path = place.path("run").join(file);
        for (damage, apply) in &damages {
            // These tables are for charts: a verdict does not depend on how long they are.
            if *damage == "cut between lines" && ["timeline.csv", "closes.csv"].contains(&file) {
                continue;
            }
            fs::write(&path, apply(&before[file])).expect("the folder can be written");
            let ended = place.run(&["check", "run"]);
            assert!(ended.code == Some(1) && ended.out.is_empty(), "{file}, {damage}: {ended:?}");
            assert!(ended.err.contains(&format!("run/{file} is damaged")), "{file}, {damage}: {ended:?}");
        }
        fs::remove_file(&path).expect("the folder can be written");
        if ["counts.csv", "latency.hlog", "scenario.toml"].contains(&file) {
            place.assert_refuses(&["check", "run"], 1, &[&format!("run/{file} is missing")]);
        }
        fs::write(&path, &before[file]).expect("the folder can be written");
    }
    place.run(&["check", "run"]).assert_code(0);
}

#[test]
fn a_run_folder_without_some_files_says_which_and_what_cannot_be_told() {
    let place = Place::with(SHORT);
    let peak = "expect=[\"attempts peak < 1000/s\", \"clients_lost count == 0\"]";
    place.run(&["run", "test.toml", "--out", "run", "--quiet", "--set", peak]).assert_code(0);
    let whole = place.run(&["check", "run"]);
    assert!(whole.code == Some(0) && whole.err.is_empty(), "{whole:?}");
    let before = contents(&place.path("run"));
    let data = before.keys().filter(|name| [".csv", ".json", ".toml", ".hlog"].iter().any(|end| name.ends_with(end)));
    for file in data.filter(|name| *name != "summary.json") {
        fs::remove_file(place.path("run").join(file)).expect("the folder can be written");
        let note = format!("{file} is missing");
        let ended = place.run(&["report", "run", "--out", "report"]);
        assert!(ended.code == Some(0) && ended.err.lines().count() == 1 && ended.err.contains(&note), "{file}: {ended:?}");
        let report = fs::read_to_string(place.path("report/report.md")).expect("the report");
        assert!(report.contains(&note), "{file}: {report}");
        let code = match file.as_str() {
            "counts.csv" | "latency.hlog" | "limits.csv" | "scenario.toml" => 1,
            "peaks.csv" => 3,
            _ => 0,
        };
        let ended = place.run(&["check", "run"]);
        ended.assert_code(code);
        assert!(ended.err.contains(&note), "{file}: {ended:?}");
        assert_eq!(ended.out.contains("no data: peaks.csv is missing"), code == 3, "{ended:?}");
        fs::write(place.path("run").join(file), &before[file]).expect("the folder can be written");
    }
}

#[test]
fn a_folder_that_is_no_run_is_told() {
    let place = Place::with(SHORT);
    fs::create_dir(place.path("empty")).expect("the folder can be written");
    for command in ["check", "report"] {
        for (folder, why) in [("nothere", "it does not exist"), ("empty", "no summary.json"), ("test.toml", "it is a file")] {
            place.assert_refuses(&[command, folder], 1, &[folder, "is not a run folder", why]);
        }
    }
}

#[test]
fn options_override_the_scenario_in_a_known_order() {
    let place = Place::with(SHORT);
    let args = ["run", "test.toml", "--set", "seed=3", "--seed", "4", "--set", "duration=\"9s\"", "--duration", "1300ms"];
    let ended = place.run(&[&args[..], &["--clients", "7", "--set", "clients.web.count=9", "--format", "json", "--out", "run"]].concat());
    ended.assert_code(0);
    let summary = ended.json();
    assert_eq!((&summary["seed"], &summary["duration_ms"], &summary["clients"]["planned"]), (&4.into(), &1300.into(), &7.into()));
    // The same seed gives the same plan, and the stored scenario is the plan that ran.
    let stored = place.path("run/scenario.toml").display().to_string();
    let of_file = place.run(&["run", &stored, "--dry-run"]).out;
    let of_options = place.run(&[&args[..], &["--clients", "7", "--dry-run"]].concat()).out;
    let plan = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(plan(&of_file), plan(&of_options));
    assert!(of_file.contains("seed 4") && !exists(&place.path("results")));
}

#[test]
fn a_run_of_one_client_without_faults_and_expectations_passes_with_a_notice() {
    let place = Place::with("[target.embedded]\n[clients.web]\ncount = 20\n");
    let ended = place.run(&["run", "test.toml", "--clients", "1", "--duration", "1s"]);
    ended.assert_code(0);
    assert!(ended.out.contains("1 planned · 1 opened") && ended.out.contains("no expectations: nothing was checked"), "{ended:?}");
    let runs = fs::read_dir(place.path("results/test")).expect("results").map(|entry| entry.expect("an entry").file_name());
    assert_eq!(runs.filter(|name| name != "latest").count(), 1);
}

#[test]
#[ignore = "long: scripts/test"]
fn a_fault_after_the_end_is_one_notice_and_an_expectation_without_data_is_no_pass() {
    let place = Place::with(SHORT);
    let ended = place.run(&["run", "test.toml", "--duration", "500ms", "--set", "expect=[\"reconnect_time p50 < 20s\"]", "--out", "run"]);
    ended.assert_code(3);
    assert_eq!(ended.out.matches("fault crash: it is due after the end of the run, so it never fires").count(), 1, "{ended:?}");
    assert!(ended.out.contains("INCONCLUSIVE: fault crash was not carried out: it was due after the end of the run"), "{ended:?}");
    // An expectation that was measured and not reached.
    let ended = place.run(&["run", "test.toml", "--set", "expect=[\"reconnect_time p50 > 20s\"]", "--out", "late"]);
    ended.assert_code(99);
    assert!(ended.out.contains("✗ FAIL: reconnect_time p50 > 20s"), "{ended:?}");
}

#[test]
#[ignore = "long: scripts/test"]
fn all_events_are_kept_where_they_are_asked_for() {
    let table = [("run", "--workers=1"), ("run", "--workers=3"), ("simulate", "--quiet")];
    at_once(table, |(command, option)| {
        let place = Place::with(SHORT);
        let set = "clients.web.traffic={echo={rate=\"5/s\",payload=\"32B\"}}";
        place.run(&[command, "test.toml", "--out", "few", option, "--set", set]).assert_code(0);
        place.run(&[command, "test.toml", "--out", "all", "--events", "full", option, "--set", set]).assert_code(0);
        let counted = |folder: &str, event: &str| {
            let rows = csv::Reader::from_path(place.path(folder).join("events.csv")).expect("events").into_records();
            rows.filter(|row| &row.as_ref().expect("a row")[1] == event).count() as u64
        };
        let summary = fs::read_to_string(place.path("all/summary.json")).expect("a summary");
        let summary: serde_json::Value = serde_json::from_str(&summary).expect("JSON");
        assert_eq!((counted("few", "sent"), counted("few", "not_started")), (0, 0), "{command} {option}");
        for (event, key) in [("sent", "/messages/sent"), ("not_started", "/messages/not_started"), ("opened", "/attempts/opened")] {
            let told = summary.pointer(key).and_then(serde_json::Value::as_u64).expect("a number");
            assert_eq!(counted("all", event), told, "{command} {option}: {event}");
            assert!(event == "not_started" || told > 0, "{command} {option}: {event}");
        }
        assert!(counted("all", "echoed") > 0);
    });
}
