//! A scenario as a user of the library has it: read, changed and simulated. `running` runs it, and `builder` makes one.

use crate::address;
use crate::api::engine::{model, simulated};
use crate::api::error::Error;
use crate::api::outcome::Outcome;
use crate::plan::Plan;
use crate::results::evidence::Evidence;
use crate::results::manifest;
use crate::results::record::Manifest;
use crate::scenario::{self, Overrides, Source};
use crate::units::print_duration;
use crate::verdict::judge;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A scenario: target, clients, faults and expectations. It can be run any number of times, also at the same time.
///
/// What changes it cannot fail; a change that the scenario does not allow is an error of [`run`](Scenario::run), [`simulate`](Scenario::simulate) and
/// [`check`](Scenario::check).
#[derive(Clone, Debug)]
#[must_use = "a scenario does nothing until it is run or simulated"]
pub struct Scenario {
    source: Source,
    overrides: Overrides,
    pub(crate) program: Option<PathBuf>,
    pub(crate) output: Option<PathBuf>,
}

impl Scenario {
    /// Reads a scenario from TOML text. Relative paths in it are relative to the current folder, and `${VAR}` is replaced by the environment
    /// variable.
    ///
    /// # Errors
    /// [`Error::Scenario`] with all errors of the text.
    pub fn from_toml(text: &str) -> Result<Scenario, Error> {
        Scenario::of(Source::Text { name: "scenario".to_owned(), text: text.to_owned() })
    }

    /// Reads a scenario as the command line does: `argument` is a file, the name of a bundled scenario, or a ws:// or wss:// URL.
    ///
    /// # Errors
    /// [`Error::Scenario`], also if the file cannot be read.
    pub fn open(argument: &str) -> Result<Scenario, Error> {
        Scenario::of(Source::of(Some(argument)))
    }

    fn of(source: Source) -> Result<Scenario, Error> {
        let scenario = Scenario { source, overrides: Overrides::default(), program: None, output: None };
        scenario.check()?;
        Ok(scenario)
    }

    /// The server under test, in place of the scenario's target: a ws:// or wss:// URL, or an http:// or https:// URL of the same server. Of a
    /// scenario with a `[target.url]`, its other keys stay.
    pub fn target_url(mut self, url: impl Into<String>) -> Scenario {
        let url = url.into();
        self.overrides.target = Some(address::of_word(&url).unwrap_or(url));
        self
    }

    /// Number of clients of a cohort that the scenario has.
    pub fn clients(self, cohort: &str, count: u32) -> Scenario {
        let key = toml::Value::String(cohort.to_owned());
        self.set(&format!("clients.{key}.count"), count)
    }

    /// Length of the run.
    pub fn duration(mut self, duration: Duration) -> Scenario {
        self.overrides.duration = Some(duration);
        self
    }

    /// Seed of all random numbers.
    pub fn seed(mut self, seed: u64) -> Scenario {
        self.overrides.seed = Some(seed);
        self
    }

    /// Changes one key, as the option `--set` does: `set("faults.0.at", "2s")`, `set("clients.web.reconnect", "none")`.
    pub fn set(mut self, key: &str, value: impl serde::Serialize) -> Scenario {
        // What cannot be written as TOML is refused as what it is: no value.
        let value = toml::Value::try_from(value).map_or_else(|_| String::new(), |value| value.to_string());
        self.overrides.set.push(format!("{key}={value}"));
        self
    }

    /// Path of the `closestorm` program, of the same version as this library. A run then starts embedded servers, the program under test of
    /// `[target.command]`, and workers for more clients than one process holds.
    ///
    /// Without it an embedded server runs within this process, and what needs others is [`Error::NeedsProgram`].
    pub fn program(mut self, path: impl Into<PathBuf>) -> Scenario {
        self.program = Some(path.into());
        self
    }

    /// File for the output of the target that closestorm starts; otherwise it is not kept.
    pub fn output(mut self, path: impl Into<PathBuf>) -> Scenario {
        self.output = Some(path.into());
        self
    }

    /// Checks the scenario with its changes.
    ///
    /// # Errors
    /// [`Error::Scenario`].
    pub fn check(&self) -> Result<(), Error> {
        self.plan().map(drop)
    }

    /// Simulates the scenario in virtual time, on the calling thread. The same scenario, seed and version give the same outcome on every machine.
    ///
    /// # Errors
    /// [`Error::Scenario`]; [`Error::Refused`]: the simulator does not support a fault of the scenario, or the target is not embedded and there is no
    /// `[model]`.
    pub fn simulate(&self) -> Result<Outcome, Error> {
        let plan = self.plan()?;
        let manifest = self.manifest("simulate", &plan);
        let simulated = simulated(&plan, &model(&plan)?, &mut |_, _| true)?;
        let verdict = judge(&Evidence::of(&simulated.results), &plan.expectations);
        Outcome::of(Arc::new(plan), simulated.results, verdict, manifest)
    }

    pub(crate) fn plan(&self) -> Result<Plan, Error> {
        Ok(scenario::load(&self.source, &self.overrides)?)
    }

    pub(crate) fn manifest(&self, command: &str, plan: &Plan) -> Manifest {
        let words = ["closestorm", command].map(str::to_owned).into_iter().chain(words(&self.source, &self.overrides));
        manifest::of(words.collect(), plan)
    }
}

/// The arguments that stand for a scenario on the command line.
fn words(source: &Source, overrides: &Overrides) -> Vec<String> {
    let mut words = vec![match source {
        Source::File(path) => Path::display(path).to_string(),
        Source::Bundled(name) | Source::Text { name, .. } => name.clone(),
        Source::Url(url) => crate::secret::mask_address(url),
    }];
    let mut put = |option: &str, value: String| words.extend([option.to_owned(), value]);
    let Overrides { set, clients, duration, seed, target, recorded: _, trust: _ } = overrides;
    target.iter().for_each(|url| put("--set", format!("target.url.address={}", crate::secret::mask_address(url))));
    set.iter().for_each(|change| put("--set", scenario::shown_set(change)));
    clients.iter().for_each(|clients| put("--clients", clients.to_string()));
    duration.iter().for_each(|duration| put("--duration", print_duration(*duration)));
    seed.iter().for_each(|seed| put("--seed", seed.to_string()));
    words
}
