//! A run told event by event, without any engine: what the recorder makes of it, in memory and on disk.

use super::latency::Latency;
use super::lateness::Feed;
use super::liveness::Watched;
use super::losses::FORGOTTEN;
use super::meta::{CohortMeta, FaultMeta, RunMeta};
use super::metric::TimeMetric;
use super::peak::{HERD, Tracked};
use super::timeline::Tally;
use super::watch::watches;
use super::*;
use crate::close::{Deadline, Ending, Initiator, TcpEnd};
use crate::event::{Closing, Sequenced};
use crate::event::{ConnectionNo, GiveUp, Outcome, Stage, Stages, UnderWay};
use crate::expect::{Expectation, Names, Stat};
use crate::fault::liveness::Finds;
use crate::fault::{Acts, Value, Values};
use crate::plan::Heartbeat;
use crate::results::record::Verdict;
use crate::results::{Evidence, Loaded};
use crate::secret::Secrets;
use crate::verdict::judge;
use std::time::Duration;

const MS: fn(u64) -> Duration = Duration::from_millis;

pub(crate) fn meta() -> RunMeta {
    let cohort = |name: &str, planned| CohortMeta {
        name: name.to_owned(),
        strategy: "fixed 1s".to_owned(),
        planned,
        echoes: true,
        awaits_ready: false,
        traffic: "none".to_owned(),
    };
    let told = |kind| (crate::fault::row(kind).expect("in the catalogue").told)(&Values([("code".to_owned(), Value::Whole(1001))].into()));
    let fault = |id: &str, kind, side, holds, process| FaultMeta {
        id: id.to_owned(),
        kind,
        side,
        holds,
        process,
        crashes: false,
        by_close: false,
        acts: if process { Acts::Process } else { Acts::AtOnce },
        pick: crate::plan::Pick::All,
        kills: true,
        told: told(kind),
    };
    RunMeta {
        secrets: Secrets::default(),
        name: "told".to_owned(),
        question: Some("Is everything counted?".to_owned()),
        hypothesis: None,
        answer: None,
        target: "embedded, 1 instance".to_owned(),
        real: None,
        seed: 7,
        duration: Duration::from_secs(20),
        intervals: super::intervals::CountIntervals::new(Duration::from_secs(20), &[]),
        cohorts: vec![cohort("web, old", 4), cohort("ios", 2)],
        faults: vec![
            fault("crash", "server_crash", "server", false, true),
            fault("freeze", "freeze", "client", true, false),
            fault("close", "close_code", "server", false, false),
        ],
        steps: Vec::new(),
        errors: Vec::new(),
        notices: vec!["a notice of the plan".to_owned()],
        watched: vec![Watched {
            fault: 1,
            cohort: 1,
            heartbeat: Some((Side::Server, Heartbeat { every: Duration::from_secs(5), timeout: Duration::from_secs(2) })),
            finds: Finds::Some { share: 1.0, earliest: Duration::from_secs(2), latest: Duration::from_secs(7) },
            reset: None,
        }],
        peaks: peaks(),
        tolerance_us: 20_000,
        codes: Vec::new(),
        feeds: vec![Feed::default()],
        watches: watches(&expectations()),
    }
}

pub(crate) fn ending(cause: Cause, code: u16) -> Ending {
    let wire = (code != 1006).then_some(code);
    Ending {
        cause,
        initiator: Initiator::Server,
        wire_received: wire,
        wire_sent: wire,
        tcp_end: if code == 1006 { TcpEnd::Rst } else { TcpEnd::Fin },
        tls_end: None,
        mid_frame: false,
        clean: code != 1006,
        code,
        reason: if code == 1006 { String::new() } else { "so long".to_owned() },
        bytes_after: 0,
    }
}

/// Of attempts that did not open.
const TIMES: Stages =
    Stages { tcp: Some(Duration::from_millis(1)), tls: Some(Duration::from_millis(3)), resumed: true, elapsed: Duration::from_millis(900) };

/// Tells one client's events.
struct Teller<'a>(&'a mut Recorder, ClientIndex);

impl Teller<'_> {
    fn tell(&mut self, at: u64, event: Event) -> &mut Self {
        self.0.on(MS(at), &event);
        self
    }

    fn attempt(&mut self, at: u64) -> &mut Self {
        let client = self.1;
        self.tell(at, Event::AttemptStarted { client, due: MS(at) })
    }

    fn fail(&mut self, at: u64, outcome: Outcome) -> &mut Self {
        let client = self.1;
        self.tell(at, Event::AttemptFailed { client, stage: Stage::Upgrade, outcome, times: TIMES, fault: None })
    }

    fn open(&mut self, at: u64, connection: u32) -> &mut Self {
        let (client, connection, tls) = (self.1, ConnectionNo(connection), Some(MS(3)));
        self.tell(at, Event::Opened { client, connection, instance: 0, tcp: MS(1), tls, resumed: connection.0 > 1, upgrade: MS(2) })
    }

    fn ready(&mut self, at: u64, connection: u32) -> &mut Self {
        let client = self.1;
        self.tell(at, Event::Ready { client, connection: ConnectionNo(connection) })
    }

    fn end(&mut self, at: u64, connection: u32, ending: Ending) -> &mut Self {
        let (client, connection, closing) =
            (self.1, ConnectionNo(connection), ending.clean.then_some(Closing { ack: Some(MS(1)), total: MS(4) }));
        self.tell(at, Event::Ended { client, connection, ending: Box::new(ending), closing })
    }

    fn inject(&mut self, at: u64, connection: u32, fault: u16) -> &mut Self {
        let client = self.1;
        self.tell(at, Event::Injected { fault, client, connection: ConnectionNo(connection) })
    }
}

fn client(recorder: &mut Recorder, index: u32) -> Teller<'_> {
    Teller(recorder, ClientIndex(index))
}

