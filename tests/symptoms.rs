//! Every symptom of `docs/symptoms.md` happens: its scenario is run, and what `<!-- shows: EXPECTATION; … -->` says was observed.
//!
//! In the simulator where it knows the fault, else on sockets, all at the same time: most of what they do is to wait.

use crate::common::program;
use crate::documents::{Document, read};
use closestorm::results::record::Summary;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

/// Everything on the page happens within this time.
const DURATION: &str = "30s";

#[test]
#[ignore = "long: scripts/test"]
fn every_symptom_happens() {
    let page = Document { name: "docs/symptoms.md".to_owned(), text: read("docs/symptoms.md") };
    let mut blocks = page.blocks();
    blocks.retain(|block| block.language == "toml");
    assert!(blocks.len() > 20, "{}", blocks.len());
    let tests = blocks.iter().map(|block| {
        let shows = block.mark("shows").unwrap_or_else(|| panic!("{}:{} does not say what it shows", page.name, block.line));
        let shows = shows.split("; ").map(|one| format!("{one:?}")).collect::<Vec<_>>().join(", ");
        (format!("{}:{}", page.name, block.line), block.scenario(), format!("expect=[{shows}]"))
    });
    let tests = tests.collect::<Vec<_>>();
    let wrong = thread::scope(|scope| {
        let all = tests.iter().map(|(place, scenario, expect)| scope.spawn(move || (place, happens(scenario, expect)))).collect::<Vec<_>>();
        let ended = all.into_iter().map(|one| one.join().expect("it does not panic"));
        ended.filter_map(|(place, wrong)| Some(format!("{place}: {}", wrong?))).collect::<Vec<_>>()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What was not observed. A busy machine makes a run inconclusive; what was observed counts all the same.
fn happens(scenario: &str, expect: &str) -> Option<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("symptom.toml"), scenario).expect("the folder can be written");
    let mut output = carry_out("simulate", expect, folder.path());
    // Refused, or with a notice of what the simulator leaves out.
    let notices = std::fs::read_to_string(folder.path().join("out/summary.json")).unwrap_or_default();
    if String::from_utf8_lossy(&output.stderr).contains("is not simulated") || notices.contains("not simulated") {
        output = carry_out("run", expect, folder.path());
    }
    let Ok(summary) = std::fs::read_to_string(folder.path().join("out/summary.json")) else {
        return Some(String::from_utf8_lossy(&output.stderr).into_owned());
    };
    let summary: Summary = serde_json::from_str(&summary).expect("a summary as documented");
    assert!(!summary.verdict.expectations.is_empty());
    let missed = summary.verdict.expectations.iter().filter(|one| one.result != "pass");
    let missed = missed.map(|one| format!("{}: observed {:?} {}", one.text, one.observed, one.note.clone().unwrap_or_default()));
    Some(missed.collect::<Vec<_>>().join(", ")).filter(|missed| !missed.is_empty())
}

fn carry_out(command: &str, expect: &str, folder: &Path) -> Output {
    let mut closestorm = Command::new(program());
    closestorm.args([command, "symptom.toml", "--duration", DURATION, "--set", expect, "--out", "out", "--quiet"]);
    closestorm.current_dir(folder).output().expect("the program starts")
}
