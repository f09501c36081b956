//! The tests of docs/from-node.md and docs/from-python.md, as they are printed there, by Vitest and pytest.

use super::documents::{Document, read};
use super::{home, left_out, node};
use std::path::Path;
use std::process::{Command, Output};

/// A page's files, in a folder of their own.
fn files_of(page: &str, names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let document = Document { name: page.to_owned(), text: read(page) };
    let blocks = document.blocks();
    let files: Vec<_> = blocks.iter().filter_map(|block| Some((block.mark("file")?, block))).collect();
    assert_eq!(files.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names, "{page}");
    for (name, block) in files {
        assert!(block.lines.len() <= 30, "{page}: {name} is long");
        std::fs::write(folder.path().join(name), block.text()).unwrap();
    }
    folder
}

/// Runs a program that finds closestorm as users have it: on the PATH.
fn run(program: &Path, args: &[&str], folder: &Path) -> Output {
    let ours = Path::new(env!("CARGO_BIN_EXE_closestorm")).parent().unwrap();
    let path = format!("{}:{}", ours.display(), std::env::var("PATH").unwrap());
    Command::new(program)
        .args(args)
        .current_dir(folder)
        .env("PATH", path)
        .output()
        .unwrap_or_else(|why| panic!("{}: {why}", program.display()))
}

fn has_passed(output: &Output, says: &str) {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains(says), "{said}");
}

#[test]
fn the_tests_of_the_page_about_node_run() {
    if !node("Vitest of docs/from-node.md") {
        return;
    }
    let folder = files_of("docs/from-node.md", &["deploy.test.js", "reset.test.js"]);
    std::os::unix::fs::symlink(home("tests/node/node_modules"), folder.path().join("node_modules")).unwrap();
    let vitest = home("tests/node/node_modules/.bin/vitest");
    let passed = run(&vitest, &["run", "--no-color"], folder.path());
    has_passed(&passed, "Tests  2 passed (2)");
}

#[test]
fn the_tests_of_the_page_about_python_run() {
    if left_out("CLOSESTORM_NO_PYTHON", "pytest of docs/from-python.md") {
        return;
    }
    let folder = files_of("docs/from-python.md", &["test_deploy.py", "test_reset.py"]);
    let passed = run(&home("target/python/bin/python"), &["-m", "pytest", "-p", "no:cacheprovider"], folder.path());
    has_passed(&passed, "2 passed");
}
