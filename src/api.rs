//! The public API: run or simulate a [`Scenario`], and get an [`Outcome`]. The commands of the program use it, too.
//!
//! - [`Scenario`] reads and checks a scenario in TOML; the keys are in `docs/scenario.md`.
//! - [`Scenario::simulate`] needs no runtime, sockets or processes. [`Scenario::run`] is async, and needs tokio and the `closestorm`
//!   program.
//! - [`Outcome`] has the verdict and all figures ([`Summary`], documented in `results/README.md`), and writes run folders.
//! - [`StopHandle`] ends a run early; [`Publisher`] gives live figures of it.
//!
//! Names of fields end in their unit (`_us` is microseconds, `_ms` milliseconds). Only this module follows semantic versioning.
//!
//! ```
//! use closestorm::api::{Options, Scenario};
//!
//! let scenario = Scenario::parse(
//!     r#"
//!     duration = "20s"
//!     expect = ["clients_lost count == 0", "reconnect_time max < 10s"]
//!     clients.web = { count = 50, arrive = { over = "1s" }, reconnect = "socket.io-client" }
//!     faults = [{ at = "5s", inject = { drop_rst = {} } }]
//!     "#,
//! )?;
//! let outcome = scenario.simulate(Options::default())?;
//! assert_eq!(outcome.verdict().result, "pass");
//! assert_eq!(outcome.summary().reconnect.recovered, 50);
//! # Ok::<(), closestorm::api::Error>(())
//! ```

use crate::cluster::{self, ClusterError, Division, Room};
use crate::metrics::Results;
use crate::plan::{Model, Plan, Shard, Target};
use crate::results::evidence::Evidence;
use crate::results::folder::Folder;
use crate::results::manifest;
use crate::results::read::{self, Loaded};
use crate::results::record::Manifest;
use crate::results::runs::Seeds;
use crate::results::summary::summarise;
use crate::results::usage::{self, Baseline};
use crate::run::faults::ByHand;
use crate::run::{self as engine, Places, RunStart};
use crate::sim::{self, GoOn, Simulated};
use crate::sut::command::output as target_output;
use crate::sut::error::RunError;
use crate::units::{Bytes, print_duration};
use crate::verdict::{self, UNCHECKED, judge};
use crate::{output, plot, report, scenario};
use std::fmt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::watch;

pub use crate::metrics::{Rates, Snapshot};
pub use crate::results::record::{self, Summary, Verdict};
pub use crate::scenario::{Errors, Overrides, Source};
pub use crate::snapshots::{Publisher, Subscription, Update};

/// An error of a lower layer.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no outcome, or why it could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The scenario is wrong: every error, each with file, line, column and what is allowed.
    #[error(transparent)]
    Scenario(#[from] Errors),
    /// The scenario is valid but not possible in this way, for example a fault that the simulator does not support.
    #[error("{0}")]
    Refused(String),
    /// [`StopHandle::stop`] was called before the run began.
    #[error("{}", RunError::Stopped)]
    Stopped,
    /// The run could not start or continue: target unreachable, limit of open files too low, a process ended.
    #[error(transparent)]
    Failed(Cause),
    /// The outcome was not written, or not all of it.
    #[error("{what}")]
    NotWritten {
        /// What is missing, and what was written nevertheless.
        what: String,
        /// The cause, such as a full disk.
        source: Cause,
    },
}

impl Error {
    fn failed(cause: impl Into<Cause>) -> Error {
        Error::Failed(cause.into())
    }

    fn not_written(what: impl fmt::Display, source: impl Into<Cause>) -> Error {
        Error::NotWritten { what: what.to_string(), source: source.into() }
    }
}

impl From<RunError> for Error {
    fn from(error: RunError) -> Error {
        if matches!(error, RunError::Stopped) { Error::Stopped } else { Error::failed(error) }
    }
}

impl From<ClusterError> for Error {
    fn from(error: ClusterError) -> Error {
        if matches!(error, ClusterError::Run(RunError::Stopped)) { Error::Stopped } else { Error::failed(error) }
    }
}

/// Ends a run or a simulation early, from another task or thread.
///
/// The outcome has what was measured so far; `status` of its summary is `aborted`. Clones are the same handle.
#[derive(Clone, Debug)]
pub struct StopHandle(Arc<watch::Sender<bool>>);

impl Default for StopHandle {
    fn default() -> Self {
        StopHandle(Arc::new(watch::Sender::new(false)))
    }
}

impl StopHandle {
    /// Stops every run that was given this handle; one that has not begun ends with [`Error::Stopped`]. Calling it again has no effect.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Whether [`stop`](StopHandle::stop) was called.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    async fn stopped(&self) {
        // The sender is ours: it cannot be gone.
        let _ = self.0.subscribe().wait_for(|stopped| *stopped).await;
    }
}

