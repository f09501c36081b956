//! Where results go: nothing is written through a link that somebody planted, nothing is half a file, and nothing is replaced but a run folder.

use super::{Place, SHORT, at_once, exists};
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

/// What is in the victim's file before and after.
const MINE: &str = "mine";

fn assert_untouched(place: &Place) {
    assert_eq!(fs::read_to_string(place.path("victim")).expect("it is there"), MINE);
    assert!(!exists(&place.path("nowhere")));
}

/// A simulation of a moment: it writes all that a run writes but what processes print.
fn simulate<'a>(out: &'a [&'a str]) -> Vec<&'a str> {
    [&["simulate", "test.toml", "--quiet", "--allow-inconclusive"][..], out].concat()
}

#[test]
#[ignore = "long: scripts/test"]
fn no_output_goes_through_a_planted_link() {
    let place = Place::with(SHORT);
    place.write("victim", MINE);
    place.run(&simulate(&["--runs", "3", "--out", "run"])).assert_code(0);
    // Whatever `report` writes, in the run folder and elsewhere.
    let names = fs::read_dir(place.path("run")).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    let drawn: Vec<_> = names.iter().filter(|name| [".svg", ".png", ".md", ".html"].iter().any(|end| name.ends_with(end))).collect();
    assert!(drawn.len() > 8, "{drawn:?}");
    for name in &drawn {
        for to in ["victim", "nowhere", "."] {
            let elsewhere = format!("drawn-{name}");
            let _ = fs::create_dir(place.path(&elsewhere));
            symlink(place.path(to), place.path(&elsewhere).join(name)).expect("a link");
            let ended = place.run(&["report", "run", "--out", &elsewhere]);
            ended.assert_one_message(1, &["cannot write", name]);
            assert!(ended.err.contains("symbolic link"), "{ended:?}");
            assert_untouched(&place);
            fs::remove_dir_all(place.path(&elsewhere)).expect("it can be removed");
        }
    }
    // All files of a run are written into a folder that is new, whatever the name of the temporary one leads to.
    for link in ["new", "new.partial"] {
        for to in ["victim", "nowhere", "run"] {
            symlink(place.path(to), place.path(link)).expect("a link");
            let ended = place.run(&simulate(&["--out", "new"]));
            ended.assert_one_message(1, &["new"]);
            assert!(place.path(link).is_symlink(), "the link stays: {ended:?}");
            assert_untouched(&place);
            fs::remove_file(place.path(link)).expect("it can be removed");
        }
    }
    // Files with a name that the user gives.
    symlink(place.path("nowhere"), place.path("model")).expect("a link");
    fs::create_dir(place.path("scenarios")).expect("a folder");
    symlink(place.path("nowhere"), place.path("scenarios/default.toml")).expect("a link");
    place.run(&["calibrate", "run", "--out", "model"]);
    place.run(&["scenarios", "--files", "."]).assert_code(0);
    assert_untouched(&place);
    assert!(place.path("scenarios/default.toml").is_symlink() && place.path("model").is_symlink());
}

#[test]
fn no_command_that_makes_a_folder_goes_through_a_planted_link() {
    let place = Place::with(SHORT);
    place.write("victim", MINE);
    place.run(&simulate(&["--out", "run"])).assert_code(0);
    let map = ["simulate", "test.toml", "--vary", "clients.web.count=10..20", "--vary", "target.embedded.backlog=10..20", "--levels", "2"];
    let commands: [&[&str]; 4] = [
        &["capacity", "test.toml", "--vary", "clients.web.count=10..20", "--steps", "2"],
        &map,
        &["fidelity", "test.toml"],
        &["run", "test.toml"],
    ];
    for (command, link, to) in commands.iter().flat_map(|command| {
        ["new", "new.partial"].into_iter().flat_map(move |link| ["victim", "nowhere", "run"].map(|to| (command, link, to)))
    }) {
        symlink(place.path(to), place.path(link)).expect("a link");
        let before = place.litter();
        let ended = place.run(&[command, &["--out", "new"][..]].concat());
        assert!(matches!(ended.code, Some(1 | 2)) && ended.err.contains("new"), "{command:?} {link} {to}: {ended:?}");
        assert!(place.path(link).is_symlink(), "the link stays: {ended:?}");
        assert_eq!(place.litter(), before, "{command:?} {link} {to}");
        assert_untouched(&place);
        fs::remove_file(place.path(link)).expect("it can be removed");
    }
}

#[test]
fn what_target_and_workers_print_does_not_go_through_a_link() {
    let place = Place::with(&SHORT.replace("1500ms", "900ms"));
    place.write("victim", MINE);
    // In a folder that is there already, as a mount is, others may write.
    fs::create_dir(place.path("run")).expect("a folder");
    place.run(&["run", "test.toml", "--quiet", "--allow-inconclusive", "--workers", "2", "--out", "run"]);
    assert!(exists(&place.path("run/summary.json")) && !exists(&place.path("run/run.partial")));
    let left = fs::read_dir(place.path("run")).expect("a folder").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    assert_eq!(left.filter(|name| name.ends_with(".partial")).count(), 0);
}

#[test]
fn force_replaces_a_run_folder_and_nothing_else() {
    let place = Place::with(SHORT);
    place.write("file", MINE);
    for folder in ["photos", "faked"] {
        fs::create_dir(place.path(folder)).expect("a folder");
        place.write(&format!("{folder}/holiday"), MINE);
    }
    place.write("faked/manifest.json", "{\"name\": \"an extension of a browser\"}");
    place.run(&simulate(&["--out", "run"])).assert_code(0);
    symlink(place.path("run"), place.path("link")).expect("a link");
    let before = fs::read(place.path("run/manifest.json")).expect("a manifest");
    place.assert_refuses(&simulate(&["--out", "run"]), 1, &["run already exists", "or use --force"]);
    for (out, parts) in [
        ("photos", ["photos is not a run folder", "--force replaces nothing else"]),
        ("faked", ["faked is not a run folder", "--force replaces nothing else"]),
        ("file", ["file already exists and is not a folder", "choose another folder"]),
        ("link", ["link already exists and is a symbolic link", "choose another folder"]),
        ("link/", ["link already exists and is a symbolic link", "choose another folder"]),
    ] {
        place.assert_refuses(&simulate(&["--force", "--out", out]), 1, &parts);
    }
    assert_eq!(fs::read(place.path("run/manifest.json")).expect("a manifest"), before);
    // One that fails leaves what was there.
    place.write("broken.toml", "[clients.web]\ncount = 1\n[target.url]\naddress = \"ws://127.0.0.1:1\"\n");
    place.assert_refuses(&["run", "broken.toml", "--force", "--out", "run"], 1, &["connection refused"]);
    assert_eq!(fs::read(place.path("run/manifest.json")).expect("a manifest"), before);
    place.write("run/old", "");
    place.run(&simulate(&["--force", "--out", "run"])).assert_code(0);
    assert_ne!(fs::read(place.path("run/manifest.json")).expect("a manifest"), before);
    assert!(!exists(&place.path("run/old")) && exists(&place.path("run/report.html")));
    let left = place.litter();
    assert!(left.iter().all(|name| ["file", "photos", "faked", "run", "link"].contains(&name.as_str())), "{left:?}");
}

#[test]
fn runs_that_start_at_one_moment_have_their_own_folders_and_latest_leads_to_one() {
    let place = Place::with(SHORT);
    at_once(0..6, |_| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_closestorm"));
        let ended = command.args(simulate(&[])).current_dir(place.path("")).output().expect("it runs");
        assert!(ended.status.success(), "{ended:?}");
    });
    let folder = place.path("results/test");
    let latest = fs::read_link(folder.join("latest")).expect("a link");
    assert!(latest.is_relative() && exists(&folder.join(&latest).join("summary.json")));
    let runs = fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    let runs: Vec<String> = runs.filter(|name| name != "latest").collect();
    assert!(runs.len() == 6 && runs.iter().all(|name| exists(&folder.join(name).join("report.html"))), "{runs:?}");
    place.run(&["check", "results/test/latest", "--quiet", "--allow-inconclusive"]).assert_code(0);
    // Something else of that name stays.
    fs::remove_file(folder.join("latest")).expect("it can be removed");
    fs::write(folder.join("latest"), MINE).expect("a file");
    place.run(&simulate(&[])).assert_code(0);
    assert_eq!(fs::read_to_string(folder.join("latest")).expect("a file"), MINE);
}
