//! Between the processes of a run: no stranger can speak to them, no secret stands where others of the machine can read it, and what is
//! wrong is said.

use super::{LONG, Place, at_once, command_target, until};
use crate::embedded::Server;
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

/// Words that a scenario has, and nobody may find.
const SECRETS: [&str; 4] = ["canary-of-a-header", "canary-of-an-address", "canary-of-a-query", "PRIVATE KEY"];

/// The processes of a place that are neither the one that the test has started nor the user's own server.
fn internal(place: &Place) -> Vec<(u32, Vec<String>)> {
    let line = |pid: u32| {
        let text = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).into_owned();
        (pid, text.split_terminator('\0').map(str::to_owned).collect::<Vec<_>>())
    };
    let ours = |words: &Vec<String>| words.get(1).is_some_and(|word| word.starts_with("__"));
    place.processes().into_iter().map(line).filter(|(_, words)| ours(words)).collect()
}

/// Numbers of the sockets that a process has open.
fn sockets(pid: u32) -> Vec<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let names = files.filter_map(|file| Some(fs::read_link(file.path()).ok()?.to_string_lossy().into_owned()));
    names.filter_map(|name| Some(name.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect()
}

/// Nothing secret stands in a command line or an environment, and no socket has a name or waits for anybody.
fn assert_private(place: &Place, expected: &[&str]) {
    let internal = internal(place);
    let mut words: Vec<_> = internal.iter().map(|(_, words)| words[1].clone()).collect();
    words.sort();
    assert_eq!(words, expected);
    let unix = fs::read_to_string("/proc/net/unix").expect("this is Linux");
    let mut links = 0;
    for (pid, words) in &internal {
        assert_eq!(words.len(), 2, "{words:?}");
        let environment = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/environ")).expect("it lives")).into_owned();
        SECRETS.iter().for_each(|secret| assert!(!environment.contains(secret), "{words:?}: {secret}"));
        for socket in sockets(*pid) {
            // Number, references, protocol, flags, type, state, inode, and a path where it has a name.
            let Some(row) = unix.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|row| row.get(6) == Some(&&*socket))
            else {
                continue;
            };
            links += 1;
            assert_eq!((row.len(), row[3]), (7, "00000000"), "{words:?} can be connected to: {row:?}");
        }
    }
    assert!(links >= internal.len(), "each has one");
}

#[test]
#[ignore = "long: scripts/test"]
fn no_secret_stands_in_a_command_line_and_no_stranger_can_connect() {
    let clients = "[clients.web]\ncount = 10\narrive = { over = \"300ms\" }\nquery = \"token=canary-of-a-query\"\n\
                   headers = { Authorization = \"canary-of-a-header\" }\n";
    let address = "address = \"ws://user:canary-of-an-address@127.0.0.1:{port}/\"\n";
    let command = command_target("{serve}", LONG);
    let table = [
        (
            format!("[target.embedded]\ntls = true\nprocesses = 2\n{clients}"),
            "2",
            &["__guard", "__guard", "__server", "__server", "__worker", "__worker"][..],
        ),
        (format!("[target.embedded]\ntls = true\n{clients}"), "1", &["__guard", "__server"]),
        (format!("{command}{address}{clients}"), "2", &["__guard", "__guard", "__worker", "__worker"]),
    ];
    for (scenario, workers, expected) in table {
        let place = Place::with(&format!("duration = \"30s\"\n{scenario}"));
        let run = place.start(&["run", "test.toml", "--workers", workers, "--out", "run"]);
        run.until_it_runs();
        until("not all are open", || run.err().contains("open 10/10"));
        assert_private(&place, expected);
        run.signal("INT");
        let ended = run.end();
        ended.assert_code(130);
    }
}

/// What a process of ours prints, and its exit code, when it is told this.
fn told(word: &str, bytes: &[u8]) -> (Option<i32>, String) {
    let (mut ours, theirs) = UnixStream::pair().expect("a link");
    let mut child = Command::new(env!("CARGO_BIN_EXE_closestorm"))
        .arg(word)
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // It may have ended before it read all.
    let _ = ours.write_all(bytes);
    let _ = ours.shutdown(Shutdown::Write);
    let mut printed = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut printed).expect("text");
    (child.wait().expect("it ends").code(), printed)
}

/// The first line after a hello, with its checksum and its end.
fn sealed(line: &str) -> String {
    String::from_utf8(closestorm::ipc::Seal::default().close(line.as_bytes().to_vec())).expect("text")
}

#[test]
fn what_is_wrong_on_a_link_is_an_error_with_its_text() {
    for (word, name, version) in [("__server", "server", 3), ("__worker", "worker", 2), ("__guard", "guard", 1)] {
        let hello = format!("{{\"closestorm\":\"{name}\",\"version\":{version}}}\n");
        let long = "a".repeat((8 << 20) + 10);
        let table = [
            (
                format!("{{\"closestorm\":\"{name}\",\"version\":9}}\n"),
                format!("the other side uses protocol {name} 9, and this side uses {name} {version}"),
            ),
            (
                "{\"closestorm\":\"other\",\"version\":1}\n".to_owned(),
                format!("the other side uses protocol other 1, and this side uses {name} {version}"),
            ),
            ("GET / HTTP/1.1\r\n".to_owned(), "the first line names no protocol: \"GET / HTTP/1.1\\r\"".to_owned()),
            (format!("{hello}{hello}"), "a second hello: \"{\\\"closestorm\\\"".to_owned()),
            (
                format!("{hello}{}", sealed("{\"Stop")),
                format!("not a message of {name} {version}: EOF while parsing a string at line 1 column 6; the line is \"{{\\\"Stop\""),
            ),
            (format!("{hello}{}", sealed("\"\x1b[31m\"")), format!("not a message of {name} {version}: control character")),
            (format!("{hello}\"Stop\"\n"), "a line is damaged, or one before it is missing; the line is \"\\\"Stop\\\"\"".to_owned()),
            (format!("{hello}{long}"), "a line is longer than 8388608 bytes; it begins with \"aaaa".to_owned()),
            (long, "a line is longer than 8388608 bytes; it begins with \"aaaa".to_owned()),
        ];
        for (said, expected) in table {
            let (code, printed) = told(word, said.as_bytes());
            assert!(printed.contains(&expected), "{word}: {expected}: {printed}");
            assert_eq!((code, printed.lines().count()), (Some(1), 1), "{word}: {printed}");
            assert!(printed.len() < 600 && !printed.contains('\x1b'), "{printed}");
        }
        let late = match name {
            "server" => "\"Worker\"",
            "worker" => "\"Stop\"",
            _ => "{\"signal\":{\"id\":0,\"slot\":0,\"signal\":9}}",
        };
        let (code, printed) = told(word, format!("{hello}{}", sealed(late)).as_bytes());
        assert!(code == Some(1) && printed.contains("unexpected message: "), "{printed}");
    }
}

