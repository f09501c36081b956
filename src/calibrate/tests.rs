//! What the fit finds in simulated runs whose truth is known. The fit sees the events alone.

use super::fragment::{fragment, overrides};
use super::*;
use crate::plan::{Accept, Model, ServiceTimes};
use crate::results::folder;
use crate::results::read::{Loaded, read};
use crate::results::record::Verdict;
use crate::scenario::{Overrides, Source, load};
use std::time::Duration;

/// 400 clients that come back together, and a hundred that do not.
const SCENARIO: &str = r#"
duration = "20s"
[target.command]
run     = "server {port}"
address = "ws://127.0.0.1:{port}/"
[model]
handshake_cost = "1us"
[clients.together]
count     = 400
arrive    = { over = "4s" }
reconnect = { fixed = { delay = "1700ms" } }
[clients.apart]
count     = 100
arrive    = { over = "4s" }
reconnect = { exponential = { base = "2s", factor = 2, cap = "8s", jitter = "full" } }
[[faults]]
at     = "6s"
inject = { server_crash = { down = "1s" } }
"#;

fn ms(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1e3)
}

/// Simulates the scenario with a model of which the fit knows nothing, and fits.
fn refit(change: impl FnOnce(&mut Model)) -> Fit {
    refit_with(&[], change)
}

/// As [`refit`], with changes to the scenario.
fn refit_with(set: &[&str], change: impl FnOnce(&mut Model)) -> Fit {
    fit(&measured(set, change)).unwrap()
}

/// The run that is fitted, as if it had been on real sockets.
fn measured(set: &[&str], change: impl FnOnce(&mut Model)) -> Loaded {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("fit.toml");
    std::fs::write(&file, SCENARIO).unwrap();
    let set = set.iter().map(|one| (*one).to_owned()).collect();
    let plan = load(&Source::File(file), &Overrides { set, ..Overrides::default() }).unwrap();
    let mut model = plan.simulated_as().unwrap();
    change(&mut model);
    let results = crate::sim::run(&plan, &model).unwrap().results;
    let manifest = crate::results::manifest::collect(vec!["closestorm".to_owned()], plan.seed);
    let run = dir.path().join("run");
    folder::write(&run, &results, &plan.resolved, &Verdict::default(), &manifest).unwrap();
    let mut loaded = read(&run).unwrap();
    assert_eq!(fit(&loaded), Err(NotFitted::Simulated));
    loaded.summary.simulated = false;
    loaded
}

fn value(fit: &Fit, key: &str) -> Option<String> {
    fit.parameters.iter().find(|one| one.key == key).map(|one| one.value.clone())
}

/// A duration of the fit in ms.
fn time(fit: &Fit, key: &str) -> f64 {
    let text = value(fit, key).unwrap_or_else(|| panic!("{key} in {fit:#?}"));
    crate::units::parse_duration(text.trim_matches('"')).unwrap().as_secs_f64() * 1e3
}

fn close(found: f64, truth: f64, share: f64) -> bool {
    (found / truth - 1.0).abs() <= share
}

#[test]
fn cost_round_trip_and_start_are_found() {
    let fit = refit(|model| {
        model.handshake_cost = ServiceTimes::Constant(ms(3.0));
        model.rtt = ServiceTimes::Constant(ms(0.4));
        model.start_up = ServiceTimes::Constant(ms(120.0));
        model.notice = ServiceTimes::Uniform(ms(1.0), ms(5.0));
    });
    assert!(close(time(&fit, "handshake_cost"), 3.0, 0.01), "{fit:#?}");
    assert_eq!(value(&fit, "parallel").as_deref(), Some("1"));
    assert!(close(time(&fit, "rtt"), 0.4, 0.05), "{fit:#?}");
    assert!(close(time(&fit, "start_up"), 120.0, 0.02), "{fit:#?}");
    // 500 connections between 1 and 5 ms, after half a round trip.
    assert!(close(time(&fit, "notice"), 1.2, 0.1) && close(time(&fit, "notice_each"), 4.0 / 500.0, 0.1), "{fit:#?}");
    assert!(value(&fit, "cold").is_none() && fit.residual_p90_us < 2_000, "{fit:#?}");
}

#[test]
fn places_are_told_from_a_faster_server() {
    for places in [1, 4, 8] {
        let fit = refit(|model| {
            model.handshake_cost = ServiceTimes::Constant(ms(3.0 * f64::from(places)));
            model.parallel = places;
            model.rtt = ServiceTimes::Constant(ms(0.2));
        });
        assert_eq!(value(&fit, "parallel"), Some(places.to_string()), "{fit:#?}");
        assert!(close(time(&fit, "handshake_cost"), 3.0 * f64::from(places), 0.03), "{fit:#?}");
    }
}

#[test]
fn costs_that_vary_are_quantiles_and_constant_ones_are_not() {
    let fit = refit(|model| model.handshake_cost = ServiceTimes::Exponential(ms(3.0)));
    let cost = value(&fit, "handshake_cost").unwrap();
    assert!(cost.contains("quantiles"), "{fit:#?}");
}

#[test]
fn a_full_listen_queue_shows_its_length() {
    let fit = refit(|model| {
        model.handshake_cost = ServiceTimes::Constant(ms(4.0));
        (model.accept, model.backlog) = (Accept::WhenFree, 127);
        model.rtt = ServiceTimes::Constant(ms(0.1));
    });
    assert_eq!(value(&fit, "accept").as_deref(), Some("\"when_free\""));
    let backlog: f64 = value(&fit, "backlog").unwrap().parse().unwrap();
    assert!((backlog - 127.0).abs() <= 3.0, "{fit:#?}");
}

