//! Ways to a target, each against a real server: names with given addresses, several addresses, certificates of clients, Unix sockets, cookies,
//! proxies, redirects, rows of data over processes, shards and reconnects; and what an untrusted scenario gets of that.

use super::{Place, server};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};
use std::thread;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};

/// What a server was asked: path, and fields by name in small letters.
type Heads = Arc<Mutex<Vec<(String, BTreeMap<String, String>)>>>;
/// What a server adds to its answers, by the request.
type Answer = fn(&Request, &mut Response) -> Option<(u16, String)>;

fn plainly(_: &Request, _: &mut Response) -> Option<(u16, String)> {
    None
}

/// One connection: echoes what it is sent, and closes after `messages`.
#[allow(clippy::result_large_err, reason = "the library gives the answer its type")]
fn serve(stream: impl Read + Write, heads: &Heads, answer: Answer, messages: usize) {
    let judge = |request: &Request, mut response: Response| {
        let fields = request.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("-").to_owned()));
        heads.lock().expect("nobody panics with it").push((request.uri().to_string(), fields.collect()));
        let Some((status, location)) = answer(request, &mut response) else { return Ok(response) };
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = StatusCode::from_u16(status).expect("a status");
        refusal.headers_mut().insert("Location", HeaderValue::from_str(&location).expect("a field"));
        Err(refusal)
    };
    let Ok(mut socket) = tungstenite::accept_hdr(stream, judge) else { return };
    for _ in 0..messages {
        let Ok(message) = socket.read() else { return };
        if message.is_text() || message.is_binary() {
            _ = socket.send(message);
        }
    }
    _ = socket.close(None);
    while socket.read().is_ok() {}
}

fn listen(listener: TcpListener, answer: Answer, messages: usize) -> Heads {
    let heads = Heads::default();
    let all = heads.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let all = all.clone();
            thread::spawn(move || serve(stream, &all, answer, messages));
        }
    });
    heads
}

fn websocket(answer: Answer, messages: usize) -> (SocketAddr, Heads) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    (listener.local_addr().expect("it is bound"), listen(listener, answer, messages))
}

/// Ten clients of a target with these keys, and their own.
fn scenario(target: &str, clients: &str) -> String {
    format!(
        "duration = \"2s\"\nexpect = [\"attempts{{outcome=failed}} count == 0\", \"attempts{{outcome=rejected}} count == 0\"]\n[target.url]\n{target}\n\
         [clients.web]\ncount = 10\narrive = {{ over = \"300ms\" }}\nreconnect = {{ fixed = {{ delay = \"200ms\" }} }}\n{clients}\n"
    )
}

/// The run passes, or the machine was too busy to say; its summary.
fn passes(place: &Place, args: &[&str]) -> serde_json::Value {
    let ended = place.run(&[&["run", "test.toml", "--out", "run", "--force"], args].concat());
    assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
    let summary = place.json("run/summary.json");
    let [total, opened, abandoned] = ["total", "opened", "abandoned"].map(|key| summary["attempts"][key].as_u64().expect("a number"));
    assert_eq!(total, opened + abandoned, "{ended:?}");
    summary
}

fn taken(heads: &Heads) -> Vec<(String, BTreeMap<String, String>)> {
    std::mem::take(&mut *heads.lock().expect("nobody panics with it"))
}

#[test]
#[ignore = "long: scripts/test"]
fn a_name_has_the_address_that_the_scenario_gives_and_host_is_a_header() {
    let (address, heads) = websocket(plainly, usize::MAX);
    let port = address.port();
    let place = Place::with(&scenario(&format!("address = \"ws://app.test:{port}/a\"\nresolve = [\"app.test=127.0.0.1\"]"), ""));
    let told = place.run(&["validate", "test.toml"]);
    assert!(told.out.contains(&format!("contacts ws://app.test:{port}/a at 127.0.0.1")), "{told:?}");
    passes(&place, &[]);
    let hosts: BTreeSet<_> = taken(&heads).into_iter().map(|(_, fields)| fields["host"].clone()).collect();
    assert_eq!(hosts, BTreeSet::from([format!("app.test:{port}")]));
    // The other way round, with an address in the URL.
    place.write("test.toml", &scenario(&format!("address = \"ws://127.0.0.1:{port}/\""), "headers = { Host = \"c{client}.test\" }"));
    passes(&place, &[]);
    let hosts: BTreeSet<_> = taken(&heads).into_iter().map(|(_, fields)| fields["host"].clone()).collect();
    assert_eq!(hosts, (0..10).map(|client| format!("c{client}.test")).collect());
    place.write("test.toml", &scenario("address = \"ws://app.test/\"\nresolve = [\"app.test\"]", ""));
    place.assert_refuses(&["validate", "test.toml"], 2, &["not a name and its address"]);
}

