//! Faults whose carrier is broken: what was planned and not carried out is a row, a notice and an inconclusive verdict, never a pass.

use super::{Ended, LONG, Place, at_once, command_target, until};
use std::fs;
use std::time::Duration;

/// Each kind that acts on processes.
const KINDS: [&str; 4] = [
    "inject = { server_crash = { down = \"200ms\" } }",
    "inject = { server_graceful = { grace = \"300ms\", down = \"200ms\" } }",
    "inject = { server_restart_rolling = { interval = \"200ms\", down = \"200ms\" } }",
    "for = \"300ms\"\ninject = { server_pause = {} }",
];

fn scenario(target: &str, fault: &str) -> String {
    format!(
        "duration = \"5s\"\nexpect = [\"attempts count > 0\"]\n{target}\n[clients.web]\ncount = 5\narrive = {{ over = \"200ms\" }}\n\
         reconnect = {{ fixed = {{ delay = \"300ms\" }} }}\nheartbeat = \"none\"\n[[faults]]\nname = \"broken\"\nat = \"3s\"\n{fault}\n"
    )
}

/// The process of the target: one whose command line has this in it.
fn target(place: &Place, mark: &str) -> u32 {
    let found = || {
        let line = |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        place.processes().into_iter().find(|pid| String::from_utf8_lossy(&line(pid)).contains(mark))
    };
    until("there is no target", || found().is_some());
    found().expect("it was there")
}

fn parent(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let rest = stat.rsplit_once(") ").expect("a stat line").1;
    rest.split(' ').nth(1).expect("a parent").parse().expect("a number")
}

fn kill(pid: u32) {
    let status = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    assert!(status.expect("kill is there").success());
}

/// It was inconclusive, the fault is the reason, and each place says so.
fn assert_told(place: &Place, ended: &Ended, why: &str) {
    ended.assert_code(3);
    let summary = place.json("run/summary.json");
    assert_eq!(summary["verdict"]["result"], "inconclusive", "{ended:?}");
    for part in [&summary["verdict"]["reasons"], &summary["notices"]] {
        assert!(part.to_string().contains(&format!("fault broken was not carried out: {why}")), "{part}");
    }
    let events = fs::read_to_string(place.path("run/events.csv")).expect("events");
    assert!(events.lines().any(|line| line.contains(",not_carried_out,") && line.contains(",broken,")), "{events}");
    place.run(&["check", "run"]).assert_code(3);
}

/// Each kind on a server of ours and on a program, of which `victim` is killed while they run.
fn killed_by_somebody_else(victim: impl Fn(u32) -> u32 + Sync) {
    let command = command_target("{serve}", LONG);
    let targets = [("[target.embedded]", "__server"), (&*command, "cli::serve")];
    at_once(KINDS.into_iter().flat_map(|kind| targets.map(|target| (kind, target))), |(kind, (of, mark))| {
        let place = Place::with(&scenario(of, kind));
        let run = place.start(&["run", "test.toml", "--out", "run"]);
        run.until_it_runs();
        kill(victim(target(&place, mark)));
        assert_told(&place, &run.end(), "instance 0: ");
    });
}

#[test]
#[ignore = "long: scripts/test"]
fn a_target_that_somebody_else_has_killed_cannot_suffer_a_fault() {
    killed_by_somebody_else(|target| target);
}

#[test]
#[ignore = "long: scripts/test"]
fn a_guard_that_somebody_else_has_killed_carries_out_nothing() {
    killed_by_somebody_else(parent);
}

#[test]
#[ignore = "long: scripts/test"]
fn who_left_its_group_is_ended_too_when_the_guard_is_killed() {
    // Its parent is gone at once, its session and group are its own.
    let line = "sh -c '(setsid sleep 300 &) ; sleep 0.2; exec {serve}'";
    let place = Place::with(&scenario(&command_target(line, LONG), KINDS[0]));
    let run = place.start(&["run", "test.toml", "--out", "run"]);
    run.until_it_runs();
    kill(parent(target(&place, "cli::serve")));
    // It sees to it that nobody is left.
    assert_told(&place, &run.end(), "instance 0: ");
}

#[test]
fn a_target_has_the_limit_of_open_files_of_the_users_shell() {
    let target = command_target("sh -c 'echo soft: `ulimit -Sn`; exec {serve}'", LONG);
    let place = Place::with(&format!("duration = \"1s\"\n{target}[clients.web]\ncount = 2\narrive = {{ over = \"100ms\" }}\n"));
    let ended = place.shell("ulimit -Sn 345; exec $C run test.toml --out run --quiet --allow-inconclusive").end();
    ended.assert_code(0);
    let printed = std::fs::read_to_string(place.path("run/target.log")).expect("it printed something");
    assert!(printed.contains("soft: 345\n"), "{printed}");
}

