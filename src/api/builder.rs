//! Scenarios in code: they are written as TOML and read as a file is, so that there is one place for what each key means.

use crate::api::error::Error;
use crate::api::scenario::Scenario;
use crate::units::print_duration;
use serde::Serialize;
use std::time::Duration;
use toml::{Table, Value};

/// Makes a [`Scenario`] in code. Its words are those of a scenario file, and [`ScenarioBuilder::set`] takes every key that has no method here.
///
/// ```
/// use closestorm::api::{CohortBuilder, FaultBuilder, Scenario};
/// use std::time::Duration;
///
/// let outcome = Scenario::builder()
///     .duration(Duration::from_secs(20))
///     .cohort(CohortBuilder::new("web", 50).arrive_over(Duration::from_secs(1)).reconnect("socket.io-client"))
///     .fault(FaultBuilder::new("close_code").at(Duration::from_secs(5)).with("code", 1012))
///     .expect("clients_lost count == 0")
///     .build()?
///     .simulate()?;
/// outcome.assert();
/// assert_eq!(outcome.cohort("web").closes(1012), 50);
/// # Ok::<(), closestorm::api::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder makes nothing until it is built"]
pub struct ScenarioBuilder {
    keys: BuiltKeys,
    cohorts: Vec<CohortBuilder>,
    faults: Vec<FaultBuilder>,
    expect: Vec<String>,
}

/// A cohort of a [`ScenarioBuilder`]: clients that behave alike. Its words are those of `[clients.NAME]`.
#[derive(Clone, Debug)]
#[must_use = "a cohort belongs to a scenario"]
pub struct CohortBuilder {
    name: String,
    keys: BuiltKeys,
}

/// A fault of a [`ScenarioBuilder`], or one for a [`Proxy`](crate::api::Proxy). Its words are those of `[[faults]]`; `closestorm faults` lists the kinds.
#[derive(Clone, Debug)]
#[must_use = "a fault belongs to a scenario or a proxy"]
pub struct FaultBuilder {
    kind: String,
    parameters: BuiltKeys,
    keys: BuiltKeys,
}

impl Scenario {
    /// Makes a scenario in code.
    pub fn builder() -> ScenarioBuilder {
        ScenarioBuilder::default()
    }
}

/// Keys of a table, and the first one whose value cannot be written.
#[derive(Clone, Debug, Default)]
struct BuiltKeys {
    table: Table,
    wrong: Option<String>,
}

impl BuiltKeys {
    fn put(&mut self, key: &str, value: impl Serialize) {
        match Value::try_from(value) {
            Ok(value) => drop(self.table.insert(key.to_owned(), value)),
            Err(why) => drop(self.wrong.get_or_insert_with(|| format!("the value of `{key}` cannot be written as TOML: {why}"))),
        }
    }

    fn time(&mut self, key: &str, time: Duration) {
        self.put(key, print_duration(time));
    }

    fn into_table(self) -> Result<Table, Error> {
        self.wrong.map_or(Ok(self.table), |wrong| Err(Error::Refused(wrong)))
    }
}

impl ScenarioBuilder {
    /// The question that the run answers.
    pub fn question(self, question: &str) -> ScenarioBuilder {
        self.set("question", question)
    }

    /// Length of the run, from the first planned arrival; 10 s without.
    pub fn duration(mut self, duration: Duration) -> ScenarioBuilder {
        self.keys.time("duration", duration);
        self
    }

    /// Adds a cohort, in place of one of the same name. A scenario has at least one.
    pub fn cohort(mut self, cohort: CohortBuilder) -> ScenarioBuilder {
        self.cohorts.retain(|other| other.name != cohort.name);
        self.cohorts.push(cohort);
        self
    }

    /// Adds a fault.
    pub fn fault(mut self, fault: FaultBuilder) -> ScenarioBuilder {
        self.faults.push(fault);
        self
    }

    /// Adds an expectation, as `"reconnect_time p90 < 5s"`; `docs/metrics.md` has all metrics.
    pub fn expect(mut self, expectation: &str) -> ScenarioBuilder {
        self.expect.push(expectation.to_owned());
        self
    }

    /// Sets another key of the scenario, as `set("target", toml::toml! { embedded = { instances = 2 } })`.
    pub fn set(mut self, key: &str, value: impl Serialize) -> ScenarioBuilder {
        self.keys.put(key, value);
        self
    }

