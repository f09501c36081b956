//! A panic of our own, in whatever task: what was measured is written, nobody takes it for a pass, the user is told, and no process is left.

use super::{Place, at_once};
use std::process::Command;

const RUN: &str = "duration = \"2s\"\nexpect = [\"attempts count >= 1\"]\n[target.embedded]\n[clients.web]\ncount = 6\n[[faults]]\nat = \"1s\"\n\
                   side = \"client\"\ninject = { drop_rst = {} }\n";

fn run(place: &Place, asked: &str, args: &[&str]) -> super::Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_closestorm"));
    command.args(args).env("CLOSESTORM_PANIC", asked).env("RUST_BACKTRACE", "0");
    place.spawn(command).end_with_a_panic()
}

#[test]
#[ignore = "long: scripts/test"]
fn a_panic_in_a_task_of_a_run_is_told_and_is_no_pass() {
    if !cfg!(debug_assertions) {
        return eprintln!("left out: only debug builds panic when asked");
    }
    at_once(
        [("client 2", "1"), ("fault 0", "1"), ("client 2", "2"), ("server connection 1", "1"), ("server connection 1", "2")],
        |(asked, workers)| {
            let place = Place::with(RUN);
            let ended = run(&place, asked, &["run", "test.toml", "--out", "run", "--workers", workers, "--allow-inconclusive"]);
            ended.assert_code(1);
            assert!(ended.out.contains("a part of closestorm failed with an internal error"), "{ended:?}");
            assert!(ended.err.contains("this is a bug in closestorm, please report it"), "{ended:?}");
            let log = |name: &str| std::fs::read_to_string(place.path(name)).expect("a log");
            let told = match asked.starts_with("server") {
                true => log("run/target.log"),
                false if workers == "1" => ended.err.clone(),
                false => log("run/workers.log"),
            };
            assert!(told.contains("panicked at src/") && told.contains("CLOSESTORM_PANIC asked for it"), "{told}");
            let summary = place.json("run/summary.json");
            assert_eq!(summary["verdict"]["result"], "inconclusive");
            assert!(summary["connections"]["opened"].as_u64() >= Some(5), "the others went on: {}", summary["connections"]);
            place.run(&["check", "run"]).assert_code(3);
            place.assert_nothing_is_left();
        },
    );
}

#[test]
fn a_panic_of_the_whole_command_has_the_exit_code_of_an_internal_error() {
    if !cfg!(debug_assertions) {
        return eprintln!("left out: only debug builds panic when asked");
    }
    let place = Place::with(RUN);
    let ended = run(&place, "simulate", &["simulate", "test.toml", "--out", "run", "--junit", "junit.xml"]);
    ended.assert_code(1);
    assert!(ended.err.contains("please report it with these lines") && ended.err.contains("panicked at src/"), "{ended:?}");
    let xml = std::fs::read_to_string(place.path("junit.xml")).expect("a file");
    assert!(xml.contains("tests=\"1\" failures=\"0\" errors=\"1\"") && xml.contains("internal error"), "{xml}");
}