#[test]
#[ignore = "long: scripts/test"]
fn a_chatty_target_keeps_its_output_within_a_bound_and_is_found_ready() {
    // 200 MB without a line break before it serves.
    let line = "sh -c 'head -c 200000000 /dev/zero; echo; echo now ready; exec {serve}'";
    let target = command_target(line, LONG) + "ready = { line = \"now ready\", within = \"30s\" }\n";
    let place = Place::with(&format!("duration = \"2s\"\n{target}[clients.web]\ncount = 2\narrive = {{ over = \"100ms\" }}\n"));
    place.run(&["run", "test.toml", "--out", "run", "--quiet", "--allow-inconclusive"]).assert_code(0);
    let length = |name: &str| std::fs::metadata(place.path(name)).map_or(0, |found| found.len());
    assert!(length("run/target.log") <= 64 << 20 && length("run/target.log.1") <= 64 << 20, "{}", length("run/target.log"));
    let summary = place.json("run/summary.json");
    let notices = summary["notices"].to_string();
    assert!(
        notices.contains("the target printed more than 64 MiB: only the end of it is kept, in target.log.1 and then target.log"),
        "{notices}"
    );
    assert!(summary["generator"]["rss_peak_bytes"].as_u64().is_some_and(|bytes| bytes < 120 << 20), "{}", summary["generator"]);
}

#[test]
#[ignore = "long: scripts/test"]
fn a_target_that_does_not_come_back_is_no_pass() {
    at_once(&KINDS[..3], |kind| {
        // It starts once, and never again.
        let place = Place::with(&scenario(&command_target("sh -c 'test -e once && exit 4; touch once; exec {serve}'", LONG), kind));
        let ended = place.run(&["run", "test.toml", "--out", "run"]);
        assert_told(&place, &ended, "instance 0: it did not restart");
    });
    // One that starts and is not ready when the run ends.
    let hangs = command_target("sh -c 'test -e once && exec sleep 100; touch once; exec {serve}'", LONG);
    let place = Place::with(&scenario(&hangs, KINDS[0]));
    let ended = place.run(&["run", "test.toml", "--out", "run"]);
    assert_told(&place, &ended, "instance 0: it was not ready again before the end of the run");
}

#[test]
#[ignore = "long: scripts/test"]
fn with_workers_too_and_a_fault_on_nobody_is_told_once() {
    let rows = [
        ("[target.embedded]", KINDS[0], true, "instance 0: "),
        (
            "[target.embedded]",
            "select = { min_age = \"1h\" }\nevery = \"500ms\"\ninject = { drop_rst = {} }",
            false,
            "no connection matched",
        ),
    ];
    at_once(rows, |(of, kind, kills, why)| {
        let place = Place::with(&scenario(of, kind));
        let run = place.start(&["run", "test.toml", "--out", "run", "--workers", "2"]);
        run.until_it_runs();
        if kills {
            kill(target(&place, "__server"));
        }
        let ended = run.end();
        ended.assert_code(3);
        let reasons = place.json("run/summary.json")["verdict"]["reasons"].to_string();
        assert_eq!(reasons.matches(&format!("fault broken was not carried out: {why}")).count(), 1, "{reasons}");
    });
}

#[test]
#[ignore = "long: scripts/test"]
fn a_run_folder_that_was_removed_is_no_pass() {
    let place = Place::with(&scenario("[target.embedded]", KINDS[0]));
    let run = place.start(&["run", "test.toml", "--out", "run"]);
    run.until_it_runs();
    std::thread::sleep(Duration::from_millis(200));
    fs::remove_dir_all(place.path("run.partial")).expect("it is there");
    let ended = run.end();
    assert!(matches!(ended.code, Some(1 | 3)), "{ended:?}");
    assert!(ended.out.contains("fault broken was not carried out: instance 0: it did not restart"), "{ended:?}");
}

/// Ends closestorm and its guards by SIGKILL at one moment, the guards first; what is left a while later, by the words of its command line.
fn left_after_both_were_killed(target: &str, workers: &str) -> Vec<String> {
    let place = Place::with(&format!("duration = \"30s\"\n{target}[clients.web]\ncount = 5\narrive = {{ over = \"200ms\" }}\n"));
    let mut run = place.start(&["run", "test.toml", "--workers", workers, "--out", "run"]);
    run.until_it_runs();
    let words = |pid: u32| String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ");
    let guards = place.processes().into_iter().filter(|pid| words(*pid).contains("__guard")).collect::<Vec<_>>();
    assert!(!guards.is_empty());
    let all: Vec<_> = guards.iter().copied().chain([run.child.id()]).map(|pid| pid.to_string()).collect();
    // Stopped first: the one that is killed later does not see the end of the other.
    for signal in ["-STOP", "-KILL"] {
        let sent = std::process::Command::new("kill").arg(signal).args(&all).status();
        assert!(sent.expect("kill is there").success());
    }
    run.child.wait().expect("it ends");
    // Whoever is ours ends by itself: its link has ended.
    until("closestorm's own processes end", || !place.processes().into_iter().any(|pid| words(pid).contains(" __")));
    let left = place.processes();
    let named = left.iter().map(|pid| words(*pid)).collect();
    left.into_iter().for_each(kill);
    place.assert_nothing_is_left();
    named
}

#[test]
fn when_closestorm_and_its_guard_are_killed_at_once_only_programs_of_the_user_are_left() {
    let command = command_target("{serve}", LONG);
    at_once([("[target.embedded]\n", "1"), ("[target.embedded]\n", "2"), (&command, "1"), (&command, "2")], |(target, workers)| {
        let left = left_after_both_were_killed(target, workers);
        // docs/reliability.md says so.
        let theirs = left.iter().all(|words| words.contains("cli::serve"));
        assert!(if target == command { left.len() == 1 && theirs } else { left.is_empty() }, "{workers} workers: {left:?}");
    });
}
