//! Faults of the opening handshake, seen by clients that read what comes byte by byte.

use super::arms::{Server, effect};
use super::wire::{End, ms, request};
use crate::common::{LONG, start};
use closestorm::fault::Effect;
use closestorm::plan::{Embedded, Pick};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// What one attempt was answered.
#[derive(Debug)]
struct Answer {
    connected: Duration,
    text: String,
    end: Option<(Duration, End)>,
}

impl Answer {
    fn is_open(&self) -> bool {
        self.text.starts_with("HTTP/1.1 101 ") && self.end.is_none()
    }
}

/// Sends an opening handshake as `client` and reads until the end, or for `patience`.
async fn attempt(port: u16, client: u32, patience: Duration) -> Answer {
    let begun = Instant::now();
    let mut stream = timeout(LONG, TcpStream::connect(("127.0.0.1", port))).await.expect("in time").expect("the server listens");
    let connected = begun.elapsed();
    let id = format!("{client}/1");
    stream.write_all(request(Some(&id)).as_bytes()).await.expect("a live socket");
    let (mut bytes, mut end) = (Vec::new(), None);
    while end.is_none() {
        match timeout_at(begun + patience, stream.read_buf(&mut bytes)).await {
            Err(_) => break,
            Ok(Ok(0)) => end = Some((begun.elapsed(), End::Fin)),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                end = Some((begun.elapsed(), End::Rst));
            }
        }
    }
    Answer { connected, text: String::from_utf8(bytes).expect("text"), end }
}

/// Has a server carry out a fault on attempts of clients below `clients`; `None`: the control.
pub(super) async fn suffering(inject: Option<&'static str>, clients: u32, pick: Pick, first_n: Option<u64>) -> Server {
    let mut server = Server::start(&Embedded::default()).await;
    if let Some(inject) = inject {
        let Effect::Attempt(effect) = effect(inject) else { panic!("not of attempts") };
        server.allow_hits(first_n.map_or(0, |hits| hits as u32));
        let standing = json!({ "clients": [0, clients], "pick": pick, "stream": "fault/proof/attempts", "bounded": first_n.is_some() });
        server.tell(&json!({ "Attempts": { "firing": { "fault": 0, "number": 0 }, "effect": effect, "standing": standing } })).await;
        obeyed(&mut server).await;
    }
    server
}

/// Waits until the server has read what it was told: a fault that acts on a connection of its own is reported after that.
async fn obeyed(server: &mut Server) {
    let probe = super::wire::Conn::open(server.port, Some("4000000000/1")).await;
    let dose = json!({ "firing": { "fault": 77, "number": 0 }, "gate": closestorm::fault::ConnectionEffects::default(), "steps": [closestorm::fault::InjectionStep::End(closestorm::fault::End::Fin)] });
    server.tell(&json!({ "Inject": { "dose": dose, "ids": [{ "client": 4_000_000_000_u32, "connection": 1 }] } })).await;
    server.reported("Ended", 1).await;
    server.reports.clear();
    drop(probe);
}

/// Clients that the server reported as hit.
pub(super) async fn hit(server: &mut Server, count: usize) -> BTreeSet<u64> {
    let injected = server.reported("Injected", count).await;
    injected.iter().map(|line| line["id"]["client"].as_u64().expect("a client")).collect()
}

#[tokio::test]
async fn accept_stall_is_silence_and_then_a_fin() {
    let observe = async |inject: Option<&'static str>, patience: Duration| {
        let mut server = suffering(inject, 1, Pick::All, None).await;
        let (hit_one, neighbour) = tokio::join!(attempt(server.port, 0, patience), attempt(server.port, 1, patience));
        assert!(neighbour.is_open(), "a client that was not selected: {neighbour:?}");
        if inject.is_some() {
            assert_eq!(hit(&mut server, 1).await, BTreeSet::from([0]));
        }
        hit_one
    };
    let (held, forever, control) = tokio::join!(
        observe(Some("accept_stall = { hold = \"400ms\" }"), ms(1000)),
        observe(Some("accept_stall = {}"), ms(1000)),
        observe(None, ms(1000))
    );
    let (end, how) = held.end.unwrap_or_else(|| panic!("no end: {held:?}"));
    assert!(how == End::Fin && end >= ms(400) && end < ms(800) && held.text.is_empty(), "{held:?}");
    assert!(forever.end.is_none() && forever.text.is_empty(), "{forever:?}");
    assert!(held.connected < ms(200) && forever.connected < ms(200), "TCP is accepted all the same: {held:?} {forever:?}");
    assert!(control.is_open(), "{control:?}");
}

