//! A test binary of its own, run by `scripts/test` with one thread: whole runs under load and against programs that share no code with ours: Node's `ws` and its built-in WebSocket; mosquitto; kosoku's Autobahn cases; and our own sides against each other; and the console blocks of the documents, which are for the program as users have it.
//!
//! `close_codes` holds the table of what both sides report for each way to end a connection. What needs Node, Python or mosquitto fails without it;
//! `CLOSESTORM_NO_NODE=1`, `CLOSESTORM_NO_PYTHON=1` or `CLOSESTORM_NO_MOSQUITTO=1` leaves it out, says so past the test harness, and is refused where `CI` is set.
//! `scripts/test` counts what was left out.

mod autobahn;
mod browser;
mod bundled;
mod capacity;
mod chat;
mod close_codes;
mod console;
mod crowd;
mod dialogues;
#[allow(dead_code, reason = "the quick tests read more of them")]
#[path = "../documents.rs"]
mod documents;
#[path = "../embedded.rs"]
mod embedded;
mod fidelity;
mod from_tests;
mod learn;
mod live_page;
mod node_server;
mod oracle;
mod overlap;
#[allow(dead_code, reason = "the unit tests make plans smaller, too")]
#[path = "../overlapping_plans.rs"]
mod overlapping_plans;
mod packaging;
mod proxied;
mod proxy_tls;
mod pull_request;
mod random;
mod replay;
mod report_page;
mod secure;
mod served;
mod stuck;
mod toxiproxy;

use closestorm::results::record::{EventRow, Summary};
use closestorm::results::{Loaded, read};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Mutex, Once};
use std::time::Duration;

/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// A folder of this repository.
fn home(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Whether a test was left out on purpose by this variable.
fn left_out(variable: &str, test: &str) -> bool {
    let out = std::env::var_os(variable).is_some_and(|value| !value.is_empty());
    if out {
        let ci = std::env::var("CI").is_ok_and(|value| !["", "0", "false"].contains(&value.as_str()));
        assert!(!ci, "{variable} leaves out {test}: in CI nothing may be left out");
        // Written straight to the descriptor: the harness swallows what a passing test prints.
        let _ = writeln!(std::io::stderr(), "!! LEFT OUT, because {variable} is set: {test}");
    }
    out
}

/// Whether tests against Node may run; installs their packages. Without Node they fail, unless they were left out on purpose.
fn node(test: &str) -> bool {
    static INSTALLED: Once = Once::new();
    if left_out("CLOSESTORM_NO_NODE", test) {
        return false;
    }
    INSTALLED.call_once(|| ["scenarios/node", "tests/node"].into_iter().for_each(install));
    true
}

/// Whether tests against mosquitto may run; as [`node`].
fn mosquitto(test: &str) -> bool {
    static INSTALLED: Once = Once::new();
    if left_out("CLOSESTORM_NO_MOSQUITTO", test) {
        return false;
    }
    INSTALLED.call_once(|| {
        let done = Command::new(home("tests/mosquitto.sh")).arg("install").status();
        let fine = done.as_ref().is_ok_and(std::process::ExitStatus::success);
        assert!(fine, "mosquitto: {done:?}. Without it set CLOSESTORM_NO_MOSQUITTO=1 to leave these tests out");
    });
    true
}

/// The packages of a folder, as its lock file says.
fn install(folder: &str) {
    if home(folder).join("node_modules/.package-lock.json").exists() {
        return;
    }
    let npm = Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(home(folder)).status();
    let fine = npm.as_ref().is_ok_and(std::process::ExitStatus::success);
    assert!(fine, "npm ci in {folder}: {npm:?}. Without Node set CLOSESTORM_NO_NODE=1 to leave these tests out");
}

/// One of those that put load on the machine: they run one after another.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A run of the program, in a folder of its own.
struct Run {
    folder: tempfile::TempDir,
}

impl Run {
    fn new() -> Self {
        Run { folder: tempfile::tempdir().unwrap() }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn command(&self, scenario: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_closestorm"));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["run", scenario, "--quiet", "--out"]).arg(self.out()).args(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A scenario file in this run's folder.
    fn file(&self, text: &str) -> String {
        let file = self.folder.path().join("test.toml");
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    }

    fn output(&self, scenario: &str, args: &[&str]) -> Output {
        self.command(scenario, args).output().unwrap()
    }

    /// Runs to the end, reads the run folder, and sees to it that each expectation held.
    ///
    /// A saturated generator is no failure here: the tests share the machine, and look at the data themselves.
    fn load(&self, scenario: &str, args: &[&str]) -> Loaded {
        let output = self.output(scenario, args);
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 3)), "exit {code:?}: {}", String::from_utf8_lossy(&output.stderr));
        let loaded = self.read();
        let failed: Vec<_> = loaded.summary.verdict.expectations.iter().filter(|row| row.result != "pass").collect();
        assert!(failed.is_empty(), "{failed:#?}");
        loaded
    }

    fn read(&self) -> Loaded {
        read(&self.out()).unwrap()
    }

    /// What the target printed.
    fn log(&self) -> String {
        std::fs::read_to_string(self.out().join("target.log")).unwrap()
    }

    /// The address of the embedded server of a run that is under way.
    fn address(&self) -> String {
        let log = self.folder.path().join("run.partial/target.log");
        until("the server listens", || {
            let text = std::fs::read_to_string(&log).ok()?;
            // A whole line, not half of it.
            let line = text.split_inclusive('\n').find(|line| line.ends_with('\n') && line.starts_with("listening on "))?;
            Some(line.trim_start_matches("listening on ").trim_end().to_owned())
        })
    }
}

fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let begun = tokio::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < LONG, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The key=value pairs of an event's detail.
fn detail(row: &EventRow) -> BTreeMap<String, String> {
    let (mut pairs, mut rest) = (BTreeMap::new(), row.detail.as_str());
    while let Some((key, after)) = rest.trim_start().split_once('=') {
        let mut texts = serde_json::Deserializer::from_str(after).into_iter::<String>();
        // Quoted texts of these tests are plain enough to be JSON strings.
        let (value, end) = match after.starts_with('"').then(|| texts.next()).flatten() {
            Some(text) => (text.unwrap(), texts.byte_offset()),
            None => {
                let end = after.find(' ').unwrap_or(after.len());
                (after[..end].to_owned(), end)
            }
        };
        pairs.insert(key.to_owned(), value);
        rest = &after[end..];
    }
    pairs
}

/// Rows of an event.
fn events<'a>(loaded: &'a Loaded, name: &'a str) -> impl Iterator<Item = &'a EventRow> {
    loaded.events.iter().filter(move |row| row.event == name)
}

/// Connections that ended as `which` says.
fn ended(summary: &Summary, which: impl Fn(&closestorm::results::record::EndingRow) -> bool) -> u64 {
    summary.endings.iter().filter(|row| which(row)).map(|row| row.count).sum()
}

/// A server of `tests/node`, ended when dropped.
struct Peer {
    child: Child,
    port: String,
    /// Held: Node dies when it prints into a closed pipe.
    _printed: BufReader<ChildStdout>,
}

impl Peer {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new("node");
        let mut child = command.arg(home("tests/node/server.js")).arg("0").args(args).stdout(Stdio::piped()).spawn().unwrap();
        let (mut line, mut printed) = (String::new(), BufReader::new(child.stdout.take().unwrap()));
        printed.read_line(&mut line).unwrap();
        let port = line.trim_end().strip_prefix("listening on ").unwrap_or_else(|| panic!("node said {line:?}")).to_owned();
        Peer { child, port, _printed: printed }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
