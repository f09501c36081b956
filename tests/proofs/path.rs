//! Faults of the path on both sides: what a raw peer measures in times and bytes.
//!
//! Each case runs on a simulated client (the observer is the server) and on an embedded server (the observer is the client). `OUT` in
//! an injection stands for the direction from the program to the observer, `IN` for the other one. What needs a whole run, or two
//! faults at once, is in `path_runs`.

use super::arms::{AT, Case, Clients, Served, case, clients, server};
use super::frame::{BINARY, PING, PONG, number};
use super::wire::{Act, Conn, End, Script, ms};
use closestorm::plan::Embedded;
use std::time::Duration;

/// How long the observer of a server looks; a run with clients takes as long or longer.
const UNTIL: Duration = ms(1400);
/// What the clock of a run and the age of a connection may differ by.
pub(super) const EARLY: Duration = ms(80);
/// What a busy machine may add.
pub(super) const SLACK: Duration = ms(250);

/// Who carries the fault.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Carrier {
    Client,
    Server,
}

impl Carrier {
    /// An injection with its directions filled in.
    fn inject(self, text: &str) -> &'static str {
        let (out, back) = if self == Carrier::Client { ("up", "down") } else { ("down", "up") };
        Box::leak(text.replace("OUT", out).replace("IN", back).into_boxed_str())
    }

    pub(super) fn case(self, text: &str, script: Script, saw: impl Fn(&Conn) -> bool + 'static) -> Case {
        case(self.inject(text), saw).script(script)
    }
}

/// What both sides left.
pub(super) struct Both {
    pub(super) clients: Clients,
    pub(super) server: Served,
}

pub(super) async fn both(cases: impl Fn(Carrier) -> Vec<Case>) -> Both {
    let (of_clients, of_server) = (cases(Carrier::Client), cases(Carrier::Server));
    let embedded = Embedded::default();
    let (clients, server) = tokio::join!(clients("", &of_clients), server(&embedded, UNTIL, &of_server));
    Both { clients, server }
}

impl Both {
    /// Nothing ended, on either side.
    fn assert_nothing_ended(&self) {
        assert_eq!(self.clients.run.endings(), [""; 0]);
        assert!(self.server.endings.is_empty(), "{:?}", self.server.endings);
    }

    /// Every ping was answered, in order, on either side, the neighbour included.
    fn assert_nothing_lost(&self, pings: usize) {
        for conn in self.clients.conns.iter().chain(&self.server.conns) {
            let numbers: Vec<_> = conn.of(PONG).iter().map(|frame| number(&frame.payload) as usize).collect();
            assert_eq!(numbers, (0..pings).collect::<Vec<_>>(), "pongs in order: {conn:?}");
        }
    }

    /// How each side tells of the connections that the fault ended, in this form: `ID by client …`.
    pub(super) fn assert_ended(&self, cases: usize, client: &str, server: &str) {
        let expected: Vec<_> = (1..=cases).map(|case| format!("c{case}: {}", client.replace("ID", &format!("f{case}")))).collect();
        assert_eq!(self.clients.run.endings(), expected);
        let expected: Vec<_> = (1..=cases).map(|case| (case, server.replace("ID", &format!("f{case}")))).collect();
        assert_eq!(self.server.endings.clone().into_iter().collect::<Vec<_>>(), expected);
    }
}

/// Time from each ping that was sent after `from` and answered to its pong.
fn round_trips(conn: &Conn, from: Duration) -> Vec<Duration> {
    let pings: Vec<_> = conn.sent.iter().filter(|(_, first)| *first == PING).map(|(at, _)| *at).collect();
    let answered = conn.of(PONG).into_iter().map(|pong| (pings[number(&pong.payload) as usize], pong.at));
    answered.filter(|(sent, _)| *sent >= from).map(|(sent, at)| at - sent).collect()
}

/// Median round trip after the injection.
fn median(conn: &Conn) -> Duration {
    let mut trips = round_trips(conn, AT + ms(50));
    trips.sort();
    trips.get(trips.len() / 2).copied().unwrap_or_default()
}

