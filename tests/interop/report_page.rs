//! `report.html` in a browser: it shows what `summary.json` says, nothing goes wrong in it, and nothing leaves it.

use super::browser::{browse, chromium};
use closestorm::number;
use closestorm::results::read;
use serde_json::{Value, json};
use std::process::Command;

/// What a name, a question or a close reason may hold.
const EVIL: &str = "</script><img src=x onerror=alert(1)>";

/// 10,000 clients in two cohorts: a crash, and a close whose reason is markup.
fn scenario() -> String {
    let cohort = |name: &str, base: &str| {
        format!(
            "[clients.{name}]\ncount = 5000\narrive = {{ over = \"2s\" }}\ntraffic = {{ echo = {{ rate = \"1/s\" }} }}\n\
             reconnect = {{ exponential = {{ base = \"{base}\", factor = 2, cap = \"5s\", jitter = \"full\" }} }}\n"
        )
    };
    format!(
        "question = '{EVIL}'\nduration = \"25s\"\nexpect = [\"clients_lost count == 0\"]\n[target.embedded]\nhandshake_cost = \"100us\"\n{}{}\
         [[faults]]\nname = \"crash\"\nat = \"5s\"\ninject = {{ server_crash = {{ down = \"2s\" }} }}\n\
         [[faults]]\nname = \"closes\"\nat = \"16s\"\nselect = {{ percent = \"10%\" }}\ninject = {{ close_code = {{ code = 4000, reason = '{EVIL}' }} }}\n",
        cohort("slow", "2s"),
        cohort("quick", "200ms"),
    )
}

#[test]
fn the_page_shows_what_the_summary_says_and_asks_nobody() {
    if !chromium("the page of a run in a browser") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (file, out) = (folder.path().join("test.toml"), folder.path().join("run"));
    std::fs::write(&file, scenario()).expect("it is written");
    let made =
        Command::new(env!("CARGO_BIN_EXE_closestorm")).arg("simulate").arg(&file).arg("--quiet").arg("--out").arg(&out).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let page = out.join("report.html");
    let bytes = std::fs::metadata(&page).unwrap().len();
    assert!(bytes <= 1_000_000, "{bytes} bytes for 10,000 clients");

    // To look at them.
    let kept = std::env::var_os("CLOSESTORM_SCREENSHOTS").map(std::path::PathBuf::from);
    let lines = browse("report", 0, Some(kept.as_deref().unwrap_or(folder.path())), &json!({ "file": page }).to_string());
    let line = |key: &str| lines.iter().find(|line| !line[key].is_null()).unwrap_or_else(|| panic!("{key}: {lines:?}"));
    assert_eq!((&line("wrong")["wrong"], &line("wrong")["requests"]), (&json!([]), &json!([])));
    let summary = read(&out).unwrap().summary;
    let shown = line("lead");
    assert_eq!((shown["lead"].as_str(), &shown["images"]), (Some(EVIL), &json!(0)), "markup is text");
    assert_eq!(shown["alive"], json!(["timeline", "reconnect"]));

    let figure = |name: &str| shown["figures"][name].as_str().unwrap_or_else(|| panic!("{name}: {shown}"));
    let r = &summary.reconnect;
    for (name, value) in [
        ("clients planned", number::count(summary.clients.planned)),
        ("open at the peak", number::count(summary.clients.peak_open)),
        ("open at the end", number::count(summary.clients.open_at_end)),
        ("most attempts within a second", number::count(summary.attempts.peak_per_s)),
        ("median time to reconnect", number::time(r.time_us.p50.unwrap())),
        ("p99 time to reconnect", number::time(r.time_us.p99.unwrap())),
    ] {
        assert_eq!(figure(name), value, "{name}");
    }
    let drawn = &shown["drawn"];
    assert_eq!(drawn["attempts"], json!(summary.attempts.counts.total));
    assert_eq!(drawn["open"], json!(summary.clients.open_at_end));
    assert_eq!((&drawn["outages"], &drawn["back"]), (&json!(r.affected), &json!(r.recovered)));
    let codes: Value = summary.close_codes.client.iter().map(|(code, count)| json!([code, count])).collect();
    assert!(summary.close_codes.client.contains_key("4000") && summary.close_codes.client.contains_key("1006"));
    assert_eq!((&drawn["codes"], &shown["matrix"]), (&codes, &codes));
    // Histograms have three digits, the curve has each outage.
    for (of, is) in [(&drawn["p50_us"], r.time_us.p50), (&drawn["p99_us"], r.time_us.p99)] {
        let (of, is) = (of.as_f64().unwrap(), is.unwrap() as f64);
        assert!((of / is - 1.0).abs() < 0.01, "{of} {is}");
    }

    let keys = line("tip");
    assert!(keys["tip"].as_str().unwrap().contains(" open, "), "{keys}");
    assert!(keys["percentile"].as_str().unwrap().contains("back by"), "{keys}");
    let reach = |key: &str| keys[key].as_array().unwrap().iter().map(|ms| ms.as_f64().unwrap()).collect::<Vec<_>>();
    assert!(reach("before").len() >= 3 && reach("near").iter().zip(reach("before")).all(|(near, all)| *near < all * 0.6), "{keys}");
    assert_eq!(reach("after"), reach("before"));
    let cause = line("cause");
    assert!(cause["cause"]["open"] == true && cause["cause"]["examples"].as_u64() > Some(0), "{cause}");
    assert_eq!(cause["lines"], "quick", "the first cohort is left out");
    for line in lines.iter().filter(|line| line["width"].is_u64()) {
        assert_eq!(line["width"], line["scrolls"], "nothing is wider than the screen");
    }
    let plain = &line("plain")["plain"];
    assert!(plain["alive"] == 0 && plain["drawn"].as_u64() >= Some(4) && plain["tables"].as_u64() >= Some(8), "{plain}");
}