#[test]
#[ignore = "long: scripts/test"]
fn all_addresses_of_a_name_are_used_and_one_that_is_dead_costs_no_attempt() {
    let (address, first) = websocket(plainly, usize::MAX);
    let port = address.port();
    let second = listen(TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), port)).expect("the port is free there"), plainly, usize::MAX);
    let resolve = "resolve = [\"spread.test=127.0.0.1\", \"spread.test=127.0.0.2\", \"spread.test=127.0.0.3\"]";
    for (choice, args) in [("in_turn", &[][..]), ("random", &[]), ("in_turn", &["--workers", "2"])] {
        let target = format!("address = \"ws://spread.test:{port}/\"\n{resolve}\naddresses = \"{choice}\"");
        let place = Place::with(&scenario(&target, "stay = { for = \"500ms\", return = \"100ms\" }"));
        passes(&place, args);
        let (here, there) = (taken(&first).len(), taken(&second).len());
        assert!(here >= 4 && there >= 4, "{choice}: {here} and {there}");
    }
    let target = format!("address = \"ws://spread.test:{port}/\"\n{resolve}");
    let place = Place::with(&scenario(&target, ""));
    let notices = passes(&place, &[])["notices"].to_string();
    assert!(notices.contains("all connections go to 127.0.0.1; spread.test has 2 other addresses"), "{notices}");
    assert_eq!((taken(&first).len(), taken(&second).len()), (11, 0), "the first that answers, with the probe");
}

/// Ten clients of a name with two addresses, of which the second answers; each library goes on to it in its own way, and within one attempt.
#[test]
#[ignore = "long: scripts/test"]
fn further_addresses_are_tried_as_the_presets_library_does() {
    let bound = |host: u8, port: u16| TcpListener::bind((Ipv4Addr::new(127, 0, 0, host), port));
    let refusing = bound(1, 0).and_then(|listener| listener.local_addr()).expect("a free port").port();
    // A queue that is full drops SYNs.
    let swallows = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    swallows.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    swallows.listen(0).expect("it is bound");
    let full = swallows.local_addr().ok().and_then(|address| address.as_socket()).expect("it is bound");
    let held: Vec<_> = (0..4).map(|_| TcpStream::connect_timeout(&full, std::time::Duration::from_millis(50))).collect();
    assert!(held.iter().any(Result::is_err), "the queue is full");
    let second = |port| listen(bound(2, port).expect("the port is free there"), plainly, usize::MAX);
    let servers = [(refusing, second(refusing)), (full.port(), second(full.port()))];
    // Whether the first refuses, else swallows; whether all open, and whether that takes 250 ms.
    let late = "deadlines = { connect = \"700ms\" }\n";
    for (key, library, refuses, [opens, waits]) in [
        ("", "\"reconnecting-websocket\"", true, [true, false]),
        ("", "\"reconnecting-websocket\"", false, [true, true]),
        ("", "\"python-websockets\"", true, [true, false]),
        ("", "\"python-websockets\"", false, [false, true]),
        ("", "{ preset = \"fixed-3s\", next_address = \"race\" }", false, [true, true]),
        // A strategy without a library has the address that answered before the run.
        ("", "{ fixed = { delay = \"200ms\" } }", false, [true, false]),
        ("addresses = \"first\"", "\"python-websockets\"", false, [true, false]),
    ] {
        let (port, heads) = &servers[usize::from(!refuses)];
        let target = format!("address = \"ws://two.test:{port}/\"\nresolve = [\"two.test=127.0.0.1\", \"two.test=127.0.0.2\"]\n{key}\n");
        let place = Place::with(&format!(
            "duration = \"2s\"\n[target.url]\n{target}[clients.web]\ncount = 10\narrive = {{ over = \"300ms\" }}\nready = \"open\"\n\
             reconnect = {library}\n{late}"
        ));
        let ended = place.run(&["run", "test.toml", "--out", "run", "--allow-inconclusive"]);
        let summary = place.json("run/summary.json");
        let attempts = |key: &str| summary["attempts"][key].as_u64().unwrap_or_else(|| panic!("{ended:?}"));
        let name = format!("{library} {refuses} {key}: {}", ended.out);
        assert_eq!(attempts("total"), ["opened", "timed_out", "abandoned"].map(attempts).iter().sum::<u64>(), "{name}");
        assert_eq!(taken(heads).len() as u64, attempts("opened") + 1, "{name}");
        if opens {
            assert_eq!((attempts("total"), attempts("opened")), (10, 10), "{name}");
        } else {
            assert!(attempts("opened") == 0 && attempts("timed_out") >= 10, "{name}");
        }
        let slowest = summary["tcp_connect_us"]["max"].as_u64();
        assert!(!opens || slowest.is_some_and(|slowest| (slowest >= 250_000) == waits), "{slowest:?}: {name}");
    }
}