#[test]
fn a_cold_start_is_found_beside_the_steady_cost() {
    let fit = refit(|model| {
        model.handshake_cost = ServiceTimes::Constant(ms(2.0));
        (model.cold, model.cold_half_life) = (3.0, ms(250.0));
        model.rtt = ServiceTimes::Constant(ms(0.1));
    });
    assert!(close(time(&fit, "handshake_cost"), 2.0, 0.08), "{fit:#?}");
    let cold: f64 = value(&fit, "cold").unwrap_or_else(|| panic!("{fit:#?}")).parse().unwrap();
    assert!((1.0..5.0).contains(&cold), "{fit:#?}");
    assert_eq!(loaded(&fit).cold, cold, "{fit:#?}");
}

#[test]
fn a_server_that_was_never_busy_is_said_to_be() {
    let fit = refit(|model| {
        model.handshake_cost = ServiceTimes::Constant(ms(1.0));
        model.parallel = 1000;
    });
    assert!(!fit.busy && fit.notes.iter().any(|note| note.contains("never busy")), "{fit:#?}");
}

#[test]
fn those_that_meet_by_chance_show_that_they_wait_for_each_other() {
    // A third busy at most: a row of twenty handshakes with always somebody waiting does not come about.
    let apart = ["clients.together.reconnect={exponential={base=\"2s\",factor=2,cap=\"8s\",jitter=\"full\"}}", "seed=11"];
    let fit = refit_with(&apart, |model| {
        model.handshake_cost = ServiceTimes::Constant(ms(1.2));
        // The answer takes its time, which nobody waits for.
        model.rtt = ServiceTimes::Constant(ms(0.2));
    });
    assert!(!fit.busy && fit.notes.iter().any(|note| note.contains("never busy for long")), "{fit:#?}");
    assert_eq!(value(&fit, "parallel").as_deref(), Some("1"), "{fit:#?}");
    assert!(close(time(&fit, "handshake_cost"), 1.2, 0.15), "{fit:#?}");
}

#[test]
fn a_lost_worker_is_named() {
    let mut run = measured(&[], |model| model.handshake_cost = ServiceTimes::Constant(ms(3.0)));
    run.summary.generator.lost.push("worker 2 of 3 was lost: killed by SIGKILL".to_owned());
    let fit = fit(&run).unwrap();
    assert!(fit.notes.iter().any(|note| note.starts_with("worker 2 of 3 was lost")), "{fit:#?}");
}

/// The model of a scenario that was given the fragment.
fn loaded(fit: &Fit) -> Model {
    let set = overrides(&fragment(fit)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("again.toml");
    std::fs::write(&file, SCENARIO).unwrap();
    load(&Source::File(file), &Overrides { set, ..Overrides::default() }).unwrap().simulated_as().unwrap()
}

#[test]
fn the_fragment_is_a_model_that_loads() {
    let fit = refit(|model| model.handshake_cost = ServiceTimes::Constant(ms(3.0)));
    let model = loaded(&fit);
    assert!(close(model.handshake_cost.mean().as_secs_f64() * 1e3, 3.0, 0.01), "{model:?}");
    assert!(matches!(model.client_lag, ServiceTimes::Quantiles(_)) && overrides("a = 1").is_err());
}

#[test]
fn the_clients_machine_shows_its_timers_and_what_an_attempt_takes_it() {
    let with = |tick: f64| {
        refit(|model| {
            model.handshake_cost = ServiceTimes::Constant(ms(1.0));
            (model.client_cost, model.notice_each) = (ms(0.05), ms(0.02));
            (model.client_lag, model.client_tick) = (ServiceTimes::Uniform(ms(0.1), ms(0.9)), ms(tick));
            model.rtt = ServiceTimes::Constant(ms(0.1));
        })
    };
    let fit = with(1.0);
    assert!(close(time(&fit, "client_tick"), 1.0, 0.001), "{fit:#?}");
    assert!(close(time(&fit, "client_cost"), 0.05, 0.15), "{fit:#?}");
    assert!(close(time(&fit, "notice_each"), 0.02, 0.1), "{fit:#?}");
    let model = loaded(&fit);
    assert!(close(model.client_lag.mean().as_secs_f64() * 1e3, 0.5, 0.25), "{model:?}");
    let free = with(0.0);
    assert!(value(&free, "client_tick").is_none() && value(&free, "client_cost").is_some(), "{free:#?}");
    // Nobody waits for a machine that takes no time.
    let idle = refit(|model| model.handshake_cost = ServiceTimes::Constant(ms(1.0)));
    assert!(value(&idle, "client_cost").is_none() && value(&idle, "client_tick").is_none(), "{idle:#?}");
}

#[test]
fn a_machine_that_does_something_else_for_a_while_is_no_cold_start() {
    // The server stands still for 300 ms in the middle of the wave.
    let pause = "faults=[{at=\"6s\",inject={server_crash={down=\"1s\"}}},{at=\"7900ms\",for=\"300ms\",inject={server_pause={}}}]";
    let fit = refit_with(&[pause], |model| {
        model.handshake_cost = ServiceTimes::Constant(ms(3.0));
        model.rtt = ServiceTimes::Constant(ms(0.1));
    });
    assert!(value(&fit, "cold").is_none(), "{fit:#?}");
    assert!(close(time(&fit, "handshake_cost"), 3.0, 0.04), "{fit:#?}");
}
