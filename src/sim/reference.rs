//! Test: the results of a run beside those of a plain fold over the same events, which keeps everything and searches for everything.

use super::tests::{plan, simulate};
use crate::close::Cause;
use crate::event::{Event, Outcome};
use crate::metrics::Results;
use crate::metrics::attempts::AttemptStep;
use crate::metrics::metric::TimeMetric;
use crate::metrics::timeline::AttemptKey;
use std::collections::BTreeMap;

/// An outage, µs.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Outage {
    client: u32,
    detect_at: u64,
    fault: Option<u16>,
    fault_at: u64,
    ready_at: Option<u64>,
    attempts: u32,
    backoff: u64,
    trying: u64,
    gave_up: bool,
}

#[derive(Default)]
struct Client {
    injected: Vec<(u32, u64, u16)>,
    outage: Option<Outage>,
    /// Start of the attempt under way, or of the wait.
    since: u64,
    /// Second in which the attempt under way began.
    begun: u64,
    under_way: bool,
    open: bool,
}

#[derive(Default)]
struct Reference {
    clients: BTreeMap<u32, Client>,
    steps: BTreeMap<AttemptKey, u64>,
    outages: Vec<Outage>,
    closed: u64,
    codes: BTreeMap<(u32, u16), u64>,
}

impl Reference {
    fn step(&mut self, client: u32, fault: Option<u16>, step: AttemptStep, status: Option<u16>) {
        let of_outage = self.clients[&client].outage.as_ref().and_then(|outage| outage.fault);
        *self.steps.entry((self.clients[&client].begun as u32, 0, fault.or(of_outage), step, status)).or_default() += 1;
    }

    fn take(&mut self, at: u64, event: &Event) {
        let Some(id) = crate::metrics::subject(event).0.map(|client| client.0) else { return };
        let client = self.clients.entry(id).or_default();
        let passed = at - client.since.min(at);
        match event {
            Event::AttemptStarted { .. } => {
                if let Some(outage) = &mut client.outage {
                    outage.attempts += 1;
                    outage.backoff += passed;
                }
                (client.since, client.under_way, client.begun) = (at, true, at / 1_000_000);
                self.step(id, None, AttemptStep::Begun, None);
            }
            Event::AttemptFailed { outcome, fault, .. } => {
                client.outage.iter_mut().for_each(|outage| outage.trying += passed);
                (client.since, client.under_way) = (at, false);
                let step = match outcome {
                    Outcome::Refused => AttemptStep::Refused,
                    Outcome::TimedOut => AttemptStep::TimedOut,
                    Outcome::Rejected { .. } => AttemptStep::Rejected,
                    Outcome::Failed { .. } => AttemptStep::Failed,
                    Outcome::Abandoned => AttemptStep::Abandoned,
                };
                let status = if let Outcome::Rejected { status, .. } = outcome { Some(*status) } else { None };
                self.step(id, *fault, step, status);
            }
            Event::Opened { .. } => {
                client.outage.iter_mut().for_each(|outage| outage.trying += passed);
                (client.since, client.under_way, client.open) = (at, false, true);
                self.step(id, None, AttemptStep::Opened, None);
            }
            Event::Injected { fault, connection, .. } => client.injected.push((connection.0, at, *fault)),
            Event::Ready { .. } => {
                if let Some(outage) = client.outage.take() {
                    self.outages.push(Outage { ready_at: Some(at), trying: outage.trying, ..outage });
                }
            }
            Event::Ended { connection, ending, .. } => {
                self.closed += 1;
                *self.codes.entry(((at / 1_000_000) as u32, ending.code)).or_default() += 1;
                client.open = false;
                if let Some(outage) = &mut client.outage {
                    outage.trying += passed;
                } else if ending.cause != Cause::Stay {
                    let last = client.injected.iter().rfind(|(of, ..)| *of == connection.0);
                    let named = if let Cause::Fault(fault) = ending.cause { Some(fault) } else { None };
                    let (fault_at, fault) = last.map_or((at, named), |(_, acted, fault)| (*acted, Some(*fault)));
                    client.outage = Some(Outage { client: id, detect_at: at, fault, fault_at, ..Outage::default() });
                }
                client.since = at;
            }
            Event::GaveUp { .. } => client.outage.iter_mut().for_each(|outage| outage.gave_up = true),
            _ => {}
        }
    }

    /// The end of the run: attempts under way are abandoned, outages under way are cut.
    fn finish(&mut self, end: u64) {
        let under_way: Vec<_> = self.clients.iter().filter(|(_, client)| client.under_way).map(|(id, _)| *id).collect();
        for id in under_way {
            self.step(id, None, AttemptStep::Abandoned, None);
        }
        for client in self.clients.values_mut() {
            if let Some(mut outage) = client.outage.take() {
                let passed = end.saturating_sub(client.since);
                match (client.under_way || client.open, outage.gave_up) {
                    (true, _) => outage.trying += passed,
                    (false, false) => outage.backoff += passed,
                    (false, true) => {}
                }
                self.outages.push(outage);
            }
        }
        self.outages.sort();
    }

