//! Limits of connections on both sides: after which byte, frame or time the cut comes, as a raw peer sees it.

use super::arms::SOON;
use super::frame::PONG;
use super::path::{Both, Carrier, EARLY, SLACK, between, both, pings_after};
use super::wire::{Act, Conn, End, Script, ms};
use std::time::Duration;

/// TCP ended this way in this stretch of the connection's life.
fn ends(how: End, from: u64, to: u64) -> impl Fn(&Conn) -> bool {
    move |conn| conn.end.is_some_and(|(at, end)| end == how && between(at, ms(from) - EARLY, ms(to) + SLACK))
}

const CUT_CLIENT: &str = "ID by client ->- local told 1006";
const CUT_SERVER: &str = "ID by server ->- local told 1006";

#[tokio::test]
async fn limit_bytes_cuts_at_that_byte() {
    // A ping and its pong make 16 bytes: 300 are 18 of them, and then the ping (10 or 6 bytes) and the rest of a pong.
    let cases = |carrier: Carrier| {
        let rest = if carrier == Carrier::Client { 6 } else { 2 };
        let exact =
            move |conn: &Conn| conn.of(PONG).len() == 18 && conn.rest.len() == rest && conn.end.is_some_and(|(_, how)| how == End::Fin);
        vec![carrier.case("limit_bytes = { bytes = \"300B\" }", pings_after(), exact)]
    };
    both(cases).await.assert_ended(1, CUT_CLIENT, CUT_SERVER);
}

#[tokio::test]
async fn limit_frames_cuts_after_that_frame() {
    let exact = |how| move |conn: &Conn| conn.of(PONG).len() == 5 && conn.rest.is_empty() && conn.end.is_some_and(|(_, end)| end == how);
    let closes = |conn: &Conn| conn.of(PONG).len() == 5 && conn.close().is_some_and(|close| close.payload == [3, 243]);
    let cases = |carrier: Carrier| {
        vec![
            carrier.case("limit_frames = { frames = 10 }", pings_after(), exact(End::Fin)),
            carrier.case("limit_frames = { frames = 10, end = \"rst\" }", pings_after(), exact(End::Rst)),
            carrier.case("limit_frames = { frames = 10, end = \"close\", code = 1011 }", pings_after(), closes),
        ]
    };
    let proof = both(cases).await;
    let clean = |side| format!("f3 by {side} 1011>1011 fin clean told 1011");
    assert_eq!(proof.server.endings.get(&3), Some(&clean("server")));
    assert!(proof.clients.run.endings().contains(&format!("c3: {}", clean("client"))), "{:?}", proof.clients.run.endings());
}

#[tokio::test]
async fn limit_time_cuts_whatever_the_connection_does() {
    let closes =
        |conn: &Conn| conn.close().is_some_and(|close| close.payload == [15, 160] && between(close.at, ms(600) - EARLY, ms(600) + SLACK));
    let cases = |carrier: Carrier| {
        vec![
            carrier.case("limit_time = { time = \"300ms\" }", Script::pings(ms(1000)), ends(End::Fin, 600, 600)),
            carrier.case("limit_time = { time = \"300ms\", end = \"rst\" }", Script::pings(ms(1000)), ends(End::Rst, 600, 600)),
            carrier.case("limit_time = { time = \"300ms\", end = \"close\", code = 4000 }", Script::default(), closes),
        ]
    };
    let proof = both(cases).await;
    assert_eq!(proof.server.endings.get(&3), Some(&"f3 by server 4000>4000 fin clean told 4000".to_owned()));
}

#[tokio::test]
async fn idle_timeout_waits_for_silence() {
    let texts = || Script::pings(ms(1200)).and(ms(650), Act::Text);
    let silent = |conn: &Conn| conn.of(PONG).is_empty() && conn.end_before(SOON).is_none();
    let cases = |carrier: Carrier| {
        vec![
            // From the injection, from the last ping, from the last message although pings go on.
            carrier.case("idle_timeout = { idle = \"250ms\" }", Script::default(), ends(End::Fin, 550, 550)),
            carrier.case("idle_timeout = { idle = \"250ms\", end = \"rst\" }", Script::pings(ms(601)), ends(End::Rst, 850, 850)),
            carrier.case("idle_timeout = { idle = \"250ms\", count_pings = \"no\" }", Script::pings(ms(1200)), ends(End::Fin, 550, 550)),
            carrier.case("idle_timeout = { idle = \"400ms\", count_pings = \"no\" }", texts(), ends(End::Fin, 1050, 1050)),
            carrier.case("idle_timeout = { idle = \"250ms\", end = \"silent\" }", Script::pings(ms(1000)).only_after(ms(800)), silent),
        ]
    };
    let proof = both(cases).await;
    assert_eq!(proof.server.endings.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4], "a silent end is none: {:?}", proof.server.endings);
    assert_eq!(proof.clients.run.endings().len(), 4);
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn max_lifetime_counts_from_the_opening() {
    let cases = |carrier: Carrier| {
        let spread = "max_lifetime = { life = \"500ms\", jitter = \"500ms\", end = \"rst\" }";
        let mut cases = vec![carrier.case("max_lifetime = { life = \"600ms\" }", Script::pings(ms(1200)), ends(End::Fin, 600, 600))];
        cases.extend((0..6).map(|_| carrier.case(spread, Script::pings(ms(1300)), ends(End::Rst, 500, 1000))));
        cases
    };
    assert_spread(&both(cases).await, 2, ms(150));
}

/// The connections from this one on ended over so long a time.
fn assert_spread(proof: &Both, from: usize, least: Duration) {
    for conns in [&proof.clients.conns, &proof.server.conns] {
        let ends: Vec<_> = conns[from..].iter().filter_map(|conn| conn.end).map(|(at, _)| at).collect();
        let (first, last) = (ends.iter().min().expect("ends"), ends.iter().max().expect("ends"));
        assert!(*last - *first >= least, "{ends:?}");
    }
}

#[tokio::test]
async fn drain_cuts_in_a_wave_after_its_grace() {
    let cases = |carrier: Carrier| {
        let wave = "drain = { grace = \"200ms\", spread = \"500ms\" }";
        let mut cases = vec![carrier.case("drain = { grace = \"300ms\" }", Script::pings(ms(1200)), ends(End::Fin, 600, 600))];
        cases.extend((0..6).map(|_| carrier.case(wave, Script::pings(ms(1300)), ends(End::Fin, 500, 1000))));
        cases
    };
    assert_spread(&both(cases).await, 2, ms(150));
}

#[tokio::test]
async fn load_balancer_strikes_at_its_scaled_times() {
    let busy = || Script::pings(ms(1300));
    let mute = |conn: &Conn| conn.end_before(SOON).is_none() && conn.of(PONG).is_empty();
    let cases = |carrier: Carrier| {
        vec![
            // 30 s in all, 50 times faster, however busy; 60 s idle, 200 times faster, and a neighbour that is not idle.
            carrier.case("load_balancer = { preset = \"google-alb\", time_scale = 50 }", busy(), ends(End::Fin, 600, 600)),
            carrier.case("load_balancer = { preset = \"aws-alb\", time_scale = 200 }", Script::pings(ms(501)), ends(End::Fin, 780, 800)),
            carrier.case("load_balancer = { preset = \"aws-nlb\", time_scale = 1000, end = \"silent\" }", busy().only_after(ms(800)), mute),
        ]
    };
    let proof = both(cases).await;
    assert_eq!(proof.server.endings.len(), 2, "{:?}", proof.server.endings);
}
