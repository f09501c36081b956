//! The first hour: a URL in place of a scenario, scenarios for a question, the doctor, schemas, completions and man pages, and where values come from.

use super::{Place, at_once, server, websocket_server};
use std::fs;
use std::process::Command;

/// A WebSocket server that says nothing, until the tests end.
fn silent_server() -> std::net::SocketAddr {
    use std::io::Read;
    server(|stream| {
        let Ok(mut socket) = tungstenite_accept(stream) else { return };
        let mut bytes = [0; 1024];
        while socket.read(&mut bytes).is_ok_and(|length| length > 0) {}
    })
}

/// Answers the opening handshake, and gives the stream behind it.
fn tungstenite_accept(stream: std::net::TcpStream) -> Result<std::net::TcpStream, ()> {
    let socket = tokio_tungstenite::tungstenite::accept(stream).map_err(|_| ())?;
    socket.get_ref().try_clone().map_err(|_| ())
}

/// A stored scenario without its first line, which names its file.
fn without_name(resolved: &str) -> &str {
    resolved.split_once('\n').map_or("", |(_, rest)| rest)
}

#[test]
fn a_url_with_options_runs_and_its_saved_scenario_is_the_same_plan() {
    let place = Place::new();
    let url = format!("{}/chat", websocket_server());
    let secret = "Authorization: Bearer verysecretword";
    #[rustfmt::skip]
    let args = [
        "run", &url, "-c", "8", "-d", "1500ms", "--rate", "50/s", "--message", r#"{"a":1}"#, "--message-rate", "5/s", "-H", secret,
        "--reconnect", "socket.io-client", "--seed", "7", "--save", "mine.toml", "--out", "run", "--force",
    ];
    let ended = place.in_time(|| {
        let _ = fs::remove_file(place.path("mine.toml"));
        place.run(&args)
    });
    ended.assert_code(0);
    let summary = place.json("run/summary.json");
    assert_eq!((&summary["clients"]["planned"], &summary["duration_ms"]), (&8.into(), &1500.into()));
    assert!(summary["messages"]["rtt_us"]["count"].as_u64() > Some(20), "round trips are measured: {}", summary["messages"]);
    let saved = fs::read_to_string(place.path("mine.toml")).expect("it was saved");
    assert!(ended.err.contains(&saved), "what is saved is what was printed: {ended:?}");
    assert!(saved.contains("${CLOSESTORM_AUTHORIZATION}"), "{saved}");
    let kept = fs::read_to_string(place.path("run/scenario.toml")).expect("it is stored");
    for text in [&saved, &ended.err, &ended.out, &kept, &fs::read_to_string(place.path("run/manifest.json")).expect("it is there")] {
        assert!(!text.contains("verysecretword"), "{text}");
    }
    let again = place.shell("CLOSESTORM_AUTHORIZATION=verysecretword exec $C run mine.toml --quiet --allow-inconclusive --out again").end();
    again.assert_code(0);
    let again = fs::read_to_string(place.path("again/scenario.toml")).expect("it is stored");
    assert_eq!(without_name(&again), without_name(&kept));
    assert!(again.contains("seed = 7"), "{again}");
    // Its value is nowhere: it is asked for.
    place.assert_refuses(&["validate", "mine.toml"], 2, &["`CLOSESTORM_AUTHORIZATION` is not set"]);
}

#[test]
fn a_server_that_does_not_answer_is_no_failure_and_no_data_is_no_pass() {
    let place = Place::new();
    let address = silent_server();
    let url = format!("ws://{address}/");
    let run = |more: &[&str]| {
        let args = [&["run", &url, "-c", "3", "-d", "1s", "--message", "hello", "--out", "run", "--force"], more].concat();
        place.in_time(|| place.run(&args))
    };
    run(&[]).assert_code(0);
    let summary = place.json("run/summary.json");
    assert_eq!((&summary["verdict"]["result"], &summary["messages"]["answered"]), (&"pass".into(), &0.into()), "{summary}");
    assert!(summary["messages"]["rtt_us"]["p50"].is_null(), "{summary}");
    assert_eq!(summary["clients"]["ready"], 3);
    // Who expects answers is told that there were none.
    let ended = run(&["--set", "expect=[\"rtt p50 < 1s\"]"]);
    assert_ne!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("# With --set "), "{ended:?}");
}