#[test]
#[ignore = "long: scripts/test"]
fn sockets_of_this_machine_and_ipv6_are_targets() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("app.sock")).expect("a free path");
    let heads = Heads::default();
    let all = heads.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let all = all.clone();
            thread::spawn(move || serve(stream, &all, plainly, 3));
        }
    });
    let echo = "traffic = { echo = { rate = \"10/s\" } }";
    place.write("test.toml", &scenario("address = \"ws+unix:./app.sock:/chat?v=1\"", echo));
    for args in [&[][..], &["--workers", "2"]] {
        let summary = passes(&place, args);
        assert!(summary["messages"]["answered"].as_u64() > Some(30), "{summary}");
        assert!(taken(&heads).iter().all(|(path, fields)| path == "/chat?v=1" && fields["host"] == "localhost"));
    }
    place.write("test.toml", &scenario("address = \"ws+unix:./none.sock:/\"", ""));
    place.assert_refuses(&["run", "test.toml"], 1, &["connection refused"]);
    place.assert_refuses(&["validate", "test.toml", "--untrusted"], 2, &["`address` cannot be ./none.sock: there is no such file"]);
    let listener = TcpListener::bind("[::1]:0").expect("IPv6 on loopback");
    let port = listener.local_addr().expect("it is bound").port();
    let heads = listen(listener, plainly, usize::MAX);
    place.write("test.toml", &scenario(&format!("address = \"ws://six.test:{port}/\"\nresolve = [\"six.test=::1\"]"), ""));
    passes(&place, &[]);
    assert_eq!(taken(&heads).len(), 11);
}

/// A certificate of an authority for names, and its key, PEM.
fn issued(authority: &rcgen::Issuer<'_, rcgen::KeyPair>, name: &str) -> (String, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let made = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name").signed_by(&key, authority).expect("signed");
    (made.pem(), key.serialize_pem())
}

#[test]
fn clients_show_a_certificate_and_say_the_name_that_they_are_told() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let place = Place::new();
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no name");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    let root = params.self_signed(&key).expect("signed");
    let authority = rcgen::Issuer::new(params, key);
    let ((server_pem, server_key), (client_pem, client_key)) = (issued(&authority, "app.test"), issued(&authority, "client.test"));
    [("ca.pem", root.pem()), ("client.pem", client_pem), ("client.key", client_key.clone()), ("other.key", server_key.clone())]
        .iter()
        .for_each(|(name, text)| place.write(name, text));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().expect("roots");
    let chain = vec![CertificateDer::from_pem_slice(server_pem.as_bytes()).expect("PEM")];
    let private = PrivateKeyDer::from_pem_slice(server_key.as_bytes()).expect("PEM");
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_client_cert_verifier(verifier).with_single_cert(chain, private).expect("they fit");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let (heads, seen) = (Heads::default(), Arc::new(Mutex::new(Vec::new())));
    let (all, names) = (heads.clone(), seen.clone());
    let address = server(move |mut stream| {
        let mut tls = rustls::ServerConnection::new(config.clone()).expect("settings");
        if tls.complete_io(&mut stream).is_err() {
            return;
        }
        let alpn = tls.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        let certificates = tls.peer_certificates().map_or(0, <[_]>::len);
        names.lock().expect("nobody panics with it").push((tls.server_name().map(str::to_owned), alpn, certificates));
        serve(rustls::StreamOwned::new(tls, stream), &all, plainly, usize::MAX);
    });
    let target = |more: &str| format!("address = \"wss://127.0.0.1:{}/\"\nca = \"ca.pem\"\nsni = \"app.test\"\n{more}", address.port());
    let shown = "cert = \"client.pem\"\nkey = \"client.key\"\nalpn = [\"http/1.1\"]";
    place.write("test.toml", &scenario(&target(shown), ""));
    let told = place.run(&["validate", "test.toml"]);
    assert!(told.out.contains("with a client certificate"), "{told:?}");
    passes(&place, &[]);
    let found: BTreeSet<_> = std::mem::take(&mut *seen.lock().expect("nobody panics with it")).into_iter().collect();
    assert_eq!(found, BTreeSet::from([(Some("app.test".to_owned()), Some("http/1.1".to_owned()), 1)]));
    assert_eq!(taken(&heads).len(), 11);
    let secret = client_key.lines().nth(1).expect("a key has lines").to_owned();
    for (more, why) in [
        ("", "the server asks for a client certificate; name one by `cert"),
        ("cert = \"client.pem\"\nkey = \"other.key\"", "not the private key of client.pem"),
        ("cert = \"client.key\"\nkey = \"client.key\"", "there is none"),
        ("cert = \"client.pem\"\nkey = \"client.pem\"", "there is no private key"),
        ("cert = \"client.pem\"\nkey = \"/dev/zero\"", "not a regular file"),
    ] {
        place.write("test.toml", &scenario(&target(more), ""));
        let ended = place.run(&["run", "test.toml"]);
        ended.assert_one_message(1, &[why]);
        assert!(!ended.err.contains(&secret), "{ended:?}");
    }
    place.write("test.toml", &scenario(&target("cert = \"client.pem\""), ""));
    place.assert_refuses(&["validate", "test.toml"], 2, &["`cert` without `key`"]);
    place.shell("mkdir -p inside").end().assert_code(0);
    place.write(
        "inside/test.toml",
        &scenario(&target("cert = \"../client.pem\"\nkey = \"../client.key\""), "").replace("ca = \"ca.pem\"", ""),
    );
    let refused = place.run(&["validate", "inside/test.toml", "--untrusted"]);
    refused.assert_code(2);
    for file in ["`cert` cannot be ../client.pem: it is outside", "`key` cannot be ../client.key: it is outside"] {
        assert!(refused.err.contains(file), "{refused:?}");
    }
}

