//! `closestorm scenarios`: the scenarios that come with the program.

use super::faults::pretty;
use super::{OK, Usage, print};
use crate::cli::{Catalogue, Format};
use crate::expect::nearest;
use crate::scenario::{BUNDLED, Bundled, bundled};
use serde_json::{Value, json};

/// Lists all scenarios by their question, or prints one.
///
/// # Errors
/// An unknown scenario, and where stdout cannot be written.
pub fn main(args: Catalogue) -> anyhow::Result<u8> {
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

fn find(name: &str) -> Result<&'static Bundled, Usage> {
    bundled(name).ok_or_else(|| {
        let near = nearest(name, BUNDLED.iter().map(|one| one.name)).map(|near| format!(", did you mean `{near}`?"));
        Usage(format!("there is no bundled scenario `{name}`{}", near.unwrap_or_default()))
    })
}

fn list() -> String {
    let width = BUNDLED.iter().map(|one| one.name.len()).max().unwrap_or(0);
    let lines = BUNDLED.iter().map(|one| format!("{:<width$}  {}\n", one.name, one.question()));
    lines.collect::<String>() + "\nRun one: closestorm run NAME. Make it your own: closestorm scenarios NAME > mine.toml\n"
}

fn as_json(scenario: &Bundled) -> Value {
    json!({ "name": scenario.name, "question": scenario.question(), "text": scenario.text })
}
