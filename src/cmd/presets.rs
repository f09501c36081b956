//! `closestorm presets`: the catalogue of reconnect strategies. `atlas` makes a page of what they do.

pub mod atlas;

use super::console::print;
use super::exit::{OK, Usage};
use super::faults::pretty;
use crate::cli::{Catalogue, Format};
use crate::reconnect::{self, Preset};
use serde_json::{Value, json};

/// Lists all presets, or tells all about one.
///
/// # Errors
/// An unknown preset, and where stdout cannot be written.
pub fn main(args: Catalogue) -> anyhow::Result<u8> {
    let found = args.name.as_deref().map(|name| reconnect::find(name).map_err(|unknown| Usage(unknown.to_string()))).transpose()?;
    let text = match (found, args.format) {
        (None, Format::Text) => list(),
        (Some(preset), Format::Text) => preset.describe(),
        (None, Format::Json) => pretty(&reconnect::presets().map(as_json).collect()),
        (Some(preset), Format::Json) => pretty(&as_json(preset)),
    };
    print(&text)?;
    Ok(OK)
}

fn list() -> String {
    let width = reconnect::presets().map(|preset| preset.id.len()).max().unwrap_or(0);
    let lines = reconnect::presets().map(|preset| format!("{:<width$}  {}\n", preset.id, preset.summary()));
    lines.collect::<String>() + "\nDetails of one: closestorm presets NAME\n"
}

fn as_json(preset: &Preset) -> Value {
    let facts = &preset.facts;
    json!({
        "id": preset.id, "aliases": facts.aliases, "package": facts.package, "version": facts.version, "source": facts.source,
        "measured": facts.measured, "connect_timeout_note": facts.connect_timeout_note, "note": facts.note, "summary": preset.summary(), "vec_ms": facts.vec_ms,
    })
}