/// Six clients: a crash at 5 s, a graceful close, a stay, a give-up, refused, rejected, timed out and failed attempts.
fn told() -> Recorder {
    let mut recorder = Recorder::of(meta(), Shard::WHOLE, true, false);
    let r = &mut recorder;
    for index in 0..5 {
        r.on(MS(100), &Event::Arrived { client: ClientIndex(index), due: MS(100) });
        client(r, index).attempt(100).open(106, 1).ready(110, 1);
    }
    r.on(MS(5_000), &Event::Fired { fault: 0, firing: 0, selected: 3, eligible: None });
    r.on(MS(5_000), &Event::Target { instance: 0, what: "down", detail: "signal 9".to_owned() });
    r.on(MS(4_990), &Event::Sent { client: ClientIndex(0), due: MS(4_985), bytes: 10 });
    // 0: crashed; the evidence comes first. Refused once, back after 3 s.
    client(r, 0).inject(5_000, 1, 0).end(5_002, 1, ending(Cause::Remote, 1006));
    client(r, 0).attempt(6_000).fail(6_001, Outcome::Refused).attempt(8_000).open(8_010, 3).ready(8_025, 3);
    // 1: crashed; the evidence comes when it is back already.
    client(r, 1).end(5_004, 1, ending(Cause::Remote, 1006)).attempt(7_000).open(7_008, 2).ready(7_008, 2).inject(5_000, 1, 0);
    // 2: crashed, gives up after a rejected attempt.
    client(r, 2).inject(5_000, 1, 0).end(5_001, 1, ending(Cause::Remote, 1006)).attempt(6_000);
    client(r, 2).fail(6_500, Outcome::Rejected { status: 503, retry_after: Some(Duration::from_secs(5)), location: None });
    client(r, 2).tell(6_500, Event::GaveUp { client: ClientIndex(2), why: GiveUp::Retries });
    // 3: closed by the server on purpose, the server's account first; then timed out; away at the end, an attempt under way.
    let account = ending(Cause::Fault(2), 1012);
    let at_server = Event::ServerEnded { client: ClientIndex(3), connection: ConnectionNo(1), ending: Box::new(account) };
    client(r, 3).inject(9_000, 1, 2).tell(9_001, at_server).end(9_010, 1, ending(Cause::Remote, 1012));
    client(r, 3).attempt(10_000).fail(15_000, Outcome::TimedOut).attempt(19_900);
    // 4: leaves by itself and comes back; the server's account comes later.
    client(r, 4).end(4_000, 1, ending(Cause::Stay, 1000));
    let at_server =
        Event::ServerEnded { client: ClientIndex(4), connection: ConnectionNo(1), ending: Box::new(ending(Cause::Remote, 1000)) };
    client(r, 4).tell(4_001, at_server).attempt(4_500).open(4_510, 2).ready(4_510, 2);
    (0..2).for_each(|_| r.on(MS(4_510), &Event::Greeted { client: ClientIndex(4), bytes: 3 }));
    // 5: never gets in.
    client(r, 5).attempt(200).fail(300, Outcome::Failed { why: "garbage".to_owned() }).attempt(400).fail(500, Outcome::Abandoned);
    for at in 0..400 {
        let (client, due) = (ClientIndex(4), MS(10_000 + at));
        r.on(due, &Event::Sent { client, due, bytes: 10 });
        r.on(due + MS(2), &Event::Echoed { client, bytes: 100, due, sent: due, error: false });
    }
    // One whose connection ends first, and one that waits for its echo at the end.
    r.on(MS(19_990), &Event::Sent { client: ClientIndex(4), due: MS(19_985), bytes: 10 });
    r.on(MS(12_000), &Event::NotStarted { client: ClientIndex(2), due: MS(12_000) });
    r.on(MS(12_000), &Event::Received { client: ClientIndex(4), bytes: 3 });
    (0..3).for_each(|_| r.on(MS(13_000), &Event::Notice { text: "a limit was hit".to_owned() }));
    recorder
}

pub(crate) fn finished() -> Results {
    let mut recorder = told();
    let times = Stages { tcp: Some(MS(1)), tls: None, resumed: false, elapsed: MS(99) };
    recorder.on(MS(20_000), &Event::Cut { client: ClientIndex(3), what: UnderWay::Attempt { stage: Stage::Tls, times } });
    recorder.finish(Duration::from_secs(20), Status::Completed)
}

#[test]
fn the_ledger_of_a_told_run_balances() {
    let results = finished();
    results.check_ledger().unwrap();
    let total = results.total();
    let l = &total.ledger;
    let a = &l.attempts;
    assert_eq!((a.total, a.opened, a.refused, a.timed_out, a.rejected, a.failed, a.abandoned), (14, 8, 1, 1, 1, 1, 2));
    assert_eq!((l.closed, l.open_at_end, l.endings), (5, 3, 5));
    assert_eq!((total.started, total.ready, total.never_opened, total.lost, results.peak_open), (6, 5, 1, 1, 5));
    assert_eq!(total.greetings, 2);
    assert_eq!((total.affected, total.recovered, total.censored), (4, 2, 2));
    assert_eq!((total.due, total.sent, total.not_started, total.received), (403, 402, 1, 401));
    assert_eq!((total.answered, total.lost_messages, total.unanswered), (400, 1, 1));
    let not_started = |row: &crate::results::record::CountRow| row.outcome.as_deref() == Some("not_started");
    let seconds: Vec<_> =
        crate::results::tables::count_rows(&results).into_iter().filter(not_started).map(|row| (row.second, row.count)).collect();
    assert_eq!(seconds, [(12, 1)]);
    let (rtt, from_sent) = (results.survival(TimeMetric::Rtt), results.survival(TimeMetric::RttFromSent));
    assert_eq!((rtt.ended.count(), from_sent.ended.count()), (400, 400));
    let cut = |times: &Latency| times.steps().map(|(us, count)| (us / 1_000, count)).collect::<Vec<_>>();
    assert_eq!((cut(&rtt.censored), cut(&from_sent.censored)), (vec![(15, 1), (17, 1)], vec![(10, 1), (12, 1)]));
}

#[test]
fn an_event_that_is_missing_or_told_twice_is_found_by_the_ledger() {
    let mut missing = told();
    client(&mut missing, 0).attempt(18_000).attempt(18_500);
    let mut twice = told();
    client(&mut twice, 0).end(18_000, 3, ending(Cause::Remote, 1006)).end(18_001, 3, ending(Cause::Remote, 1006));
    for (recorder, row) in [(missing, "attempts"), (twice, "connections")] {
        let error = recorder.finish(Duration::from_secs(20), Status::Completed).check_ledger().unwrap_err();
        assert_eq!((error.row, error.scope.as_str()), (row, "cohort web, old"), "{error}");
    }
}

