//! Reports as one HTML file: no network, charts inline, light and dark, printable. `page` makes that of a run.

use super::document::{Block, Table};
use super::phrase;
use crate::plot::ChartSvg;
use crate::plot::draw::escape;
use crate::plot::scene::Ink;

/// Everything but the colours of the charts.
const STYLE: &str = include_str!("style.css");

/// A report as one HTML document.
pub(super) fn page(title: &str, blocks: &[Block], charts: &[ChartSvg]) -> String {
    let title = escape(title);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title} – closestorm</title>\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n",
        dark_charts()
    );
    for block in blocks {
        out += &write(block, charts);
        out.push('\n');
    }
    out += "</main>\n</body>\n</html>\n";
    out
}

/// A part of a report; all texts are escaped.
pub(super) fn write(block: &Block, charts: &[ChartSvg]) -> String {
    match block {
        Block::Heading(text) => format!("<h2>{}</h2>", escape(text)),
        Block::Paragraph(text) => format!("<p>{}</p>", escape(text)),
        Block::Lead(text) => format!("<p class=\"lead\">{}</p>", escape(text)),
        Block::Command(text) => format!("<pre><code>{}</code></pre>", escape(text)),
        Block::Verdict { result, text } => {
            let class = if matches!(result.as_str(), "pass" | "fail" | "unchecked") { result } else { "inconclusive" };
            format!("<p class=\"verdict {class}\">{}</p>", escape(format!("{} {text}", phrase::mark(result)).trim_start()))
        }
        Block::Figures(figures) => {
            let one = |(what, value): &(String, String)| format!("<div><dd>{}</dd><dt>{}</dt></div>", escape(value), escape(what));
            format!("<dl class=\"figures\">{}</dl>", figures.iter().map(one).collect::<String>())
        }
        Block::Table(table) => write_table(table),
        Block::Chart(name) => charts
            .iter()
            .find(|chart| chart.name == *name)
            .map_or_else(String::new, |chart| format!("<figure>{}<figcaption>{}</figcaption></figure>", chart.svg, escape(chart.about))),
        Block::List(points) => format!("<ul>{}</ul>", points.iter().map(|point| format!("<li>{}</li>", escape(point))).collect::<String>()),
    }
}

fn write_table(table: &Table) -> String {
    if table.rows.is_empty() {
        let what = table.head.iter().find(|name| !name.is_empty()).unwrap_or(&"Table");
        return format!("<p class=\"none\">{}: nothing recorded.</p>", escape(what));
    }
    let class = |column: usize, text: &str| match text {
        _ if column >= table.words => " class=\"n\"",
        "✓" => " class=\"pass\"",
        "✗" => " class=\"fail\"",
        "?" => " class=\"inconclusive\"",
        _ => "",
    };
    let cells = |tag: &str, texts: &mut dyn Iterator<Item = String>| {
        texts.enumerate().map(|(column, text)| format!("<{tag}{}>{}</{tag}>", class(column, &text), escape(&text))).collect::<String>()
    };
    let head = cells("th", &mut table.head.iter().map(|name| name.to_string()));
    let rows: String = table.rows.iter().map(|row| format!("<tr>{}</tr>\n", cells("td", &mut row.iter().cloned()))).collect();
    // Expectations begin with a mark; what was observed may be a sentence.
    let verdicts = if table.head.first() == Some(&"") { " class=\"verdicts\"" } else { "" };
    format!("<div class=\"wide\"><table{verdicts}>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>")
}

/// Colours of the charts on a dark screen.
pub(super) const DARK: [(Ink, &str); 20] = [
    (Ink::Paper, "#14181f"),
    (Ink::Strong, "#e8ecf2"),
    (Ink::OnPale, "#14181f"),
    (Ink::Muted, "#a3adbb"),
    (Ink::Axis, "#7d8794"),
    (Ink::Grid, "#2a313b"),
    (Ink::Band, "#3d3217"),
    (Ink::Down, "#363e4a"),
    (Ink::Fault, "#ff8a75"),
    (Ink::Series(0), "#5d9de0"),
    (Ink::Series(1), "#f0b35f"),
    (Ink::Series(2), "#3fb8ae"),
    (Ink::Series(3), "#e3a7d3"),
    (Ink::Series(4), "#b98a6d"),
    (Ink::Series(5), "#9fd0f5"),
    (Ink::Heat(0), "#1d2734"),
    (Ink::Heat(1), "#274059"),
    (Ink::Heat(2), "#325b85"),
    (Ink::Heat(3), "#6ba3d9"),
    (Ink::Heat(4), "#a9cdf0"),
];

/// Rules that give the charts' colours their counterparts on a dark screen: CSS wins over the attributes of an SVG.
pub(super) fn dark_charts() -> String {
    let mut rules = String::from("@media screen and (prefers-color-scheme: dark) {\n");
    for (ink, dark) in DARK {
        let (r, g, b) = ink.rgb();
        let light = format!("#{r:02X}{g:02X}{b:02X}");
        rules += &format!("figure svg [fill=\"{light}\"] {{ fill: {dark} }} figure svg [stroke=\"{light}\"] {{ stroke: {dark} }}\n");
    }
    rules + "}\n"
}
