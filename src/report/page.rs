//! The page of a run: one HTML file that needs no network, with its data inside and charts that can be zoomed and read off.
//!
//! Texts, tables and drawn charts stand in it as they are, so that it can be read and printed without a script. The script puts charts that
//! move in the place of those that it knows. A policy in the file forbids everything that is not the page's own.

mod causes;
mod data;
pub(super) mod live;

use super::content;
use super::document::Block;
use super::html::{dark_charts, write};
use crate::plot::draw::escape;
use crate::plot::{self, ChartSvg, Loaded};
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
    let blocks = blocks(loaded);
    let begin = blocks.iter().position(|block| matches!(block, Block::Heading(_))).unwrap_or(blocks.len());
    let [opening, sections] = [&blocks[..begin], &blocks[begin..]]
        .map(|blocks| blocks.iter().map(|block| body(block, loaded, charts) + "\n").collect::<String>());
    let main = format!("<h1>{title}</h1>\n{opening}{}{sections}{}", contents(&blocks), scenario(&loaded.scenario));
    document(&title, &main, data, "")
}

/// The frame of a page around its `main` part; the policy of the page allows `more` than its own style and script.
fn document(title: &str, main: &str, data: &str, more: &str) -> String {
    let style = STYLES.concat() + &dark_charts();
    let script = SCRIPTS.join("\n");
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{}{more}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title} – closestorm</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n{main}</main>\n\
         <script type=\"application/json\" id=\"data\">{data}</script>\n<script>{script}</script>\n</body>\n</html>\n",
        policy(&style, &script),
    )
}

/// What the report says; the curve of those who did not come back, too, which a drawn chart cannot show where it is nobody who did.
fn blocks(loaded: &Loaded) -> Vec<Block> {
    let mut blocks = content::blocks(loaded);
    let heading = blocks.iter().position(|block| *block == Block::Heading(content::RECONNECT.to_owned()));
    if let Some(heading) = heading.filter(|_| !loaded.reconnects.is_empty() && !blocks.contains(&Block::Chart("reconnect"))) {
        blocks.insert(heading + 1, Block::Chart("reconnect"));
    }
    blocks
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
        Block::Chart(name) if LIVE.contains(name) => live(name, loaded, charts),
        Block::Chart(name) if charts.iter().all(|chart| chart.name != *name) => {
            format!("<p class=\"none\">This chart is too large for the page: see {name}.svg.</p>")
        }
        block => write(block, charts),
    }
}