/// Options of [`Scenario::run`] and [`Scenario::simulate`]; the default is right for most uses.
#[derive(Debug, Default)]
pub struct Options {
    /// Handle to end the run early; keep a clone.
    pub stop: StopHandle,
    /// Path of the `closestorm` program, of the same version as this library; `None`: the one on `PATH`.
    ///
    /// A run on sockets starts the embedded server, programs under test and worker processes with it. Not used by simulations.
    pub program: Option<PathBuf>,
    /// File for the output of the target; `None`: the output is not kept. Not used by simulations.
    pub output: Option<PathBuf>,
    /// Publishes a [`Snapshot`] several times a second to all subscribers; call [`Publisher::subscribe`] before the run. A slow subscriber
    /// misses snapshots and learns how many.
    pub snapshots: Publisher,
}

/// A scenario that was read and checked: target, clients, faults and expectations. It can be run any number of times.
#[derive(Clone, Debug)]
pub struct Scenario {
    plan: Plan,
    /// The words after the command that name it and change it.
    words: Vec<String>,
}

impl Scenario {
    /// Reads a scenario from TOML text. Relative paths in it are relative to the current folder.
    ///
    /// # Errors
    /// [`Error::Scenario`] with all errors of the text.
    pub fn parse(text: &str) -> Result<Scenario, Error> {
        Scenario::load(&Source::Text { name: "scenario".to_owned(), text: text.to_owned() }, &Overrides::default())
    }

    /// Reads a scenario as the command line does: `argument` is a file, the name of a bundled scenario, or a ws:// or wss:// URL.
    ///
    /// # Errors
    /// [`Error::Scenario`], also if the file cannot be read.
    pub fn open(argument: &str) -> Result<Scenario, Error> {
        Scenario::load(&Source::of(Some(argument)), &Overrides::default())
    }

    /// Reads a scenario from any source, with the same changes as the options `--set`, `--clients`, `--duration` and `--seed`.
    ///
    /// `${VAR}` in the text is replaced by the environment variable.
    ///
    /// # Errors
    /// [`Error::Scenario`].
    pub fn load(source: &Source, overrides: &Overrides) -> Result<Scenario, Error> {
        Ok(Scenario { plan: scenario::load(source, overrides)?, words: words(source, overrides) })
    }

    /// Simulates the scenario in virtual time. The same scenario, seed and version give the same outcome on every machine.
    ///
    /// Blocks until it is done, on the calling thread.
    ///
    /// # Errors
    /// [`Error::Refused`]: the simulator does not support a fault of the scenario, or the target is not embedded and there is no `[model]`.
    pub fn simulate(&self, options: Options) -> Result<Outcome, Error> {
        let Options { stop, mut snapshots, .. } = options;
        let manifest = self.manifest("simulate");
        let simulated = simulated(&self.plan, &model(&self.plan)?, &mut |at, recorder| {
            snapshots.publish(at, || recorder.snapshot());
            !stop.is_stopped()
        })?;
        let verdict = judge(&Evidence::of(&simulated.results), &self.plan.expectations);
        Outcome::of(Arc::new(self.plan.clone()), simulated.results, verdict, manifest)
    }

    /// Runs the scenario on real sockets, in real time, as `closestorm run` does. Must be called in a tokio runtime with I/O and time
    /// enabled.
    ///
    /// Unlike the command, it does not require a confirmation (`--yes`) before it puts load on another machine.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Stopped`] or [`Error::Failed`] if the run could not start. A run that started returns an outcome in
    /// most cases, also if it was stopped or the target died.
    pub async fn run(&self, options: Options) -> Result<Outcome, Error> {
        let Options { stop, program, output, snapshots } = options;
        let manifest = self.manifest("run");
        let (plan, division) = divide(self.plan.clone(), Shard::WHOLE, None, None)?;
        let plan = Arc::new(plan);
        let scratch = Scratch::new()?;
        let places = Places {
            program: program.unwrap_or_else(|| "closestorm".into()),
            output: output.unwrap_or_else(|| engine::output_file(&scratch.0)),
            warm_up: Duration::ZERO,
            by_hand: ByHand::default(),
        };
        let (results, verdict) = measured(&plan, RunPart::whole(division), (&places, &scratch.0), stop.stopped(), snapshots).await?;
        Outcome::of(plan, results, verdict, manifest)
    }

    fn manifest(&self, command: &str) -> Manifest {
        let words = ["closestorm", command].map(str::to_owned).into_iter().chain(self.words.iter().cloned());
        manifest::of(words.collect(), &self.plan)
    }
}

