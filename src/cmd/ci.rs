//! What a command leaves for CI services: files that were asked for, and on GitHub annotations and the summary of the step.
//!
//! `report::ci` makes the texts. A run that could not begin, or that says nothing, leaves them, too.

use super::{console, exit};
use crate::cli::CiArgs;
use crate::compare::RunComparison;
use crate::files::read_regular;
use crate::output;
use crate::panics::BUG;
use crate::plan::{Plan, ScenarioPlace};
use crate::report::ci::{
    CiError, CiReport, CiRun, MOST_SUMMARY_BYTES, annotations, benchmarks, bmf, check_history, cut, history_header, history_row, junit,
    openmetrics, page,
};
use crate::results::record::{Manifest, Summary};
use crate::scenario::{Errors, Source};
use crate::text::{json, printable};
use crate::verdict::unit;
use anyhow::Context;
use nix::fcntl::{Flock, FlockArg, OFlag};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Files of `--report-dir`.
const REPORT_FILES: [&str; 6] = ["junit.xml", "metrics.prom", "bmf.json", "smaller-is-better.json", "bigger-is-better.json", "report.md"];

/// Collects what is told while a command runs, and writes it at its end.
pub(super) struct CiOutput<'a> {
    args: &'a CiArgs,
    history: Option<&'a Path>,
    report: CiReport,
    /// Of the history.
    header: String,
    /// Everything was told.
    finished: bool,
}

/// A command that panics leaves its files, too: a job must not find those of an earlier run, or none.
impl Drop for CiOutput<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.finished {
            self.report.errors = vec![CiError { text: BUG.to_owned(), place: None }];
            tell_github(&self.report);
            if let Err(error) = self.write() {
                exit::report_error(&error);
            }
        }
    }
}