/// Names its connections, one after the other, in a cookie.
fn sticky(request: &Request, response: &mut Response) -> Option<(u16, String)> {
    let known = request.headers().get("cookie").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !known.contains("node=") {
        response.headers_mut().insert("Set-Cookie", HeaderValue::from_static("node=secret-node-7; Path=/; HttpOnly"));
    }
    None
}

#[test]
#[ignore = "long: scripts/test"]
fn cookies_of_the_handshake_are_kept_by_each_client_and_sent_again() {
    let (address, heads) = websocket(sticky, 1);
    let echo = "traffic = { echo = { rate = \"10/s\" } }\nheaders = { Cookie = \"own={client}\" }";
    for (more, kept) in [("", true), ("cookies = false", false)] {
        let place = Place::with(&scenario(&format!("address = \"ws://{address}/\"\nprobe = false"), &format!("{echo}\n{more}")));
        passes(&place, &[]);
        let mut cookies: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (_, fields) in taken(&heads) {
            let own = fields["cookie"].split(';').next().unwrap_or_default().to_owned();
            cookies.entry(own).or_default().push(fields["cookie"].clone());
        }
        assert_eq!(cookies.len(), 10, "each has its own");
        for (own, all) in cookies {
            assert!(all.len() >= 3 && all[0] == own, "{all:?}");
            let expected = if kept { format!("{own}; node=secret-node-7") } else { own };
            assert!(all[1..].iter().all(|cookie| *cookie == expected), "{all:?}");
        }
        let mut text = String::new();
        for file in fs::read_dir(place.path("run")).expect("the folder") {
            text += &String::from_utf8_lossy(&fs::read(file.expect("an entry").path()).expect("a file"));
        }
        assert!(!text.contains("secret-node-7"), "a cookie is in the run folder");
    }
}

/// A proxy that knows where each name is: what it was asked.
fn proxy(target: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let told = asked.clone();
    let address = server(move |mut stream| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|length| length == 1) {
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let right = head.contains("Proxy-Authorization: Basic dTpzZWNyZXQtcHJveHk=\r\n");
        told.lock().expect("nobody panics with it").push(head);
        if !right {
            _ = stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        let mut onward = TcpStream::connect(target).expect("the target listens");
        _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n");
        let (mut back, mut answers) = (stream.try_clone().expect("a socket"), onward.try_clone().expect("a socket"));
        thread::spawn(move || _ = io::copy(&mut answers, &mut back).and_then(|_| back.shutdown(std::net::Shutdown::Write)));
        _ = io::copy(&mut stream, &mut onward).and_then(|_| onward.shutdown(std::net::Shutdown::Write));
    });
    (address, asked)
}

