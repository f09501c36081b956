//! `compare` on run folders, and `run` that makes them: exit codes, what is printed, what is refused.

use super::{LONG, Place, SHORT, command_target, until};
use closestorm::api::Scenario;
use std::fs;
use std::path::Path;

/// Forty clients that lose their connections at once and queue up at the server.
const HERD: &str = r#"
duration = "4s"
expect = ["opening_handshake p90 < 5s", "clients_lost count == 0"]
target.embedded = { handshake_cost = "10ms", backlog = 1024 }
clients.web = { count = 40, arrive = { over = "1s" }, reconnect = { fixed = { delay = "200ms" } } }
faults = [{ at = "1500ms", inject = { drop_rst = {} }, side = "client" }]
"#;

/// Simulated run folders, one for each seed.
fn simulate(place: &Place, side: &str, scenario: &str, seeds: std::ops::RangeInclusive<u64>) {
    for seed in seeds {
        let outcome = Scenario::from_toml(scenario).expect("a scenario").seed(seed).simulate().expect("a simulation");
        outcome.write_data(&place.path(side).join(seed.to_string())).expect("a run folder");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

#[test]
#[ignore = "long: scripts/test"]
fn compare_finds_a_slower_server_and_nothing_else() {
    let place = Place::new();
    simulate(&place, "base", HERD, 1..=6);
    simulate(&place, "same", HERD, 11..=16);
    simulate(&place, "slow", &HERD.replace("10ms", "12ms"), 21..=26);
    for (base, new, code, result) in
        [("base", "same", 0, "no_regression"), ("base", "slow", 99, "regression"), ("slow", "base", 0, "no_regression")]
    {
        let ended = place.run(&["compare", base, "--format", "json", "--", new]);
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let told: serde_json::Value = serde_json::from_str(&ended.out).expect("JSON");
        assert_eq!((&told["result"], &told["exit_code"]), (&result.into(), &code.into()), "{told}");
        assert_eq!(told["metrics"].as_array().map(Vec::len), Some(2));
    }
    let text = place.run(&["compare", "base", "--", "slow"]);
    assert!(text.out.starts_with("✗ Regression: 1 of 2 metrics worse.\n"), "{}", text.out);
    assert!(text.out.lines().all(|line| line.chars().count() <= 80), "{}", text.out);
    assert!(text.out.contains("what is tested differs: target.embedded.handshake_cost"), "{}", text.out);
    assert_eq!(place.run(&["compare", "base", "--", "slow"]).out, text.out, "twice the same");
    let markdown = place.run(&["compare", "base", "--format", "markdown", "--", "slow"]);
    assert!(
        markdown.out.contains("| ✗ | opening\\_handshake p90 |") || markdown.out.contains("| ✗ | opening_handshake p90 |"),
        "{}",
        markdown.out
    );
    assert_eq!(place.run(&["compare", "base", "--quiet", "--", "slow"]).out, "");
    // Folders one by one, and few of them; with files.
    let few = place.run(&["compare", "base/1", "base/2", "--out", "said", "--", "slow/21", "slow/22", "slow/23"]);
    assert_eq!(few.code, Some(3), "{few:?}");
    assert!(few.out.contains("weak evidence"), "{}", few.out);
    assert_eq!(place.json("said/comparison.json")["weak"], true);
    for (file, part) in [("comparison.md", "![Half are back"), ("compare-reconnect.svg", "Not yet reconnected")] {
        let text = fs::read_to_string(place.path("said").join(file)).expect(file);
        assert!(text.contains(part), "{file}: {text}");
    }
    assert_eq!(place.run(&["compare", "base/1", "--allow-inconclusive", "--", "slow/21"]).code, Some(0));
    // By another metric, and by one that says which way is worse.
    for (metric, code) in [("clients_lost count", 0), ("opening_handshake p90 > 1ms", 0), ("rtt p50", 3), ("opening_handshake p90", 99)] {
        let ended = place.run(&["compare", "base", "--metric", metric, "--", "slow"]);
        assert_eq!(ended.code, Some(code), "{metric}: {ended:?}");
    }
    let ended = place.run(&["compare", "base", "--min-effect", "100%", "--", "slow"]);
    assert_ne!(ended.code, Some(99), "{ended:?}");
}

#[test]
fn compare_refuses_what_cannot_be_compared() {
    let place = Place::new();
    simulate(&place, "base", HERD, 1..=2);
    simulate(&place, "more", &HERD.replace("count = 40", "count = 41"), 3..=3);
    simulate(&place, "mute", &HERD.replace("expect = [", "question = \"?\"\n#"), 4..=4);
    copy(&place.path("base/1"), &place.path("copied"));
    for (args, said) in [
        (&["base", "--", "base/1"][..], "named twice"),
        (&["base/1", "copied", "--", "base/2"], "are the same run"),
        (&["base", "--", "more"], "clients.web.count: 40 → 41; --allow-different compares them"),
        (&["base", "--", "mute"], "the scenario has no expectations: name what to compare"),
        (&["base/1", "--metric", "reconect_time p99", "--", "base/2"], "reconnect_time"),
        (&["base/1", "--metric", "rtt p99{", "--", "base/2"], "--metric"),
        (&["base/1", "--min-effect", "200%", "--", "base/2"], "is more than 100 %"),
        (&["--baseline", "main", "--", "base"], "results/baselines/main does not exist; there are no baselines"),
        (&["--baseline", "../main", "--", "base"], "letters, digits"),
        (&["base"], "-- <NEW>"),
    ] {
        let ended = place.run(&[&["compare"], args].concat());
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(ended.err.contains(said), "{args:?}: {said} is not in\n{}", ended.err);
    }
    let different = place.run(&["compare", "base", "--allow-different", "--", "more"]);
    assert!(different.code == Some(0) && different.out.contains("did not run the same scenario"), "{different:?}");
    let missing = place.run(&["compare", "base", "--", "nowhere"]);
    assert!(missing.code == Some(1) && missing.err.contains("nowhere is not a run folder"), "{missing:?}");
    fs::remove_file(place.path("base/1/counts.csv")).expect("it is there");
    let damaged = place.run(&["compare", "base", "--", "copied"]);
    assert!(damaged.code == Some(1) && damaged.err.contains("counts.csv is missing"), "{damaged:?}");
}

#[test]
#[ignore = "long: scripts/test"]
fn runs_are_repeated_kept_and_compared() {
    let place = Place::with(SHORT);
    let kept =
        place.run(&["run", "test.toml", "--repeat", "2", "--save-baseline", "main", "--out", "first", "--quiet", "--allow-inconclusive"]);
    assert_eq!(kept.code, Some(0), "{kept:?}");
    let seeds: Vec<_> = ["1", "2"].map(|run| place.json(&format!("first/{run}/summary.json"))["seed"].as_u64()).into();
    assert!(seeds[0].is_some() && seeds[1] == seeds[0].map(|seed| seed + 1), "{seeds:?}");
    let mut files: Vec<_> = fs::read_dir(place.path("results/baselines/main/001"))
        .expect("a baseline")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    files.sort();
    assert!(files.iter().any(|file| file == "latency.hlog") && files.iter().all(|file| file != "report.html"), "{files:?}");
    let metrics = ["--metric", "clients_lost count", "--metric", "attempts count"];
    let compared = place.run(&[&["compare", "--baseline", "main"], &metrics[..], &["--", "first"]].concat());
    assert_eq!(compared.code, Some(0), "{compared:?}");
    let against = place.run(&["run", "test.toml", "--against", "results/baselines/main", "--out", "second", "--seed", "9"]);
    assert!(matches!(against.code, Some(0 | 3)), "{against:?}");
    assert!(against.out.contains("2 runs in results/baselines/main") && against.out.contains("weak evidence"), "{}", against.out);
    // Another scenario is told before its runs take their time.
    let other = ["run", "test.toml", "--clients", "21", "--against", "results/baselines/main", "--out", "other"];
    place.assert_refuses(&other, 2, &["what is to run did not run the same scenario: clients.web.count: 20 → 21"]);
    let failing = SHORT.replace("clients_lost count == 0", "clients_lost count == 3");
    place.write("failing.toml", &failing);
    let failed = place.run(&["run", "failing.toml", "--save-baseline", "main", "--quiet"]);
    assert!(failed.code == Some(99) && failed.err.contains("baseline main not saved"), "{failed:?}");
    assert!(place.path("results/baselines/main/002").exists(), "the earlier one is left");
}

#[test]
fn a_baseline_takes_the_place_of_a_baseline_and_of_nothing_else() {
    let place = Place::with(SHORT);
    let baselines = place.path("results/baselines");
    fs::create_dir_all(baselines.join("folder/001")).expect("a folder");
    for file in ["file", "folder/notes.txt", "main.earlier.partial"] {
        fs::write(baselines.join(file), "mine").expect("a file");
    }
    std::os::unix::fs::symlink("folder", baselines.join("link")).expect("a link");
    for (name, why) in
        [("file", "it is not a folder"), ("folder", "it is no baseline: it has notes.txt in it"), ("link", "it is a symbolic link")]
    {
        place.assert_refuses(&["run", "test.toml", "--save-baseline", name, "--out", "run"], 2, &[why]);
        assert!(!place.path("run").exists(), "{name}");
    }
    // One that cannot be written leaves nothing.
    let ended = place.run(&["run", "test.toml", "--save-baseline", "main", "--out", "run", "--quiet", "--allow-inconclusive"]);
    ended.assert_code(1);
    assert!(ended.err.contains("cannot remove results/baselines/main.earlier.partial"), "{}", ended.err);
    let mut left: Vec<_> = fs::read_dir(&baselines).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    left.sort();
    assert_eq!(left, ["file", "folder", "link", "main.earlier.partial"]);
}

/// Both are run in turns; what differs is the server alone.
#[test]
#[ignore = "long: scripts/test"]
fn another_server_is_run_in_turns_and_compared() {
    let clients = "\n[clients.web]\ncount = 10\narrive = { over = \"300ms\" }\n";
    let expect = "duration = \"1s\"\nexpect = [\"attempts{outcome=opened} count == 10\"]\n";
    let order = |place: &Place| {
        let started = |run: &str| place.json(&format!("out/{run}/manifest.json"))["started"].as_str().expect("a time").to_owned();
        let mut runs = ["base/1", "new/1", "new/2", "base/2"].map(|run| (started(run), run));
        runs.sort();
        runs.map(|(_, run)| run)
    };
    let turns = ["run", "test.toml", "--repeat", "2", "--out", "out", "--allow-inconclusive", "--against"];
    // By a command line.
    let place = Place::with(&format!("{expect}{}{clients}", command_target("{serve}", LONG)));
    let line = command_target("exec {serve}", LONG);
    let line = line.lines().find_map(|line| line.strip_prefix("run = ")).expect("a line").trim_matches('"');
    let line = format!("sh -c '{line}'");
    let ended = place.run(&[&turns[..], &[&line]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("what is tested differs: target.command.run"), "{}", ended.out);
    assert_eq!(order(&place), ["base/1", "new/1", "new/2", "base/2"]);
    // By an address; servers that are there already.
    let servers = Place::new();
    let [before, after] = [(); 2].map(|()| servers.start(&["serve", "--listen", "127.0.0.1:0"]));
    let address = |server: &super::Started<'_>| {
        let line =
            || server.out().lines().find_map(|line| line.strip_prefix("listening on ")?.split_whitespace().next().map(str::to_owned));
        until("it listens", || line().is_some());
        format!("{}/echo", line().expect("it listens").trim_end_matches(','))
    };
    let (old, new) = (address(&before), address(&after));
    let place = Place::with(&format!("{expect}[target.url]\naddress = \"{new}\"\n{clients}"));
    let ended = place.run(&[&turns[..], &[&old]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let unwrapped = ended.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(unwrapped.contains(&format!("target.url.address: \"{old}\" → \"{new}\"")), "{}", ended.out);
    assert_eq!(order(&place), ["base/1", "new/1", "new/2", "base/2"]);
    // One that is gone is told, and nothing is called the same.
    [&before, &after].iter().for_each(|server| server.signal("TERM"));
    drop((before.end(), after.end()));
    let gone = place.run(&["run", "test.toml", "--out", "gone", "--against", &old]);
    assert!(gone.code == Some(1) && gone.err.contains("refused"), "{gone:?}");
}
