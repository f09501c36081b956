//! The page of a run: one HTML file that needs no network, with its data inside and charts that can be zoomed and read off.
//!
//! Texts, tables and drawn charts stand in it as they are, so that it can be read and printed without a script. The script puts charts that
//! move in the place of those that it knows. A policy in the file forbids everything that is not the page's own.

mod causes;
mod data;

use super::content;
use super::document::Block;
use super::html::{dark_charts, write};
use crate::plot::draw::escape;
use crate::plot::{ChartSvg, Loaded};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use data::PageData;

/// Most bytes of a page; drawn charts that would make it larger are left out.
const BYTES_MAX: usize = 1_000_000;
/// Most bytes of a scenario that stands in the page.
const SCENARIO_MAX: usize = 64 << 10;
/// The charts that the script draws.
const LIVE: [&str; 3] = ["timeline", "reconnect", "round-trips"];
const STYLES: [&str; 3] = [include_str!("style.css"), include_str!("page/uplot.css"), include_str!("page/page.css")];
const SCRIPTS: [&str; 4] =
    [include_str!("page/uplot.js"), include_str!("page/charts.js"), include_str!("page/sections.js"), include_str!("page/page.js")];

/// The report of a run as one HTML document of at most 1 MB; `charts` from [`crate::plot::svgs`], missing ones are left out. All texts are escaped.
pub fn html(loaded: &Loaded, charts: &[ChartSvg]) -> String {
    let data = PageData::of(loaded).json();
    let mut charts = charts.to_vec();
    loop {
        let page = page(loaded, &data, &charts);
        // First those that the script draws, then the others, the largest of each.
        let largest = charts.iter().enumerate().max_by_key(|(_, chart)| (LIVE.contains(&chart.name), chart.svg.len()));
        match largest {
            Some((largest, _)) if page.len() > BYTES_MAX => drop(charts.remove(largest)),
            _ => return page,
        }
    }
}

fn page(loaded: &Loaded, data: &str, charts: &[ChartSvg]) -> String {
    let title = escape(&content::title(&loaded.summary));
    let style = STYLES.concat() + &dark_charts();
    let script = SCRIPTS.join("\n");
    let blocks = content::blocks(loaded);
    let body: String = blocks.iter().map(|block| body(block, loaded, charts) + "\n").collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title} – closestorm</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{}{body}{}</main>\n\
         <script type=\"application/json\" id=\"data\">{data}</script>\n<script>{script}</script>\n</body>\n</html>\n",
        policy(&style, &script),
        contents(&blocks),
        scenario(&loaded.scenario),
    )
}

/// Nothing but the style and the script of this page, told by their hashes.
fn policy(style: &str, script: &str) -> String {
    let hash = |text: &str| STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(script),
        hash(style)
    )
}

/// Links to the sections.
fn contents(blocks: &[Block]) -> String {
    let link = |block: &Block| match block {
        Block::Heading(text) => Some(format!("<li><a href=\"#{}\">{}</a></li>", anchor(text), escape(text))),
        _ => None,
    };
    format!("<nav aria-label=\"Sections\"><ul>{}</ul></nav>\n", blocks.iter().filter_map(link).collect::<String>())
}

/// `Time to reconnect` is found under `time-to-reconnect`.
fn anchor(heading: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    heading.chars().map(letter).collect()
}

fn body(block: &Block, loaded: &Loaded, charts: &[ChartSvg]) -> String {
    match block {
        Block::Heading(text) => format!("<h2 id=\"{}\">{}</h2>", anchor(text), escape(text)),
        Block::Chart("endings") => causes::matrix(loaded),
        Block::Chart(name) if LIVE.contains(name) => {
            let drawn = charts.iter().find(|chart| chart.name == *name);
            let left_out = || format!("<p class=\"none\">Without a script this chart is in {name}.svg.</p>");
            let (about, drawn) = (drawn.map_or(*name, |chart| chart.about), drawn.map_or_else(left_out, |chart| chart.svg.clone()));
            format!(
                "<figure data-chart=\"{name}\"><div class=\"live\" hidden></div><div class=\"drawn\">{drawn}</div>\
                 <figcaption>{}</figcaption></figure>",
                escape(about)
            )
        }
        Block::Chart(name) if charts.iter().all(|chart| chart.name != *name) => {
            format!("<p class=\"none\">This chart is too large for the page: see {name}.svg.</p>")
        }
        block => write(block, charts),
    }
}

fn scenario(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    if text.len() > SCENARIO_MAX {
        return "<p>The scenario as it was run is in scenario.toml.</p>\n".to_owned();
    }
    format!("<details><summary>The scenario as it was run (scenario.toml)</summary><pre><code>{}</code></pre></details>\n", lines(text))
}

/// Escaped line by line: an escape makes one line of several.
fn lines(text: &str) -> String {
    text.lines().map(|line| escape(line) + "\n").collect()
}