#[test]
fn outages_have_phases_that_add_up_and_belong_to_their_fault() {
    let results = finished();
    let rows = crate::results::tables::reconnect_rows(&results);
    for row in rows.iter().filter(|row| row.result == "recovered") {
        let sum = row.detect_us.unwrap() + row.backoff_us + row.attempt_us + row.first_reply_us.unwrap();
        assert_eq!(Some(sum), row.reconnect_us, "{row:?}");
    }
    let of = |client: u32| rows.iter().find(|row| row.client == client).unwrap();
    assert_eq!((of(0).detect_us, of(0).reconnect_us, of(0).attempts), (Some(2_000), Some(3_025_000), 2));
    assert_eq!((of(0).backoff_us, of(0).attempt_us, of(0).first_reply_us), (998_000 + 1_999_000, 1_000 + 10_000, Some(15_000)));
    assert_eq!((of(1).fault.as_deref(), of(1).detect_us, of(1).reconnect_us), (Some("crash"), Some(4_000), Some(2_008_000)));
    assert_eq!((of(2).result.as_str(), of(2).reconnect_us), ("gave_up", None));
    assert_eq!((of(3).result.as_str(), of(3).fault.as_deref(), of(3).detect_us), ("censored", Some("close"), Some(10_000)));
    // The attempt of an outage lasts until the reply that makes its client ready.
    assert_eq!((results.latency(TimeMetric::Attempt).min(), results.latency(TimeMetric::Attempt).max()), (Some(8_000), Some(26_000)));
    let times = results.survival(TimeMetric::ReconnectTime);
    assert_eq!((times.censored.count(), times.never.count()), (1, 1));
    assert_eq!(
        times.never.max().map(|us| us / 100_000),
        of(2).backoff_us.checked_add(of(2).attempt_us + of(2).detect_us.unwrap()).map(|us| us / 100_000)
    );
}

#[test]
fn a_stage_that_was_cut_is_longer_and_one_that_was_answered_otherwise_is_no_time() {
    let results = finished();
    // Eight opened; one timed out, one was abandoned, one is cut by the end; refused, rejected and failed ones say nothing.
    for (metric, ended, cut) in [
        (TimeMetric::TcpConnect, 11, vec![]),
        (TimeMetric::Tls, 10, vec![99]),
        // Of the first connection of each; later ones resume, and so did the attempts that were cut in the upgrade.
        (TimeMetric::TlsFull, 5, vec![99]),
        (TimeMetric::TlsResumed, 5, vec![]),
        (TimeMetric::OpeningHandshake, 8, vec![900, 900]),
    ] {
        let times = results.survival(metric);
        let censored: Vec<_> = times.censored.steps().flat_map(|(us, count)| (0..count).map(move |_| us / 1_000)).collect();
        assert_eq!((times.ended.count(), censored), (ended, cut), "{metric:?}");
    }
}

#[test]
fn a_closing_handshake_without_answer_or_end_is_longer() {
    let mut recorder = Recorder::of(meta(), Shard::WHOLE, true, false);
    let r = &mut recorder;
    let closings = [
        (Some(MS(2)), MS(5), TcpEnd::Fin, [(1, 0), (1, 0), (1, 0)]),
        (Some(MS(2)), MS(2_002), TcpEnd::Timeout, [(0, 1), (1, 0), (0, 1)]),
        (None, MS(10_000), TcpEnd::Timeout, [(0, 1), (0, 1), (0, 0)]),
        (None, MS(7), TcpEnd::Rst, [(0, 1), (0, 1), (0, 0)]),
    ];
    let mut expected = [(0, 0); 3];
    for (index, (ack, total, tcp_end, counts)) in (0..).zip(closings) {
        let ending = Box::new(Ending { tcp_end, ..ending(Cause::Remote, 1000) });
        let (of, connection) = (ClientIndex(index), ConnectionNo(1));
        client(r, index).attempt(100).open(106, 1).ready(110, 1);
        client(r, index).tell(12_000, Event::Ended { client: of, connection, ending, closing: Some(Closing { ack, total }) });
        expected.iter_mut().zip(counts).for_each(|(sum, (ended, cut))| (sum.0, sum.1) = (sum.0 + ended, sum.1 + cut));
    }
    // And one that the end of the run cuts, behind its answer.
    client(r, 4).attempt(100).open(106, 1).ready(110, 1);
    let what = UnderWay::Closing { ack: Some(MS(1)), elapsed: MS(400) };
    client(r, 4).tell(20_000, Event::Cut { client: ClientIndex(4), what });
    let results = recorder.finish(Duration::from_secs(20), Status::Completed);
    for (metric, (ended, cut)) in [TimeMetric::ClosingHandshake, TimeMetric::CloseAck, TimeMetric::FinWait].into_iter().zip(expected) {
        let times = results.survival(metric);
        let (more_ended, more_cut) = if metric == TimeMetric::CloseAck { (1, 0) } else { (0, 1) };
        assert_eq!((times.ended.count(), times.censored.count()), (ended + more_ended, cut + more_cut), "{metric:?}");
    }
}

#[test]
fn who_has_not_noticed_by_the_end_is_still_detecting() {
    let mut recorder = Recorder::of(meta(), Shard::WHOLE, true, false);
    let r = &mut recorder;
    for index in 0..4 {
        client(r, index).attempt(100).open(106, 1).ready(110, 1);
    }
    // Frozen by a firing that is over, by one that is not, and by that one but noticed; closed by a fault a moment before the end.
    r.on(MS(1_000), &Event::Fired { fault: 1, firing: 0, selected: 1, eligible: None });
    client(r, 0).inject(1_000, 1, 1);
    r.on(MS(3_000), &Event::Fired { fault: 1, firing: 1, selected: 2, eligible: None });
    client(r, 1).inject(3_000, 1, 1);
    client(r, 2).inject(3_000, 1, 1).end(9_000, 1, ending(Cause::Remote, 1006));
    r.on(MS(6_000), &Event::Reverted { fault: 1, firing: 0 });
    client(r, 3).inject(19_999, 1, 2);
    let results = recorder.finish(Duration::from_secs(20), Status::Completed);
    let detect = results.survival(TimeMetric::Detect);
    let seconds = |times: &Latency| times.steps().map(|(us, count)| (us / 1_000, count)).collect::<Vec<_>>();
    assert_eq!((seconds(&detect.ended), seconds(&detect.censored)), (vec![(6_000, 1)], vec![(1, 1), (17_000, 1)]));
}

#[test]
fn an_attempt_that_two_faults_hit_is_one_hit_of_each() {
    let mut recorder = Recorder::of(meta(), Shard::WHOLE, true, false);
    let r = &mut recorder;
    client(r, 0).attempt(100).inject(101, 1, 1).inject(102, 1, 2);
    let (outcome, times) = (Outcome::TimedOut, crate::event::Stages::default());
    r.on(MS(200), &Event::AttemptFailed { client: ClientIndex(0), stage: crate::event::Stage::Upgrade, outcome, times, fault: Some(1) });
    let hits: Vec<_> = recorder.finish(Duration::from_secs(1), Status::Completed).faults.iter().map(|book| book.injected).collect();
    assert_eq!(hits, [0, 1, 1]);
}

