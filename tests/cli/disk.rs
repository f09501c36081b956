//! Run folders that cannot be made or written: what was measured is told all the same, and a failed start leaves nothing.

use super::{Place, SHORT, exists};
use std::process::Command;

#[test]
fn a_run_folder_that_cannot_be_made_is_known_before_the_run() {
    let place = Place::with(SHORT);
    std::fs::create_dir(place.path("full")).expect("the folder can be written");
    place.write("full/file", "x");
    for (out, parts) in [
        ("full", ["full already exists", "choose another folder with --out, or remove it"]),
        ("full/file", ["full/file already exists", "choose another folder"]),
        ("full/file/run", ["full/file is not a folder", "choose another place with --out"]),
        ("/proc/run", ["cannot create the run folder /proc/run", "choose another place with --out"]),
        (".", [". already exists", "choose another folder"]),
    ] {
        place.assert_refuses(&["run", "test.toml", "--out", out], 1, &parts);
    }
}

#[test]
fn a_failed_start_leaves_no_folder_that_it_made() {
    let place = Place::with(SHORT);
    place.assert_refuses(&["run", "ws://127.0.0.1:1/", "--out", "new/deep/run"], 1, &["connection refused"]);
    place.assert_refuses(&["run", "ws://127.0.0.1:1/"], 1, &["connection refused"]);
}

#[test]
fn an_empty_folder_may_be_there() {
    let place = Place::with(SHORT);
    std::fs::create_dir(place.path("run")).expect("the folder can be written");
    place.run(&["run", "test.toml", "--out", "run/", "--quiet"]).assert_code(0);
    assert!(exists(&place.path("run/summary.json")) && !exists(&place.path("run/run.partial")));
    place.run(&["check", "run"]).assert_code(0);
}

#[test]
fn a_limit_on_the_length_of_files_does_not_lose_the_figures() {
    let place = Place::with(SHORT);
    let ended = place.shell("ulimit -f 12; exec $C run test.toml --out run").end();
    ended.assert_one_message(1, &["the run was measured", "incomplete in run.partial", "File too large"]);
    assert!(ended.out.contains("closes       20 ·") && !exists(&place.path("run")), "{ended:?}");
    // What nobody can read again is not passed.
    assert!(
        !ended.out.contains("PASS") && ended.out.contains("INCONCLUSIVE: its results could not be written: File too large"),
        "{ended:?}"
    );
}

/// Runs a line of shell in which `full` is a disk of so many bytes; `None` where that is not permitted.
fn on_small_disk(place: &Place, bytes: u32, line: &str) -> Option<super::Ended> {
    let permitted = Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success());
    if !permitted {
        eprintln!("!! LEFT OUT: a full disk: mounting in a namespace is not permitted here");
        return None;
    }
    std::fs::create_dir(place.path("full")).expect("the folder can be written");
    let mount = format!("mount -t tmpfs -o size={bytes} none full");
    Some(place.shell(&format!("exec unshare -m sh -c '{mount}; {line}'")).end())
}

#[test]
fn a_disk_that_is_full_at_the_start_is_one_message() {
    let place = Place::with(SHORT);
    let line = "head -c 100000 /dev/zero >full/rest 2>/dev/null; $C run test.toml --out full/a/run; code=$?; ls full; exit $code";
    let Some(ended) = on_small_disk(&place, 32_768, line) else { return };
    ended.assert_one_message(1, &["cannot create the run folder full/a/run", "choose another place", "No space left on device"]);
    assert_eq!(ended.out, "rest\n");
}

#[test]
fn a_disk_that_fills_with_the_data_does_not_lose_the_summary() {
    let place = Place::with(SHORT);
    let line = "$C run test.toml --out full/run --quiet; code=$?; ls full; exit $code";
    let Some(ended) = on_small_disk(&place, 24_576, line) else { return };
    ended.assert_one_message(1, &["the run was measured", "incomplete in full/run.partial", "No space left on device"]);
    assert!(ended.out.contains("closes       20 ·") && ended.out.ends_with("run.partial\n"), "{ended:?}");
}

#[test]
fn a_disk_that_fills_with_the_charts_keeps_all_data() {
    let place = Place::with(SHORT);
    let line = "$C run test.toml --out full/run --format json >summary.json; code=$?; \
                $C check full/run.partial && $C report full/run.partial --out drawn; exit $code";
    let Some(ended) = on_small_disk(&place, 163_840, line) else { return };
    ended.assert_one_message(1, &["the data of the run is complete in full/run.partial", "--out DIR", "No space left on device"]);
    assert!(!ended.err.contains("IoError"), "{ended:?}");
    assert_eq!(place.json("summary.json")["connections"]["closed"], 20);
    assert!(ended.out.contains("PASS") && exists(&place.path("drawn/report.html")), "{ended:?}");
}

#[test]
fn a_run_folder_may_be_a_mount() {
    let place = Place::with(SHORT);
    let Some(ended) = on_small_disk(&place, 8_000_000, "$C run test.toml --out full --quiet && $C check full && ls full") else { return };
    ended.assert_code(0);
    assert!(ended.out.contains("summary.json\n") && !ended.out.contains("partial"), "{ended:?}");
}

#[test]
#[ignore = "long: scripts/test"]
fn a_disk_that_fills_while_workers_run_loses_none_of_their_books() {
    let place = Place::with(SHORT);
    // All but one page is taken while the run goes on. Books need no disk: they are told over the links of the workers.
    let fill = "(sleep 1; head -c 100000000 /dev/zero >full/rest 2>/dev/null)";
    let line = format!("{fill} & $C run test.toml --duration 4s --workers 2 --out full/run --quiet; code=$?; ls -R full; wait; exit $code");
    let Some(ended) = on_small_disk(&place, 200_000, &line) else { return };
    let (told, left) = ended.out.split_once("\nfull:\n").expect("what is left");
    ended.assert_one_message(1, &["the run was measured", "incomplete in full/run.partial", "No space left on device"]);
    assert!(told.contains("closes       20 ·") && !told.contains("was lost"), "{ended:?}");
    assert!(!left.contains("worker-"), "{ended:?}");
}

#[test]
fn wherever_a_write_fails_no_folder_looks_complete() {
    let place = Place::with(SHORT);
    // Each length, in blocks of 512 bytes, stops another of the files, or the same at another place.
    for blocks in [0, 1, 2, 3, 4, 6, 8, 11, 16, 24, 40, 64, 100, 200, 600, 100_000] {
        let out = format!("run-{blocks}");
        let ended = place.shell(&format!("ulimit -f {blocks}; exec $C simulate test.toml --quiet --out {out}")).end();
        match ended.code {
            Some(1) => {
                assert!(!exists(&place.path(&out)), "{blocks}: {ended:?}");
                // With no length at all not even the error can be written down.
                assert!(blocks == 0 || ended.err.contains("File too large"), "{blocks}: {ended:?}");
            }
            Some(0) => place.run(&["check", &out, "--quiet"]).assert_code(0),
            other => panic!("{blocks}: {other:?} {ended:?}"),
        }
        // Whatever charts take, nothing fits at first, and everything at last.
        assert!(ended.code == Some(if blocks < 16 { 1 } else { 0 }) || (16..100_000).contains(&blocks), "{blocks}: {ended:?}");
    }
}
