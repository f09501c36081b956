//! Charts and reports of what was read from files, written into a folder that exists.

use crate::results::capacity::Search;
use crate::results::map::Mapped;
use crate::results::read::Loaded;
use crate::{plot, report};
use anyhow::Context;
use std::fs;
use std::path::Path;

/// Of a run.
///
/// # Errors
/// A chart cannot be drawn, or a file cannot be written.
pub(super) fn run(loaded: &Loaded, out: &Path) -> anyhow::Result<()> {
    plot::render_all(loaded, out)?;
    both(out, report::markdown(loaded), report::html(loaded, &plot::svgs(loaded)?))
}

/// Of a search for the capacity.
///
/// # Errors
/// The chart cannot be drawn, or a file cannot be written.
pub(super) fn search(search: &Search, out: &Path) -> anyhow::Result<()> {
    plot::capacity::render(search, out)?;
    both(out, report::capacity::markdown(search), report::capacity::html(search, &plot::capacity::svg(search)?))
}

/// Of a map.
///
/// # Errors
/// The chart cannot be drawn, or a file cannot be written.
pub(super) fn map(mapped: &Mapped, out: &Path) -> anyhow::Result<()> {
    plot::map::render(mapped, out)?;
    both(out, report::map::markdown(mapped), report::map::html(mapped, &plot::map::svg(mapped)?))
}

fn both(out: &Path, markdown: String, html: String) -> anyhow::Result<()> {
    for (name, text) in [("report.md", markdown), ("report.html", html)] {
        let path = out.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