#[test]
fn endings_know_what_both_sides_know() {
    let rows = crate::results::tables::ending_rows(&finished());
    let seen: Vec<_> = rows.iter().map(|row| (row.cause.as_str(), row.client_code, row.server_code, row.count)).collect();
    assert_eq!(seen, [("crash", Some(1006), None, 3), ("close", Some(1012), Some(1012), 1), ("stay", Some(1000), Some(1000), 1)]);
    assert_eq!(rows[1].fault.as_deref(), Some("close"));
}

#[test]
fn a_process_fault_speaks_for_the_server_until_it_is_reverted() {
    for (reverted, cause) in [(false, Cause::Fault(3)), (true, Cause::Remote)] {
        let mut meta = meta();
        let told = crate::fault::expected_codes::Told { own: None, peer: None };
        meta.faults.push(FaultMeta {
            id: "pause".to_owned(),
            kind: "server_pause",
            side: "server",
            holds: true,
            process: true,
            crashes: false,
            by_close: false,
            acts: Acts::Process,
            pick: crate::plan::Pick::All,
            kills: true,
            told,
        });
        let mut recorder = Recorder::of(meta, Shard::WHOLE, true, false);
        client(&mut recorder, 0).attempt(0).open(1, 1).ready(1, 1);
        recorder.on(MS(10), &Event::Fired { fault: 3, firing: 0, selected: 1, eligible: None });
        client(&mut recorder, 0).inject(10, 1, 3);
        if reverted {
            recorder.on(MS(20), &Event::Reverted { fault: 3, firing: 0 });
        }
        client(&mut recorder, 0).end(30, 1, ending(Cause::Remote, 1006));
        let results = recorder.finish(MS(100), Status::Aborted);
        assert_eq!(results.endings.keys().next().unwrap().1.cause, cause, "{reverted}");
    }
}

#[test]
fn what_only_the_server_saw_is_a_notice_and_so_are_unknown_clients() {
    let mut recorder = told();
    let account = Box::new(ending(Cause::Deadline(Deadline::Pong), 1006));
    recorder.on(MS(19_000), &Event::ServerEnded { client: ClientIndex(0), connection: ConnectionNo(3), ending: account });
    // The attempt timed out at 15 s; the server answered it afterwards, and found nobody there.
    let account = Box::new(ending(Cause::Remote, 1006));
    recorder.on(MS(19_000), &Event::ServerEnded { client: ClientIndex(3), connection: ConnectionNo(2), ending: account });
    recorder.on(MS(19_000), &Event::Left { client: ClientIndex(99) });
    let results = recorder.finish(Duration::from_secs(20), Status::Completed);
    results.check_ledger().unwrap();
    let count = |words| results.notices.iter().filter(|(text, _)| text.contains(words)).map(|(_, count)| *count).sum::<u64>();
    assert_eq!((count("ended on the server"), count("had given up"), count("not in the plan")), (1, 1, 1));
}

#[test]
fn clients_beyond_the_plan_are_admitted_up_to_a_limit_and_one_more_is_no_pass() {
    let planned = meta().cohorts.iter().map(|cohort| cohort.planned as u32).sum::<u32>();
    for (limit, rows, reasons) in [(0, planned, 0), (planned + 2, planned + 2, 1), (planned + 3, planned + 3, 0)] {
        let mut recorder = Recorder::of(meta(), Shard::WHOLE, false, false).open_to(limit);
        assert_eq!(recorder.rows(), 0);
        for index in 0..planned + 3 {
            client(&mut recorder, index).attempt(100).open(106, 1).ready(106, 1);
        }
        assert_eq!(recorder.rows() as u32, rows, "limit {limit}");
        let results = recorder.finish(Duration::from_secs(20), Status::Completed);
        results.check_ledger().unwrap();
        assert_eq!(results.books.iter().map(|book| book.started).sum::<u64>(), u64::from(rows));
        assert_eq!(results.unreliable.len(), reasons, "{:?}", results.unreliable);
        assert_eq!(results.notices.keys().any(|notice| notice.contains("not in the plan")), limit == 0);
    }
}

#[test]
fn live_numbers_follow_the_events() {
    let state = told().snapshot();
    assert_eq!((state.open, state.disconnected, state.ledger.attempts.total, state.ledger.closed, state.lost), (3, 2, 14, 5, 1));
    assert_eq!((state.ledger.attempts.opened, state.failed(), state.recovered, state.sent, state.received), (8, 5, 2, 402, 401));
    assert_eq!((state.ready, state.closes), (3, BTreeMap::from([(1000, 1), (1006, 3), (1012, 1)])));
}

#[test]
fn the_same_events_give_the_same_bytes() {
    let (one, two) = (finished(), finished());
    assert_eq!(crate::results::tables::event_rows(&one), crate::results::tables::event_rows(&two));
    assert_eq!(crate::results::tables::count_rows(&one), crate::results::tables::count_rows(&two));
}

#[test]
fn what_is_not_observed_of_a_loss_is_not_zero_and_a_program_that_stops_is_gone_with_its_close() {
    let mut meta = RunMeta { duration: Duration::from_secs(20), ..meta() };
    (meta.faults[0].by_close, meta.peaks) = (true, Vec::new());
    let mut recorder = Recorder::of(meta, Shard::WHOLE, false, false);
    let r = &mut recorder;
    (0..4).for_each(|index| _ = client(r, index).attempt(100).open(106, 1).ready(106, 1));
    // Closed by nobody knows what; with a Close frame three seconds after the stop signal; without one; before the signal was known.
    client(r, 0).end(4_000, 1, ending(Cause::Remote, 1000));
    client(r, 1).inject(5_000, 1, 0).end(8_004, 1, ending(Cause::Remote, 1001));
    client(r, 2).inject(5_000, 1, 0).end(9_000, 1, ending(Cause::Remote, 1006));
    client(r, 3).end(5_010, 1, ending(Cause::Remote, 1001)).inject(5_000, 1, 0);
    (0..4).for_each(|index| _ = client(r, index).attempt(9_500).open(10_000, 2).ready(10_000, 2));
    let results = recorder.finish(Duration::from_secs(20), Status::Completed);
    let rows = crate::results::tables::reconnect_rows(&results);
    let of = |client: u32| rows.iter().find(|row| row.client == client).map(|row| (row.detect_us, row.reconnect_us, row.fault.clone()));
    let crash = Some("crash".to_owned());
    assert_eq!(of(0), Some((None, Some(6_000_000), None)));
    assert_eq!(of(1), Some((Some(4_000), Some(2_000_000), crash.clone())));
    assert_eq!(of(2), Some((None, Some(1_000_000), crash.clone())));
    assert_eq!(of(3), Some((None, Some(4_990_000), crash)));
    assert_eq!((results.latency(TimeMetric::Detect).count(), results.latency(TimeMetric::ReconnectTime).count()), (1, 4));
}

