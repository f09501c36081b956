//! Faults of server processes, seen by clients that connect to the embedded servers of a whole run beside the run's own clients.

use super::frame::{CLOSE, PONG};
use super::wire::{Act, Conn, End, Script, head, ms, request};
use crate::common::{Finished, LONG, Running, start};
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Two clients that stay away once they are lost.
const CLIENTS: &str = "[clients.web]\ncount = 2\narrive = { at_once = true }\nreconnect = \"none\"\n";

fn scenario(duration: Duration, instances: u16, faults: &str) -> String {
    format!("duration = \"{}ms\"\n[target.embedded]\ninstances = {instances}\n{CLIENTS}{faults}", duration.as_millis())
}

/// What came of connecting again and again.
#[derive(Debug, Default)]
struct Return {
    /// How often ECONNREFUSED.
    refused: u32,
    /// How often cut before the first refusal.
    cut: u32,
    /// Anything else but success.
    other: Vec<ErrorKind>,
    /// When it succeeded.
    up: Option<Instant>,
}

/// Tries an opening handshake every 10 ms until one succeeds.
async fn come_back(port: u16) -> Return {
    let mut back = Return::default();
    let deadline = Instant::now() + LONG / 2;
    while Instant::now() < deadline && back.up.is_none() {
        match shake_hands(port).await {
            Ok(()) => back.up = Some(Instant::now()),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => back.refused += 1,
            // A killed process closes its connections before its listener: what connects in between is cut.
            Err(error) if back.refused == 0 && CUT.contains(&error.kind()) => back.cut += 1,
            Err(error) => back.other.push(error.kind()),
        }
        sleep(ms(10)).await;
    }
    back
}

/// What a connect into the queue of a dying listener ends with.
const CUT: [ErrorKind; 3] = [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof, ErrorKind::BrokenPipe];

async fn shake_hands(port: u16) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(request(None).as_bytes()).await?;
    head(&mut stream).await.map(drop)
}

/// Plays a script on a connection of its own until it ends, and comes back to the port then.
async fn watch(port: u16, script: Script, until: Duration) -> JoinHandle<(Conn, Return)> {
    let mut conn = Conn::open(port, None).await;
    tokio::spawn(async move {
        conn.play(&script, until).await;
        let back = come_back(port).await;
        (conn, back)
    })
}

async fn all<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::new();
    for task in tasks {
        results.push(timeout(LONG, task).await.expect("in time").expect("no panic"));
    }
    results
}

/// When the observer saw the end.
fn end(conn: &Conn) -> Instant {
    conn.opened() + conn.end.unwrap_or_else(|| panic!("no end: {conn:?}")).0
}

fn is_undisturbed((conn, back): &(Conn, Return)) -> bool {
    conn.end.is_none() && conn.close().is_none() && conn.lost() == 0 && back.refused == 0 && back.other.is_empty() && back.up.is_some()
}

