//! Tells the program from which commit it was built, for the manifest of a run folder.
//!
//! Only in release builds: a debug build would be made again after each commit. `CLOSESTORM_COMMIT` in the environment wins; outside of a
//! checkout there is no commit, and the manifest leaves it empty.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CLOSESTORM_COMMIT");
    let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if !release || std::env::var_os("CLOSESTORM_COMMIT").is_some() {
        return;
    }
    let Some(commit) = git(&["rev-parse", "HEAD"]) else { return };
    println!("cargo::rustc-env=CLOSESTORM_COMMIT={commit}");
    // It grows with each commit and each checkout, also in a linked worktree.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
}

/// What git prints, without the line break; `None` where there is no git or no checkout of ours.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}
