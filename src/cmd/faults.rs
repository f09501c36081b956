//! `closestorm faults`: the catalogue of fault kinds.

mod document;
mod wire;

use super::console::print;
use super::exit::{OK, Usage};
use crate::cli::{Faults, Format};
use crate::fault::{self, Form, KindRow, Layer, Param, ValueShape};
use crate::units::nearest;
use crate::units::{Bytes, Ratio};
use serde_json::{Value, json};
use std::fmt::Write;

pub use document::document;

const LAYERS: &[(Layer, &str)] = &[
    (Layer::Handshake, "connecting and the opening handshake"),
    (Layer::Transport, "the TCP connection"),
    (Layer::Frames, "single frames"),
    (Layer::Closing, "the closing handshake"),
    (Layer::Process, "server processes, groups of servers, and client machines"),
];

/// Lists all kinds, or tells all about one.
///
/// # Errors
/// An unknown kind, and where stdout cannot be written.
pub fn main(args: Faults) -> anyhow::Result<u8> {
    let text = match (&args.name, args.format) {
        (None, Format::Text) => list(),
        (None, Format::Json) => pretty(&fault::rows().map(as_json).collect()),
        (Some(name), format) => {
            let row = find(name)?;
            match format {
                _ if args.example => example(row),
                Format::Text => describe(row),
                Format::Json => pretty(&as_json(row)),
            }
        }
    };
    print(&text)?;
    Ok(OK)
}

fn find(name: &str) -> Result<&'static KindRow, Usage> {
    fault::row(name).ok_or_else(|| {
        let near = nearest(name, fault::rows().map(|row| row.kind)).map(|near| format!(", did you mean `{near}`?"));
        Usage(format!("unknown kind of fault `{name}`{}", near.unwrap_or_default()))
    })
}

fn list() -> String {
    let mut text = String::new();
    for (layer, title) in LAYERS {
        let rows: Vec<_> = fault::rows().filter(|row| row.layer == *layer).collect();
        if rows.is_empty() {
            continue;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}{title}", if text.is_empty() { "" } else { "\n" });
        for row in rows {
            let _ = writeln!(text, "  {:<23} {:<14} {}", row.kind, sides(row).join(", "), row.summary);
        }
    }
    text + "\nDetails of one: closestorm faults NAME\n"
}

fn describe(row: &'static KindRow) -> String {
    let mut text = format!("{}: {}\n\n", row.kind, row.summary);
    for (word, what) in entry(row) {
        let _ = writeln!(text, "  {word:<8} {what}");
    }
    text += if row.params.is_empty() { "\nNo parameters.\n" } else { "\nParameters:\n" };
    for param in row.params {
        let default = param.default.map_or("none".to_owned(), |_| literal(param).unwrap_or_default());
        let _ = writeln!(text, "  {:<13} {} Takes {}; default: {default}.", param.name, param.doc, shape(param.shape));
    }
    let kind = row.kind;
    text + &format!(
        "\nExample (closestorm faults {kind} --example > {kind}.toml && closestorm run {kind}.toml):\n\n{}",
        indent(&example(row))
    )
}

/// What is known of a kind beside its summary and parameters: a word and what it says.
fn entry(row: &'static KindRow) -> Vec<(&'static str, String)> {
    let time = match row.form {
        Form::Instant => "acts once, when it fires",
        Form::Holding => "holds until the end of the run, or for the time `for`",
        Form::Attempts => "acts on attempts that begin while it is active; `for` sets how long that is",
        Form::Listener => "holds on listening sockets until the end of the run, or for the time `for`",
        Form::Process { holds: false } => "acts once on server processes, when it fires",
        Form::Process { holds: true } => "holds on server processes until the end of the run, or for the time `for`",
    };
    let layer = LAYERS.iter().find(|(layer, _)| *layer == row.layer).map_or("", |(_, title)| title);
    let mut entry = vec![("acts on", layer.to_owned()), ("by", sides(row).join(" or ")), ("time", time.to_owned())];
    entry.extend(wire::on_the_wire(row).map(|wire| ("sends", wire)));
    entry.extend([("expect", row.expect.to_owned()), ("source", row.source.to_owned())]);
    entry
}

