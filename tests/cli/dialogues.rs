//! Clients that log in and speak a protocol of their own, against servers that insist on it.

use super::{LONG, Place, at_once, server, websocket_server};
use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

/// Logins, and tickets used wrongly, as the server counted them.
type Counts = Arc<Mutex<(u64, u64)>>;

/// The head of a request, without what follows it.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|length| length == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().filter_map(|line| line.split_once(": ")).find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// `POST` hands out a ticket that is good for one connection; a connection with another one is answered with 401. What is said is echoed.
fn ticket_server() -> (SocketAddr, Counts) {
    let (valid, counts) = (Arc::new(Mutex::new(HashSet::new())), Counts::default());
    let counted = counts.clone();
    let address = server(move |mut stream| {
        let head = head(&mut stream);
        if head.starts_with("POST /login ") {
            let length = field(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("the body");
            let mut counts = counted.lock().expect("nobody panics with it");
            counts.0 += 1;
            let ticket = format!("{}-{}", String::from_utf8_lossy(&body), counts.0);
            valid.lock().expect("nobody panics with it").insert(ticket.clone());
            let answer = format!("{{\"user\":{{\"ticket\":\"{ticket}\"}}}}");
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
            _ = stream.write_all((head + &answer).as_bytes());
            return;
        }
        let ticket = head.split(' ').nth(1).and_then(|path| path.split_once("ticket=")).map_or("", |(_, ticket)| ticket).to_owned();
        if !valid.lock().expect("nobody panics with it").remove(&ticket) {
            counted.lock().expect("nobody panics with it").1 += 1;
            _ = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return;
        }
        let accept = derive_accept_key(field(&head, "sec-websocket-key").unwrap_or_default().as_bytes());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        if stream.write_all(head.as_bytes()).is_err() {
            return;
        }
        let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
        while let Ok(message) = socket.read() {
            let text = message.to_text().is_ok_and(|text| text == format!("hello {ticket}"));
            let reply = if text { Message::text("welcome") } else { message };
            if (reply.is_text() || reply.is_binary()) && socket.send(reply).is_err() {
                return;
            }
        }
    });
    (address, counts)
}

const TICKETS: &str = r#"
duration = "3s"
expect   = ["http_requests{status=200} share == 100%", "http_requests{status=401} count == 0", "time_to_ready max < 2s"]

[target.url]
address = "ws://ADDRESS/chat"

[clients.web]
count     = 20
arrive    = { over = "500ms" }
reconnect = { fixed = { delay = "300ms" } }
query     = "ticket={captured.ticket}"

[clients.web.dialogue]
before  = [{ name = "login", url = "/login", body = "u{client}", capture = { ticket = "/user/ticket" } }]
open    = [{ name = "hello", send = "hello {captured.ticket}", expect = "welcome", within = "2s" }]
request = [{ send = '{"id":{sequence}}', reply = { json = { "/id" = "{sequence}" } } }]
rate    = "4/s"

[[faults]]
at     = "1500ms"
side   = "client"
inject = { drop_rst = {} }
"#;

#[test]
#[ignore = "long: scripts/test"]
fn every_connection_has_a_login_of_its_own_and_a_wrong_ticket_is_a_401() {
    let (address, counts) = ticket_server();
    let place = Place::with(&TICKETS.replace("ADDRESS", &address.to_string()));
    let ended = place.run(&["run", "test.toml", "--out", "run"]);
    let summary = place.json("run/summary.json");
    assert_eq!(*counts.lock().expect("nobody panics with it"), (41, 0), "20 clients, twice, and the probe: {}", ended.out);
    assert_eq!((&summary["attempts"]["opened"], &summary["reconnect"]["recovered"]), (&40.into(), &20.into()), "{}", ended.out);
    assert_eq!((&summary["http_request_us"]["count"], &summary["http_requests"]["200"]), (&40.into(), &40.into()));
    assert_eq!(summary["time_to_ready_us"]["count"], 40);
    assert!(ended.out.contains("PASS"), "{}", ended.out);
    let messages = &summary["messages"];
    let number = |key: &str| messages[key].as_u64().expect("a number");
    assert_eq!(number("sent"), number("answered") + number("lost") + number("unanswered"), "{messages}");
    assert!(number("answered") > 100 && number("dialogue_sent") == 40 && number("dialogue_received") == 40, "{messages}");

    let (address, counts) = ticket_server();
    let wrong = TICKETS.replace("ADDRESS", &address.to_string()).replace("ticket={captured.ticket}", "ticket=x{captured.ticket}");
    let place = Place::with(&wrong.replace("address =", "probe = false\naddress ="));
    let ended = place.run(&["run", "test.toml", "--out", "run"]);
    let summary = place.json("run/summary.json");
    let refused = counts.lock().expect("nobody panics with it").1;
    let counted = summary["attempts"]["by_status"]["401"].as_u64().expect("a number");
    // The end of the run may cut some that the server has answered.
    assert!(counted > 20 && counted <= refused && refused - counted <= 20, "{refused} {}: {}", summary["attempts"], ended.out);
}

#[test]
fn a_step_that_is_not_met_and_replies_that_fit_nothing_are_told() {
    let address = websocket_server();
    let scenario = |rest: &str| {
        format!(
            "duration = \"2s\"\nexpect = [\"rtt p50 < 1s\"]\n[target.url]\naddress = \"ws://{address}/\"\n[clients.web]\ncount = 6\narrive = {{ at_once = true }}\nreconnect = \"none\"\n{rest}"
        )
    };
    let late = r#"dialogue = { open = [{ name = "hello", send = "hello {client}", expect = "welcome", within = "500ms" }] }"#;
    let nothing = r#"traffic = { request = { message = "ask", reply = { contains = "told" }, rate = "4/s" } }"#;
    let text = r#"traffic = { request = { message = "ask {sequence}", reply = { contains = "{sequence}" }, rate = "4/s" } }"#;
    let said = r#"traffic = { send = { message = "hex:0102", rate = "4/s" } }
first_message = "hello""#;
    at_once([(late, "came instead"), (nothing, "none fits the `reply`"), (text, "PASS"), (said, "no data")], |(rest, told)| {
        let place = Place::with(&scenario(rest));
        let ended = place.run(&["run", "test.toml", "--out", "run"]);
        let words = ended.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(told), "{told}: {}", ended.out);
        let summary = place.json("run/summary.json");
        let causes = std::fs::read_to_string(place.path("run/closes.csv")).expect("closes");
        assert_eq!(causes.contains("deadline:dialogue:hello"), rest == late, "{causes}");
        if rest == text {
            assert!(summary["messages"]["answered"].as_u64() > Some(20), "{}", summary["messages"]);
        }
        if rest == said {
            assert_eq!(summary["messages"]["dialogue_sent"], 6);
        }
    });
}

