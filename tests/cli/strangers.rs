//! Scenarios that somebody else wrote: what they name is no device and no pipe, errors show nothing of other files, and their size has a bound.

use super::Place;
use std::fmt::Write as _;

/// A file of this machine that is none of the scenario's.
const PRIVATE: &str = "root:$6$verysecret:19000:0:99999:7:::\n[section]\nduration = \"hidden-value\"\n";

#[test]
fn a_base_is_a_regular_file_and_errors_show_nothing_of_it() {
    let place = Place::new();
    place.write("private", PRIVATE);
    place.write("almost.toml", "unknown_secret_key = \"hidden-value\"\n");
    place.shell("mkfifo pipe").end().assert_code(0);
    for (base, why) in [
        ("/dev/zero", "not a regular file"),
        ("/dev/stdin", ""),
        ("pipe", "not a regular file"),
        (".", "not a regular file"),
        ("private", "private:1:"),
        ("almost.toml", "almost.toml:1:1"),
    ] {
        place.write("test.toml", &format!("extends = \"{base}\"\n[target.embedded]\n[clients.web]\ncount = 1\n"));
        let ended = place.run(&["validate", "test.toml"]);
        ended.assert_code(2);
        assert!(ended.err.contains(why), "{base}: {}", ended.err);
        for hidden in ["verysecret", "hidden-value", "unknown_secret_key", "section"] {
            assert!(!ended.err.contains(hidden), "{base}: {}", ended.err);
        }
    }
}

#[test]
fn a_certificate_is_a_regular_file_and_errors_show_nothing_of_it() {
    let place = Place::new();
    place.write("private", PRIVATE);
    place.shell("mkfifo pipe").end().assert_code(0);
    for (ca, why) in [("/dev/zero", "not a regular file"), ("pipe", "not a regular file"), ("private", "there is none")] {
        let target = format!("[target.url]\naddress = \"wss://127.0.0.1:9/\"\nca = \"{ca}\"\n");
        place.write("test.toml", &format!("duration = \"1s\"\n{target}[clients.web]\ncount = 1\n"));
        let ended = place.run(&["run", "test.toml"]);
        ended.assert_code(1);
        assert!(ended.err.contains(why) && !ended.err.contains("verysecret"), "{ca}: {}", ended.err);
    }
}

#[test]
fn a_scenario_has_at_most_a_thousand_cohorts_and_faults_and_fifty_errors_are_shown() {
    let place = Place::new();
    let scenario = |cohorts: usize, faults: usize| {
        let mut text = "duration = \"2s\"\n[target.embedded]\n".to_owned();
        (0..cohorts).for_each(|n| writeln!(text, "[clients.c{n}]\ncount = 1").expect("a String"));
        (0..faults).for_each(|_| writeln!(text, "[[faults]]\nat = \"1s\"\ninject = {{ drop_rst = {{}} }}").expect("a String"));
        text
    };
    place.write("most.toml", &scenario(1000, 1000));
    place.run(&["validate", "most.toml"]).assert_code(0);
    for (cohorts, faults, why) in [(1001, 1, "too many cohorts"), (1, 1001, "too many faults")] {
        place.write("more.toml", &scenario(cohorts, faults));
        place.assert_refuses(&["validate", "more.toml"], 2, &[why, "found 1001", "at most 1000"]);
    }
    place.write("wrong.toml", &scenario(90, 1).replace("count = 1", "cuont = 1"));
    let ended = place.run(&["validate", "wrong.toml"]);
    ended.assert_code(2);
    assert_eq!(ended.err.matches("error: ").count(), 50, "{}", ended.err);
    assert!(ended.err.contains("more errors are not shown"), "{}", ended.err);
}
