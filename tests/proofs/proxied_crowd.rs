//! Thousands of connections through one proxy while faults are added, changed and removed: nothing of it reaches those that no fault names.

use super::frame::{self, CLOSE, PING, PONG, TEXT};
use super::proxied::{Proxied, opened};
use crate::common::LONG;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

/// Connections, where files allow it: this process has both of their ends, and the proxy two more.
const MOST: u64 = 9_000;
/// A client says something so often.
const EVERY: Duration = Duration::from_secs(4);

/// A WebSocket server that answers what clients say, in its own words.
async fn echo(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let (mut bytes, mut chunk, mut head) = (Vec::new(), vec![0; 4096], true);
            while let Ok(count @ 1..) = stream.read(&mut chunk).await {
                bytes.extend_from_slice(&chunk[..count]);
                if head && let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                    bytes.drain(..end + 4);
                    head = false;
                    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
                while let Some((frame, length)) = frame::parse(&bytes, Duration::ZERO).filter(|_| !head) {
                    bytes.drain(..length);
                    let first = if frame.first == PING { PONG } else { frame.first };
                    if first != PONG || frame.first == PING {
                        let _ = stream.write_all(&frame::encode(first, &frame.payload, false)).await;
                    }
                    if frame.first == CLOSE {
                        return;
                    }
                }
            }
        });
    }
}

/// One that no fault names: everything that it says comes back, and nothing else.
async fn untouched(mut stream: TcpStream, number: usize, stop: Arc<AtomicBool>, said: Arc<AtomicU64>) -> Result<(), String> {
    sleep(EVERY.mul_f64(number as f64 / MOST as f64)).await;
    for count in 0.. {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let text = format!("{number}: {count}");
        stream.write_all(&frame::encode(TEXT, text.as_bytes(), true)).await.map_err(|why| why.to_string())?;
        let expected = frame::encode(TEXT, text.as_bytes(), false);
        let mut got = vec![0; expected.len()];
        match timeout(LONG, stream.read_exact(&mut got)).await {
            Ok(Ok(_)) if got == expected => {}
            other => return Err(format!("connection {number}, text {count}: {other:?}, {got:?}")),
        }
        said.fetch_add(1, Ordering::Relaxed);
        sleep(EVERY).await;
    }
    Ok(())
}

/// One that faults act on: it says something now and then, and takes what comes.
async fn touched(stream: TcpStream, stop: Arc<AtomicBool>) {
    let (mut reads, mut writes) = stream.into_split();
    let reading = tokio::spawn(async move {
        let mut chunk = vec![0; 4096];
        while let Ok(1..) = reads.read(&mut chunk).await {}
    });
    while !stop.load(Ordering::Relaxed) {
        let _ = writes.write_all(&frame::encode(TEXT, b"anything", true)).await;
        sleep(Duration::from_secs(1)).await;
    }
    reading.abort();
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn faults_come_and_go_on_thousands_of_connections_and_reach_no_other() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard.max(soft), hard).expect("it may be raised");
    let count = usize::try_from(MOST.min((hard.saturating_sub(1000)) / 2)).expect("a number");
    println!("{count} connections, as {hard} files allow");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let upstream = listener.local_addr().expect("it is bound").port();
    tokio::spawn(echo(listener));
    let proxied = Proxied::start().await;
    let port = proxied.proxy("p", upstream).await;
    let mut streams = Vec::new();
    while streams.len() < count {
        streams.extend(futures_util::future::join_all((0..100.min(count - streams.len())).map(|_| opened(port))).await);
    }
    let list = async || proxied.ask("GET", "/v1/connections", &Value::Null).await.1.as_array().cloned().expect("a list");
    let by_port: BTreeMap<u64, u64> = list().await.iter().map(|one| (port_of(one), one["id"].as_u64().expect("a number"))).collect();
    assert_eq!(by_port.len(), count);
    let (stop, said) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (mut safe, mut others, mut named) = (Vec::new(), Vec::new(), 0);
    for (number, stream) in streams.into_iter().enumerate() {
        let id = by_port[&u64::from(stream.local_addr().expect("a live socket").port())];
        // Every tenth by arrival: those are the ones that `nth = 10` names.
        if id.is_multiple_of(10) {
            named += 1;
            others.push(tokio::spawn(touched(stream, stop.clone())));
        } else {
            safe.push((id, tokio::spawn(untouched(stream, number, stop.clone(), said.clone()))));
        }
    }
    let kinds = [
        ("latency", json!({ "latency": "50ms" })),
        ("bandwidth", json!({})),
        ("slice", json!({})),
        ("frame_delay", json!({ "probability": "50%" })),
        ("frame_duplicate", json!({})),
        ("frame_corrupt", json!({ "opcode": "ping" })),
        ("pong_drop", json!({})),
        ("ping_flood", json!({ "per_s": 2 })),
        ("hold_release", json!({})),
        ("close_ack_delay", json!({})),
    ];
    for round in 0..3 {
        for (kind, params) in &kinds {
            let fault = json!({ "name": kind, "inject": { *kind: params }, "select": { "nth": 10 } });
            let made = proxied.fault(fault).await;
            assert_eq!(made["connections"], named, "round {round}: {made}");
        }
        for (kind, _) in &kinds[..5] {
            let (status, changed) = proxied.ask("PATCH", &format!("/v1/faults/{kind}"), &json!({ "first_n": 50 })).await;
            assert!(status == 200 && changed["connections"] == 50, "round {round}: {changed}");
        }
        sleep(EVERY).await;
        for (kind, _) in &kinds {
            assert_eq!(proxied.ask("DELETE", &format!("/v1/faults/{kind}"), &Value::Null).await.0, 204, "round {round}: {kind}");
        }
        assert!(list().await.iter().all(|one| one["faults"] == json!([])), "round {round}: a fault is left");
    }
    proxied.fault(json!({ "inject": { "drop_rst": {} }, "select": { "nth": 20 } })).await;
    stop.store(true, Ordering::Relaxed);
    let ids: Vec<u64> = safe.iter().map(|(id, _)| *id).collect();
    let mut wrong = Vec::new();
    for (_, task) in safe {
        wrong.extend(task.await.expect("no panic").err());
    }
    assert!(wrong.is_empty(), "{} of {}: {:?}", wrong.len(), ids.len(), &wrong[..wrong.len().min(5)]);
    assert!(said.load(Ordering::Relaxed) > ids.len() as u64 * 2, "there was traffic");
    println!("{} texts came back on {} connections that no fault named", said.load(Ordering::Relaxed), ids.len());
    for task in others {
        task.await.expect("no panic");
    }
    // All are closed: nothing is left, and what was received of them was sent.
    let deadline = Instant::now() + LONG;
    loop {
        let left = list().await;
        if left.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "{} connections are left, as {}", left.len(), left[0]);
        sleep(Duration::from_millis(100)).await;
    }
    let metrics = proxied.ask("GET", "/metrics", &Value::Null).await.1;
    let files = metrics.as_str().and_then(|text| text.lines().find_map(|line| line.strip_prefix("process_open_fds ")?.parse::<u64>().ok()));
    assert!(files.is_some_and(|files| files < 40), "{files:?} files are open");
}

fn port_of(connection: &Value) -> u64 {
    connection["client"].as_str().and_then(|client| client.rsplit(':').next()?.parse().ok()).expect("an address")
}