#[test]
fn two_halves_add_up_to_twice_the_run() {
    let (mut sum, one) = (finished(), finished());
    sum.add(&one);
    sum.check_ledger().unwrap();
    assert_eq!(sum.total().ledger.attempts.total, 28);
    assert_eq!(sum.latency(TimeMetric::Rtt).count(), 800);
    assert_eq!(sum.peaks.attempts(None), 2 * one.peaks.attempts(None));
    assert_eq!(sum.outages.seen(), 8);
    assert_eq!(sum.peak_open, 10);
}

/// What [`expectations`] has peaks of.
fn peaks() -> Vec<Tracked> {
    let (cohorts, faults) = (["web, old", "ios"], ["crash", "freeze", "close"]);
    let peaks = expectations().into_iter().filter(|expectation| expectation.stat == Stat::Peak && expectation.counted() != HERD);
    peaks.map(|expectation| Tracked::new(&expectation, (&cohorts, &faults), (&[], &[]))).collect()
}

#[test]
fn peaks_count_what_their_expectation_counts() {
    let results = finished();
    let counted = results.peaks.each_counted();
    let evidence = Evidence::of(&results);
    for expectation in expectations().iter().filter(|expectation| expectation.stat == Stat::Peak) {
        let (_, bins) = counted.iter().find(|(text, _)| *text == expectation.counted()).expect("tracked");
        let count = Expectation { stat: Stat::Count, ..expectation.clone() };
        let row = judge(&evidence, &[count]).expectations.remove(0);
        assert_eq!(bins.list().iter().map(|bin| f64::from(bin.count)).sum::<f64>(), row.observed.unwrap(), "{}", expectation.text);
        assert!(row.observed.unwrap() > 0.0, "{}", expectation.text);
    }
}

pub(crate) fn expectations() -> Vec<Expectation> {
    let (cohorts, faults) = (["web, old".to_owned(), "ios".to_owned()], ["crash".to_owned(), "freeze".to_owned(), "close".to_owned()]);
    [
        "reconnect_time{fault=crash} p50 < 4s",
        "reconnect_time{cohort=ios} p99 < 10s",
        "detect max <= 11ms",
        "clients_lost count == 1",
        "closes{reported=1006} share > 50%",
        "closes{side=server,reported=1012} count == 1",
        "attempts peak < 100/s",
        "attempts{cohort=ios,outcome=opened} peak < 100/s",
        "attempts{status=503} peak <= 1/s",
        "attempts{status=503} count == 1",
        "clients_lost{fault=crash} peak <= 1/s",
        "closes{fault=crash,reported=1006} peak == 3/s",
        "closes{side=server} peak <= 1/s",
        "messages{outcome=sent,from=1s,to=19s} peak < 1000/s",
        "bytes{dir=received} peak < 1MiB/s",
        "bytes{dir=sent} count > 1kB",
        "attempts{outcome=abandoned} count == 2",
        "messages{outcome=lost} count == 1",
        "rtt p99 < 3ms",
        "rtt{from=10s,to=11s} p99 < 3ms",
        "reconnect_time{to=6s} min < 4s",
        "opening_handshake{from=19s} max < 4s",
        "opening_handshake{fault=crash} max < 1s",
        "closing_handshake mean < 1s",
    ]
    .map(|text| Expectation::parse(text, Names { cohorts: &cohorts, faults: &faults, ..Names::default() }).unwrap())
    .into()
}

#[test]
fn a_run_folder_tells_the_same_verdict_as_the_books() {
    let (results, expectations) = (finished(), expectations());
    let verdict = judge(&Evidence::of(&results), &expectations);
    let failed: Vec<_> = verdict.expectations.iter().filter(|row| row.result == "fail").collect();
    assert!(failed.is_empty(), "{failed:?}");
    let loaded = write_and_read(&results, &verdict);
    assert_eq!(judge(&Evidence::read(&loaded).unwrap(), &expectations), verdict);
    assert_eq!(loaded.summary.verdict, verdict);
    assert_eq!(loaded.timeline, crate::results::tables::timeline_rows(&results));
    assert_eq!(loaded.timeline.len(), 2 * 200);
    assert_eq!(loaded.closes, loaded.summary.endings);
    assert_eq!(loaded.counts, Some(crate::results::tables::count_rows(&results)));
    assert_eq!(loaded.reconnects, crate::results::tables::reconnect_rows(&results));
    assert_eq!(loaded.events, crate::results::tables::event_rows(&results));
    assert_eq!(loaded.scenario, "duration = \"20s\"\n");
}

#[test]
fn a_folder_without_its_counts_is_no_evidence() {
    let mut loaded = write_and_read(&finished(), &Verdict::default());
    loaded.counts = None;
    let error = Evidence::read(&loaded).unwrap_err();
    assert!(error.to_string().contains("counts.csv"), "{error}");
}

#[test]
fn a_folder_of_version_1_is_read_with_a_notice_and_one_of_version_2_needs_its_limits() {
    let mut loaded = write_and_read(&finished(), &Verdict::default());
    loaded.limits = None;
    let error = Evidence::read(&loaded).unwrap_err();
    assert!(error.to_string().contains("limits.csv"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("summary.json");
    for (version, read) in [(0, false), (1, true), (2, true), (3, false)] {
        let mut value = serde_json::to_value(&loaded.summary).unwrap();
        value["schema_version"] = version.into();
        std::fs::write(&place, value.to_string()).unwrap();
        let again = crate::results::read(dir.path());
        assert_eq!(again.is_ok(), read, "{version}");
        let notices = again.map_or_else(|_| Vec::new(), |again| again.summary.notices);
        assert_eq!(notices.iter().any(|notice| notice.contains("schema version 1")), version == 1, "{version}");
    }
    loaded.summary.schema_version = 1;
    assert!(Evidence::read(&loaded).unwrap().first_version);
}

#[test]
fn a_file_that_cannot_be_written_is_one_clear_error_and_the_summary_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let folder = crate::results::Folder::create(&dir.path().join("run")).unwrap();
    std::fs::create_dir(folder.path().join("timeline.csv")).unwrap();
    let manifest = crate::results::manifest::collect(Vec::new(), crate::seed::Seed(7));
    let error = folder.write(&finished(), None, "", &Verdict::default(), &manifest).unwrap_err();
    assert!(error.to_string().contains("timeline.csv (summary.json beside it is complete)"), "{error}");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("it is a folder"), "{error:?}");
    std::fs::remove_dir(folder.path().join("timeline.csv")).unwrap();
    assert_eq!(crate::results::read(folder.path()).unwrap().summary.scenario, "told");
}

