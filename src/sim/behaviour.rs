//! Tests: what servers, kernels, paths and clients do in the simulator, each mechanism by itself and to the exact offset.

use super::run;
use super::tests::{plan, simulate};
use crate::event::{Event, Outcome, Stage};
use crate::metrics::Results;
use crate::plan::Plan;

/// Clients that opened, with offset in ms, TCP connect in ms and instance; in the order of opening.
fn opened(results: &Results) -> Vec<(u32, u64, u64, u16)> {
    let one = |(at, _, event): &(u64, u64, Event)| match event {
        Event::Opened { client, tcp, instance, .. } => Some((client.0, at / 1000, tcp.as_millis() as u64, *instance)),
        _ => None,
    };
    results.events.kept().iter().filter_map(one).collect()
}

/// The waits that policies chose, ms.
fn waits(results: &Results) -> Vec<u64> {
    let one = |event: &Event| if let Event::Waiting { delay, .. } = event { Some(delay.as_millis() as u64) } else { None };
    results.events.kept().iter().filter_map(|(_, _, event)| one(event)).collect()
}

/// Connections ended, by whole second and reported code.
fn ended(results: &Results) -> Vec<(u64, u16)> {
    let one = |(at, _, event): &(u64, u64, Event)| match event {
        Event::Ended { ending, .. } => Some((at / 1_000_000, ending.code)),
        _ => None,
    };
    results.events.kept().iter().filter_map(one).collect()
}

/// So many clients at once, with these changes.
fn herd(count: u32, changes: &[&str]) -> Plan {
    let count = format!("clients.web.count={count}");
    let mut all = vec![count.as_str(), "clients.web.arrive={at_once=true}", "clients.web.reconnect=\"none\""];
    all.extend(changes);
    plan(&all)
}

#[test]
fn a_dropped_syn_is_repeated_on_the_grid_of_its_kernel() {
    // The listen queue takes one and drops the other's SYN until the fault is over; then the next repeat opens.
    for (over, retries, expected) in [
        ("500ms", "linear", 1024),
        ("1500ms", "linear", 2048),
        ("2500ms", "linear", 3072),
        ("3500ms", "linear", 4096),
        ("4500ms", "linear", 5120),
        ("5500ms", "linear", 7136),
        ("7500ms", "linear", 11_232),
        ("500ms", "doubling", 1000),
        ("1500ms", "doubling", 3000),
        ("3500ms", "doubling", 7000),
    ] {
        let fault = format!("faults=[{{at=\"0s\",for=\"{over}\",inject={{backlog_full={{backlog=0}}}}}}]");
        let model = format!("model={{syn_retries=\"{retries}\"}}");
        let plan = herd(2, &[&model, &fault, "duration=\"15s\"", "clients.web.deadlines={connect=\"14s\",handshake=\"14s\"}"]);
        let opened = opened(&simulate(&plan).results);
        assert_eq!(opened.len(), 2, "{over} {retries}: {opened:?}");
        assert_eq!((opened[1].0, opened[1].2), (1, expected), "{over} {retries}");
    }
}

#[test]
fn who_has_no_deadline_is_left_to_the_kernel_before_tcp_and_waits_for_ever_behind_it() {
    // One client fills the listen queue of a server that never accepts; the SYNs of the other are dropped to the end.
    let fault = "faults=[{at=\"0s\",inject={backlog_full={backlog=0}}}]";
    let failed = |results: &Results| {
        let one = |(at, _, event): &(u64, u64, Event)| match event {
            Event::AttemptFailed { client, stage, outcome, .. } => Some((client.0, *at / 1000, *stage, outcome.clone())),
            _ => None,
        };
        results.events.kept().iter().filter_map(one).collect::<Vec<_>>()
    };
    for (retries, ends_ms) in [("linear", 134_112), ("doubling", 127_000)] {
        let model = format!("model={{syn_retries=\"{retries}\"}}");
        for never in ["clients.web.reconnect=\"phoenix\"", "clients.web.deadlines={connect=\"0s\",handshake=\"0s\"}"] {
            let plan = herd(2, &[&model, fault, "duration=\"134500ms\"", never]);
            let results = simulate(&plan).results;
            assert_eq!(failed(&results), [(1, ends_ms, Stage::Tcp, Outcome::TimedOut)], "{retries} {never}");
        }
    }
}