#[tokio::test]
async fn upgrade_status_is_an_http_answer_of_that_shape() {
    let observe = async |inject: Option<&'static str>| {
        let mut server = suffering(inject, 1, Pick::All, None).await;
        let (hit_one, neighbour) = tokio::join!(attempt(server.port, 0, ms(600)), attempt(server.port, 1, ms(600)));
        assert!(neighbour.is_open(), "a client that was not selected: {neighbour:?}");
        if inject.is_some() {
            assert_eq!(hit(&mut server, 1).await, BTreeSet::from([0]));
        }
        hit_one
    };
    let (busy, plain, control) = tokio::join!(
        observe(Some("upgrade_status = { status = 429, retry_after = \"7s\", body = \"100B\" }")),
        observe(Some("upgrade_status = {}")),
        observe(None)
    );
    for (answer, status, retry_after, body) in
        [(&busy, "429 Too Many Requests", Some("7"), 100), (&plain, "503 Service Unavailable", None, 0)]
    {
        let (head, content) = answer.text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {answer:?}"));
        let mut lines = head.split("\r\n");
        assert_eq!(lines.next(), Some(format!("HTTP/1.1 {status}").as_str()));
        let fields: Vec<_> = lines.filter_map(|line| line.split_once(": ")).collect();
        let field = |name: &str| fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
        assert_eq!((field("Retry-After"), field("Content-Length")), (retry_after, Some(body.to_string().as_str())), "{head}");
        assert_eq!(content.len(), body, "{answer:?}");
        assert!(answer.end.is_some_and(|(at, how)| how == End::Fin && at < ms(400)), "{answer:?}");
    }
    assert!(control.is_open(), "{control:?}");
}

/// Which of `count` attempts, one after the other, are rejected.
async fn rejected(pick: Pick, first_n: Option<u64>, count: u32) -> BTreeSet<u64> {
    let mut server = suffering(Some("upgrade_status = { status = 500 }"), count, pick, first_n).await;
    let mut rejected = BTreeSet::new();
    for client in 0..count {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).await.expect("the server listens");
        stream.write_all(request(Some(&format!("{client}/1"))).as_bytes()).await.expect("a live socket");
        let mut status = [0; 12];
        timeout(LONG, stream.read_exact(&mut status)).await.expect("in time").expect("an answer");
        match &status {
            b"HTTP/1.1 500" => _ = rejected.insert(u64::from(client)),
            b"HTTP/1.1 101" => {}
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    }
    assert_eq!(hit(&mut server, rejected.len()).await, rejected, "reported is what was seen");
    rejected
}

#[tokio::test]
async fn attempts_are_selected_by_nth_and_first_n() {
    let (nth, first, all) = tokio::join!(rejected(Pick::Nth(3), None, 12), rejected(Pick::All, Some(4), 12), rejected(Pick::All, None, 5));
    assert_eq!(nth, BTreeSet::from([2, 5, 8, 11]));
    assert_eq!(first, BTreeSet::from([0, 1, 2, 3]));
    assert_eq!(all.len(), 5);
}

#[tokio::test]
async fn a_run_counts_the_attempts_that_its_faults_hit() {
    let cohort = |name: &str, more: &str| {
        format!(
            "[clients.{name}]\ncount = 12\narrive = {{ over = \"1s\" }}\nreconnect = \"none\"\ndeadlines = {{ handshake = \"300ms\" }}\n{more}\n"
        )
    };
    let clients: String = ["calm", "nth", "first", "stalled"].iter().map(|name| cohort(name, "")).collect();
    let fault = |name: &str, more: &str, inject: &str| {
        format!(
            "[[faults]]\nname = \"f-{name}\"\nat = \"0s\"\nselect = {{ cohort = \"{name}\"{} }}\n{more}inject = {{ {inject} }}\n",
            if name == "nth" { ", nth = 4" } else { "" }
        )
    };
    let faults = [
        fault("nth", "", "upgrade_status = { status = 503 }"),
        fault("first", "first_n = 5\n", "upgrade_status = { status = 401 }"),
        fault("stalled", "first_n = 2\n", "accept_stall = {}"),
    ];
    let head = "duration = \"1500ms\"\n[target.embedded]\n";
    let (run, control) =
        tokio::join!(start(&format!("{head}{clients}{}", faults.concat())).finish(), start(&format!("{head}{clients}")).finish());
    let attempts = |name: &str| {
        let attempts = &run.summary.cohorts[name].attempts.counts;
        (attempts.opened, attempts.rejected, attempts.timed_out)
    };
    assert_eq!(attempts("calm"), (12, 0, 0));
    // Clients 15, 19 and 23 of 12 to 23.
    assert_eq!(attempts("nth"), (9, 3, 0));
    assert_eq!(attempts("first"), (7, 5, 0));
    assert_eq!(attempts("stalled"), (10, 0, 2));
    for (name, hits) in [("nth", 3), ("first", 5), ("stalled", 2)] {
        assert_eq!(run.fault(&format!("f-{name}")).injected, hits, "{name}");
    }
    assert_eq!(
        (control.summary.attempts.counts.opened, control.summary.attempts.counts.rejected, control.summary.attempts.counts.timed_out),
        (48, 0, 0)
    );
}
