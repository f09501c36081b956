//! Blind: waits are drawn from a policy, seen a little late, and the policy is to be found again. Kinds of jitter, which take longer, are found on
//! sockets (tests/interop/learn.rs).

use super::*;
use crate::reconnect::{Decision, Jitter, Loss, Policy, ScheduleKind, whole_ms};
use crate::seed::Seed;
use crate::units::ms;
use std::time::Duration;

const HELD: Duration = Duration::from_secs(6);

/// Outages of clients of a policy; each process has five of them.
fn observe(policy: &Policy, outages: usize, attempts: usize, seed: u64) -> Vec<SeenOutage> {
    let (mut draws, mut noise) = (Seed(seed).stream("client"), Seed(seed).stream("noise"));
    let mut all = Vec::new();
    let mut history = None;
    let mut now = Duration::ZERO;
    for number in 0..outages {
        let random = &mut || draws.unit();
        if number % 5 == 0 {
            history = Some(policy.start(random));
        }
        let history = history.as_mut().unwrap();
        history.attempt_started(now);
        history.opened(now);
        history.ready();
        now += HELD;
        let mut outage = SeenOutage { client: (number / 5) as u32, waits_ms: Vec::new() };
        let mut loss = Loss::Closed { code: 1006 };
        for _ in 0..attempts {
            let Decision::Wait(wait) = policy.decide(history, &loss, now, random) else { break };
            let seen = ms(whole_ms(wait)) + 0.3 + 1.5 * noise.exponential();
            outage.waits_ms.push(seen);
            now += Duration::from_secs_f64(seen / 1000.0);
            history.attempt_started(now);
            loss = Loss::Failed;
        }
        all.push(outage);
    }
    all
}

fn fitted(policy: &Policy, outages: usize, attempts: usize) -> PolicyFit {
    let fit = fit(&observe(policy, outages, attempts, 3), Seed(1)).unwrap();
    assert!(fit.goodness.is_good(), "{fit:?}");
    fit
}

fn preset(name: &str) -> Policy {
    Policy::preset(name).unwrap()
}

/// The estimate holds the true value, within a tenth.
fn holds(fit: &PolicyFit, quantity: Quantity, truth: f64) {
    let found = fit.estimates.iter().find(|estimate| estimate.quantity == quantity).unwrap_or_else(|| panic!("{quantity:?}: {fit:?}"));
    assert!((found.lo..=found.hi).contains(&truth) && found.hi - found.lo < 0.2 * truth, "{quantity:?} {truth}: {found:?}");
}

#[test]
fn schedules_without_jitter_are_found() {
    let fit = fitted(&preset("partysocket"), 5, 7);
    assert_eq!((fit.policy.jitter, fit.policy.base, fit.policy.cap), (Jitter::None, Duration::from_secs(3), Some(Duration::from_secs(10))));
    holds(&fit, Quantity::Factor, 1.3);
    let fit = fitted(&preset("mqtt.js"), 5, 5);
    assert_eq!((fit.policy.kind, fit.policy.base), (ScheduleKind::Fixed, Duration::from_secs(1)));
    let fit = fitted(&preset("phoenix"), 5, 11);
    let delays: Vec<u128> = fit.policy.table.iter().map(Duration::as_millis).collect();
    assert_eq!(delays, [10, 50, 100, 150, 200, 250, 500, 1000, 2000, 5000]);
}

#[test]
fn lead_delays_are_told_from_the_formula() {
    let fit = fitted(&preset("trpc-wslink"), 5, 6);
    assert_eq!((fit.policy.lead.clone(), fit.policy.base), (vec![(Duration::ZERO, Duration::ZERO)], Duration::from_secs(2)));
    holds(&fit, Quantity::Factor, 2.0);
}

#[test]
fn a_base_that_each_process_draws_is_told_from_jitter() {
    let fit = fitted(&preset("reconnecting-websocket"), 60, 5);
    assert_eq!(fit.policy.jitter, Jitter::None);
    let (lo, hi) = fit.policy.base_per_client.unwrap();
    assert!(lo < Duration::from_millis(1700) && hi > Duration::from_millis(4300), "{lo:?} {hi:?}");
    holds(&fit, Quantity::Factor, 1.3);
}

/// Delays by turns: the model has no words for them.
#[test]
fn what_no_schedule_says_is_said() {
    let outage = |client| SeenOutage {
        client,
        waits_ms: (0..8).map(|step| if step % 2 == 0 { 100.0 } else { 2000.0 + 30.0 * f64::from(client * step % 7) }).collect(),
    };
    let outages: Vec<SeenOutage> = (0..6).map(outage).collect();
    let found = fit(&outages, Seed(1)).unwrap();
    assert!(!found.goodness.is_good() || matches!(found.family.growth, Growth::Table(_)), "{found:?}");
    assert!(fit(&outages[..0], Seed(1)).is_none());
}

#[test]
fn the_nearest_preset_is_the_one_that_was_seen() {
    for name in ["phoenix-1.8", "socket.io-client", "python-websockets", "signalr", "ably"] {
        let near = nearest(&observe(&preset(name), 40, 4, 3), HELD, Seed(1));
        assert_eq!(near[0].preset.id, name, "{:?}", near.iter().take(3).map(|near| (&near.preset.id, near.distance)).collect::<Vec<_>>());
    }
}

/// A busy machine: the first wait is seen later than the others, and each process runs on a processor of its own.
pub(crate) fn on_a_busy_machine(delays: &[f64]) -> Vec<SeenOutage> {
    let late = |client: u32, step: usize| f64::from(client) * 9.0 + if step == 0 { 20.0 } else { 4.0 };
    let one = |client| SeenOutage { client, waits_ms: delays.iter().enumerate().map(|(step, delay)| delay + late(client, step)).collect() };
    (0..6).flat_map(|client| [one(client), one(client)]).collect()
}

#[test]
fn what_a_busy_machine_adds_is_no_schedule() {
    let fixed = fit(&on_a_busy_machine(&[3000.0; 6]), Seed(1)).unwrap();
    assert_eq!((fixed.family.growth, fixed.policy.base_per_client), (Growth::Fixed, None), "{fixed:?}");
    let growing = fit(&on_a_busy_machine(&[3000.0, 3900.0, 5070.0, 6591.0, 8568.0, 10_000.0]), Seed(1)).unwrap();
    assert_eq!((growing.family.growth, growing.policy.base_per_client), (Growth::Exponential, None), "{growing:?}");
}

/// One late first wait makes clients differ, and later waits do not.
#[test]
fn clients_that_differ_in_the_first_wait_alone_have_no_bases_of_their_own() {
    let mut outages: Vec<SeenOutage> = on_a_busy_machine(&[1000.0, 15_000.0, 30_000.0, 60_000.0]);
    outages[5].waits_ms[0] += 110.0;
    let fit = fit(&outages, Seed(1)).unwrap();
    assert_eq!(fit.policy.base_per_client, None, "{fit:?}");
}
