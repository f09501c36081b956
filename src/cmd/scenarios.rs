//! `closestorm scenarios`: the scenarios that come with the program.

use super::console::print;
use super::exit::{OK, Usage};
use super::faults::pretty;
use crate::cli::{Format, Scenarios};
use crate::number::{counted, word_of};
use crate::output;
use crate::scenario::{BUNDLED, Bundled, PROGRAMS, bundled};
use crate::units::nearest;
use anyhow::Context;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Lists all scenarios by their question, prints one, or writes all to files.
///
/// # Errors
/// An unknown scenario, and where stdout or a file cannot be written.
pub fn main(args: Scenarios) -> anyhow::Result<u8> {
    if let Some(dir) = &args.files {
        print(&write(dir)?)?;
        return Ok(OK);
    }
    let args = args.catalogue;
    let found = args.name.as_deref().map(find).transpose()?;
    let text = match (found, args.format) {
        (None, Format::Text) => list(),
        (Some(scenario), Format::Text) => scenario.text.to_owned(),
        (None, Format::Json) => pretty(&BUNDLED.iter().map(as_json).collect()),
        (Some(scenario), Format::Json) => pretty(&as_json(scenario)),
    };
    print(&text)?;
    Ok(OK)
}

/// Writes the scenarios and what they start; says what was done.
fn write(dir: &Path) -> anyhow::Result<String> {
    let dir = dir.join("scenarios");
    let scenarios = BUNDLED.iter().map(|one| (format!("{}.toml", one.name), one.text));
    let programs = PROGRAMS.iter().map(|(path, text)| ((*path).to_owned(), *text));
    let (mut written, mut kept) = (0, 0);
    for (name, text) in scenarios.chain(programs) {
        let path = dir.join(name);
        // A link that leads nowhere is there as well.
        if output::kind(&path).is_ok_and(|kind| kind.is_some()) {
            kept += 1;
            continue;
        }
        let folder = path.parent().unwrap_or(&dir);
        fs::create_dir_all(folder)
            .and_then(|()| output::write(&path, text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        written += 1;
    }
    let there =
        if kept > 0 { format!(", {} {} kept", counted(kept, "existing file"), word_of(kept, "was", "were")) } else { String::new() };
    let node = dir.join("node");
    Ok(format!(
        "{} written below {}{there}\nInstall the packages of the Node.js servers once: npm ci --prefix {}\n",
        counted(written, "file"),
        dir.display(),
        node.display()
    ))
}

fn find(name: &str) -> Result<&'static Bundled, Usage> {
    bundled(name).ok_or_else(|| {
        let near = nearest(name, BUNDLED.iter().map(|one| one.name)).map(|near| format!(", did you mean `{near}`?"));
        Usage(format!("there is no bundled scenario `{name}`{}", near.unwrap_or_default()))
    })
}

fn list() -> String {
    let width = BUNDLED.iter().map(|one| one.name.len()).max().unwrap_or(0);
    let lines = BUNDLED.iter().map(|one| format!("{:<width$}  {}\n", one.name, one.question()));
    lines.collect::<String>() + "\nRun one: closestorm run NAME. Copy one to change it: closestorm scenarios NAME > mine.toml\n"
}

fn as_json(scenario: &Bundled) -> Value {
    json!({ "name": scenario.name, "question": scenario.question(), "text": scenario.text })
}
