//! Charts and reports of searches and maps that were read from files, written into a folder that exists.

use crate::api::write_report;
use crate::results::capacity::Search;
use crate::results::map::Mapped;
use crate::{plot, report};
use std::path::Path;

/// Of a search for the capacity.
///
/// # Errors
/// The chart cannot be drawn, or a file cannot be written.
pub(super) fn search(search: &Search, out: &Path) -> anyhow::Result<()> {
    plot::capacity::render(search, out)?;
    let html = report::capacity::html(search, &plot::capacity::svg(search)?);
    Ok(write_report(out, &report::capacity::markdown(search), &html)?)
}

/// Of a map.
///
/// # Errors
/// The chart cannot be drawn, or a file cannot be written.
pub(super) fn map(mapped: &Mapped, out: &Path) -> anyhow::Result<()> {
    plot::map::render(mapped, out)?;
    let html = report::map::html(mapped, &plot::map::svg(mapped)?);
    Ok(write_report(out, &report::map::markdown(mapped), &html)?)
}
