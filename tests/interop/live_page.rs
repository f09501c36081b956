//! The page of a run under way in a browser, during a storm of 10,000 clients: what it shows at the end is what `summary.json` says, nothing goes
//! wrong in it, nothing leaves this machine, and it takes little memory.
//!
//! `CLOSESTORM_LIVE_SECONDS=300` makes the run longer, as `scripts/long` does: then memory must not grow after the second minute.

use super::browser::{browse_with, chromium};
use closestorm::number;
use closestorm::results::read;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Most bytes of the page's heap after a collection.
const HEAP_MAX: f64 = 50e6;
/// How much more of it there may be at the end than after the second minute, as medians: single values have what is just being read.
const GROWTH_MAX: f64 = 1.1;

fn scenario(seconds: u64) -> String {
    let cohort = |name: &str, base: &str| {
        format!(
            "[clients.{name}]\ncount = 5000\narrive = {{ over = \"5s\" }}\n\
             reconnect = {{ exponential = {{ base = \"{base}\", factor = 2, cap = \"5s\", jitter = \"full\" }} }}\n"
        )
    };
    format!(
        "question = \"Do all come back?\"\nduration = \"{seconds}s\"\nexpect = [\"clients_lost count == 0\", \"reconnect_time p99 < 30s\"]\n\
         [target.embedded]\n{}{}\
         [[faults]]\nname = \"cut\"\nat = \"8s\"\nselect = {{ percent = \"50%\" }}\ninject = {{ drop_rst = {{}} }}\n\
         [[faults]]\nname = \"closes\"\nat = \"14s\"\nevery = \"5s\"\nselect = {{ percent = \"5%\" }}\ninject = {{ close_code = {{ code = 4000 }} }}\n",
        cohort("slow", "3s"),
        cohort("quick", "1s"),
    )
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[test]
fn the_page_of_a_run_follows_it_and_ends_as_the_summary_says() {
    if !chromium("the page of a run under way in a browser") {
        return;
    }
    let seconds = std::env::var("CLOSESTORM_LIVE_SECONDS").map_or(30, |seconds| seconds.parse().expect("seconds"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (file, out) = (folder.path().join("test.toml"), folder.path().join("run"));
    std::fs::write(&file, scenario(seconds)).expect("it is written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_closestorm"));
    command.arg("run").arg(&file).args(["--plain", "--allow-inconclusive", "--web=127.0.0.1:0", "--out"]).arg(&out);
    let mut run = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut lines = BufReader::new(run.stderr.take().expect("a pipe")).lines();
    let url = lines.find_map(|line| line.expect("text").strip_prefix("page of the run: ").map(str::to_owned)).expect("its address");
    // Whoever writes to a full pipe waits.
    let reading = std::thread::spawn(move || lines.map_while(Result::ok).last());

    // To look at them.
    let kept = std::env::var_os("CLOSESTORM_SCREENSHOTS").map(std::path::PathBuf::from);
    let mut said = Vec::new();
    let every_ms = (seconds * 1000 / 20).max(1000);
    browse_with(
        "live",
        0,
        Some(kept.as_deref().unwrap_or(folder.path())),
        &json!({ "url": url, "every_ms": every_ms }).to_string(),
        |line| {
            said.push(line);
        },
    );
    let status = run.wait().expect("it ends");
    let last = reading.join().expect("it reads");
    assert!(status.success(), "{status} {last:?}");
    let line = |key: &str| said.iter().find(|line| !line[key].is_null()).unwrap_or_else(|| panic!("{key}: {said:?}"));

    // While it runs.
    let storm = &line("storm")["storm"];
    assert!(storm["away"].as_u64() > Some(0) && storm["fault"].as_str().unwrap().starts_with("fired at 8 s"), "{storm}");
    let keys = line("stops");
    let stops: Vec<&str> = keys["stops"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(["button", "input", "chart", "summary"].iter().all(|stop| stops.contains(stop)), "{stops:?}");
    assert_eq!((&keys["zoomed"], &keys["focused"]), (&keys["still"], &json!("chart")), "new data takes nothing from who reads");
    assert!(keys["zoomed"][0][1].as_u64() < Some(seconds * 1000), "{keys}");
    assert!(keys["tip"].as_str().unwrap().contains(" open, "), "{keys}");
    for line in said.iter().filter(|line| line["width"].is_u64()) {
        assert_eq!(line["width"], line["scrolls"], "nothing is wider than the screen");
    }
    let rate = line("rate")["rate"].as_f64().unwrap();
    assert!((1.0..=10.0).contains(&rate), "{rate} updates a second");

    // At the end: what the summary and the report say.
    let summary = read(&out).unwrap().summary;
    let shown = line("lead");
    assert_eq!(shown["title"], "test – closestorm");
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    let data = report.split("id=\"data\">").nth(1).and_then(|rest| rest.split("</script>").next());
    assert_eq!(shown["data"].as_str(), data, "the data of the report");
    let r = &summary.reconnect;
    for (name, value) in [
        ("clients planned", number::count(summary.clients.planned)),
        ("open at the peak", number::count(summary.clients.peak_open)),
        ("open at the end", number::count(summary.clients.open_at_end)),
        ("median time to reconnect", number::time(r.time_us.p50.unwrap())),
    ] {
        assert_eq!(shown["figures"][name], value, "{name}");
    }
    let drawn = &shown["drawn"];
    assert_eq!(drawn["attempts"], json!(summary.attempts.counts.total));
    assert_eq!((&drawn["outages"], &drawn["back"]), (&json!(r.affected), &json!(r.recovered)));
    let codes: Value = summary.close_codes.client.iter().map(|(code, count)| json!([code, count])).collect();
    assert_eq!((&drawn["codes"], &shown["matrix"]), (&codes, &codes));
    assert!(line("percentile")["percentile"].as_str().unwrap().contains("back by"));

    let heaps: Vec<f64> = said.iter().filter_map(|line| line["heap"].as_f64()).collect();
    println!(
        "heap after collection, MB: {:?}, at the end {}",
        heaps.iter().map(|heap| heap / 1e6).collect::<Vec<_>>(),
        line("end_heap")["end_heap"]
    );
    assert!(heaps.len() >= 5 && heaps.iter().all(|heap| *heap <= HEAP_MAX), "{heaps:?}");
    assert!(line("end_heap")["end_heap"].as_f64().unwrap() <= HEAP_MAX);
    if seconds > 150 {
        let later = &heaps[heaps.len() * 120 / seconds as usize..];
        let [early, late] = [&later[..later.len() / 2], &later[later.len() / 2..]].map(median);
        assert!(late <= early * GROWTH_MAX, "{early} {late}: {heaps:?}");
    }
    // Nothing went wrong, and nobody else was asked for anything.
    let asked: Vec<&str> = line("wrong")["requests"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(line("wrong")["wrong"], json!([]));
    assert!(asked.iter().all(|path| ["", "events", "favicon.ico"].contains(path)), "{asked:?}");
}