fn assert_fault(run: &Finished, id: &str, hits: u64) {
    let row = run.fault(id);
    assert_eq!((row.selected, row.injected), (hits, hits), "{id}");
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn server_crash_resets_what_was_unread_and_refuses_until_it_is_back() {
    // The pause keeps bytes unread: the observer that pings all the time has some at the kill, the idle one has none.
    let faults = "[[faults]]\nname = \"pause\"\nat = \"500ms\"\nfor = \"1s\"\ninject = { server_pause = {} }\n\
                  [[faults]]\nname = \"crash\"\nat = \"700ms\"\ninject = { server_crash = { down = \"500ms\" } }\n";
    let observe = async |faults: &str| {
        let running = start(&scenario(ms(2200), 1, faults));
        let port = running.ports(1).await[0];
        let tasks = vec![watch(port, Script::default(), ms(1500)).await, watch(port, Script::pings(ms(1400)), ms(1500)).await];
        (all(tasks).await, running.finish().await)
    };
    let ((seen, run), (calm, control)) = tokio::join!(observe(faults), observe(""));
    assert!(calm.iter().all(is_undisturbed), "{calm:?}");
    assert_eq!(control.endings(), Vec::<String>::new());
    let [(idle, idle_back), (talker, talker_back)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((idle.end.map(|end| end.1), talker.end.map(|end| end.1)), (Some(End::Fin), Some(End::Rst)), "{seen:?}");
    assert!(end(idle).max(end(talker)) - end(idle).min(end(talker)) < ms(150), "one kill ends both: {seen:?}");
    for back in [idle_back, talker_back] {
        let away = back.up.expect("it comes back") - end(idle);
        assert!(back.refused >= 10 && back.other.is_empty(), "only refused while it is down: {back:?}");
        assert!(away >= ms(350) && away < ms(1400), "{away:?}");
    }
    assert_eq!(run.endings(), ["web: crash by server ->- fin told 1006 ×2"]);
    assert_fault(&run, "pause", 2);
    assert_fault(&run, "crash", 2);
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn server_graceful_closes_over_its_spread_and_waits_its_grace() {
    let fault = "[[faults]]\nname = \"graceful\"\nat = \"500ms\"\ninject = { server_graceful = { code = 1012, reason = \"restart\", \
                 spread = \"300ms\", grace = \"500ms\", down = \"300ms\" } }\n";
    let observe = async |fault: &str| {
        let running = start(&scenario(ms(2400), 1, fault));
        let port = running.ports(1).await[0];
        let silent = Script { never_acks: true, ..Script::default() };
        let mut tasks = Vec::new();
        for script in [Script::default(), Script::default(), Script::default(), silent] {
            tasks.push(watch(port, script, ms(1900)).await);
        }
        (all(tasks).await, running.finish().await)
    };
    let ((seen, run), (calm, control)) = tokio::join!(observe(fault), observe(""));
    assert!(calm.iter().all(is_undisturbed), "{calm:?}");
    assert_eq!(control.endings(), Vec::<String>::new());
    let closed_at = |conn: &Conn| conn.opened() + conn.close().unwrap_or_else(|| panic!("no Close frame: {conn:?}")).at;
    let times: Vec<_> = seen.iter().map(|(conn, _)| closed_at(conn)).collect();
    let spread = *times.iter().max().expect("four") - *times.iter().min().expect("four");
    // Six connections, 50 ms apart: four of them span 150 ms to 250 ms.
    assert!(spread >= ms(120) && spread < ms(500), "{spread:?}");
    for (conn, back) in &seen {
        let frame = &conn.frames[0];
        assert_eq!((frame.first, &frame.payload[..]), (CLOSE, &[&1012_u16.to_be_bytes()[..], b"restart"].concat()[..]), "{conn:?}");
        assert_eq!(conn.end.map(|end| end.1), Some(End::Fin), "{conn:?}");
        assert!(back.refused > 0 && back.other.is_empty(), "it stops listening first: {back:?}");
    }
    for (conn, _) in &seen[..3] {
        assert!(end(conn) - closed_at(conn) < ms(250), "who answers is let go at once: {conn:?}");
    }
    let (silent, back) = &seen[3];
    assert!(end(silent) - closed_at(silent) >= ms(450), "who does not is waited for: {silent:?}");
    let down = back.up.expect("it comes back") - end(silent);
    assert!(down >= ms(150) && down < ms(1200), "{down:?}");
    assert_eq!(run.endings(), ["web: graceful by server 1012>1012 fin clean told 1012 | server told 1012 fin ×2"]);
    assert_eq!(run.summary.close_reasons[0].reason, "restart");
    assert_fault(&run, "graceful", 2);
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn server_restart_rolling_takes_one_port_after_the_other() {
    let fault = "[[faults]]\nname = \"rolling\"\nat = \"400ms\"\ninject = { server_restart_rolling = { interval = \"400ms\", mode = \"crash\", down = \"250ms\" } }\n";
    let observe = async |fault: &str| {
        let running: Running = start(&scenario(ms(2200), 3, fault));
        let ports = running.ports(3).await;
        let mut tasks = Vec::new();
        for port in &ports {
            let (port, others) = (*port, ports.clone());
            let mut conn = Conn::open(port, None).await;
            tasks.push(tokio::spawn(async move {
                conn.play(&Script::default(), ms(1900)).await;
                // Those whose turn has not come accept.
                let later = others.iter().skip_while(|other| **other != port).skip(1);
                let mut accepting = true;
                for other in later {
                    accepting &= TcpStream::connect(("127.0.0.1", *other)).await.is_ok();
                }
                (conn, come_back(port).await, accepting)
            }));
        }
        (all(tasks).await, running.finish().await)
    };
    let ((seen, run), (calm, control)) = tokio::join!(observe(fault), observe(""));
    for (conn, back, accepting) in &calm {
        assert!(conn.end.is_none() && back.refused == 0 && back.up.is_some() && *accepting, "{conn:?} {back:?}");
    }
    assert_eq!(control.endings(), Vec::<String>::new());
    for (conn, back, accepting) in &seen {
        assert_eq!(conn.end.map(|end| end.1), Some(End::Fin), "{conn:?}");
        assert!(back.refused > 0 && back.other.is_empty() && *accepting, "{back:?}");
        let down = back.up.expect("it comes back") - end(conn);
        assert!(down >= ms(100) && down < ms(1200), "{down:?}");
    }
    for pair in seen.windows(2) {
        let apart = end(&pair[1].0) - end(&pair[0].0);
        assert!(apart >= ms(200) && apart < ms(800), "{apart:?}");
    }
    // Two clients on instances 0 and 1.
    assert_eq!(run.endings(), ["web: rolling by server ->- fin told 1006 ×2"]);
    assert_fault(&run, "rolling", 2);
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn server_restart_rolling_closes_one_instance_after_the_other() {
    let fault = "[[faults]]\nname = \"rolling\"\nat = \"400ms\"\ninject = { server_restart_rolling = { interval = \"400ms\", mode = \"graceful\", \
                 code = 1012, reason = \"deploy\", grace = \"300ms\", down = \"250ms\" } }\n";
    let observe = async |fault: &str| {
        let running: Running = start(&scenario(ms(2200), 3, fault));
        let ports = running.ports(3).await;
        let mut tasks = Vec::new();
        for port in ports {
            tasks.push(watch(port, Script::default(), ms(1900)).await);
        }
        (all(tasks).await, running.finish().await)
    };
    let ((seen, run), (calm, control)) = tokio::join!(observe(fault), observe(""));
    assert!(calm.iter().all(is_undisturbed), "{calm:?}");
    assert_eq!(control.endings(), Vec::<String>::new());
    for (conn, back) in &seen {
        let frame = &conn.frames[0];
        assert_eq!((frame.first, &frame.payload[..]), (CLOSE, &[&1012_u16.to_be_bytes()[..], b"deploy"].concat()[..]), "{conn:?}");
        assert_eq!(conn.end.map(|end| end.1), Some(End::Fin), "{conn:?}");
        assert!(back.refused > 0 && back.other.is_empty() && back.up.is_some(), "{back:?}");
    }
    for pair in seen.windows(2) {
        let apart = end(&pair[1].0) - end(&pair[0].0);
        assert!(apart >= ms(200) && apart < ms(800), "in turn: {apart:?}");
    }
    // Two clients on instances 0 and 1.
    assert_eq!(run.endings(), ["web: rolling by server 1012>1012 fin clean told 1012 | server told 1012 fin ×2"]);
    assert_fault(&run, "rolling", 2);
}

/// What a client sees that connects while the server does not answer pings.
#[derive(Debug)]
struct Stalled {
    connected: Duration,
    answered: Duration,
}

/// Pings until five pongs are missing, and then opens another connection; `None`: they never were.
async fn connect_into_silence(port: u16, until: Duration) -> (Conn, Option<Stalled>) {
    let mut conn = Conn::open(port, None).await;
    while conn.age() < until {
        let age = conn.age();
        conn.play(&Script::default().and(age, Act::Ping), age + ms(20)).await;
        if conn.sent.len() < conn.of(PONG).len() + 5 {
            continue;
        }
        let begun = Instant::now();
        let mut stream = timeout(LONG, TcpStream::connect(("127.0.0.1", port))).await.expect("in time").expect("the kernel accepts");
        let connected = begun.elapsed();
        stream.write_all(request(None).as_bytes()).await.expect("a live socket");
        let (head, _) = timeout(LONG, head(&mut stream)).await.expect("in time").expect("an answer at last");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let stalled = Stalled { connected, answered: begun.elapsed() };
        let age = conn.age();
        conn.play(&Script::default(), age + ms(100)).await;
        return (conn, Some(stalled));
    }
    (conn, None)
}

#[tokio::test]
async fn server_pause_accepts_connections_and_answers_nothing() {
    let fault = "[[faults]]\nname = \"pause\"\nat = \"400ms\"\nfor = \"800ms\"\ninject = { server_pause = {} }\n";
    let observe = async |fault: &str| {
        let running = start(&scenario(ms(1600), 1, fault));
        let port = running.ports(1).await[0];
        (connect_into_silence(port, ms(1100)).await, running.finish().await)
    };
    let (((conn, stalled), run), ((calm, never), control)) = tokio::join!(observe(fault), observe(""));
    assert!(never.is_none() && calm.lost() == 0, "{calm:?}");
    let stalled = stalled.unwrap_or_else(|| panic!("pongs went on: {conn:?}"));
    // Five pings are 100 ms of the 800.
    assert!(stalled.connected < ms(200), "the kernel completes TCP: {stalled:?}");
    assert!(stalled.answered >= ms(400) && stalled.answered < ms(1200), "the upgrade waits for the end of the pause: {stalled:?}");
    assert_eq!((conn.lost(), conn.of(PONG).len()), (0, conn.sent.len()), "every ping is answered after all: {conn:?}");
    for run in [&run, &control] {
        assert_eq!((run.endings(), run.summary.connections.open_at_end), (Vec::<String>::new(), 2));
    }
    assert_fault(&run, "pause", 2);
    let paused = run.offset("reverted", "") - run.offset("fired", "");
    assert!(paused >= ms(790) && paused < ms(1200), "{paused:?}");
}

/// Forty clients that come back 300 ms after they were lost.
const CROWD: &str = "[clients.web]\ncount = 40\narrive = { over = \"400ms\" }\nreconnect = { fixed = { delay = \"300ms\" } }\n";

fn crowd(duration: Duration, target: &str, faults: &str) -> String {
    format!("duration = \"{}ms\"\n[target.embedded]\n{target}{CROWD}{faults}", duration.as_millis())
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn a_server_that_stops_still_suffers_faults_and_stops_when_nobody_is_left() {
    let stop = "[[faults]]\nname = \"stop\"\nat = \"800ms\"\ninject = { server_graceful = { spread = \"8s\", down = \"300ms\" } }\n";
    let cut = "[[faults]]\nname = \"cut\"\nat = \"1500ms\"\nside = \"server\"\ninject = { drop_rst = {} }\n";
    let run = start(&crowd(ms(5000), "", &format!("{stop}{cut}"))).finish().await;
    let cut = run.fault("cut");
    assert!(cut.selected >= 30 && cut.injected == cut.selected, "{cut:?}");
    // Each ending has the cause of whoever was first, and the server went down long before its spread was over.
    let resets: u64 =
        run.summary.endings.iter().filter(|row| row.cause == "cut" && row.tcp_end.as_deref() == Some("rst")).map(|row| row.count).sum();
    assert!(resets >= 30, "{:?}", run.endings());
    assert!(run.summary.connections.opened >= 75, "nobody came back: {:?}", run.summary.connections);
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn a_server_that_is_stopped_serves_no_handshakes_meanwhile() {
    let fault = "[[faults]]\nname = \"pause\"\nat = \"700ms\"\nfor = \"1500ms\"\ninject = { server_pause = {} }\n";
    let run = start(&crowd(ms(6000), "handshake_cost = \"50ms\"\n", fault)).finish().await;
    // Forty take 2 s, and the stop comes on top of it: were they served meanwhile, all would be open when it is over.
    let opened = run.events.iter().filter(|row| row[1] == "opened").filter_map(|row| row[0].parse().ok());
    let last = opened.map(Duration::from_micros).max().expect("they opened");
    assert_eq!(run.summary.connections.opened, 40);
    assert!(last >= ms(3_400) && last < ms(4_500), "the last one opened at {last:?}");
}

#[tokio::test]
async fn a_balancer_that_knows_who_is_up_knows_who_refuses() {
    let fault = "[[faults]]\nat = \"0s\"\ninject = { connect_refuse = { instance = 1 } }\n";
    let refused = async |balance: &str| {
        let target = format!("instances = 2\nbalance = \"{balance}\"\n");
        start(&crowd(ms(1500), &target, fault)).finish().await.summary.attempts.counts.refused
    };
    let (healthy, in_turn) = tokio::join!(refused("healthy"), refused("round_robin"));
    // The first may come before the listening socket is closed, and after the fault has fired.
    assert!(healthy == 0 && in_turn >= 15, "{healthy} and {in_turn}");
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn a_server_that_starts_again_does_not_listen_before_it_knows_what_stands() {
    for (inject, outcome) in [("connect_refuse = {}", "refused"), ("backlog_full = { backlog = 0 }", "timed_out")] {
        let faults = format!(
            "[[faults]]\nname = \"door\"\nat = \"700ms\"\ninject = {{ {inject} }}\n\
             [[faults]]\nname = \"kill\"\nat = \"1s\"\ninject = {{ server_crash = {{ down = \"400ms\" }} }}\n"
        );
        let deadlines = "deadlines = { connect = \"400ms\", handshake = \"400ms\" }\n";
        let run = start(&crowd(ms(3500), "", &format!("{deadlines}{faults}"))).finish().await;
        let door = run.fault("door");
        assert_eq!((door.fired, door.selected, door.injected), (1, 1, 1), "{inject}: the instance is one, whatever its process");
        assert_eq!(run.summary.connections.opened, 40, "{inject}: nobody slips in");
        let attempts = &run.summary.attempts.counts;
        assert!(if outcome == "refused" { attempts.refused > 200 } else { attempts.timed_out > 60 }, "{inject}: {attempts:?}");
        assert!(run.summary.verdict.reasons.iter().all(|why| !why.contains("not carried out")), "{:?}", run.summary.verdict.reasons);
    }
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn behind_a_dead_path_not_even_the_fin_of_a_killed_server_arrives() {
    let hole = |more: &str| {
        format!("[[faults]]\nname = \"hole\"\nat = \"700ms\"\n{more}inject = {{ blackhole = {{ on_revert = \"resume\" }} }}\n")
    };
    let kill = "[[faults]]\nname = \"kill\"\nat = \"1200ms\"\ninject = { server_crash = { down = \"300ms\" } }\n";
    let stop = "[[faults]]\nname = \"kill\"\nat = \"1200ms\"\ninject = { server_graceful = { grace = \"300ms\", down = \"300ms\" } }\n";
    let run = async |hole: &str, end: &str| start(&crowd(ms(3000), "", &format!("{hole}{end}"))).finish().await;
    let (standing, reverted) = (hole(""), hole("for = \"1s\"\n"));
    let (killed, stopped, healed) = tokio::join!(run(&standing, kill), run(&standing, stop), run(&reverted, kill));
    for run in [&killed, &stopped] {
        assert_eq!((run.endings(), run.summary.connections.open_at_end), (Vec::<String>::new(), 40));
        assert_fault(run, "kill", 40);
    }
    // The path is back: so is what the kernel had to say.
    assert_eq!(healed.endings(), ["web: kill by server ->- fin told 1006 ×40"]);
    let detected = healed.offset("ended", "0");
    assert!(detected >= ms(1690), "{detected:?}");
}