pub(super) fn between(value: Duration, least: Duration, most: Duration) -> bool {
    value >= least && value < most
}

/// Most bytes that came in any stretch of time of this length after the injection.
fn peak(conn: &Conn, window: Duration) -> usize {
    let late: Vec<_> = conn.arrivals.iter().filter(|(at, _)| *at > AT + ms(50)).collect();
    let sums = late.iter().map(|(from, _)| late.iter().filter(|(at, _)| between(*at, *from, *from + window)).map(|(_, count)| count).sum());
    sums.max().unwrap_or(0)
}

/// One ping every 20 ms while the fault acts, none before.
pub(super) fn pings_after() -> Script {
    (0..38).fold(Script::default(), |script, turn| script.and(ms(450 + turn * 20), Act::Ping))
}

#[tokio::test]
async fn latency_shifts_bytes_one_way_or_both() {
    let shifted = |least, most| move |conn: &Conn| between(median(conn), ms(least), ms(most));
    let spread = |conn: &Conn| {
        let trips = round_trips(conn, AT + ms(50));
        trips.iter().max() > trips.iter().min().map(|least| *least + ms(60)).as_ref()
    };
    let cases = |carrier: Carrier| {
        let pings = || Script::pings(ms(900));
        vec![
            carrier.case("latency = { latency = \"150ms\" }", pings(), shifted(300, 400)),
            carrier.case("latency = { latency = \"150ms\", dir = \"OUT\" }", pings(), shifted(150, 250)),
            carrier.case("latency = { latency = \"150ms\", dir = \"IN\" }", pings(), shifted(150, 250)),
            carrier.case("latency = { latency = \"100ms\", jitter = \"90ms\", dir = \"OUT\" }", pings(), spread),
            carrier.case("latency = { latency = \"80ms\", jitter = \"40ms\", dist = \"normal\" }", pings(), spread),
            carrier.case("latency = { latency = \"20ms\", jitter = \"20ms\", dist = \"pareto\" }", pings(), spread),
        ]
    };
    let proof = both(cases).await;
    proof.assert_nothing_lost(44);
    proof.assert_nothing_ended();
}

#[tokio::test]
async fn latency_in_one_direction_leaves_the_other_alone() {
    // The server closes by itself at 500 ms: its Close frame is late on the way out, and not if only the way in is.
    let closes = |least, most| move |conn: &Conn| conn.close().is_some_and(|close| between(close.at, ms(least), ms(most)));
    let cases = [
        case("latency = { latency = \"300ms\", dir = \"down\" }", closes(800, 1000)).server_closes(),
        case("latency = { latency = \"300ms\", dir = \"up\" }", |conn| conn.end.is_some_and(|(at, how)| how == End::Fin && at >= ms(800)))
            .server_closes(),
    ];
    let proof = server(&Embedded::default(), UNTIL, &cases).await;
    let close = proof.conns[2].close().expect("a Close frame").at;
    assert!(close < ms(700), "the way down is prompt: {close:?}");
    assert_eq!(
        proof.endings.into_values().collect::<Vec<_>>(),
        ["closer by server 1000>1000 fin clean told 1000", "closer by server 1000>1000 fin clean told 1000"]
    );
}

#[tokio::test]
async fn a_fin_is_as_late_as_bytes_and_behind_them() {
    // The observer's FIN after its last ping: both are late by both directions, and no pong is lost to the FIN.
    let cases = |carrier: Carrier| {
        let late = |least, most| move |conn: &Conn| conn.end.is_some_and(|(at, how)| how == End::Fin && between(at, ms(least), ms(most)));
        let leaves = || Script { keeps_writing: true, ..Script::pings(ms(600)) }.and(ms(601), Act::Fin);
        vec![
            carrier.case("latency = { latency = \"200ms\" }", leaves(), late(980, 1250)),
            carrier.case("latency = { latency = \"200ms\", dir = \"OUT\" }", leaves(), late(780, 1000)),
            carrier.case("latency = { latency = \"200ms\", dir = \"IN\" }", leaves(), late(780, 1000)),
        ]
    };
    let proof = both(cases).await;
    // What came in before the FIN is answered before it; on the way out everything arrives.
    for conns in [&proof.clients.conns, &proof.server.conns] {
        assert!(conns[1..].iter().all(|conn| conn.of(PONG).len() == 29), "{conns:?}");
    }
}

