//! The documents hold what the program says: their tables are written from its catalogues, their commands parse, their scenarios load,
//! their links lead somewhere, and every command has a page.
//!
//! `UPDATE=1 cargo test --test all readme` writes the tables again.

use crate::documents::{Document, documents, path, read};
use clap::{CommandFactory, Parser};
use closestorm::cli::Cli;
use closestorm::scenario::keys::SECTIONS;
use closestorm::scenario::{Overrides, Source, bundled, load};
use closestorm::serve::catalogue::{GROUPS, OWN, example, of_layer};
use serde_json::Value;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 300, "{lines} lines: what is not needed for a first run belongs into docs/");
}

#[test]
fn tables_of_the_documents_are_those_of_the_program() {
    for (name, table, file) in [
        ("faults", faults(), "docs/fault-list.md"),
        ("presets", presets(), "docs/reconnect.md"),
        ("keys", keys(), "docs/scenario.md"),
        ("steps", steps(), "docs/serve.md"),
    ] {
        let mut text = read(file);
        let (begin, end) =
            (format!("<!-- {name}: written by `UPDATE=1 cargo test --test all readme` -->\n"), format!("<!-- end of {name} -->"));
        let from = text.find(&begin).unwrap_or_else(|| panic!("{begin} is missing")) + begin.len();
        let to = from + text[from..].find(&end).unwrap_or_else(|| panic!("{end} is missing"));
        text.replace_range(from..to, &table);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path(file), &text).expect("docs can be written");
        }
        assert!(read(file) == text, "a table of {file} is old: UPDATE=1 cargo test --test all readme");
    }
}

/// A page for each command: what it says of options is what the command takes, and nothing is left out.
#[test]
fn every_command_has_a_page_with_all_its_options() {
    let everywhere = ["help", "version"];
    for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let page = read(&format!("docs/commands/{}.md", command.get_name()));
        let section = page.split("\n## Options\n").nth(1).unwrap_or_else(|| panic!("{}: no options", command.get_name()));
        let section = section.split("\n## ").next().unwrap_or_default();
        let mut told: Vec<&str> = section.split("`--").skip(1).filter_map(|rest| rest.split(['`', ' ', '=']).next()).collect();
        let mut taken: Vec<&str> =
            command.get_arguments().filter_map(clap::Arg::get_long).filter(|long| !everywhere.contains(long)).collect();
        told.sort_unstable();
        told.dedup();
        taken.sort_unstable();
        assert_eq!(told, taken, "docs/commands/{}.md", command.get_name());
        assert!(page.contains("\n## Exit codes\n"), "docs/commands/{}.md", command.get_name());
    }
}

/// The program lists its metrics where it does not know one.
#[test]
fn every_metric_is_explained() {
    let errors =
        load_text("duration = \"1s\"\nexpect = [\"nothing count == 0\"]\n[clients.web]\ncount = 1\n").expect_err("an unknown metric");
    let metrics = errors.split("one of: ").nth(1).and_then(|rest| rest.lines().next()).unwrap_or_else(|| panic!("{errors}"));
    assert!(metrics.split(", ").count() > 10, "{metrics}");
    let page = read("docs/metrics.md");
    for metric in metrics.split(", ") {
        assert!(page.contains(&format!("\n| `{metric}` | ")), "docs/metrics.md says nothing of {metric}");
    }
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
            let png = Path::new(&dir).join(format!("{name}.png"));
            closestorm::plot::draw::png(scene, &png, &png).expect("a picture");
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

/// The simulator lists the kinds that it knows where it refuses one.
#[test]
fn the_kinds_that_are_simulated_are_those_of_the_page() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fault = "[[faults]]\nat = \"1s\"\ninject = { frame_rsv = {} }\n";
    std::fs::write(folder.path().join("one.toml"), format!("[clients.web]\ncount = 1\n{fault}")).expect("the folder can be written");
    let mut simulate = std::process::Command::new(env!("CARGO_BIN_EXE_closestorm"));
    let output = simulate.args(["simulate", "one.toml"]).current_dir(folder.path()).output().expect("the program starts");
    let refusal = String::from_utf8_lossy(&output.stderr);
    let known = refusal.split("simulated are ").nth(1).unwrap_or_else(|| panic!("{refusal}")).trim();
    let page = read("docs/simulator.md");
    let section = page.split("\n## Faults\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section of faults");
    let told: Vec<&str> = section.split('`').skip(1).step_by(2).collect();
    assert_eq!(told, known.split(", ").collect::<Vec<_>>());
}

