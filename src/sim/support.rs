//! Which faults the simulator carries out: those whose effect is one on whole connections, attempts, sockets and processes.

use crate::close;
use crate::fault::{Effect, End, InjectionStep, OnAttempt, OnListener, OnProcess, ResponseEdit, Shedding, Side, rows};
use crate::plan::{Model, Plan};

/// A part of the plan that the simulator does not carry out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// A kind of fault.
    #[error(
        "fault {name}: `{kind}` is not simulated: {why}; run it on real sockets (`closestorm run`), or leave it out; simulated are {kinds}"
    )]
    Fault {
        /// Its id.
        name: String,
        /// Its kind.
        kind: &'static str,
        /// Why.
        why: &'static str,
        /// The kinds that are, as a list.
        kinds: String,
    },
    /// Messages without a schedule of their own.
    #[error(
        "cohort {cohort}: messages in a closed loop (`in_flight`) are not simulated, because their number depends on the machine; \
         give them a `rate`, or leave them out"
    )]
    ClosedLoop {
        /// Its name.
        cohort: String,
    },
    /// A dialogue that is more than messages by the clock.
    #[error(
        "cohort {cohort}: {what} of a dialogue is not simulated; run it on real sockets (`closestorm run`), or leave it out: messages with a `rate`, and their replies, are simulated"
    )]
    Dialogue {
        /// The cohort's name.
        cohort: String,
        /// The key.
        what: &'static str,
    },
    /// A named instance that the model does not have.
    #[error("fault {name}: there is no instance {instance}; the model has {instances}, counted from 0")]
    Instance {
        /// The fault.
        name: String,
        /// As written.
        instance: u64,
        /// Of the model.
        instances: u16,
    },
}

/// Kinds that are simulated with their default parameters, with the sides that can carry them out.
pub fn supported() -> impl Iterator<Item = (&'static str, Vec<Side>)> {
    rows().filter_map(|row| {
        let inject = crate::fault::Injection { row, values: row.defaults() };
        let sides: Vec<_> = row.sides.iter().copied().filter(|side| why_not(&inject.effect(*side), *side).is_none()).collect();
        (!sides.is_empty()).then_some((row.kind, sides))
    })
}

/// Whether all faults of a plan can be simulated.
pub(super) fn check(plan: &Plan, model: &Model) -> Result<(), Unsupported> {
    if let Some(cohort) = plan.cohorts.iter().find(|cohort| cohort.traffic.is_closed_loop()) {
        return Err(Unsupported::ClosedLoop { cohort: cohort.name.clone() });
    }
    for cohort in &plan.cohorts {
        if let Some(what) = cohort.script.as_ref().and_then(|script| script.beyond_requests()) {
            return Err(Unsupported::Dialogue { cohort: cohort.name.clone(), what });
        }
    }
    if let Some((fault, instance)) = plan.beyond(model.instances) {
        return Err(Unsupported::Instance { name: fault.name.clone(), instance, instances: model.instances });
    }
    for fault in &plan.faults {
        if let Some(why) = why_not(&fault.inject.effect(fault.side), fault.side) {
            let kinds = supported().map(|(kind, _)| kind).collect::<Vec<_>>().join(", ");
            return Err(Unsupported::Fault { name: fault.name.clone(), kind: fault.inject.row.kind, why, kinds });
        }
    }
    Ok(())
}

/// What keeps an effect from being simulated. What is not named here is refused.
fn why_not(effect: &Effect, side: Side) -> Option<&'static str> {
    match effect {
        Effect::Process(OnProcess::Crash { .. } | OnProcess::Graceful { .. } | OnProcess::Pause { .. } | OnProcess::Rolling { .. }) => None,
        Effect::Connection { gate, steps } => match steps.as_slice() {
            [] if gate.is_silence() => None,
            [InjectionStep::End(End::Fin | End::Rst | End::Silent)] | [InjectionStep::Close { .. }] if gate.is_open() => None,
            [InjectionStep::Switch { .. }] if gate.is_open() && side == Side::Client => None,
            _ => Some("it acts on single frames or bytes"),
        },
        Effect::BothEnds { .. } => Some("it is about the order of frames of both ends"),
        Effect::Attempt(OnAttempt::Stall(_) | OnAttempt::Cut { .. } | OnAttempt::Reject { .. }) => None,
        Effect::Attempt(OnAttempt::Shed { by: Shedding::Status(_) | Shedding::Close(_), .. }) => None,
        Effect::Attempt(OnAttempt::Answer(answer)) if is_late(answer) => None,
        Effect::Attempt(_) => Some("it acts on the bytes of the opening handshake"),
        Effect::Listener { on: OnListener::Closed | OnListener::Full(_), .. } => None,
        Effect::Listener { .. } => Some("open files are not modelled"),
    }
}

/// A healthy answer that comes late, after which the server may close.
fn is_late(answer: &ResponseEdit) -> bool {
    let ResponseEdit { delay, jitter, close, .. } = answer;
    *answer == ResponseEdit { delay: *delay, jitter: *jitter, close: *close, ..ResponseEdit::default() }
        && close.is_none_or(close::may_be_sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_the_kinds_that_are_simulated() {
        let page = include_str!("../../docs/simulator.md");
        let list = page.split("refused by name:\n\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
        let expected = supported().map(|(kind, _)| format!("`{kind}`")).collect::<Vec<_>>().join(", ");
        assert_eq!(list.replace('\n', " "), expected);
    }

    #[test]
    fn whole_connections_are_simulated_and_frames_are_not() {
        let kinds: Vec<_> = supported().map(|(kind, _)| kind).collect();
        for kind in [
            "server_crash",
            "server_graceful",
            "server_restart_rolling",
            "server_pause",
            "drop_fin",
            "drop_rst",
            "close_code",
            "blackhole",
            "freeze",
            "connect_refuse",
            "backlog_full",
            "accept_stall",
            "upgrade_status",
            "server_overload",
        ] {
            assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
        }
        for kind in ["truncate_frame", "slice", "fd_exhaust", "close_simultaneous", "upgrade_garbage"] {
            assert!(!kinds.contains(&kind), "{kind}");
        }
    }
}
