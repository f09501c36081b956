//! The report as Markdown: plain tables, charts as links to the SVG files beside it.

use super::content;
use super::document::{Block, Table};
use super::phrase;
use crate::plot::{CHARTS, Loaded};
use crate::text::printable;

/// The report of a run as Markdown (CommonMark with tables). Charts are linked as `<name>.svg` in the same folder.
pub fn markdown(loaded: &Loaded) -> String {
    let chart_title =
        |name: &str| CHARTS.iter().find(|chart| chart.name == name).map_or_else(String::new, |chart| (chart.scene)(loaded).title);
    page(&content::title(&loaded.summary), &content::blocks(loaded), &chart_title)
}

/// A report as Markdown; `chart_title` gives what a chart says by its name.
pub(super) fn page(title: &str, blocks: &[Block], chart_title: &dyn Fn(&str) -> String) -> String {
    let mut out = format!("# {}\n", escape(title));
    for block in blocks {
        out.push('\n');
        out += &write(block, chart_title);
        out.push('\n');
    }
    out
}

fn write(block: &Block, chart_title: &dyn Fn(&str) -> String) -> String {
    match block {
        Block::Heading(text) => format!("## {}", escape(text)),
        Block::Paragraph(text) | Block::Lead(text) => escape(text),
        Block::Command(text) => format!("    {}", printable(text)),
        Block::Verdict { result, text } => format!("**{}**", escape(format!("{} {text}", phrase::mark(result)).trim_start())),
        Block::Figures(figures) => {
            let lines: Vec<String> = figures.iter().map(|(what, value)| format!("- {}: **{}**", escape(what), escape(value))).collect();
            lines.join("\n")
        }
        Block::Table(table) => write_table(table),
        Block::Chart(name) => format!("![{}]({name}.svg)", escape(&chart_title(name))),
        Block::List(points) => points.iter().map(|point| format!("- {}", escape(point))).collect::<Vec<_>>().join("\n"),
    }
}

fn write_table(table: &Table) -> String {
    if table.rows.is_empty() {
        return format!("{}: nothing recorded.", escape(table.head.iter().find(|name| !name.is_empty()).unwrap_or(&"Table")));
    }
    let head: Vec<String> = table.head.iter().map(|name| escape(name)).collect();
    let rule: Vec<&str> = (0..table.head.len()).map(|column| if column < table.words { "---" } else { "---:" }).collect();
    let mut lines = vec![format!("| {} |", head.join(" | ")), format!("| {} |", rule.join(" | "))];
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(|cell| escape(cell)).collect();
        lines.push(format!("| {} |", cells.join(" | ")));
    }
    lines.join("\n")
}

/// Seen by nobody.
const APART: &str = "<!-- -->";

/// Whether what stands before this character makes a link of it.
fn is_before_link(before: &str, c: char) -> bool {
    let before = before.as_bytes();
    let ends = |end: &str| before.len() >= end.len() && before[before.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes());
    if c == '.' { ends("www") } else { ["http", "https", "ftp", "mailto", "xmpp"].into_iter().any(ends) }
}

/// Plain text as Markdown: nothing in it is markup, calls somebody or is a link, and it stays on one line.
fn escape(text: &str) -> String {
    let text = printable(text);
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            // GitHub looks for names, numbers of issues and addresses of pages after all markup is read: a comment keeps them apart.
            '@' | '#' => out.extend([c.to_string().as_str(), APART]),
            ':' | '.' if is_before_link(&text[..at], c) => out.extend([c.to_string().as_str(), APART]),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '&' | '!' | '$' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::fixture;

    #[test]
    fn the_answer_and_the_verdict_come_before_the_numbers_and_the_command_last() {
        let text = markdown(&fixture::crash_storm());
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} is missing in\n{text}"));
        let order = [
            "Does a crash with 1,000 clients",
            "**✗ No: 2 of 1,000",
            "Fail: 1 of 4 expectations",
            "| ✓ |",
            "- clients planned: **1,000**",
            "timeline.svg",
            "## Time to reconnect",
            "closestorm run scenarios/crash-storm.toml",
        ];
        assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{text}");
        for part in
            ["| ✗ | closes{reported=1006} share \\> 99% | 98.2 % |", "| too few samples |", "| 1006 | abnormal closure | 1,000 | 100 % |"]
        {
            at(part);
        }
    }

    #[test]
    fn reasons_cannot_become_markup() {
        let text = markdown(&fixture::crash_storm());
        assert!(text.contains("going \\<b\\>down\\</b\\> \\& \"out\" \\| pipe"), "{text}");
    }

    #[test]
    fn clients_that_did_not_return_make_quantiles_not_reached() {
        let text = markdown(&fixture::many_causes());
        assert!(text.contains("not reached in 10 s"), "{text}");
    }

    #[test]
    fn tables_have_as_many_cells_as_columns() {
        for (run, loaded) in fixture::all() {
            for block in content::blocks(&loaded) {
                if let Block::Table(table) = block {
                    assert!(table.rows.iter().all(|row| row.len() == table.head.len()), "{run}: {:?}", table.head);
                }
            }
        }
    }
}