/// The arguments that stand for a scenario on the command line.
fn words(source: &Source, overrides: &Overrides) -> Vec<String> {
    let mut words = vec![match source {
        Source::File(path) => path.display().to_string(),
        Source::Bundled(name) | Source::Text { name, .. } => name.clone(),
        Source::Url(url) => crate::secret::mask_address(url),
    }];
    let mut put = |option: &str, value: String| words.extend([option.to_owned(), value]);
    let Overrides { set, clients, duration, seed, recorded: _, trust: _ } = overrides;
    set.iter().for_each(|change| put("--set", scenario::shown_set(change)));
    clients.iter().for_each(|clients| put("--clients", clients.to_string()));
    duration.iter().for_each(|duration| put("--duration", print_duration(*duration)));
    seed.iter().for_each(|seed| put("--seed", seed.to_string()));
    words
}

/// The result of a run or a simulation: verdict and figures.
#[derive(Clone, Debug)]
pub struct Outcome {
    plan: Arc<Plan>,
    results: Results,
    verdict: Verdict,
    manifest: Manifest,
}

impl Outcome {
    fn of(plan: Arc<Plan>, results: Results, verdict: Verdict, manifest: Manifest) -> Result<Outcome, Error> {
        results.check_ledger().map_err(Error::failed)?;
        Ok(Outcome { plan, results, verdict, manifest })
    }

    /// The verdict: `result` is `pass`, `fail`, `inconclusive` or `unchecked` (no expectations); with reasons, and a row for each
    /// expectation.
    ///
    /// An expectation without data never passes.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Exit code of `closestorm run` for this verdict: 0 pass or unchecked, 99 fail, 3 inconclusive.
    pub fn exit_code(&self) -> u8 {
        verdict::exit_code(&self.verdict)
    }

    /// All figures, as in `summary.json`. It is computed anew by each call.
    pub fn summary(&self) -> Summary {
        summarise(&self.results, None, &self.verdict, &manifest::command_line(&self.manifest))
    }

    /// The summary as text, as `closestorm run` prints it: lines of at most `width` columns where words allow it, without colours.
    pub fn text(&self, width: usize) -> String {
        report::terminal(&self.summary(), width, None, false)
    }

    /// Writes a run folder with data, charts and reports to `dir`, which must not exist or must be empty. Returns its path.
    ///
    /// # Errors
    /// [`Error::NotWritten`] or [`Error::Failed`]. An incomplete folder is left at `<dir>.partial`.
    pub fn write(&self, dir: &Path) -> Result<PathBuf, Error> {
        let folder = Folder::create(dir).map_err(Error::failed)?;
        save(&folder, &self.results, None, &self.plan, &self.verdict, &self.manifest)?;
        folder.finish().map_err(Error::failed)
    }

    /// Like [`write`](Outcome::write), but without charts and reports; `closestorm report` can add them later.
    ///
    /// # Errors
    /// As [`write`](Outcome::write).
    pub fn write_data(&self, dir: &Path) -> Result<PathBuf, Error> {
        let folder = Folder::create(dir).map_err(Error::failed)?;
        folder.write(&self.results, None, &self.plan.resolved, &self.verdict, &self.manifest).map_err(Error::failed)?;
        folder.finish().map_err(Error::failed)
    }
}

/// A folder for the files of a run under way, gone with it.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Result<Scratch, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let name = format!("closestorm-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            // What a target prints is in it: for nobody else.
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Scratch(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::not_written(format!("cannot make {}", path.display()), error)),
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Which part of a plan is carried out, by how many processes, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunPart {
    pub(crate) shard: Shard,
    pub(crate) division: Division,
    pub(crate) start: RunStart,
}

impl RunPart {
    /// All of it, as soon as the target is ready.
    pub(crate) fn whole(division: Division) -> RunPart {
        RunPart { shard: Shard::WHOLE, division, start: RunStart::Ready }
    }
}

/// A fault may name an instance that only the model has: that can be simulated, and not run.
pub(crate) fn check_instances(plan: &Plan) -> Result<(), Error> {
    let instances = plan.target.instances();
    let Some((fault, instance)) = plan.beyond(instances) else { return Ok(()) };
    let counted = "counted from 0; those of [model] are there for `closestorm simulate`";
    Err(Error::Refused(format!("fault {}: there is no instance {instance}: the target has {instances}, {counted}", fault.name)))
}

/// What this machine has for a run. Raises the limit of open files as far as it may.
///
/// # Errors
/// The limit cannot be read.
pub(crate) fn room() -> Result<Room, Error> {
    let files = engine::raise_files().map_err(|error| Error::not_written("cannot read the limit of open files", error))?;
    let ports = crate::sut::command::port::ephemeral_range().count() as u64;
    Ok(Room { files, memory: usage::available(), ports, backlog: usage::number("/proc/sys/net/core/somaxconn") })
}

