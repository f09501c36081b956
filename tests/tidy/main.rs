//! The rules of the house, read from the sources: who may use whom, what each file begins with, what must not be in the tree.
//!
//! These are plain searches in text, not a parser: unit tests at the foot of a file and lines of comment are left out.

mod imports;
mod library;

use imports::Imports;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The modules of `src` in reading order: a module uses only those before it.
#[rustfmt::skip]
const ORDER: &[&str] = &[
    // words
    "units", "lock", "panics", "number", "text", "files", "secret", "seed", "close", "template", "address", "event", "observer",
    // pure decisions
    "arrival", "reconnect", "estimate", "fault", "dialogue", "capacity",
    // intent
    "expect", "plan", "scenario",
    // numbers, made from events
    "metrics",
    // bytes, frames, and both sides of a connection
    "transport", "ws",
    // what is served beside them
    "http",
    // how our own processes talk to each other
    "ipc",
    // a plan on sockets or in memory, and in virtual time
    "snapshots", "recorder", "witness", "server", "serve", "proxy", "sut", "learn", "load", "run", "cluster", "sim",
    // evidence, from files
    "output", "results", "verdict", "compare", "calibrate", "fidelity",
    // presentation
    "plot", "report", "web",
    // the library
    "api",
];
/// These may use all.
const PROGRAM: [&str; 5] = ["cli", "cmd", "main", "lib", "crate"];
/// Have sockets, tasks and a clock; the others have none.
#[rustfmt::skip]
const WORLDS: [&str; 16] = [
    "snapshots", "recorder", "witness", "transport", "ws", "http", "ipc", "server", "serve", "proxy", "sut", "learn", "load", "run", "cluster", "web",
];