#[test]
fn urls_scenarios_and_what_is_between_them_are_told_apart() {
    let place = Place::with("[clients.web]\ncount = 1\n");
    let table: [(&[&str], &[&str]); 15] = [
        (&["run", "localhost"], &["cannot read the scenario localhost", "write the URL: ws://localhost"]),
        (&["run", ":8080/x"], &["write the URL: ws://127.0.0.1:8080/x"]),
        (&["run", "example.org/chat"], &["write the URL: ws://example.org/chat"]),
        (&["run", "nothere.toml", "-c", "5"], &["cannot read the scenario nothere.toml", "bundled scenarios"]),
        (&["run", "ftp://127.0.0.1:1/"], &["not a ws:// or wss:// URL"]),
        (&["run", "test.toml", "--message", "hi"], &["--message belongs to a URL, and this is a scenario", "clients.NAME.traffic"]),
        (&["run", "default", "--insecure"], &["--insecure belongs to a URL", "--set target.url.insecure=true"]),
        (&["run", "localhost", "--rate", "5/s"], &["--rate belongs to a URL", "write ws://localhost"]),
        (&["run", "--save", "a.toml"], &["--save belongs to a URL, and there is none"]),
        (&["run", "127.0.0.1:1", "--message-rate", "5/s"], &["--message-rate needs --message"]),
        (&["run", "127.0.0.1:1", "-H", "nocolon"], &["a name and a value with a colon"]),
        (&["run", "127.0.0.1:1", "--save", "a.toml", "--set", "seed=1"], &["--save writes", "without --set"]),
        (&["run", "127.0.0.1:1", "--quiet", "--save", "test.toml"], &["test.toml", "exists already"]),
        (&["run", "127.0.0.1:1", "-H", "Authorization: ${NOT_SET:-abcdefgh}"], &["default of a variable"]),
        (&["simulate", "ws://127.0.0.1:1/"], &["a URL cannot be simulated", "--save mine.toml"]),
    ];
    at_once(table, |(args, parts)| place.assert_refuses(args, 2, parts));
    assert_eq!(fs::read_to_string(place.path("test.toml")).expect("it is there"), "[clients.web]\ncount = 1\n");
    // Off this machine it is as with any scenario.
    let ended = place.run(&["run", "http://192.0.2.1/", "-c", "200", "--quiet"]);
    ended.assert_code(2);
    assert!(ended.err.contains("add --yes"), "{ended:?}");
    // A file is a file, whatever its name looks like.
    place.write("localhost:80", "[clients.web]\ncount = 3\n");
    assert!(place.run(&["run", "localhost:80", "--dry-run"]).out.contains("cohort web: 3 clients"));
}

#[test]
#[ignore = "long: scripts/test"]
fn every_question_has_a_scenario_that_runs_and_simulates() {
    at_once(["deploy", "crash", "half-open", "capacity", "client"], |question| {
        let place = Place::new();
        let ended = place.run(&["init", "mine.toml", "--question", question]);
        ended.assert_code(0);
        assert!(ended.out.contains("closestorm.schema.json written") && ended.out.contains("mine.toml"), "{ended:?}");
        let text = fs::read_to_string(place.path("mine.toml")).expect("it was written");
        let lines: Vec<_> = text.lines().take(8).collect();
        assert_eq!(lines[0], "#:schema closestorm.schema.json");
        assert!(lines.iter().any(|line| line.starts_with("#     closestorm ") && line.contains("mine.toml")), "{text}");
        place.run(&["validate", "mine.toml", "--quiet"]).assert_code(0);
        place.assert_refuses(&["init", "mine.toml", "--question", question], 2, &["mine.toml", "exists already"]);
        // A slow machine may keep it from being judged; nothing in it is wrong.
        let ran = place.run(&["run", "mine.toml", "--quiet", "--out", "run", "--allow-inconclusive"]);
        ran.assert_code(0);
        place.run(&["simulate", "mine.toml", "--quiet", "--out", "simulated", "--allow-inconclusive"]).assert_code(0);
    });
}

#[test]
fn init_without_a_question_lists_them() {
    let place = Place::new();
    let ended = place.run(&["init"]);
    ended.assert_code(0);
    for question in ["deploy", "crash", "half-open", "capacity", "client"] {
        assert!(ended.out.lines().any(|line| line.trim_start().starts_with(question)), "{ended:?}");
    }
    place.run(&["init", "mine.toml"]).assert_code(2);
    assert_eq!(place.litter(), Vec::<String>::new());
}

