//! Load over time on real sockets: clients that come and go in stages, over several processes, and arrivals from a file.

use super::Place;
use std::fs;

/// Open clients by interval, at its end.
fn open(place: &Place) -> Vec<(u64, u64)> {
    let mut rows = csv::Reader::from_path(place.path("run/timeline.csv")).expect("a timeline");
    let headers = rows.headers().expect("a header").clone();
    let column = |name: &str| headers.iter().position(|header| header == name).unwrap_or_else(|| panic!("{name} in {headers:?}"));
    let (at, cohort, open) = (column("offset_ms"), column("cohort"), column("open"));
    let number = |row: &csv::StringRecord, place: usize| row[place].parse().expect("a number");
    let rows = rows.records().map(|row| row.expect("a row"));
    rows.filter(|row| &row[cohort] == "web").map(|row| (number(&row, at), number(&row, open))).collect()
}

#[test]
#[ignore = "long: scripts/test"]
fn clients_come_and_go_in_stages_over_several_processes() {
    let place = Place::with(
        "duration = \"6s\"\nexpect = [\"clients_lost count == 0\"]\n\
         [clients.web]\nreconnect = \"none\"\n\
         arrive = { stages = [ { to = 60, over = \"1s\" }, { hold = \"1s\" }, { to = 10 }, { hold = \"1s\" }, { to = 60, over = \"1s\" }, { to = 0, over = \"1s\" } ] }\n\
         [clients.late]\nafter = \"2s\"\narrive = { per_second = [5, 0, 5] }\n",
    );
    let ended = place.run(&["run", "test.toml", "--workers", "2", "--out", "run"]);
    assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
    let summary = place.json("run/summary.json");
    let of =
        |cohort: &str| (summary["cohorts"][cohort]["clients"]["planned"].clone(), summary["cohorts"][cohort]["attempts"]["opened"].clone());
    assert_eq!(of("web"), (60.into(), 110.into()), "60, and 50 of them once more");
    assert_eq!(of("late"), (10.into(), 10.into()));
    assert_eq!((&summary["clients"]["open_at_end"], &summary["close_codes"]["client"]["1000"]), (&10.into(), &110.into()));
    let open = open(&place);
    let most = |from: u64, to: u64| open.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, open)| *open).max();
    assert_eq!((most(1_200, 1_900), most(2_200, 2_900), most(0, 6_000)), (Some(60), Some(10), Some(60)), "{open:?}");
}

#[test]
#[ignore = "long: scripts/test"]
fn arrivals_of_a_file_are_stored_with_the_run_and_scale() {
    let place = Place::with(
        "duration = \"4s\"\n[clients.web]\narrive = { file = \"arrivals.csv\" }\n[clients.web.traffic.echo.rate]\nstages = [ { to = \"20/s\", over = \"2s\" }, { to = \"0/s\" } ]\n",
    );
    place.write("arrivals.csv", "second,arrivals\n1700000000,3\n1700000002,9\n");
    let ended = place.run(&["run", "test.toml", "--clients", "24", "--out", "run"]);
    assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
    let stored = fs::read_to_string(place.path("run/scenario.toml")).expect("the scenario");
    assert!(stored.contains("per_second = [3, 0, 9]") && !stored.contains("arrivals.csv"), "{stored}");
    let open = open(&place);
    // Of 24, six come evenly within the first second and eighteen within the third. At the end of an interval of 100 ms nobody is there before
    // its time, and everybody half a second after it.
    let due: Vec<u64> = (0..6).map(|i| i * 1_000 / 6).chain((0..18).map(|i| 2_000 + i * 1_000 / 18)).collect();
    let come = |by: u64| due.iter().filter(|due| **due <= by).count() as u64;
    assert_eq!((open[1].0 - open[0].0, come(1_999), come(4_000)), (100, 6, 24), "{open:?}");
    let exact = |(at, open): &(u64, u64)| (come((at + 100).saturating_sub(500))..=come(at + 100)).contains(open);
    assert!(open.len() >= 39 && open.iter().all(exact), "{open:?}");
    // Six clients talk by the ramp: 20 messages each up to 2 s, less what was due before they came; nothing after.
    let due = place.json("run/summary.json")["messages"]["due"].as_u64().expect("a number");
    assert!((100..=150).contains(&due), "{due}");
    place.write("arrivals.csv", "second,arrivals\n2,3\n1,9\n");
    place.assert_refuses(&["validate", "test.toml"], 2, &["arrivals.csv cannot be used", "line 3: seconds go back"]);
    place.write("arrivals.csv", "second,arrivals\n2,3\nword-of-a-file,9\n");
    let refused = place.run(&["validate", "test.toml"]);
    assert!(refused.err.contains("line 3: this is not a whole number") && !refused.err.contains("word-of-a-file"), "{refused:?}");
    place.write("test.toml", "[clients.web]\narrive = { per_second = [0, 0] }\n[target.url]\naddress = \"ws://192.0.2.1/\"\n");
    place.assert_refuses(&["run", "test.toml"], 2, &["nobody arrives"]);
    place.write("test.toml", "[clients.web]\narrive = { stages = [ { hold = \"1s\" } ] }\n");
    place.assert_refuses(&["validate", "test.toml"], 2, &["never rise above 0"]);
}

