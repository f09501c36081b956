//! The catalogue as one page in Markdown: `docs/faults.md`. It says what `closestorm faults NAME` says, from the same rows.

use super::{LAYERS, entry, example, literal, shape};
use crate::fault::{self, KindRow};
use std::fmt::Write;

const HEAD: &str = "\
# The faults of closestorm

<!-- written by `UPDATE=1 cargo test --test all readme`; a test holds it equal to the program -->

Every kind of fault that a scenario can inject, from single connections to groups of servers. `closestorm faults NAME` prints the same, and
`closestorm faults NAME --example > mine.toml && closestorm run mine.toml` runs an example.

- **by** is who can carry it out: the simulated clients, or the server, embedded or started by closestorm. `side` chooses.
- **time** is how it relates to `at`, `every` and `for`.
- **sends** is what a server puts on the wire with the defaults, in hexadecimal; a client masks its frames.
- **expect** is the code that the app of a healthy peer sees, and what the peer answers. 1006 means that no valid Close frame came.
- Durations are written `\"250ms\"`, sizes `\"4KiB\"`, shares `\"5%\"`. A parameter with a default may be left out.
";

/// The whole page.
pub fn document() -> String {
    let mut text = HEAD.to_owned();
    for (layer, title) in LAYERS {
        let rows: Vec<_> = fault::rows().filter(|row| row.layer == *layer).collect();
        let links: Vec<_> = rows.iter().map(|row| format!("[{0}](#{0})", row.kind)).collect();
        // Writing to a String cannot fail.
        let _ = write!(text, "\n## {}\n\n{}\n", capital(title), links.join(" · "));
        rows.into_iter().for_each(|row| text += &section(row));
    }
    text
}

fn section(row: &'static KindRow) -> String {
    let mut text = format!("\n### {}\n\n{}.\n\n", row.kind, capital(row.summary));
    for (word, what) in entry(row).into_iter().filter(|(word, _)| *word != "acts on") {
        let _ = writeln!(text, "- **{word}**: {what}");
    }
    if !row.params.is_empty() {
        text += "\n| parameter | takes | default | meaning |\n|---|---|---|---|\n";
    }
    for param in row.params {
        let default = literal(param).map_or("none".to_owned(), |default| format!("`{default}`"));
        let cells = [format!("`{}`", param.name), shape(param.shape), default, param.doc.to_owned()].map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    let example = example(row);
    let fault = example.find("[[faults]]").map_or("", |at| &example[at..]);
    text + &format!("\n```toml\n{fault}```\n")
}

/// The text with a capital first letter.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_section_with_its_parameters_and_an_example() {
        let text = document();
        for row in fault::rows() {
            let section = text.split("\n### ").find(|section| section.starts_with(&format!("{}\n", row.kind))).expect(row.kind);
            row.params.iter().for_each(|param| assert!(section.contains(&format!("| `{}` |", param.name)), "{} {}", row.kind, param.name));
            assert!(section.contains(&format!("inject = {{ {}", row.kind)), "{}", row.kind);
        }
    }
}
