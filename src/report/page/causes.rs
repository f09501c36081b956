//! The endings matrix as a table: causes against the codes that each side's app sees, and for each cause its codes and examples, which open.

use crate::close;
use crate::metrics::told_apart::code_word;
use crate::number;
use crate::plot::draw::escape;
use crate::plot::{self, EndingLine, Loaded, Matrix};
use crate::results::record::EventRow;
use std::collections::BTreeMap;

/// Examples of a code, and of a cause.
const EXAMPLES: (usize, usize) = (2, 8);

/// The matrix and what stands behind its rows.
pub(super) fn matrix(loaded: &Loaded) -> String {
    let matrix = plot::matrix(loaded);
    if matrix.rows.is_empty() {
        return String::new();
    }
    let examples = examples(loaded);
    let causes = matrix.rows.iter().enumerate().map(|(n, (cause, line))| {
        let of_cause = examples.get(cause.as_str()).map_or(&[][..], Vec::as_slice);
        details(n, cause, line, of_cause)
    });
    format!(
        "<p><strong>{}.</strong> Follow a cause to its codes and examples. A darker cell is a larger share of its cause.</p>\n\
         {}\n<p class=\"none\">{}</p>\n<div class=\"causes\">{}</div>",
        escape(&matrix.title()),
        table(&matrix),
        escape(&plot::endings_meanings(&matrix)),
        causes.collect::<String>()
    )
}

fn name(code: Option<u16>) -> String {
    code.map_or_else(|| plot::NO_RECORD.to_owned(), code_word)
}

fn table(matrix: &Matrix) -> String {
    let head =
        |codes: &[Option<u16>]| codes.iter().map(|code| format!("<th scope=\"col\" class=\"n\">{}</th>", name(*code))).collect::<String>();
    let group = |codes: &[Option<u16>], side: &str| {
        if codes.is_empty() { String::new() } else { format!("<th colspan=\"{}\" scope=\"colgroup\">{side} app sees</th>", codes.len()) }
    };
    let cell = |count: u64, total: u64, first: bool| {
        let edge = if first { " edge" } else { "" };
        if count == 0 {
            return format!("<td class=\"n{edge}\"></td>");
        }
        let heat = ((count as f64 / total.max(1) as f64 * 5.0) as usize).min(4);
        format!("<td class=\"n heat{heat}{edge}\">{}</td>", number::count(count))
    };
    let row = |(n, (cause, line)): (usize, &(String, EndingLine))| {
        let side = |codes: &[Option<u16>], counts: &BTreeMap<Option<u16>, u64>| {
            let cells = codes.iter().enumerate().map(|(n, code)| cell(counts.get(code).copied().unwrap_or(0), line.total, n == 0));
            cells.collect::<String>()
        };
        format!(
            "<tr><th scope=\"row\"><a href=\"#cause-{n}\">{}</a></th><td class=\"n\">{}</td>{}{}</tr>\n",
            escape(cause),
            number::count(line.total),
            side(&matrix.client, &line.client),
            side(&matrix.server, &line.server)
        )
    };
    format!(
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Causes and codes\"><table class=\"matrix\">\n<thead><tr><td colspan=\"2\"></td>{}{}</tr>\n\
         <tr><th scope=\"col\">Cause</th><th scope=\"col\" class=\"n\">Connections</th>{}{}</tr></thead>\n<tbody>\n{}</tbody></table></div>",
        group(&matrix.client, "Client"),
        group(&matrix.server, "Server"),
        head(&matrix.client),
        head(&matrix.server),
        matrix.rows.iter().enumerate().map(row).collect::<String>()
    )
}

fn details(n: usize, cause: &str, line: &EndingLine, examples: &[&EventRow]) -> String {
    let codes = |side: &str, counts: &BTreeMap<Option<u16>, u64>| {
        let mut counts: Vec<_> = counts.iter().collect();
        counts.sort_by_key(|(code, count)| (std::cmp::Reverse(**count), **code));
        let one = |(code, count): (&Option<u16>, &u64)| {
            let named = code.map_or_else(|| plot::NO_RECORD.to_owned(), |code| format!("{} {}", code_word(code), close::name(code)));
            format!("{} × {}", number::count(*count), escape(named.trim_end()))
        };
        let counts: Vec<String> = counts.into_iter().map(one).collect();
        format!("<li>{side} app sees: {}</li>", counts.join(", "))
    };
    let examples: String = examples.iter().map(|event| example(event)).collect();
    let examples = if examples.is_empty() {
        "<p class=\"none\">No example was kept in events.csv.</p>".to_owned()
    } else {
        format!("<p>Examples from events.csv:</p><ul class=\"examples\">{examples}</ul>")
    };
    format!(
        "<details id=\"cause-{n}\"><summary>{}: {}</summary><ul>{}{}</ul>{examples}</details>\n",
        escape(cause),
        number::counted(line.total, "connection"),
        codes("Client", &line.client),
        codes("Server", &line.server)
    )
}

fn example(event: &EventRow) -> String {
    let whose = match (event.client, event.connection) {
        (Some(client), Some(connection)) => format!("client {client}, connection {connection}, "),
        _ => String::new(),
    };
    format!("<li>{whose}at {}: <code>{}</code></li>", number::time(event.offset_us), escape(&event.detail))
}

/// By cause, a few of each code.
fn examples(loaded: &Loaded) -> BTreeMap<&str, Vec<&EventRow>> {
    let of_clients = loaded.events.iter().any(|event| event.event == "ended");
    let wanted = if of_clients { "ended" } else { "server_ended" };
    let mut kept: BTreeMap<&str, Vec<&EventRow>> = BTreeMap::new();
    let mut of_code: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for event in loaded.events.iter().filter(|event| event.event == wanted) {
        let (Some(cause), code) = (value(&event.detail, "cause="), value(&event.detail, "code=").unwrap_or_default()) else { continue };
        let (rows, same) = (kept.entry(cause).or_default(), of_code.entry((cause, code)).or_default());
        if *same < EXAMPLES.0 && rows.len() < EXAMPLES.1 {
            *same += 1;
            rows.push(event);
        }
    }
    kept
}

/// The value of a pair as `events.csv` writes it, without quotes.
fn value<'a>(detail: &'a str, key: &str) -> Option<&'a str> {
    let at = if detail.starts_with(key) { 0 } else { detail.find(&format!(" {key}"))? + 1 };
    let rest = &detail[at + key.len()..];
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split(' ').next(),
    }
}