/// What `learn` wrote; what stands beside it holds, and the run folder needs it no more.
#[test]
fn a_strategy_comes_from_a_file() {
    let place = Place::with(
        "duration = \"20s\"\n[target.embedded]\n[clients.web]\ncount = 5\nreconnect = { file = \"learned.toml\", max_retries = 3 }\n\
         [[faults]]\nat = \"2s\"\ninject = { server_crash = { down = \"5s\" } }\n",
    );
    place.write("learned.toml", "reconnect = { fixed = { delay = \"1s\" }, max_retries = 9 }\n");
    place.run(&["simulate", "test.toml", "--out", "run"]).assert_code(0);
    assert_eq!(place.json("run/summary.json")["reconnect"]["gave_up"], 5, "after three attempts of a second each");
    fs::remove_file(place.path("learned.toml")).expect("a file");
    place.run(&["check", "run"]).assert_code(0);
    place.assert_refuses(&["validate", "test.toml"], 2, &["cannot read learned.toml"]);
    place.write("learned.toml", "reconect = 1\n");
    place.assert_refuses(&["validate", "test.toml"], 2, &["learned.toml has no `reconnect`"]);
}

/// What stands beside a file that names a preset holds, too, or is refused.
#[test]
fn a_strategy_from_a_file_that_names_a_preset_takes_what_stands_beside_it() {
    let beside = |beside: &str| {
        format!(
            "duration = \"20s\"\n[target.embedded]\n[clients.web]\ncount = 5\nreconnect = {{ file = \"learned.toml\"{beside} }}\n\
             [[faults]]\nat = \"2s\"\ninject = {{ server_crash = {{ down = \"10s\" }} }}\n"
        )
    };
    let place = Place::with(&beside(", max_retries = 2"));
    place.write("learned.toml", "reconnect = \"fixed-3s\"\n");
    place.run(&["simulate", "test.toml", "--out", "run"]).assert_code(0);
    assert_eq!(place.json("run/summary.json")["reconnect"]["gave_up"], 5, "after two attempts of three seconds each");
    place.write("test.toml", &beside(""));
    place.run(&["simulate", "test.toml", "--out", "without"]).assert_code(0);
    assert_eq!(place.json("without/summary.json")["reconnect"]["gave_up"], 0);
    place.write("test.toml", &beside(", fixed = { delay = \"1s\" }"));
    place.assert_refuses(&["validate", "test.toml"], 2, &["conflicting keys"]);
    place.write("test.toml", &beside(", max_retrys = 2"));
    place.assert_refuses(&["validate", "test.toml"], 2, &["max_retrys"]);
}