#[test]
fn the_deadline_of_a_strategy_is_that_of_the_whole_attempt_and_grows_as_it_says() {
    // subscriptions-transport-ws: 1 s, times 1.2 per failed attempt; the listen queue is full, so all of it goes to TCP.
    let full = "faults=[{at=\"0s\",inject={backlog_full={backlog=0}}}]";
    let slow = "model={handshake_cost=\"3s\"}";
    let ledger = |changes: &[&str]| {
        let mut all = vec!["clients.web.reconnect=\"subscriptions-transport-ws\"", "duration=\"30s\""];
        all.extend(changes);
        simulate(&herd(2, &all)).results.total().ledger.attempts
    };
    let lengths = |changes: &[&str]| {
        let mut all = vec!["clients.web.reconnect={preset=\"subscriptions-transport-ws\",base=\"0s\"}", "duration=\"5s\""];
        all.extend(changes);
        let results = simulate(&herd(2, &all)).results;
        let of = |(at, _, event): &(u64, u64, Event)| {
            matches!(event, Event::AttemptFailed { client, .. } if client.0 == 1).then_some(*at / 1000)
        };
        results.events.kept().iter().filter_map(of).collect::<Vec<_>>()
    };
    assert_eq!(lengths(&[full]), [1000, 2200, 3640], "1 s, 1.2 s, 1.44 s");
    assert!(ledger(&[slow]).opened < 2, "nobody waits for 3 s at first");
    assert_eq!(
        ledger(&[slow, "clients.web.deadlines={handshake=\"7s\"}"]).opened,
        2,
        "the scenario's own counts, longer than the preset's"
    );
    assert_eq!(lengths(&[full, "clients.web.deadlines={connect=\"1500ms\"}"]), [1500, 3000, 4500]);
}

#[test]
fn phoenix_waits_until_the_server_gets_to_it() {
    // 60 opening handshakes a second, 1,500 clients, a crash: all are back when the server has served each once, and none twice.
    let plan = plan(&[
        "duration=\"60s\"",
        "clients.web.count=1500",
        "clients.web.arrive={over=\"26s\"}",
        "clients.web.reconnect=\"phoenix\"",
        "target.embedded.handshake_cost=\"16667us\"",
        "target.embedded.backlog=4096",
        "faults=[{at=\"30s\",inject={server_crash={down=\"500ms\"}}}]",
    ]);
    let results = simulate(&plan).results;
    let back: Vec<_> = results.outages.kept().iter().filter_map(|outage| outage.time()).collect();
    let last = back.iter().max().copied().unwrap_or_default() as f64 / 1e6;
    assert_eq!((back.len(), results.total().ledger.attempts.timed_out), (1500, 0));
    assert!((25.0..26.0).contains(&last), "{last}");
}

#[test]
fn a_server_works_for_clients_that_have_given_up_unless_it_skips_them() {
    // Thirty want 100 ms each and wait for one second; twenty of them come again 500 ms later.
    let again = "clients.web.reconnect={fixed={delay=\"500ms\"}}";
    for (gone, expected) in [("served", 10), ("skipped", 20)] {
        let model = format!("model={{handshake_cost=\"100ms\",gone=\"{gone}\"}}");
        let plan = herd(30, &[&model, again, "duration=\"2600ms\"", "clients.web.deadlines={handshake=\"1001ms\"}"]);
        assert_eq!(opened(&simulate(&plan).results).len(), expected, "{gone}");
    }
}

#[test]
fn places_are_filled_as_soon_as_they_are_free_in_either_order() {
    // Six clients, 10 ms apart, want 55 ms each: three at a time take those who are there, then the oldest or the newest.
    for (queue, expected) in [("fifo", [55, 65, 75, 110, 120, 130]), ("lifo", [55, 65, 75, 130, 120, 110])] {
        let model = format!("model={{handshake_cost=\"55ms\",parallel=3,queue=\"{queue}\"}}");
        let plan = herd(6, &["clients.web.arrive={rate=\"100/s\"}", &model, "duration=\"2s\""]);
        let mut opened = opened(&simulate(&plan).results);
        opened.sort_unstable();
        let found: Vec<_> = opened.iter().map(|(_, at, ..)| *at).collect();
        assert_eq!(found, expected, "{queue}");
    }
}

