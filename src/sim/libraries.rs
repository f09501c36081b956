//! Tests: attempts of one client of a preset beside those of the real library, as seen at its sockets on 2026-11-26 (`measured` in
//! `reconnect/presets.toml`).

use super::tests::plan;
use crate::event::Event;

/// A measured gap has the attempt itself in it, and the lateness of timers.
const NEAR_MS: u64 = 30;

/// What the client meets.
#[derive(Clone, Copy, Debug)]
enum Scene {
    /// Its server is killed after an hour, and stays away.
    Lost,
    /// Nobody has ever listened.
    First,
    /// TCP is accepted, and nothing is ever answered.
    Mute,
    /// So it is after an hour, when the connection is cut.
    LostToMute,
    /// Each connection opens and is closed with 1013 at once, before anything is said on it.
    Shut,
}

/// Offsets of attempts in ms, with every draw pinned to `u`: from the first one, or from the loss.
fn attempts(name: &str, u: f64, scene: Scene, seconds: u64) -> Vec<u64> {
    attempts_within(name, u, scene, seconds * 1000)
}

fn attempts_within(name: &str, u: f64, scene: Scene, ms: u64) -> Vec<u64> {
    let (faults, from) = match scene {
        Scene::Lost => (r#"{at="1h",inject={server_crash={down="48h"}}}"#, 3600),
        Scene::First => (r#"{at="0s",inject={connect_refuse={}}}"#, 0),
        Scene::Mute => (r#"{at="0s",inject={accept_stall={}}}"#, 0),
        Scene::LostToMute => (r#"{at="1h",inject={accept_stall={}}},{at="1h",inject={drop_fin={}}}"#, 3600),
        Scene::Shut => (r#"{at="0s",inject={server_overload={accept_delay="0s",shed="100%",with="1013"}}}"#, 0),
    };
    let mut plan = plan(&[
        "clients.web.count=1",
        "clients.web.arrive={at_once=true}",
        // Nothing is ready that has not heard from its server.
        "clients.web.traffic={echo={}}",
        &format!("clients.web.reconnect=\"{name}\""),
        &format!("duration=\"{}ms\"", from * 1000 + ms),
        &format!("faults=[{faults}]"),
    ]);
    plan.cohorts[0].heartbeat = None;
    let simulated = super::run_drawing(&plan, &plan.simulated_as().expect("embedded"), u).expect("simulated");
    let at = |(at, _, event): &(u64, u64, Event)| matches!(event, Event::AttemptStarted { .. }).then_some(*at / 1000);
    simulated.results.events.kept().iter().filter_map(at).filter(|at| *at >= from * 1000).map(|at| at - from * 1000).collect()
}

/// Within 30 ms each, from one to the next.
fn compare(name: &str, u: f64, scene: Scene, measured: &[u64]) {
    let found = attempts_within(name, u, scene, measured.iter().sum::<u64>() + 100);
    let first = if matches!(scene, Scene::Lost | Scene::LostToMute) { found.first().copied() } else { None };
    let gaps: Vec<_> = first.into_iter().chain(found.windows(2).map(|pair| pair[1] - pair[0])).collect();
    let near = gaps.len() >= measured.len() && gaps.iter().zip(measured).all(|(ours, theirs)| ours.abs_diff(*theirs) <= NEAR_MS);
    assert!(near, "{name} {scene:?}: {gaps:?} instead of {measured:?}");
}

#[test]
fn a_lost_connection_is_followed_by_the_attempts_of_the_library() {
    compare("slack-socket-mode", 0.37, Scene::Lost, &[5000; 12]);
    compare("nats", 0.37, Scene::Lost, &[0, 2037, 2039, 2037, 2039, 2040]);
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
    compare("socket.io-client", 0.37, Scene::First, &[1200, 2393, 4750, 5012, 5012, 5004]);
    compare("python-websockets", 0.37, Scene::First, &[1872, 3103, 5024, 8132, 13_152, 21_268]);
    compare("grpc", 0.5, Scene::First, &[996, 1604, 2561, 4098, 6556, 10_488]);
    compare("phoenix-1.7", 0.37, Scene::First, &[14, 55, 103, 177, 202, 254, 516, 1007, 2025, 5004]);
    compare("centrifuge-go", 0.37, Scene::First, &[274, 423, 719, 1311, 2494, 4866, 9604, 19_088, 20_018]);
    compare("apollo-retrylink", 0.37, Scene::First, &[222, 450, 890, 1779]);
}

#[test]
fn a_connection_that_is_shut_at_once_is_followed_by_the_attempts_of_the_library() {
    compare("pusher-js-node", 0.37, Scene::Shut, &[1016; 40]);
    compare("socket.io-client", 0.37, Scene::Shut, &[21_203, 22_392, 24_769]);
    compare("reconnecting-websocket", 0.37, Scene::Shut, &[2500, 3248, 4200, 5450, 7088, 9222]);
    compare("subscriptions-transport-ws", 0.37, Scene::Shut, &[118, 240, 481, 959, 1916, 3817, 7598, 10_019]);
    compare("phoenix-1.8", 0.37, Scene::Shut, &[16; 50]);
    compare("supabase-realtime", 0.37, Scene::Shut, &[1010; 20]);
    compare("python-websockets", 0.37, Scene::Shut, &[1; 50]);
    compare("robust-websocket", 0.37, Scene::Shut, &[4; 50]);
    compare("trpc-wslink", 0.37, Scene::Shut, &[4; 50]);
    compare("mqtt.js", 0.37, Scene::Shut, &[1010; 20]);
    compare("discord.js", 0.37, Scene::Shut, &[520; 20]);
    assert_eq!(attempts("signalr", 0.37, Scene::Shut, 60).len(), 1);
    compare("centrifuge-js", 0.37, Scene::Shut, &[700, 874, 1250, 1992, 3463, 6429, 7904]);
    compare("centrifuge-go", 0.37, Scene::Shut, &[5277, 5425, 5720, 6315, 7497, 9873]);
    compare("y-websocket-2", 0.37, Scene::Shut, &[111; 20]);
    compare("y-websocket-3", 0.37, Scene::Shut, &[226, 402, 802, 1602, 2526]);
    compare("graphql-ws", 0.37, Scene::Shut, &[2304, 3304, 5307, 9309, 17_324]);
    assert_eq!(attempts("graphql-ws", 0.37, Scene::Shut, 60).len(), 6);
}

#[test]
fn a_server_that_never_answers_is_left_as_the_library_does() {
    // The rest still waited when the run of the library ended.
    for (name, seconds) in [
        ("phoenix-1.8", 75),
        ("phoenix-1.7", 60),
        ("supabase-realtime", 75),
        ("actioncable", 100),
        ("signalr", 75),
        ("graphql-ws-retry-all", 75),
        ("robust-websocket", 75),
        ("trpc-wslink", 80),
        ("y-websocket-2", 60),
        ("y-websocket-3", 75),
        ("grpc", 90),
        ("slack-socket-mode", 300),
    ] {
        assert_eq!(attempts(name, 0.37, Scene::Mute, seconds), [0], "{name}");
    }
    compare("socket.io-client", 0.37, Scene::Mute, &[21_191, 22_393, 24_756]);
    compare("discord.js", 0.37, Scene::Mute, &[30_503, 30_503]);
    compare("mqtt.js", 0.37, Scene::Mute, &[31_000, 31_000]); // 31,031 on a busy machine
    // 20.0 s of an attempt, then the wait.
    compare("ably", 0.63, Scene::Mute, &[33_890, 38_520]);
    compare("python-websockets", 0.37, Scene::Mute, &[11_872, 13_116, 15_038]);
    compare("pusher-js-node", 0.37, Scene::Mute, &[15_003, 30_015, 60_021]);
    compare("centrifuge-js", 0.37, Scene::Mute, &[5685, 5878, 6246, 6990, 8468, 11_436, 12_920]);
    compare("centrifuge-go", 0.37, Scene::Mute, &[1278, 1423, 1719, 2312, 3494, 5864, 10_604]);
    // Without the work of closing a socket that connects (6536, 7228, 8200, 9456 ms on a busy machine).
    compare("reconnecting-websocket", 0.37, Scene::Mute, &[6480, 7224, 8192, 9449]);
    compare("nats", 0.37, Scene::LostToMute, &[0, 20_008, 20_019, 20_020]);
}
