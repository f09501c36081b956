//! Worker processes and several processes of one server: the same run, whole, and nothing left of it.

use super::{LISTENING, Place, SHORT, at_once, until};
use std::fs;

/// The process ids of a place's workers or servers: those whose command line has this word.
fn processes(place: &Place, word: &str) -> Vec<u32> {
    let named = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.split('\0').any(|part| part == word));
    place.processes().into_iter().filter(named).collect()
}

fn send(signal: &str, pid: u32) {
    let status = std::process::Command::new("kill").args(["-s", signal, &pid.to_string()]).status();
    assert!(status.expect("kill is there").success());
}

#[test]
#[ignore = "long: scripts/test"]
fn a_crash_storm_in_several_processes_is_one_run() {
    let settings = [("2", "1"), ("1", "3"), ("3", "2")];
    at_once(settings, |(workers, processes)| {
        let place = Place::with(&SHORT.replace("[target.embedded]", &format!("[target.embedded]\nprocesses = {processes}")));
        let ended = place.run(&["run", "test.toml", "--clients", "200", "--workers", workers, "--out", "run"]);
        let summary = place.json("run/summary.json");
        // Saturated is an honest answer of a busy machine; what was counted holds all the same.
        assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
        assert_eq!(summary["status"], "completed");
        assert_eq!((&summary["clients"]["planned"], &summary["clients"]["open_at_end"]), (&200.into(), &200.into()), "{ended:?}");
        assert_eq!((&summary["connections"]["opened"], &summary["connections"]["closed"]), (&400.into(), &200.into()));
        assert_eq!(summary["close_codes"]["client"]["1006"], 200);
        let fault = &summary["faults"][0];
        assert_eq!(
            (&fault["fired"], &fault["selected"], &fault["injected"], &fault["recovered"]),
            (&1.into(), &200.into(), &200.into(), &200.into())
        );
        assert_eq!(summary["generator"]["workers"].to_string(), workers);
        let left: Vec<_> = fs::read_dir(place.path("run")).expect("the folder").map(|entry| entry.expect("an entry").file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("worker")), "{left:?}");
        let events = fs::read_to_string(place.path("run/events.csv")).expect("events");
        for (what, count) in [("fired", 1), ("what=down", 1), ("what=listening", 1)] {
            assert_eq!(events.matches(what).count(), count, "{what}");
        }
    });
}

#[test]
#[ignore = "long: scripts/test"]
fn greetings_are_counted_in_every_worker() {
    let place = Place::with(&SHORT.replace("[clients.web]", "[clients.web]\nready = { message = \"in\" }").replace("processes = 1", ""));
    let ended = place.run(&["run", "test.toml", "--clients", "60", "--workers", "3", "--out", "run"]);
    let summary = place.json("run/summary.json");
    assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
    assert_eq!((&summary["messages"]["greetings"], &summary["reconnect"]["recovered"]), (&120.into(), &60.into()), "{ended:?}");
}

/// Firings, with what they selected, and reverts, by fault: what `events.csv` tells of them, in the order of the text.
fn firings(place: &Place) -> Vec<String> {
    let mut events = csv::Reader::from_path(place.path("run/events.csv")).expect("events");
    let told = |row: &csv::StringRecord| ["fired", "spent", "reverted", "not_carried_out"].contains(&&row[1]);
    let rows = events.records().map(|row| row.expect("a row")).filter(told);
    // How many were open when it fired depends on how fast they came back.
    let detail = |row: &csv::StringRecord| row[5].split(" eligible=").next().unwrap_or_default().to_owned();
    let mut all: Vec<_> = rows.map(|row| format!("{} {} {}", &row[4], &row[1], detail(&row))).collect();
    all.sort();
    all
}

