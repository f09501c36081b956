//! From one run folder to the server as the simulator sees it: what an opening handshake costs, how many are served at a time, how
//! long the listen queue is, how far away the server is, and how long a process takes to come back.
//!
//! [`fit`] reads what was observed (`events.csv`, `reconnects.csv`, `manifest.json`) and never what the scenario says of its target:
//! it works the same for a server that is not embedded. `observed` reads the events, `service` fits the service queue, `clients` their
//! machine,
//! `path` the rest, and `fragment` writes the `[model]` table. Whether the model tells the truth about another run is `fidelity`'s to say.

mod clients;
pub mod fragment;
mod observed;
mod parameter;
mod path;
mod service;

use crate::results::Loaded;
use observed::Observed;
pub use parameter::Parameter;
use serde::Serialize;

/// Version of the JSON form; raised when a reader could misunderstand it.
pub const SCHEMA_VERSION: u32 = 1;
/// Fewer opening handshakes say too little.
const HANDSHAKES_MIN: usize = 20;

/// A fitted model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fit {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Command line of the run.
    pub run: String,
    /// Its seed.
    pub seed: u64,
    /// Opening handshakes that were looked at.
    pub handshakes: u64,
    /// One event stands for this many: 1, or more where `events.csv` is a sample.
    pub weight: f64,
    /// Whether the server was ever seen busy. Where it was not, `handshake_cost` and `parallel` are guesses.
    pub busy: bool,
    /// The keys of `[model]`, each with where it comes from.
    pub parameters: Vec<Parameter>,
    /// Half of the opening handshakes completed within this time of when the fitted queue, fed with the arrivals of the run, says; µs.
    pub residual_p50_us: u64,
    /// Nine of ten did; µs.
    pub residual_p90_us: u64,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// A run that says nothing of its server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFitted {
    /// Too few opening handshakes.
    #[error(
        "events.csv has {found} opening handshakes, and a fit needs at least {HANDSHAKES_MIN}: run a scenario in which many clients \
         reconnect in a single burst after a crash"
    )]
    TooFew {
        /// How many there are.
        found: usize,
    },
    /// A simulated run would only give back what was put in.
    #[error("this run was simulated: a model is fitted to a run on real sockets (`closestorm run`)")]
    Simulated,
}

/// Fits the model.
///
/// # Errors
/// If the run was simulated, or there are too few opening handshakes in it.
pub fn fit(loaded: &Loaded) -> Result<Fit, NotFitted> {
    if loaded.summary.simulated {
        return Err(NotFitted::Simulated);
    }
    let observed = Observed::of(loaded);
    if observed.handshakes.len() < HANDSHAKES_MIN {
        return Err(NotFitted::TooFew { found: observed.handshakes.len() });
    }
    let mut notes = Vec::new();
    let mut parameters = vec![path::instances(&observed)];
    let rtt = path::rtt(&observed);
    let service = service::fit(&observed, rtt.0);
    parameters.extend(service.parameters);
    notes.extend(service.notes);
    parameters.extend(path::listen_queue(&observed, loaded, &mut notes));
    let (rtt, round_trip) = rtt;
    parameters.push(round_trip);
    parameters.extend(clients::machine(&observed, rtt));
    parameters.extend(path::start_up(&observed, &mut notes));
    parameters.extend(clients::notice(loaded, &observed, &mut notes));
    if loaded.summary.generator.saturated {
        notes.push(
            "the load generator was saturated in this run: the times of the server cannot be separated from those of the load \
            generator"
                .to_owned(),
        );
    }
    notes.extend(loaded.summary.generator.lost.iter().map(|lost| {
        format!(
            "{lost}: the server also served the clients of that worker, which are \
            missing here"
        )
    }));
    if observed.weight > 1.0 {
        notes
            .push(format!("events.csv has a sample of one in {:.1} events: rates are scaled, and spreads are not fitted", observed.weight));
    }
    Ok(Fit {
        schema_version: SCHEMA_VERSION,
        run: loaded.summary.command.clone(),
        seed: loaded.summary.seed,
        handshakes: observed.handshakes.len() as u64,
        weight: observed.weight,
        busy: service.busy,
        parameters,
        residual_p50_us: service.residuals.0,
        residual_p90_us: service.residuals.1,
        notes,
    })
}

/// What the clients' machine took for each attempt after a wait on average, ms: how late it began, and its connect or refusal. `None`
/// where there was none.
pub fn client_lag_ms(loaded: &Loaded) -> Option<f64> {
    let retries = Observed::of(loaded).retries;
    let times: Vec<u64> = retries.iter().filter(|one| one.connect < path::REPEATED).map(|one| one.late(0.0)).collect();
    (!times.is_empty()).then(|| times.iter().sum::<u64>() as f64 / times.len() as f64 / 1e3)
}

#[cfg(test)]
mod tests;