    /// The scenario, checked.
    ///
    /// # Errors
    /// [`Error::Scenario`] with all errors, as of a file with these keys; [`Error::Refused`]: a value cannot be written as TOML.
    pub fn build(self) -> Result<Scenario, Error> {
        Scenario::from_toml(&self.to_toml()?)
    }

    /// The text of the scenario, ready to be saved.
    ///
    /// # Errors
    /// [`Error::Refused`]: a value cannot be written as TOML.
    pub fn to_toml(self) -> Result<String, Error> {
        let mut keys = self.keys;
        if !self.expect.is_empty() {
            keys.put("expect", self.expect);
        }
        let cohorts = self.cohorts.into_iter().map(|cohort| Ok((cohort.name, Value::Table(cohort.keys.into_table()?))));
        keys.put("clients", cohorts.collect::<Result<Table, Error>>()?);
        let faults = self.faults.into_iter().map(FaultBuilder::into_table).collect::<Result<Vec<_>, _>>()?;
        if !faults.is_empty() {
            keys.put("faults", faults);
        }
        toml::to_string(&keys.into_table()?).map_err(|why| Error::Refused(format!("the scenario cannot be written as TOML: {why}")))
    }
}

impl CohortBuilder {
    /// So many clients, which connect over a tenth of the run and reconnect with full jitter between 1 s and 30 s, unless they are told otherwise.
    pub fn new(name: &str, count: u32) -> CohortBuilder {
        CohortBuilder { name: name.to_owned(), keys: BuiltKeys::default() }.set("count", count)
    }

    /// The time over which they connect first, from the start of the run.
    pub fn arrive_over(self, time: Duration) -> CohortBuilder {
        self.set("arrive", Table::from_iter([("over".to_owned(), Value::String(print_duration(time)))]))
    }

    /// Reconnect strategy: the name of a preset, as `"socket.io-client"`, or `"none"`; `closestorm presets` lists them.
    pub fn reconnect(self, preset: &str) -> CohortBuilder {
        self.set("reconnect", preset)
    }

    /// Sets another key of `[clients.NAME]`.
    pub fn set(mut self, key: &str, value: impl Serialize) -> CohortBuilder {
        self.keys.put(key, value);
        self
    }
}

impl FaultBuilder {
    /// A fault of this kind at the start of the run, or at once at a proxy.
    pub fn new(kind: &str) -> FaultBuilder {
        let fault = FaultBuilder { kind: kind.to_owned(), parameters: BuiltKeys::default(), keys: BuiltKeys::default() };
        fault.at(Duration::ZERO)
    }

    /// A parameter of its kind, as `with("code", 1012)`.
    pub fn with(mut self, parameter: &str, value: impl Serialize) -> FaultBuilder {
        self.parameters.put(parameter, value);
        self
    }

    /// Name of the fault in all results.
    pub fn named(self, name: &str) -> FaultBuilder {
        self.set("name", name)
    }

    /// Time of the first firing, from the start of the run; at a proxy from when the fault is added.
    pub fn at(mut self, at: Duration) -> FaultBuilder {
        self.keys.time("at", at);
        self
    }

    /// Fires again and again, at this interval.
    pub fn every(mut self, interval: Duration) -> FaultBuilder {
        self.keys.time("every", interval);
        self
    }

    /// How long the fault lasts after each firing; to the end without.
    pub fn lasting(mut self, time: Duration) -> FaultBuilder {
        self.keys.time("for", time);
        self
    }

    /// Hits this share of the open connections, in percent, chosen at random; all without.
    pub fn percent(self, percent: f64) -> FaultBuilder {
        self.set("select", Table::from_iter([("percent".to_owned(), Value::String(format!("{percent}%")))]))
    }

    /// Also hits connections that open while the fault lasts.
    pub fn new_connections(self) -> FaultBuilder {
        self.set("new", true)
    }

    /// Sets another key of `[[faults]]`.
    pub fn set(mut self, key: &str, value: impl Serialize) -> FaultBuilder {
        self.keys.put(key, value);
        self
    }

    pub(crate) fn into_table(self) -> Result<Table, Error> {
        let mut table = self.keys.into_table()?;
        let inject = Table::from_iter([(self.kind, Value::Table(self.parameters.into_table()?))]);
        table.insert("inject".to_owned(), Value::Table(inject));
        Ok(table)
    }
}