/// A scenario that shows a kind with its defaults, ready to run.
pub fn example(row: &KindRow) -> String {
    let values: Vec<_> = row.params.iter().filter_map(|param| Some(format!("{} = {}", param.name, literal(param)?))).collect();
    let values = if values.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", values.join(", ")) };
    // Kinds that select attempts need attempts while they are active.
    let arrive = if matches!(row.form, Form::Attempts | Form::Listener) { "6s" } else { "1s" };
    let held = match row.form {
        Form::Instant | Form::Process { holds: false } => "",
        Form::Holding | Form::Attempts | Form::Listener | Form::Process { holds: true } => "for    = \"3s\"\n",
    };
    format!(
        "question = \"What do clients see of {kind}?\"\nduration = \"12s\"\n\n[target.embedded]\n\n[clients.web]\ncount     = 100\n\
         arrive    = {{ over = \"{arrive}\" }}\ntraffic   = {{ echo = {{ rate = \"1/s\", payload = \"100B\" }} }}\n\
         heartbeat = {{ every = \"1s\", timeout = \"1s\" }}\n\n[[faults]]\nat     = \"3s\"\n{held}inject = {{ {kind} = {values} }}\n",
        kind = row.kind
    )
}

/// A parameter's default as TOML.
fn literal(param: &Param) -> Option<String> {
    let default = param.default?;
    Some(if matches!(param.shape, ValueShape::Whole { .. }) { default.to_owned() } else { toml::Value::from(default).to_string() })
}

fn sides(row: &KindRow) -> Vec<&'static str> {
    row.sides.iter().map(|side| side.word()).collect()
}

fn shape(shape: ValueShape) -> String {
    match shape {
        ValueShape::Duration => "a duration, such as \"250ms\"".to_owned(),
        ValueShape::Bytes { max: u64::MAX } => format!("a size, such as \"{}\"", Bytes(4096)),
        ValueShape::Bytes { max } => format!("a size, such as \"{}\", at most {}", Bytes(4096), Bytes(max)),
        ValueShape::Whole { min, max } => format!("a whole number from {min} to {max}"),
        ValueShape::Share { min, max } => format!("a share from {} to {}", Ratio(min), Ratio(max)),
        ValueShape::Text { max } => format!("text of at most {max} bytes"),
        ValueShape::Choice(words) => format!("one of {}", words.join(", ")),
    }
}

fn as_json(row: &'static KindRow) -> Value {
    let params = row.params.iter();
    let params = params.map(|param| json!({ "name": param.name, "takes": shape(param.shape), "default": param.default, "doc": param.doc }));
    let layer = format!("{:?}", row.layer).to_lowercase();
    json!({
        "kind": row.kind, "layer": layer, "sides": sides(row), "summary": row.summary, "params": params.collect::<Vec<_>>(),
        "sends": wire::on_the_wire(row), "expect": row.expect, "source": row.source, "example": example(row),
    })
}

/// JSON for a program's reader, with a newline at its end.
pub(super) fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn indent(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Overrides, Source, load};

    #[test]
    fn the_example_of_every_kind_loads_and_injects_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for row in fault::rows() {
            let file = folder.path().join(format!("{}.toml", row.kind));
            std::fs::write(&file, example(row)).expect("the folder can be written");
            let plan = load(&Source::File(file), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!(plan.faults[0].inject.row.kind, row.kind);
            assert_eq!(plan.notices, Vec::<String>::new(), "{}", row.kind);
        }
    }

    #[test]
    fn the_list_has_every_kind_and_an_unknown_one_gets_a_suggestion() {
        let text = list();
        fault::rows().for_each(|row| assert!(text.contains(&format!("  {} ", row.kind)), "{}", row.kind));
        assert!(find("close_cod").unwrap_err().to_string().contains("`close_code`"));
    }
}