/// Answers `bad` with an error, says `slow` now and then, and nothing to `hello`.
fn moody_server() -> SocketAddr {
    server(|mut stream| {
        let head = head(&mut stream);
        let accept = derive_accept_key(field(&head, "sec-websocket-key").unwrap_or_default().as_bytes());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        if stream.write_all(head.as_bytes()).is_err() {
            return;
        }
        let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
        while let Ok(message) = socket.read() {
            let told = message.to_text().unwrap_or_default().to_owned();
            let replies = match told.split_once(' ') {
                Some(("bad", number)) => vec![format!("error {number}"), "slow".to_owned()],
                Some(("good", number)) => vec![format!("ok {number}")],
                _ => Vec::new(),
            };
            if replies.into_iter().any(|reply| socket.send(Message::text(reply)).is_err()) {
                return;
            }
        }
    })
}

#[test]
#[ignore = "long: scripts/test"]
fn errors_and_failed_steps_are_figures_that_expectations_name() {
    let address = moody_server();
    let scenario = format!(
        r#"
duration = "3s"
expect = [
  "messages{{outcome=error}} share > 20%", "messages{{outcome=answered}} share < 80%", "messages{{outcome=error}} peak < 90/s",
  "errors{{name=bad}} count > 10", "errors{{name=slow_down}} count > 10", "errors{{name=slow_down}} peak > 1/s",
  "closes{{cause=deadline:dialogue:hello}} count == 3", "closes{{cause=deadline:dialogue:hello,cohort=late}} peak >= 3/s",
  "closes{{cause=dialogue:hello}} count == 0", "time_to_ready{{cohort=late}} min > 400ms",
]
[target.url]
address = "ws://{address}/"
[clients.web]
count = 4
arrive = {{ at_once = true }}
[clients.web.dialogue]
rate = "10/s"
error = {{ slow_down = "slow" }}
request = [
  {{ name = "good", send = "good {{sequence}}", reply = {{ equals = "ok {{sequence}}" }} }},
  {{ name = "bad", send = "bad {{sequence}}", reply = {{ equals = "ok {{sequence}}" }}, error = {{ equals = "error {{sequence}}" }} }},
]
[clients.late]
count = 3
arrive = {{ at_once = true }}
reconnect = "none"
dialogue = {{ open = [{{ name = "hello", send = "hello you", expect = "welcome", within = "500ms" }}] }}
"#
    );
    let place = Place::with(&scenario);
    let ended = place.run(&["run", "test.toml", "--out", "run"]);
    let summary = place.json("run/summary.json");
    let failed: Vec<_> =
        summary["verdict"]["expectations"].as_array().expect("a list").iter().filter(|row| row["result"] == "fail").collect();
    assert!(failed.is_empty(), "{failed:#?} {}", ended.out);
    let messages = &summary["messages"];
    let number = |key: &str| messages[key].as_u64().expect("a number");
    assert_eq!(number("sent"), number("answered") + number("errors") + number("lost") + number("unanswered"), "{messages}");
    assert_eq!((&summary["errors"]["bad"], number("errors") > 10), (&messages["errors"], true), "{summary}");
    assert!(ended.out.contains("answered with an error") && ended.out.contains("slow_down"), "{}", ended.out);
    // A name that no dialogue has is an error.
    for wrong in ["errors{name=slow} count == 0", "closes{cause=deadline:dialogue:helo} count == 0"] {
        place.write("wrong.toml", &scenario.replace("messages{outcome=error} share > 20%", wrong));
        let ended = place.run(&["validate", "wrong.toml"]);
        assert!(ended.code == Some(2) && ended.err.contains("did you mean"), "{wrong}: {ended:?}");
    }
}