#[tokio::test]
async fn bandwidth_limits_bytes_over_time() {
    // 4 KiB at 10 KiB/s hold up the ping behind them by 400 ms.
    let bulk = || Script::default().and(ms(450), Act::Bulk(4096)).and(ms(460), Act::Ping);
    let held_up = |conn: &Conn| between(median(conn), ms(370), ms(370) + SLACK);
    // Pongs make 300 B/s at least, the way out takes 100.
    let slow = |conn: &Conn| {
        let came: usize = conn.arrivals.iter().filter(|(at, _)| *at > ms(450)).map(|(_, count)| count).sum();
        peak(conn, ms(200)) <= 45 && (60..=110).contains(&came)
    };
    let cases = |carrier: Carrier| {
        vec![
            carrier.case("bandwidth = { bytes_per_s = \"10KiB\", dir = \"IN\" }", bulk(), held_up),
            carrier.case("bandwidth = { bytes_per_s = \"100B\", dir = \"OUT\" }", pings_after(), slow),
        ]
    };
    both(cases).await.assert_nothing_ended();
}

#[tokio::test]
async fn slice_sends_small_pieces_with_gaps() {
    let ping = || (0..4).fold(Script::default(), |script, turn| script.and(ms(450 + turn * 170), Act::Ping));
    // A pong of 6 or 10 bytes comes in pieces of one to three.
    let pieces = |conn: &Conn| {
        let late: Vec<_> = conn.arrivals.iter().filter(|(at, _)| *at > AT).collect();
        let small = late.iter().filter(|(_, count)| *count <= 3).count();
        let gaps = late.windows(2).filter(|pair| pair[1].0 - pair[0].0 >= ms(15)).count();
        late.len() >= 9 && small * 10 >= late.len() * 7 && gaps * 10 >= late.len() * 6
    };
    // 300 bytes in pieces of ten take 300 ms.
    let bulk = || Script::default().and(ms(450), Act::Bulk(300)).and(ms(460), Act::Ping);
    let held_up = |conn: &Conn| between(median(conn), ms(250), ms(250) + SLACK);
    let cases = |carrier: Carrier| {
        vec![
            carrier.case("slice = { avg = \"2B\", variation = \"1B\", delay = \"25ms\", dir = \"OUT\" }", ping(), pieces),
            carrier.case("slice = { avg = \"10B\", variation = \"0B\", delay = \"10ms\", dir = \"IN\" }", bulk(), held_up),
        ]
    };
    let proof = both(cases).await;
    proof.assert_nothing_ended();
    assert!(proof.clients.conns[1].of(PONG).len() == 4 && proof.server.conns[1].of(PONG).len() == 4, "nothing is lost");
}

#[tokio::test]
async fn coalesce_lets_bytes_arrive_on_a_grid() {
    let grid = |conn: &Conn| {
        let late: Vec<_> = conn.arrivals.iter().map(|(at, _)| *at).filter(|at| between(*at, ms(450), ms(1150))).collect();
        let gaps: Vec<_> = late.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap > ms(30)).collect();
        gaps.len() >= 3 && gaps.iter().all(|gap| between(*gap, ms(90), ms(210)))
    };
    let cases = |carrier: Carrier| {
        vec![
            carrier.case("coalesce = { window = \"150ms\", dir = \"OUT\" }", pings_after(), grid),
            carrier.case("coalesce = { window = \"150ms\", dir = \"IN\" }", pings_after(), grid),
        ]
    };
    let proof = both(cases).await;
    proof.assert_nothing_lost(38);
    proof.assert_nothing_ended();
}

