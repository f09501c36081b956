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
    /// A dialogue that needs the messages of a real server.
    #[error(
        "cohort {cohort}: `{key}` of a dialogue is not simulated, because a simulated server sends no messages of its own; run it on real sockets (`closestorm run`), or leave it out"
    )]
    Dialogue {
        /// The cohort's name.
        cohort: String,
        /// The key.
        key: &'static str,
    },
    /// A dialogue that notices connections on which nothing comes, and a fault that makes such.
    #[error(
        "cohort {cohort}: `{key}` of a dialogue is not simulated together with fault {fault}, which leaves connections open on which nothing comes; run it on real sockets (`closestorm run`), or leave one of them out"
    )]
    Silence {
        /// The cohort's name.
        cohort: String,
        /// The key.
        key: &'static str,
        /// The fault's name.
        fault: String,
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
        let Some(script) = &cohort.script else { continue };
        if let Some(key) = script.needs_messages() {
            return Err(Unsupported::Dialogue { cohort: cohort.name.clone(), key });
        }
        let silent = || plan.faults.iter().find(|fault| silences(&fault.inject.effect(fault.side), fault.side));
        if let Some((key, fault)) = script.notices_silence().and_then(|key| Some((key, silent()?))) {
            return Err(Unsupported::Silence { cohort: cohort.name.clone(), key, fault: fault.name.clone() });
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

/// Whether an effect leaves clients with open connections on which nothing comes.
fn silences(effect: &Effect, side: Side) -> bool {
    match effect {
        Effect::Process(of) => matches!(of, OnProcess::Pause { .. }),
        Effect::Connection { gate, steps } => {
            let silent = steps.iter().any(|step| matches!(step, InjectionStep::End(End::Silent)));
            !gate.is_open() || (silent && side != Side::Client)
        }
        _ => false,
    }
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
    use crate::scenario::keys::SECTIONS;
    use crate::scenario::{Overrides, Source, load_with};

    /// What a simulation does with a key of a dialogue.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Treatment {
        /// Its cost is in the results.
        Modelled,
        /// The plan says that it does nothing.
        Named,
        /// The scenario is refused.
        Refused,
    }

    #[test]
    fn each_key_of_a_dialogue_is_modelled_named_or_refused() {
        use Treatment::{Modelled, Named, Refused};
        const PAUSE: &str = "[[faults]]\nat = \"1s\"\ninject = { server_pause = { } }\n";
        let beat = r#"beat = { every = "1s", send = "a", expect = "b" }"#;
        let rows = [
            ("protocol", r#"protocol = "graphql-transport-ws""#, "", Named),
            ("before", r#"before = [{ url = "/login" }]"#, "", Modelled),
            ("open", r#"open = [{ send = "a", expect = "b" }]"#, "", Modelled),
            ("reply", r#"reply = [{ to = "a", send = "b" }]"#, "", Named),
            ("beat", beat, "", Named),
            ("beat", beat, PAUSE, Refused),
            ("beat", r#"beat = { every = "1s", send = "a" }"#, PAUSE, Named),
            ("silence", r#"silence = "45s""#, "", Named),
            ("silence", r#"silence = "45s""#, PAUSE, Refused),
            ("request", r#"request = [{ send = "a", reply = "any" }]"#, "", Modelled),
            ("rate", "request = [{ send = \"a\" }]\nrate = \"2/s\"", "", Modelled),
            ("in_flight", "request = [{ send = \"a\", reply = \"any\" }]\nin_flight = 2", "", Refused),
            ("receive", r#"receive = "a""#, "", Named),
            ("sequence", r#"sequence = "/seq""#, "", Refused),
            ("timestamp", r#"timestamp = "/at""#, "", Refused),
            ("capture", r#"capture = { a = "/a" }"#, "", Named),
            ("error", r#"error = { a = "b" }"#, "", Named),
            ("leave", r#"leave = "a""#, "", Modelled),
        ];
        let keys = SECTIONS.iter().find(|section| section.path == "dialogue").expect("it is there").keys;
        for key in keys {
            assert!(rows.iter().any(|(of, ..)| *of == key.name), "what does a simulation do with `{}`?", key.name);
        }
        for (key, says, faults, expected) in rows {
            let text = format!("[clients.web]\ncount = 1\n[clients.web.dialogue]\n{says}\n{faults}");
            let source = Source::Text { name: "keys".to_owned(), text };
            let plan = load_with(&source, &Overrides::default(), &|_| None).unwrap_or_else(|errors| panic!("{key}: {errors}"));
            let named = plan.not_simulated().iter().any(|text| text.contains(&format!("`{key}`")));
            let found = match check(&plan, &plan.simulated_as().expect("embedded")) {
                Err(error) => {
                    assert!(error.to_string().contains(&format!("`{key}`")), "{error}");
                    Refused
                }
                Ok(()) if named && !matches!(key, "before" | "open") => Named,
                Ok(()) => Modelled,
            };
            assert_eq!(found, expected, "{key} {faults}");
        }
    }

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