/// Into how many processes the plan goes, and the plan with what that means for its reader. The messages of all of them take `memory`
/// together at most; without it half of what is available.
///
/// # Errors
/// It does not fit, or a fault is about an instance that the target does not have.
pub(crate) fn divide(mut plan: Plan, shard: Shard, workers: Option<u32>, memory: Option<Bytes>) -> Result<(Plan, Division), Error> {
    check_instances(&plan)?;
    let room = room()?;
    let division = Division::of(&plan, shard, workers, room).map_err(Error::failed)?;
    let notices = room.notices(&plan, shard).into_iter().chain(division.notices(&plan));
    let notices: Vec<_> = notices.collect();
    plan.notices.extend(notices);
    if let Target::Embedded(settings) = &mut plan.target {
        settings.processes = Some(division.processes);
    }
    if let Some(all) = memory.map(|bytes| bytes.0).or(room.memory.map(|bytes| bytes / 2)) {
        crate::ws::memory::set_limit(usize::try_from(all / division.holders(&plan)).unwrap_or(usize::MAX));
    }
    Ok((plan, division))
}

/// Runs and judges a part of a plan; files of its processes are in `folder`. Writes nothing else but the target's output.
///
/// # Errors
/// It could not begin.
pub(crate) async fn measured(
    plan: &Arc<Plan>,
    whom: RunPart,
    (places, folder): (&Places, &Path),
    stop: impl Future<Output = ()>,
    snapshots: Publisher,
) -> Result<(Results, Verdict), Error> {
    let usage = Baseline::now();
    let RunPart { shard, division, start } = whom;
    let plan = plan.clone();
    let expectations = plan.expectations.clone();
    let mut results = if division.workers == 1 {
        // On the heap: a run is larger than what a thread of a test has for its stack.
        Box::pin(engine::run(plan, shard, start, places, stop, snapshots)).await?
    } else {
        Box::pin(cluster::run(plan, (shard, division.workers), start, (places, folder), stop, snapshots)).await?
    };
    results.usage.add(usage.used());
    results.meta.notices.extend(target_output::lost(&places.output));
    let verdict = if shard.is_whole() { judge(&Evidence::of(&results), &expectations) } else { unjudged(&results, shard) };
    Ok((results, verdict))
}

/// A shard is not judged: what is expected is expected of the whole.
fn unjudged(results: &Results, shard: Shard) -> Verdict {
    let mut verdict = judge(&Evidence::of(results), &[]);
    verdict.reasons.retain(|reason| reason != UNCHECKED);
    verdict.reasons.push(format!("this is shard {shard}: `closestorm merge` judges all of them together"));
    verdict
}

/// The model of the server that a plan is simulated with.
///
/// # Errors
/// There is none.
pub(crate) fn model(plan: &Plan) -> Result<Model, Error> {
    plan.simulated_as().map_err(|error| Error::Refused(error.to_string()))
}

/// Simulates a plan; `go_on` is asked now and then.
///
/// # Errors
/// It has a fault that is not simulated.
pub(crate) fn simulated(plan: &Plan, model: &Model, go_on: &mut GoOn<'_>) -> Result<Simulated, Error> {
    sim::run_watched(plan, model, go_on).map_err(|error| Error::Refused(error.to_string()))
}

/// Writes data, charts and reports.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn save(
    folder: &Folder,
    results: &Results,
    seeds: Option<&Seeds>,
    plan: &Plan,
    verdict: &Verdict,
    manifest: &Manifest,
) -> Result<Summary, Error> {
    let place = folder.path();
    let shown = place.display();
    let summary = folder.write(results, seeds, &plan.resolved, verdict, manifest).map_err(|error| {
        Error::not_written(format!("the run was measured, as the summary says, but its data is incomplete in {shown}"), error)
    })?;
    read::read(place).map_err(Error::failed).and_then(|loaded| draw(&loaded, place)).map_err(|error| {
        let what = "its charts are not; draw them with `closestorm report";
        Error::not_written(format!("the data of the run is complete in {shown}, {what} {shown} --out DIR`"), error)
    })?;
    Ok(summary)
}

/// Charts and reports of a run that was read from files, into a folder that exists.
///
/// # Errors
/// A chart cannot be drawn, or a file cannot be written.
pub(crate) fn draw(loaded: &Loaded, out: &Path) -> Result<(), Error> {
    plot::render_all(loaded, out).map_err(Error::failed)?;
    let charts = plot::svgs(loaded).map_err(Error::failed)?;
    write_report(out, &report::markdown(loaded), &report::html(loaded, &charts))
}

/// A report in both of its forms, into a folder that exists.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write_report(out: &Path, markdown: &str, html: &str) -> Result<(), Error> {
    for (name, text) in [("report.md", markdown), ("report.html", html)] {
        let path = out.join(name);
        output::write(&path, text.as_bytes()).map_err(|error| Error::not_written(format!("cannot write {}", path.display()), error))?;
    }
    Ok(())
}