#[test]
fn a_server_ends_what_has_waited_for_its_deadline() {
    let plan = herd(30, &["model={handshake_cost=\"100ms\",deadline=\"1s\"}", "duration=\"5s\""]);
    let results = simulate(&plan).results;
    let ledger = results.total().ledger;
    assert_eq!((ledger.attempts.opened, ledger.attempts.failed, ledger.attempts.timed_out), (10, 20, 0));
    let cut = |event: &Event| {
        matches!(event, Event::AttemptFailed { outcome: Outcome::Failed { why }, .. } if why.starts_with("connection \
            ended before the 101 response"))
    };
    assert!(results.events.kept().iter().filter(|(at, _, event)| *at == 1_000_000 && cut(event)).count() == 20);
}

#[test]
fn the_order_of_the_queue_says_who_opens_next() {
    for (queue, expected) in [("fifo", [0, 1, 2, 3, 4]), ("lifo", [0, 4, 3, 2, 1])] {
        let model = format!("model={{handshake_cost=\"100ms\",queue=\"{queue}\"}}");
        let opened = opened(&simulate(&herd(5, &[&model])).results);
        assert_eq!(opened.iter().map(|(client, ..)| *client).collect::<Vec<_>>(), expected, "{queue}");
        assert_eq!(opened.iter().map(|(_, at, ..)| *at).collect::<Vec<_>>(), [100, 200, 300, 400, 500], "{queue}");
    }
}

#[test]
fn a_token_bucket_rejects_or_opens_and_closes() {
    let admit = |close: &str| format!("model={{admit={{rate=\"1/s\",burst=5}}{close}}}");
    let rejected = simulate(&herd(20, &[&admit("")])).results;
    assert_eq!((rejected.total().ledger.attempts.opened, rejected.total().ledger.attempts.rejected), (5, 15));
    let closed = simulate(&herd(20, &[&admit(",admit_close=1013")])).results;
    assert_eq!((closed.total().ledger.attempts.opened, closed.total().ledger.attempts.rejected), (20, 0));
    assert_eq!(ended(&closed), vec![(0, 1013); 15]);
}

#[test]
fn who_is_opened_and_closed_at_once_hears_no_echo_and_is_not_back() {
    // Without a round trip the echo would be there in the same nanosecond, before the Close frame.
    for rtt in ["0s", "2ms"] {
        let model = format!("model={{rtt=\"{rtt}\",admit={{rate=\"1/s\",burst=5}},admit_close=1013}}");
        let results = simulate(&herd(20, &[&model, "clients.web.traffic={echo={rate=\"1/s\"}}"])).results;
        let ready = results.events.kept().iter().filter(|(_, _, event)| matches!(event, Event::Ready { .. })).count();
        assert_eq!((ready, results.total().ledger.attempts.opened), (5, 20), "{rtt}");
    }
}

#[test]
fn hints_are_honoured_only_if_told() {
    let again = "clients.web.reconnect={fixed={delay=\"1s\"}}";
    for (honour, expected) in [("", 1000), (",honour_retry_after=true", 3000)] {
        let model = format!("model={{admit={{rate=\"1/s\",burst=1,retry_after=\"3s\"}}{honour}}}");
        let waits = waits(&simulate(&herd(4, &[&model, again, "duration=\"2500ms\""])).results);
        assert!(waits.len() >= 3 && waits.iter().all(|wait| *wait == expected), "{honour}: {waits:?}");
    }
    let close = "faults=[{at=\"2s\",inject={close_code={code=1012}}}]";
    for (honour, least, most) in [("false", 1000, 1000), ("true", 5000, 30_000)] {
        let model = format!("model={{honour_restart_codes={honour}}}");
        let mut waits = waits(&simulate(&herd(50, &[&model, again, close, "duration=\"3s\""])).results);
        waits.sort_unstable();
        assert_eq!(waits.len(), 50, "{honour}");
        assert!(waits[0] >= least && waits[49] <= most, "{honour}: {waits:?}");
        assert!(honour == "false" || waits[49] - waits[0] > 10_000, "spread over the 25 s: {waits:?}");
    }
}

