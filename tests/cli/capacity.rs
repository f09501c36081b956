//! `closestorm capacity` as a user meets it: what it refuses, what it finds, and what is left when it is stopped.

use super::{LISTENING, Place, SHORT, exists, until};

/// Runs of half a second that always hold, and cost the machine nothing.
const QUICK: &str = "duration = \"400ms\"\nexpect = [\"clients_lost count == 0\"]\n[target.embedded]\n[clients.web]\ncount = 4\narrive = { at_once = true }\n";

#[test]
fn a_wrong_search_is_a_usage_error_that_says_what_is_right() {
    let place = Place::with(SHORT);
    place.write("silent.toml", LISTENING);
    let table: [(&[&str], &[&str]); 9] = [
        (&["silent.toml", "--vary", "clients=1..2"], &["expects nothing", "all expectations hold", "--set 'expect="]),
        (&["test.toml", "--vary", "clients"], &["no `=`", "clients=100..20000"]),
        (&["test.toml", "--vary", "clients=5..2"], &["not below"]),
        (&["test.toml", "--vary", "clients=1..2", "--vary", "clients=1..2"], &["given twice"]),
        (&["test.toml", "--vary", "a=1..2", "--vary", "b=1..2", "--vary", "c=1..2"], &["once or twice"]),
        (&["test.toml", "--vary", "clients=1..2", "--clients", "5"], &["leave one out"]),
        (&["test.toml", "--vary", "nope=1..2"], &["unknown key `nope`"]),
        (&["test.toml", "--vary", "clients=1..2", "--precision", "80%"], &["\"0.1%\" to \"50%\""]),
        (&["test.toml"], &["--vary"]),
    ];
    for (args, parts) in table {
        place.assert_refuses(&[&["capacity"], args].concat(), 2, parts);
    }
}

#[test]
fn the_whole_range_may_hold_and_the_report_is_made_again_from_files() {
    let place = Place::with(QUICK);
    let ended = place.run(&["capacity", "test.toml", "--vary", "clients=2..8", "--out", "found"]);
    ended.assert_code(0);
    assert!(ended.out.contains("at least 8 clients") && ended.out.contains("✓ PASS"), "{ended:?}");
    let capacity = place.json("found/capacity.json");
    assert_eq!((&capacity["limits"][0]["limit"], &capacity["limits"][0]["ended"]), (&8.0.into(), &"top".into()));
    let step = place.json("found/steps/1.json");
    assert_eq!((&step["clients"]["planned"], &step["command"]), (&2.into(), &"closestorm run test.toml --clients 2".into()));
    for name in ["report.html", "report.md", "capacity.svg"] {
        let before = std::fs::read(place.path("found").join(name)).unwrap();
        std::fs::remove_file(place.path("found").join(name)).unwrap();
        place.run(&["report", "found"]).assert_code(0);
        assert!(before == std::fs::read(place.path("found").join(name)).unwrap(), "{name}");
    }
}

#[test]
fn two_parameters_give_a_limit_for_each_value_of_the_first() {
    // 99 % of nothing arrives in time where the server rejects what is above its limit of connections.
    let place = Place::with(&QUICK.replace("clients_lost count == 0", "attempts{outcome=rejected} count == 0"));
    let args = [
        "capacity",
        "test.toml",
        "--vary",
        "target.embedded.max_connections=2..4",
        "--vary",
        "clients=1..6",
        "--levels",
        "2",
        "--repeats",
        "1",
        "--format",
        "json",
        "--out",
        "map",
    ];
    let ended = place.run(&args);
    ended.assert_code(0);
    let limits: Vec<_> =
        ended.json()["limits"].as_array().unwrap().iter().map(|limit| [limit["level"].as_f64(), limit["limit"].as_f64()]).collect();
    assert_eq!(limits, [[Some(2.0), Some(2.0)], [Some(4.0), Some(4.0)]]);
    assert!(exists(&place.path("map/capacity.png")));
}

#[test]
fn where_a_run_cannot_begin_the_result_is_a_lower_bound() {
    let place = Place::with(QUICK);
    // So few files that dividing the clients does not help: the server's process alone cannot take more.
    let line = "ulimit -n 72; exec $C capacity test.toml --vary clients=2..1000 --repeats 1 --precision 25% --out bound";
    let ended = place.shell(line).end();
    ended.assert_code(3);
    let limit = &place.json("bound/capacity.json")["limits"][0];
    let found = limit["limit"].as_f64().unwrap();
    assert!((6.0..=8.0).contains(&found) && limit["ended"] == "impossible", "{limit}");
    assert!(limit["broke"].as_str().unwrap().contains("may open 72 files"), "{limit}");
}

#[test]
fn a_signal_keeps_what_was_found() {
    let place = Place::with(QUICK);
    let search = place.start(&["capacity", "test.toml", "--vary", "clients=1..4000", "--steps", "200", "--out", "found"]);
    until("no step is over", || exists(&place.path("found.partial/steps/2.json")));
    search.signal("INT");
    search.end().assert_code(130);
    let capacity = place.json("found/capacity.json");
    assert_eq!((&capacity["status"], &capacity["verdict"]["result"]), (&"aborted".into(), &"inconclusive".into()));
    assert!(capacity["limits"][0]["limit"].as_f64() >= Some(2.0), "{capacity}");
    assert!(exists(&place.path("found/report.html")) && exists(&place.path("found/steps.csv")));
}
