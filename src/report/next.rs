//! After a run: where its folder is, and the command to try next.

use crate::results::record::Summary;
use std::path::Path;

/// Where the run folder is, and the next command to try; two lines.
pub fn where_next(summary: &Summary, folder: &Path) -> String {
    format!("report       {}\nnext         {}\n", folder.join("report.html").display(), next(summary, folder))
}

/// More clients after a pass and after too few samples, fewer after a failure; the same command where nothing was learnt.
fn next(summary: &Summary, folder: &Path) -> String {
    let planned = summary.clients.planned;
    let scales = summary.command.starts_with("closestorm run") && !sets_clients(&summary.command) && planned > 1;
    // A secret that is left out of the command cannot be typed again.
    let scales = scales && !summary.command.contains("***") && !is_kept(&summary.command);
    let again = elsewhere(&summary.command);
    let with = |clients: u64| format!("{again} --clients {clients}");
    let report = format!("closestorm report {}", folder.display());
    // A shard says nothing alone, and its start lies in the past.
    if has(&summary.command, "--shard") {
        return match summary.status.as_str() {
            "aborted" => format!("{again} --start-at TIME (all shards again)"),
            _ => format!("closestorm merge {} FOLDERS-OF-THE-OTHER-SHARDS", folder.display()),
        };
    }
    match summary.verdict.result.as_str() {
        _ if summary.status == "aborted" => again,
        "pass" | "unchecked" if scales => with(planned * 2),
        "fail" if scales => with(planned / 2),
        "inconclusive" if scales && summary.generator.saturated => with(planned / 2),
        "inconclusive" if !summary.generator.saturated => more_clients(summary).unwrap_or(report),
        _ => report,
    }
}

/// The command with as many clients as the percentiles need that had too few samples: at least twice as many. Where there were none, or
/// the run is not to be relied on, more clients would show no more.
fn more_clients(summary: &Summary) -> Option<String> {
    let runs = ["closestorm run", "closestorm simulate"].iter().any(|command| summary.command.starts_with(command));
    let rows = summary.verdict.expectations.iter().filter_map(|row| Some(row.needed?.div_ceil(row.samples.filter(|n| *n > 0)?)));
    let factor = rows
        .max()
        .filter(|_| {
            runs && !has(&summary.command, "--against") && !summary.command.contains("***") && summary.generator.unreliable.is_empty()
        })?
        .max(2);
    let clients = summary.clients.planned.max(1).saturating_mul(factor);
    Some(format!("{} --clients {clients}", without(&summary.command, &["--out", "--start-at", "--clients", "-c"])))
}

/// The command without its `--out` and `--force`, as that folder is there now, and without its `--start-at`, which is over.
fn elsewhere(command: &str) -> String {
    without(command, &["--out", "--start-at"])
}

/// Whether the run is compared with others, or others will be with it: with another number of clients it is another scenario.
fn is_kept(command: &str) -> bool {
    ["--against", "--save-baseline"].iter().any(|option| has(command, option))
}

/// Whether the command says how many clients there are.
fn sets_clients(command: &str) -> bool {
    has(command, "--clients") || shlex::split(command).unwrap_or_default().iter().any(|word| counts_clients(word))
}

