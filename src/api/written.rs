//! What is written for a reader of a run: data, charts and reports.

use crate::api::error::Error;
use crate::metrics::Results;
use crate::plan::Plan;
use crate::results::folder::Folder;
use crate::results::read::{self, Loaded};
use crate::results::record::{Manifest, Summary, Verdict};
use crate::results::runs::Seeds;
use crate::{output, plot, report};
use std::path::Path;

/// Writes data, charts and reports.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn save(
    folder: &Folder,
    results: &Results,
    seeds: Option<&Seeds>,
    plan: &Plan,
    verdict: &Verdict,
    manifest: &Manifest,
) -> Result<Summary, Error> {
    let place = folder.path();
    let shown = place.display();
    let summary = folder.write(results, seeds, &plan.resolved, verdict, manifest).map_err(|error| {
        Error::not_written(format!("the run was measured, as the summary says, but its data is incomplete in {shown}"), error)
    })?;
    read::read(place).map_err(Error::failed).and_then(|loaded| draw(&loaded, place)).map_err(|error| {
        let what = "its charts are not; draw them with `closestorm report";
        Error::not_written(format!("the data of the run is complete in {shown}, {what} {shown} --out DIR`"), error)
    })?;
    Ok(summary)
}

/// Charts and reports of a run that was read from files, into a folder that exists.
///
/// # Errors
/// A chart cannot be drawn, or a file cannot be written.
pub(crate) fn draw(loaded: &Loaded, out: &Path) -> Result<(), Error> {
    plot::render_all(loaded, out).map_err(Error::failed)?;
    let charts = plot::svgs(loaded).map_err(Error::failed)?;
    write_report(out, &report::markdown(loaded), &report::html(loaded, &charts))
}

/// A report in both of its forms, into a folder that exists.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write_report(out: &Path, markdown: &str, html: &str) -> Result<(), Error> {
    for (name, text) in [("report.md", markdown), ("report.html", html)] {
        let path = out.join(name);
        output::write(&path, text.as_bytes()).map_err(|error| Error::not_written(format!("cannot write {}", path.display()), error))?;
    }
    Ok(())
}
