//! What opening requests say where the scenario has `{client}` and `{attempt}`, as a server sees it that knows only some of them.

use super::{Place, at_once};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

/// Request lines, each with some of its header fields.
type Seen = Arc<Mutex<Vec<String>>>;

/// A WebSocket server that remembers what it was asked, and says 401 to whom it does not know.
fn strict(knows: impl Fn(&str) -> bool + Send + Sync + 'static) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let (seen, knows) = (Seen::default(), Arc::new(knows));
    let all = seen.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (all, knows) = (all.clone(), knows.clone());
            thread::spawn(move || {
                #[allow(clippy::result_large_err, reason = "the library gives the answer its type")]
                let answer = |request: &Request, mut response: Response| {
                    let field = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
                    let line =
                        [request.uri().to_string(), field("x-who"), field("authorization"), field("sec-websocket-protocol"), field("host")];
                    let line = line.join(" ");
                    all.lock().expect("nobody panics with it").push(line.clone());
                    if !knows(&line) {
                        let mut refusal = ErrorResponse::new(None);
                        *refusal.status_mut() = tokio_tungstenite::tungstenite::http::StatusCode::UNAUTHORIZED;
                        return Err(refusal);
                    }
                    if let Ok(protocol) = HeaderValue::from_str(&field("sec-websocket-protocol"))
                        && protocol != "-"
                    {
                        response.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
                    }
                    Ok(response)
                };
                if let Ok(mut socket) = tokio_tungstenite::tungstenite::accept_hdr(stream, answer) {
                    while !matches!(socket.read(), Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_))) {}
                }
            });
        }
    });
    (address, seen)
}

fn sorted(seen: &Seen) -> Vec<String> {
    let mut all = seen.lock().expect("nobody panics with it").clone();
    all.sort();
    all
}

fn scenario(address: &str, target: &str, cohort: &str) -> String {
    format!(
        "duration = \"1s\"\nexpect = [\"attempts{{outcome=opened}} count == 3\"]\n[target.url]\naddress = '{address}'\n{target}\n\
         [clients.web]\ncount = 3\narrive = {{ over = \"100ms\" }}\nreconnect = \"none\"\n{cohort}\n"
    )
}

#[test]
#[ignore = "long: scripts/test"]
fn each_request_has_its_own_values_and_the_probe_those_of_client_0() {
    let cohort = "query = 'token=t{client}'\nheaders = { X-Who = '{{{client}}/{attempt}' }\nsubprotocols = ['v1.{client}']";
    for workers in ["1", "2"] {
        let (address, seen) =
            strict(|line| (0..3).any(|client| [' ', '&'].iter().any(|end| line.contains(&format!("token=t{client}{end}")))));
        let place = Place::with(&scenario(&format!("Ws://u{{client}}:p%40w@{address}/room/{{client}}?v=2"), "", cohort));
        let ended = place.run(&["run", "test.toml", "--out", "run", "--workers", workers, "--format", "json"]);
        ended.assert_code(0);
        let summary = ended.json();
        assert_eq!(summary["generator"]["uncounted_openings"], 1, "{workers}");
        let notice = "1 opening handshake before the run (readiness probe, with the values of client 0) is not counted";
        assert!(summary["notices"].to_string().contains(notice), "{}", summary["notices"]);
        for file in ["scenario.toml", "summary.json", "manifest.json", "report.html", "report.md"] {
            let text = fs::read_to_string(place.path("run").join(file)).expect(file);
            assert!(!text.contains("p%40w"), "{file} tells the secret: {text}");
        }
        let (address, quick) = (address.to_string(), ["--clients", "2", "--duration", "500ms", "--out", "quick"]);
        let url = format!("WS://u0:p%40w@{address}/?token=t0&");
        let ended = place.run(&[&["run", &url][..], &quick].concat());
        ended.assert_code(0);
        assert!(ended.out.contains("***@") && !ended.out.contains("p%40w"), "{}", ended.out);
        seen.lock().expect("nobody panics with it").retain(|line| line.contains("/room/"));
        // u0:p@w, u1:p@w, u2:p@w.
        let basic = ["dTA6cEB3", "dTE6cEB3", "dTI6cEB3"];
        let line =
            |client: usize| format!("/room/{client}?v=2&token=t{client} {{{client}}}/1 Basic {} v1.{client} {address}", basic[client]);
        assert_eq!(sorted(&seen), [line(0), line(0), line(1), line(2)], "{workers}");
    }
}

#[test]
fn a_path_of_the_cohort_stands_in_place_of_that_of_the_address_and_braces_are_encoded() {
    let (address, seen) = strict(|_| true);
    let place = Place::with(&scenario(&format!("ws://{address}/lobby?v=2"), "probe = false", "path = '/room/{client}/{{x}'"));
    let ended = place.run(&["run", "test.toml", "--out", "run", "--format", "json"]);
    ended.assert_code(0);
    assert_eq!(ended.json()["generator"]["uncounted_openings"], 0);
    assert_eq!(ended.json()["notices"].as_array().map(Vec::len), Some(0), "{}", ended.out);
    let line = |client: u32| format!("/room/{client}/%7Bx%7D?v=2 - - - {address}");
    assert_eq!(sorted(&seen), [line(0), line(1), line(2)]);
}

#[test]
fn attempts_are_counted_on_where_the_first_was_turned_away() {
    let (address, seen) = strict(|line| line.starts_with("/2/"));
    let cohort = "reconnect = { fixed = { delay = \"50ms\" } }";
    let text = scenario(&format!("ws://{address}/{{attempt}}/{{client}}"), "probe = false", "").replace("reconnect = \"none\"", cohort);
    Place::with(&text).run(&["run", "test.toml", "--out", "run", "--quiet"]).assert_code(0);
    assert_eq!(
        sorted(&seen).iter().filter_map(|line| line.split(' ').next()).collect::<Vec<_>>(),
        ["/1/0", "/1/1", "/1/2", "/2/0", "/2/1", "/2/2"]
    );
}

#[test]
fn the_warm_up_of_a_search_is_counted_and_can_be_turned_off() {
    let search = ["capacity", "test.toml", "--vary", "clients=3..6", "--steps", "2", "--repeats", "1", "--duration", "500ms", "--quiet"];
    at_once([(true, "", 100), (false, "warm_up = false", 1), (false, "warm_up = false\nprobe = false", 0)], |(warm, target, most)| {
        let (address, seen) = strict(|_| true);
        let text = scenario(&format!("ws://{address}/{{client}}"), target, "").replace("count == 3", "count > 0");
        let place = Place::with(&text);
        place.run(&[&search[..], &["--out", "run"]].concat());
        let step = place.json("run/steps/1.json");
        let uncounted = step["generator"]["uncounted_openings"].as_u64().expect("a number");
        let notices = place.json("run/capacity.json")["notices"].to_string();
        if warm {
            // How many there are is the server's doing; at least some ten in half a second.
            assert!(uncounted >= 10, "{uncounted}");
            assert!(notices.contains("opening handshakes before the runs"), "{notices}");
        } else {
            assert_eq!(uncounted, most);
            assert_eq!(notices.contains("before the runs"), most > 0, "{notices}");
        }
        // Client 0's, and nobody's who is not in the plan.
        assert!(sorted(&seen).iter().all(|line| line.split(' ').next().is_some_and(|path| path.len() == 2)), "{:?}", sorted(&seen));
    });
}
