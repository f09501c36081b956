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
    let server = StepServer::for_visitors(Seed(1), Visitors::new(prepared, told), None).expect("no certificate");
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
        VisitEvent::Came => "came",
        VisitEvent::Opened => "opened",
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
