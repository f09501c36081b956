//! How much load a target gets: little on another machine without `--yes`, and anywhere no more than `--max-rate`. Servers of these tests count.

use super::Place;
use futures_util::{SinkExt, StreamExt};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// An address of this machine that is not loopback, which a run takes for another machine; `None` where there is no network.
fn own_address() -> Option<IpAddr> {
    // Nothing is sent: 192.0.2.1 is an address of documentation, RFC 5737.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    if address.is_loopback() { None } else { Some(address) }
}

/// When a server that closes each connection at once was connected to; ends when the receiver is gone.
fn closing_server(at: IpAddr) -> (SocketAddr, mpsc::Receiver<Instant>) {
    let listener = TcpListener::bind((at, 0)).expect("a free port");
    let (told, accepted) = mpsc::channel();
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            drop(stream);
            if told.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    (address, accepted)
}

/// Most of these in any second.
fn peak(times: &[Instant]) -> usize {
    let second = Duration::from_secs(1);
    times.iter().enumerate().map(|(index, from)| times.partition_point(|at| *at < *from + second) - index).max().unwrap_or(0)
}

fn storm(address: SocketAddr) -> Place {
    Place::with(&format!(
        "duration = \"2500ms\"\n[target.url]\naddress = \"ws://{address}/\"\nprobe = false\n[clients.web]\ncount = 100\n\
         arrive = {{ over = \"2s\" }}\nreconnect = {{ fixed = {{ delay = \"0s\" }} }}\n"
    ))
}

#[test]
fn reconnects_to_another_machine_wait_without_yes_and_the_run_is_inconclusive() {
    let Some(own) = own_address() else { return eprintln!("left out: no address but loopback") };
    for workers in ["1", "3"] {
        let (address, accepted) = closing_server(own);
        let ended = storm(address).run(&["run", "test.toml", "--out", "out", "--workers", workers]);
        ended.assert_code(3);
        assert!(ended.out.contains("attempts waited: at most 50/s are allowed"), "{}", ended.out);
        assert!(ended.err.contains(&format!("target ws://{address}/")), "the plan is shown: {}", ended.err);
        let times: Vec<_> = accepted.try_iter().collect();
        // As the server sees it, whose clock may be late on a busy machine.
        assert!(peak(&times) <= 65 && times.len() > 80, "{workers} workers: {} of {}", peak(&times), times.len());
    }
}

#[test]
fn a_rate_that_the_user_sets_holds_on_this_machine_and_with_yes() {
    let (address, accepted) = closing_server(IpAddr::from([127, 0, 0, 1]));
    let ended = storm(address).run(&["run", "test.toml", "--out", "out", "--yes", "--max-rate", "30/s"]);
    ended.assert_code(3);
    assert!(ended.out.contains("attempts waited: at most 30/s are allowed (--max-rate)"), "{}", ended.out);
    let times: Vec<_> = accepted.try_iter().collect();
    assert!(peak(&times) <= 40 && times.len() > 50, "{} of {}", peak(&times), times.len());
    // What does not wait is not changed by it.
    let place = Place::with("duration = \"1s\"\nexpect = [\"attempts count == 10\"]\n[target.embedded]\n[clients.web]\ncount = 10\n");
    place.run(&["run", "test.toml", "--out", "out", "--max-rate", "10/s"]).assert_code(0);
    for wrong in ["0/s", "many", "10"] {
        place.assert_refuses(&["run", "test.toml", "--max-rate", wrong], 2, &["--max-rate"]);
    }
}

#[test]
fn a_closed_loop_to_another_machine_waits_too() {
    let Some(own) = own_address() else { return eprintln!("left out: no address but loopback") };
    let listener = TcpListener::bind((own, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let (told, came) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            listener.set_nonblocking(true).expect("a live socket");
            let listener = tokio::net::TcpListener::from_std(listener).expect("a live socket");
            while let Ok((stream, _)) = listener.accept().await {
                let told = told.clone();
                tokio::spawn(async move {
                    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                    while let Some(Ok(message)) = socket.next().await {
                        if message.is_binary() && (told.send(Instant::now()).is_err() || socket.send(message).await.is_err()) {
                            return;
                        }
                    }
                });
            }
        });
    });
    let place = Place::with(&format!(
        "duration = \"2500ms\"\n[target.url]\naddress = \"ws://{address}/\"\n[clients.web]\ncount = 10\n\
         traffic = {{ echo = {{ in_flight = 8, payload = \"100B\" }} }}\n"
    ));
    let ended = place.run(&["run", "test.toml", "--out", "out"]);
    ended.assert_code(3);
    assert!(ended.out.contains("messages waited: at most 1000/s and 1MiB per second are allowed"), "{}", ended.out);
    let times: Vec<_> = came.try_iter().collect();
    assert!(peak(&times) <= 1200 && times.len() > 1500, "{} of {}", peak(&times), times.len());
}