#[test]
#[ignore = "long: scripts/test"]
fn a_proxy_of_the_scenario_or_of_the_environment_is_gone_through_and_said() {
    let (target, heads) = websocket(plainly, 3);
    let (proxy, asked) = proxy(target);
    let echo = "traffic = { echo = { rate = \"10/s\" } }";
    let url = "address = \"ws://only.proxy.test:8080/x\"";
    let literal = format!("{url}\nproxy = \"http://u:secret-proxy@{proxy}\"");
    let connects = || std::mem::take(&mut *asked.lock().expect("nobody panics with it"));
    let place = Place::with(&scenario(&literal, echo));
    let told = place.run(&["validate", "test.toml"]);
    assert!(told.out.contains(&format!("through the proxy http://***@{proxy}")), "{told:?}");
    // Where it leads is not known: without --yes the limits of other machines hold.
    let place = Place::with(&scenario(&literal, echo).replace("count = 10", "count = 101"));
    place.assert_refuses(&["run", "test.toml"], 2, &["on another machine", "101 clients"]);
    let place = Place::with(&scenario(&literal, echo));
    passes(&place, &["--yes"]);
    let heads_of_proxy = connects();
    assert!(heads_of_proxy.len() >= 11 && heads_of_proxy.iter().all(|head| head.starts_with("CONNECT only.proxy.test:8080 HTTP/1.1\r\n")));
    assert!(taken(&heads).iter().all(|(path, fields)| path == "/x" && fields["host"] == "only.proxy.test:8080"));
    let stored = fs::read_to_string(place.path("run/scenario.toml")).expect("the scenario");
    assert!(!stored.contains("secret-proxy") && stored.contains("***"), "{stored}");
    // The same from the environment, over two processes.
    let env = format!("HTTP_PROXY=http://u:secret-proxy@{proxy}");
    let place = Place::with(&scenario(url, echo));
    let line = |options: &str| format!("{env} $C run test.toml --yes --out run --force {options}");
    let ended = place.shell(&line("--workers 2")).end();
    assert!(matches!(ended.code, Some(0 | 3)) && connects().len() >= 11, "{ended:?}");
    let all = format!("{}{}", ended.out, ended.err);
    assert!(all.contains("go through the proxy of HTTP_PROXY") && !all.contains("secret-proxy"), "{all}");
    let stored = fs::read_to_string(place.path("run/scenario.toml")).expect("the scenario");
    assert!(stored.contains("proxy = \"${HTTP_PROXY}\"") && !stored.contains("secret-proxy"), "{stored}");
    place.run(&["report", "run"]).assert_code(0);
    // Not for loopback, not for an exception, not if the scenario says so, and not for a stranger's scenario.
    let here = scenario(&format!("address = \"ws://{target}/\""), echo);
    for (text, more, options) in [
        (here, "", ""),
        (scenario(url, echo), "NO_PROXY=.proxy.test ", "--set target.url.probe=false"),
        (scenario(&format!("{url}\nproxy = \"none\""), echo), "", "--set target.url.probe=false"),
        (scenario(url, echo), "", "--untrusted --allow-host only.proxy.test --set target.url.probe=false"),
    ] {
        place.write("test.toml", &text);
        let ended = place.shell(&format!("{more}{}", line(options))).end();
        assert!(connects().is_empty() && !ended.err.contains("HTTP_PROXY"), "{options}: {ended:?}");
    }
    // What a proxy answers is said.
    place.write("test.toml", &scenario(&format!("{url}\nproxy = \"http://{proxy}\""), echo));
    place.assert_refuses(&["run", "test.toml"], 1, &["proxy: it answered CONNECT with HTTP 407"]);
    place.write("test.toml", &scenario(&format!("{url}\nproxy = \"https://{proxy}\""), echo));
    place.assert_refuses(&["validate", "test.toml"], 2, &["only http:// proxies"]);
    let refused = place.run(&["validate", "test.toml", "--untrusted", "--set", "target.url.proxy=http://proxy.example.org:3128"]);
    refused.assert_code(2);
    assert!(refused.err.contains("the proxy proxy.example.org is not on this machine"), "{refused:?}");
}

/// As [`websocket`] over TLS, with a certificate of its own.
fn secure_websocket() -> (SocketAddr, Heads) {
    use rustls::pki_types::PrivateKeyDer;
    let made = rcgen::generate_simple_self_signed(vec!["only.proxy.test".to_owned()]).expect("a name");
    let private = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let builder = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    let config = Arc::new(builder.with_single_cert(vec![made.cert.der().clone()], private).expect("they fit"));
    let heads = Heads::default();
    let all = heads.clone();
    let address = server(move |mut stream| {
        let mut tls = rustls::ServerConnection::new(config.clone()).expect("settings");
        if tls.complete_io(&mut stream).is_ok() {
            serve(rustls::StreamOwned::new(tls, stream), &all, plainly, 3);
        }
    });
    (address, heads)
}