#[test]
fn who_is_not_closestorm_cannot_start_its_processes() {
    for word in ["__server", "__worker", "__guard"] {
        for stdin in [Stdio::null(), Stdio::piped()] {
            let ended = Command::new(env!("CARGO_BIN_EXE_closestorm")).arg(word).stdin(stdin).output().expect("the program starts");
            let printed = String::from_utf8_lossy(&ended.stderr);
            let why = "this internal command is started by closestorm itself: its standard input is not a connection to closestorm (Socket operation on non-socket";
            assert!(ended.status.code() == Some(1) && printed.contains(why), "{word}: {printed}");
        }
    }
}

#[tokio::test]
async fn a_server_that_hears_what_it_should_not_says_so_and_ends() {
    let table = [
        (json!({ "closestorm": "server", "version": 3 }), "a second hello"),
        (json!("Worker"), "unexpected message: \"\\\"Worker\\\"\""),
        (json!({ "Nothing": 1 }), "not a message of server 3: unknown variant `Nothing`"),
        (json!("a".repeat((8 << 20) + 10)), "a line is longer than 8388608 bytes"),
    ];
    for (said, expected) in table {
        let mut server = Server::start(&closestorm::plan::Embedded::default()).await;
        server.tell(&said).await;
        let told = server.line().await.expect("it says why");
        let told = told["Notice"]["text"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
        assert!(told.starts_with("embedded server: connection to closestorm: ") && told.contains(expected), "{told}");
        assert!(server.line().await.is_none(), "it ends");
    }
}

/// Opens a connection to a port as another user where root allows it, with this id in its request, sends a Close frame and stays.
fn stranger(place: &Place, port: u16, id: &str) -> Child {
    // Close with 4999, masked with zeros.
    let line = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'GET / HTTP/1.1\\r\\nHost: h\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\
         Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\nClosestorm-Id: {id}\\r\\n\\r\\n' >&3; \
         head -n 1 <&3; [ {id} = 1/1 ] && printf '\\x88\\x82\\0\\0\\0\\0\\x13\\x87' >&3; read -r -t 30 rest <&3; cat <&3 >/dev/null"
    );
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let other = Command::new("setpriv").args(nobody).arg("true").status().is_ok_and(|status| status.success());
    let mut command = Command::new(if other { "setpriv" } else { "bash" });
    if other {
        command.args(nobody).arg("bash");
    }
    command.args(["-c", &line]).current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("bash is there");
    let mut answer = [0; 12];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut answer).expect("the server answers");
    assert_eq!(&answer, b"HTTP/1.1 101", "{id}: {}", place.path("").display());
    child
}

#[test]
#[ignore = "long: scripts/test"]
fn a_stranger_who_says_to_be_a_client_of_the_run_changes_nothing_of_it() {
    at_once(["1", "2"], |workers| {
        let place = Place::with(
            "duration = \"6s\"\nexpect = [\"closes{cause=out} count == 5\"]\n[target.embedded]\n\
             [clients.web]\ncount = 5\narrive = { over = \"100ms\" }\nreconnect = \"none\"\n\
             [[faults]]\nname = \"out\"\nat = \"4s\"\nside = \"server\"\ninject = { close_code = { code = 4001 } }\n",
        );
        let run = place.start(&["run", "test.toml", "--workers", workers, "--out", "run"]);
        run.until_it_runs();
        until("not all are open", || run.err().contains("open 5/5"));
        let log = fs::read_to_string(place.path("run.partial/target.log")).expect("a log");
        let port =
            log.trim().rsplit(':').next().and_then(|port| port.trim_end_matches('/').parse().ok()).expect("it says where it listens");
        // The id of each client, with no key, and with one that is a guess.
        let ids = (0..5).flat_map(|client| [format!("{client}/1"), format!("{client}/1/{}", "0".repeat(32))]);
        let mut strangers: Vec<_> = ids.map(|id| stranger(&place, port, &id)).collect();
        let ended = run.end();
        for stranger in &mut strangers {
            let _ = stranger.kill();
            stranger.wait().expect("it ends");
        }
        assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
        let summary = place.json("run/summary.json");
        assert_eq!((&summary["connections"]["opened"], &summary["connections"]["closed"]), (&json!(5), &json!(5)), "{workers}");
        assert_eq!(summary["verdict"]["expectations"][0]["observed"], json!(5.0), "{}", summary["verdict"]);
        for file in ["closes.csv", "events.csv", "summary.json"] {
            let text = fs::read_to_string(place.path("run").join(file)).expect(file);
            assert!(!text.contains("4999"), "{file}: {text}");
        }
    });
}
