//! The documents of the repository, for the tests that hold them against the program: which there are, and their fenced blocks.

use std::fs;
use std::path::{Path, PathBuf};

/// What a fragment of a scenario, which begins with `[[faults]]`, is laid over.
const BASE: &str = r#"duration = "60s"
[target.embedded]
[clients.web]
count = 100
traffic = { echo = { rate = "1/s" } }
heartbeat = { every = "5s" }
"#;

/// A document: its path from the root of the repository, and its text.
pub(crate) struct Document {
    /// As `docs/commands/run.md`.
    pub(crate) name: String,
    /// All of it.
    pub(crate) text: String,
}

/// Where it stands on this machine.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// README, CONTRIBUTING, the data dictionary, and all of `docs/` with its folders, sorted.
pub(crate) fn documents() -> Vec<Document> {
    let mut names = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned(), "results/README.md".to_owned()];
    add_folder("docs", &mut names);
    names.sort();
    names.into_iter().map(|name| Document { text: read(&name), name }).collect()
}

/// The text of a document.
pub(crate) fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn add_folder(folder: &str, names: &mut Vec<String>) {
    for entry in fs::read_dir(path(folder)).expect(folder) {
        let entry = entry.expect("an entry");
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            add_folder(&name, names);
        } else if name.ends_with(".md") {
            names.push(name);
        }
    }
}

/// A fenced block.
pub(crate) struct Block<'a> {
    /// Number of its first line, from 1.
    pub(crate) line: usize,
    /// What stands behind the fence: `console`, `toml`.
    pub(crate) language: &'a str,
    /// Its lines, without the fences.
    pub(crate) lines: Vec<&'a str>,
    /// What stands in the comments right above it.
    pub(crate) marks: Vec<&'a str>,
    /// Number of the section that it stands in: headings of level two and three begin one.
    pub(crate) section: usize,
}

impl Block<'_> {
    /// What a comment above it says behind `name: `.
    pub(crate) fn mark(&self, name: &str) -> Option<&str> {
        self.marks.iter().find_map(|mark| mark.strip_prefix(name)?.strip_prefix(": "))
    }

    /// As a scenario that can be run: a fragment together with what it is laid over.
    pub(crate) fn scenario(&self) -> String {
        let text = self.text();
        if self.is_fragment() { format!("{BASE}{text}") } else { text }
    }

    /// Whether it is only the faults of a scenario.
    pub(crate) fn is_fragment(&self) -> bool {
        self.lines.first().is_some_and(|line| *line == "[[faults]]")
    }

    /// Its text.
    pub(crate) fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

impl Document {
    /// All fenced blocks, in their order.
    pub(crate) fn blocks(&self) -> Vec<Block<'_>> {
        let (mut blocks, mut marks, mut section) = (Vec::new(), Vec::new(), 0);
        let mut lines = self.text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let trimmed = line.trim();
            if trimmed.starts_with("## ") || trimmed.starts_with("### ") {
                section += 1;
            }
            if let Some(mark) = trimmed.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
                marks.push(mark);
            } else if let Some(language) = trimmed.strip_prefix("```") {
                // A block inside a list is indented with its fence.
                let indent = line.len() - line.trim_start().len();
                let body = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
                let lines = body.map(|line| line.get(indent..).unwrap_or_default()).collect();
                blocks.push(Block { line: number + 1, language, lines, marks: std::mem::take(&mut marks), section });
            } else if !trimmed.is_empty() {
                marks.clear();
            }
        }
        blocks
    }

    /// Headings outside fenced blocks.
    pub(crate) fn headings(&self) -> impl Iterator<Item = &str> {
        self.prose().filter(|line| line.starts_with('#'))
    }

    /// Lines outside fenced blocks.
    pub(crate) fn prose(&self) -> impl Iterator<Item = &str> {
        let mut fenced = false;
        self.text.lines().filter(move |line| {
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            !fenced && !fence
        })
    }
}