#[test]
#[ignore = "long: scripts/test"]
fn http_requests_before_a_connection_count_against_the_rate_that_is_allowed() {
    let (address, counts) = ticket_server();
    let scenario = TICKETS.replace("ADDRESS", &address.to_string()).replace("address =", "probe = false\naddress =");
    let place = Place::with(&scenario);
    // 20 clients and their 20 logins are 40 attempts: at 10 a second, 3 s let 30 of them begin, and one at once.
    let ended = place.run(&["run", "test.toml", "--out", "run", "--max-rate", "10/s", "--set", "faults=[]", "--set", "expect=[]"]);
    let summary = place.json("run/summary.json");
    let logins = counts.lock().expect("nobody panics with it").0;
    let opened = summary["attempts"]["opened"].as_u64().expect("a number");
    let begun = summary["attempts"]["total"].as_u64().expect("a number");
    let told = format!("{begun} {logins} {opened}: {}", ended.out);
    assert!((29..=31).contains(&(begun + logins)) && (logins - 1..=logins).contains(&opened), "{told}");
}

#[test]
fn data_is_one_row_a_client_and_too_few_are_an_error() {
    let (address, _) = ticket_server();
    let scenario = TICKETS.replace("ADDRESS", &address.to_string()).replace("body = \"u{client}\"", "body = \"{data.user}\"");
    let place = Place::with(&scenario.replace("count     = 20", "count = 20\ndata = \"users.csv\""));
    let users: String = (0..20).map(|user| format!("user{user},x\n")).collect();
    place.write("users.csv", &format!("user,other\n{users}"));
    let ended = place.run(&["run", "test.toml", "--out", "run", "--duration", "1s", "--set", "faults=[]"]);
    assert_eq!(place.json("run/summary.json")["attempts"]["opened"], 20, "{}", ended.out);
    place.write("users.csv", "user,other\na,b\n");
    let ended = place.run(&["validate", "test.toml"]);
    assert!(ended.code != Some(0) && ended.err.contains("has 1 row for 20 clients: 19 are missing"), "{ended:?}");
    place.write("users.csv", "name\na\n");
    let ended = place.run(&["validate", "test.toml", "--clients", "1"]);
    assert!(ended.code != Some(0) && ended.err.contains("`{data.user}`: the data file has the columns name"), "{ended:?}");
    assert!(ended.err.contains("--> test.toml:16:54"), "file, line and column: {ended:?}");
}

