//! What is written for CI services: at the right times, into the right places, and as their own readers read it.

use super::{LONG, Place, SHORT};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// As [`SHORT`], but nobody can be back so soon.
fn failing() -> String {
    SHORT.replace("p50 < 20s", "p50 < 1ms")
}

pub(super) fn home(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The Python with the readers, which scripts/test installs; `None`, said past the test harness, where there is to be no Python.
pub(super) fn python(test: &str) -> Option<PathBuf> {
    if std::env::var_os("CLOSESTORM_NO_PYTHON").is_some_and(|value| !value.is_empty()) {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty()), "in CI nothing is left out");
        eprintln!("LEFT OUT: {test}");
        return None;
    }
    let python = home("target/ci/bin/python");
    assert!(python.exists(), "{test} needs packages that scripts/test installs; without Python set CLOSESTORM_NO_PYTHON=1");
    Some(python)
}

/// What the readers find in a folder of `--report-dir`.
fn read(python: &Path, folder: &Path) -> Value {
    let out = Command::new(python).arg(home("tests/python/ci.py")).arg(folder).arg(home("tests/ci")).output().expect("Python runs");
    assert!(out.status.success(), "{}: {}", folder.display(), String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("JSON")
}

/// The results of the cases, in their order.
fn results(read: &Value) -> Vec<String> {
    read["junit"].as_array().expect("cases").iter().map(|case| case["result"].as_str().expect("a result").to_owned()).collect()
}

#[test]
fn a_scenario_that_is_wrong_is_told_at_its_line_and_in_every_file() {
    let place =
        Place::with("duration = \"1s\"\nexpect = [\n  \"reconnect_time p99 < 10\",\n]\n[target.embedded]\n[clients.web]\ncount = 1\n");
    let line = "GITHUB_ACTIONS=true GITHUB_STEP_SUMMARY=summary.md \"$C\" run test.toml --junit ci/junit.xml --report-dir ci/all";
    let ended = place.shell(line).end();
    ended.assert_code(2);
    assert!(
        ended.err.contains("\n::error file=test.toml,line=3,title=") || ended.err.starts_with("::error file=test.toml,line=3,title="),
        "{}",
        ended.err
    );
    for file in ["ci/junit.xml", "ci/all/junit.xml"] {
        let xml = fs::read_to_string(place.path(file)).expect(file);
        assert!(xml.contains("tests=\"1\" failures=\"0\" errors=\"1\"") && xml.contains("file=\"test.toml\" line=\"3\""), "{xml}");
    }
    assert!(fs::read_to_string(place.path("summary.md")).expect("a summary").contains("cannot be judged"));
    let validated = place.shell("GITHUB_ACTIONS=true \"$C\" validate test.toml").end();
    assert!(validated.err.contains("::error file=test.toml,line=3,title="), "{}", validated.err);
    assert!(!place.run(&["validate", "test.toml"]).err.contains("::error"), "only on GitHub");
    // A base may be any file of this machine.
    place.write("private", "secret_key = \"hidden-value\"\n");
    place.write("test.toml", "extends = \"private\"\n[target.embedded]\n[clients.web]\ncount = 1\n");
    let ended = place.shell("GITHUB_ACTIONS=true \"$C\" run test.toml --junit junit.xml").end();
    let told = ended.err.clone() + &fs::read_to_string(place.path("junit.xml")).expect("a file");
    assert!(told.contains("::error file=private,line=1,") && !told.contains("hidden-value") && !told.contains("secret_key"), "{told}");
    place.write("test.toml", SHORT);
    let ended = place.run(&["run", "test.toml", "--out", "same", "--report-dir", "./same"]);
    assert!(ended.code == Some(2) && ended.err.contains("name the same folder") && !place.path("same").exists(), "{ended:?}");
}

#[test]
fn a_target_that_cannot_be_reached_is_an_error_in_the_files() {
    let place = Place::with(
        "duration = \"1s\"\nexpect = [\"clients_lost count == 0\"]\n[target.command]\nrun = \"false {port}\"\naddress = \"ws://127.0.0.1:{port}\"\n[clients.web]\ncount = 1\n",
    );
    place.run(&["run", "test.toml", "--report-dir", "ci"]).assert_code(1);
    let xml = fs::read_to_string(place.path("ci/junit.xml")).expect("a file");
    assert!(xml.contains("tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\"") && xml.contains("closestorm can run"), "{xml}");
}

#[test]
fn a_history_of_other_columns_is_refused_before_the_run() {
    let place = Place::with(SHORT);
    place.write("history.csv", "time,other\n");
    let before = Instant::now();
    let ended = place.run(&["run", "test.toml", "--history", "history.csv", "--out", "run"]);
    ended.assert_code(2);
    assert!(ended.err.contains("history.csv: it has other columns: time,other; this run has time,commit,"), "{}", ended.err);
    assert!(before.elapsed() < LONG && !place.path("run").exists());
    assert_eq!(fs::read_to_string(place.path("history.csv")).expect("a file"), "time,other\n");
}

#[test]
fn what_cannot_be_written_is_told_once_and_before_the_run() {
    let place = Place::with(SHORT);
    place.write("mine.csv", "mine");
    std::os::unix::fs::symlink("mine.csv", place.path("link.csv")).expect("a link");
    fs::create_dir_all(place.path("reports/junit.xml")).expect("a folder");
    for (option, path, why) in [
        ("--junit", "reports", "reports: it is a folder"),
        ("--junit", "link.csv", "link.csv: it is a symbolic link"),
        ("--report-dir", "reports", "reports/junit.xml: it is a folder"),
        ("--history", "link.csv", "link.csv: it is a symbolic link"),
        // Of some devices, reading never ends.
        ("--history", "/dev/null", "/dev/null: it is not a regular file"),
    ] {
        let ended = place.run(&["run", "test.toml", option, path, "--out", "run"]);
        ended.assert_code(1);
        assert_eq!(ended.err.matches(why).count(), 1, "{option} {path}: {}", ended.err);
        assert!(!place.path("run").exists(), "{option} {path}");
    }
    assert_eq!(fs::read_to_string(place.path("mine.csv")).expect("a file"), "mine");
}

#[test]
fn rows_of_simulations_at_the_same_time_do_not_mix() {
    let place = Place::with(SHORT);
    let line = "for seed in 1 2 3 4 5 6; do \"$C\" simulate test.toml --seed $seed --quiet --history ci/history.csv --set 'expect=[\"attempts count > 0\"]' & done; wait";
    place.shell(line).end().assert_code(0);
    let text = fs::read_to_string(place.path("ci/history.csv")).expect("a history");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (7, "time,commit,scenario,seed,verdict,attempts count"), "{text}");
    let mut seeds: Vec<&str> = lines[1..].iter().map(|line| line.split(',').nth(3).expect("a seed")).collect();
    seeds.sort_unstable();
    assert_eq!(seeds, ["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn the_summary_of_a_step_has_a_bound_and_says_what_it_lacks() {
    let place = Place::with(&failing());
    let line = "head -c 1048000 /dev/zero | tr '\\0' x >full.md; GITHUB_STEP_SUMMARY=full.md \"$C\" simulate test.toml --quiet";
    place.shell(line).end().assert_code(99);
    let text = fs::read_to_string(place.path("full.md")).expect("a summary");
    assert!(text.len() <= 1 << 20 && text.contains("**Cut: "), "{}", text.len());
    let ended = place.shell("head -c 1048576 /dev/zero >full.md; GITHUB_STEP_SUMMARY=full.md \"$C\" simulate test.toml --quiet").end();
    ended.assert_code(99);
    assert!(ended.err.contains("note: the summary of this step is not in full.md: it is full"), "{}", ended.err);
}

#[test]
#[ignore = "long: scripts/test"]
fn their_own_readers_read_the_files() {
    let Some(python) = python("readers of CI files") else { return };
    let place = Place::with(&failing());
    place.write("mute.toml", &SHORT.lines().filter(|line| !line.starts_with("expect")).map(|line| format!("{line}\n")).collect::<String>());
    let run = "GITLAB_CI=true GITHUB_ACTIONS=true GITHUB_STEP_SUMMARY=summary.md GITHUB_WORKSPACE=.. \"$C\" run test.toml --report-dir failed --out run --force";
    let ended = place.in_time(|| {
        let _ = fs::remove_file(place.path("summary.md"));
        place.shell(run).end()
    });
    ended.assert_code(99);
    let found = read(&python, &place.path("failed"));
    assert_eq!(results(&found), ["passed", "passed", "failure"]);
    let case = &found["junit"][2];
    let folder = place.path("").file_name().expect("a name").to_string_lossy().into_owned();
    let xml = fs::read_to_string(place.path("failed/junit.xml")).expect("a file");
    assert_eq!(xml.matches(&format!("[[ATTACHMENT|{folder}/run/timeline.png]]")).count(), 1, "{xml}");
    assert_eq!((&case["file"], &case["line"]), (&format!("{folder}/test.toml").into(), &"3".into()), "{case}");
    assert!(
        case["message"]
            .as_str()
            .is_some_and(|message| message.starts_with("observed ") && message.ends_with("expected reconnect_time p50 < 1ms"))
    );
    assert!(
        ended.err.contains(&format!("::error file={folder}/test.toml,line=3,title=reconnect_time p50 < 1ms::observed ")),
        "{}",
        ended.err
    );
    let value = |name: &str, expectation: &str| {
        let metrics = found["metrics"].as_array().expect("metrics");
        let sample = metrics.iter().find(|one| one["name"] == name && one["labels"]["expectation"] == expectation).expect(name);
        sample["value"].as_f64()
    };
    assert_eq!(value("closestorm_expectation", "reconnect_time p50 < 1ms"), Some(0.0));
    assert_eq!(value("closestorm_expectation", "clients_lost count == 0"), Some(1.0));
    let seconds = value("closestorm_observed_seconds", "reconnect_time p50 < 1ms").expect("it was observed");
    let ns = found["bmf"]["test: reconnect_time p50"]["latency"]["value"].as_f64().expect("a latency");
    assert!((ns / 1e9 - seconds).abs() < 0.006 * seconds, "{ns} {seconds}");
    let ms = found["smaller"][0]["value"].as_f64().expect("a value");
    assert!((ms * 1e6 - ns).abs() < 1.0 && found["smaller"][0]["unit"] == "ms" && found["bigger"] == serde_json::json!([]), "{found}");
    // Judged again it is the same.
    place.run(&["check", "run", "--quiet", "--report-dir", "again"]).assert_code(99);
    assert_eq!(results(&read(&python, &place.path("again"))), ["passed", "passed", "failure"]);
    assert_eq!((&found["markdown"]["html"], &found["markdown"]["links"]), (&serde_json::json!([]), &serde_json::json!([])), "{found}");
    assert!(fs::read_to_string(place.path("summary.md")).expect("a summary").starts_with("# closestorm test\n"));

    for (args, code, expected) in [
        (&["simulate", "mute.toml", "--runs", "3"][..], 0, &["skipped", "skipped", "skipped"][..]),
        (&["simulate", "test.toml", "--runs", "2"], 99, &["passed", "passed", "failure", "failure"]),
        (&["simulate", "none.toml"], 2, &["error"]),
    ] {
        let all = [args, &["--quiet", "--report-dir", "ci"]].concat();
        place.run(&all).assert_code(code);
        assert_eq!(results(&read(&python, &place.path("ci"))), expected, "{args:?}");
    }
    // A comparison, and one that says nothing.
    for (folder, seeds) in [("base", "1"), ("new", "2")] {
        place.run(&["simulate", "test.toml", "--seed", seeds, "--out", folder, "--quiet"]).assert_code(99);
    }
    let compared = place.run(&["compare", "base", "--report-dir", "compared", "--junit", "compared.xml", "--", "new"]);
    let found = read(&python, &place.path("compared"));
    assert_eq!(results(&found), ["skipped"; 3], "one run a side shows nothing: {found} {compared:?}");
    assert!(found["metrics"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "closestorm_not_worse")), "{found}");
    place.run(&["compare", "base", "--report-dir", "compared", "--", "base"]).assert_code(2);
    assert_eq!(results(&read(&python, &place.path("compared"))), ["error"]);
}

#[test]
#[ignore = "long: scripts/test"]
fn otava_finds_a_change_in_the_history() {
    let Some(python) = python("Otava") else { return };
    let place = Place::with(&SHORT.replace("p50 < 20s", "p50 < 30s"));
    let docs = fs::read_to_string(home("docs/ci.md")).expect("the page");
    let config = docs.split("<!-- file: otava.yaml -->").nth(1).and_then(|rest| rest.split("```").nth(1)).expect("a configuration");
    place.write("otava.yaml", config.trim_start_matches("yaml"));
    let line = "i=0; for down in 300ms 600ms; do for n in 1 2 3 4 5 6 7 8 9 10; do i=$((i + 1)); GITHUB_SHA=c$i \"$C\" simulate test.toml --seed $n \
        --set faults.crash.inject.server_crash.down=$down --quiet --history history.csv --out runs/$i || exit; sleep 0.05; done; done";
    place.shell(line).end().assert_code(0);
    let otava = python.with_file_name("otava");
    let out = Command::new(otava)
        .args(["analyze", "storm", "--since", "1970-01-01"])
        .env("OTAVA_CONFIG", "otava.yaml")
        .current_dir(place.path(""))
        .output()
        .expect("Otava runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    let at = |commit: &str| lines.iter().position(|line| line.contains(&format!(" {commit} "))).expect("a row");
    assert!(lines[at("c10")..at("c11")].iter().any(|line| line.contains('%')), "{said}");
    assert_eq!(said.matches('%').count(), 1, "{said}");
}

/// Runs every script of the page's jobs in order, each job in an empty folder with a scenario. Lines that install closestorm are left out: the
/// program that was built is on the PATH. Services themselves, their caches and uploads, are not there.
#[test]
#[ignore = "long: scripts/test"]
fn the_jobs_of_the_page_and_the_action_run() {
    let Some(python) = python("jobs of docs/ci.md") else { return };
    let out = Command::new(python)
        .arg(home("tests/python/ci_jobs.py"))
        .args([home("action.yml"), home("docs/ci.md")])
        .output()
        .expect("Python runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let jobs: Vec<Value> = serde_json::from_slice(&out.stdout).expect("JSON");
    let names: Vec<&str> = jobs.iter().filter_map(|job| job["name"].as_str()).collect();
    assert_eq!(names, ["github storm", "github storm", "github storm, with a baseline", "gitlab storm", "jenkins"]);
    for job in &jobs {
        let place = Place::new();
        place.write("storm.toml", SHORT);
        for (number, step) in job["steps"].as_array().expect("steps").iter().enumerate() {
            let script = step["script"].as_str().expect("a script").replace("cargo install --locked closestorm", "closestorm --version");
            place.write("step.sh", &script);
            assert!(Command::new("sh").arg("-n").arg(place.path("step.sh")).status().expect("a shell").success(), "{script}");
            let program = Path::new(env!("CARGO_BIN_EXE_closestorm")).parent().expect("a folder");
            let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
            let run = || {
                let mut command = Command::new("sh");
                command
                    .args(["-e", "step.sh"])
                    .env("PATH", &path)
                    .env("GITHUB_OUTPUT", "output.txt")
                    .env("GITHUB_STEP_SUMMARY", "summary.md");
                step["env"]
                    .as_object()
                    .expect("variables")
                    .iter()
                    .for_each(|(name, value)| _ = command.env(name, value.as_str().expect("a text")));
                place.spawn(command).end()
            };
            // On a busy machine the load generator may be late, and then a baseline is not kept.
            let mut ended = run();
            for _ in 0..5 {
                if ended.code != Some(3) {
                    break;
                }
                ended = run();
            }
            ended.assert_code(0);
            if step["env"].get("AGAINST").is_some() {
                let baseline = job["name"].as_str().is_some_and(|name| name.ends_with("with a baseline"));
                assert_eq!(ended.out.contains("nothing to compare with yet"), !baseline, "{ended:?}");
                let outputs = fs::read_to_string(place.path("output.txt")).expect("outputs");
                assert!(outputs.ends_with("exit-code=0\nverdict=pass\nreport-dir=closestorm-report\n"), "{outputs}");
            }
            if script.contains("report-dir") {
                assert!(place.path("closestorm-report/junit.xml").exists(), "{} {number}: {ended:?}", job["name"]);
            }
        }
    }
}