#[test]
fn a_paused_server_opens_nobody_and_then_everybody() {
    let pause = "faults=[{at=\"2s\",for=\"2s\",inject={server_pause={}}}]";
    let plan = plan(&["clients.web.count=60", "clients.web.arrive={over=\"6s\"}", "clients.web.heartbeat=\"none\"", pause]);
    let results = simulate(&plan).results;
    let opened = opened(&results);
    assert_eq!((opened.len(), results.total().ledger.closed), (60, 0));
    assert!(opened.iter().all(|(_, at, ..)| *at < 2000 || *at >= 4000), "{opened:?}");
    assert!(opened.iter().filter(|(_, at, ..)| *at == 4000).count() >= 19, "{opened:?}");
}

#[test]
fn a_slow_start_and_cold_caches_make_the_wave_after_a_restart_longer() {
    let last = |changes: &[&str]| {
        let mut all = vec![
            "clients.web.count=500",
            "clients.web.arrive={over=\"1s\"}",
            "clients.web.reconnect={fixed={delay=\"1s\"}}",
            "duration=\"30s\"",
            "faults=[{at=\"8s\",inject={server_crash={down=\"500ms\"}}}]",
        ];
        all.extend(changes);
        let results = simulate(&plan(&all)).results;
        assert_eq!(results.total().recovered, 500);
        // The wave comes at 9 s, when the first start was long ago.
        opened(&results).last().map_or(0, |(_, at, ..)| at - 9000)
    };
    assert_eq!(last(&["model={handshake_cost=\"1ms\"}"]), 500);
    // Ten times the cost at first, falling to one; the process has run for half a second.
    let slow = last(&["model={handshake_cost=\"1ms\",slow_start=\"100s\"}"]);
    assert!((4500..5000).contains(&slow), "{slow}");
    let cold = last(&["model={handshake_cost=\"1ms\",cold=4,cold_half_life=\"1h\"}"]);
    assert!((2450..=2500).contains(&cold), "{cold}");
    let warming = last(&["model={handshake_cost=\"1ms\",cold=4,cold_half_life=\"100ms\"}"]);
    assert!((500..700).contains(&warming), "{warming}");
}

#[test]
fn a_drain_in_batches_ends_so_many_each_time() {
    let drain = "faults=[{at=\"2s\",every=\"2s\",select={count=30},inject={close_code={code=1012}}}]";
    let plan =
        plan(&["clients.web.count=200", "clients.web.arrive={over=\"1s\"}", "duration=\"9s\"", "clients.web.reconnect=\"none\"", drain]);
    let ended = ended(&simulate(&plan).results);
    let expected: Vec<_> = [2, 4, 6, 8].into_iter().flat_map(|second| [(second, 1012); 30]).collect();
    assert_eq!(ended, expected);
}

#[test]
fn a_failover_moves_everybody_to_the_fleet_that_is_left() {
    let crash = "faults=[{at=\"3s\",inject={server_crash={instance=0,down=\"1h\"}}}]";
    let plan = plan(&["clients.web.count=300", "clients.web.arrive={over=\"1s\"}", "model={instances=3,balance=\"healthy\"}", crash]);
    let results = simulate(&plan).results;
    let (before, after): (Vec<_>, Vec<_>) = opened(&results).into_iter().partition(|(_, at, ..)| *at < 3000);
    assert_eq!((before.len(), before.iter().filter(|(.., instance)| *instance == 0).count()), (300, 100));
    assert_eq!((after.len(), results.total().affected, results.total().recovered), (100, 100, 100));
    assert!(after.iter().all(|(.., instance)| *instance != 0), "{after:?}");
}