impl<'a> CiOutput<'a> {
    /// `scenario`: as the command line names it.
    pub(super) fn begin(args: &'a CiArgs, history: Option<&'a Path>, scenario: &str) -> CiOutput<'a> {
        let stem = Path::new(scenario).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = if matches!(Source::of(Some(scenario)), Source::Url(_)) { "url".to_owned() } else { stem.unwrap_or_default() };
        CiOutput {
            args,
            history,
            report: CiReport { scenario: printable(&name), ..CiReport::default() },
            header: String::new(),
            finished: false,
        }
    }

    /// The scenario's own name.
    pub(super) fn named(&mut self, name: &str) {
        name.clone_into(&mut self.report.scenario);
    }

    /// What is going to run: files that cannot be written, and a history that it does not fit to, are refused before it takes its time.
    ///
    /// # Errors
    /// Something else stands under the name of a file; or the history has rows of other runs, or cannot be read.
    pub(super) fn plan(&mut self, plan: &Plan) -> anyhow::Result<()> {
        self.named(&plan.name);
        let in_folder = self.args.report_dir.iter().flat_map(|folder| REPORT_FILES.map(|name| folder.join(name)));
        for path in self.args.junit.iter().cloned().chain(self.history.map(Path::to_owned)).chain(in_folder) {
            output::check_replaceable(&path).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let Some(path) = self.history else { return Ok(()) };
        if plan.expectations.is_empty() {
            let why = "--history keeps what the scenario expects, and it expects nothing: add `expect`";
            return Err(exit::Usage(why.to_owned()).into());
        }
        let of = |expectation: &crate::expect::Expectation| (expectation.measured(), unit(expectation.limit).0.to_owned());
        self.header = history_header(&plan.expectations.iter().map(of).collect::<Vec<_>>());
        let text = match read_regular(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        check_history(&String::from_utf8_lossy(&text), &self.header)
            .map_err(|error| exit::Usage(format!("{}: {error}", path.display())).into())
    }

    /// What a run came to, if there was one.
    pub(super) fn runs(&mut self, told: Option<CiRun>) {
        self.report.runs.extend(told);
    }

    /// What its runs and others came to.
    pub(super) fn comparison(&mut self, comparison: RunComparison) {
        self.report.comparison = Some(comparison);
    }

    /// Writes everything; gives what the command came to, or why it could not be written if that would be lost otherwise.
    ///
    /// # Errors
    /// That of the command; or a file cannot be written.
    pub(super) fn finish(mut self, done: anyhow::Result<u8>) -> anyhow::Result<u8> {
        self.finished = true;
        if let Err(error) = &done {
            self.report.errors = errors_of(error);
        }
        tell_github(&self.report);
        let written = self.write().and_then(|()| self.append_history());
        match (done, written) {
            (Ok(exit::OK), Err(error)) => Err(error),
            (done, Err(error)) => {
                // The result is worse than this, and has the last word. A file that was refused before the run is told once.
                if !done.as_ref().is_err_and(|first| exit::shown(first) == exit::shown(&error)) {
                    exit::report_error(&error);
                }
                done
            }
            (done, Ok(())) => done,
        }
    }

    /// Of a command that ran nothing: only its errors are told.
    pub(super) fn finish_dry(self, done: anyhow::Result<u8>) -> anyhow::Result<u8> {
        if done.is_err() { self.finish(done) } else { done }
    }

    fn write(&self) -> anyhow::Result<()> {
        if let Some(path) = &self.args.junit {
            write_file(path, &junit(&self.report))?;
        }
        let Some(folder) = &self.args.report_dir else { return Ok(()) };
        let as_json = |value: serde_json::Value| json(&value).context("cannot write the report as JSON");
        let [smaller, bigger] = benchmarks(&self.report);
        let (bmf, smaller, bigger) = (as_json(bmf(&self.report))?, as_json(smaller)?, as_json(bigger)?);
        let texts = [junit(&self.report), openmetrics(&self.report), bmf, smaller, bigger, page(&self.report)];
        REPORT_FILES.iter().zip(&texts).try_for_each(|(name, text)| write_file(&folder.join(name), text))
    }

    fn append_history(&self) -> anyhow::Result<()> {
        let Some(path) = self.history else { return Ok(()) };
        let commit = first_set(&["GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT"]).unwrap_or_default();
        let mut rows = String::new();
        for run in &self.report.runs {
            match history_row(run, &self.report.scenario, &commit) {
                Ok(row) => rows += &row,
                Err(unknown) => {
                    // A closed stderr keeps nobody from the other rows.
                    let _ = writeln!(io::stderr(), "note: {} is not in {}: it does not know {unknown}", run.folder, path.display());
                }
            }
        }
        let written = if rows.is_empty() { Ok(()) } else { append(path, &self.header, &rows) };
        written.with_context(|| format!("cannot append to {}", path.display()))
    }
}

/// Refuses a folder for both: each has a `report.md` of its own.
///
/// # Errors
/// They are one.
pub(super) fn check_folders(out: Option<&Path>, args: &CiArgs) -> anyhow::Result<()> {
    // `./run` is `run`.
    let same = |one: &Path, other: &Path| {
        let parts =
            |path: &'_ Path| path.components().map(|part| part.as_os_str().to_owned()).filter(|part| part != ".").collect::<PathBuf>();
        parts(one) == parts(other)
    };
    match (out, &args.report_dir) {
        (Some(out), Some(folder)) if same(out, folder) => {
            Err(exit::Usage("--out and --report-dir name the same folder: name two".to_owned()).into())
        }
        _ => Ok(()),
    }
}

/// What CI services are told of a run.
pub(super) fn told(plan: &Plan, summary: Summary, manifest: &Manifest, folder: &Path) -> CiRun {
    told_of(plan, summary, manifest.started.clone(), folder)
}

/// The same of a run that began then; an empty text where that is not known.
pub(super) fn told_of(plan: &Plan, summary: Summary, started: String, folder: &Path) -> CiRun {
    let place = |place: &ScenarioPlace| ScenarioPlace { file: in_repository(&place.file), ..place.clone() };
    let picture = folder.join("timeline.png");
    let picture = Some(picture).filter(|picture| console::is_set("GITLAB_CI") && picture.exists());
    CiRun {
        summary,
        measured: plan.expectations.iter().map(crate::expect::Expectation::measured).collect(),
        places: plan.expected_at.iter().map(|at| at.as_ref().map(place)).collect(),
        started,
        folder: folder.display().to_string(),
        picture: picture.map(|picture| in_repository(&picture.display().to_string())),
        seeds: Vec::new(),
    }
}

/// Annotations of errors of a scenario, for commands that only read it.
pub(super) fn annotate(errors: &Errors) {
    if is_github() {
        let report = CiReport { errors: of_scenario(errors), ..CiReport::default() };
        let _ = io::stderr().write_all(annotations(&report).as_bytes());
    }
}

fn is_github() -> bool {
    std::env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true")
}

fn errors_of(error: &anyhow::Error) -> Vec<CiError> {
    match error.downcast_ref::<Errors>() {
        Some(errors) => of_scenario(errors),
        None => vec![CiError { text: exit::shown(error).trim_start_matches("closestorm: ").to_owned(), place: None }],
    }
}

fn of_scenario(errors: &Errors) -> Vec<CiError> {
    let place = |place: ScenarioPlace| ScenarioPlace { file: in_repository(&place.file), ..place };
    errors.in_lines().into_iter().map(|(text, at)| CiError { text, place: at.map(place) }).collect()
}

/// Annotations go to stderr, where GitHub reads them as well and no program that reads a result meets them.
fn tell_github(report: &CiReport) {
    if is_github() {
        // A closed stderr keeps nobody from the result.
        let _ = io::stderr().write_all(annotations(report).as_bytes());
    }
    let Some(path) = first_set(&["GITHUB_STEP_SUMMARY"]).map(PathBuf::from) else { return };
    // The result does not hang on it.
    if let Err(error) = append_page(&path, &page(report)) {
        let _ = writeln!(io::stderr(), "note: the summary of this step is not in {}: {error}", path.display());
    }
}

/// Appends a page to what other commands of the same step wrote there.
fn append_page(path: &Path, page: &str) -> io::Result<()> {
    let mut file = locked(path)?;
    let there = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let page = format!("{}{page}", if there > 0 { "\n" } else { "" });
    let page = cut(&page, MOST_SUMMARY_BYTES.saturating_sub(there)).ok_or_else(|| io::Error::other("it is full: 1 MiB for a step"))?;
    add(&mut file, page.as_bytes())
}

/// Appends rows, under a header where there is none, as a whole or not at all.
fn append(path: &Path, header: &str, rows: &str) -> anyhow::Result<()> {
    make_folder_of(path)?;
    let mut file = locked(path)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    // Another run may have been there since this one began.
    check_history(&text, header)?;
    let header = if text.is_empty() { header } else { "" };
    Ok(add(&mut file, format!("{header}{rows}").as_bytes())?)
}

/// A regular file that nobody else of us writes to meanwhile, opened to append.
fn locked(path: &Path) -> io::Result<Flock<File>> {
    output::check_replaceable(path)?;
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).append(true).create(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

/// On a full disk the file is as it was.
fn add(file: &mut Flock<File>, bytes: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    file.write_all(bytes).inspect_err(|_| _ = file.set_len(before))
}

fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    make_folder_of(path)?;
    output::write(path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

fn make_folder_of(path: &Path) -> anyhow::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// A path from the top of the repository that a CI service checked out, as they show it; another one as it is.
fn in_repository(path: &str) -> String {
    let root = first_set(&["GITHUB_WORKSPACE", "CI_PROJECT_DIR", "WORKSPACE"]).and_then(|root| fs::canonicalize(root).ok());
    let whole = fs::canonicalize(path).ok();
    let within = root.zip(whole).and_then(|(root, whole)| Some(whole.strip_prefix(root).ok()?.display().to_string()));
    within.unwrap_or_else(|| path.to_owned())
}

/// The first of these variables of the environment that is there and not empty.
fn first_set(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}