#[test]
fn the_environment_names_a_proxy_for_wss_by_https_proxy_and_says_which() {
    let (target, heads) = secure_websocket();
    let (proxy, asked) = proxy(target);
    let connects = || std::mem::take(&mut *asked.lock().expect("nobody panics with it"));
    let echo = "traffic = { echo = { rate = \"10/s\" } }";
    let url = "address = \"wss://only.proxy.test/x\"\ninsecure = true";
    let place = Place::with(&scenario(url, echo));
    let way = format!("http://u:secret-proxy@{proxy}");
    for (env, options, variable) in [
        (format!("HTTPS_PROXY={way} HTTP_PROXY=http://127.0.0.1:1"), "", "HTTPS_PROXY"),
        (format!("https_proxy={way} NO_PROXY=other.test"), "--workers 2", "https_proxy"),
    ] {
        let ended = place.shell(&format!("{env} $C run test.toml --yes --out run --force {options}")).end();
        assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
        let (asked, came) = (connects(), taken(&heads));
        assert!(asked.len() >= 11 && asked.iter().all(|head| head.starts_with("CONNECT only.proxy.test:443 HTTP/1.1\r\n")), "{asked:?}");
        assert!(came.len() >= 11 && came.iter().all(|(path, fields)| path == "/x" && fields["host"] == "only.proxy.test"), "{came:?}");
        let all = format!("{}{}", ended.out, ended.err);
        assert!(all.contains(&format!("go through the proxy of {variable}")) && !all.contains("secret-proxy"), "{all}");
        let stored = fs::read_to_string(place.path("run/scenario.toml")).expect("the scenario");
        assert!(stored.contains(&format!("proxy = \"${{{variable}}}\"")), "{stored}");
        assert!(place.json("run/summary.json")["tls_us"]["count"].as_u64().is_some_and(|count| count >= 10));
    }
    // HTTP_PROXY is for ws; exceptions have none, also with a port.
    for env in [
        format!("HTTP_PROXY={way}"),
        format!("HTTPS_PROXY={way} NO_PROXY=only.proxy.test:443"),
        format!("HTTPS_PROXY={way} no_proxy='a.test, proxy.test'"),
        format!("HTTPS_PROXY={way} NO_PROXY=*"),
    ] {
        let ended = place.shell(&format!("{env} $C run test.toml --yes --out run --force --set target.url.probe=false")).end();
        assert!(connects().is_empty() && !format!("{}{}", ended.out, ended.err).contains("proxy of"), "{env}: {ended:?}");
    }
    let told = place.shell(&format!("HTTPS_PROXY={way} NO_PROXY=only.proxy.test:444 $C validate test.toml")).end();
    assert!(told.code == Some(0) && told.out.contains("through the proxy ${HTTPS_PROXY}"), "{told:?}");
}

/// Sends each client on, from a room to a node, and there to the lobby.
fn moved(request: &Request, _: &mut Response) -> Option<(u16, String)> {
    let path = request.uri().to_string();
    path.strip_prefix("/room/")
        .map(|room| (307, format!("/node?room={room}")))
        .or_else(|| path.strip_prefix("/away/").map(|to| (302, format!("http://{to}/"))))
}

