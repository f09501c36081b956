//! What goes to stdout and to stderr, and what happens when one of them is closed, full, a pipe, or a terminal.

use super::{Ended, Place, SHORT, at_once};

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let lines = [
        ("$C faults | head -1", ""),
        ("$C presets --format json | head -1", ""),
        ("$C run test.toml --format json | true", ""),
        ("$C run test.toml --quiet >&-; echo $? >&2", "0\n"),
        ("$C run test.toml >out 2>&-; echo $? >&2", "0\n"),
        ("$C faults >&-; echo $? >&2", "0\n"),
        // Progress into a pipe that is gone.
        ("{ $C run test.toml 2>&1 >/dev/null; echo $? >code; } | true; cat code >&2", "0\n"),
    ];
    at_once(lines, |(line, err)| {
        let ended = Place::with(SHORT).shell(line).end();
        ended.assert_code(0);
        assert!(ended.err.ends_with(err) && !ended.err.contains("closestorm:"), "{line}: {ended:?}");
    });
}

#[test]
fn a_stdout_that_takes_nothing_is_an_error_and_the_run_folder_is_there() {
    let place = Place::with(SHORT);
    let ended = place.shell("exec $C run test.toml --out run >/dev/full").end();
    ended.assert_one_message(1, &["cannot write to stdout", "No space left on device"]);
    place.run(&["check", "run", "--quiet"]).assert_code(0);
}

#[test]
fn json_is_one_document_on_stdout_and_progress_is_plain_lines_on_stderr() {
    let place = Place::with(SHORT);
    let ended = place.run(&["run", "test.toml", "--out", "run", "--format", "json"]);
    ended.assert_code(0);
    assert_eq!(ended.json(), place.json("run/summary.json"));
    assert!(ended.err.lines().count() >= 1 && ended.err.lines().all(|line| line.contains("s/1.5s  open ")), "{ended:?}");
    assert!(!ended.err.contains(['\r', '\x1b']) && !ended.out.contains('\x1b'), "{ended:?}");
}

#[test]
#[ignore = "long: scripts/test"]
fn quiet_prints_nothing_but_errors() {
    let says_nothing = |ended: &Ended, code: i32, what: &[&str]| {
        assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(code), "", ""), "{what:?}");
    };
    let runs: [(&[&str], i32); 2] = [(&[], 0), (&["--set", "expect=[\"attempts count == 0\"]"], 99)];
    at_once(runs, |(more, code)| {
        let place = Place::with(SHORT);
        let args = [&["run", "test.toml", "--out", "run", "--force", "--quiet"], more].concat();
        says_nothing(&place.in_time(|| place.run(&args)), code, more);
    });
    let place = Place::with(SHORT);
    place.in_time(|| place.run(&["run", "test.toml", "--out", "run", "--force"])).assert_code(0);
    // What is asked for is no noise.
    for args in [&["check", "run", "--quiet", "--format", "json"][..], &["run", "test.toml", "--out", "told", "-q", "--format", "json"]] {
        let ended = place.in_time(|| place.run(args));
        assert!(ended.err.is_empty() && ended.json().is_object(), "{ended:?}");
    }
    let others: [&[&str]; 3] = [&["check", "run", "--quiet"], &["report", "run", "--quiet"], &["validate", "test.toml", "--quiet"]];
    at_once(others, |args| says_nothing(&place.run(args), 0, args));
    place.assert_refuses(&["run", "test.toml", "--out", "run", "--quiet"], 1, &["already exists"]);
}

/// Runs a line of shell in a terminal of so many columns; `None` where there is no `script`.
fn in_terminal(place: &Place, columns: u32, line: &str) -> Option<String> {
    if place.shell("command -v script >/dev/null").end().code != Some(0) {
        eprintln!("!! LEFT OUT: a terminal: `script` of util-linux is not installed");
        return None;
    }
    place.write("line.sh", &format!("stty cols {columns} rows 24\n{line}\n"));
    Some(place.shell("TERM=xterm exec script -qec 'sh line.sh' /dev/null").end().out)
}

/// What was drawn, a line each, without the codes that move and colour.
fn drawn(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\x1b' => _ = chars.by_ref().skip(1).find(char::is_ascii_alphabetic),
            '\r' | '\n' => lines.push(String::new()),
            char => lines.last_mut().expect("there is one").push(char),
        }
    }
    lines.retain(|line| !line.trim().is_empty());
    lines
}

#[test]
#[ignore = "long: scripts/test"]
fn on_a_terminal_one_live_line_fits_and_is_cleared() {
    at_once([60, 79], |columns| {
        let place = Place::with(&SHORT.replace("count     = 20", "count     = 200").replace("reconnect_time p50", "rtt p50"));
        let Some(text) = place.in_time(|| in_terminal(&place, columns, "$C run test.toml --out run --force")) else { return };
        let lines = drawn(&text);
        let live: Vec<_> = lines.iter().filter(|line| line.contains("s/1.5s  open ")).collect();
        assert!(live.len() > 3, "{text:?}");
        for line in &live {
            assert!(line.trim_end().chars().count() <= columns as usize, "{columns}: {line}");
        }
        let (progress, summary) = text.split_at(text.find("closestorm run").expect("a summary"));
        assert!(!progress.contains('\n'), "the live line does not move down: {progress:?}");
        assert!(progress.trim_end_matches("\x1b[1m").ends_with("\x1b[2K"), "it is cleared: {progress:?}");
        assert!(summary.contains("\x1b[1;32m✓ PASS"), "{summary:?}");
        // Narrower than that, the table of quantiles sticks out.
        assert!(drawn(summary).iter().all(|line| line.chars().count() <= columns.max(80) as usize), "{summary}");
    });
}