#[test]
fn what_cannot_be_is_refused_where_it_stands() {
    let dialogue = |text: &str| format!("[target.url]\naddress = \"ws://127.0.0.1:9\"\n[clients.web]\ncount = 1\n{text}\n");
    at_once(
        [
            ("traffic = { listen = true }\ndialogue = { open = [{ send = \"x\" }] }", "`traffic` beside `dialogue`"),
            ("first_message = \"{captured.x}\"", "no step captures it"),
            ("first_message = \"{data.x}\"", "there is no `data`"),
            ("first_message = \"{env.CLOSESTORM_NOT_SET}\"", "the environment variable `CLOSESTORM_NOT_SET` is not set"),
            ("first_message = \"hex:0\"", "this is not hexadecimal"),
            ("first_message = \"{randon.hex}\"", "unknown placeholder `{randon.hex}`"),
            ("dialogue = { open = [{ send = \"x\", resume = \"y{client}\" }] }", "`resume` names nothing that is captured"),
            ("like = \"socket.io\"", "`like` cannot be \"socket.io\""),
            ("dialogue = { open = [{ expect = { json = { type = \"x\" } } }] }", "\"type\" is no JSON pointer"),
            (
                "dialogue = { protocol = \"mqtt\", open = [{ send = '{\"type\":\"connect\",\"client_id\":{client}}' }] }",
                "`client_id` of connect is no text: 1",
            ),
            (
                "dialogue = { protocol = \"mqtt\", leave = '{\"type\":\"disconnect\",\"reason\":4}' }",
                "`reason` is no key of disconnect; allowed are code",
            ),
            (
                "dialogue = { request = [{ send = \"a\", reply = \"any\" }, { send = \"b\" }] }",
                "some requests have a reply and others have none",
            ),
        ],
        |(text, told)| {
            let place = Place::with(&dialogue(text));
            let ended = place.run(&["validate", "test.toml"]);
            assert!(ended.code != Some(0) && ended.err.contains(told), "{told}: {ended:?}");
        },
    );
    let place = Place::with("");
    let request = "request = [{ send = \"a\", reply = \"any\" }]";
    for (text, told) in [("sequence = \"/seq\", ", Some("`sequence`")), ("protocol = \"graphql-transport-ws\", ", None), ("", None)] {
        place.write("test.toml", &format!("[clients.web]\ncount = 1\ndialogue = {{ {text}{request} }}\n"));
        let ended = place.run(&["simulate", "test.toml"]);
        let refused = told.is_some_and(|told| ended.err.contains(&format!("{told} of a dialogue is not simulated")));
        assert_eq!((refused, ended.code != Some(0)), (told.is_some(), told.is_some()), "{ended:?}");
    }
}

