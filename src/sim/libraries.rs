//! Tests: attempts of one client of a preset beside those of the real library, as seen at its sockets on 2026-11-26 (`measured` in
//! `reconnect/presets.toml`).

use super::tests::plan;
use crate::event::Event;
use crate::reconnect::Policy;

/// A measured gap has the attempt itself in it, and the lateness of timers.
const NEAR_MS: u64 = 30;

/// What the client meets.
#[derive(Clone, Copy, Debug)]
enum Scene {
    /// Its server is killed after an hour, and stays away.
    Lost,
    /// Nobody has ever listened.
    First,
    /// Each connection opens and is closed with 1013 at once, before anything is said on it.
    Shut,
}

/// Offsets of attempts in ms, with every draw pinned to `u`: from the first one, or with [`Scene::Lost`] from the loss.
fn attempts(name: &str, u: f64, scene: Scene, seconds: u64) -> Vec<u64> {
    let (faults, from) = match scene {
        Scene::Lost => (r#"{at="1h",inject={server_crash={down="48h"}}}"#, 3600),
        Scene::First => (r#"{at="0s",inject={connect_refuse={}}}"#, 0),
        Scene::Shut => (r#"{at="0s",inject={server_overload={accept_delay="0s",shed="100%",with="1013"}}}"#, 0),
    };
    let mut plan = plan(&[
        "clients.web.count=1",
        "clients.web.arrive={at_once=true}",
        // Nothing is ready that has not heard from its server.
        "clients.web.traffic={echo={}}",
        &format!("duration=\"{}s\"", from + seconds),
        &format!("faults=[{faults}]"),
    ]);
    plan.cohorts[0].reconnect = Policy::preset(name).expect("a preset");
    plan.cohorts[0].heartbeat = None;
    let simulated = super::run_drawing(&plan, &plan.simulated_as().expect("embedded"), u).expect("simulated");
    let at = |(at, _, event): &(u64, u64, Event)| matches!(event, Event::AttemptStarted { .. }).then_some(*at / 1000);
    simulated.results.events.kept().iter().filter_map(at).filter(|at| *at >= from * 1000).map(|at| at - from * 1000).collect()
}

/// Within 30 ms each, from one to the next.
fn compare(name: &str, u: f64, scene: Scene, measured: &[u64]) {
    let seconds = measured.iter().sum::<u64>() / 1000 + 1;
    let found = attempts(name, u, scene, seconds);
    let first = if matches!(scene, Scene::Lost) { found.first().copied() } else { None };
    let gaps: Vec<_> = first.into_iter().chain(found.windows(2).map(|pair| pair[1] - pair[0])).collect();
    let near = gaps.len() >= measured.len() && gaps.iter().zip(measured).all(|(ours, theirs)| ours.abs_diff(*theirs) <= NEAR_MS);
    assert!(near, "{name} {scene:?}: {gaps:?} instead of {measured:?}");
}

#[test]
fn a_lost_connection_is_followed_by_the_attempts_of_the_library() {
    compare("slack-socket-mode", 0.37, Scene::Lost, &[5000; 12]);
    compare("grpc", 0.5, Scene::Lost, &[2, 1006, 1602, 2562, 4097, 6556, 10_492]);
    compare("grpc", 0.37, Scene::Lost, &[6, 1001, 1518, 2302, 3490, 5296, 8030]);
    compare("actioncable", 0.37, Scene::First, &[8222, 7287, 8386, 9642, 11_088, 12_752]);
    assert_eq!(attempts("slack-socket-mode", 0.37, Scene::Lost, 61).len(), 12);
}

#[test]
fn a_first_connect_that_is_refused_is_followed_by_the_attempts_of_the_library() {
    compare("trpc-wslink", 0.37, Scene::First, &[2, 2005, 4002, 8008, 16_020]);
    compare("y-websocket-2", 0.37, Scene::First, &[211, 416, 812, 1606, 2515, 2512]);
    compare("y-websocket-3", 0.37, Scene::First, &[220, 413, 814, 1614, 2512]);
    compare("grpc", 0.5, Scene::First, &[996, 1604, 2561, 4098, 6556, 10_488]);
    compare("phoenix-1.7", 0.37, Scene::First, &[14, 55, 103, 177, 202, 254, 516, 1007, 2025, 5004]);
    compare("apollo-retrylink", 0.37, Scene::First, &[222, 450, 890, 1779]);
}

#[test]
fn a_connection_that_is_shut_at_once_is_followed_by_the_attempts_of_the_library() {
    compare("pusher-js-node", 0.37, Scene::Shut, &[1016; 40]);
    compare("nats", 0.37, Scene::Lost, &[0, 2037, 2039, 2037, 2039, 2040]);
    compare("y-websocket-2", 0.37, Scene::Shut, &[111; 20]);
    compare("y-websocket-3", 0.37, Scene::Shut, &[226, 402, 802, 1602, 2526]);
    compare("graphql-ws", 0.37, Scene::Shut, &[2304, 3304, 5307, 9309, 17_324]);
    assert_eq!(attempts("graphql-ws", 0.37, Scene::Shut, 60).len(), 6);
}
