//! What comes from others while closestorm works: scenarios, templates, expectations, requests, answers, frames, lines of links.

use super::{corpus, fuzz};
use closestorm::cluster::probe::{READERS, read_link};
use closestorm::dialogue::probe as said;
use closestorm::expect::{Expectation, Names};
use closestorm::scenario::{Overrides, Source, load_with};
use closestorm::template::{Template, TemplateValues};
use closestorm::ws::probe;
use std::path::PathBuf;

/// Scenarios of this repository.
fn scenarios() -> Vec<Vec<u8>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let of = |folder: &str| {
        let entries = std::fs::read_dir(root.join(folder)).expect("a folder").map(|entry| entry.expect("an entry").path());
        let mut files: Vec<_> = entries.filter(|file| file.extension().is_some_and(|end| end == "toml")).collect();
        files.sort();
        files
    };
    [of("scenarios"), of("tests/overlaps")].concat().into_iter().map(|file| std::fs::read(file).expect("a readable file")).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn scenario() {
    fuzz("scenario", &scenarios(), |bytes| {
        let source = Source::Text { name: "fuzzed".to_owned(), text: text(bytes) };
        match load_with(&source, &Overrides::default(), &|_| None) {
            // What was understood is understood again.
            Ok(plan) => {
                let again = Source::Text { name: "again".to_owned(), text: plan.whole };
                assert!(load_with(&again, &Overrides::default(), &|_| None).is_ok());
            }
            Err(errors) => assert!(!errors.to_string().is_empty()),
        }
    });
}

#[test]
fn template() {
    fuzz("template", &corpus("template"), |bytes| {
        if let Ok(template) = Template::parse(&text(bytes)) {
            drop(template.fill(&TemplateValues { client: "7".into(), attempt: "3".into(), own: None }));
        }
    });
}

#[test]
fn expectation() {
    let (cohorts, faults) = (["web".to_owned()], ["crash".to_owned()]);
    fuzz("expectation", &corpus("expectation"), |bytes| {
        if let Ok(expectation) = Expectation::parse(&text(bytes), Names { cohorts: &cohorts, faults: &faults, ..Names::default() }) {
            drop((expectation.counted(), expectation.timed()));
        }
    });
}

#[test]
fn mqtt_packets() {
    // Packets are not aligned with messages: however they are cut, they are the same.
    fuzz("mqtt_packets", &corpus("mqtt"), |bytes| {
        for five in [false, true] {
            assert_eq!(said::mqtt(bytes, five, 1 << 20), said::mqtt(bytes, five, 3));
        }
    });
}

#[test]
fn matches() {
    fuzz("matches", &corpus("matches"), |bytes| drop(said::matches(bytes)));
}

#[test]
fn request_head() {
    fuzz("request_head", &corpus("request_head"), |bytes| _ = probe::is_request(bytes));
}

#[test]
fn answer() {
    fuzz("answer", &corpus("answer"), |bytes| _ = probe::opens(bytes));
}

#[test]
fn frames_of_a_client() {
    // Bytes that come one by one and together have the same meaning.
    fuzz("frames_of_a_client", &corpus("frames"), |bytes| {
        assert_eq!(probe::messages(bytes, false, 1 << 20), probe::messages(bytes, false, 7));
    });
}

#[test]
fn frames_of_a_server() {
    fuzz("frames_of_a_server", &corpus("frames"), |bytes| {
        assert_eq!(probe::messages(bytes, true, 1 << 20), probe::messages(bytes, true, 7));
    });
}

#[test]
fn link_lines() {
    fuzz("link_lines", &corpus("link_lines"), |bytes| {
        for reader in READERS {
            assert_eq!(read_link(reader, bytes, 1 << 20), read_link(reader, bytes, 5), "however the bytes were cut");
        }
    });
}