#[test]
#[ignore = "long: scripts/test"]
fn the_embedded_server_plays_the_part_of_each_protocol() {
    at_once([("socket-io", "web"), ("graphql-ws", "web"), ("mqtt", "devices")], |(name, cohort)| {
        let place = Place::with("");
        let ended =
            place.run(&["run", name, "--out", "run", "--clients", "10", "--duration", "4s", "--set", "faults=[]", "--set", "expect=[]"]);
        let summary = place.json("run/summary.json");
        let messages = &summary["cohorts"][cohort]["messages"];
        let number = |key: &str| messages[key].as_u64().expect("a number");
        assert_eq!((&summary["clients"]["ready"], &summary["connections"]["closed"]), (&10.into(), &0.into()), "{name}: {}", ended.out);
        assert!(number("answered") > 10 && number("errors") == 0, "{name}: {messages}");
    });
    // Whoever does not speak the protocol is closed, and the run says with what.
    let silent = "[target.embedded]\n[clients.web]\ncount = 5\nreconnect = \"none\"\n\
                  dialogue = { protocol = \"graphql-transport-ws\", open = [{ name = \"ack\", send = \"hello\", expect = \"{\" }] }\n";
    let place = Place::with(&format!("duration = \"3s\"\n{silent}"));
    let ended = place.run(&["run", "test.toml", "--out", "run"]);
    assert_eq!(place.json("run/summary.json")["close_codes"]["client"]["4400"], 5, "{}", ended.out);
}

/// A server that says of each message that it was sent a quarter of a second ago, in a way to write it that the client asks for; to "ahead" that it will be
/// sent in a minute.
fn late_server() -> SocketAddr {
    server(|stream| {
        let Ok(mut socket) = tokio_tungstenite::tungstenite::accept(stream) else { return };
        while let Ok(message) = socket.read() {
            let us = jiff::Timestamp::now().as_microsecond() - 250_000;
            let time = match message.to_text() {
                Ok("ms") => (us / 1_000).to_string(),
                Ok("s") => format!("{}.{:06}", us / 1_000_000, us % 1_000_000),
                Ok("iso") => format!("\"{}\"", jiff::Timestamp::from_microsecond(us).expect("a time")),
                Ok("ahead") => (us / 1_000 + 60_250).to_string(),
                _ => "\"soon\"".to_owned(),
            };
            if socket.send(Message::text(format!("{{\"type\":\"news\",\"at\":{time}}}"))).is_err() {
                return;
            }
        }
    })
}

/// What is known of the delay shows, of one process and of workers, and what is no latency is not taken for one.
#[test]
fn broadcasts_have_a_latency_by_the_time_that_they_say() {
    let scenario = |expect: &str, say: &str| {
        format!(
            "duration = \"2s\"\nexpect = [\"{expect}\"]\n[target.url]\naddress = \"ws://{}/\"\n[clients.web]\ncount = 4\n\
             arrive = {{ at_once = true }}\nreconnect = \"none\"\n[clients.web.dialogue]\nreceive = {{ json = {{ \"/type\" = \"news\" }} }}\n\
             timestamp = \"/at\"\nbeat = {{ every = \"300ms\", send = \"{say}\" }}\n",
            late_server()
        )
    };
    let good = "broadcast_latency min >= 249ms";
    let rows = [(good, "ms", ""), (good, "s", ""), (good, "iso", "--workers=2"), (good, "ahead", ""), (good, "soon", "")];
    at_once(rows, |(expect, say, more)| {
        let place = Place::with(&scenario(expect, say));
        let args = ["run", "test.toml", "--out", "run", more];
        let ended = place.run(if more.is_empty() { &args[..4] } else { &args });
        let summary = place.json("run/summary.json");
        let (late, early) = (&summary["broadcast_latency_us"], &summary["broadcast_latency_negative_us"]);
        let number = |times: &serde_json::Value, key: &str| times[key].as_u64().unwrap_or(0);
        let received = summary["messages"]["received"].as_u64().expect("a number");
        assert!(received >= 4, "{ended:?}");
        assert_eq!(number(late, "count") + number(early, "count"), if say == "soon" { 0 } else { received }, "{say}: {ended:?}");
        match say {
            "ahead" => {
                let least = number(early, "min");
                assert!((55_000_000..=60_000_000).contains(&least) && number(late, "count") == 0, "{early}");
                assert!(ended.out.contains("before their timestamp: the clocks differ") && ended.out.contains("no data"), "{ended:?}");
            }
            "soon" => assert!(ended.out.contains("no data") && ended.out.contains("has no time where `timestamp` says"), "{ended:?}"),
            _ => {
                // Longer only where the machine is busy.
                assert!((249_000..3_000_000).contains(&number(late, "p50")) && ended.out.contains("PASS"), "{late} {ended:?}");
                assert!(ended.out.contains("after their timestamp; needs one clock"), "{ended:?}");
            }
        }
    });
}

