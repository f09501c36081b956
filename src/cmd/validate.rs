//! `closestorm validate`: checks scenarios without running them.

use super::console::{load, print};
use super::execute::needs_yes;
use super::exit::{OK, USAGE};
use crate::cli::{Changes, Validate};
use crate::number::counted;
use crate::plan::{Remote, Target};
use crate::scenario::keys::{SECTIONS, Section};
use crate::scenario::{self, Source};
use crate::secret::{self, mask_address};
use crate::text::printable;
use crate::units::print_duration;
use std::fmt::Write as _;
use std::io::Write as _;

/// Longer lines do not move the origins of the others away, characters.
const ALIGNED: usize = 60;

/// Prints a line for each scenario that is fine, and to stderr everything that is wrong with the others.
///
/// # Errors
/// Only where stdout cannot be written.
pub fn main(args: Validate) -> anyhow::Result<u8> {
    if args.keys {
        print(&SECTIONS.iter().map(|section| describe(section)).collect::<Vec<_>>().join("\n"))?;
        return Ok(OK);
    }
    let mut code = OK;
    for scenario in &args.scenarios {
        let shown = printable(scenario);
        match load(Some(scenario), &args.changes) {
            Ok(plan) if !args.quiet => {
                let clients = counted(plan.clients().into(), "client");
                let faults = counted(plan.faults.len() as u64, "fault");
                let expectations = counted(plan.expectations.len() as u64, "expectation");
                let mut line = format!("ok {shown}: {clients}, {}, {faults}, {expectations}\n", print_duration(plan.duration));
                plan.notices.iter().chain(&needs_yes(&plan)).for_each(|notice| line += &format!("   note: {}\n", printable(notice)));
                line += &format!("   {}\n", reach(&plan.target));
                if args.explain {
                    line += &explained(scenario, &args.changes)?;
                }
                print(&line)?;
            }
            Ok(_) => {}
            Err(errors) => {
                code = USAGE;
                let count = errors.count();
                let word = if count == 1 { "error" } else { "errors" };
                // A closed stderr leaves the exit code to tell.
                let _ = writeln!(std::io::stderr(), "{errors}\n\n{shown}: {count} {word}\n");
                super::ci::annotate(&errors);
            }
        }
    }
    Ok(code)
}

/// Each value and where it comes from.
fn explained(scenario: &str, changes: &Changes) -> anyhow::Result<String> {
    let values = scenario::explain(&Source::of(Some(scenario)), &changes.overrides())?;
    let left: Vec<_> = values.iter().map(|one| printable(&format!("{} = {}", one.key, one.value))).collect();
    let width = left.iter().map(|text| text.chars().count()).filter(|width| *width <= ALIGNED).max().unwrap_or(0);
    Ok(left.iter().zip(&values).map(|(text, one)| format!("   {text:<width$}  # {}\n", printable(&one.from))).collect())
}

/// What a run would start, and whom it would contact.
fn reach(target: &Target) -> String {
    printable(&match target {
        Target::Embedded(_) => "starts the embedded server, contacts nobody else".to_owned(),
        Target::Command(command) => {
            let program = command.run.first().map_or("", String::as_str);
            format!("starts the program `{}`, contacts {}", secret::hide(program), mask_address(&command.address))
        }
        Target::Url(remote) => format!("starts nothing, contacts {}", contacted(remote)),
    })
}

/// The target's address, and what is on the way to it.
fn contacted(remote: &Remote) -> String {
    let mut words = remote.address.to_string();
    let given = remote.given(&remote.address.host);
    if !given.is_empty() {
        words += &format!(" at {}", given.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    }
    remote.proxy.iter().for_each(|proxy| words += &format!(" through the proxy {}", proxy.address));
    if remote.certificate.is_some() {
        words += ", with a client certificate";
    }
    match remote.redirects {
        0 => words,
        redirects => format!("{words}, and where up to {} of it lead", counted(redirects.into(), "redirect")),
    }
}

fn describe(section: &Section) -> String {
    let mut text = format!("{}: {}\n", section.path, section.doc);
    for key in section.keys {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {:<15} {} Takes {}; default: {}.", key.name, key.doc, key.takes, key.default);
    }
    text
}
