//! Faults of listening sockets, seen by clients that connect: the kernel refuses, resets, or says nothing.

use super::arms::{Server, effect};
use super::frame::TEXT;
use super::handshake::listen_to;
use super::wire::{Act, Conn, End, Script, head, ms, request};
use crate::common::{LONG, start};
use closestorm::fault::Effect;
use closestorm::plan::Embedded;
use serde_json::json;
use std::io::{self, ErrorKind};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Has a server carry out a fault of its listening socket; returns when it has.
async fn listening(server: &mut Server, inject: &'static str) {
    let Effect::Listener { on, instance } = effect(inject) else { panic!("not of a listening socket") };
    server.tell(&json!({ "Listener": { "firing": { "fault": 3, "number": 0 }, "on": on, "instance": instance } })).await;
    let done = server.reported("Reached", 1).await;
    assert_eq!((&done[0]["firing"]["fault"], &done[0]["instance"]), (&json!(3), &json!(0)));
}

async fn revert(server: &mut Server) {
    server.tell(&json!({ "Revert": { "firing": { "fault": 3, "number": 0 } } })).await;
}

async fn connect(port: u16) -> (Duration, io::Result<TcpStream>) {
    let begun = Instant::now();
    let connected = timeout(LONG, TcpStream::connect(("127.0.0.1", port))).await.expect("in time");
    (begun.elapsed(), connected)
}

#[tokio::test]
async fn a_closed_listener_refuses_and_resets_what_waits() {
    let observe = async |inject: Option<&'static str>| {
        let mut server = Server::start(&Embedded::default()).await;
        let mut open = Conn::open(server.port, Some("0/1")).await;
        let waiting = TcpStream::connect(("127.0.0.1", server.port)).await.expect("the server listens");
        // Until it was accepted.
        Conn::open(server.port, Some("1/1")).await;
        if let Some(inject) = inject {
            listening(&mut server, inject).await;
        }
        let waited = listen_to(waiting, b"", ms(300)).await;
        let refused = connect(server.port).await.1.map(drop).map_err(|error| error.kind());
        open.play(&Script::default().and(ms(0), Act::Text), ms(200)).await;
        if inject.is_some() {
            assert!(!open.of(TEXT).is_empty() && open.end.is_none(), "what is open stays: {open:?}");
            revert(&mut server).await;
            let deadline = Instant::now() + LONG;
            while connect(server.port).await.1.is_err() {
                assert!(Instant::now() < deadline, "it does not listen again");
                sleep(ms(5)).await;
            }
            Conn::open(server.port, Some("2/1")).await;
        }
        (waited.end.map(|(_, end)| end), refused)
    };
    let (with, without) = tokio::join!(observe(Some("connect_refuse = {}")), observe(None));
    assert_eq!(with, (Some(End::Rst), Err(ErrorKind::ConnectionRefused)));
    assert_eq!(without, (None, Ok(())));
}

#[tokio::test]
async fn a_full_backlog_shows_as_whole_seconds() {
    let observe = async |inject: Option<&'static str>| {
        let mut server = Server::start(&Embedded::default()).await;
        if let Some(inject) = inject {
            listening(&mut server, inject).await;
        }
        let begun = Instant::now();
        // The kernel lets one more in than the queue is long.
        let mut inside = Vec::new();
        for _ in 0..2 {
            let (took, stream) = connect(server.port).await;
            assert!(took < ms(300), "{took:?}");
            inside.push(stream.expect("room in the queue"));
        }
        let outside = tokio::spawn(connect(server.port));
        let silence = listen_to(inside.remove(0), request(Some("0/1")).as_bytes(), ms(600)).await;
        tokio::time::sleep_until(begun + ms(1300)).await;
        revert(&mut server).await;
        let late = listen_to(inside.remove(0), request(Some("1/1")).as_bytes(), ms(400)).await;
        assert!(late.is_open(), "those in the queue are served when it is over: {late:?}");
        let (took, stream) = outside.await.expect("no panic");
        stream.expect("it connects in the end");
        (silence, took)
    };
    let (with, without) = tokio::join!(observe(Some("backlog_full = { backlog = 1 }")), observe(None));
    assert!(with.0.bytes.is_empty() && with.0.end.is_none(), "{:?}", with.0);
    // SYN retries at 1, 2, 3 and 4 s, or at 1, 3 and 7 s on kernels before 6.5: the first after 1.3 s counts.
    let past = ms(u64::from(with.1.subsec_millis()));
    assert!((2..=3).contains(&with.1.as_secs()) && past < ms(250), "{:?} is not on the grid", with.1);
    assert!(without.0.is_open() && without.1 < ms(300), "{without:?}");
}

