//! Changes that may get a system out that does not recover, from the cheapest to the dearest: of the server's settings first, then those
//! that need a new release of the client.
//!
//! Pure: a change takes a plan and a model, and says whether it is one there. Who tries it, and where, is decided elsewhere.

use crate::plan::{Admit, Cohort, Deadlines, Model, Patience, Plan, QueueOrder, Readiness, Target};
use crate::reconnect::{Jitter, Policy};
use crate::units::Rate;
use std::time::Duration;

/// Shares of a server's capacity that admission control lets in, the mildest first.
const ADMITTED: [f64; 3] = [0.9, 0.7, 0.5];
/// The bucket holds what the server completes in this share of the time that a client waits.
const BURST: f64 = 0.25;
/// A client that waits for ever counts as one that waits so long.
const PATIENCE_MAX: Duration = Duration::from_secs(10);

/// A change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Remedy {
    /// The newest opening handshake is served first.
    Lifo,
    /// A token bucket of this share of the capacity turns the others away at once.
    Admit(f64),
    /// Each wait is drawn between nothing and itself.
    Jitter,
    /// Waits double from 1 s to 30 s, with full jitter.
    Backoff,
}

/// All of them, the cheapest first.
pub fn ladder() -> Vec<Remedy> {
    let admit = ADMITTED.into_iter().map(Remedy::Admit);
    std::iter::once(Remedy::Lifo).chain(admit).chain([Remedy::Jitter, Remedy::Backoff]).collect()
}

impl Remedy {
    /// In words, for a reader of a report.
    pub fn words(self) -> String {
        match self {
            Remedy::Lifo => "serve the newest opening handshake first".to_owned(),
            Remedy::Admit(share) => format!("admit {:.0} % of handshake capacity, reject the rest at once", share * 100.0),
            Remedy::Jitter => "full jitter on the same backoff".to_owned(),
            Remedy::Backoff => "longer backoff: 1 s doubling to 30 s, full jitter".to_owned(),
        }
    }

    /// Changes plan and model; returns what to write for it. `None`: it is no change here, as a second admission control.
    pub fn apply(self, plan: &mut Plan, model: &mut Model) -> Option<String> {
        let table = if plan.model.is_none() && matches!(plan.target, Target::Embedded(_)) { "target.embedded" } else { "model" };
        match self {
            Remedy::Lifo => {
                let changes = model.queue != QueueOrder::Lifo && !model.handshake_cost.is_zero();
                model.queue = QueueOrder::Lifo;
                changes.then(|| format!("{table}.queue=lifo"))
            }
            Remedy::Admit(share) => {
                let admit = admission(plan, model, share)?;
                model.admit = Some(admit);
                Some(format!("{table}.admit={{ rate = \"{}\", burst = {}, reject = {} }}", admit.rate, admit.burst, admit.reject))
            }
            Remedy::Jitter => {
                let plain = |policy: &Policy| policy.jitter == Jitter::None && policy.kind != crate::reconnect::ScheduleKind::None;
                let names = change_cohorts(plan, plain, |cohort| cohort.reconnect.jitter = Jitter::Mult { lo: 0.0, hi: 1.0 });
                (!names.is_empty()).then(|| format!("jitter of {}", names.join(", ")))
            }
            Remedy::Backoff => {
                let other = |policy: &Policy| *policy != Policy::default() && policy.kind != crate::reconnect::ScheduleKind::None;
                let names = change_cohorts(plan, other, |cohort| {
                    // As a scenario that says so: nothing of the preset is left.
                    if cohort.ready == Readiness::of(&cohort.reconnect) {
                        cohort.ready = Readiness::of(&Policy::default());
                    }
                    cohort.reconnect = Policy::default();
                    let usual = Deadlines::default();
                    for (own, usual) in [(&mut cohort.deadlines.connect, usual.connect), (&mut cohort.deadlines.handshake, usual.handshake)]
                    {
                        if *own == Patience::Strategy {
                            *own = usual;
                        }
                    }
                });
                let full = "{ exponential = { base = \"1s\", factor = 2, cap = \"30s\", jitter = \"full\" } }";
                let set: Vec<_> = names.iter().map(|name| format!("clients.{name}.reconnect={full}")).collect();
                (!set.is_empty()).then(|| set.join("; "))
            }
        }
    }
}

/// Admission of a share of what one server completes, with a bucket that fits into the time that clients wait.
fn admission(plan: &Plan, model: &Model, share: f64) -> Option<Admit> {
    let cost = model.handshake_cost.mean().as_secs_f64();
    if cost <= 0.0 || model.admit.is_some() {
        return None;
    }
    // What is printed is what was tried: three digits.
    let rate: f64 = format!("{:.2e}", f64::from(model.parallel) / cost * share).parse().ok()?;
    let patience = plan.cohorts.iter().filter_map(|cohort| match cohort.deadlines.handshake {
        Patience::Own(own) => Some(own),
        Patience::Strategy => cohort.reconnect.connect_timeout.map(|timeout| timeout.first),
    });
    let patience = patience.filter(|patience| !patience.is_zero()).min();
    let patience = patience.unwrap_or(PATIENCE_MAX).min(PATIENCE_MAX);
    let burst = (rate * patience.as_secs_f64() * BURST).floor().max(1.0);
    Some(Admit { rate: Rate(rate), burst: burst as u32, reject: 503, retry_after: None })
}

/// Changes the cohorts whose policy needs it; returns their names.
fn change_cohorts(plan: &mut Plan, needs: impl Fn(&Policy) -> bool, change: impl Fn(&mut Cohort)) -> Vec<String> {
    let cohorts = plan.cohorts.iter_mut().filter(|cohort| needs(&cohort.reconnect));
    cohorts
        .map(|cohort| {
            change(cohort);
            cohort.name.clone()
        })
        .collect()
}