/// `-c`, or `-c5`.
fn counts_clients(word: &str) -> bool {
    word.strip_prefix("-c").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether an option stands in the command.
fn has(command: &str, option: &str) -> bool {
    let words = shlex::split(command).unwrap_or_default();
    words.iter().any(|word| word == option || word.split_once('=').is_some_and(|(name, _)| name == option))
}

/// The command without these options and their values.
fn without(command: &str, options: &[&str]) -> String {
    let words = shlex::split(command).unwrap_or_default();
    let mut kept = Vec::new();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            // It belongs to `--out`.
            "--force" if options.contains(&"--out") => {}
            _ if options.contains(&word) => _ = words.next(),
            _ if options.contains(&"-c") && counts_clients(word) => {}
            _ if word.split_once('=').is_some_and(|(option, _)| options.contains(&option)) => {}
            _ => kept.push(word),
        }
    }
    shlex::try_join(kept).unwrap_or_else(|_| command.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::fixture;

    #[test]
    fn the_next_command_does_not_write_into_the_same_folder() {
        for (command, next) in [
            ("closestorm run 'a b.toml' --out x --seed 7", "closestorm run 'a b.toml' --seed 7"),
            ("closestorm run --out=x", "closestorm run"),
            ("closestorm run --out x --force --seed 7", "closestorm run --seed 7"),
            ("closestorm run x.toml --start-at 2026-01-31T12:00:00Z --out x", "closestorm run x.toml"),
            ("closestorm run", "closestorm run"),
        ] {
            assert_eq!(elsewhere(command), next);
        }
    }

    #[test]
    fn too_few_samples_ask_for_more_clients() {
        for (samples, needed, command, next) in [
            (23, 299, "closestorm run x.toml --seed 7", "closestorm run x.toml --seed 7 --clients 13000"),
            (298, 299, "closestorm run x.toml --clients=5 --out a", "closestorm run x.toml --clients 2000"),
            (298, 299, "closestorm run x.toml -c 5", "closestorm run x.toml --clients 2000"),
            (298, 299, "closestorm run ws://h/ -c5 --out a", "closestorm run ws://h/ --clients 2000"),
            (0, 5, "closestorm simulate x.toml --clients 10", "closestorm report results/x"),
        ] {
            let mut summary = fixture::crash_storm().summary;
            summary.verdict.result = "inconclusive".to_string();
            (summary.command, summary.generator.saturated) = (command.to_string(), false);
            let row = &mut summary.verdict.expectations[0];
            (row.samples, row.needed) = (Some(samples), Some(needed));
            let text = where_next(&summary, Path::new("results/x"));
            assert!(text.ends_with(&format!("{next}\n")), "{text}");
            summary.generator.unreliable = vec!["the target ended by itself".to_string()];
            assert!(where_next(&summary, Path::new("results/x")).ends_with("closestorm report results/x\n"));
        }
    }

    #[test]
    fn after_a_shard_comes_the_merge_and_never_its_start_again() {
        let mut summary = fixture::crash_storm().summary;
        summary.command = "closestorm run x.toml --shard 1/2 --start-at=2026-01-31T12:00:00Z --out one".to_string();
        for result in ["unchecked", "inconclusive", "pass"] {
            summary.verdict.result = result.to_string();
            let text = where_next(&summary, Path::new("one"));
            assert!(text.ends_with("next         closestorm merge one FOLDERS-OF-THE-OTHER-SHARDS\n"), "{text}");
        }
        summary.status = "aborted".to_string();
        let text = where_next(&summary, Path::new("one"));
        assert!(text.ends_with("next         closestorm run x.toml --shard 1/2 --start-at TIME (all shards again)\n"), "{text}");
    }

    #[test]
    fn the_next_command_depends_on_the_verdict() {
        let folder = Path::new("results/crash-storm/1");
        for (result, status, next) in [
            ("pass", "completed", "closestorm run scenarios/crash-storm.toml --seed 7 --clients 2000"),
            ("unchecked", "completed", "closestorm run scenarios/crash-storm.toml --seed 7 --clients 2000"),
            ("fail", "completed", "closestorm run scenarios/crash-storm.toml --seed 7 --clients 500"),
            ("inconclusive", "aborted", "closestorm run scenarios/crash-storm.toml --seed 7"),
            ("inconclusive", "completed", "closestorm report results/crash-storm/1"),
        ] {
            let mut summary = fixture::crash_storm().summary;
            (summary.verdict.result, summary.status) = (result.to_string(), status.to_string());
            let text = where_next(&summary, folder);
            assert!(text.ends_with(&format!("{next}\n")), "{text}");
            assert!(text.contains("results/crash-storm/1/report.html"));
        }
        for command in [
            "closestorm run ws://h/ -c 20",
            "closestorm run ws://h/ -c20",
            "closestorm run ws://h/ --message '***'",
            "closestorm run x.toml --repeat 6 --against results/baselines/main",
            "closestorm run x.toml --save-baseline=main",
        ] {
            let mut summary = fixture::crash_storm().summary;
            (summary.verdict.result, summary.command) = ("pass".to_string(), command.to_string());
            assert!(where_next(&summary, folder).ends_with("closestorm report results/crash-storm/1\n"), "{command}");
        }
    }
}