/// Files with their contents, by name; temporary ones are told, too.
fn files_in(dir: &std::path::Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn wherever_the_disk_fails_files_are_whole_or_not_there_and_an_earlier_run_is_kept() {
    use crate::output::disk::{Failure, fail};
    use crate::results::{Folder, FolderError};
    let (results, place) = (finished(), tempfile::tempdir().unwrap());
    let manifest = crate::results::manifest::collect(vec!["closestorm".to_owned(), "run".to_owned()], crate::seed::Seed(7));
    let write = |folder: &Folder| folder.write(&results, None, "duration = \"20s\"\n", &Verdict::default(), &manifest);
    let whole = Folder::create(&place.path().join("whole")).unwrap();
    write(&whole).unwrap();
    let whole = files_in(&whole.finish().unwrap());
    let mut failures = 0;
    let ways = [(false, false, false), (true, false, false), (false, true, false), (false, false, true), (true, true, true)];
    for (half, replaces, once) in ways {
        for number in 0.. {
            let dir = place.path().join(format!("{half}-{replaces}-{once}-{number}"));
            let run = dir.join("run");
            if replaces {
                let earlier = Folder::create(&run).unwrap();
                write(&earlier).unwrap();
                earlier.finish().unwrap();
            }
            let folder = Folder::open(Some(&run), replaces, || unreachable!("it has a name")).unwrap();
            let partial = folder.path().to_owned();
            fail(Some(Failure { at: number, half, once }));
            let ended = write(&folder).and_then(|_| folder.finish());
            fail(None);
            let Err(error) = ended else {
                assert_eq!(files_in(&run), whole, "it never failed");
                break;
            };
            failures += 1;
            let (left, mut places) = (files_in(&partial), vec![run.clone()]);
            for (name, contents) in &left {
                assert_eq!(whole.get(name), Some(contents), "operation {number}, {name} of {partial:?}");
            }
            let FolderError::Write { path, summary, source } = &error else { panic!("{error:?}") };
            assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
            if path.starts_with(&partial) {
                assert!(!left.contains_key(path.file_name().unwrap().to_str().unwrap()), "{path:?} is said to be missing");
                assert_eq!(*summary, left.contains_key("summary.json"), "{error}");
            }
            // A run that could not take the name of another one has not cost it.
            places.extend(
                std::fs::read_dir(&dir)
                    .unwrap()
                    .map(|entry| entry.unwrap().path())
                    .filter(|path| path.extension().is_some_and(|end| end == "old")),
            );
            let kept = places.iter().filter(|place| files_in(place) == whole).count();
            assert_eq!(kept, usize::from(replaces), "operation {number}");
        }
    }
    assert!(failures > 100, "{failures} operations failed");
}

fn write_and_read(results: &Results, verdict: &Verdict) -> Loaded {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let manifest = crate::results::manifest::collect(vec!["closestorm".to_owned(), "run".to_owned()], crate::seed::Seed(7));
    crate::results::write(&run, results, "duration = \"20s\"\n", verdict, &manifest).unwrap();
    let table = std::fs::read_to_string(run.join("latency.hgrm")).unwrap();
    assert!(table.contains("#[Metric  = rtt"), "{table}");
    crate::results::read(&run).unwrap()
}

#[test]
fn the_interval_log_is_read_back_with_every_sample() {
    let results = finished();
    let mut bytes = Vec::new();
    crate::results::hlog::write_log(&mut bytes, &results, 1_700_000_000.5).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.contains("#[StartTime: 1700000000.500 (seconds since epoch)]"), "{text}");
    assert!(text.contains("Tag=reconnect_time;cohort=web%2c%20old;fault=crash,"), "{text}");
    let mut read = crate::results::hlog::read_log(&bytes).unwrap();
    crate::results::exact::attach(&mut read, &crate::results::exact::rows(&results));
    let mut written = crate::results::hlog::distributions(&results);
    written.sort_by_key(|row| format!("{};{};{:?}", row.metric, row.cohort, row.fault));
    assert!(read.iter().any(|row| row.around.iter().any(|around| around.below > 0)));
    let mut read_sorted = read.clone();
    read_sorted.sort_by_key(|row| format!("{};{};{:?}", row.metric, row.cohort, row.fault));
    assert_eq!(written.len(), read.len());
    for (written, read) in written.iter().zip(&read_sorted) {
        assert_eq!((&written.metric, &written.cohort, &written.fault), (&read.metric, &read.cohort, &read.fault));
        assert_eq!((written.latency.exact(), &written.around), (read.latency.exact(), &read.around));
        assert_eq!(written.latency.steps().collect::<Vec<_>>(), read.latency.steps().collect::<Vec<_>>(), "{}", written.metric);
    }
}

#[test]
fn late_work_saturates_and_a_share_of_one_percent_does_not() {
    for (late, saturated) in [(10, false), (11, true)] {
        let mut recorder = Recorder::of(meta(), Shard::WHOLE, false, false);
        for i in 0..1_000 {
            let at = if i < late { MS(1_021) } else { MS(1_020) };
            recorder.on(at, &Event::Sent { client: ClientIndex(0), due: MS(1_000), bytes: 1 });
        }
        assert_eq!(recorder.finish(Duration::from_secs(20), Status::Completed).saturated(), saturated, "{late}");
    }
}

#[test]
fn a_part_that_is_too_late_by_itself_is_named_though_the_others_are_on_time() {
    let part = |second: u64, late: u64| {
        let mut recorder = Recorder::of(meta(), Shard::WHOLE, false, false);
        for i in 0..1_000 {
            let due = MS(1_000 * second);
            recorder.on(due + MS(if i < late { 21 } else { 20 }), &Event::Sent { client: ClientIndex(0), due, bytes: 1 });
        }
        recorder.finish(Duration::from_secs(20), Status::Completed)
    };
    let mut sum = Recorder::of(meta(), Shard::WHOLE, false, false).finish(Duration::from_secs(20), Status::Completed);
    for (name, part) in [("shard 1/3", part(3, 15)), ("shard 2/3", part(3, 9)), ("shard 3/3", part(4, 20))] {
        sum.note_lateness(name, &part);
        sum.add(&part);
    }
    // Together it is 1.2 % of 2,000 in the third second; and of one part 2 % in the fourth.
    assert_eq!((sum.saturated_seconds(), sum.late_share_max()), (vec![3, 4], 0.02));
    let named: Vec<_> = sum.why_unreliable().into_iter().filter(|why| why.starts_with("shard")).collect();
    assert_eq!(
        named,
        [
            "shard 1/3: the load generator was saturated: in second 3, 15 of 1000 due connection attempts and messages (1.5 %) started \
             late",
            "shard 3/3: the load generator was saturated: in second 4, 20 of 1000 due connection attempts and messages (2.0 %) started \
             late",
        ]
    );
    let sum = super::shard::decode(meta(), &super::shard::encode(sum)).unwrap();
    let mut whole = Recorder::of(meta(), Shard::WHOLE, false, false).finish(Duration::from_secs(20), Status::Completed);
    whole.note_lateness("machine 1", &sum);
    assert_eq!(whole.why_unreliable().iter().filter(|why| why.starts_with("machine 1, shard")).count(), 2, "a part has parts");
}