    /// The least time after which a share `q` is back, by the product of those still away; nobody is dropped.
    fn quantile(&self, end: u64, q: f64) -> Option<u64> {
        let time = |outage: &Outage| outage.ready_at.unwrap_or(end) - outage.fault_at;
        let mut returned: Vec<_> = self.outages.iter().filter(|outage| outage.ready_at.is_some()).map(time).collect();
        returned.sort_unstable();
        let mut survival = 1.0;
        returned.iter().enumerate().find_map(|(before, at)| {
            let cut = self.outages.iter().filter(|outage| outage.ready_at.is_none() && time(outage) < *at).count();
            survival *= 1.0 - 1.0 / (self.outages.len() - before - cut) as f64;
            (survival <= 1.0 - q + 1e-9).then_some(*at)
        })
    }
}

fn outages(results: &Results) -> Vec<Outage> {
    let of = |outage: &crate::metrics::outage::Outage| Outage {
        client: outage.client,
        detect_at: outage.detect_at,
        fault: outage.fault,
        fault_at: outage.fault_at,
        ready_at: outage.ready_at,
        attempts: outage.attempts,
        backoff: outage.backoff,
        trying: outage.attempt + outage.reply.unwrap_or(0),
        gave_up: outage.gave_up,
    };
    let mut all: Vec<_> = results.outages.kept().iter().map(of).collect();
    all.sort();
    all
}

/// Compares, and returns how many gave up amid an outage.
fn compare(name: &str, changes: &[&str]) -> usize {
    let plan = plan(changes);
    let results = simulate(&plan).results;
    assert!(results.events.is_complete() && results.outages.is_complete(), "{name}: too many to compare");
    let end = results.measured.as_micros() as u64;
    let mut reference = Reference::default();
    results.events.kept().iter().for_each(|(at, _, event)| reference.take(*at, event));
    reference.finish(end);
    let ledger = results.total().ledger;
    let of = &ledger.attempts;
    let count = |step| reference.steps.iter().filter(|((.., of, _), _)| *of == step).map(|(_, count)| count).sum::<u64>();
    let found = [of.total, of.opened, of.refused, of.timed_out, of.rejected, of.failed, of.abandoned];
    let steps = [
        AttemptStep::Begun,
        AttemptStep::Opened,
        AttemptStep::Refused,
        AttemptStep::TimedOut,
        AttemptStep::Rejected,
        AttemptStep::Failed,
        AttemptStep::Abandoned,
    ];
    assert_eq!(found, steps.map(count), "{name}");
    assert_eq!(results.timeline.attempts, reference.steps, "{name}");
    assert_eq!((ledger.closed, ledger.endings), (reference.closed, reference.closed), "{name}");
    let mut codes: BTreeMap<(u32, u16), u64> = BTreeMap::new();
    results
        .endings
        .iter()
        .for_each(|((second, key), count)| *codes.entry((*second, key.client_code.unwrap_or_default())).or_default() += count);
    assert_eq!(codes, reference.codes, "{name}");
    assert_eq!(outages(&results), reference.outages, "{name}");
    assert!(reference.outages.len() > 50, "{name}: {}", reference.outages.len());
    let times = results.survival(TimeMetric::ReconnectTime);
    for q in [0.1, 0.5, 0.9, 0.99] {
        let (found, expected) = (times.quantile(q), reference.quantile(end, q));
        // Histograms keep three digits.
        let near = found.zip(expected).is_some_and(|(found, expected)| found.abs_diff(expected) <= expected / 500 + 1);
        assert!(near || (found.is_none() && expected.is_none()), "{name} {q}: {found:?} {expected:?}");
    }
    reference.outages.iter().filter(|outage| outage.gave_up).count()
}

#[test]
fn the_books_are_those_of_a_plain_fold() {
    let crash = r#"faults=[{at="3s",inject={server_crash={down="1500ms"}}},{at="5s",inject={server_crash={down="300ms"}}}]"#;
    compare("two crashes, one of them amid the return from the other", &["clients.web.count=400", "clients.web.traffic={echo={}}", crash]);
    let limits = r#"model={handshake_cost="4ms",deadline="900ms",loss="5%",rtt="15ms",backlog=60,accept="when_free"}"#;
    compare("timeouts and a full listen queue", &["clients.web.count=600", "clients.web.deadlines={handshake=\"700ms\"}", limits, crash]);
    let codes = r#"faults=[{at="3s",every="700ms",select={percent="20%"},inject={close_code={code=1012}}},{at="4s",for="2s",side="client",select={percent="30%"},inject={blackhole={}}}]"#;
    let heartbeat = "clients.web.heartbeat={every=\"400ms\",timeout=\"300ms\"}";
    compare("close codes and a blackhole", &["clients.web.count=300", heartbeat, codes]);
    let gives_up = "clients.web.reconnect=\"graphql-ws\"";
    let gave_up = compare("clients that give up", &["clients.web.count=300", gives_up, crash]);
    assert!(gave_up > 50, "{gave_up}");
}
