//! Scripted clients: slow questions, closed ports, clients that fail to start, and a page in a browser.

#![expect(clippy::disallowed_methods, reason = "real processes in real time, on threads that carry nobody")]

use super::super::browser::chromium;
use super::super::proxied::Ended;
use super::*;
use std::io::{BufRead, BufReader};

/// Runs `learn`, which is to fail: its error.
fn fails(args: &[&str], command: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("learnt");
    let mut closestorm = Command::new(env!("CARGO_BIN_EXE_closestorm"));
    let output = closestorm.args(["learn", "--quick", "--quiet", "--out"]).arg(&out).args(args).arg("--").args(command).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(!out.exists() && std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing is left");
    stderr
}

#[test]
fn a_client_that_does_not_come_is_an_error() {
    let stderr = fails(&["--instances", "1"], &["sh", "-c", "echo no client; exec sleep 600"]);
    assert!(stderr.contains("did not connect") && stderr.contains("no client"), "{stderr}");
}

#[test]
fn a_program_that_is_not_there_and_one_that_ends_are_told_at_once() {
    let begun = std::time::Instant::now();
    let stderr = fails(&[], &["no-such-program-here", "{url}"]);
    assert!(stderr.contains("program `no-such-program-here` not found") && stderr.contains("behind `--`"), "{stderr}");
    let stderr = fails(&[], &["sh", "-c", "echo cannot load a module; exit 7"]);
    assert!(stderr.contains("the client ended (exit status 7)") && stderr.contains("cannot load a module"), "{stderr}");
    // A client has 30 s to connect, and these are no clients.
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn what_a_client_was_not_there_to_hear_has_no_answer() {
    if !node("learn") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut closestorm = Command::new(env!("CARGO_BIN_EXE_closestorm"));
    let args = ["learn", "--quick", "--quiet", "--held", "100ms", "--outages", "4", "--format", "json", "--out"];
    // It connects once.
    let client = ["--", "node", "-e", "new (require('ws'))(process.env.URL).on('error', () => {})"];
    let output =
        closestorm.args(args).arg(folder.path().join("learnt")).args(client).env("NODE_PATH", home("tests/node/node_modules")).output();
    let output = output.unwrap();
    let found: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let has = |list: &str, question: &str| found[list].to_string().contains(&format!("\"{question}\""));
    for (question, answered) in [("status code 1001", true), ("HTTP status 401", false), ("HTTP status 503", false), ("Retry-After", false)]
    {
        assert_eq!((has("asked", question), has("not_asked", question)), (answered, !answered), "{question}: {found}");
    }
    assert_eq!((rule(&found, "returns"), rule(&found, "refused-stays")), ("fail", "not tested"), "{}", found["rules"]);
}

/// A time in a row of `learn.json`.
fn after_s(found: &Value, question: &str) -> f64 {
    found[question]["after_ms"].as_f64().unwrap_or_else(|| panic!("{question}: {found}")) / 1e3
}

#[test]
fn slow_questions_are_answered() {
    if !node("learn") {
        return;
    }
    // So many that a random first wait is seen to be one: of a few, all may be alike.
    let few = ["--outages", "16", "--attempts", "2", "--instances", "8", "--held", "500ms"];
    let clients = ["careful.js", "comes_back.js"].map(|file| home("tests/node").join(file));
    let [careful, careless] = scope(|scope| {
        let learning = clients.each_ref().map(|client| scope.spawn(move || learn(&few, &["node", client.to_str().unwrap(), "{url}"])));
        learning.map(|one| one.join().unwrap())
    });
    for (name, of_careful, of_careless) in [
        ("retry-after", "pass", "fail"),
        ("silence", "pass", "fail"),
        ("patience", "pass", "fail"),
        ("first-random", "pass", "pass"),
        ("returns", "pass", "pass"),
    ] {
        assert_eq!((rule(&careful, name), rule(&careless, name)), (of_careful, of_careless), "{name}: {}", careful["rules"]);
    }
    // Its pings find out after three to four seconds, and it waits up to half a second.
    let silence = after_s(&careful, "silence");
    assert!((2.9..6.0).contains(&silence), "{silence}");
    let patience = after_s(&careful, "unanswered");
    assert!((2.9..4.0).contains(&patience), "{patience}");
    let table = careful["reconnect"].as_str().unwrap();
    assert!(table.contains("connect_timeout = \"3s\"") && table.contains("retry_http_status = [404, 429, 503]"), "{table}");
    assert_eq!(careless["unanswered"]["back"], false);
    assert!(careful["not_asked"].as_array().unwrap().is_empty() && careful["asked"].as_array().unwrap().len() > 20);
}

#[test]
fn what_a_client_does_around_a_close_frame_and_about_pings_is_seen_on_the_wire() {
    if !node("learn") {
        return;
    }
    let client = home("tests/node/around_close.js");
    let args = ["--quick", "--outages", "4", "--attempts", "2", "--instances", "4", "--held", "500ms"];
    let found = learn(&args, &["node", client.to_str().unwrap(), "{url}"]);
    let trials = found["held_closes"].as_array().unwrap();
    assert_eq!(trials.len(), 2, "{trials:?}");
    for trial in trials {
        let number = |name: &str| trial[name].as_f64().unwrap_or_else(|| panic!("{name}: {trial}"));
        assert!(trial["ended_tcp"] == true && (300.0..2_000.0).contains(&number("tcp_ms")), "{trial}");
        assert!(number("answered_after_ms") < 300.0 && number("data_before") > 3.0 && number("data_after") == 1.0, "{trial}");
        // Its library waits for the server's FIN.
        assert!(trial["result"]["back"] == true && trial["result"]["after_ms"].as_f64().unwrap() > 2_900.0, "{trial}");
    }
    for flood in found["ping_floods"].as_array().unwrap() {
        assert_eq!((&flood["sent"], &flood["answered_last"], &flood["answered_later"]), (&3000.into(), &true.into(), &true.into()));
        assert!(flood["answered"].as_f64().unwrap() < 100.0 && flood["ended"].is_null(), "{flood}");
        assert!(flood["data_before"].as_f64().unwrap() > 3.0 && flood["data_after"].as_f64().unwrap() > 20.0, "{flood}");
    }
    assert_eq!(found["ping_floods"].as_array().unwrap().len(), 2);
    for (name, result) in [("close-end", "not tested"), ("quiet-after-close", "fail"), ("pings", "pass"), ("close-answer", "pass")] {
        assert_eq!(rule(&found, name), result, "{name}: {}", found["rules"]);
    }
    assert_eq!(found["open_at_once_most"], 1);
}

/// What is prepared for one connection does not go to another that the client has beside it.
#[test]
fn a_client_with_two_connections_that_looks_by_http_first_is_learnt() {
    if !node("learn") {
        return;
    }
    let client = home("tests/node/two_at_once.js");
    let args = ["--quick", "--outages", "4", "--attempts", "4", "--instances", "2", "--held", "300ms"];
    let found = learn(&args, &["node", client.to_str().unwrap(), "{url}"]);
    for outage in found["outages"].as_array().unwrap() {
        let waits: Vec<f64> = outage["waits_ms"].as_array().unwrap().iter().map(|wait| wait.as_f64().unwrap()).collect();
        assert!(waits.len() == 5 && waits.iter().all(|wait| (140.0..400.0).contains(wait)), "{waits:?}");
    }
    assert_eq!((&found["open_at_once_most"], rule(&found, "one-connection")), (&2.into(), "fail"), "{}", found["rules"]);
    for row in found["codes"].as_array().unwrap() {
        assert_eq!(row["result"]["back"], true, "{row}");
        assert!(row["code"] == 1006 || row["code"] == row["answered"], "{row}");
    }
    assert_eq!(found["not_asked"].as_array().unwrap().len(), 3, "only what --quick leaves out: {}", found["not_asked"]);
}

#[test]
fn attempts_at_a_closed_port_are_seen_or_it_is_said_what_that_needs() {
    if !node("learn") {
        return;
    }
    let client = home("tests/node/comes_back.js");
    let args = ["--refuse", "closed-port", "--outages", "4", "--attempts", "3", "--instances", "4", "--held", "200ms"];
    let command = ["node", client.to_str().unwrap(), "{url}"];
    // Whether this process may read raw packets is the kernel's affair: root may, others may not.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    if u64::from_str_radix(capabilities.trim(), 16).unwrap() & (1 << 13) == 0 {
        let stderr = fails(&args, &command);
        return assert!(stderr.contains("CAP_NET_RAW"), "{stderr}");
    }
    let found = learn(&[&["--quick"], &args[..]].concat(), &command);
    assert_eq!(found["refused_by"], "a closed port");
    let outages = found["outages"].as_array().unwrap();
    assert_eq!(outages.len(), 4);
    for outage in outages {
        let waits: Vec<f64> = outage["waits_ms"].as_array().unwrap().iter().map(|wait| wait.as_f64().unwrap()).collect();
        assert_eq!(waits.len(), 4, "three that were refused, and one that was not: {waits:?}");
        for (attempt, wait) in waits.iter().enumerate() {
            assert!(*wait < 130.0 * 1.7_f64.powi(attempt as i32) + 400.0, "{attempt}: {waits:?}");
        }
    }
}

#[test]
fn a_page_in_a_browser_is_waited_for() {
    if !chromium("a page that learn waits for") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("learnt");
    // Where the page stays away it waits for five minutes, again and again.
    let mut closestorm = Command::new("timeout");
    let args = [
        "240",
        env!("CARGO_BIN_EXE_closestorm"),
        "learn",
        "--listen",
        "127.0.0.1:0",
        "--quick",
        "--outages",
        "4",
        "--attempts",
        "5",
        "--held",
        "300ms",
        "--format",
        "json",
        "--out",
    ];
    let mut learning = closestorm.args(args).arg(&out).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(learning.stderr.take().unwrap()).lines().map_while(Result::ok);
    let said = lines.find(|line| line.contains("waiting for a client")).expect("it says where");
    let url = said.split_whitespace().find(|word| word.starts_with("ws://")).expect("a URL").to_owned();
    let page = format!("file://{}#{url}", home("tests/node/page_loop.html").display());
    let program = std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
    let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
    let mut browser = Command::new(program);
    browser.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", &profile, &page]);
    let browser = Ended(browser.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let progress: Vec<String> = lines.collect();
    let output = learning.wait_with_output().unwrap();
    drop(browser);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {progress:?}"));
    assert!(progress.iter().any(|line| line.contains("outage 4 of 4")), "{progress:?}");
    // A browser has much to do: the earliest of four.
    for (attempt, wait) in [150.0, 400.0, 650.0, 900.0, 900.0].into_iter().enumerate() {
        let seen = found["outages"].as_array().unwrap().iter().filter_map(|outage| outage["waits_ms"][attempt].as_f64());
        let least = seen.fold(f64::INFINITY, f64::min);
        assert!((wait - 2.0..wait + 100.0).contains(&least), "{attempt}: {least}: {}", found["outages"]);
    }
    for (name, result) in [("returns", "pass"), ("one-connection", "pass"), ("close-answer", "pass")] {
        assert_eq!(rule(&found, name), result, "{name}: {}", found["rules"]);
    }
    assert!(Path::new(&out).join("report.html").exists());
}
