//! How much load a target gets: little on another machine without `--yes`, and anywhere no more than `--max-rate`. Servers of these tests count.

use super::Place;
use futures_util::{SinkExt, StreamExt};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, mpsc};
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
#[ignore = "long: scripts/test"]
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
#[ignore = "long: scripts/test"]
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
#[ignore = "long: scripts/test"]
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
    assert!(ended.out.contains("messages waited: at most 1000 frames, 2000 writes and 1MiB per second are allowed"), "{}", ended.out);
    let times: Vec<_> = came.try_iter().collect();
    assert!(peak(&times) <= 1200 && times.len() > 1500, "{} of {}", peak(&times), times.len());
}

/// What a server saw of its clients: when so many bytes came, and when a frame began, or an opening request.
#[derive(Default)]
struct Seen {
    bytes: Vec<(Instant, usize)>,
    frames: Vec<Instant>,
    reads: Vec<Instant>,
}

impl Seen {
    fn most_bytes_in_a_second(&self) -> usize {
        let (mut from, mut sum, mut most) = (0, 0, 0);
        for (at, bytes) in &self.bytes {
            sum += bytes;
            while self.bytes[from].0 + Duration::from_secs(1) <= *at {
                sum -= self.bytes[from].1;
                from += 1;
            }
            most = most.max(sum);
        }
        most
    }
}

/// A connection whose incoming bytes are counted as they come from the kernel.
struct Counted {
    stream: TcpStream,
    seen: Arc<Mutex<Seen>>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(into)?;
        let (now, mut seen) = (Instant::now(), self.seen.lock().expect("no panic"));
        seen.bytes.push((now, count));
        seen.reads.push(now);
        Ok(count)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Calls `serve` for each connection to it, on a thread of its own, and counts what comes.
fn counting_server(at: IpAddr, serve: impl Fn(Counted) + Send + Sync + 'static) -> (SocketAddr, Arc<Mutex<Seen>>) {
    let listener = TcpListener::bind((at, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let (seen, serve) = (Arc::<Mutex<Seen>>::default(), Arc::new(serve));
    let all = seen.clone();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nodelay(true).expect("a live socket");
            let (serve, counted) = (serve.clone(), Counted { stream, seen: seen.clone() });
            std::thread::spawn(move || serve(counted));
        }
    });
    (address, all)
}

/// Echoes messages.
fn plainly(counted: Counted) {
    let seen = counted.seen.clone();
    let _ = echo(counted, &seen);
}

/// The same over TLS, with a certificate that nobody knows.
fn secured() -> impl Fn(Counted) {
    let made = rcgen::generate_simple_self_signed(["app.test".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).expect("they fit");
    let config = Arc::new(config);
    move |counted| {
        let seen = counted.seen.clone();
        let tls = rustls::ServerConnection::new(config.clone()).expect("settings");
        let _ = echo(rustls::StreamOwned::new(tls, counted), &seen);
    }
}

/// Reads the question of a client of a proxy, and refuses.
fn refusing(mut counted: Counted) {
    let (mut head, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
    while !head.ends_with(b"\r\n\r\n") {
        match counted.read(&mut chunk) {
            Ok(count @ 1..) => head.extend_from_slice(&chunk[..count]),
            _ => return,
        }
    }
    let _ = counted.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
}

fn echo(mut stream: impl Read + Write, seen: &Mutex<Seen>) -> Option<()> {
    let (mut held, mut chunk, mut open) = (Vec::new(), vec![0; 1 << 16], false);
    loop {
        let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
        let now = Instant::now();
        held.extend_from_slice(&chunk[..count]);
        if !open {
            let Some(end) = held.windows(4).position(|part| part == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&held[..end]).into_owned();
            let key =
                head.lines().find_map(|line| line.to_lowercase().starts_with("sec-websocket-key:").then(|| line[18..].trim().to_owned()));
            let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key?.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).ok()?;
            held.drain(..end + 4);
            open = true;
        }
        while let Some((opcode, payload, length)) = frame(&held) {
            seen.lock().expect("no panic").frames.push(now);
            held.drain(..length);
            let header: Vec<u8> = match payload.len() {
                short @ 0..126 => vec![0x80 | opcode, short as u8],
                long if long < 1 << 16 => [&[0x80 | opcode, 126][..], &(long as u16).to_be_bytes()].concat(),
                long => [&[0x80 | opcode, 127][..], &(long as u64).to_be_bytes()].concat(),
            };
            match opcode {
                1 | 2 => stream.write_all(&[header, payload].concat()).ok()?,
                8 => return stream.write_all(&[header, payload].concat()).ok(),
                _ => {}
            }
        }
    }
}

/// The first frame of a client: opcode, payload, and its length on the wire.
fn frame(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (length, at) = match bytes.get(1)? & 0x7f {
        126 => (u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into(), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize, 10),
        short => (short.into(), 2),
    };
    let mask = bytes.get(at..at + 4)?;
    let payload = bytes.get(at + 4..at + 4 + length)?;
    Some((bytes[0] & 0x0f, payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]).collect(), at + 4 + length))
}