#[test]
#[ignore = "long: scripts/test"]
fn redirects_are_followed_as_often_as_the_scenario_says_and_no_further_than_is_allowed() {
    let (address, heads) = websocket(moved, usize::MAX);
    let (other, strangers) = websocket(plainly, usize::MAX);
    let place = Place::new();
    let login = "headers = { Authorization = \"Bearer secret\", Cookie = \"a=b\", X-Own = \"1\" }";
    // Not followed: said with where it leads.
    place.write("test.toml", &scenario(&format!("address = \"ws://{address}/room/7\""), ""));
    place.assert_refuses(&["run", "test.toml"], 1, &["HTTP 307, a redirect to /node?room=7", "redirects = 1"]);
    taken(&heads);
    // On the same host.
    let url = |path: &str| format!("address = \"ws://{address}{path}\"\nredirects = 1");
    place.write("test.toml", &scenario(&url("/room/{client}"), login));
    let told = place.run(&["validate", "test.toml"]);
    assert!(told.out.contains("and where up to 1 redirect of it lead"), "{told:?}");
    passes(&place, &[]);
    let paths: BTreeMap<_, _> = taken(&heads).into_iter().filter(|(path, _)| path.starts_with("/node")).collect();
    assert_eq!(paths.keys().cloned().collect::<Vec<_>>(), (0..10).map(|client| format!("/node?room={client}")).collect::<Vec<_>>());
    assert!(paths.values().all(|fields| fields["authorization"] == "Bearer secret" && fields["cookie"] == "a=b"));
    // To another port of this machine: what is the target's own stays there.
    place.write("test.toml", &scenario(&url(&format!("/away/{other}")), login));
    passes(&place, &[]);
    let found = taken(&strangers);
    assert!(
        found.len() == 10
            && found.iter().all(|(path, fields)| path == "/" && fields["x-own"] == "1" && fields["host"] == other.to_string())
    );
    assert!(found.iter().all(|(_, fields)| !fields.contains_key("authorization") && !fields.contains_key("cookie")), "{found:?}");
    // Who follows opens a connection more, and both wait for the limit: 20 of them take four seconds, and there are two.
    let ended = place.run(&["run", "test.toml", "--out", "run", "--force", "--max-rate", "5/s"]);
    assert!(ended.code == Some(3) && ended.out.contains("attempts waited: at most 5/s"), "{ended:?}");
    let followed = taken(&strangers).len();
    assert!((1..=8).contains(&followed), "{followed} followed");
    // To another machine: only with --yes, and nobody is asked.
    place.write("test.toml", &scenario(&url("/away/192.0.2.1:9"), ""));
    let ended = place.run(&["run", "test.toml", "--out", "run", "--force"]);
    ended.assert_code(99);
    let endings = fs::read_to_string(place.path("run/events.csv")).expect("events");
    assert!(endings.contains("192.0.2.1 is on another machine: add --yes"), "{endings}");
    // More of them than allowed.
    place.write("test.toml", &scenario(&url("/room/7").replace("redirects = 1", "redirects = 0\nprobe = false"), ""));
    place.run(&["run", "test.toml"]).assert_code(99);
    place.assert_refuses(
        &["validate", "test.toml", "--untrusted", "--set", "target.url.redirects=2"],
        2,
        &["`redirects` may lead to any host"],
    );
}

#[test]
fn names_that_lead_to_other_machines_are_judged_by_their_address() {
    let place = Place::new();
    let text = |host: &str, address: &str| {
        scenario(&format!("address = \"ws://{host}:9/\"\nresolve = [\"{host}={address}\"]"), "").replace("count = 10", "count = 101")
    };
    place.write("test.toml", &text("localhost", "192.0.2.1"));
    place.assert_refuses(&["run", "test.toml"], 2, &["on another machine", "101 clients"]);
    place.assert_refuses(&["validate", "test.toml", "--untrusted"], 2, &["the target 192.0.2.1 is not on this machine"]);
    place.assert_refuses(&["validate", "test.toml", "--untrusted", "--allow-host", "localhost"], 2, &["--allow-host 192.0.2.1"]);
    place.run(&["validate", "test.toml", "--untrusted", "--allow-host", "192.0.2.1"]).assert_code(0);
    place.write("test.toml", &text("app.example.org", "127.0.0.1"));
    place.run(&["validate", "test.toml", "--untrusted"]).assert_code(0);
    // A proxy is told the name, and may know another address of it.
    let proxy = ["--set", "target.url.proxy=http://127.0.0.1:9"];
    place.assert_refuses(&[&["run", "test.toml"], &proxy[..]].concat(), 2, &["on another machine", "101 clients"]);
    let untrusted = [&["validate", "test.toml", "--untrusted"], &proxy[..]].concat();
    place.assert_refuses(&untrusted, 2, &["the target app.example.org is not on this machine"]);
    place.run(&[&untrusted[..], &["--allow-host", "app.example.org"]].concat()).assert_code(0);
    // All addresses count, and the one that is not allowed is named.
    let both = "target.url.resolve=[\"app.example.org=127.0.0.1\",\"app.example.org=192.0.2.1\"]";
    place.assert_refuses(&["validate", "test.toml", "--untrusted", "--set", both], 2, &["the target 192.0.2.1 is not on this machine"]);
}

/// Takes the subprotocol that it is offered.
fn chooses(request: &Request, response: &mut Response) -> Option<(u16, String)> {
    let offered = request.headers().get("sec-websocket-protocol").cloned();
    offered.into_iter().for_each(|offered| _ = response.headers_mut().insert("Sec-WebSocket-Protocol", offered));
    None
}

