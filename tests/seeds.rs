//! `closestorm simulate --runs`: the same bytes on repeat and with any number of threads, rows, spread and bands that agree with each other.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

fn closestorm(folder: &Path, args: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_closestorm")).current_dir(folder).args(args).output().expect("the program starts");
    assert!(output.status.code().is_some_and(|code| code != 1 && code != 2), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Simulates into the folder `seeds` of a new folder.
fn seeds(args: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    closestorm(folder.path(), &[&["simulate"], args, &["--quiet", "--out", "seeds"]].concat());
    folder
}

fn read(folder: &tempfile::TempDir, name: &str) -> String {
    std::fs::read_to_string(folder.path().join("seeds").join(name)).expect(name)
}

/// The files of a folder that say nothing of when it was made.
fn files(folder: &tempfile::TempDir) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder.path().join("seeds")).expect("a folder").map(|entry| entry.expect("an entry"));
    let files = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("a file")));
    files.filter(|(name, _)| !["manifest.json", "latency.hlog"].contains(&name.as_str())).collect()
}

/// A table by column.
fn table(csv: &str) -> BTreeMap<String, Vec<String>> {
    let mut lines = csv.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let head = lines.next().expect("a header");
    let rows: Vec<_> = lines.collect();
    head.into_iter().enumerate().map(|(column, name)| (name, rows.iter().map(|row| row[column].clone()).collect())).collect()
}

fn numbers(column: &[String]) -> Vec<u64> {
    column.iter().map(|text| text.parse().expect("a number")).collect()
}

#[test]
#[ignore = "long: scripts/test"]
fn several_seeds_are_the_same_on_repeat_and_with_any_number_of_threads() {
    let args = ["strategies", "--clients", "300", "--runs", "11"];
    let first = seeds(&args);
    assert!(files(&first) == files(&seeds(&args)), "two runs differ");
    for threads in ["1", "3"] {
        let other = files(&seeds(&[&args[..], &["--threads", threads]].concat()));
        for (name, bytes) in files(&first) {
            // The command stands in these, and names the threads.
            let said = ["report.html", "report.md", "summary.json"].contains(&name.as_str()) || name.ends_with("g");
            assert!(said || other[&name] == bytes, "{name} with {threads} threads");
        }
        for name in ["timeline.svg", "reconnect.svg", "summary.json", "report.md"] {
            let other = String::from_utf8_lossy(&other[name]).replace(&format!(" --threads {threads}"), "");
            assert!(other == read(&first, name), "{name} with {threads} threads");
        }
    }
}

#[test]
fn several_seeds_are_rows_and_their_spread_is_in_the_summary() {
    let folder = seeds(&["default", "--clients", "400", "--runs", "7"]);
    let summary: serde_json::Value = serde_json::from_str(&read(&folder, "summary.json")).expect("JSON");
    let rows = table(&read(&folder, "runs.csv"));
    let seed = summary["seed"].as_u64().expect("a seed");
    assert_eq!(numbers(&rows["seed"]), (seed..seed + 7).collect::<Vec<_>>());
    let p90 = summary["reconnect"]["time_us"]["p90"].as_u64().expect("reached");
    assert_eq!(numbers(&rows["reconnect_p90_us"])[0], p90, "the folder is the first seed");
    let mut sorted = numbers(&rows["attempts"]);
    sorted.sort_unstable();
    let spread = |of: &str| summary["runs"]["attempts"][of].as_u64().expect("a count");
    assert_eq!(["least", "median", "most"].map(spread), [sorted[0], sorted[3], sorted[6]]);
    assert!(sorted[0] < sorted[6] && summary["runs"]["done"] == 7);
    assert!(read(&folder, "report.md").contains("## Other seeds"));
    // With one cohort, its band and the row of each seed are of the same clients.
    let band = table(&read(&folder, "runs_reconnect.csv"));
    for (percentile, column) in [("50.0", "reconnect_p50_us"), ("90.0", "reconnect_p90_us"), ("99.0", "reconnect_p99_us")] {
        let row = band["percentile"].iter().position(|of| of == percentile).expect(percentile);
        let mut times = numbers(&rows[column]);
        times.sort_unstable();
        let of_band = ["least_us", "median_us", "most_us"].map(|name| band[name][row].parse::<u64>().expect("reached"));
        assert_eq!(of_band, [times[0], times[3], times[6]], "{percentile}");
    }
}

#[test]
#[ignore = "long: scripts/test"]
fn bands_hold_the_first_seed_and_are_drawn_again_from_their_files() {
    let folder = seeds(&["strategies", "--clients", "300", "--runs", "12", "--duration", "24s"]);
    let (bands, rows) = (table(&read(&folder, "runs_timeline.csv")), table(&read(&folder, "timeline.csv")));
    let cohorts = ["exponential", "fixed", "full-jitter"];
    // 240 intervals are more than there is room for: a bin is two.
    assert_eq!((bands["offset_ms"].len(), rows["offset_ms"].len()), (120 * cohorts.len(), 240 * cohorts.len()));
    for cohort in cohorts {
        let of = |table: &BTreeMap<String, Vec<String>>, column: &str| -> Vec<u64> {
            let of_cohort = table["cohort"].iter().zip(numbers(&table[column])).filter(|(name, _)| *name == cohort);
            of_cohort.map(|(_, number)| number).collect()
        };
        let (attempts, open) = (of(&rows, "attempts"), of(&rows, "open"));
        let first: Vec<(u64, u64)> =
            attempts.chunks(2).zip(open.chunks(2)).map(|(attempts, open)| (attempts.iter().sum(), open[1])).collect();
        let [a_least, a_p10, a_p90, a_most] = ["least", "p10", "p90", "most"].map(|of_seeds| of(&bands, &format!("attempts_{of_seeds}")));
        let [o_least, o_p10, o_p90, o_most] = ["least", "p10", "p90", "most"].map(|of_seeds| of(&bands, &format!("open_{of_seeds}")));
        for (bin, (attempts, open)) in first.into_iter().enumerate() {
            assert!((a_least[bin]..=a_most[bin]).contains(&attempts) && (o_least[bin]..=o_most[bin]).contains(&open), "{cohort} {bin}");
            assert!([a_least[bin], a_p10[bin], a_p90[bin], a_most[bin]].is_sorted(), "{cohort} {bin}");
            assert!([o_least[bin], o_p10[bin], o_p90[bin], o_most[bin]].is_sorted(), "{cohort} {bin}");
        }
        let spread = (0..120).any(|bin| a_least[bin] < a_p10[bin] && a_p10[bin] < a_p90[bin] && a_p90[bin] < a_most[bin]);
        assert_eq!(spread, cohort == "full-jitter", "{cohort}: only jitter is drawn anew");
    }
    let drawn = files(&folder);
    for name in drawn.keys().filter(|name| name.ends_with("svg") || name.ends_with("png") || name.starts_with("report")) {
        std::fs::remove_file(folder.path().join("seeds").join(name)).expect(name);
    }
    closestorm(folder.path(), &["report", "seeds"]);
    assert!(files(&folder) == drawn, "drawn again");
    assert!(
        read(&folder, "reconnect.svg").contains("p10 to p90 of 12 seeds")
            && read(&folder, "timeline.svg").contains("p10 to p90 of 12 seeds")
    );
}