#[test]
fn every_command_of_the_documents_parses() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for document in documents() {
        let blocks = document.blocks();
        let console = blocks.iter().filter(|block| block.language == "console");
        let mut commands: Vec<String> = console.flat_map(|block| &block.lines).filter_map(|line| arguments(line)).collect();
        let prose = document.prose().collect::<Vec<_>>().join("\n");
        let inline = prose.split('`').skip(1).step_by(2).filter_map(|code| arguments(&format!("$ {}", code.replace('\n', " "))));
        commands.extend(inline.filter(|command| is_whole(command)));
        count += commands.len();
        wrong.extend(commands.iter().filter_map(|command| wrong_with(command)).map(|why| format!("{}: {why}", document.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 50, "{count}");
}

/// Whether a text in the middle of a sentence is a command as it is typed: not a mere name, and without a word for something, as in
/// `closestorm check RUN`.
fn is_whole(command: &str) -> bool {
    let placeholder = |word: &str| word.chars().all(|c| c.is_ascii_uppercase()) || word.contains('…');
    command.split(' ').count() > 2 && !command.split(' ').any(placeholder)
}

/// Why a command would not run.
fn wrong_with(command: &str) -> Option<String> {
    let Some(words) = shlex::split(command) else { return Some(format!("{command}: no command line")) };
    // Help and version are answered by the parser itself.
    if let Err(error) = Cli::try_parse_from(&words)
        && error.use_stderr()
    {
        return Some(format!("{command}: {error}"));
    }
    let run = words.get(1).is_some_and(|word| word == "run" || word == "validate");
    let scenario = words.get(2).filter(|word| run && !word.starts_with('-') && !word.ends_with(".toml") && !word.contains("://"));
    scenario.filter(|scenario| bundled(scenario).is_none()).map(|_| format!("{command}: no such scenario"))
}

#[test]
fn every_scenario_of_the_documents_loads() {
    let (mut whole, mut fragments) = (0, 0);
    for document in documents() {
        for block in document.blocks().iter().filter(|block| block.language == "toml") {
            let place = format!("{}:{}", document.name, block.line);
            let notices = load_text(&block.scenario()).unwrap_or_else(|errors| panic!("{place}\n{errors}"));
            if block.is_fragment() {
                fragments += 1;
            } else {
                whole += 1;
                assert_eq!(notices, Vec::<String>::new(), "{place}");
            }
        }
    }
    assert!(whole > 5 && fragments > 80, "{whole} and {fragments}");
}

/// The notices of its plan, or what is wrong with it.
fn load_text(scenario: &str) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("mine.toml");
    std::fs::write(&file, scenario).expect("the folder can be written");
    load(&Source::File(file), &Overrides::default()).map(|plan| plan.notices).map_err(|errors| errors.to_string())
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    let mut all = documents();
    all.push(Document { name: "CHANGELOG.md".to_owned(), text: read("CHANGELOG.md") });
    let (mut wrong, mut count) = (Vec::new(), 0);
    for document in &all {
        let prose = document.prose().collect::<Vec<_>>().join("\n");
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        for target in targets.filter(|target| !target.contains("://")) {
            count += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path(&document.name) } else { path(&document.name).with_file_name("").join(file) };
            if !file.exists() {
                wrong.push(format!("{}: {target}: no such file", document.name));
            } else if !anchor.is_empty() && !has_heading(file, anchor) {
                wrong.push(format!("{}: {target}: no such heading", document.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 100, "{count}");
}

/// The chapters of the book are the pages of `docs/`.
#[test]
fn the_book_has_every_page() {
    let summary = Document { name: String::new(), text: read("docs/SUMMARY.md") };
    let prose = summary.prose().collect::<Vec<_>>().join("\n");
    let mut chapters: Vec<String> =
        prose.split("](").skip(1).filter_map(|rest| Some(format!("docs/{}", rest.split_once(')')?.0))).collect();
    let mut pages: Vec<String> = documents().into_iter().map(|document| document.name).collect();
    pages.retain(|name| name.starts_with("docs/") && name != "docs/SUMMARY.md");
    chapters.sort();
    pages.sort();
    assert_eq!(chapters, pages, "docs/SUMMARY.md");
}

fn has_heading(file: PathBuf, anchor: &str) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    Document { name: String::new(), text }.headings().any(|line| slug(line) == anchor)
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
            text += &format!("\n### {title}\n\n| kind | side | what it does | parameters |\n|---|---|---|---|\n");
        }
        let sides: Vec<&str> = row["sides"].as_array().expect("sides").iter().filter_map(Value::as_str).collect();
        let params: Vec<String> = row["params"].as_array().expect("parameters").iter().map(param).collect();
        let params = if params.is_empty() { "none".to_owned() } else { params.join("; ") };
        let kind = word(row, "kind");
        text += &format!("| [`{kind}`](faults.md#{kind}) | {} | {} | {params} |\n", sides.join(", "), cell(word(row, "summary")));
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
/// All steps of `closestorm serve`.
fn steps() -> String {
    let mut text = String::from("\n| step | what it does | example |\n|---|---|---|\n");
    for step in OWN {
        text += &format!("| `{}` | {} | `{}` |\n", step.usage, cell(step.does), step.example);
    }
    for (layer, title) in GROUPS {
        text += &format!("\n### {title}\n\n| step | what it does | example |\n|---|---|---|\n");
        for row in of_layer(layer) {
            text += &format!("| [`{0}`](faults.md#{0}) | {1} | `{2}` |\n", row.kind, cell(row.summary), example(row));
        }
    }
    text + "\n"
}

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

/// A table for each section of a scenario: key, values, default, meaning.
fn keys() -> String {
    let mut text = String::new();
    for section in SECTIONS {
        text += &format!("\n### {}\n\n{}\n\n| key | takes | default | meaning |\n|---|---|---|---|\n", section.path, section.doc);
        for key in section.keys {
            text += &format!("| `{}` | {} | {} | {} |\n", key.name, cell(key.takes), cell(key.default), cell(key.doc));
        }
    }
    text + "\n"
}

/// A text that does not end its cell, and begins no HTML.
fn cell(text: &str) -> String {
    let text = text.replace('|', "\\|");
    if text.contains('`') { text } else { text.replace('<', "\\<") }
}
