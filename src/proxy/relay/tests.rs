//! A connection through the proxy, in memory and in paused time, while faults act on it.

use super::*;
use crate::fault::{ConnectionEffects, EffectLimit, Flood, Frame, HowEnough, InjectionStep, PING, TEXT};
use crate::lock::lock;
use crate::plan::Firing;
use crate::proxy::event::ProxyEvent;
use crate::proxy::faults::dose::{FaultStamp, ProxyDose};
use crate::proxy::witnesses::{ListenerNotices, ProxyEvents};
use crate::transport::memory::MemoryEnd;
use crate::ws::frame::encode;
use std::future::poll_fn;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n";
const AGREED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(1000);

/// An open WebSocket through a relay.
struct Through {
    client: Link,
    server: Link,
    connection: Arc<ProxiedConnection>,
    relay: JoinHandle<(SideEnd, SideEnd)>,
    events: ProxyEvents,
    told: Arc<Mutex<Vec<ProxyEvent>>>,
}

impl Through {
    async fn open() -> Through {
        let told: Arc<Mutex<Vec<ProxyEvent>>> = Arc::default();
        let list = told.clone();
        let events = ProxyEvents::new(None, move |event| lock(&list).push(event));
        let here = ([127, 0, 0, 1], 1).into();
        let notices = Arc::new(ListenerNotices::new(here, events.clone()));
        let connection = Arc::new(ProxiedConnection::new("p".into(), 1, here, notices));
        let ((client, near), (far, server)) = (MemoryEnd::pair(), MemoryEnd::pair());
        let plain = |end| Transport::Plain(Link::new(end));
        let mut relay = Box::pin(Relay::new(plain(near), plain(far), connection.clone(), Seed(1)));
        let mut polls = 0;
        let relay = tokio::spawn(poll_fn(move |cx| {
            polls += 1;
            assert!(polls < 1000, "it is polled again and again");
            relay.as_mut().poll(cx)
        }));
        let (client, server) = (Link::new(client), Link::new(server));
        let mut through = Through { client, server, connection, relay, events, told };
        through.client.write_all(REQUEST).await.expect("open");
        through.server.read_exact(&mut [0; REQUEST.len()]).await.expect("the request");
        through.server.write_all(AGREED).await.expect("open");
        through.client.read_exact(&mut [0; AGREED.len()]).await.expect("the answer");
        through
    }

    /// A firing of this number acts, as `side`.
    async fn inject(&self, number: u32, side: Side, gate: ConnectionEffects, steps: Vec<InjectionStep>) {
        let stamp = FaultStamp { firing: Firing { fault: 0, number }, fault: "f".into(), events: self.events.clone() };
        self.connection.order(Order::Inject(Arc::new(ProxyDose { stamp, side, gate, steps })), &None);
        self.pause().await;
    }

    /// Until all that is due now has happened.
    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    /// Both ends, and who began.
    async fn ended(self) -> (SideEnd, SideEnd, EndedBy) {
        let Through { client, server, connection, relay, .. } = self;
        drop((client, server));
        let (near, far) = timeout(LONG, relay).await.expect("in time").expect("no panic");
        (near, far, connection.account(near, far).by)
    }
}

/// What still comes, and whether the end was a FIN.
async fn rest(link: &mut Link) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let end = timeout(LONG, link.read_to_end(&mut bytes)).await.expect("in time");
    (bytes, end.is_ok())
}