/// Of events at one time the number says which came first, whether they are of a client or of the run.
#[test]
fn events_are_numbered_through_the_run() {
    let mut recorder = Recorder::of(meta(), Shard::WHOLE, false, false);
    let notice = |text: &str| Event::Notice { text: text.to_owned() };
    recorder.on(MS(5), &notice("a"));
    client(&mut recorder, 0).attempt(5);
    recorder.on(MS(5), &notice("b"));
    let results = recorder.finish(Duration::from_secs(20), Status::Completed);
    let numbers = |sample: &[(u64, u64, Event)]| sample.iter().map(|(at, number, _)| (*at, *number)).collect::<Vec<_>>();
    assert_eq!(numbers(results.milestones.kept()), [(5_000, 1), (5_000, 3)]);
}

#[test]
fn who_leaves_in_an_outage_is_not_still_disconnected_at_the_end() {
    let mut recorder = Recorder::of(meta(), Shard::WHOLE, false, false);
    let r = &mut recorder;
    for index in 0..3 {
        client(r, index).attempt(100).open(106, 1).ready(110, 1).inject(5_000, 1, 0).end(5_001, 1, ending(Cause::Remote, 1006));
    }
    client(r, 0).tell(6_000, Event::Left { client: ClientIndex(0) });
    client(r, 1).tell(6_000, Event::Left { client: ClientIndex(1) });
    let results = recorder.finish(Duration::from_secs(20), Status::Completed);
    results.check_ledger().unwrap();
    let expected = |text: &str| {
        let (cohorts, faults) = (["web, old".to_owned(), "ios".to_owned()], ["crash".to_owned()]);
        let lost = Expectation::parse(text, Names { cohorts: &cohorts, faults: &faults, ..Names::default() }).unwrap();
        judge(&Evidence::of(&results), &[lost]).expectations.remove(0).note
    };
    for text in ["clients_lost count < 3", "clients_lost{fault=crash} count < 3"] {
        assert_eq!(expected(text).as_deref(), Some("gave up; 1 more was still disconnected at the end"), "{text}");
    }
    let summary = crate::results::summary::summarise(&results, None, &Verdict::default(), "");
    let reconnect = &summary.reconnect;
    assert_eq!((reconnect.affected, reconnect.censored, reconnect.left, reconnect.time_us.censored), (3, 3, 2, 3));
    assert_eq!(crate::results::runs::RunRow::of(&results, &Verdict::default()).away_at_end, 1);
    results.check_ledger().unwrap();
    let mut wrong = results.clone();
    wrong.timeline.left.clear();
    assert!(wrong.check_ledger().unwrap_err().to_string().contains("left = sum of left by interval"));
    let mut wrong = results;
    wrong.books[0].left += 9;
    assert!(wrong.check_ledger().unwrap_err().to_string().contains("left <= censored"));
    assert_eq!(crate::results::runs::RunRow::of(&wrong, &Verdict::default()).away_at_end, 0);
}

/// Messages with numbers of one client: what is told is its ledger, by second and fault, and what its outages cost.
#[test]
fn what_is_missed_belongs_to_its_outage_and_is_taken_back_where_it_was_counted() {
    let number = |found| Event::Sequenced { client: ClientIndex(0), found, replayed: false };
    let late = |found: u64, away, back| number(Sequenced::Late { found: MS(found), away, back });
    let mut recorder = Recorder::of(meta(), Shard::WHOLE, false, false);
    let r = &mut recorder;
    client(r, 0).attempt(100).open(106, 1).ready(110, 1).tell(200, number(Sequenced::Next));
    // First outage, by fault 0: 2,345 missed, found just before a second and counted in the next; the connection ends before it is ready.
    client(r, 0).inject(1_000, 1, 0).end(1_002, 1, ending(Cause::Remote, 1006)).attempt(1_500).open(1_510, 2);
    client(r, 0).tell(2_001, number(Sequenced::Back { missed: 2_345 })).end(2_100, 2, ending(Cause::Remote, 1006));
    client(r, 0).attempt(2_500).open(2_510, 3).tell(2_520, number(Sequenced::Back { missed: 3 })).ready(2_530, 3);
    // One of them comes late, and one that was lost on the open connection.
    client(r, 0)
        .tell(3_000, late(1_999, true, false))
        .tell(3_100, number(Sequenced::Gap { missed: 2 }))
        .tell(4_200, late(3_100, false, false));
    // It leaves by itself and misses five meanwhile: in no outage.
    client(r, 0).end(5_000, 3, ending(Cause::Stay, 1000)).attempt(5_500).open(5_510, 4).ready(5_520, 4);
    client(r, 0).tell(5_600, number(Sequenced::Back { missed: 5 }));
    // Second outage, by fault 2: the first that comes is one of the first outage. Third, without fault: nothing but a duplicate.
    client(r, 0).inject(6_000, 4, 2).end(6_002, 4, ending(Cause::Remote, 1012)).attempt(6_500).open(6_510, 5).ready(6_520, 5);
    client(r, 0).tell(6_600, late(1_999, true, true));
    client(r, 0).end(8_000, 5, ending(Cause::Remote, 1006)).attempt(8_500).open(8_510, 6).ready(8_520, 6);
    client(r, 0).tell(8_600, number(Sequenced::Duplicate { back: true }));
    // Fourth, by fault 1: nothing comes after it. And a client that never got a number before: it cannot miss any.
    client(r, 0).inject(9_000, 6, 1).end(9_002, 6, ending(Cause::Remote, 1006)).attempt(9_500).open(9_510, 7).ready(9_520, 7);
    client(r, 1).attempt(9_000).open(9_010, 1).ready(9_011, 1).end(9_020, 1, ending(Cause::Remote, 1006)).attempt(9_500).open(9_510, 2);
    let results = recorder.finish(Duration::from_secs(20), Status::Completed);
    let missed: Vec<_> =
        results.timeline.tallies.iter().filter(|(key, n)| key.3 == Tally::Missed && **n > 0).map(|(key, n)| (key.0, key.2, *n)).collect();
    assert_eq!(missed, [(2, Some(0), 2_343 + 3), (3, None, 1), (5, None, 5)]);
    let book = &results.books[0];
    assert_eq!((book.affected, book.expected, book.missed), (5, 1 + 2_346 + 4 + 3 + 6, 2_343 + 3 + 1 + 5));
    assert_eq!((book.recovered_messages, book.out_of_order, book.duplicated), (2, 1, 1));
    let losses: Vec<_> = results.timeline.missed.iter().map(|((_, fault, _), of)| (*fault, of.outages, of.missed, of.most)).collect();
    assert_eq!(losses, [(None, 1, 0, 0), (Some(0), 1, 2_347, 2_347), (Some(2), 1, 0, 0)], "each outage once, exactly");
    assert_eq!(results.timeline.missed_unknown, [((0, Some(1)), 1)].into());
    let summary = crate::results::summary::summarise(&results, None, &Default::default(), "");
    assert_eq!(
        summary.losses.iter().map(|row| (row.outages, row.max, row.missed, row.unknown)).collect::<Vec<_>>(),
        [(1, 0, 0, 0), (1, 2_347, 2_347, 0), (0, 0, 0, 1), (1, 0, 0, 0)]
    );
    assert_eq!(summary.losses[1].by_missed, [(2_340, 1)].into());
    let counted: u64 = crate::results::tables::count_rows(&results)
        .iter()
        .filter(|row| row.outcome.as_deref() == Some("expected"))
        .map(|row| row.count)
        .sum();
    assert_eq!(counted, book.expected);
}