#[test]
fn a_module_uses_only_those_before_it() {
    let place = |module: &str| ORDER.iter().position(|one| *one == module);
    let mut wrong = Vec::new();
    for (file, uses) in imports().edges() {
        let module = |file: &str| file.split('/').next().unwrap_or_default().to_owned();
        let from = module(&file);
        if file.is_empty() || PROGRAM.contains(&from.as_str()) {
            continue;
        }
        let at = place(&from).unwrap_or_else(|| panic!("{file} has no place in the order"));
        let later = uses.into_iter().filter(|to| place(&module(to)).is_none_or(|to| to > at));
        wrong.extend(later.map(|to| format!("{file} uses {to}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What follows from files can be made again from files.
#[test]
fn evidence_and_presentation_use_no_world() {
    let first = ORDER.iter().position(|one| *one == "results").expect("in the order");
    for (path, text) in sources() {
        let module = module_of(&path);
        // What serves pages is a world itself.
        if module != "api" && !WORLDS.contains(&module.as_str()) && ORDER[first..].contains(&module.as_str()) {
            for world in WORLDS.iter().chain(&["sim"]) {
                assert!(!used_modules(&text).contains(*world), "{}: {module} uses {world}", path.display());
            }
        }
    }
}

/// Files that use each other in a circle can only be understood, and used, together.
#[test]
fn no_files_use_each_other_in_a_circle() {
    let circles = imports().circles();
    assert!(circles.is_empty(), "{circles:#?}");
}

/// Names of types that several files define, and how many: one name is to stand for one thing. The list may only become shorter.
#[rustfmt::skip]
const SHARED_NAMES: [(&str, usize); 7] = [("Capacity", 2), ("Command", 2), ("Error", 2), ("Faults", 2), ("Observed", 2), ("Outcome", 3), ("Payload", 2)];

#[test]
fn a_name_of_a_type_stands_for_one_thing() {
    let types = imports().types();
    let known: BTreeMap<&str, usize> = SHARED_NAMES.into();
    let new: Vec<_> = types.iter().filter(|(name, files)| known.get(name.as_str()).is_none_or(|known| files.len() > *known)).collect();
    assert!(new.is_empty(), "name it after what it is here: {new:#?}");
    let fewer = |name: &&str, known: usize| types.get(*name).map_or(0, Vec::len) < known;
    let gone: Vec<_> = known.into_iter().filter(|(name, known)| fewer(name, *known)).collect();
    assert!(gone.is_empty(), "fewer files define these, as the list is to say: {gone:?}");
}

/// Both carry a plan out; what they share stands before either.
#[test]
fn sockets_and_virtual_time_do_not_know_each_other() {
    for (path, text) in sources() {
        if module_of(&path) == "sim" {
            for world in WORLDS {
                assert!(!used_modules(&text).contains(world), "{} uses {world}", path.display());
            }
        }
    }
}

/// Vocabulary, decisions, intent and evidence have no sockets, no tasks and no clock of their own.
#[test]
fn pure_groups_import_no_runtime_no_socket_no_clock() {
    const FORBIDDEN: [&str; 7] = ["tokio", "std::net", "socket2", "nix::sys::socket", "std::time::Instant", "time::SystemTime", "thread::"];
    // It stamps the wall time of a run; nothing is computed from it.
    const STAMP: &str = "src/results/manifest.rs";
    for (path, text) in sources() {
        let module = module_of(&path);
        if path.ends_with(STAMP)
            || WORLDS.contains(&module.as_str())
            || ["sim", "api"].contains(&module.as_str())
            || !ORDER.contains(&module.as_str())
        {
            continue;
        }
        for word in FORBIDDEN {
            assert!(!text.contains(word), "{} mentions {word}", path.display());
        }
    }
}

#[test]
fn every_source_file_says_what_it_is_for() {
    for file in tracked().into_iter().filter(|file| file.extension().is_some_and(|end| end == "rs")) {
        let text = read(&file);
        assert!(text.starts_with("//! "), "{} does not open with //!", file.display());
    }
}

/// The help, the documents and `validate --keys` show what stands in that list.
#[test]
fn every_table_of_a_scenario_is_listed() {
    let keys = read(&Path::new(ROOT).join("src/scenario/keys.rs"));
    let listed = keys.split("SECTIONS: &[&Section] = &[").nth(1).and_then(|rest| rest.split("];").next()).expect("the list");
    let listed: Vec<&str> = listed.split(',').filter_map(|one| one.trim().strip_prefix('&')?.rsplit("::").next()).collect();
    let texts: Vec<String> = sources().into_iter().map(|(_, text)| text).collect();
    let tables = texts.iter().flat_map(|text| text.split("static ").skip(1)).filter_map(|rest| rest.split_once(": Section = "));
    let mut tables: Vec<&str> = tables.map(|(name, _)| name).filter(|name| !name.contains(char::is_whitespace)).collect();
    assert!(tables.len() > 30 && tables.len() == listed.len(), "{tables:?} {listed:?}");
    tables.retain(|table| !listed.contains(table));
    assert!(tables.is_empty(), "{tables:?} is missing in SECTIONS");
}

#[test]
fn nothing_is_left_undone_or_switched_off() {
    // Put together here, so that this file does not find itself.
    let words = [["TO", "DO"], ["FIX", "ME"], ["to", "do!("], ["unimple", "mented!("], ["#[ig", "nore"]].map(|parts| parts.concat());
    // Integration tests that take seconds each: not part of `cargo test`, but of scripts/test.
    let long = format!("{} = \"long: scripts/test\"]", words[4]);
    for file in tracked().into_iter().filter(|file| file.extension().is_some_and(|end| end == "rs" || end == "toml" || end == "sh")) {
        let below = |folder: &str| file.starts_with(Path::new(ROOT).join(folder));
        let integration = below("tests") && !["tests/tidy", "tests/fuzz", "tests/interop"].into_iter().any(below);
        let text = if integration { read(&file).replace(&long, "") } else { read(&file) };
        for word in &words {
            assert!(!text.contains(word.as_str()), "{}: {word}", file.display());
        }
    }
    let script = read(&Path::new(ROOT).join("scripts/test"));
    let runs: Vec<&str> = script.lines().filter(|line| line.trim_start().starts_with("cargo test --test all")).collect();
    assert!(runs.len() == 2 && runs.iter().all(|line| line.contains(" -- --include-ignored")), "{runs:?}");
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let paths = [["/wo", "rk/"], ["/tmp/", "wt"], ["/ro", "ot/"], ["../sha", "red"], ["/ho", "me/"]].map(|parts| parts.concat());
    for file in tracked() {
        // Pictures and fonts are not text.
        let text = String::from_utf8_lossy(&std::fs::read(&file).expect("a tracked file")).into_owned();
        for path in &paths {
            assert!(!text.contains(path.as_str()), "{} contains {path}", file.display());
        }
    }
}

#[test]
fn every_dependency_has_its_reason_and_is_used() {
    let manifest = read(&Path::new(ROOT).join("Cargo.toml"));
    let mut section = "";
    let mut before = "";
    for line in manifest.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if section.ends_with("dependencies")
            && !line.starts_with('#')
            && let Some((name, _)) = line.split_once(" = ")
        {
            // A reason may stand above several lines that follow each other.
            assert!(before.starts_with("# ") || before.contains(" = "), "{section}: {name} has no reason above it");
            assert!(is_used(name, section), "{section}: {name} is not used");
        }
        before = line;
    }
}

/// Whether code names the crate; plain features of tokio are switched on without being named.
fn is_used(name: &str, section: &str) -> bool {
    let krate = name.replace('-', "_");
    let folders: &[&str] = if section == "dependencies" { &["src"] } else { &["src", "tests", "benches", "examples"] };
    let names = [format!("{krate}::"), format!("use {krate};")];
    folders.iter().flat_map(|folder| rust_files(&Path::new(ROOT).join(folder))).any(|file| {
        let text = read(&file);
        names.iter().any(|name| text.contains(name.as_str()))
    })
}

/// A C toolchain of OpenSSL or CMake, or a fontconfig, is not to be needed.
#[test]
fn forbidden_crates_are_not_in_the_tree() {
    let lock = read(&Path::new(ROOT).join("Cargo.lock"));
    for name in ["aws-lc-rs", "aws-lc-sys", "openssl-sys", "fontconfig-sys", "yeslogic-fontconfig-sys"] {
        assert!(!lock.contains(&format!("name = \"{name}\"\n")), "{name} is in Cargo.lock");
    }
}

#[test]
fn the_search_itself_works() {
    let text = code(
        "use crate::plan::{Plan, Target};\n// crate::report\nfn f() -> crate::close::Ending {}\n#[cfg(test)]\nmod tests {\nuse crate::plot;\n}\n",
    );
    assert_eq!(used_modules(&text), BTreeSet::from(["close".to_owned(), "plan".to_owned()]));
    assert_eq!(module_of(Path::new("src/sut/command/guard.rs")), "sut");
    assert_eq!(module_of(Path::new("src/verdict.rs")), "verdict");
    assert!(sources().len() > 80, "the sources were found");
}

/// Files of src with what is code in them, but those that are compiled for tests only.
fn sources() -> Vec<(PathBuf, String)> {
    let (src, imports) = (Path::new(ROOT).join("src"), imports());
    let files = rust_files(&src).into_iter().filter(|file| imports.has(file.strip_prefix(&src).expect("a file of src")));
    files.map(|file| (file.strip_prefix(ROOT).expect("inside the project").to_owned(), code(&read(&file)))).collect()
}

/// What uses what in src.
fn imports() -> Imports {
    let src = Path::new(ROOT).join("src");
    let files = rust_files(&src);
    Imports::read(files.iter().map(|file| (file.strip_prefix(&src).expect("a file of src"), read(file))))
}

/// The text without its tests at the foot and without comments.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end].lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn used_modules(code: &str) -> BTreeSet<String> {
    let names = code.split("crate::").skip(1);
    names
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>())
        .filter(|name| !name.is_empty())
        .collect()
}

/// The first part of a path below src, without its ending.
fn module_of(path: &Path) -> String {
    let part = path.components().nth(1).expect("a file of src");
    part.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of the project") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Files that git knows; all sources where this is no checkout.
fn tracked() -> Vec<PathBuf> {
    let listed = std::process::Command::new("git").args(["-C", ROOT, "ls-files", "-z"]).output();
    match listed {
        Ok(listed) if listed.status.success() && !listed.stdout.is_empty() => {
            let names = String::from_utf8(listed.stdout).expect("names of files are UTF-8");
            // A file may be deleted and not yet committed.
            names.split_terminator('\0').map(|name| Path::new(ROOT).join(name)).filter(|file| file.is_file()).collect()
        }
        _ => [rust_files(&Path::new(ROOT).join("src")), rust_files(&Path::new(ROOT).join("tests"))].concat(),
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
