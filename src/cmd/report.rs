//! `closestorm report`: writes charts and reports of a run, a search or a map again, from its files.

use super::artifacts;
use super::console;
use super::exit;
use crate::cli::Report;
use crate::results::read;
use crate::results::{capacity, map};
use anyhow::Context;
use std::fs;

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
        artifacts::search(&search, out)?;
    } else if map::is_map(&args.run) {
        let mapped = map::read(&args.run)?;
        make()?;
        artifacts::map(&mapped, out)?;
    } else {
        let loaded = read::read(&args.run)?;
        console::note_missing(&loaded);
        make()?;
        crate::api::draw(&loaded, out)?;
    }
    if !args.quiet {
        console::print(&format!("{}\n", out.join("report.html").display()))?;
    }
    Ok(exit::OK)
}