#[tokio::test(start_paused = true)]
async fn what_a_fault_ends_the_proxy_has_ended() {
    let close = || vec![InjectionStep::Close { code: Some(4001), reason: "bye".into() }];
    let half = || vec![InjectionStep::HalfClose { keep_reading: Duration::from_secs(5) }];
    for (what, steps) in [("Close frame", close()), ("FIN of one direction", half())] {
        for side in [Side::Server, Side::Client] {
            let through = Through::open().await;
            through.inject(0, side, ConnectionEffects::default(), steps.clone()).await;
            // The peers' ends are their answers.
            assert_eq!(through.ended().await.2, EndedBy::Proxy, "{what} as {side:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_side_that_vanished_is_no_end_of_the_other() {
    let mut through = Through::open().await;
    let late = ConnectionEffects {
        write_shape: crate::fault::shape::PathShape { latency: Duration::from_millis(1), ..Default::default() },
        ..ConnectionEffects::default()
    };
    through.inject(0, Side::Client, late, Vec::new()).await;
    through.inject(1, Side::Client, ConnectionEffects::default(), vec![InjectionStep::End(End::Silent)]).await;
    assert!(!rest(&mut through.client).await.1, "the real client is reset");
    // It stays half-open when another fault is taken back.
    through.connection.order(Order::Revert(Firing { fault: 0, number: 0 }), &None);
    let heard = timeout(Duration::from_secs(60), through.server.read_u8()).await;
    assert!(heard.is_err(), "the server hears nothing: {heard:?}");
    through.inject(2, Side::Client, ConnectionEffects::default(), vec![InjectionStep::End(End::Rst)]).await;
    assert!(through.connection.is_over());
    assert!(matches!(lock(&through.told).last(), Some(ProxyEvent::FaultNotCarriedOut { firing: 2, .. })), "it comes too late");
    let (near, far, by) = through.ended().await;
    assert_eq!((near.own_end, far.own_end, by), (Some(End::Rst), None, EndedBy::Proxy));
}

#[tokio::test(start_paused = true)]
async fn who_went_behind_a_dead_path_is_remembered() {
    let mut through = Through::open().await;
    let dead = ConnectionEffects { read: crate::fault::Flow::Discard, write: crate::fault::Flow::Discard, ..ConnectionEffects::default() };
    through.inject(0, Side::Server, dead, Vec::new()).await;
    through.server.reset();
    through.server = Link::new(MemoryEnd::pair().0);
    through.pause().await;
    through.connection.order(Order::Revert(Firing { fault: 0, number: 0 }), &None);
    assert!(!rest(&mut through.client).await.1, "the path is back, and the server is gone");
    let (_, far, by) = through.ended().await;
    assert_eq!((far.end, far.first, by), (crate::close::TcpEnd::Rst, true, EndedBy::Server));
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_bytes_that_closes_loses_none() {
    let mut through = Through::open().await;
    let enough = EffectLimit { bytes: Some(2500), how: HowEnough::Close(1008), ..EffectLimit::default() };
    through.inject(0, Side::Server, ConnectionEffects { enough: vec![enough], ..ConnectionEffects::default() }, Vec::new()).await;
    let texts: Vec<u8> = (0..4).flat_map(|number| encode(&Frame::new(TEXT, number.to_string().repeat(1000)), None)).collect();
    through.server.write_all(&texts).await.expect("open");
    let (whole, close) = (3 * texts.len() / 4, encode(&Frame::close(Some(1008), b""), None));
    let mut got = vec![0; whole + close.len()];
    timeout(LONG, through.client.read_exact(&mut got)).await.expect("in time").expect("open");
    assert!(got == [&texts[..whole], &close].concat(), "the frame that reached the limit is whole, and the Close frame follows");
    assert_eq!(through.ended().await.2, EndedBy::Proxy);
}

#[tokio::test(start_paused = true)]
async fn a_flood_waits_for_a_peer_that_does_not_read() {
    let mut through = Through::open().await;
    let flood = Flood { per_s: 1_000_000, bytes: 100 };
    through.inject(0, Side::Server, ConnectionEffects { ping_flood: vec![flood], ..ConnectionEffects::default() }, Vec::new()).await;
    // The relay is not polled meanwhile but for what happens.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let ping = encode(&Frame::new(PING, "x".repeat(100)), None);
    let mut got = vec![0; ping.len()];
    through.client.read_exact(&mut got).await.expect("open");
    assert_eq!(got, ping);
    assert_eq!(through.connection.held().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_comes_to_an_ending_connection_says_so() {
    let through = Through::open().await;
    through.connection.order(Order::End(End::Fin), &None);
    through.pause().await;
    assert!(through.connection.is_over());
    through.inject(7, Side::Server, ConnectionEffects::default(), vec![InjectionStep::End(End::Rst)]).await;
    assert!(matches!(lock(&through.told).last(), Some(ProxyEvent::FaultNotCarriedOut { firing: 7, .. })));
}