/// What it cost is in the gap that the second is told of; nobody knows how much of it.
#[test]
fn an_outage_after_which_the_next_began_before_any_message_has_a_loss_that_is_not_known() {
    let number = |found| Event::Sequenced { client: ClientIndex(0), found, replayed: false };
    let mut recorder = Recorder::of(meta(), Shard::WHOLE, false, false);
    let r = &mut recorder;
    client(r, 0).attempt(100).open(106, 1).ready(110, 1).tell(200, number(Sequenced::Next));
    client(r, 0).inject(1_000, 1, 0).end(1_002, 1, ending(Cause::Remote, 1006)).attempt(1_500).open(1_510, 2).ready(1_520, 2);
    client(r, 0).inject(2_000, 2, 2).end(2_002, 2, ending(Cause::Remote, 1006)).attempt(2_500).open(2_510, 3).ready(2_520, 3);
    client(r, 0).tell(2_600, number(Sequenced::Back { missed: 7 }));
    let results = recorder.finish(Duration::from_secs(20), Status::Completed);
    assert_eq!(results.timeline.missed_unknown, [((0, Some(0)), 1)].into());
    let losses: Vec<_> = results.timeline.missed.iter().map(|((_, fault, _), of)| (*fault, of.outages, of.missed)).collect();
    assert_eq!(losses, [(Some(2), 1, 7)]);
}

#[test]
fn of_many_gaps_each_late_message_is_taken_back_where_it_was_counted() {
    let number = |found| Event::Sequenced { client: ClientIndex(0), found, replayed: false };
    let late = |found: u64| number(Sequenced::Late { found: MS(found), away: false, back: false });
    for gaps in [300, 4_096, 4_900] {
        let mut recorder = Recorder::of(meta(), Shard::WHOLE, false, false);
        client(&mut recorder, 0).attempt(0).open(1, 1).ready(1, 1);
        // Each by itself, one message missed.
        (0..gaps).for_each(|n| _ = client(&mut recorder, 0).tell(2 + n * 4, number(Sequenced::Gap { missed: 1 })));
        let missed =
            |recorder: &Recorder, second: u32| recorder.timeline.tallies.get(&(second, 0, None, Tally::Missed)).copied().unwrap_or(0);
        let before = [0, 1].map(|second| missed(&recorder, second));
        assert_eq!(before, [250, (gaps - 250).min(250)]);
        // The oldest five come after all.
        (0..5).for_each(|n| _ = client(&mut recorder, 0).tell(19_000, late(2 + n * 4)));
        assert_eq!([0, 1].map(|second| missed(&recorder, second)), [250 - 5, before[1]], "{gaps} gaps");
        let results = recorder.finish(Duration::from_secs(20), Status::Completed);
        let book = &results.books[0];
        assert_eq!((book.missed, book.out_of_order, book.duplicated), (gaps - 5, 5, 0), "{gaps} gaps");
        assert_eq!(results.notices.get(FORGOTTEN), None);
        let counted: u64 = results.timeline.tallies.iter().filter(|(key, _)| key.3 == Tally::Missed).map(|(_, n)| n).sum();
        assert_eq!(counted, book.missed, "{gaps} gaps");
    }
}

/// The bound is of memory: a server may lose one message in each second of a long run, and let it come an hour later.
#[test]
fn a_client_that_misses_messages_in_very_many_seconds_costs_little_and_says_what_it_forgets() {
    let number = |found| Event::Sequenced { client: ClientIndex(0), found, replayed: false };
    let late = |found: u64| number(Sequenced::Late { found: MS(found), away: false, back: false });
    for (seconds, forgotten) in [(512, 0), (516, 4)] {
        let mut recorder = Recorder::of(RunMeta { duration: Duration::from_secs(1_000), ..meta() }, Shard::WHOLE, false, false);
        client(&mut recorder, 0).attempt(0).open(1, 1).ready(1, 1);
        // Three in each second, twice.
        for at in (0..seconds).flat_map(|second| [second * 1_000 + 7, second * 1_000 + 900]) {
            client(&mut recorder, 0).tell(at, number(Sequenced::Gap { missed: 3 }));
        }
        assert!(recorder.losses.memory() <= 16 << 10, "{}", recorder.losses.memory());
        // One of each half of the oldest five seconds comes after all.
        for found in (0..5).flat_map(|second| [second * 1_000 + 7, second * 1_000 + 900]) {
            client(&mut recorder, 0).tell(900_000, late(found));
        }
        let results = recorder.finish(Duration::from_secs(1_000), Status::Completed);
        let (book, taken) = (&results.books[0], 2 * (5 - forgotten));
        assert_eq!((book.missed, book.out_of_order, book.duplicated), (seconds * 6 - taken, taken, 2 * forgotten), "{seconds} s");
        assert_eq!(results.notices.get(FORGOTTEN), (forgotten > 0).then_some(&1), "{seconds} s");
        let counted: u64 = results.timeline.tallies.iter().filter(|(key, _)| key.3 == Tally::Missed).map(|(_, n)| n).sum();
        assert_eq!(counted, book.missed, "{seconds} s");
    }
}
