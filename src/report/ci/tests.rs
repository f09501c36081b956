//! What is not known is never passed, and what strangers wrote stays text.

use super::*;
use crate::plan::ScenarioPlace;
use crate::plot::fixture;
use crate::results::record::{ExpectationRow, Verdict};
use crate::results::runs::RunRow;

/// Written by somebody who wants more than to be read.
const HOSTILE: &str = "a%\r\n::error file=x::y ##[error]z <script>&\"'`@you [l](http://x) $x$ | \u{1b}[31m \u{fffe}";

fn row(text: &str, observed: Option<f64>, result: &str) -> ExpectationRow {
    let (unit, note) = ("us".to_owned(), observed.is_none().then(|| "not reached in 10 s".to_owned()));
    ExpectationRow { text: text.to_owned(), observed, note, samples: None, needed: None, unit, result: result.to_owned() }
}

fn report(result: &str, reasons: &[&str], rows: Vec<ExpectationRow>) -> CiReport {
    let mut summary = fixture::crash_storm().summary;
    let reasons = reasons.iter().map(|&reason| reason.to_owned()).collect();
    let measured = rows.iter().map(|row| row.text.split(" <").next().unwrap_or_default().to_owned()).collect();
    let place = |line| Some(ScenarioPlace { file: "load/storm.toml".to_owned(), line });
    let places = (0..rows.len()).map(|at| place(at + 3)).collect();
    summary.verdict = Verdict { result: result.to_owned(), reasons, answer: None, expectations: rows };
    let (started, folder) = ("2026-01-31T12:00:00.000Z".to_owned(), "results/storm/1".to_owned());
    let run = CiRun { summary, measured, places, started, folder, picture: None, seeds: Vec::new() };
    CiReport { scenario: "storm".to_owned(), runs: vec![run], ..CiReport::default() }
}

fn results(report: &CiReport) -> Vec<CaseResult> {
    suites(report).iter().flat_map(|suite| &suite.cases).map(|case| case.result).collect()
}

#[test]
fn what_is_not_known_is_never_passed() {
    use CaseResult::{Broken, Crossed, Held, Unknown};
    let pass = || row("reconnect_time p50 < 2s", Some(1e6), "pass");
    let fail = || row("reconnect_time p99 < 3s", Some(4e6), "fail");
    let unknown = || row("rtt p99 < 3s", None, "inconclusive");
    for (result, reasons, rows, expected) in [
        ("pass", &[][..], vec![pass()], vec![Held]),
        ("fail", &["reconnect_time p99 < 3s: observed 4 s"], vec![pass(), fail()], vec![Held, Crossed]),
        ("inconclusive", &["rtt p99 < 3s: not reached"], vec![pass(), unknown()], vec![Held, Unknown]),
        // A saturated generator decides nothing, whatever the rows say.
        ("inconclusive", &["the load generator was saturated"], vec![pass(), fail()], vec![Broken, Unknown, Unknown]),
        ("fail", &["no client became ready"], vec![pass(), fail()], vec![Unknown, Crossed]),
        ("unchecked", &["no expectations: nothing was checked"], vec![], vec![Unknown]),
    ] {
        let report = report(result, reasons, rows);
        assert_eq!(results(&report), expected, "{result} {reasons:?}");
        let held = expected.iter().filter(|result| **result == Held).count();
        let (metrics, xml) = (openmetrics(&report), junit(&report));
        let ones = metrics.lines().filter(|line| line.starts_with("closestorm_expectation{") && line.ends_with(" 1")).count();
        assert_eq!(ones, held, "{metrics}");
        assert_eq!(
            xml.matches("<testcase ").count()
                - xml.matches("</failure>").count()
                - xml.matches("</skipped>").count()
                - xml.matches("</error>").count(),
            held,
            "{xml}"
        );
    }
    let nothing = CiReport::default();
    assert_eq!(results(&nothing), [Broken]);
    assert!(page(&nothing).contains("1 of 1 check cannot be judged"), "{}", page(&nothing));
}

