//! The JSON Schemas that the program prints, by a validator that is not ours: they take what the program takes and writes, and no key beside.

use crate::documents::{documents, path};
use closestorm::api::Scenario;
use closestorm::cli::SchemaOf;
use closestorm::cmd::schema::text;
use closestorm::scenario::{Overrides, Source, load};
use jsonschema::Validator;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

fn validator(of: SchemaOf) -> Validator {
    let schema: Value = serde_json::from_str(&text(of)).expect("JSON");
    assert!(jsonschema::draft202012::meta::is_valid(&schema), "no schema of draft 2020-12");
    jsonschema::draft202012::new(&schema).expect("a schema")
}

fn wrong(validator: &Validator, value: &Value) -> Vec<String> {
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn the_schemas_of_the_documents_are_those_of_the_program() {
    for (of, name) in [(SchemaOf::Scenario, "docs/schemas/scenario.json"), (SchemaOf::Summary, "docs/schemas/summary.json")] {
        if std::env::var_os("UPDATE").is_some() {
            fs::write(path(name), text(of)).expect("docs can be written");
        }
        assert!(fs::read_to_string(path(name)).unwrap_or_default() == text(of), "{name} is old: UPDATE=1 cargo test --test all schemas");
    }
}

#[test]
fn scenarios_of_tests_and_documents_fit() {
    let validator = validator(SchemaOf::Scenario);
    let mut texts = Vec::new();
    for file in toml_files(&path("tests")).into_iter().chain(toml_files(&path("src/cmd/init"))) {
        texts.push((file.display().to_string(), fs::read_to_string(&file).expect("a file")));
    }
    for document in documents() {
        for block in document.blocks().iter().filter(|block| block.language == "toml") {
            texts.push((format!("{}:{}", document.name, block.line), block.scenario()));
        }
    }
    let mut count = 0;
    for (name, text) in texts {
        // What is no scenario, or one that is wrong on purpose.
        let source = Source::Text { name: "test".to_owned(), text: text.clone() };
        let loads = load(&source, &Overrides::default()).is_ok();
        let Ok(value) = toml::from_str::<Value>(&text) else { continue };
        if !loads || value.get("clients").is_none() {
            continue;
        }
        count += 1;
        assert!(wrong(&validator, &value).is_empty(), "{name}: {:#?}", wrong(&validator, &value));
        let mut more = value;
        more.as_object_mut().expect("a table").insert("no_such_key".to_owned(), json!(1));
        assert!(!validator.is_valid(&more), "{name}");
    }
    assert!(count > 60, "{count}");
}

fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the project") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("node_modules") {
            files.extend(toml_files(&path));
        } else if path.extension().is_some_and(|end| end == "toml") {
            files.push(path);
        }
    }
    files
}

#[test]
fn values_that_a_scenario_does_not_take_do_not_fit() {
    let validator = validator(SchemaOf::Scenario);
    let with = |more: &str| toml::from_str::<Value>(&format!("[clients.web]\ncount = 5\n{more}")).expect("TOML");
    for (more, fits) in [
        ("", true),
        ("reconnect = \"phoenix\"", true),
        ("reconnect = \"${PRESET}\"", true),
        ("reconnect = \"no-such-preset\"", false),
        ("reconnect = { fixed = { delay = \"1s\" }, max_retries = 5 }", true),
        ("reconnect = { fixed = { base = \"1s\" } }", false),
        ("traffic = { echo = { rate = 5 } }", false),
        ("heartbeat = \"none\"", true),
        ("heartbeat = \"off\"", false),
        ("[[faults]]\nat = \"1s\"\ninject = { drop_rst = {} }", true),
        ("[[faults]]\nat = \"1s\"\ninject = { drop_rts = {} }", false),
        ("[[faults]]\nat = \"1s\"\ninject = { close_code = { code = \"1001\" } }", false),
        ("[[faults]]\nat = 1\ninject = { drop_rst = {} }", false),
    ] {
        assert_eq!(validator.is_valid(&with(more)), fits, "{more}");
    }
}

#[test]
fn summaries_fit_and_those_with_another_key_do_not() {
    let validator = validator(SchemaOf::Summary);
    for name in ["default", "crash-storm", "rolling-restart"] {
        let outcome = Scenario::open(name).and_then(|scenario| scenario.simulate());
        let summary = outcome.unwrap_or_else(|error| panic!("{name}: {error}")).summary();
        let value = serde_json::to_value(summary).expect("JSON");
        assert!(wrong(&validator, &value).is_empty(), "{name}: {:#?}", wrong(&validator, &value));
        for place in ["", "/verdict", "/clients", "/attempts", "/reconnect/time_us", "/generator", "/faults/0"] {
            let mut mutated = value.clone();
            let Some(table) = mutated.pointer_mut(place).and_then(Value::as_object_mut) else { continue };
            table.insert("no_such_key".to_owned(), json!(1));
            assert!(!validator.is_valid(&mutated), "{name} {place}");
        }
        let mut less = value.clone();
        less.as_object_mut().expect("a table").remove("verdict");
        assert!(!validator.is_valid(&less), "{name}");
    }
}
