//! Who takes steps, and what is told of each.

use super::*;
use crate::seed::Seed;
use crate::serve::StepServer;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A server whose connections get their steps from here, and what it tells of them.
async fn hosted() -> (SocketAddr, mpsc::UnboundedSender<PathSteps>, mpsc::UnboundedReceiver<Visit>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let ((steps, prepared), (told, visits)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let server = StepServer::for_visitors(Seed(1), Arc::new(Visitors::new(prepared, told)), None).expect("no certificate");
    let task = tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    (address, steps, visits, task)
}

async fn said(address: SocketAddr, text: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    socket.write_all(text.as_bytes()).await.expect("a live socket");
    socket
}

async fn answer(mut socket: TcpStream) -> String {
    let mut text = String::new();
    // One that was reset says no more.
    let _ = timeout(Duration::from_secs(20), socket.read_to_string(&mut text)).await.expect("it ends");
    text.lines().next().unwrap_or_default().to_owned()
}

async fn next(visits: &mut mpsc::UnboundedReceiver<Visit>) -> (u64, String) {
    let visit = timeout(Duration::from_secs(20), visits.recv()).await.expect("soon").expect("a live server");
    let what = match visit.event {
        VisitEvent::Came(_) => "came",
        VisitEvent::Beside => "beside",
        VisitEvent::Opened(1) => "opened",
        VisitEvent::Opened(_) => "opened as one of several",
        VisitEvent::Ended(None) => "ended",
        VisitEvent::Ended(Some(_)) => "ended after it was open",
        VisitEvent::Passed => "passed",
    };
    (visit.number, what.to_owned())
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test]
async fn only_a_request_for_a_websocket_takes_steps() {
    let (address, steps, mut visits, server) = hosted().await;
    let status = |status: u16| format!("/upgrade_status?status={status}").parse::<PathSteps>().expect("steps");
    steps.send(status(503)).expect("a live server");
    // A look at the port, a plain GET, and a request that stays unfinished take nothing.
    drop(said(address, "").await);
    assert_eq!(next(&mut visits).await, (0, "passed".to_owned()));
    assert!(answer(said(address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(next(&mut visits).await, (0, "passed".to_owned()));
    let slow = said(address, &UPGRADE[..40]).await;
    assert!(answer(said(address, UPGRADE).await).await.starts_with("HTTP/1.1 503 "), "the first steps go to the first who asks");
    assert_eq!(next(&mut visits).await, (1, "came".to_owned()));
    assert_eq!(next(&mut visits).await, (1, "ended".to_owned()));
    drop(slow);
    assert_eq!(next(&mut visits).await, (0, "passed".to_owned()));
    // Who gives up before there are steps leaves them to the next.
    drop(said(address, UPGRADE).await);
    assert_eq!(next(&mut visits).await, (0, "passed".to_owned()));
    steps.send(status(429)).expect("a live server");
    assert!(answer(said(address, UPGRADE).await).await.starts_with("HTTP/1.1 429 "));
    assert_eq!(next(&mut visits).await, (2, "came".to_owned()));
    server.abort();
}

#[tokio::test]
async fn two_at_once_take_steps_in_the_order_in_which_they_ask() {
    let (address, steps, mut visits, server) = hosted().await;
    let (early, mut late) = (said(address, UPGRADE).await, said(address, &UPGRADE[..40]).await);
    steps.send("/upgrade_status?status=503".parse().expect("steps")).expect("a live server");
    assert!(answer(early).await.starts_with("HTTP/1.1 503 "));
    steps.send("/upgrade_status?status=401".parse().expect("steps")).expect("a live server");
    late.write_all(&UPGRADE.as_bytes()[40..]).await.expect("a live socket");
    assert!(answer(late).await.starts_with("HTTP/1.1 401 "));
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(next(&mut visits).await);
    }
    // The end of the first is told while the second asks, or before.
    let came: Vec<_> = told.iter().filter(|(_, what)| what == "came").map(|(number, _)| *number).collect();
    assert_eq!(came, [1, 2]);
    told.sort();
    assert_eq!(told, [(1, "came"), (1, "ended"), (2, "came"), (2, "ended")].map(|(number, what)| (number, what.to_owned())));
    server.abort();
}

/// Tells what was told of this connection, in order.
async fn told_of(visits: &mut mpsc::UnboundedReceiver<Visit>, count: usize) -> Vec<(u64, String)> {
    let mut told = Vec::new();
    for _ in 0..count {
        told.push(next(visits).await);
    }
    told
}

/// The first line of the answer to a request for a WebSocket, and the socket.
async fn opened(address: SocketAddr) -> TcpStream {
    let mut socket = said(address, UPGRADE).await;
    let mut head = [0; 12];
    socket.read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 101");
    socket
}

#[tokio::test]
async fn a_connection_beside_an_open_one_takes_no_steps() {
    let (address, steps, mut visits, server) = hosted().await;
    let pairs = |told: &[(u64, &str)]| told.iter().map(|(number, what)| (*number, (*what).to_owned())).collect::<Vec<_>>();
    steps.send("/echo".parse().expect("steps")).expect("a live server");
    let first = opened(address).await;
    // What is prepared is for whoever comes after the first.
    steps.send("/upgrade_status?status=429".parse().expect("steps")).expect("a live server");
    let second = opened(address).await;
    assert_eq!(told_of(&mut visits, 4).await, pairs(&[(1, "came"), (1, "opened"), (2, "beside"), (2, "opened as one of several")]));
    drop(first);
    assert_eq!(next(&mut visits).await, (1, "ended after it was open".to_owned()));
    assert!(answer(said(address, UPGRADE).await).await.starts_with("HTTP/1.1 429 "));
    assert_eq!(told_of(&mut visits, 2).await, pairs(&[(3, "came"), (3, "ended")]));
    drop(second);
    assert_eq!(next(&mut visits).await, (2, "ended after it was open".to_owned()));
    // Two that wait: one takes what comes, the other one is beside it.
    let (_one, _other) = (said(address, UPGRADE).await, said(address, UPGRADE).await);
    steps.send("/echo".parse().expect("steps")).expect("a live server");
    let mut told = told_of(&mut visits, 4).await;
    told.retain(|(_, what)| !what.starts_with("opened"));
    assert_eq!(told, pairs(&[(4, "came"), (5, "beside")]));
    server.abort();
}

/// A client that comes back while its old connection is being closed takes steps.
#[tokio::test]
async fn a_connection_beside_one_that_is_not_well_takes_steps() {
    let (address, steps, mut visits, server) = hosted().await;
    let prepare = |path: &str| steps.send(path.parse().expect("steps")).expect("a live server");
    prepare("/close_hold_tcp?hold=20s&code=1001");
    let mut held = opened(address).await;
    // The Close frame of the server comes behind the rest of its answer.
    let mut came = Vec::new();
    while !came.ends_with(&[0x88, 2, 0x03, 0xe9]) {
        assert_ne!(held.read_buf(&mut came).await.expect("a live socket"), 0);
    }
    prepare("/upgrade_status?status=503");
    assert!(answer(said(address, UPGRADE).await).await.starts_with("HTTP/1.1 503 "));
    let told = told_of(&mut visits, 4).await;
    assert!(told.contains(&(2, "came".to_owned())), "{told:?}");
    held.shutdown().await.expect("a live socket");
    server.abort();
}
