//! Tests: the simulator against closed forms, over several seeds, and against itself.

use super::{Simulated, run, seeds::run_seeds};
use crate::event::Event;
use crate::metrics::metric::TimeMetric;
use crate::plan::Plan;
use crate::random_plans::{self, World};
use crate::reconnect::{Preset, ScheduleKind, presets};
use crate::scenario::{Overrides, Source, load_with};
use std::time::Duration;

/// The bundled default with these changes, and without its faults unless they are set.
pub(super) fn plan(changes: &[&str]) -> Plan {
    let mut set = vec!["faults=[]".to_owned(), "expect=[]".to_owned(), "clients.web.traffic=none".to_owned()];
    set.extend(changes.iter().map(|change| (*change).to_owned()));
    let overrides = Overrides { set, ..Overrides::default() };
    load_with(&Source::Bundled("default".to_owned()), &overrides, &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
}

pub(super) fn simulate(plan: &Plan) -> Simulated {
    let simulated = run(plan, &plan.simulated_as().expect("embedded")).expect("simulated");
    simulated.results.check_ledger().expect("balanced");
    simulated
}

/// Mean and standard error of a figure over seeds.
fn over_seeds(plan: &Plan, runs: u32, figure: impl Fn(&Simulated) -> f64 + Sync) -> (f64, f64) {
    let model = plan.simulated_as().expect("embedded");
    let found = run_seeds(plan, &model, runs, 2, |_, simulated| figure(&simulated)).expect("simulated");
    let n = found.len() as f64;
    let mean = found.iter().sum::<f64>() / n;
    let variance = found.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// Mean time in the system, µs, of a queue with `c` servers of rate `mu` and arrivals of rate `lambda`: Erlang's C.
fn erlang_response(lambda: f64, mu: f64, c: u32) -> f64 {
    let load = lambda / mu;
    let mut term = 1.0;
    let mut sum = 0.0;
    for k in 0..c {
        sum += term;
        term *= load / f64::from(k + 1);
    }
    let last = term / (1.0 - load / f64::from(c));
    let waits = last / (sum + last);
    1e6 * (1.0 / mu + waits / (f64::from(c) * mu - lambda))
}

#[test]
fn waits_are_those_of_queueing_theory() {
    // Arrivals of 800/s for 10 s; the transient of an empty start lasts a tenth of a second.
    let arrive = ["clients.web.count=8000", "clients.web.arrive={poisson=\"800/s\"}", "duration=\"14s\""];
    let rows = [
        ("M/M/1", r#"model={handshake_cost={exponential="1ms"}}"#, erlang_response(800.0, 1000.0, 1)),
        ("M/M/3", r#"model={handshake_cost={exponential="3ms"},parallel=3}"#, erlang_response(800.0, 1000.0 / 3.0, 3)),
        // Pollaczek and Khinchin: s + ρ·s / (2·(1 - ρ)), s = 1 ms, ρ = 0.8.
        ("M/D/1", r#"model={handshake_cost="1ms"}"#, 1e3 + 0.8 * 1e3 / (2.0 * 0.2)),
        // As M/M/1: the order does not change the mean (it is one that does not look at lengths).
        ("M/M/1 LIFO", r#"model={handshake_cost={exponential="1ms"},queue="lifo"}"#, erlang_response(800.0, 1000.0, 1)),
    ];
    for (name, model, expected) in rows {
        let plan = plan(&[arrive[0], arrive[1], arrive[2], model]);
        let (mean, error) =
            over_seeds(&plan, 8, |simulated| simulated.results.latency(TimeMetric::OpeningHandshake).mean().unwrap_or(f64::NAN));
        // Four standard errors: a wrong model fails, a right one fails once in some thousand choices of the seeds, which are fixed.
        assert!((mean - expected).abs() < 4.0 * error, "{name}: {mean:.0} ± {error:.0} instead of {expected:.0} µs");
        assert!(error < 0.1 * expected, "{name}: too few samples to tell: ± {error:.0} µs");
    }
}

#[test]
fn a_synchronous_wave_drains_at_the_rate_of_the_server() {
    let crash = r#"faults=[{at="3s",inject={server_crash={down="1s"}}}]"#;
    let plan = plan(&[
        "clients.web.count=1000",
        "clients.web.arrive={over=\"2s\"}",
        "clients.web.reconnect={fixed={delay=\"2s\"}}",
        "target.embedded.handshake_cost=\"1ms\"",
        "duration=\"10s\"",
        crash,
    ]);
    let results = simulate(&plan).results;
    // All attempt at 5 s; number k is back k ms later: 2001 to 3000 ms after the crash.
    let mut times: Vec<_> = results.outages.kept().iter().filter_map(|outage| outage.time()).collect();
    times.sort_unstable();
    assert_eq!(times, (1..=1000).map(|k| 2_000_000 + k * 1000).collect::<Vec<_>>());
}

#[test]
fn first_waits_have_the_distribution_of_their_jitter() {
    let crash = r#"faults=[{at="4s",inject={server_crash={down="0s"}}}]"#;
    // Waits in s, after a crash that is over at once: uniform between these.
    for (jitter, least, most) in [("full", 0.0, 1.0), ("equal", 0.5, 1.0), ("decorrelated", 1.0, 3.0)] {
        let reconnect = format!(
            "clients.web.reconnect={{exponential={{base=\"1s\",factor={},cap=\"30s\",jitter=\"{jitter}\"}}}}",
            if jitter == "decorrelated" { 3 } else { 2 }
        );
        let plan = plan(&[
            "clients.web.count=2000",
            "clients.web.arrive={over=\"3s\"}",
            "target.embedded.handshake_cost=\"0s\"",
            &reconnect,
            crash,
        ]);
        let (mean, error) = over_seeds(&plan, 5, |simulated| {
            let mut times: Vec<_> = simulated.results.outages.kept().iter().filter_map(|outage| outage.time()).collect();
            times.sort_unstable();
            assert_eq!(times.len(), 2000, "{jitter}");
            // Kolmogorov's distance; waits are rounded up to a millisecond.
            let cdf = |us: u64| ((us as f64 / 1e6 - 0.0005 - least) / (most - least)).clamp(0.0, 1.0);
            let distance = times.iter().enumerate().map(|(k, us)| (cdf(*us) - k as f64 / 2000.0).abs()).fold(0.0, f64::max);
            // 1.95 / √n is exceeded once in a thousand samples; the rounding adds less than 0.002.
            assert!(distance < 1.95 / 2000.0_f64.sqrt() + 0.002, "{jitter}: {distance}");
            times.iter().sum::<u64>() as f64 / 2000.0 / 1e6
        });
        assert!((mean - (least + most) / 2.0).abs() < 0.001 + 4.0 * error, "{jitter}: {mean}");
    }
}

/// The waits of the only client, ms, when each draw is `u`: lost after an hour, its server down for the rest of the run.
fn waits(preset: &Preset, u: f64) -> Vec<u64> {
    let faults = r#"faults=[{at="1h",inject={server_crash={down="48h"}}}]"#;
    let mut plan = plan(&["clients.web.count=1", "clients.web.arrive={at_once=true}", "duration=\"24h\"", faults]);
    // Just long enough: a client that tries every few milliseconds would do so for hours.
    let vector: f64 = preset.facts.vec_ms.iter().sum();
    plan.duration = plan.faults[0].schedule.at + Duration::from_secs(2) + Duration::from_secs_f64(vector / 1000.0);
    plan.cohorts[0].reconnect = preset.policy.clone();
    plan.cohorts[0].heartbeat = None;
    let simulated = super::run_drawing(&plan, &plan.simulated_as().expect("embedded"), u).expect("simulated");
    let events = simulated.results.events.kept().iter();
    events
        .filter_map(|(_, _, event)| if let Event::Waiting { delay, .. } = event { Some(delay.as_millis() as u64) } else { None })
        .collect()
}

#[test]
fn every_preset_gives_its_vector_in_the_simulator() {
    let polls = |preset: &&Preset| matches!(preset.policy.kind, ScheduleKind::Poll(_));
    for preset in presets().filter(|preset| !polls(preset) && preset.facts.alias_of.is_none()) {
        let facts = &preset.facts;
        let u = if facts.vec_flip { 1.0 - 0.37 } else { 0.37 };
        let found = waits(preset, u);
        assert!(found.len() >= facts.vec_ms.len(), "{}: {found:?}", preset.id);
        for (found, expected) in found.iter().zip(&facts.vec_ms) {
            // Policies hand out whole milliseconds, rounded up; vectors are printed with few decimals.
            assert!((*found as f64 - expected) > -0.01 && (*found as f64 - expected) < 1.01, "{}: {found} is not {expected}", preset.id);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run_with_any_number_of_threads() {
    let crash = r#"faults=[{at="4s",inject={server_crash={down="1s"}}},{at="6s",every="500ms",side="client",select={percent="3%"},inject={blackhole={}},for="1s"}]"#;
    let plan = plan(&[
        "clients.web.count=300",
        "clients.web.traffic={echo={}}",
        "clients.web.heartbeat={every=\"400ms\",timeout=\"300ms\"}",
        "duration=\"12s\"",
        r#"model={rtt={lognormal={median="20ms",p99="90ms"}},loss="2%",handshake_cost={exponential="2ms"},clock_spread="1%",instances=3,balance="two_choices"}"#,
        crash,
    ]);
    let model = plan.simulated_as().expect("a model");
    let digest = |threads| {
        let text = |_, simulated: Simulated| {
            simulated.results.check_ledger().expect("balanced");
            format!("{:?}{}{}", simulated.results, simulated.events, simulated.entries)
        };
        run_seeds(&plan, &model, 3, threads, text).expect("simulated")
    };
    let (one, two) = (digest(1), digest(2));
    assert!(one == two && one == digest(1));
    assert!(one[0] != one[1], "seeds differ");
}

#[test]
fn several_seeds_end_when_nobody_wants_them_any_more() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let plan = plan(&["clients.web.count=20", "clients.web.arrive={over=\"1s\"}"]);
    let model = plan.simulated_as().expect("embedded");
    let asked = AtomicU32::new(0);
    let go_on = || asked.fetch_add(1, Ordering::Relaxed) < 3;
    let done = super::seeds::run_seeds_watched(&plan, &model, 50, 1, |index, _| index, &go_on).expect("simulated");
    assert_eq!(done, [0, 1, 2]);
}

#[test]
fn of_random_plans_the_books_balance_and_nothing_that_began_is_lost() {
    let (mut ran, mut wrong) = (0, Vec::new());
    for number in 0..random_plans::count(300) {
        let text = random_plans::scenario(number, World::Simulator);
        let Some(plan) = random_plans::plan(&text) else { continue };
        let model = plan.simulated_as().expect("embedded");
        let simulated = super::run(&plan, &model).expect("simulated");
        ran += 1;
        let broken = random_plans::broken(&plan, &simulated.results);
        wrong.extend(broken.into_iter().map(|words| format!("plan {number}: {words}")));
    }
    assert!(ran > 200, "{ran} plans");
    assert!(wrong.is_empty(), "{} of {ran} plans: {wrong:#?}", wrong.len());
}

/// As many faults and cohorts as a scenario may have, with more endings than fit a byte; each keeps its own.
#[test]
fn a_thousand_faults_and_a_thousand_cohorts_are_told_apart() {
    let cohorts = (0..1000).map(|n| {
        format!(
            "[clients.c{n}]\ncount = 1\narrive = {{ at_once = true }}\ntraffic = \"none\"\nreconnect = {{ fixed = {{ delay = \"1h\" }} }}\n"
        )
    });
    let faults = (0..1000).map(|n| {
        let to = ["side = \"client\"\n", ""][n % 2];
        format!("[[faults]]\nname = \"f{n}\"\nat = \"{}ms\"\n{to}select = {{ cohort = \"c{n}\" }}\ninject = {{ close_code = {{ code = {}, reason = \"r{n}\" }} }}\n", 1000 + n, 3000 + n)
    });
    let text = format!("duration = \"20s\"\n{}{}", cohorts.collect::<String>(), faults.collect::<String>());
    let plan = crate::scenario::load(&Source::Text { name: "many".to_owned(), text }, &Overrides::default()).unwrap();
    let results = simulate(&plan).results;
    let of = |n: u16| {
        results.endings.iter().filter(move |((_, key), _)| key.client_code == Some(3000 + n) && key.cohort == n && key.fault == Some(n))
    };
    for n in 0..1000 {
        assert_eq!(of(n).map(|(_, count)| count).sum::<u64>(), 1, "c{n} was closed by f{n}, with its code");
    }
    for (number, fault) in results.faults.iter().enumerate() {
        assert_eq!((fault.fired, fault.injected), (1, 1), "f{number}");
    }
}

/// A server that stands still 600 times while it works on one opening handshake takes that much longer.
#[test]
fn many_pauses_within_one_handshake_all_count() {
    let plan = plan(&[
        "clients.web.count=1",
        "clients.web.arrive={at_once=true}",
        "clients.web.deadlines={connect=\"10s\",handshake=\"10m\"}",
        "target.embedded.handshake_cost=\"60s\"",
        "duration=\"200s\"",
        r#"faults=[{at="100ms",every="200ms",inject={server_pause={}},for="100ms"}]"#,
    ]);
    let opened = simulate(&plan).results.latency(TimeMetric::OpeningHandshake).max().unwrap();
    assert!((119_000_000..121_000_000).contains(&opened), "{opened} µs");
}
