//! `closestorm init`: scenarios to start from, one for each question that people come with.

use super::console::print;
use super::exit::{OK, Usage};
use super::schema;
use crate::cli::{Init, InitQuestion, SchemaOf};
use crate::output;
use anyhow::Context;
use clap::ValueEnum;
use std::path::{Path, PathBuf};

/// The schema beside the scenario, which its first line names for editors.
const SCHEMA: &str = "closestorm.schema.json";
/// Stands in the comments of the files for their own name.
const OWN_NAME: &str = "FILE";

impl InitQuestion {
    /// Its scenario, in which `FILE` stands for its name.
    fn scenario(self) -> &'static str {
        match self {
            InitQuestion::Deploy => include_str!("init/deploy.toml"),
            InitQuestion::Crash => include_str!("init/crash.toml"),
            InitQuestion::HalfOpen => include_str!("init/half-open.toml"),
            InitQuestion::Capacity => include_str!("init/capacity.toml"),
            InitQuestion::Client => include_str!("init/client.toml"),
        }
    }
}

/// Writes a scenario, or lists the questions.
///
/// # Errors
/// There is a file of this name, or it cannot be written.
pub fn main(args: &Init) -> anyhow::Result<u8> {
    let Some(question) = args.question else {
        print(&list())?;
        return Ok(OK);
    };
    let file = args.file.clone().unwrap_or_else(|| PathBuf::from(format!("{}.toml", word(question))));
    let name = shown(&file);
    let text = question.scenario();
    let commands: Vec<String> = commands(text).map(|command| command.replace(OWN_NAME, &name)).collect();
    let text: String =
        text.lines().map(|line| if line.starts_with('#') { line.replace(OWN_NAME, &name) } else { line.to_owned() } + "\n").collect();
    let text = format!("#:schema {SCHEMA}\n{text}");
    write_new(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
    let beside = file.with_file_name(SCHEMA);
    let has_schema = output::kind(&beside).is_ok_and(|kind| kind.is_some());
    let schema = if has_schema {
        String::new()
    } else {
        write_new(&beside, &schema::text(SchemaOf::Scenario)).with_context(|| format!("cannot write {}", beside.display()))?;
        format!("{} written: with it editors complete and explain keys\n", beside.display())
    };
    let next: String = commands.iter().map(|command| format!("  {command}\n")).collect();
    print(&format!("{} written\n{schema}\nRun it:\n{next}", file.display()))?;
    Ok(OK)
}

/// Writes a file that is not there yet.
///
/// # Errors
/// There is something of this name; or it cannot be written.
pub(super) fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    if output::kind(path)?.is_some() {
        return Err(Usage("it exists already: name another file, or remove that one".to_owned()).into());
    }
    Ok(output::write(path, text.as_bytes())?)
}

fn list() -> String {
    let mut text = String::from("Questions:\n");
    for question in InitQuestion::value_variants() {
        let help = question.to_possible_value().and_then(|value| Some(value.get_help()?.to_string())).unwrap_or_default();
        text += &format!("  {:<10} {help}\n", word(*question));
    }
    text + "\nWrite a scenario for one, with comments: closestorm init mine.toml --question crash\nOthers that come with the program: closestorm scenarios\n"
}

fn word(question: InitQuestion) -> String {
    question.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// As a shell takes it.
fn shown(file: &Path) -> String {
    let name = file.to_string_lossy();
    shlex::try_quote(&name).map_or_else(|_| name.to_string(), |quoted| quoted.into_owned())
}

/// The commands that the first comments of a scenario name.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| line.starts_with('#')).filter_map(|line| line.strip_prefix("#     "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_has_a_scenario_that_says_how_to_run_it() {
        for question in InitQuestion::value_variants() {
            let text = question.scenario();
            assert!(commands(text).any(|command| command.starts_with("closestorm ") && command.contains(OWN_NAME)), "{question:?}");
            assert!(list().contains(&word(*question)), "{question:?}");
            let comments = text.lines().filter(|line| line.contains('#')).count();
            assert!(comments > 10, "{question:?} has {comments} lines with comments");
        }
    }

    #[test]
    fn a_file_is_never_replaced() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.toml");
        write_new(&path, "one").expect("new");
        let error = write_new(&path, "two").expect_err("it is there").to_string();
        assert!(error.contains("exists already"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), "one");
    }
}
