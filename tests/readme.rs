//! The README holds what the program says: its tables are written from the catalogues, its commands parse, its scenarios load.
//!
//! `UPDATE=1 cargo test --test all readme` writes the tables again.

use clap::Parser;
use closestorm::cli::Cli;
use closestorm::scenario::{Overrides, Source, bundled, load};
use serde_json::Value;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

#[test]
fn tables_of_the_readme_are_those_of_the_program() {
    let mut text = readme();
    for (name, table) in [("faults", faults()), ("presets", presets())] {
        let (begin, end) =
            (format!("<!-- {name}: written by `UPDATE=1 cargo test --test all readme` -->\n"), format!("<!-- end of {name} -->"));
        let from = text.find(&begin).unwrap_or_else(|| panic!("{begin} is missing")) + begin.len();
        let to = from + text[from..].find(&end).unwrap_or_else(|| panic!("{end} is missing"));
        text.replace_range(from..to, &table);
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(README, &text).expect("the README can be written");
    }
    assert!(readme() == text, "the tables are old: UPDATE=1 cargo test --test all readme");
}

#[test]
fn the_catalogue_of_faults_is_that_of_the_program() {
    let file = Path::new(ROOT).join("docs/faults.md");
    let page = closestorm::cmd::faults::document();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &page).expect("docs can be written");
    }
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(text == page, "docs/faults.md is old: UPDATE=1 cargo test --test all readme");
}

/// With `CLOSESTORM_CHARTS=DIR` the charts are drawn into DIR, too.
#[test]
fn the_atlas_of_presets_is_what_the_simulator_says() {
    let atlas = closestorm::cmd::presets::atlas::atlas().expect("all presets can be simulated");
    let mut files = vec![("presets.md".to_owned(), atlas.page)];
    for (name, scene) in &atlas.charts {
        files.push((format!("{name}.svg"), closestorm::plot::draw::svg(scene).expect("a chart")));
        // To be looked at.
        if let Some(dir) = std::env::var_os("CLOSESTORM_CHARTS") {
            closestorm::plot::draw::png(scene, &Path::new(&dir).join(format!("{name}.png"))).expect("a picture");
        }
    }
    for (name, made) in files {
        let file = Path::new(ROOT).join("docs").join(&name);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, &made).expect("docs can be written");
        }
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(text == made, "docs/{name} is old: UPDATE=1 cargo test --test all readme");
    }
}

#[test]
fn every_command_of_the_readme_parses() {
    let text = readme();
    let mut commands: Vec<String> = blocks(&text, "console").iter().flat_map(|block| block.lines()).filter_map(arguments).collect();
    let fences = text.split("```").step_by(2);
    commands.extend(fences.flat_map(|prose| prose.split('`').skip(1).step_by(2)).filter_map(|code| arguments(&format!("$ {code}"))));
    // The name alone, in running text, is no command.
    commands.retain(|command| command != "closestorm");
    assert!(commands.len() > 10, "{commands:?}");
    for command in commands {
        let words = shlex::split(&command).unwrap_or_else(|| panic!("{command}"));
        if let Err(error) = Cli::try_parse_from(&words) {
            // Help and version are answered by the parser itself.
            assert!(!error.use_stderr(), "{command}\n{error}");
        }
        let run = words.get(1).is_some_and(|word| word == "run" || word == "validate");
        if let Some(scenario) = words.get(2).filter(|word| run && !word.starts_with('-') && !word.ends_with(".toml")) {
            assert!(bundled(scenario).is_some(), "{command}: no such scenario");
        }
    }
}

#[test]
fn every_scenario_of_the_readme_loads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = readme();
    let scenarios = blocks(&text, "toml");
    assert!(!scenarios.is_empty());
    for (n, scenario) in scenarios.iter().enumerate() {
        let file = folder.path().join(format!("readme-{n}.toml"));
        std::fs::write(&file, scenario).expect("the folder can be written");
        let plan = load(&Source::File(file), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(plan.notices, Vec::<String>::new(), "{scenario}");
    }
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    for document in ["README.md", "CHANGELOG.md", "results/README.md", "docs/faults.md", "docs/fidelity.md", "docs/presets.md"] {
        let file = Path::new(ROOT).join(document);
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{document}: {error}"));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target) {
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") {
                assert!(file.with_file_name(path).exists(), "{document}: {target}");
            }
            if let Some(anchor) = target.strip_prefix('#') {
                assert!(
                    text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor),
                    "{document}: no heading {anchor}"
                );
            }
        }
    }
}