/// A server that sends a numbered message every 20 ms, as old as a quarter of a second.
fn room() -> SocketAddr {
    server(|stream| {
        let Ok(mut socket) = tokio_tungstenite::tungstenite::accept(stream) else { return };
        let tick = || jiff::Timestamp::now().as_millisecond() / 20;
        let mut last = tick();
        loop {
            sleep(Duration::from_millis(2));
            let now = tick();
            while last < now {
                last += 1;
                let text = format!("{{\"seq\":{last},\"at\":{}}}", jiff::Timestamp::now().as_millisecond() - 250);
                if socket.send(Message::text(text)).is_err() {
                    return;
                }
            }
        }
    })
}

/// What an outage costs and how old messages are, of one process, of workers and of shards.
#[test]
fn losses_and_latency_are_the_same_however_clients_are_divided() {
    let place = Place::with(&format!(
        "duration = \"2s\"\nexpect = [\"missed_per_outage{{fault=cut}} p50 >= 5\", \"missed_per_outage max < 150\", \"missed_per_outage{{cohort=web}} p99 < 200\", \
         \"broadcast_latency min >= 249ms\"]\n[target.url]\naddress = \"ws://{}/\"\n\
         [clients.web]\ncount = 12\narrive = {{ at_once = true }}\nreconnect = {{ fixed = {{ delay = \"300ms\" }} }}\n\
         [clients.web.dialogue]\nsequence = \"/seq\"\ntimestamp = \"/at\"\n\
         [[faults]]\nname = \"cut\"\nat = \"700ms\"\nside = \"client\"\ninject = {{ drop_rst = {{}} }}\n",
        room()
    ));
    let at = (jiff::Timestamp::now() + Duration::from_secs(1)).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    let cases: [(&str, &[&str]); 4] =
        [("whole", &[]), ("workers", &["--workers", "2"]), ("one", &["--shard", "1/2"]), ("two", &["--shard", "2/2"])];
    at_once(cases, |(out, more)| {
        let args = [&["run", "test.toml", "--out", out, "--quiet", "--start-at", &at], more].concat();
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_closestorm")).args(args).current_dir(place.path("")).status();
        assert!(matches!(status.expect("it runs").code(), Some(0 | 3 | 99)), "{out}");
    });
    place.run(&["merge", "one", "two", "--out", "sum"]);
    let number = |summary: &serde_json::Value, pointer: &str| summary.pointer(pointer).and_then(serde_json::Value::as_u64).unwrap_or(0);
    let [one, two] = ["one", "two"].map(|run| place.json(&format!("{run}/summary.json")));
    for run in ["whole", "workers", "sum"] {
        let summary = place.json(&format!("{run}/summary.json"));
        let number = |pointer: &str| number(&summary, pointer);
        assert_eq!(
            (number("/losses/0/outages"), number("/losses/0/unknown"), &summary["losses"][0]["fault"]),
            (12, 0, &"cut".into()),
            "{run}"
        );
        assert!(number("/losses/0/missed") >= 12 * 5 && number("/losses/0/max") < 150, "{run}: {}", summary["losses"]);
        assert_eq!(number("/broadcast_latency_us/count"), number("/messages/received"), "{run}");
        // Twelve are too few for a p99, and that is no pass.
        let results: Vec<_> = summary["verdict"]["expectations"].as_array().into_iter().flatten().map(|row| &row["result"]).collect();
        assert_eq!(results, ["pass", "pass", "inconclusive", "pass"], "{run}: {}", summary["verdict"]);
    }
    let sum = place.json("sum/summary.json");
    for pointer in ["/losses/0/missed", "/broadcast_latency_us/count", "/losses/0/none_missed"] {
        assert_eq!(number(&sum, pointer), number(&one, pointer) + number(&two, pointer), "{pointer}");
    }
    let [least, most] = ["/broadcast_latency_us/min", "/losses/0/max"].map(|pointer| [number(&one, pointer), number(&two, pointer)]);
    assert_eq!(number(&sum, "/broadcast_latency_us/min"), least[0].min(least[1]));
    assert_eq!(number(&sum, "/losses/0/max"), most[0].max(most[1]));
    assert!(fs::exists(place.path("sum/broadcasts.svg")).is_ok_and(|there| there) || place.run(&["plot", "sum"]).code == Some(0));
}