/// The escape sequences that take the terminal, and give it back with its cursor.
const TAKES: &str = "\x1b[?1049h";
const GIVES_BACK: &str = "\x1b[?1049l\x1b[?25h";

#[test]
#[ignore = "long: scripts/test"]
fn the_dashboard_gives_the_terminal_back_however_the_run_ends() {
    let run = "$C run test.toml --out run";
    // Run, its code, and what the terminal says afterwards: that it reads lines again.
    let lines = [
        (format!("{run}; echo code=$?; stty -a"), 0, "PASS"),
        // Ctrl-C is a key there: it is typed.
        (
            format!("(sleep 1; printf '\\003') | script -qec \"stty cols 80 rows 24; {run}; echo code=\\$?; stty -a\" /dev/null"),
            130,
            "INCONCLUSIVE",
        ),
        (format!("{run} & sleep 1; kill -TERM $!; wait $!; echo code=$?; stty -a"), 143, "INCONCLUSIVE"),
        // Whoever panics: the dashboard itself, and a part of the run that it is drawn for.
        (format!("CLOSESTORM_PANIC=dashboard {run}; echo code=$?; stty -a"), 1, "INCONCLUSIVE"),
        (format!("CLOSESTORM_PANIC='fault 0' {run}; echo code=$?; stty -a"), 1, "INCONCLUSIVE"),
        // Stopped, and continued by a shell that has written meanwhile: it takes the terminal again, and draws all of it.
        (format!("{run} & sleep 1; kill -STOP $!; kill -CONT $!; wait $!; echo code=$?; stty -a"), 0, "PASS"),
        // In the background it would be stopped: it draws no dashboard there.
        (format!("set -m; {run} & wait $!; echo code=$?; stty -a"), 0, "PASS"),
    ];
    at_once(lines, |(line, code, said)| {
        let place = Place::with(&SHORT.replace("reconnect_time p50", "rtt p50"));
        let Some(text) = place.in_time(|| in_terminal(&place, 80, &line)) else { return };
        let background = line.contains("set -m");
        let (takes, gives) = (text.matches(TAKES).count(), text.matches(GIVES_BACK).count());
        let expected = if background { (0, 0) } else { (1 + usize::from(line.contains("-CONT")), 1) };
        assert_eq!((takes, gives), expected, "{line}: {text:?}");
        let after = text.rsplit(GIVES_BACK).next().expect("a text");
        assert!(after.contains(&format!("code={code}")) && after.contains(said), "{line}: {text:?}");
        assert!(after.contains(" icanon") && after.contains(" echo "), "{line}: {after:?}");
        assert!(background || line.contains("PANIC=dashboard") || text.contains("open clients"), "{line}: {text:?}");
        let told = after.contains("this is a bug in closestorm, please report it");
        assert_eq!(told, line.contains("PANIC"), "{line}: {text:?}");
    });
}

/// Beside its schedule, and the notices of the run say so.
#[test]
#[ignore = "long: scripts/test"]
fn a_key_fires_a_fault_of_the_scenario_now() {
    let place = Place::with(&SHORT.replace("1500ms", "4s"));
    // After the crash of the plan, and keys that are no fault of it.
    let run = "$C run test.toml --out run --allow-inconclusive";
    let line = format!("(sleep 2.5; printf '921'; sleep 3) | script -qec \"stty cols 80 rows 24; {run}\" /dev/null");
    let Some(text) = place.in_time(|| in_terminal(&place, 80, &line)) else { return };
    let summary = place.json("run/summary.json");
    assert_eq!(summary["faults"][0]["fired"], 2, "{text:?}");
    let notices = summary["notices"].to_string();
    assert!(notices.contains("was fired by hand, beside the plan"), "{notices}");
}

#[test]
#[ignore = "long: scripts/test"]
fn plain_progress_is_lines_on_a_terminal_too() {
    let place = Place::with(SHORT);
    let Some(text) = in_terminal(&place, 80, "$C run test.toml --out run --plain") else { return };
    assert!(text.contains("s/1.5s  open ") && !text.contains(TAKES) && !text.contains("\x1b[2K"), "{text:?}");
}

#[test]
#[ignore = "long: scripts/test"]
fn no_color_ci_and_dumb_terminals_get_plain_text() {
    at_once([("NO_COLOR=1", true), ("CI=true", false), ("TERM=dumb", false), ("NO_COLOR=1 CI=1", false)], |(variables, live)| {
        let place = Place::with(SHORT);
        let Some(text) = in_terminal(&place, 80, &format!("{variables} $C run test.toml --out run")) else { return };
        let (progress, summary) = text.split_at(text.find("closestorm run").expect("a summary"));
        assert_eq!(progress.contains(TAKES), live, "{variables}: {progress:?}");
        assert_eq!(summary.contains('\x1b'), variables == "CI=true", "{variables}: {summary:?}");
    });
}
