//! How clients load a server: closed loops, local addresses, and a generator that is too slow itself.

use crate::common::{LONG, program};
use closestorm::results::record::Summary;
use futures_util::{SinkExt, StreamExt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// What a server saw of its clients: messages by remote address.
type Seen = Arc<Mutex<BTreeMap<SocketAddr, usize>>>;

/// A WebSocket server of this test, with or without echo.
async fn server(echoes: bool) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let seen = Seen::default();
    let counts = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let counts = counts.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = tokio_tungstenite::accept_async(stream).await else { return };
                counts.lock().expect("no panic").insert(peer, 0);
                while let Some(Ok(message)) = stream.next().await {
                    if !message.is_binary() {
                        continue;
                    }
                    *counts.lock().expect("no panic").entry(peer).or_default() += 1;
                    if echoes && stream.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, seen)
}

/// Starts a run against a server of the test; `clients` is the body of the cohort's table.
fn run(address: SocketAddr, target: &str, clients: &str, top: &str) -> (Child, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text =
        format!("{top}\n[target.url]\naddress = \"ws://{address}/\"\n{target}\n[clients.web]\narrive = {{ at_once = true }}\n{clients}\n");
    let file = folder.path().join("load.toml");
    std::fs::write(&file, text).expect("the folder can be written");
    let child = Command::new(program())
        .args(["run".as_ref(), file.as_os_str(), "--quiet".as_ref(), "--out".as_ref(), folder.path().join("out").as_os_str()])
        .args(["--allow-inconclusive"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    (child, folder)
}

async fn finish((child, folder): (Child, TempDir)) -> Summary {
    let output = timeout(LONG, child.wait_with_output()).await.expect("the run ends").expect("the program can be waited for");
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let summary = std::fs::read_to_string(folder.path().join("out/summary.json")).expect("a summary");
    serde_json::from_str(&summary).expect("a summary as documented")
}

#[tokio::test]
async fn a_closed_loop_sends_when_a_reply_came_and_never_more_than_it_may() {
    let (echoing, mute) = tokio::join!(server(true), server(false));
    let clients = "count = 3\ntraffic = { echo = { in_flight = 4, payload = \"32B\" } }";
    let (echoed, unanswered) =
        tokio::join!(finish(run(echoing.0, "", clients, "duration = \"2s\"")), finish(run(mute.0, "", clients, "duration = \"2s\"")),);
    let messages = &echoed.messages;
    assert!(messages.received > 12 * 10, "the loop goes round: {messages:?}");
    assert!(messages.sent - messages.received <= 12 && messages.due == messages.sent && messages.not_started == 0, "{messages:?}");
    assert_eq!(messages.rtt_us, messages.rtt_from_sent_us, "due is when it was sent");
    assert_eq!(unanswered.messages.sent, 12, "without replies all that may be under way, and no more");
    let counts: Vec<_> = mute.1.lock().expect("no panic").values().copied().filter(|count| *count > 0).collect();
    assert_eq!(counts, [4, 4, 4]);
}

#[tokio::test]
async fn clients_connect_from_the_given_addresses_in_turn() {
    let (address, seen) = server(true).await;
    let clients = "count = 5\ntraffic = { echo = { in_flight = 1 } }";
    finish(run(address, "source = [\"127.0.0.2\", \"127.0.0.3\"]", clients, "duration = \"1s\"")).await;
    let mut clients_of: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for (peer, count) in seen.lock().expect("no panic").iter().filter(|(_, count)| **count > 0) {
        assert!(*count > 1, "{peer}");
        *clients_of.entry(peer.ip()).or_default() += 1;
    }
    assert_eq!(clients_of, BTreeMap::from([([127, 0, 0, 2].into(), 3), ([127, 0, 0, 3].into(), 2)]));
}

#[tokio::test]
async fn an_address_of_another_machine_is_one_message() {
    let (address, _) = server(true).await;
    for (source, words) in [("192.0.2.1", "cannot connect from 192.0.2.1"), ("::1", "the target is 127.0.0.1")] {
        let (child, _folder) = run(address, &format!("source = [\"{source}\"]"), "count = 1", "duration = \"1s\"");
        let output = timeout(LONG, child.wait_with_output()).await.expect("it ends").expect("the program can be waited for");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(words) && said.contains("ip addr"), "{said}");
    }
}

/// The generator gets no processor for half a second: messages that fell due then are late, and the result says whose fault it was.
#[tokio::test]
#[ignore = "long: scripts/test"]
async fn a_generator_without_processor_says_that_it_is_saturated() {
    let (address, seen) = server(true).await;
    let clients = "count = 20\ntraffic = { echo = { rate = \"20/s\" } }";
    let running = run(address, "", clients, "duration = \"3s\"\nexpect = [\"rtt p99 < 100ms\"]");
    let deadline = Instant::now() + LONG;
    while seen.lock().expect("no panic").values().filter(|count| **count > 0).count() < 20 {
        assert!(Instant::now() < deadline, "the clients do not talk");
        sleep(Duration::from_millis(5)).await;
    }
    let pid = Pid::from_raw(running.0.id().expect("it runs").cast_signed());
    kill(pid, Signal::SIGSTOP).expect("it runs");
    sleep(Duration::from_millis(500)).await;
    kill(pid, Signal::SIGCONT).expect("it is stopped");
    let summary = finish(running).await;
    assert!(summary.generator.saturated && summary.generator.late_share_max > 0.01, "{:?}", summary.generator);
    assert_eq!(summary.verdict.result.to_string(), "inconclusive", "{:?}", summary.verdict);
}