#[tokio::test]
async fn a_process_without_files_leaves_clients_waiting() {
    let observe = async |inject: Option<&'static str>| {
        let mut server = Server::start(&Embedded::default()).await;
        let mut open = Conn::open(server.port, Some("9/1")).await;
        if let Some(inject) = inject {
            listening(&mut server, inject).await;
        }
        let mut spare = Conn::open(server.port, Some("0/1")).await;
        let (took, stream) = connect(server.port).await;
        let mut stream = stream.expect("the kernel connects");
        assert!(took < ms(300), "{took:?}");
        stream.write_all(request(Some("1/1")).as_bytes()).await.expect("a live socket");
        let answered = timeout(ms(500), stream.readable()).await.is_ok();
        spare.play(&Script::default().and(ms(0), Act::Text), ms(700)).await;
        open.play(&Script::default().and(open.age(), Act::Text), open.age() + ms(200)).await;
        assert!(!spare.of(TEXT).is_empty() && !open.of(TEXT).is_empty(), "what is open goes on");
        revert(&mut server).await;
        let (head, _) = timeout(LONG, head(&mut stream)).await.expect("in time").expect("served when it is over");
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        answered
    };
    let (with, without) = tokio::join!(observe(Some("fd_exhaust = { spare = 1 }")), observe(None));
    assert!(!with && without, "with the fault {with}, without {without}");
}

#[tokio::test]
async fn a_server_that_starts_again_is_told_what_stands() {
    let scenario = "duration = \"2s\"\n[target.embedded]\n[clients.web]\ncount = 1\narrive = { at_once = true }\nreconnect = \"none\"\n\
         [[faults]]\nname = \"shut\"\nat = \"100ms\"\nfor = \"1200ms\"\ninject = { connect_refuse = {} }\n\
         [[faults]]\nname = \"crash\"\nat = \"300ms\"\ninject = { server_crash = { down = \"100ms\" } }\n";
    let running = start(scenario);
    let port = running.ports(1).await[0];
    let mut tries = Vec::new();
    let finish = running.finish();
    tokio::pin!(finish);
    let run = loop {
        tokio::select! {
            run = &mut finish => break run,
            () = sleep(ms(20)) => tries.push((Instant::now(), connect(port).await.1.map(drop).map_err(|error| error.kind()))),
        }
    };
    let shut = tries.iter().find(|(_, result)| result.is_err()).expect("it refuses").0;
    let served = |from: Duration, to: Duration| {
        let between = tries.iter().filter(|(at, _)| *at >= shut + from && *at < shut + to);
        between.fold((0, 0), |(open, refused), (_, result)| if result.is_ok() { (open + 1, refused) } else { (open, refused + 1) })
    };
    let listening = run.events.iter().find(|row| row[5].ends_with("what=listening")).expect("it came back");
    let listening = Duration::from_micros(listening[0].parse().expect("an offset"));
    assert!(listening < ms(1000), "{listening:?}");
    // From well after the new process listened to the revert, and from then to the end of the run.
    let (shut_again, served_again) = (served(ms(900), ms(1100)), served(ms(1300), ms(1700)));
    assert!(shut_again.0 == 0 && shut_again.1 > 0, "{shut_again:?}");
    assert!(served_again.0 > 0 && served_again.1 == 0, "{served_again:?}");
}