fn readme() -> String {
    std::fs::read_to_string(README).expect("the README")
}

/// Texts of the fenced blocks in a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).filter_map(|rest| rest.split_once("```")).map(|(block, _)| block).collect()
}

/// The command line of closestorm in a line of a console block, where there is one, up to what belongs to the shell.
fn arguments(line: &str) -> Option<String> {
    let line = line.trim_start().strip_prefix("$ ")?;
    let rest = ["closestorm", "target/release/closestorm", "cargo run --release --"]
        .iter()
        .find_map(|start| line.strip_prefix(start).filter(|rest| rest.is_empty() || rest.starts_with(' ')))?;
    let end = [" > ", " | ", " && ", " # ", "; "].iter().filter_map(|mark| rest.find(mark)).min().unwrap_or(rest.len());
    Some(format!("closestorm{}", &rest[..end]))
}

/// The anchor that a heading gets.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn catalogue(name: &str) -> Vec<Value> {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_closestorm")).args([name, "--format", "json"]).output();
    let output = output.expect("the program starts");
    serde_json::from_slice(&output.stdout).expect("a list in JSON")
}

fn word<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_else(|| panic!("{key} in {row}"))
}

/// A table for each layer: kind, side, what it does, parameters.
fn faults() -> String {
    let mut text = String::new();
    let mut layer = "";
    let rows = catalogue("faults");
    for row in &rows {
        if word(row, "layer") != layer {
            layer = word(row, "layer");
            let title = match layer {
                "handshake" => "Connecting and the opening handshake",
                "transport" => "The TCP connection",
                "frames" => "Single frames",
                "closing" => "The closing handshake",
                "process" => "Server processes and fleets",
                other => panic!("unknown layer {other}"),
            };
            text += &format!("\n**{title}**\n\n| kind | side | what it does | parameters |\n|---|---|---|---|\n");
        }
        let sides: Vec<&str> = row["sides"].as_array().expect("sides").iter().filter_map(Value::as_str).collect();
        let params: Vec<String> = row["params"].as_array().expect("parameters").iter().map(param).collect();
        let params = if params.is_empty() { "none".to_owned() } else { params.join("; ") };
        text += &format!("| `{}` | {} | {} | {params} |\n", word(row, "kind"), sides.join(", "), cell(word(row, "summary")));
    }
    text + "\n"
}

/// `down`: a duration, default `2s`.
fn param(param: &Value) -> String {
    let takes = word(param, "takes").split(", as ").next().unwrap_or_default().to_owned();
    let default = match param["default"].as_str() {
        Some("") => "default empty".to_owned(),
        Some(default) => format!("default `{default}`"),
        None => "no default".to_owned(),
    };
    format!("`{}`: {takes}, {default}", word(param, "name"))
}

/// Preset, package and version, first delays, jitter, when it gives up.
fn presets() -> String {
    let mut text = "\n| preset | read from | first delays | jitter | gives up |\n|---|---|---|---|---|\n".to_owned();
    for row in &catalogue("presets") {
        let package = format!("{} {}", word(row, "package"), word(row, "version"));
        let summary = word(row, "summary").strip_suffix(&format!(" ({package})")).expect("it ends with the package");
        let (schedule, gives_up) = summary.split_once("gives up: ").expect("when it gives up");
        let (delays, jitter) = schedule.trim_end_matches("; ").split_once("; ").unwrap_or(("none", "none"));
        let jitter = match jitter {
            "no jitter" => "none",
            "jitter" => "yes",
            other => other,
        };
        text += &format!("| `{}` | {} | {delays} | {jitter} | {} |\n", word(row, "id"), cell(&package), cell(gives_up));
    }
    text + "\n"
}

/// A text that does not end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
