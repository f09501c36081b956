//! The two arms of a proof, with and without the injector, for faults of connections.
//!
//! On the client side the observer is a server and the program runs whole. On the server side the observer is both the clients of an
//! embedded server process and the parent that tells it what to do.

use super::wire::{Conn, Script, ms};
use crate::common::{Finished, LONG, start};
pub(super) use crate::embedded::{Server, effect};
use closestorm::close::{Cause, Ending, Initiator};
use closestorm::fault::{ConnectionEffects, Effect, InjectionStep, Side};
use closestorm::plan::{Embedded, Plan};
use closestorm::scenario::{Overrides, Source, load};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until, timeout};

/// When faults fire: offset in a run, or age of the connections.
pub(super) const AT: Duration = ms(300);
/// Length of a run; what ends before `SOON` was not ended by the end of the run.
pub(super) const RUN: Duration = ms(1500);
/// See [`RUN`].
pub(super) const SOON: Duration = ms(1350);

/// One injection, on a connection of its own.
pub(super) struct Case {
    /// As in a scenario: `drop_fin = {}`.
    pub(super) inject: &'static str,
    /// Reverted after this time.
    pub(super) hold: Option<Duration>,
    /// On the server's side: it closes with 1000 while the fault holds, and as late without it.
    pub(super) server_closes: bool,
    /// What the observer does on this connection.
    pub(super) script: Script,
    /// Whether the observer saw the fault act.
    pub(super) saw: Saw,
}

/// Evidence that only the fault explains.
pub(super) type Saw = Box<dyn Fn(&Conn) -> bool>;

/// A case in which the observer only answers.
pub(super) fn case(inject: &'static str, saw: impl Fn(&Conn) -> bool + 'static) -> Case {
    Case { inject, hold: None, server_closes: false, script: Script::default(), saw: Box::new(saw) }
}

impl Case {
    /// The observer does this.
    pub(super) fn script(self, script: Script) -> Case {
        Case { script, ..self }
    }

    /// The server closes while the fault holds.
    pub(super) fn server_closes(self) -> Case {
        Case { server_closes: true, ..self }
    }

    /// The fault is reverted after this time.
    pub(super) fn hold(self, hold: Duration) -> Case {
        Case { hold: Some(hold), ..self }
    }
}

/// Asserts what each observer saw, with and without the injector. Connection 0 is a neighbour that no fault selects.
fn judge(cases: &[Case], with: &[Conn], without: &[Conn]) {
    assert_eq!((with.len(), without.len()), (cases.len() + 1, cases.len() + 1), "connections");
    for (case, (with, without)) in cases.iter().zip(with[1..].iter().zip(&without[1..])) {
        assert!((case.saw)(with), "{} did not show: {with:?}", case.inject);
        assert!(!(case.saw)(without), "{} showed without being injected: {without:?}", case.inject);
    }
    assert!(!(cases[0].saw)(&with[0]), "{} leaked to a connection that it did not select: {:?}", cases[0].inject, with[0]);
}

fn scripts(cases: &[Case]) -> Vec<Script> {
    // The neighbour's observer does what the first case's does.
    cases.iter().take(1).chain(cases).map(|case| case.script.clone()).collect()
}

fn faults(cases: &[Case], side: &str) -> String {
    let fault = |(index, case): (usize, &Case)| {
        let hold = case.hold.map_or(String::new(), |hold| format!("for = \"{}ms\"\n", hold.as_millis()));
        format!(
            "[[faults]]\nname = \"f{index}\"\nat = \"{}ms\"\nside = \"{side}\"\nselect = {{ cohort = \"c{index}\" }}\n{hold}inject = {{ {} }}\n",
            AT.as_millis(),
            case.inject,
        )
    };
    (1..).zip(cases).map(fault).collect()
}

fn cohorts(cases: &[Case], traffic: &str) -> String {
    cohorts_of(cases.len() + 1, traffic)
}

/// Cohorts `c0` and so on, of one client each.
pub(super) fn cohorts_of(count: usize, traffic: &str) -> String {
    let cohort = |index| format!("[clients.c{index}]\ncount = 1\narrive = {{ at_once = true }}\nreconnect = \"none\"\n{traffic}\n");
    (0..count).map(cohort).collect()
}

/// What both arms of a proof on the client side left.
pub(super) struct Clients {
    /// With the injector, by client index.
    pub(super) conns: Vec<Conn>,
    /// What the run recorded.
    pub(super) run: Finished,
    /// Without the injector.
    pub(super) control: Finished,
    /// Without the injector, by client index.
    pub(super) calm: Vec<Conn>,
}

