//! What the tests of the whole program share: running it on a scenario text, and reading what it recorded.

use closestorm::results::record::{EndingRow, FaultRow, Summary};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// Longer than anything here takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// The program under test.
pub(crate) fn program() -> &'static str {
    env!("CARGO_BIN_EXE_closestorm")
}

/// A run under way; ended when dropped.
pub(crate) struct Running {
    child: Child,
    folder: TempDir,
}

/// A run that is over.
pub(crate) struct Finished {
    /// `summary.json`.
    pub(crate) summary: Summary,
    /// Rows of `events.csv`: offset, event, client, connection, fault, detail.
    pub(crate) events: Vec<Vec<String>>,
}

/// Starts `closestorm run` on a scenario. Observers look at the data themselves, on machines that are late at times: inconclusive is no
/// failure here.
pub(crate) fn start(scenario: &str) -> Running {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("proof.toml");
    std::fs::write(&file, scenario).expect("the folder can be written");
    let child = Command::new(program())
        .args([
            "run".as_ref(),
            file.as_os_str(),
            "--quiet".as_ref(),
            "--allow-inconclusive".as_ref(),
            "--out".as_ref(),
            folder.path().join("out").as_os_str(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    Running { child, folder }
}

impl Running {
    /// What the target prints, so far.
    fn target_log(&self) -> PathBuf {
        self.folder.path().join("out.partial/target.log")
    }

    /// Ports of `instances` embedded servers, in the order in which they began to listen.
    pub(crate) async fn ports(&self, instances: usize) -> Vec<u16> {
        let deadline = Instant::now() + LONG;
        loop {
            let ports = listening(&std::fs::read_to_string(self.target_log()).unwrap_or_default());
            if ports.len() >= instances {
                return ports;
            }
            assert!(Instant::now() < deadline, "the embedded server did not say where it listens");
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits for the end; the program must have been content.
    pub(crate) async fn finish(self) -> Finished {
        let output = timeout(LONG, self.child.wait_with_output()).await.expect("the run ends").expect("the program can be waited for");
        assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        Finished::read(&self.folder.path().join("out"))
    }
}

fn listening(log: &str) -> Vec<u16> {
    let whole_lines = log.rsplit_once('\n').map_or("", |(lines, _)| lines).lines();
    let addresses = whole_lines.filter_map(|line| line.strip_prefix("listening on ")?.rsplit_once(':'));
    addresses.filter_map(|(_, port)| port.trim_end_matches('/').parse().ok()).collect()
}

impl Finished {
    fn read(folder: &Path) -> Finished {
        let summary = std::fs::read_to_string(folder.join("summary.json")).expect("a summary");
        let mut events = csv::Reader::from_path(folder.join("events.csv")).expect("events");
        Finished {
            summary: serde_json::from_str(&summary).expect("a summary as documented"),
            events: events.records().map(|row| row.expect("a row").iter().map(str::to_owned).collect()).collect(),
        }
    }

    /// How connections ended, a line each, sorted: `<cohort>: <words>`.
    pub(crate) fn endings(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.summary.endings.iter().map(|row| format!("{}: {}", row.cohort, words(row))).collect();
        lines.sort();
        lines
    }

    /// The row of a fault.
    pub(crate) fn fault(&self, id: &str) -> &FaultRow {
        self.summary.faults.iter().find(|row| row.id == id).unwrap_or_else(|| panic!("no fault {id}"))
    }

    /// First offset of an event of a client in the run; empty `client`: of the run itself.
    pub(crate) fn offset(&self, event: &str, client: &str) -> Duration {
        self.offsets(event, client).first().copied().unwrap_or_else(|| panic!("no event {event} of {client:?} in {:?}", self.events))
    }

    /// Offsets of an event.
    pub(crate) fn offsets(&self, event: &str, client: &str) -> Vec<Duration> {
        let rows = self.events.iter().filter(|row| row[1] == event && row[2] == client);
        rows.map(|row| Duration::from_micros(row[0].parse().expect("an offset"))).collect()
    }
}

/// `<cause> by <initiator> <code received>><code sent> <tcp end>[ cut][ clean] told <code>[ | server told <code> <tcp end>][ ×<count>]`.
fn words(row: &EndingRow) -> String {
    let code = |code: Option<u16>| code.map_or("-".to_owned(), |code| code.to_string());
    let mut words = format!(
        "{} by {} {}>{} {}",
        row.cause,
        row.initiator,
        code(row.wire_received),
        code(row.wire_sent),
        row.tcp_end.as_deref().unwrap_or("-")
    );
    words.push_str(if row.mid_frame == Some(true) { " cut" } else { "" });
    words.push_str(if row.clean { " clean" } else { "" });
    words.push_str(&format!(" told {}", row.client_code.map_or("nothing".to_owned(), |code| code.to_string())));
    if let (Some(code), Some(end)) = (row.server_code, &row.server_tcp_end) {
        words.push_str(&format!(" | server told {code} {end}"));
    }
    if row.count > 1 {
        words.push_str(&format!(" ×{}", row.count));
    }
    words
}