/// A client is ready before anything else is told of the message that makes it so.
#[test]
fn a_packet_that_makes_ready_does_so_before_its_number_counts() {
    let address = server(|stream| {
        let Ok(mut socket) = tokio_tungstenite::tungstenite::accept(stream) else { return };
        while let Ok(message) = socket.read() {
            if message.is_binary() {
                // CONNACK, and PUBLISH of "1" to "a", in one message.
                _ = socket.send(Message::binary(vec![0x20, 2, 0, 0, 0x30, 4, 0, 1, b'a', b'1']));
            }
        }
    });
    let place = Place::with(&format!(
        "duration = \"1s\"\n[target.url]\naddress = \"ws://{address}/\"\nprobe = false\n[clients.web]\ncount = 1\narrive = {{ at_once = true }}\n\
         [clients.web.dialogue]\nprotocol = \"mqtt\"\nsequence = \"/payload\"\n\
         open = [{{ send = '{{\"type\":\"connect\",\"client_id\":\"c\"}}', expect = {{ json = {{ \"/type\" = \"publish\" }} }} }}]\n"
    ));
    let ended = place.run(&["run", "test.toml", "--out", "run", "--events", "full"]);
    let mut events = csv::Reader::from_path(place.path("run/events.csv")).expect("events");
    let names: Vec<String> = events.records().map(|row| row.expect("a row")[1].to_owned()).collect();
    let place_of = |name: &str| names.iter().position(|one| one == name).unwrap_or_else(|| panic!("{name}: {names:?} {ended:?}"));
    assert!(place_of("ready") < place_of("sequenced"), "{names:?}");
}

/// A login that nobody answers holds no client that its stages send away.
#[test]
fn who_waits_for_a_login_leaves_when_its_stages_say_so() {
    let address = server(|stream| drop((sleep(LONG), stream)));
    let place = Place::with(&format!(
        "duration = \"2500ms\"\n[target.url]\naddress = \"ws://{address}/\"\nprobe = false\n[clients.web]\n\
         arrive = {{ stages = [{{ to = 5, over = \"200ms\" }}, {{ hold = \"500ms\" }}, {{ to = 0, over = \"200ms\" }}] }}\n\
         dialogue = {{ before = [{{ name = \"login\", url = \"/login\", within = \"20s\" }}] }}\n"
    ));
    let ended = place.run(&["run", "test.toml", "--out", "run"]);
    assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
    let events = fs::read_to_string(place.path("run/events.csv")).expect("events");
    let left = events.lines().filter(|line| line.split(',').nth(1) == Some("left")).count();
    let abandoned = &place.json("run/summary.json")["attempts"]["abandoned"];
    assert_eq!((left, abandoned.as_u64()), (5, Some(5)), "{events}");
}