#[test]
fn several_runs_and_seeds_have_cases_of_their_own() {
    let mut report =
        report("pass", &[], vec![row("reconnect_time p50 < 2s", Some(1e6), "pass"), row("reconnect_time p50 < 2s", Some(1e6), "pass")]);
    let seed = report.runs[0].summary.seed;
    let other = |seed, verdict: &str| {
        let text = serde_json::json!({ "seed": seed, "verdict": verdict, "affected": 0, "recovered": 0, "away_at_end": 0, "gave_up": 0, "attempts": 0,
            "attempts_peak_per_s": 0, "reconnect_p50_us": null, "reconnect_p90_us": null, "reconnect_p99_us": null });
        serde_json::from_value::<RunRow>(text).unwrap()
    };
    report.runs[0].seeds = vec![other(seed, "pass"), other(seed + 1, "fail"), other(seed + 2, "inconclusive")];
    let suites = suites(&report);
    let cases: Vec<(&str, CaseResult)> = suites[0].cases.iter().map(|case| (case.name.as_str(), case.result)).collect();
    let [first, again, second, third] = [
        format!("reconnect_time p50 < 2s [seed {seed}]"),
        format!("reconnect_time p50 < 2s [seed {seed}] (2)"),
        format!("all expectations [seed {}]", seed + 1),
        format!("all expectations [seed {}]", seed + 2),
    ];
    use CaseResult::{Crossed, Held, Unknown};
    assert_eq!(cases, [(first.as_str(), Held), (again.as_str(), Held), (second.as_str(), Crossed), (third.as_str(), Unknown)]);
    let lines = annotations(&report);
    assert!(lines.starts_with("::error title=all expectations::verdict fail\n"), "{lines}");
    assert_eq!(bmf(&report)["storm: reconnect_time p50"]["latency"]["value"], 1e9);
}

#[test]
fn one_expectation_of_many_runs_is_one_annotation_and_of_too_many_the_rest_is_counted() {
    let fails = (0..12).map(|at| row(&format!("reconnect_time p{} < 1s", 50 + at), Some(2e6), "fail")).collect();
    let mut report = report("fail", &[], fails);
    let lines = annotations(&report);
    let told: Vec<&str> = lines.lines().collect();
    assert_eq!(
        told[0],
        "::error file=load/storm.toml,line=3,title=reconnect_time p50 < 1s::observed 2 s; expected reconnect_time p50 < 1s"
    );
    assert_eq!((told.len(), told[9]), (10, "::error title=closestorm::3 more; all are in junit.xml and in the summary"));
    let mut second = report.runs[0].clone();
    second.summary.seed += 1;
    report.runs.push(second);
    let lines = annotations(&report);
    assert!(lines.lines().count() == 10, "{lines}");
    // What both observed is said once.
    assert!(lines.contains("p50 < 1s::in 2 runs: observed 2 s; expected reconnect_time p50 < 1s\n"), "{lines}");
    let page = page(&report);
    assert!(
        page.contains("\n| ✗ | reconnect\\_time p50 \\< 1s | 0 of 2 | observed 2 s; expected reconnect\\_time p50 \\< 1s |\n"),
        "{page}"
    );
    assert_eq!(page.matches("p50 \\< 1s |").count(), 2, "a row for both: {page}");
    report.runs[1].summary.verdict.expectations[0].observed = Some(3e6);
    assert!(annotations(&report).contains("in 2 runs: observed 2 s; expected reconnect_time p50 < 1s | observed 3 s; expected "));
}

#[test]
fn what_is_better_if_smaller_and_if_bigger_are_files_of_their_own() {
    let mut opened = row("attempts{outcome=opened, cohort=a>b} share > 99%", Some(99.5), "pass");
    opened.unit = "percent".to_owned();
    let none = row("reconnect_time p90 < 2s", Some(0.0), "pass");
    let fast = row("reconnect_time p50 < 2s", Some(1e6), "pass");
    let same = row("reconnect_time p99 == 2s", Some(2e6), "pass");
    let mut report = report("pass", &[], vec![opened, none, fast, same]);
    report.runs.push(report.runs[0].clone());
    report.runs[1].summary.verdict.expectations[2].observed = Some(3e6);
    let [smaller, bigger] = benchmarks(&report);
    let range = "1 s to 3 s";
    assert_eq!(
        smaller,
        serde_json::json!([{ "name": "storm: reconnect_time p50", "unit": "ms", "value": 2000.0, "range": range, "extra": "median of 2 runs" }])
    );
    assert_eq!(bigger[0]["value"], 99.5);
    assert_eq!((bigger[0]["unit"].as_str(), bigger.as_array().map(Vec::len)), (Some("%"), Some(1)));
}

