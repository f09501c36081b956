//! `closestorm report`: writes charts and reports of a run, a search or a map again, from its files.

use crate::cli::Report;
use crate::plot;
use crate::report;
use crate::results::read::{self, Loaded};
use crate::results::{capacity, map};
use anyhow::Context;
use std::fs;
use std::path::Path;

/// Writes charts and reports of a run again.
///
/// # Errors
/// The run folder cannot be read, or the files cannot be written.
pub fn main(args: &Report) -> anyhow::Result<u8> {
    let out = args.out.as_deref().unwrap_or(&args.run);
    let make = || fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()));
    if capacity::is_search(&args.run) {
        let search = capacity::read(&args.run)?;
        make()?;
        super::capacity::draw(&search, out)?;
    } else if map::is_map(&args.run) {
        let mapped = map::read(&args.run)?;
        make()?;
        super::simulate::map::draw(&mapped, out)?;
    } else {
        let loaded = read::read(&args.run)?;
        make()?;
        write(&loaded, out)?;
    }
    if !args.quiet {
        super::print(&format!("{}\n", out.join("report.html").display()))?;
    }
    Ok(super::OK)
}

/// Writes charts and reports into a folder that exists.
///
/// # Errors
/// A chart cannot be drawn, or a file cannot be written.
pub fn write(loaded: &Loaded, out: &Path) -> anyhow::Result<()> {
    plot::render_all(loaded, out)?;
    let put = |name: &str, text: String| {
        let path = out.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    put("report.md", report::markdown(loaded))?;
    put("report.html", report::html(loaded, &plot::svgs(loaded)?))
}