#[test]
fn faults_name_instances_of_the_model_and_no_others() {
    let lost = "faults=[{at=\"3s\",inject={server_crash={instance=2,down=\"1h\"}}}]";
    let fleet = |instances: u32| plan(&["clients.web.count=300", &format!("model={{instances={instances},balance=\"healthy\"}}"), lost]);
    // The target is one instance; what is simulated is three of them.
    assert_eq!(simulate(&fleet(3)).results.total().affected, 100);
    let fewer = plan(&["target.embedded.instances=3", "model={instances=1}", lost]);
    let refused = run(&fewer, &fewer.simulated_as().unwrap()).unwrap_err().to_string();
    assert!(refused.contains("there is no instance 2; the model has 1"), "{refused}");
}

#[test]
fn a_rolling_restart_takes_one_instance_after_the_other() {
    let roll = "faults=[{at=\"3s\",inject={server_restart_rolling={interval=\"2s\",down=\"500ms\",mode=\"crash\"}}}]";
    let plan = plan(&[
        "clients.web.count=300",
        "clients.web.arrive={over=\"1s\"}",
        "duration=\"12s\"",
        "model={instances=3,balance=\"healthy\"}",
        roll,
    ]);
    let results = simulate(&plan).results;
    let target = |word: &str| -> Vec<(u64, u16)> {
        let one = |(at, _, event): &(u64, u64, Event)| match event {
            Event::Target { instance, what, .. } if *what == word => Some((at / 1000, *instance)),
            _ => None,
        };
        results.milestones.kept().iter().filter_map(one).collect()
    };
    assert_eq!(target("down"), [(3000, 0), (5000, 1), (7000, 2)]);
    assert_eq!(target("started"), [(3500, 0), (5500, 1), (7500, 2)]);
    let total = results.total();
    assert!(total.affected >= 300 && total.recovered == total.affected && total.ledger.open_at_end == 300, "{total:?}");
}

#[test]
fn a_blackhole_is_found_by_the_heartbeat_unless_it_is_over_before() {
    let heartbeat = "clients.web.heartbeat={every=\"1s\",timeout=\"500ms\"}";
    let run = |length: &str, after: &str| {
        let fault = format!("faults=[{{at=\"3s\",for=\"{length}\",side=\"client\",inject={{blackhole={{on_revert=\"{after}\"}}}}}}]");
        simulate(&plan(&["clients.web.count=200", "clients.web.arrive={over=\"1s\"}", heartbeat, &fault])).results
    };
    let found = run("3s", "resume");
    let detect: Vec<_> = found.outages.kept().iter().map(|outage| outage.detect()).collect();
    assert_eq!(detect.len(), 200);
    // The next ping leaves within a second and is given up half a second later.
    assert!(detect.iter().all(|us| (500_000..=1_500_000).contains(us)), "{detect:?}");
    assert!(detect.iter().max() > Some(&1_400_000) && detect.iter().min() < Some(&600_000), "{detect:?}");
    // What is lost in the hole is lost: a tenth of the pings are never answered. A path that comes back may reset what it carried, too.
    assert!((5..=40).contains(&run("100ms", "resume").total().affected));
    let reset = run("100ms", "close");
    assert_eq!(reset.outages.kept().iter().filter(|outage| outage.detect() == 100_000).count(), 200);
}

#[test]
fn a_preset_finds_a_blackhole_by_its_own_heartbeat() {
    // phoenix.js: a heartbeat every 30 s, given up when the next is due.
    let fault = "faults=[{at=\"100s\",side=\"client\",inject={blackhole={}}}]";
    let plan = plan(&[
        "clients.web.count=100",
        "clients.web.arrive={over=\"60s\"}",
        "clients.web.reconnect=\"phoenix\"",
        "duration=\"200s\"",
        fault,
    ]);
    let heartbeat = plan.cohorts[0].heartbeat.expect("phoenix has a heartbeat");
    let (every, timeout) = (heartbeat.every.as_micros() as u64, heartbeat.timeout.as_micros() as u64);
    let results = simulate(&plan).results;
    let detect: Vec<_> = results.outages.kept().iter().map(|outage| outage.detect()).collect();
    assert_eq!(detect.len(), 100);
    assert!(detect.iter().all(|us| (timeout..=every + timeout).contains(us)), "{every} {timeout}: {detect:?}");
}