#[tokio::test]
async fn bursty_stall_makes_a_share_of_chunks_late() {
    let share = |least: f64, most: f64| {
        move |conn: &Conn| {
            let trips = round_trips(conn, AT + ms(50));
            let late = trips.iter().filter(|trip| **trip >= ms(58)).count() as f64 / trips.len() as f64;
            late >= least && late <= most
        }
    };
    let cases = |carrier: Carrier| {
        vec![
            carrier.case(
                "bursty_stall = { p_bad = \"50%\", p_good = \"50%\", stall = \"60ms\", dir = \"OUT\" }",
                pings_after(),
                share(0.2, 0.85),
            ),
            carrier.case(
                "bursty_stall = { p_bad = \"50%\", p_good = \"50%\", stall = \"60ms\", dir = \"IN\" }",
                pings_after(),
                share(0.2, 0.85),
            ),
            carrier.case(
                "bursty_stall = { p_bad = \"100%\", p_good = \"0%\", stall = \"60ms\", dir = \"OUT\" }",
                pings_after(),
                share(1.0, 1.0),
            ),
        ]
    };
    let proof = both(cases).await;
    proof.assert_nothing_lost(38);
    proof.assert_nothing_ended();
}

#[tokio::test]
async fn hold_release_delivers_everything_at_its_revert() {
    // Silence from the injection to the revert at 800 ms, then all that was held within a moment.
    let jam = |conn: &Conn| {
        let flood = conn.of(PONG).iter().filter(|pong| between(pong.at, ms(800) - EARLY, ms(920))).count();
        conn.of(PONG).iter().all(|pong| pong.at < AT + ms(20) || pong.at > ms(800) - EARLY) && flood >= 20
    };
    let cases = |carrier: Carrier| {
        ["hold_release = { dir = \"both\" }", "hold_release = { dir = \"OUT\" }", "hold_release = { dir = \"IN\" }"]
            .map(|text| carrier.case(text, Script::pings(ms(1000)), jam).hold(ms(500)))
            .into()
    };
    let proof = both(cases).await;
    proof.assert_nothing_lost(49);
    proof.assert_nothing_ended();
}

#[tokio::test]
async fn corrupt_byte_flips_single_bits() {
    // An embedded server echoes: of 20,000 bytes one in a hundred differs, by one bit.
    let flips = |conn: &Conn| {
        let echoes = conn.of(BINARY);
        let damaged: Vec<_> = echoes.iter().flat_map(|frame| &frame.payload).filter(|byte| **byte != b'.').collect();
        damaged.iter().all(|byte| (*byte ^ b'.').count_ones() == 1) && (120..300).contains(&damaged.len())
    };
    let bulk = || Script::default().and(ms(500), Act::Bulk(20_000));
    let damage = |dir| case(Carrier::Server.inject(dir), flips).script(bulk());
    let served = [damage("corrupt_byte = { per_mb = 10000, dir = \"OUT\" }"), damage("corrupt_byte = { per_mb = 10000, dir = \"IN\" }")];
    // A client's pongs come back as they were sent, or not at all.
    let wrong = |conn: &Conn| {
        !conn.rest.is_empty()
            || conn.frames.iter().any(|frame| frame.first != PONG || frame.payload.len() != 4)
            || conn.of(PONG).iter().any(|pong| number(&pong.payload) > 40)
    };
    // A client that gets text with damage answers as RFC 6455 has it.
    let noticed = |conn: &Conn| conn.close().is_some_and(|close| matches!(close.payload[..], [3, 234 | 239 | 241]));
    let clients_cases = [
        case("corrupt_byte = { per_mb = 50000, dir = \"up\" }", wrong).script(pings_after()),
        case("corrupt_byte = { per_mb = 50000, dir = \"down\" }", noticed).script(Script::default().texts(ms(1200))),
    ];
    let embedded = Embedded::default();
    let (served, of_clients) = tokio::join!(server(&embedded, UNTIL, &served), clients("", &clients_cases));
    assert!(served.endings.is_empty(), "nobody notices a wrong payload: {:?}", served.endings);
    let endings = of_clients.run.endings();
    assert!(endings.iter().any(|line| line.starts_with("c2: ")), "{endings:?}");
}