#[test]
#[ignore = "long: scripts/test"]
fn each_firing_is_told_once_however_many_processes_have_the_clients() {
    let faults = r#"[[faults]]
name = "crash"
at = "500ms"
inject = { server_crash = { instance = 1, down = "100ms" } }
[[faults]]
name = "cut"
at = "700ms"
every = "100ms"
until = "1200ms"
side = "client"
select = { count = 2 }
first_n = 7
inject = { drop_rst = {} }
[[faults]]
name = "silent"
at = "450ms"
for = "300ms"
select = { nth = 4 }
inject = { stop_reading = {} }
[[faults]]
name = "shut"
at = "500ms"
every = "200ms"
until = "1s"
for = "50ms"
inject = { connect_refuse = {} }
[[faults]]
name = "late"
at = "500ms"
every = "100ms"
until = "1s"
for = "50ms"
first_n = 1000
inject = { upgrade_delay = { delay = "1ms" } }
"#;
    let scenario = SHORT.replace("[target.embedded]", "[target.embedded]\ninstances = 3");
    let own = scenario.find("[[faults]]").expect("there is one");
    let scenario = format!("{}{faults}", &scenario[..own]);
    let places = ["1", "2", "3"].map(|workers| (workers, Place::with(&scenario)));
    at_once(&places, |(workers, place)| {
        let ended = place.run(&["run", "test.toml", "--clients", "60", "--workers", workers, "--set", "expect=[]", "--out", "run"]);
        assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
    });
    let [one, two, three] = places.map(|(_, place)| {
        let summary = place.json("run/summary.json");
        let faults = summary["faults"].as_array().expect("a list").clone();
        (firings(&place), faults.iter().map(|fault| (fault["id"].clone(), fault["fired"].clone())).collect::<Vec<_>>())
    });
    assert!(one.0.iter().any(|row| row.starts_with("cut spent")), "{one:?}");
    assert_eq!(one, two);
    assert_eq!(one, three);
}

/// Waits that the policy drew, by client, in the order in which they were drawn: the first of each come from the seed alone.
fn first_waits(place: &Place) -> Vec<(u32, String)> {
    let mut events = csv::Reader::from_path(place.path("run/events.csv")).expect("events");
    let mut seen = std::collections::BTreeMap::new();
    for row in events.records().map(|row| row.expect("a row")).filter(|row| &row[1] == "waiting") {
        seen.entry(row[2].parse().expect("a client")).or_insert_with(|| row[5].to_owned());
    }
    seen.into_iter().collect()
}

