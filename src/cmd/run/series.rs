//! Several runs of a scenario: repeated, kept as a baseline, in turns with another server, compared.

use super::super::ci::CiOutput;
use super::super::compare::{ComparedBy, check_base, compare_folders, print};
use super::super::signals::Stop;
use super::super::{baseline, exit};
use super::once::{RunEnd, run_once};
use super::source::RunSource;
use crate::address;
use crate::cli::{CompareFormat, Format, Run};
use crate::plan::{Plan, Target};
use crate::scenario::Overrides;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Changes that do not matter, as a share of the median: `compare --min-effect` takes others.
const RELATIVE: f64 = 0.05;

/// Runs a scenario `--repeat` times, with consecutive seeds from that of its plan on. The exit code is the worst of all runs and of the comparison.
///
/// # Errors
/// A run could not begin, or something could not be written.
pub(super) fn run_series(args: &Run, source: &RunSource, plan: &Plan, stop: &Stop, ci: &mut CiOutput<'_>) -> anyhow::Result<u8> {
    let against = args.against.as_deref().map(|text| Against::of(text, plan)).transpose()?;
    if let Some(Against::Folder(folder)) = &against {
        check_base(folder, &plan.resolved)?;
    }
    if let Some(name) = &args.save_baseline {
        baseline::check_replaceable(name)?;
    }
    let mut series = RunSeries { args, source, stop, ci, first_seed: plan.seed.0, code: exit::OK, base: Vec::new(), new: Vec::new() };
    for number in 1..=args.repeat {
        // Base, new, new, base: what drifts with time falls on both alike.
        let mut turns = [RunTurn::Base, RunTurn::New];
        if number % 2 == 0 {
            turns.reverse();
        }
        for turn in turns {
            let changes = match (turn, &against) {
                (RunTurn::Base, Some(Against::Other(change))) => Some(change),
                (RunTurn::Base, _) => continue,
                (RunTurn::New, _) => None,
            };
            if let Some(code) = series.run(turn, number, changes, matches!(against, Some(Against::Other(_))))? {
                return Ok(code);
            }
        }
    }
    if let Some(against) = &against {
        let base = match against {
            Against::Folder(folder) => vec![folder.clone()],
            Against::Other(_) => series.base.clone(),
        };
        let how = ComparedBy { metric: &[], relative: RELATIVE, allow_different: false };
        let (.., comparison) = compare_folders(&base, &series.new, &how)?;
        if !args.output.quiet {
            print(&comparison, if args.output.format == Format::Json { CompareFormat::Json } else { CompareFormat::Text })?;
        }
        series.ci.comparison(comparison.clone());
        series.code = worst(series.code, exit::allowed(comparison.exit_code, args.output.allow_inconclusive));
    }
    if let Some(name) = &args.save_baseline {
        let told = match series.code {
            exit::OK => format!("baseline: {}", baseline::save(name, &series.new)?.display()),
            code => format!("baseline {name} not saved: the runs ended with exit code {code}"),
        };
        if !args.output.quiet || series.code != exit::OK {
            // A closed stderr takes nothing away from the exit code.
            let _ = writeln!(io::stderr(), "{told}");
        }
    }
    Ok(series.code)
}

/// The worst of two exit codes: a failure, then what cannot be told, then success.
fn worst(one: u8, other: u8) -> u8 {
    one.max(other)
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunTurn {
    /// What is compared with.
    Base,
    /// What is tested.
    New,
}

/// What is compared with.
enum Against {
    /// Runs that are there.
    Folder(PathBuf),
    /// Another server: a change of the scenario, as `--set` takes it.
    Other(String),
}

impl Against {
    fn of(text: &str, plan: &Plan) -> anyhow::Result<Against> {
        if plan.expectations.is_empty() {
            let why =
                "--against compares what the scenario expects, and it expects nothing: add `expect`, or use `compare --metric` afterwards";
            return Err(exit::Usage(why.to_owned()).into());
        }
        // TOML strings are quoted like those of JSON.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        if let Some(url) = address::of_word(text).filter(|_| text.contains("://") || !Path::new(text).exists()) {
            return match &plan.target {
                Target::Url(_) => Ok(Against::Other(format!("target.url.address={}", quoted(&url)))),
                _ => Err(exit::Usage("--against with a URL needs a scenario whose target is a URL".to_owned()).into()),
            };
        }
        if Path::new(text).is_dir() {
            return Ok(Against::Folder(text.into()));
        }
        match &plan.target {
            Target::Command(_) => Ok(Against::Other(format!("target.command.run={}", quoted(text)))),
            _ => Err(exit::Usage(format!(
                "--against: {text} is neither a folder nor a ws:// or wss:// URL, and a command line needs a scenario with [target.command]"
            ))
            .into()),
        }
    }
}

/// Runs so far.
struct RunSeries<'a, 'b> {
    args: &'a Run,
    source: &'a RunSource,
    stop: &'a Stop,
    ci: &'a mut CiOutput<'b>,
    first_seed: u64,
    /// The worst of the new runs.
    code: u8,
    base: Vec<PathBuf>,
    new: Vec<PathBuf>,
}

impl RunSeries<'_, '_> {
    /// One more run; an exit code if all is over, because of a signal.
    fn run(&mut self, turn: RunTurn, number: u32, change: Option<&String>, sides: bool) -> anyhow::Result<Option<u8>> {
        let mut overrides: Overrides = self.args.changes.overrides();
        overrides.seed = Some((self.first_seed + u64::from(number) - 1).min(i64::MAX as u64));
        overrides.set.extend(change.cloned());
        let plan = self.source.load(&overrides)?;
        let out = self.args.output.out.as_ref().map(|out| match (turn, sides) {
            (_, false) if self.args.repeat == 1 => out.clone(),
            (RunTurn::New, false) => out.join(number.to_string()),
            (RunTurn::Base, _) => out.join("base").join(number.to_string()),
            (RunTurn::New, true) => out.join("new").join(number.to_string()),
        });
        let RunEnd { code, folder, told } = run_once(self.args, plan, out.as_deref(), self.stop)?;
        if turn == RunTurn::New {
            self.ci.runs(told);
        }
        let Some(folder) = folder.filter(|_| self.stop.code().is_none()) else { return Ok(Some(self.stop.code().unwrap_or(code))) };
        match turn {
            RunTurn::Base => self.base.push(folder),
            RunTurn::New => {
                self.code = worst(self.code, code);
                self.new.push(folder);
            }
        }
        Ok(None)
    }
}