#[test]
#[ignore = "long: scripts/test"]
fn row_k_belongs_to_client_k_over_processes_shards_and_reconnects() {
    let (address, heads) = websocket(chooses, 2);
    let mut rows = "user,room,agent\n".to_owned();
    (0..10).for_each(|k| writeln!(rows, "u{k},r{k},agent {k}").expect("a String"));
    let clients = "data = \"users.csv\"\ntraffic = { echo = { rate = \"10/s\" } }\npath = \"/{data.room}\"\nquery = \"u={data.user}&c={client}\"\n\
                   headers = { Host = \"{data.room}.test\", Origin = \"https://{data.user}.test\", Cookie = \"u={data.user}\", \
                   Authorization = \"Bearer {data.user}\", X-Agent = \"{data.agent}\" }\nsubprotocols = [\"p.{data.user}\"]";
    for args in [&[][..], &["--workers", "3"], &["--shard", "2/2"]] {
        let place = Place::with(&scenario(&format!("address = \"ws://{address}/\"\nprobe = false"), clients));
        place.write("users.csv", &rows);
        let ended = place.run(&[&["run", "test.toml", "--out", "run"], args].concat());
        assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
        let mut connections = BTreeMap::<String, usize>::new();
        for (path, fields) in taken(&heads) {
            let k =
                path.strip_prefix("/r").and_then(|rest| rest.split('?').next()).unwrap_or_else(|| panic!("{path} {fields:?}")).to_owned();
            assert_eq!(path, format!("/r{k}?u=u{k}&c={k}"));
            let expected = [
                ("host", format!("r{k}.test")),
                ("origin", format!("https://u{k}.test")),
                ("cookie", format!("u=u{k}")),
                ("sec-websocket-protocol", format!("p.u{k}")),
            ];
            expected.iter().for_each(|(name, value)| assert_eq!(fields[*name], *value));
            assert_eq!((&*fields["authorization"], &*fields["x-agent"]), (&*format!("Bearer u{k}"), &*format!("agent {k}")));
            *connections.entry(k).or_default() += 1;
        }
        let shard = args.first() == Some(&"--shard");
        let expected: BTreeSet<_> = (0..10).filter(|k| !shard || k % 2 == 1).map(|k| k.to_string()).collect();
        assert_eq!(connections.keys().cloned().collect::<BTreeSet<_>>(), expected, "{args:?}");
        assert!(connections.values().all(|times| *times >= 2), "they came back: {connections:?}");
    }
    let place = Place::with(&scenario(&format!("address = \"ws://{address}/\""), clients).replace("count = 10", "count = 13"));
    place.write("users.csv", &rows);
    place.assert_refuses(&["validate", "test.toml"], 2, &["10 rows for 13 clients: 3 are missing"]);
}

#[test]
#[ignore = "long: scripts/test"]
fn what_is_said_to_a_proxy_is_in_no_stored_byte_however_the_proxy_is_written() {
    // It answers for the target, and says where to go what it was told.
    let address = server(|mut stream| {
        let head = |stream: &mut TcpStream| {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|length| length == 1) {
                head.push(byte[0]);
            }
            String::from_utf8_lossy(&head).into_owned()
        };
        let connect = head(&mut stream);
        let told = connect.split("Proxy-Authorization: Basic ").nth(1).and_then(|rest| rest.lines().next()).unwrap_or("nothing");
        _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
        head(&mut stream);
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: /said/{told}/secret-proxy/end\r\nContent-Length: 0\r\n\r\n");
        _ = stream.write_all(answer.as_bytes());
    });
    for proxy in [format!("u:secret-proxy@{address}"), format!("http://u:secret-proxy@{address}")] {
        let url = format!("address = \"ws://only.proxy.test:8080/x\"\nproxy = \"{proxy}\"\nprobe = false");
        let place = Place::with(&scenario(&url, ""));
        place.run(&["run", "test.toml", "--yes", "--events", "full", "--out", "run"]);
        let mut all = String::new();
        for file in fs::read_dir(place.path("run")).expect("a folder").flatten() {
            all += &String::from_utf8_lossy(&fs::read(file.path()).expect("a file"));
        }
        assert!(all.contains("/said/***/***/end"), "{proxy}: what the server said is not stored");
        assert!(!all.contains("dTpzZWNyZXQtcHJveHk") && !all.contains("secret-proxy"), "{proxy}");
    }
}
