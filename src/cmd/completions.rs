//! `closestorm completions` and `closestorm man`: what shells and `man` know of the command line, out of its one definition.

use super::console::print;
use super::exit::OK;
use crate::cli::{Cli, Completions, Man};
use crate::output;
use anyhow::Context;
use clap::CommandFactory;
use std::fs;

/// Prints the completions of a shell.
///
/// # Errors
/// Stdout cannot be written.
pub fn main(args: &Completions) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "closestorm", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(OK)
}

/// Writes the man pages.
///
/// # Errors
/// The folder or a page cannot be written.
pub fn man(args: &Man) -> anyhow::Result<u8> {
    let dir = &args.dir;
    fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    let mut count = 0;
    for (name, page) in pages()? {
        let path = dir.join(format!("{name}.1"));
        output::write(&path, &page).with_context(|| format!("cannot write {}", path.display()))?;
        count += 1;
    }
    print(&format!("{count} pages written to {0}; read one with: man -l {0}/closestorm-run.1\n", dir.display()))?;
    Ok(OK)
}

/// Names and texts of all pages.
fn pages() -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut root = Cli::command();
    root.build();
    let shown = root.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help").cloned();
    let commands: Vec<_> = shown.collect();
    let mut pages = Vec::new();
    for command in std::iter::once(root).chain(commands) {
        let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).with_context(|| format!("cannot make the page of {name}"))?;
        pages.push((name, page));
    }
    Ok(pages)
}
