//! `ready` of a cohort: what the scenario says, else what follows from its traffic, else its preset's.

use super::diagnostic::Diagnostic;
use super::keys;
use super::reader::Reader;
use super::tree::TomlValue;
use crate::plan::{Dialogue, Readiness, Target, Traffic};
use crate::reconnect::Policy;
use crate::units::print_duration;
use std::time::Duration;

/// Longest text that a message must contain, bytes: it goes into a header of the opening request to the embedded server.
const TEXT_MAX: usize = 1024;
/// The conditions that need nothing more.
const WORDS: [&str; 2] = ["open", "message"];

/// Reads it, in a run of this length. Notices are added where nobody may ever become ready.
pub(super) fn read(
    cohort: &Reader<'_>,
    (traffic, script, policy): (Traffic, Option<&Dialogue>, &Policy),
    target: Option<&Target>,
    name: &str,
    run: Duration,
    notices: &mut Vec<String>,
) -> Readiness {
    let readiness = own(cohort).unwrap_or_else(|| match script {
        // First messages alone are no condition: nobody answers them.
        Some(script) if script.open.iter().any(|step| step.expect.is_some()) => Readiness::Dialogue,
        _ if traffic.awaits_replies() => Readiness::Reply,
        _ => Readiness::of(policy),
    });
    let speaks = matches!(target, None | Some(Target::Embedded(_)));
    if let (false, Some(_)) = (speaks, readiness.greeting()) {
        let which = match &readiness {
            Readiness::Matches(text) => format!("the first message of the server that contains \"{text}\""),
            _ => "the first message of the server".to_owned(),
        };
        notices.push(format!(
            "clients of {name} count as ready with {which}: if the server never sends it, no client becomes ready; with `ready = \
             \"open\"` an open connection is enough"
        ));
    }
    if let Readiness::OpenFor(time) = readiness
        && time >= run
    {
        notices.push(format!(
            "clients of {name} count as ready after {} open, but the run lasts only {}: no client can become ready; with `ready = \
             \"open\"` an open connection is enough",
            print_duration(time),
            print_duration(run)
        ));
    }
    readiness
}

/// What the scenario says.
fn own(cohort: &Reader<'_>) -> Option<Readiness> {
    let node = cohort.get("ready")?;
    if let TomlValue::Text(word) = &node.value {
        return match word.as_str() {
            "open" => Some(Readiness::Open),
            "message" => Some(Readiness::Message),
            _ => {
                let title = "`ready` takes \"open\", \"message\" or a table";
                let diagnostic = Diagnostic::new(&node.at, title, format!("found \"{word}\"")).allowed(word, WORDS.into_iter());
                cohort.sink.push(diagnostic.help("as `{ message = \"welcome\" }` or `{ open_for = \"5s\" }`"));
                None
            }
        };
    }
    let table = cohort.table("ready", &keys::READINESS)?;
    match table.one_of(&["message", "open_for"])? {
        "open_for" => table.positive("open_for").map(Readiness::OpenFor),
        _ => {
            let text = table.text("message")?;
            if text.is_empty() || text.len() > TEXT_MAX {
                let help = format!("write 1 to {TEXT_MAX} bytes of it, or `ready = \"message\"` for any message");
                table.complain("message", "the length of this text is not allowed", format!("found {} bytes", text.len()), help);
            }
            Some(Readiness::Matches(text.to_owned()))
        }
    }
}