#[test]
fn the_doctor_says_what_fits_and_what_does_not() {
    let place = Place::new();
    let ended = place.run(&["doctor"]);
    ended.assert_code(0);
    assert!(ended.out.contains("open files") && ended.out.contains("with the embedded server"), "{ended:?}");
    // Beyond any machine.
    let ended = place.run(&["doctor", "default", "-c", "9900000"]);
    ended.assert_code(1);
    assert!(ended.out.contains("default does not fit: 9900000 clients are too many, at most "), "{ended:?}");
    // What it says is what a run says.
    let refused = place.run(&["run", "default", "-c", "9900000"]);
    refused.assert_code(1);
    let most = |text: &str| text.split("at most ").nth(1).and_then(|rest| rest.split(' ').next().map(str::to_owned));
    assert!(most(&refused.err).is_some(), "{refused:?}");
    // The limit of the shell is seen before it is raised, and a machine that allows nothing is told so.
    let told = place.shell("ulimit -Sn 200; ulimit -Hn 300; exec $C doctor default -c 200 --format json").end();
    told.assert_code(0);
    let all = told.json();
    let files = all["machine"].as_array().and_then(|facts| facts.iter().find(|fact| fact["name"] == "open files")).expect("a fact");
    assert_eq!((&files["finding"], files["change"].is_string()), (&"low".into(), true), "{files}");
    assert!(files["value"].as_str().is_some_and(|text| text.contains("soft limit 200")), "{files}");
    assert_eq!((&all["scenario"]["fits"], &all["scenario"]["clients"]), (&true.into(), &200.into()));
    let none = place.shell("ulimit -n 60; exec $C doctor default").end();
    none.assert_code(1);
    assert!(none.out.contains("not even one client is possible"), "{none:?}");
}

#[test]
fn completions_are_scripts_and_man_pages_are_pages() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = place.run(&["completions", shell]);
        ended.assert_code(0);
        assert!(ended.out.contains("closestorm") && ended.out.contains("simulate") && !ended.out.contains("completions.rs"), "{shell}");
        place.write(&format!("{shell}.toml"), &ended.out);
        // Others may not be installed.
        if let Ok(status) = Command::new(shell).arg("-n").arg(place.path(&format!("{shell}.toml"))).status() {
            assert!(status.success() || !["bash", "zsh", "fish"].contains(&shell), "{shell} -n");
        }
    }
    let status = Command::new("bash").arg("-n").arg(place.path("bash.toml")).status().expect("bash is there");
    assert!(status.success());
    place.run(&["completions", "tcsh"]).assert_code(2);
    place.run(&["man", "pages"]).assert_code(0);
    let pages: Vec<_> = fs::read_dir(place.path("pages")).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    assert!(pages.len() > 20, "{pages:?}");
    for page in &pages {
        let text = fs::read_to_string(page).expect("a page");
        assert!(text.contains("\n.TH closestorm") && text.contains(".SH SYNOPSIS") && !text.contains("__guard"), "{}", page.display());
        if let Ok(read) = Command::new("mandoc").args(["-T", "lint", "-W", "error"]).arg(page).output() {
            assert!(read.status.success(), "{}: {}", page.display(), String::from_utf8_lossy(&read.stdout));
        }
    }
    assert!(place.path("pages/closestorm-run.1").exists() && place.path("pages/closestorm.1").exists());
}

#[test]
fn validate_explains_where_each_value_comes_from() {
    let place = Place::with("extends = \"crash-storm\"\n\n[clients.web]\ncount = 7\nreconnect = \"phoenix\"\n");
    let ended = place.run(&["validate", "test.toml", "--explain", "--set", "clients.web.after=1s", "--seed", "9"]);
    ended.assert_code(0);
    for (value, from) in [
        ("clients.web.count = 7", "test.toml:4"),
        ("clients.web.after = \"1s\"", "--set"),
        ("seed = 9", "--seed"),
        ("target.embedded.handshake_cost = \"500us\"", "scenarios/crash-storm.toml:"),
        ("clients.web.reconnect.kind = ", "preset phoenix"),
        ("target.embedded.tls = false", "default"),
    ] {
        let line = ended.out.lines().find(|line| line.trim_start().starts_with(value)).unwrap_or_else(|| panic!("{value}: {}", ended.out));
        assert!(line.split_once("# ").is_some_and(|(_, origin)| origin.starts_with(from)), "{line}");
    }
}
