//! What this program wrote, read back after somebody changed it: books of shards, interval logs, and every file of a run folder.

use super::fuzz;
use clap::Parser as _;
use closestorm::api::Scenario;
use closestorm::cli::Cli;
use closestorm::cmd::run_command;
use closestorm::metrics::Results;
use closestorm::metrics::meta::RunMeta;
use closestorm::metrics::shard::{decode, encode};
use closestorm::plan::{Plan, Shard};
use closestorm::results::folder::Folder;
use closestorm::results::{Evidence, hlog, manifest, shard};
use closestorm::scenario::{Overrides, Source, load};
use closestorm::seed::Seed;
use closestorm::verdict::judge;
use std::fs;
use std::path::{Path, PathBuf};

/// Two cohorts, faults of several sorts, expectations with windows and limits: something of everything in the books.
const SCENARIO: &str = r#"
duration = "12s"
expect = ["clients_lost count == 0", "reconnect_time{from=1s,to=9s} p50 < 5s", "attempts peak < 900/s", "rtt p50 < 1s"]
target.embedded = { instances = 2 }
clients.a = { count = 30, reconnect = "socket.io-client", traffic = { echo = { rate = "1/s" } } }
clients.b = { count = 10, reconnect = { fixed = { delay = "300ms" } } }
faults = [
    { name = "cut", at = "2s", select = { percent = "50%" }, inject = { drop_rst = {} } },
    { name = "crash", at = "5s", inject = { server_crash = { down = "1s" } } },
]
"#;

fn plan() -> Plan {
    let source = Source::Text { name: "fuzzed".to_owned(), text: SCENARIO.to_owned() };
    load(&source, &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn simulated(plan: &Plan) -> Results {
    let model = plan.simulated_as().unwrap_or_else(|error| panic!("{error}"));
    closestorm::sim::run(plan, &model).unwrap_or_else(|error| panic!("{error}")).results
}

/// All that `merge` does with books that it could read.
fn added_up(plan: &Plan, results: &Results) {
    let mut sum = results.clone();
    sum.note_lateness("shard 1/2", results);
    sum.add(results);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = Folder::create(&folder.path().join("run")).expect("a run folder");
    let verdict = judge(&Evidence::of(&sum), &plan.expectations);
    folder.write(&sum, None, &plan.resolved, &verdict, &manifest::collect(Vec::new(), Seed(1))).expect("the folder can be written");
    let _ = sum.check_ledger();
}

#[test]
fn books() {
    let plan = plan();
    let results = simulated(&plan);
    let mut quiet = results.clone();
    quiet.events = closestorm::metrics::sample::Sample::new(1, Seed(1).stream("none"));
    // Without the events other parts of the books are hit more often.
    fuzz("books", &[encode(results), encode(quiet)], |bytes| {
        if let Ok(results) = decode(RunMeta::of(&plan), bytes)
            && every(8, bytes)
        {
            added_up(&plan, &results);
        }
    });
}

#[test]
fn interval_log() {
    let mut log = Vec::new();
    hlog::write_log(&mut log, &simulated(&plan()), 0.0).expect("a Vec takes all");
    // One line of each tag is as good as all.
    let short = String::from_utf8_lossy(&log).lines().take(12).map(|line| format!("{line}\n")).collect::<String>();
    fuzz("interval_log", &[log, short.into_bytes()], |bytes| drop(hlog::read_log(bytes)));
}

/// Carries a command out, as from the command line.
fn command(words: &[&str]) {
    // An error is an answer, and so is any exit code.
    let _ = run_command(Cli::parse_from(words).command);
}

/// Whether what takes long is done with this input: with one of so many, and always with the same.
fn every(n: u32, bytes: &[u8]) -> bool {
    crc32fast::hash(bytes).is_multiple_of(n)
}

/// A folder with the files of another.
fn copied(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().expect("a temporary folder");
    for file in data(from) {
        fs::copy(&file, to.path().join(file.file_name().expect("a name"))).expect("a file");
    }
    to
}

/// The files of a folder that commands read, by name.
fn data(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let read = ["json", "csv", "toml", "hlog", "books"];
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| read.iter().any(|read| end == *read))).collect();
    files.sort();
    files
}

/// The files of a folder, each behind its name and a line end: a mutation of it is one of the file.
fn named(folder: &Path) -> Vec<Vec<u8>> {
    let file = |file: PathBuf| {
        let head = format!("{}\n", file.file_name().expect("a name").to_string_lossy()).into_bytes();
        [head, fs::read(file).expect("a file")].concat()
    };
    data(folder).into_iter().map(file).collect()
}

/// Puts a mutated file into a folder; `false` where its name was hit.
fn put(folder: &Path, bytes: &[u8]) -> bool {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return false };
    let name = String::from_utf8_lossy(&bytes[..end]);
    if !folder.join(&*name).is_file() {
        return false;
    }
    fs::write(folder.join(&*name), &bytes[end + 1..]).is_ok()
}

#[test]
fn run_folder() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let run = place.path().join("run");
    let scenario = Scenario::from_toml(SCENARIO).unwrap_or_else(|error| panic!("{error}"));
    scenario.simulate().unwrap_or_else(|error| panic!("{error}")).write_data(&run).expect("a run folder");
    fuzz("run_folder", &named(&run), |bytes| {
        let folder = copied(&run);
        if put(folder.path(), bytes) {
            let path = folder.path().display().to_string();
            command(&["closestorm", "check", "--quiet", &path]);
            command(&["closestorm", "calibrate", "--quiet", &path]);
            if every(8, bytes) {
                command(&["closestorm", "report", "--quiet", &path]);
            }
        }
    });
}

#[test]
fn search_and_map() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("results");
    let (search, map) = (root.join("example-capacity"), root.join("example-map"));
    let seeds = [named(&search), named(&map)].concat();
    fuzz("search_and_map", &seeds, |bytes| {
        for from in [&search, &map] {
            let folder = copied(from);
            if put(folder.path(), bytes) {
                command(&["closestorm", "report", "--quiet", &folder.path().display().to_string()]);
            }
        }
    });
}

#[test]
fn merged_shard() {
    let plan = plan();
    let place = tempfile::tempdir().expect("a temporary folder");
    let manifest = manifest::collect(Vec::new(), Seed(1));
    let header = shard::Header {
        version: manifest.version.clone(),
        commit: manifest.commit.clone(),
        shard: Shard::WHOLE,
        name: "fuzzed".to_owned(),
        scenario: plan.resolved.clone(),
        start_at: None,
        started: manifest.started.clone(),
        notices: Vec::new(),
    };
    shard::write(place.path(), &header, simulated(&plan)).expect("the folder can be written");
    fs::write(place.path().join("scenario.toml"), &plan.resolved).expect("the folder can be written");
    fuzz("merged_shard", &named(place.path()), |bytes| {
        let folder = copied(place.path());
        if put(folder.path(), bytes) {
            let file = folder.path().join(shard::FILE);
            let mut books = fs::read(&file).unwrap_or_default();
            // Who wants to be read makes the sum anew.
            books.truncate(books.len().saturating_sub(4));
            books.extend(crc32fast::hash(&books).to_le_bytes());
            fs::write(&file, books).expect("the folder can be written");
            if !every(4, bytes) {
                let read = shard::read(folder.path(), &manifest).and_then(|part| shard::add_up(&[part], &RunMeta::of(&plan)));
                return drop(read);
            }
            let (path, out) = (folder.path().display().to_string(), folder.path().join("sum").display().to_string());
            command(&["closestorm", "merge", "--quiet", "--out", &out, &path]);
        }
    });
}