/// Proves faults of simulated clients. Case `k`, from 1, is injected into client `k`, the only one of the cohort `ck`.
pub(super) async fn clients(traffic: &str, cases: &[Case]) -> Clients {
    let faults = faults(cases, "client");
    let (with, without) = tokio::join!(clients_arm(cases, traffic, &faults), clients_arm(cases, traffic, ""));
    judge(cases, &with.0, &without.0);
    let run = with.1;
    for (index, case) in (1..).zip(cases) {
        let row = run.fault(&format!("f{index}"));
        assert_eq!((row.fired, row.selected, row.injected, row.side.as_str()), (1, 1, 1, "client"), "{}: {row:?}", case.inject);
    }
    Clients { conns: with.0, run, control: without.1, calm: without.0 }
}

async fn clients_arm(cases: &[Case], traffic: &str, faults: &str) -> (Vec<Conn>, Finished) {
    let scripts = scripts(cases);
    let (seen, finished) = observe(&format!("{}{faults}", cohorts(cases, traffic)), move |client| scripts[client].clone()).await;
    (seen.into_values().collect(), finished)
}

/// Runs a scenario against an observer that is the server. Returns its connections by client and connection number.
pub(super) async fn observe(
    scenario: &str,
    script: impl Fn(usize) -> Script + Clone + Send + 'static,
) -> (BTreeMap<(usize, u32), Conn>, Finished) {
    observe_for(RUN, scenario, script).await
}

/// [`observe`] in a run of another length.
pub(super) async fn observe_for(
    length: Duration,
    scenario: &str,
    script: impl Fn(usize) -> Script + Clone + Send + 'static,
) -> (BTreeMap<(usize, u32), Conn>, Finished) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let running = start(&format!("duration = \"{}ms\"\n[target.url]\naddress = \"ws://{address}/\"\n{scenario}", length.as_millis()));
    let mut playing = tokio::task::JoinSet::new();
    let finish = running.finish();
    tokio::pin!(finish);
    let finished = loop {
        tokio::select! {
            finished = &mut finish => break finished,
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("connections");
                let script = script.clone();
                playing.spawn(async move {
                    // None from a client whose attempt the end of the run cut.
                    let (mut conn, id) = Conn::accept(stream).await.ok()?;
                    let Some((client, connection)) = id.split_once('/') else {
                        // The probe before the run has no id: it is no client's.
                        conn.play(&Script::default(), LONG).await;
                        return None;
                    };
                    let (client, connection) = (client.parse::<u32>().expect("a number"), connection.parse::<u32>().expect("a number"));
                    conn.play(&script(client as usize), LONG).await;
                    Some(((client as usize, connection), conn))
                });
            }
        }
    };
    let played = timeout(LONG, playing.join_all()).await.expect("observers end with the run");
    (played.into_iter().flatten().collect(), finished)
}

/// What the arm with the injector of a proof on the server side left.
pub(super) struct Served {
    /// By client index.
    pub(super) conns: Vec<Conn>,
    /// The server's account of each connection that ended, in the words of [`account`].
    pub(super) endings: BTreeMap<usize, String>,
    /// Clients on whose connection the server told that their fault acted, sorted.
    pub(super) injected: Vec<usize>,
    /// Without the injector, by client index.
    pub(super) calm: Vec<Conn>,
}

/// Proves faults of an embedded server. Case `k`, from 1, is injected into the connection of client `k`.
pub(super) async fn server(settings: &Embedded, until: Duration, cases: &[Case]) -> Served {
    let arm = |inject| server_arm(settings, until, scripts(cases), commands(cases, inject));
    let (with, without) = tokio::join!(arm(true), arm(false));
    judge(cases, &with.conns, &without.conns);
    let expected: Vec<_> = (1..=cases.len()).collect();
    assert_eq!((with.injected.as_slice(), without.injected.len()), (expected.as_slice(), 0), "injected");
    Served { calm: without.conns, ..with }
}

