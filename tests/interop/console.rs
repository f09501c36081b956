//! The documents run as they are written: every console block, one after the other in a folder of its section, under `bash -e`.
//!
//! A comment before a block says what a test must know: `<!-- no-test: why -->` leaves it out, `<!-- exits: 0, 99: why -->` allows other
//! exit codes than 0, and `<!-- file: mine.toml -->` before a scenario writes it into the folder first. A section in which the load generator was too slow is run again alone; a block that is too slow even then has not been
//! run as written, and fails unless its mark allows exit code 3. `closestorm` and `cargo run --release --` are the program under test.

#![expect(clippy::disallowed_methods, reason = "real processes in real time")]

use crate::documents::{self, Document, documents};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// Sections run at a time: most of what their commands do is to wait.
const AT_ONCE: usize = 3;
/// Longest time for one block.
const BLOCK_WITHIN: Duration = Duration::from_secs(150);
/// What `cargo run --release --` becomes: another build inside a test would be no test of the document.
const CARGO: &str = "#!/bin/sh\n[ \"$1 $2 $3\" = 'run --release --' ] || { echo \"cargo $*: not in a document\" >&2; exit 2; }\nshift 3\nexec closestorm \"$@\"\n";
/// What a load generator says that was too slow: the machine may be busy with other tests, which is no fault of the document.
const TOO_SLOW: &str = "load generator was saturated";
/// How often a section is run alone where the load generator was too slow beside others.
const ALONE: usize = 2;

/// A console block.
#[derive(Debug)]
struct Block {
    /// Document and line.
    place: String,
    /// What is typed, a line each.
    commands: Vec<String>,
    /// Why it is left out.
    left_out: Option<String>,
    /// Exit codes that are fine.
    exits: Vec<i32>,
}

#[test]
fn every_console_block_of_the_documents_runs_as_written() {
    let sections = documents().iter().flat_map(sections).collect::<Vec<_>>();
    let all: Vec<&Block> = sections.iter().flatten().collect();
    let left_out: Vec<_> = all.iter().filter_map(|block| Some((&block.place, block.left_out.as_ref()?))).collect();
    let list = left_out.iter().map(|(place, why)| format!("  {place}: {why}\n")).collect::<String>();
    say(&format!("{} console blocks, {} of them not run:\n{list}", all.len(), left_out.len()));
    assert!(all.len() - left_out.len() > 10, "{all:?}");
    let (waiting, wrong) = (Mutex::new(sections.iter().collect::<Vec<_>>()), Mutex::new(Vec::new()));
    let slow = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(section) = { waiting.lock().expect("no thread panics with it").pop() } {
                    match run(section) {
                        Ok(()) => {}
                        Err(Unlike::TooSlow(_)) => slow.lock().expect("no thread panics with it").push(section),
                        Err(Unlike::Document(why)) => wrong.lock().expect("no thread panics with it").push(why),
                    }
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().expect("no thread panics with it");
    wrong.extend(slow.into_inner().expect("no thread panics with it").into_iter().filter_map(|section| alone(section)));
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Runs a section beside which nothing runs. What went wrong, in words.
fn alone(section: &[Block]) -> Option<String> {
    let mut last = String::new();
    for _ in 0..ALONE {
        match run(section) {
            Ok(()) => return None,
            Err(Unlike::Document(why)) => return Some(why),
            Err(Unlike::TooSlow(place)) => last = place,
        }
    }
    Some(format!(
        "{last}: the load generator of this machine was too slow, so the block did not run as written; try again when nothing else runs"
    ))
}

/// Not by `eprintln!`, which is shown only where a test fails: what nobody runs must be seen.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Why a block did not run as it is written.
enum Unlike {
    /// The load generator was too slow; where.
    TooSlow(String),
    /// All else, in words.
    Document(String),
}

/// The console blocks of a document and the files that they need, by the sections that they stand in.
fn sections(document: &Document) -> Vec<Vec<Block>> {
    let mut sections: Vec<(usize, Vec<Block>)> = Vec::new();
    for found in document.blocks() {
        let commands = match (found.language, found.mark("file")) {
            ("console", _) => found.lines.iter().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect(),
            (_, Some(file)) => vec![format!("cat > {file} <<'END OF FILE'\n{}END OF FILE", found.text())],
            _ => continue,
        };
        let exits = found.mark("exits").unwrap_or("0").split(':').next().unwrap_or_default();
        let exits = exits.split(", ").map(|code| code.parse().expect("an exit code")).collect();
        let place = format!("{}:{}", document.name, found.line);
        let block = Block { place, commands, left_out: found.mark("no-test").map(str::to_owned), exits };
        match sections.last_mut() {
            Some((section, blocks)) if *section == found.section => blocks.push(block),
            _ => sections.push((found.section, vec![block])),
        }
    }
    sections.into_iter().map(|(_, blocks)| blocks).collect()
}

/// Runs the blocks of a section. What went wrong first.
fn run(section: &[Block]) -> Result<(), Unlike> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (bin, here) = (folder.path().join("bin"), folder.path().join("here"));
    [&bin, &here].into_iter().for_each(|dir| fs::create_dir(dir).expect("an empty folder"));
    symlink(env!("CARGO_BIN_EXE_closestorm"), bin.join("closestorm")).expect("an empty folder");
    fs::write(bin.join("cargo"), CARGO).expect("an empty folder");
    fs::set_permissions(bin.join("cargo"), fs::Permissions::from_mode(0o755)).expect("the file is ours");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    for block in section.iter().filter(|block| block.left_out.is_none()) {
        let begun = Instant::now();
        let mut bash = Command::new("timeout");
        bash.args([&BLOCK_WITHIN.as_secs().to_string(), "bash", "-e", "-c", &block.commands.join("\n")]);
        bash.current_dir(&here).env("PATH", &path).env_remove("CI").stdin(Stdio::null());
        let output = bash.output().expect("bash and timeout are there");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        println!("{} took {:.1} s: {}", block.place, begun.elapsed().as_secs_f64(), output.status);
        let code = output.status.code().unwrap_or(-1);
        if block.exits.contains(&code) {
            continue;
        }
        if code == 3 && said.contains(TOO_SLOW) {
            // What stands behind it in the block was not typed.
            say(&format!("{}: the load generator was too slow, so the block did not run to its end\n", block.place));
            return Err(Unlike::TooSlow(block.place.clone()));
        }
        return Err(Unlike::Document(format!("{}: {}\n{}\n{said}", block.place, output.status, block.commands.join("\n"))));
    }
    Ok(())
}

/// The step of a CI job ends with the run, and must have said why.
#[test]
fn a_run_that_fails_says_why_under_bash_e() {
    let readme = Document { name: "README.md".to_owned(), text: documents::read("README.md") };
    let ci = sections(&readme).into_iter().flatten().find(|block| block.commands.iter().any(|line| line.contains("--out results/ci")));
    let ci = ci.expect("the recipe for CI");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let scenario = "duration = \"1s\"\nexpect = [\"attempts{outcome=opened} count > 5\"]\n[clients.web]\ncount = 2\n";
    fs::write(folder.path().join("mine.toml"), scenario).expect("an empty folder");
    let script = ci.commands.join("\n").replace("closestorm", env!("CARGO_BIN_EXE_closestorm"));
    let output = Command::new("bash").args(["-e", "-c", &script]).current_dir(folder.path()).output().expect("bash is there");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(99), "{said}");
    assert!(said.contains("attempts{outcome=opened} count > 5") && said.contains("observed 2"), "{said}");
}