/// Pings of four clients, many more than the limit allows.
const FLOOD: &str = "[clients.web]\ncount = 4\n[[faults]]\nat = \"100ms\"\nevery = \"100ms\"\nuntil = \"1500ms\"\nfor = \"800ms\"\n\
                     side = \"client\"\ninject = { ping_flood = { per_s = 200, bytes = \"40B\" } }\n";
/// Few messages of many bytes.
const LARGE: &str = "[clients.web]\ncount = 3\ntraffic = { echo = { in_flight = 2, payload = \"90KiB\" } }\n";

#[test]
#[ignore = "long: scripts/test"]
fn frames_writes_and_bytes_of_whatever_kind_wait_without_yes() {
    let Some(own) = own_address() else { return eprintln!("left out: no address but loopback") };
    let slices = "[clients.web]\ncount = 20\ntraffic = { echo = { in_flight = 1, payload = \"600B\" } }\n[[faults]]\nat = \"100ms\"\n\
                  side = \"client\"\ninject = { slice = { avg = \"1B\", variation = \"0B\", delay = \"0s\", dir = \"up\" } }\n";
    let doubled = "[clients.web]\ncount = 2\ntraffic = { echo = { rate = \"450/s\", payload = \"30B\" } }\n[[faults]]\nat = \"100ms\"\n\
                   side = \"client\"\ninject = { frame_duplicate = { probability = \"100%\", dir = \"up\" } }\n";
    let early = "[clients.web]\ncount = 30\nreconnect = { fixed = { delay = \"100ms\" } }\n[[faults]]\nat = \"0s\"\nside = \"client\"\n\
                 inject = { client_early_data = { frames = 100 } }\n";
    for (what, clients) in [("flood", FLOOD), ("slices", slices), ("large", LARGE), ("doubled", doubled), ("early", early)] {
        let (address, seen) = counting_server(own, plainly);
        assert_held_back(what, &format!("address = \"ws://{address}/\"\nprobe = false\n{clients}"), "1", &seen);
    }
}

#[test]
#[ignore = "long: scripts/test"]
fn workers_have_a_part_of_the_limit_each_and_tls_and_questions_to_a_proxy_count() {
    let Some(own) = own_address() else { return eprintln!("left out: no address but loopback") };
    let (address, seen) = counting_server(own, plainly);
    assert_held_back("flood, three workers", &format!("address = \"ws://{address}/\"\nprobe = false\n{FLOOD}"), "3", &seen);
    for (what, clients, workers) in [("flood over TLS", FLOOD, "1"), ("large over TLS, two workers", LARGE, "2")] {
        let (address, seen) = counting_server(own, secured());
        let target = format!("address = \"wss://{address}/\"\ninsecure = true\nprobe = false\n{clients}");
        assert_held_back(what, &target, workers, &seen);
    }
    // 50 times a second 32 KB.
    let (address, seen) = counting_server(own, refusing);
    let target = format!("address = \"ws://app.test/\"\nproxy = \"http://u:{}@{address}\"\nprobe = false\n", "x".repeat(24_000));
    let clients = "[clients.web]\ncount = 100\narrive = { over = \"2s\" }\nreconnect = { fixed = { delay = \"0s\" } }\n";
    assert_held_back("proxy", &(target + clients), "1", &seen);
}

/// A run against this target does not get more than is allowed without `--yes`, and nearly that.
fn assert_held_back(what: &str, target: &str, workers: &str, seen: &Mutex<Seen>) {
    let place = Place::with(&format!("duration = \"2500ms\"\n[target.url]\n{target}"));
    let ended = place.run(&["run", "test.toml", "--out", "out", "--workers", workers]);
    ended.assert_code(3);
    assert!(ended.out.contains("messages waited: at most 1000 frames, 2000 writes and 1MiB per second"), "{what}: {}", ended.out);
    let seen = seen.lock().expect("no panic");
    let (frames, reads, bytes) = (peak(&seen.frames), peak(&seen.reads), seen.most_bytes_in_a_second());
    eprintln!("{what}: {frames} frames, {reads} reads, {bytes} bytes in a second");
    // As the server sees it, whose clock may be late on a busy machine.
    assert!(frames <= 1200 && reads <= 2400 && bytes <= 6 * (1 << 20) / 5, "{what}: {frames} {reads} {bytes}");
    // The limit is what held it back.
    assert!(frames >= 800 || reads >= 1600 || bytes >= 8 * (1 << 20) / 10, "{what}: {frames} {reads} {bytes}");
}