/// Plays these scripts against an embedded server that is told these things, at these ages of the connections.
pub(super) async fn server_arm(settings: &Embedded, until: Duration, scripts: Vec<Script>, commands: Vec<(Duration, Value)>) -> Served {
    let last = scripts.len();
    let mut server = Server::start(settings).await;
    let mut playing = tokio::task::JoinSet::new();
    for (client, script) in scripts.into_iter().enumerate() {
        let mut conn = Conn::open(server.port, Some(&format!("{client}/1"))).await;
        playing.spawn(async move {
            conn.play(&script, until).await;
            (client, conn)
        });
    }
    // No connection is younger than this.
    let begun = Instant::now();
    for (at, command) in commands {
        sleep_until(Instant::now().max(begun + at)).await;
        server.tell(&command).await;
    }
    let conns: BTreeMap<_, _> = playing.join_all().await.into_iter().collect();
    // What was reported so far is in the socket: the answer to a last connection comes behind it.
    let mut end = Conn::open(server.port, Some(&format!("{last}/1"))).await;
    end.play(&Script::default().and(Duration::ZERO, super::wire::Act::Close(1000)), LONG).await;
    let mut served = Served { conns: conns.into_values().collect(), endings: BTreeMap::new(), injected: Vec::new(), calm: Vec::new() };
    while !served.endings.contains_key(&last) {
        let line = server.line().await.expect("the server goes on");
        let client = |line: &Value| line["id"]["client"].as_u64().expect("a client") as usize;
        if let Some(line) = line.get("Injected") {
            if line["fault"] != json!(CLOSER) {
                assert_eq!(line["fault"], json!(client(line) - 1), "a fault on another's connection");
                served.injected.push(client(line));
            }
        } else if let Some(line) = line.get("Ended") {
            let ending = serde_json::from_value(line["ending"].clone()).expect("an ending");
            served.endings.insert(client(line), account(&ending));
        }
    }
    served.endings.remove(&last);
    served.injected.sort_unstable();
    served
}

/// The fault that has the server close as a user of it would; it is not under test.
const CLOSER: usize = 99;

/// What the server is told, and at which age of the connections.
fn commands(cases: &[Case], inject: bool) -> Vec<(Duration, Value)> {
    let mut commands = Vec::new();
    let mut dose = |at: Duration, fault: usize, client: usize, gate: &ConnectionEffects, steps: &[InjectionStep]| {
        let dose = json!({ "firing": { "fault": fault, "number": 0 }, "gate": gate, "steps": steps });
        commands.push((at, json!({ "Inject": { "dose": dose, "ids": [{ "client": client, "connection": 1 }] } })));
    };
    for (index, fault) in plan(cases).faults.iter().enumerate() {
        if inject {
            let Effect::Connection { gate, steps } = fault.inject.effect(Side::Server) else { panic!("not of a connection") };
            dose(AT, index, index + 1, &gate, &steps);
        }
        if cases[index].server_closes {
            let close = InjectionStep::Close { code: Some(1000), reason: String::new() };
            dose(AT + ms(200), CLOSER, index + 1, &ConnectionEffects::default(), &[close]);
        }
    }
    let holds = cases.iter().enumerate().filter_map(|(index, case)| Some((AT + case.hold?, index)));
    commands.extend(holds.map(|(at, index)| (at, json!({ "Revert": { "firing": { "fault": index, "number": 0 } } }))));
    commands.sort_by_key(|(at, _)| *at);
    commands
}

/// The plan of a scenario that has these faults on the server's side.
fn plan(cases: &[Case]) -> Plan {
    planned(cases, &faults(cases, "server"))
}

fn planned(cases: &[Case], faults: &str) -> Plan {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("proof.toml");
    let text = format!("duration = \"10s\"\n[target.embedded]\n{}{faults}", cohorts(cases, ""));
    std::fs::write(&file, text).expect("the folder can be written");
    load(&Source::File(file), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

/// One side's account of an ending, as `f1 by server 1000>1000 fin clean told 1000 and 7 B after`; faults are numbered as cases are.
fn account(ending: &Ending) -> String {
    let code = |code: Option<u16>| code.map_or("-".to_owned(), |code| code.to_string());
    let cause = match ending.cause {
        Cause::Fault(index) if usize::from(index) == CLOSER => "closer".to_owned(),
        Cause::Fault(index) => format!("f{}", index + 1),
        Cause::Remote => "remote".to_owned(),
        Cause::Stay => "stay".to_owned(),
        Cause::Deadline(deadline) => format!("deadline:{deadline}"),
        Cause::Limit(limit) => format!("local:{limit}"),
        Cause::Dialogue(step) => format!("dialogue:{step}"),
    };
    let initiator = match ending.initiator {
        Initiator::Client => "client",
        Initiator::Server => "server",
        Initiator::None => "none",
    };
    let marks = [(ending.mid_frame, " cut"), (ending.clean, " clean")];
    let marks: String = marks.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect();
    let after = if ending.bytes_after > 0 { format!(" and {} B after", ending.bytes_after) } else { String::new() };
    let codes = format!("{}>{}", code(ending.wire_received), code(ending.wire_sent));
    format!("{cause} by {initiator} {codes} {}{marks} told {}{after}", ending.tcp_end, ending.code)
}