#[test]
#[ignore = "long: scripts/test"]
fn one_worker_or_three_plan_the_same() {
    let scenario =
        SHORT.replace(r#"{ fixed = { delay = "200ms" } }"#, r#"{ exponential = { base = "100ms", cap = "300ms", jitter = "full" } }"#);
    let places = ["1", "3"].map(|workers| (workers, Place::with(&scenario)));
    at_once(&places, |(workers, place)| {
        let ended = place.run(&["run", "test.toml", "--clients", "60", "--workers", workers, "--out", "run"]);
        assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
    });
    let [one, three] = places.map(|(_, place)| first_waits(&place));
    assert_eq!(one.len(), 60);
    assert_eq!(one, three);
}

#[test]
fn a_worker_that_is_killed_makes_the_run_inconclusive_and_is_named() {
    let place = Place::with(LISTENING);
    let run = place.start(&["run", "test.toml", "--workers", "2", "--out", "run"]);
    run.until_it_runs();
    let workers = processes(&place, "__worker");
    assert_eq!(workers.len(), 2);
    send("KILL", workers[0]);
    let ended = run.end();
    ended.assert_code(3);
    let summary = place.json("run/summary.json");
    let lost = summary["generator"]["lost"][0].as_str().expect("one is lost");
    assert!(lost.contains(&format!("process {}: killed by SIGKILL", workers[0])) && lost.contains("of 2 was lost"), "{lost}");
    assert_eq!(summary["verdict"]["reasons"][0], lost);
    assert!(summary["connections"]["opened"].as_u64().is_some_and(|opened| opened >= 1), "the books of the other are kept");
    place.run(&["check", "run"]).assert_code(3);
}

#[test]
#[ignore = "long: scripts/test"]
fn a_worker_that_stands_still_is_lost_long_before_the_end() {
    let place = Place::with(&LISTENING.replace("30s", "1h"));
    let run = place.start(&["run", "test.toml", "--workers", "2", "--out", "run"]);
    run.until_it_runs();
    send("STOP", processes(&place, "__worker")[1]);
    run.end().assert_code(3);
    let summary = place.json("run/summary.json");
    let lost = summary["generator"]["lost"][0].as_str().expect("one is lost");
    assert!(lost.contains("of 2 was lost: it sent nothing for"), "{lost}");
    assert_eq!(summary["verdict"]["reasons"][0], lost);
}

#[test]
#[ignore = "long: scripts/test"]
fn a_worker_that_stands_still_near_the_end_is_named_soon_after_it() {
    let place = Place::with(&LISTENING.replace("30s", "5s"));
    let run = place.start(&["run", "test.toml", "--workers", "3", "--out", "run"]);
    run.until_it_runs();
    until("it is not near the end", || run.err().contains("4."));
    let workers = processes(&place, "__worker");
    workers[1..].iter().for_each(|worker| send("STOP", *worker));
    let begun = std::time::Instant::now();
    run.end().assert_code(3);
    assert!(begun.elapsed() < std::time::Duration::from_secs(25), "{:?}", begun.elapsed());
    let lost = &place.json("run/summary.json")["generator"]["lost"];
    assert_eq!(lost.as_array().map(Vec::len), Some(2), "{lost}");
}

#[test]
fn all_workers_that_are_lost_are_named_with_their_clients() {
    let place = Place::with(LISTENING);
    let run = place.start(&["run", "test.toml", "--workers", "3", "--out", "run"]);
    run.until_it_runs();
    let stat = fs::read_to_string(format!("/proc/{}/stat", processes(&place, "__worker")[0])).expect("it lives");
    let guard = stat.rsplit_once(") ").expect("a stat line").1.split(' ').nth(1).expect("a parent").parse().expect("a number");
    send("KILL", guard);
    run.end().assert_code(3);
    let lost = place.json("run/summary.json")["generator"]["lost"].clone();
    let lost: Vec<_> = lost.as_array().expect("a list").iter().map(|text| text.as_str().expect("a text")).collect();
    assert_eq!(lost.len(), 3, "{lost:?}");
    for (worker, clients) in [(1, 4), (2, 3), (3, 3)] {
        let of = lost[worker - 1];
        let told = format!("its {clients} clients are missing from all results");
        assert!(of.starts_with(&format!("worker {worker} of 3 was lost")) && of.ends_with(&told), "{of}");
    }
}

#[test]
#[ignore = "long: scripts/test"]
fn a_fault_on_a_process_does_not_wait_for_a_worker_that_stands_still() {
    let crash = "[[faults]]\nname = \"crash\"\nat = \"6s\"\ninject = { server_crash = { down = \"200ms\" } }\n";
    let cut = "[[faults]]\nname = \"cut\"\nat = \"4s\"\nside = \"client\"\nselect = { count = 2 }\ninject = { drop_rst = {} }\n";
    let place = Place::with(&format!("{LISTENING}reconnect = {{ fixed = {{ delay = \"100ms\" }} }}\n{crash}{cut}"));
    let run = place.start(&["run", "test.toml", "--workers", "2", "--out", "run"]);
    run.until_it_runs();
    until("not all are open", || run.err().contains("open 10/10"));
    send("STOP", processes(&place, "__worker")[1]);
    run.end().assert_code(3);
    let events = fs::read_to_string(place.path("run/events.csv")).expect("events");
    let rows = |what: &str, fault: &str| events.lines().filter(|line| line.contains(what) && line.contains(fault)).count();
    assert!(rows("not_carried_out", "crash") >= 1 && rows("not_carried_out", ",cut,") == 1, "{events}");
    let down = events.lines().find(|line| line.contains("what=down")).expect("it was carried out");
    let at: u64 = down.split(',').next().expect("an offset").parse().expect("a number");
    assert!((6_000_000..9_000_000).contains(&at), "{down}");
    assert!(events.lines().any(|line| line.contains(",fired,") && line.contains(",cut,") && line.contains("selected=2")), "{events}");
}

#[test]
fn kill_9_leaves_no_worker_and_no_server() {
    let place = Place::with(&LISTENING.replace("[target.embedded]", "[target.embedded]\nprocesses = 2"));
    let run = place.start(&["run", "test.toml", "--workers", "2", "--out", "run"]);
    run.until_it_runs();
    assert_eq!((processes(&place, "__worker").len(), processes(&place, "__server").len()), (2, 2));
    run.signal("KILL");
    assert_eq!(run.end().code, None);
}

#[test]
fn a_signal_stops_all_workers_and_their_books_are_kept() {
    let place = Place::with(LISTENING);
    let run = place.start(&["run", "test.toml", "--workers", "3", "--out", "run"]);
    run.until_it_runs();
    until("not all are open", || run.err().contains("open 10/10"));
    run.signal("INT");
    run.end().assert_code(130);
    let summary = place.json("run/summary.json");
    assert_eq!((&summary["status"], &summary["connections"]["opened"]), (&"aborted".into(), &10.into()));
    assert_eq!(summary["generator"]["lost"].as_array().map(Vec::len), Some(0));
}

/// Every mechanism that crosses processes: chosen by share, count and n-th, on either side, new connections and attempts.
const MIXED: &str = r#"
duration = "4s"
[target.embedded]
processes = 2
[clients.web]
count     = 120
arrive    = { over = "300ms" }
reconnect = { fixed = { delay = "100ms" } }
[[faults]]
name   = "share"
at     = "1s"
side   = "client"
select = { percent = "25%" }
inject = { drop_rst = {} }
[[faults]]
name   = "count"
at     = "1500ms"
side   = "server"
select = { count = 10 }
inject = { close_code = { code = 4001 } }
[[faults]]
name   = "nth"
at     = "2s"
side   = "server"
select = { nth = 10 }
inject = { close_code = { code = 4002 } }
[[faults]]
name   = "graceful"
at     = "2500ms"
inject = { server_graceful = { code = 1012, grace = "1s", down = "200ms" } }
"#;

#[test]
#[ignore = "long: scripts/test"]
fn faults_reach_as_many_connections_as_in_one_process() {
    at_once(["1", "3"], |workers| {
        let place = Place::with(MIXED);
        // Without expectations a busy machine makes it inconclusive; what is counted here is right all the same.
        let ended = place.run(&["run", "test.toml", "--workers", workers, "--out", "run", "--quiet", "--allow-inconclusive"]);
        ended.assert_code(0);
        let summary = place.json("run/summary.json");
        let injected: Vec<_> = summary["faults"].as_array().expect("faults").iter().map(|fault| fault["injected"].as_u64()).collect();
        assert_eq!(injected, [Some(30), Some(10), Some(12), Some(120)], "{}", summary["faults"]);
        let codes = &summary["close_codes"];
        assert_eq!((&codes["client"]["4001"], &codes["server"]["4001"]), (&10.into(), &10.into()), "{codes}");
        assert_eq!((&codes["client"]["1012"], &codes["client"]["1006"]), (&120.into(), &30.into()), "{codes}");
    });
}

/// Bounds that fixed parts of them would miss or exceed: a cohort that is with few workers, new connections, attempts on either side.
const BOUNDED: &str = r#"
duration = "4s"
[target.embedded]
instances = 2
[clients.few]
count     = 2
arrive    = { over = "100ms" }
reconnect = { fixed = { delay = "100ms" } }
[clients.many]
count     = 98
arrive    = { over = "300ms" }
reconnect = { fixed = { delay = "100ms" } }
[[faults]]
name   = "few"
at     = "600ms"
every  = "300ms"
until  = "1400ms"
side   = "client"
select = { cohort = "few", count = 2 }
inject = { drop_rst = {} }
[[faults]]
name    = "first"
at      = "1500ms"
every   = "300ms"
until   = "2500ms"
side    = "client"
first_n = 7
select  = { cohort = "few" }
inject  = { drop_rst = {} }
[[faults]]
name    = "new"
at      = "1550ms"
every   = "500ms"
until   = "3s"
side    = "server"
new     = true
first_n = 9
select  = { count = 5, cohort = "many" }
inject  = { close_code = { code = 4001 } }
[[faults]]
name   = "all"
at     = "3s"
inject = { close_code = { code = 4002 } }
[[faults]]
name    = "attempts"
at      = "2900ms"
for     = "900ms"
side    = "client"
select  = { count = 11 }
inject  = { client_bad_request = { what = "no_key" } }
[[faults]]
name   = "share"
at     = "2900ms"
for    = "900ms"
select = { percent = "30%" }
inject = { upgrade_status = { status = 503 } }
"#;

#[test]
#[ignore = "long: scripts/test"]
fn bounds_of_faults_are_those_of_the_run_whatever_the_number_of_workers() {
    at_once(["1", "3"], |workers| {
        let place = Place::with(BOUNDED);
        let ended = place.run(&["run", "test.toml", "--workers", workers, "--out", "run", "--quiet", "--allow-inconclusive"]);
        ended.assert_code(0);
        let summary = place.json("run/summary.json");
        let hits: Vec<_> = summary["faults"].as_array().expect("faults").iter().map(|fault| fault["injected"].as_u64()).collect();
        assert_eq!(hits[..3], [Some(6), Some(7), Some(9)], "{workers}: {}", summary["faults"]);
        assert_eq!(hits[4], Some(11), "{workers}: {}", summary["faults"]);
        let notices = summary["notices"].to_string();
        assert!(!notices.contains("fixed part") && !notices.contains("not carried out"), "{notices}");
        // Of the attempts that the server saw while it was active; it looks at the key last.
        let mut events = csv::Reader::from_path(place.path("run/events.csv")).expect("events");
        let rows: Vec<_> = events.records().map(|row| row.expect("a row")).collect();
        let within = |row: &&csv::StringRecord| (2_900_000..3_800_000).contains(&row[0].parse::<u64>().expect("an offset"));
        let count = |what: &str| rows.iter().filter(within).filter(|row| &row[1] == what).count() as f64;
        let (seen, hit) = (count("opened") + count("attempt_failed"), hits[5].expect("a number") as f64);
        assert!(seen >= 100.0 && (hit - seen * 0.3).abs() <= 1.0, "{workers}: {hit} of {seen}");
    });
}

#[test]
#[ignore = "long: scripts/test"]
fn a_signal_does_not_wait_for_a_worker_that_stands_still() {
    let place = Place::with(LISTENING);
    let run = place.start(&["run", "test.toml", "--workers", "2", "--out", "run"]);
    run.until_it_runs();
    until("not all are open", || run.err().contains("open 10/10"));
    send("STOP", processes(&place, "__worker")[1]);
    run.signal("INT");
    let begun = std::time::Instant::now();
    run.end().assert_code(130);
    assert!(begun.elapsed() < std::time::Duration::from_secs(7), "{:?}", begun.elapsed());
    let lost = place.json("run/summary.json")["generator"]["lost"][0].clone();
    assert!(lost.as_str().is_some_and(|lost| lost.contains("it sent nothing for 2 s")), "{lost}");
}

#[test]
fn a_worker_that_is_killed_before_the_run_begins_is_named() {
    let place = Place::with(LISTENING);
    let run = place.start(&["run", "test.toml", "--workers", "2", "--out", "run"]);
    until("no worker was started", || processes(&place, "__worker").len() == 2);
    send("KILL", processes(&place, "__worker")[0]);
    let begun = std::time::Instant::now();
    let ended = run.end();
    // Where it was killed after the run began, its clients are lost.
    assert!(matches!(ended.code, Some(1 | 3)), "{ended:?}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(ended.out.contains("of 2 was lost") || ended.err.contains("of 2 did not get ready: process"), "{ended:?}");
}
