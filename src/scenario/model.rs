//! `[model]`: the server and the path as the simulator sees them. What it does not say is as in `[target.embedded]`.

use super::diagnostic::Sink;
use super::keys;
use super::model_keys;
use super::reader::Reader;
use super::target::{QUEUES, admission};
use super::target_keys;
use super::times::times;
use super::tree::Node;
use crate::close;
use crate::plan::{Accept, Embedded, Gone, Hints, Model, ModelBalance, SynRetries, Target};

const BALANCES: &[(&str, ModelBalance)] = &[
    ("round_robin", ModelBalance::RoundRobin),
    ("random", ModelBalance::Random),
    ("sticky", ModelBalance::Sticky),
    ("healthy", ModelBalance::Healthy),
    ("least_connections", ModelBalance::LeastConnections),
    ("two_choices", ModelBalance::TwoChoices),
];
const ACCEPTS: &[(&str, Accept)] = &[("eager", Accept::Eager), ("when_free", Accept::WhenFree)];
const GONE: &[(&str, Gone)] = &[("served", Gone::Served), ("skipped", Gone::Skipped)];
const SYN_RETRIES: &[(&str, SynRetries)] = &[("linear", SynRetries::Linear), ("doubling", SynRetries::Doubling)];

/// Reads `[model]`. `None`: complained.
pub(super) fn read(node: &Node, target: Option<&Target>, sink: &Sink) -> Option<Model> {
    let model = Reader::open(node, &model_keys::MODEL, sink)?;
    let embedded = if let Some(Target::Embedded(embedded)) = target { embedded.clone() } else { Embedded::default() };
    let base = Model::of_embedded(&embedded);
    // Nobody is pinged by a simulated server, but the key is one of [target.embedded].
    model.table("ping", &keys::HEARTBEAT).and_then(|ping| super::cohort::heartbeat(&ping));
    Some(Model {
        instances: model.short("instances", 1..=10_000).unwrap_or(base.instances),
        balance: model.choice("balance", BALANCES).unwrap_or(base.balance),
        handshake_cost: times(&model, "handshake_cost").unwrap_or(base.handshake_cost),
        parallel: model.number("parallel", 1..=65_536).unwrap_or(base.parallel),
        backlog: model.number("backlog", 0..=65_535).unwrap_or(base.backlog),
        accept: model.choice("accept", ACCEPTS).unwrap_or(base.accept),
        accept_cost: model.duration("accept_cost").unwrap_or(base.accept_cost),
        max_connections: model.number("max_connections", 1..=u32::MAX).or(base.max_connections),
        admit: model.table("admit", &target_keys::ADMIT).and_then(|admit| admission(&admit)).or(base.admit),
        admit_close: model.short("admit_close", 1000..=4999).inspect(|code| check_code(&model, *code)),
        queue: model.choice("queue", QUEUES).unwrap_or(base.queue),
        deadline: model.positive("deadline"),
        gone: model.choice("gone", GONE).unwrap_or(base.gone),
        start_up: times(&model, "start_up").unwrap_or(base.start_up),
        slow_start: model.positive("slow_start").or(base.slow_start),
        cold: model.decimal("cold", 0.0..=1000.0).unwrap_or(base.cold),
        cold_half_life: model.positive("cold_half_life").unwrap_or(base.cold_half_life),
        open_cost: model.duration("open_cost").unwrap_or(base.open_cost),
        message_cost: model.duration("message_cost").unwrap_or(base.message_cost),
        before_cost: times(&model, "before_cost"),
        tls: model.flag("tls").unwrap_or(base.tls),
        resume: model.flag("resume").unwrap_or(base.resume),
        rtt: times(&model, "rtt").unwrap_or(base.rtt),
        loss: share(&model, "loss").unwrap_or(base.loss),
        syn_retries: model.choice("syn_retries", SYN_RETRIES).unwrap_or(base.syn_retries),
        notice: times(&model, "notice").unwrap_or(base.notice),
        notice_each: model.duration("notice_each").unwrap_or(base.notice_each),
        client_lag: times(&model, "client_lag").unwrap_or(base.client_lag),
        client_tick: model.duration("client_tick").unwrap_or(base.client_tick),
        client_cost: model.duration("client_cost").unwrap_or(base.client_cost),
        clock_spread: share(&model, "clock_spread").unwrap_or(base.clock_spread),
        hints: Hints {
            retry_after: model.flag("honour_retry_after").unwrap_or_default(),
            restart_codes: model.flag("honour_restart_codes").unwrap_or_default(),
        },
    })
}

fn check_code(model: &Reader<'_>, code: u16) {
    if !close::may_be_sent(code) {
        model.complain("admit_close", format!("{code} may not stand in a Close frame"), close::name(code), "as 1013, try again later");
    }
}

/// A share below 100 %.
fn share(reader: &Reader<'_>, key: &str) -> Option<f64> {
    let share = reader.share(key)?.0;
    if !(0.0..1.0).contains(&share) {
        reader.complain(key, format!("`{key}` is out of bounds"), "found here", "a share from \"0%\" to below \"100%\"");
        return None;
    }
    Some(share)
}