/// When each client became ready, µs, and how long each HTTP request took, µs.
fn ready(plan: &Plan) -> (Vec<u64>, Vec<u64>) {
    let results = simulate(plan).results;
    let events = results.events.kept();
    let ready = events.iter().filter_map(|(at, _, event)| matches!(event, Event::Ready { .. }).then_some(*at)).collect();
    let took = |event: &Event| if let Event::Requested { took, .. } = event { Some(took.as_micros() as u64) } else { None };
    (ready, events.iter().filter_map(|(_, _, event)| took(event)).collect())
}

/// A cohort with a dialogue, on a path of 20 ms.
fn dialogue(count: u32, dialogue: &str, more: &str) -> Plan {
    use crate::scenario::{Overrides, Source, load_with};
    let text = format!(
        "duration = \"5s\"\n[model]\nrtt = \"20ms\"\n{more}\n[clients.web]\ncount = {count}\narrive = {{ at_once = true }}\n\
         {dialogue}\n"
    );
    let overrides = Overrides { set: vec!["clients.web.reconnect=none".to_owned()], ..Overrides::default() };
    load_with(&Source::Text { name: "dialogue".to_owned(), text }, &overrides, &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn each_step_that_says_something_and_waits_takes_a_round_trip() {
    // TCP and the opening handshake take 40 ms.
    for (says, ready_at) in [
        (r#"dialogue = { open = [{ send = "a", expect = "a" }] }"#, 60_000),
        (r#"dialogue = { open = [{ send = "a", expect = "a" }, { send = "b", expect = "b" }] }"#, 80_000),
        (r#"dialogue = { open = [{ expect = "hello" }, { send = "b", expect = "b" }] }"#, 60_000),
        (r#"dialogue = { open = [{ send = "a" }, { send = "b", expect = "b" }, { send = "c" }] }"#, 60_000),
        (r#"dialogue = { open = [{ send = "a" }] }"#, 40_000),
        (r#"like = "socket.io-client""#, 60_000),
        (r#"like = "graphql-ws""#, 60_000),
        (r#"like = "mqtt.js""#, 60_000),
    ] {
        assert_eq!(ready(&dialogue(1, says, "")).0, [ready_at], "{says}");
    }
}

#[test]
fn a_step_whose_answer_comes_too_late_ends_its_connection_by_name() {
    let plan = dialogue(3, r#"dialogue = { open = [{ name = "hello", send = "a", expect = "a", within = "15ms" }] }"#, "");
    let results = simulate(&plan).results;
    let late: u64 = results.endings.iter().filter(|((_, key), _)| key.client_code == Some(3008)).map(|(_, count)| count).sum();
    assert_eq!((ready(&plan).0.len(), late), (0, 3));
}

#[test]
fn http_requests_before_an_attempt_take_connections_and_the_servers_time() {
    let login = r#"dialogue = { before = [{ url = "/login" }] }"#;
    // A round trip for TCP and one for the request, then as much for the opening handshake.
    assert_eq!(ready(&dialogue(1, login, "")), (vec![80_000], vec![40_000]));
    // Three at once, each 10 ms of the server: one after the other.
    let (at, took) = ready(&dialogue(3, login, "before_cost = \"10ms\""));
    assert_eq!((at, took), (vec![90_000, 100_000, 110_000], vec![50_000, 60_000, 70_000]));
    // Elsewhere nobody waits for anybody; https takes one more round trip.
    let elsewhere = r#"dialogue = { before = [{ url = "https://login.test/" }, { url = "http://login.test/" }] }"#;
    assert_eq!(ready(&dialogue(2, elsewhere, "before_cost = \"10ms\"")), (vec![160_000; 2], vec![70_000, 70_000, 50_000, 50_000]));
    // Too slow.
    let late = r#"dialogue = { before = [{ url = "/login", within = "30ms" }] }"#;
    let plan = dialogue(1, late, "");
    assert_eq!(ready(&plan), (vec![], vec![30_000]));
    let failed = simulate(&plan).results;
    let failed = failed.events.kept().iter().find_map(|(_, _, event)| match event {
        Event::AttemptFailed { stage, outcome, .. } => Some((*stage, outcome.clone())),
        _ => None,
    });
    assert_eq!(failed, Some((Stage::Before, Outcome::TimedOut)));
}