#[test]
fn what_strangers_wrote_stays_text() {
    let mut report = report("fail", &[], vec![row(HOSTILE, Some(2e6), "fail")]);
    let place = ScenarioPlace { file: "a,line=1::x%.toml\n".to_owned(), line: 7 };
    (report.scenario, report.runs[0].places) = (HOSTILE.to_owned(), vec![Some(place)]);
    report.runs[0].summary.close_reasons[0].reason = HOSTILE.to_owned();
    report.errors.push(CiError { text: HOSTILE.to_owned(), place: None });
    let lines = annotations(&report);
    assert_eq!(lines.lines().count(), 2, "{lines}");
    for line in lines.lines() {
        let (properties, message) = line.strip_prefix("::error ").and_then(|rest| rest.split_once("::")).unwrap();
        assert!(!properties.contains([':', '%']) || properties.contains("%3A"), "{line}");
        assert!(!message.contains("##[") && message.contains("%25"), "{line}");
    }
    assert!(lines.contains("file=a%2Cline=1%3A%3Ax%25.toml ,line=7,title="), "{lines}");
    let xml = junit(&report);
    assert!(!xml.contains("<script") && xml.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{fffe}'), "{xml}");
    let page = page(&report);
    let bare = page.replace("\\<", "").replace("<!-- -->", "");
    assert!(!bare.contains('<') && !page.contains("[l](") && !page.contains("@you") && !page.contains(" $x"), "{page}");
    let metrics = openmetrics(&report);
    assert!(metrics.lines().all(|line| line.starts_with(['#', 'c'])) && metrics.contains("<script>&\\\"'"), "{metrics}");
}

#[test]
fn a_summary_that_does_not_fit_says_what_was_cut() {
    let page: String = (0..1000).map(|line| format!("line {line}\n")).collect();
    assert_eq!(cut(&page, page.len()).as_deref(), Some(page.as_str()));
    for left in [400, 2000, page.len() - 1] {
        let short = cut(&page, left).unwrap();
        let kept = short.lines().filter(|line| line.starts_with("line ")).count();
        assert!(short.len() <= left && short.contains(&format!("**Cut: {} lines of", 1000 - kept)), "{left}: {short}");
    }
    assert_eq!(cut(&page, 40), None);
}

#[test]
fn metrics_have_three_digits_and_say_what_is_not_known() {
    let rows = vec![row("reconnect_time p50 < 2s", Some(1_234_567.0), "pass"), row("reconnect_time p99 < 3s", None, "fail")];
    let text = openmetrics(&report("fail", &["reconnect_time p99 < 3s: not reached in 10 s"], rows));
    for line in [
        "closestorm_observed_seconds{scenario=\"storm\",expectation=\"reconnect_time p50 < 2s\"} 1.23",
        "closestorm_observed_seconds{scenario=\"storm\",expectation=\"reconnect_time p99 < 3s\"} NaN",
        "closestorm_expectation{scenario=\"storm\",expectation=\"reconnect_time p99 < 3s\"} 0",
        "closestorm_run{scenario=\"storm\"} 0",
        "# UNIT closestorm_observed_seconds seconds",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(text.ends_with("\n# EOF\n"));
}

#[test]
fn a_history_takes_whole_rows_of_its_own_columns() {
    let expected =
        [("reconnect_time{cohort=web,fault=x} p50", "us"), ("reconnect_time{cohort=web,fault=x} p50", "us"), ("attempts peak", "per_s")];
    let header = history_header(&expected.map(|(measured, unit)| (measured.to_owned(), unit.to_owned())));
    assert_eq!(header, "time,commit,scenario,seed,verdict,\"reconnect_time{cohort=web,fault=x} p50 us\",attempts peak\n");
    let mut report = report("pass", &[], vec![row("reconnect_time p50 < 2s", Some(1e6), "pass")]);
    report.runs[0].summary.seed = 7;
    let whole = history_row(&report.runs[0], "storm", "=cmd|'x'!A1,\"");
    assert_eq!(whole.as_deref(), Ok("2026-01-31T12:00:00.000Z,\"'=cmd|'x'!A1,\"\"\",storm,7,pass,1000000\n"));
    report.runs[0].summary.verdict.expectations[0].observed = None;
    assert_eq!(history_row(&report.runs[0], "storm", ""), Err("reconnect_time p50 us".to_owned()));
    assert_eq!(check_history("", &header), Ok(()));
    assert_eq!(check_history(&format!("{header}1,2\n"), &header), Ok(()));
    assert_eq!(check_history(&format!("{header}1,2"), &header), Err(HistoryError::Torn));
    assert!(check_history("time,other\n", &header).unwrap_err().to_string().starts_with("it has other columns: time,other; this run has "));
}