/// A chart that the script draws, and what stands there without it.
fn live(name: &str, loaded: &Loaded, charts: &[ChartSvg]) -> String {
    let chart = charts.iter().find(|chart| chart.name == name);
    let title = if plot::applies(name, loaded) { plot::title(name, loaded) } else { "Nobody came back".to_owned() };
    let without = || match plot::applies(name, loaded) {
        true => format!("<p class=\"none\">Without a script this chart is in {name}.svg.</p>"),
        false => "<p class=\"none\">Without a script this chart is not drawn; the table below has its numbers.</p>".to_owned(),
    };
    // How far several seeds lie apart only the drawn charts show; they say their title themselves.
    let bands = match name {
        "timeline" => !loaded.bands.timeline.is_empty(),
        "reconnect" => !loaded.bands.reconnect.is_empty(),
        _ => false,
    };
    let headline = format!("<p class=\"headline\">{}</p>", escape(&title));
    let (class, headline) = if bands && chart.is_some() { (" class=\"both\"", "") } else { ("", headline.as_str()) };
    let (about, drawn) = (chart.map_or(name, |chart| chart.about), chart.map_or_else(without, |chart| chart.svg.clone()));
    format!(
        "<figure data-chart=\"{name}\"{class}><div class=\"live\" hidden>{headline}</div><div class=\"drawn\">{drawn}</div>\
         <figcaption>{}</figcaption></figure>",
        escape(about)
    )
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::fixture;
    use crate::plot::scene::{Ink, Item, Scene};
    use crate::report::html::DARK;

    fn page_of(loaded: &Loaded) -> String {
        html(loaded, &plot::svgs(loaded).unwrap())
    }

    /// The page without its style, its scripts and its data.
    fn texts(page: &str) -> String {
        let without = |text: String, from: &str, to: &str| {
            let mut parts = text.split(from);
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |all, part| all + part.split_once(to).map_or("", |(_, rest)| rest))
        };
        without(without(page.to_owned(), "<script", "</script>"), "<style>", "</style>")
    }

    #[test]
    fn one_file_without_network_and_with_every_chart() {
        let loaded = fixture::crash_storm();
        let page = page_of(&loaded);
        // The matrix of endings is a table here.
        assert_eq!(page.matches("<svg ").count(), plot::CHARTS.len() - 1);
        assert!(page.contains("<table class=\"matrix\">"));
        let texts = texts(&page);
        for part in ["src=", "@import", "url(", "<script", " style=", " onclick="] {
            assert!(!texts.contains(part), "{part}");
        }
        let outward = texts.split("href=\"").skip(1).filter(|rest| !rest.starts_with('#')).count();
        assert_eq!(
            (outward, texts.matches("http").count()),
            (0, plot::CHARTS.len()),
            "only the name space of SVG, and the policy's http-equiv"
        );
        for anchor in texts.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert_eq!(texts.matches(&format!(" id=\"{anchor}\"")).count(), 1, "{anchor}");
        }
    }

    #[test]
    fn the_sections_stand_in_the_order_in_which_a_reader_asks() {
        let mut loaded = fixture::crash_storm();
        loaded.manifest = Some(crate::results::manifest::collect(vec!["closestorm".to_owned()], crate::seed::Seed(7)));
        loaded.scenario = "duration = \"10s\"".to_owned();
        let page = page_of(&loaded);
        let parts = [
            "Does a crash with 1,000 clients",
            "No: 2 of 1,000 never came back",
            "4.31 s",
            "data-chart=\"timeline\"",
            "data-chart=\"reconnect\"",
            "Phases of the outages</h2>",
            "class=\"matrix\"",
            "data-chart=\"round-trips\"",
            "Unexpected close codes</h2>",
            "Load generator health</h2>",
            "The machine</h2>",
            "How to repeat</h2>",
            "closestorm run scenarios/crash-storm.toml --seed 7</code>",
            "duration = &quot;10s&quot;",
        ];
        let mut from = 0;
        for part in parts {
            from += page[from..].find(part).unwrap_or_else(|| panic!("{part} is not below the part before it"));
        }
    }

    #[test]
    fn names_and_reasons_cannot_break_out_of_the_page() {
        let evil = "</script><img src=x onerror=alert(1)>\u{2028}&";
        let mut loaded = fixture::crash_storm();
        let row = loaded.summary.cohorts.shift_remove("web").unwrap();
        loaded.summary.cohorts.insert(evil.to_owned(), row);
        loaded.timeline.iter_mut().for_each(|row| row.cohort = evil.to_owned());
        loaded.summary.scenario = evil.to_owned();
        loaded.summary.faults[0].id = evil.to_owned();
        loaded.closes[0].cause = evil.to_owned();
        loaded.summary.command = "closestorm run \"a&b\"".to_owned();
        loaded.scenario = evil.to_owned();
        let page = page_of(&loaded);
        assert!(!page.contains("<img") && !page.contains("<b>down"));
        assert_eq!((page.matches("<script").count(), page.matches("</script>").count()), (2, 2));
        assert!(page.contains("closestorm run &quot;a&amp;b&quot;"));
        assert!(page.contains("going &lt;b&gt;down&lt;/b&gt; &amp; &quot;out&quot; | pipe"));
        let data = page.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["cohorts"][0]["name"], evil);
    }

    /// Red, green and blue of `#rgb` or `#rrggbb`, as light.
    fn light(colour: &str) -> [f64; 3] {
        let digits: String = if colour.len() == 4 { colour[1..].chars().flat_map(|c| [c, c]).collect() } else { colour[1..].to_owned() };
        [0, 2, 4].map(|from| {
            let value = f64::from(u8::from_str_radix(&digits[from..from + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        })
    }

    fn times(matrix: [[f64; 3]; 3], light: [f64; 3]) -> [f64; 3] {
        matrix.map(|row| row.iter().zip(light).map(|(a, b)| a * b).sum())
    }

    /// Contrast as WCAG 2 has it.
    fn contrast(a: &str, b: &str) -> f64 {
        let luminance = |colour: &str| light(colour).iter().zip([0.2126, 0.7152, 0.0722]).map(|(a, b)| a * b).sum::<f64>() + 0.05;
        let (a, b) = (luminance(a), luminance(b));
        if a > b { a / b } else { b / a }
    }

    /// A custom property of the page's style; the light scheme is 0, the dark one 1.
    fn property(name: &str, scheme: usize) -> &'static str {
        let found = STYLES.iter().find_map(|style| style.split(&format!("--{name}: ")).nth(1 + scheme));
        found.unwrap_or_else(|| panic!("{name} in scheme {scheme}")).split([';', ' ']).next().unwrap()
    }

    /// Distance of two colours (CIE 1976) as they look to most people, and to those who lack the cones for green or for red
    /// (Machado, Oliveira, Fernandes 2009).
    #[test]
    fn series_differ_for_readers_without_red_or_green() {
        const SEEN: [[[f64; 3]; 3]; 3] = [
            [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
            [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        ];
        const XYZ: [[f64; 3]; 3] = [[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0177, 0.1095, 0.8728]];
        let root = |part: f64| if part > 0.008856 { part.cbrt() } else { 7.787 * part.max(0.0) + 16.0 / 116.0 };
        let lab = |colour: &str, seen| {
            let [x, y, z] = times(XYZ, times(seen, light(colour))).map(root);
            [116.0 * y, 500.0 * (x - y), 200.0 * (y - z)]
        };
        for scheme in [0, 1] {
            let series: Vec<&str> = (0..8).map(|n| property(&format!("s{n}"), scheme)).collect();
            for (n, a) in series.iter().enumerate() {
                for b in &series[..n] {
                    for seen in SEEN {
                        let distance = lab(a, seen).iter().zip(lab(b, seen)).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
                        assert!(distance > 20.0, "{a} and {b} in scheme {scheme}: {distance}");
                    }
                }
            }
        }
    }

    #[test]
    fn marks_and_texts_can_be_told_from_the_paper_in_both_schemes() {
        for scheme in [0, 1] {
            let value = |name: &str| property(name, scheme);
            let paper = value("paper");
            for mark in ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "axis", "fault", "focus"] {
                assert!(contrast(value(mark), paper) >= 3.0, "{mark} in scheme {scheme}: {}", contrast(value(mark), paper));
                // On the bands of faults and of down times, too.
                if mark.starts_with('s') {
                    assert!(
                        contrast(value(mark), value("down")) >= 3.0,
                        "{mark} on down in {scheme}: {}",
                        contrast(value(mark), value("down"))
                    );
                }
            }
            for text in ["ink", "muted", "pass", "fail", "open"] {
                for ground in [paper, value("soft")] {
                    assert!(contrast(value(text), ground) >= 4.5, "{text} in scheme {scheme}: {}", contrast(value(text), ground));
                }
            }
            let on_heat =
                if scheme == 0 { ["ink", "ink", "#10151c", "#ffffff", "#ffffff"] } else { ["ink", "ink", "#ffffff", "#10151c", "#10151c"] };
            for (heat, text) in on_heat.into_iter().enumerate() {
                let text = if text.starts_with('#') { text } else { value(text) };
                assert!(contrast(text, value(&format!("h{heat}"))) >= 4.5, "heat {heat} in scheme {scheme}");
            }
        }
    }

    #[test]
    fn series_of_drawn_charts_can_be_told_from_the_paper_in_both_schemes() {
        let rules = dark_charts();
        for n in 0..6 {
            let (r, g, b) = Ink::Series(n).rgb();
            let light = format!("#{r:02X}{g:02X}{b:02X}");
            let dark = rules.split(&format!("[fill=\"{light}\"] {{ fill: ")).nth(1).unwrap().split(' ').next().unwrap();
            assert!(contrast(&light, "#ffffff") >= 3.0 && contrast(dark, "#14181f") >= 3.0, "{n}: {light} {dark}");
        }
    }

    #[test]
    fn texts_on_coloured_ground_can_be_read_in_both_schemes() {
        let mut scenes: Vec<(String, Scene)> =
            [true, false].map(|two| ("map".to_string(), plot::map::scene(&crate::results::map::fixture::mapped(two)))).into();
        for (run, loaded) in fixture::all() {
            scenes.extend(plot::CHARTS.iter().map(|chart| (format!("{run}/{}", chart.name), (chart.scene)(&loaded))));
        }
        let light = |ink: Ink| format!("#{:02X}{:02X}{:02X}", ink.rgb().0, ink.rgb().1, ink.rgb().2);
        let dark = |ink: Ink| DARK.iter().find(|(named, _)| *named == ink).unwrap().1;
        let mut on_colour = 0;
        for (name, scene) in &scenes {
            let texts = scene.items.iter().filter_map(|item| if let Item::Text { style, .. } = item { Some(style.ink) } else { None });
            for ((left, top, right, bottom, text), ink) in scene.text_boxes().into_iter().zip(texts) {
                let (x, y) = ((left + right) / 2.0, (top + bottom) / 2.0);
                let ground = |item: &Item| match item {
                    Item::Rect { x: left, y: top, w, h, ink } if (*left..left + w).contains(&x) && (*top..top + h).contains(&y) => {
                        Some(*ink)
                    }
                    _ => None,
                };
                let Some(ground) = scene.items.iter().rev().find_map(ground) else { continue };
                on_colour += usize::from(matches!(ground, Ink::Heat(_)));
                for (a, b) in [(light(ink), light(ground)), (dark(ink).to_string(), dark(ground).to_string())] {
                    assert!(contrast(&a, &b) >= 4.0, "{name}: `{text}`, {ink:?} on {ground:?}: {:.1}", contrast(&a, &b));
                }
            }
        }
        assert!(on_colour > 100, "{on_colour}");
    }

    #[test]
    fn every_colour_of_the_charts_has_a_dark_counterpart() {
        let rules = dark_charts();
        for (_, loaded) in fixture::all() {
            for chart in plot::svgs(&loaded).unwrap() {
                for colour in chart.svg.split("fill=\"#").skip(1).map(|rest| &rest[..6]) {
                    assert!(rules.contains(&format!("[fill=\"#{colour}\"]")), "{} uses #{colour}", chart.name);
                }
            }
        }
    }

    /// With `CLOSESTORM_CHARTS=DIR` the pages stay in DIR to be looked at.
    #[test]
    fn pages_of_all_kinds_of_runs_are_complete_and_small() {
        for (run, loaded) in fixture::all() {
            let page = page_of(&loaded);
            assert!(page.ends_with("</html>\n") && page.len() <= BYTES_MAX, "{run}: {} bytes", page.len());
            if let Some(dir) = std::env::var_os("CLOSESTORM_CHARTS") {
                std::fs::write(std::path::Path::new(&dir).join(format!("{run}.html")), page).unwrap();
                std::fs::write(std::path::Path::new(&dir).join(format!("{run}.md")), crate::report::markdown(&loaded)).unwrap();
            }
        }
    }

    #[test]
    fn bands_of_several_seeds_stay_beside_the_charts_that_lack_them() {
        let shown = |loaded: &Loaded| page_of(loaded).matches("\" class=\"both\">").count();
        let [.., (_, two), _] = fixture::all();
        assert_eq!((shown(&two), shown(&fixture::crash_storm())), (2, 0));
    }

    #[test]
    fn a_page_too_large_loses_drawn_charts_first_and_says_so() {
        let loaded = fixture::crash_storm();
        let mut charts = plot::svgs(&loaded).unwrap();
        for name in ["timeline", "phases"] {
            let chart = charts.iter_mut().find(|chart| chart.name == name).unwrap();
            chart.svg += &"x".repeat(BYTES_MAX);
        }
        let page = html(&loaded, &charts);
        assert!(page.len() <= BYTES_MAX);
        assert!(page.contains("Without a script this chart is in timeline.svg") && page.contains("too large for the page: see phases.svg"));
    }
}
