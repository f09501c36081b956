//! Shards of a run, as on several machines, and what `merge` makes of them.

use super::{Place, SHORT, at_once, websocket_server};
use crate::embedded::Server;
use closestorm::plan::Embedded;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

/// A second and a half against a server that is not embedded; half of the clients are cut once.
fn scenario() -> String {
    let target = format!("[target.url]\naddress = \"ws://{}/\"\n", websocket_server());
    let scenario = SHORT.replace("[target.embedded]\n", &target).replace("count     = 20", "count     = 41");
    let cut =
        "[[faults]]\nname   = \"cut\"\nat     = \"600ms\"\nside   = \"client\"\nselect = { count = 15 }\ninject = { drop_rst = {} }\n";
    let faults = scenario.find("[[faults]]").expect("there is one");
    format!("{}{cut}", &scenario[..faults])
}

/// In two seconds, as `--start-at` takes it.
fn soon() -> String {
    (jiff::Timestamp::now() + Duration::from_secs(2)).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// Attempts that were due before anything happened, by client: their offsets come from the seed alone.
fn arrivals(place: &Place, run: &str) -> Vec<(u32, String)> {
    let mut events = csv::Reader::from_path(place.path(&format!("{run}/events.csv"))).expect("events");
    let rows = events.records().map(|row| row.expect("a row")).filter(|row| &row[1] == "arrived");
    let mut all: Vec<_> = rows.map(|row| (row[2].parse().expect("a client"), row[5].to_owned())).collect();
    all.sort();
    all
}

#[test]
#[ignore = "long: scripts/test"]
fn shards_that_are_merged_equal_the_whole() {
    let place = Place::with(&scenario());
    let at = soon();
    at_once([(None, "whole"), (Some("1/2"), "one"), (Some("2/2"), "two")], |(shard, out)| {
        let mut args = vec!["run", "test.toml", "--out", out, "--start-at", &at, "--quiet"];
        args.extend(shard.iter().flat_map(|shard| ["--shard", shard]));
        args.extend(if out == "two" { &["--workers", "2"][..] } else { &[] });
        // The places of processes are looked at when all have ended.
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_closestorm")).args(args).current_dir(place.path("")).status();
        assert!(matches!(status.expect("it runs").code(), Some(0 | 3)), "{out}");
    });
    let ended = place.run(&["merge", "two", "one", "--out", "sum", "--junit", "junit.xml"]);
    assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
    let xml = std::fs::read_to_string(place.path("junit.xml")).expect("a file");
    assert!(xml.contains("<property name=\"folder\" value=\"sum\"/>") && xml.contains("<testcase "), "{xml}");
    let (whole, sum) = (place.json("whole/summary.json"), place.json("sum/summary.json"));
    for key in ["planned", "started", "open_at_end", "lost"] {
        assert_eq!(sum["clients"][key], whole["clients"][key], "{key}");
    }
    for key in ["opened", "closed"] {
        assert_eq!(sum["connections"][key], whole["connections"][key], "{key}");
    }
    assert_eq!((&sum["faults"][0]["selected"], &sum["faults"][0]["fired"]), (&15.into(), &1.into()));
    assert_eq!((&sum["scenario"], &sum["target"], &sum["close_codes"]), (&whole["scenario"], &whole["target"], &whole["close_codes"]));
    let probes = "2 opening handshakes before the run (readiness probes and warm-up, with the values of client 0) are not counted";
    assert_eq!(sum["notices"], serde_json::json!(["merged from 2 shards with 3 processes", probes]));
    assert_eq!(sum["verdict"]["expectations"].as_array().map(Vec::len), Some(3), "the whole is judged");
    assert_eq!((arrivals(&place, "sum").len(), arrivals(&place, "sum")), (41, arrivals(&place, "whole")));
    let shard = place.json("one/summary.json");
    assert_eq!((&shard["clients"]["started"], shard["verdict"]["expectations"].as_array().map(Vec::len)), (&21.into(), Some(0)));
    assert!(shard["verdict"]["reasons"].to_string().contains("shard 1/2"), "{}", shard["verdict"]);
    refusals(&place);
}

/// What `merge` and `check` refuse, given shards `one` and `two`.
fn refusals(place: &Place) {
    let other = place.run(&["run", "test.toml", "--out", "other", "--shard", "2/2", "--seed", "9", "--quiet"]);
    assert_eq!(other.code, Some(0), "{other:?}");
    for (args, parts) in [
        (&["merge", "one"][..], &["shards are missing: 2/2; the run has 2"][..]),
        (&["merge", "one", "one"], &["one and one are both shard 1/2"]),
        (&["merge", "one", "other"], &["one and other are not shards of one run", "`seed = 1`", "`seed = 9`"]),
        (&["merge", "one", "whole"], &["whole has no shard.books"]),
        (&["merge", "one", "nowhere"], &["nowhere has no shard.books"]),
        (&["check", "one"], &["one is one shard of a run", "closestorm merge"]),
        (&["calibrate", "one"], &["one is one shard of a run", "closestorm merge"]),
    ] {
        place.assert_refuses(args, 2, parts);
    }
    let books = fs::read(place.path("two/shard.books")).expect("books");
    fs::write(place.path("two/shard.books"), &books[..books.len() - 9]).expect("the folder can be written");
    place.assert_refuses(&["merge", "one", "two"], 1, &["two/shard.books is damaged"]);
    let middle = books.len() / 2;
    let changed = [&books[..middle], &[books[middle] ^ 4], &books[middle + 1..]].concat();
    fs::write(place.path("two/shard.books"), changed).expect("the folder can be written");
    place.assert_refuses(&["merge", "one", "two"], 1, &["two/shard.books is damaged", "checksum does not match", "run the shard again"]);
    fs::rename(place.path("two"), place.path("two.partial")).expect("the folder can be written");
    place.assert_refuses(&["merge", "one", "two"], 2, &["two does not exist, only two.partial", "still running or was killed"]);
}

#[test]
fn a_shard_without_a_common_server_or_time_is_refused() {
    let place = Place::with(SHORT);
    for (args, part) in [
        (&["run", "test.toml", "--shard", "1/2"][..], "[target.url]"),
        (&["run", "test.toml", "--start-at", "noon"], "2026-01-31T12:00:00Z"),
        (&["run", "test.toml", "--start-at", "2020-01-31T12:00:00Z"], "is in the past"),
        (&["run", "test.toml", "--shard", "3/2"], "such as 2/8"),
        (&["run", "test.toml", "--workers", "0"], "--workers"),
    ] {
        place.assert_refuses(args, 2, &[part]);
    }
}

/// The counts of a summary: without times, and without what is of the process that measured.
fn counts(place: &str, value: &Value, found: &mut Vec<String>) {
    // Peaks of a second depend on when in it the clients came; expectations here are about times.
    const LEFT_OUT: [&str; 7] = ["generator", "notices", "command", "verdict", "liveness", "peak_per_s", "measured_ms"];
    match value {
        Value::Object(table) if place.ends_with("_us") => found.push(format!("{place}: {}", table["count"])),
        Value::Object(table) => {
            let kept = table.iter().filter(|(key, _)| !LEFT_OUT.contains(&key.as_str()));
            kept.for_each(|(key, value)| counts(&format!("{place}.{key}"), value, found));
        }
        Value::Array(rows) => (0..).zip(rows).for_each(|(at, row): (usize, _)| counts(&format!("{place}[{at}]"), row, found)),
        _ if ["_us", "_ms"].iter().any(|end| place.ends_with(end)) => {}
        _ => found.push(format!("{place}: {value}")),
    }
}

/// Clients come back over wss: each shard counts its own full and resumed handshakes.
#[test]
#[ignore = "long: scripts/test"]
fn shards_over_tls_count_what_one_process_counts() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let identity = json!({ "certificate": made.cert.pem(), "key": made.signing_key.serialize_pem() });
    let (port, started) = std::sync::mpsc::channel();
    let (over, until_over) = tokio::sync::oneshot::channel::<()>();
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let server = Server::start_with(&Embedded { tls: true, ..Embedded::default() }, identity).await;
            port.send(server.port).expect("the test waits");
            let _ = until_over.await;
        });
    });
    let port = started.recv().expect("the server listens");
    let scenario = format!(
        r#"
duration = "6s"
[target.url]
address  = "wss://127.0.0.1:{port}/"
insecure = true
[clients.web]
count     = 31
arrive    = {{ over = "300ms" }}
reconnect = {{ fixed = {{ delay = "300ms" }} }}
[clients.node]
count     = 11
arrive    = {{ over = "300ms" }}
reconnect = {{ fixed = {{ delay = "300ms" }} }}
resume    = false
[[faults]]
name   = "cut"
at     = "2s"
side   = "client"
inject = {{ drop_rst = {{}} }}
[[faults]]
name   = "third"
at     = "4s"
side   = "client"
select = {{ nth = 3 }}
inject = {{ close_code = {{ code = 4000 }} }}
"#
    );
    let place = Place::with(&scenario);
    let at = soon();
    at_once([(None, "whole"), (Some("1/3"), "one"), (Some("2/3"), "two"), (Some("3/3"), "three")], |(shard, out)| {
        let mut args = vec!["run", "test.toml", "--out", out, "--start-at", &at, "--quiet"];
        args.extend(shard.iter().flat_map(|shard| ["--shard", shard]));
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_closestorm")).args(args).current_dir(place.path("")).status();
        assert!(matches!(status.expect("it runs").code(), Some(0 | 3)), "{out}");
    });
    let ended = place.run(&["merge", "one", "two", "three", "--out", "sum"]);
    assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
    let (whole, sum) = (place.json("whole/summary.json"), place.json("sum/summary.json"));
    // 42 first connections and 11 second ones of clients that keep no session; 31 come back once, and of every third client once more.
    let third = |first: u64, count: u64| (first..first + count).filter(|client| client % 3 == 2).count() as u64;
    let (web, node) = (third(0, 31), third(31, 11));
    for summary in [&whole, &sum] {
        let tls = (&summary["tls_full_us"]["count"], &summary["tls_resumed_us"]["count"]);
        assert_eq!(tls, (&json!(42 + 11 + node), &json!(31 + web)));
    }
    let of = |summary| {
        let mut found = Vec::new();
        counts("", summary, &mut found);
        found
    };
    assert_eq!(of(&sum), of(&whole));
    drop(over);
    serving.join().expect("no panic");
}
