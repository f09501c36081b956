//! The run folder of the proxy against what plain sockets did on both sides.

use super::toxiproxy::ask;
use super::witness::{AGREED, Witness, close, exchange};
use super::{limited, reset, to_end, upstream};
use crate::common::program;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Command;

#[test]
fn the_run_folder_has_what_both_sides_saw() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("run");
    let witness = Witness::start(&["--identify", "query:user", "--out", out.to_str().expect("UTF-8")]);
    // A restarting server, and a client that comes back.
    let (mut near, mut far) = witness.asked("/?user=anna", "", AGREED);
    exchange(&mut far, &mut near, &close(1012, "", false));
    exchange(&mut near, &mut far, &close(1012, "", true));
    far.shutdown(Shutdown::Write).expect("open");
    assert_eq!(to_end(&mut near).expect("a FIN"), b"");
    drop((near, far));
    let busy = witness.asked("/?user=anna", "", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    drop(busy);
    let back = witness.asked("/?user=anna", "", AGREED);
    // Another is reset and stays away.
    let (near, mut far) = witness.asked("/?user=bert", "", AGREED);
    reset(near);
    assert!(super::is_reset(&to_end(&mut far)));
    // And what is no WebSocket passes, and is in no figure.
    let (mut near, mut far) = witness.proxy.pair(&witness.upstream);
    near.write_all(b"hello\n").expect("open");
    limited(far.try_clone().expect("a file")).read_exact(&mut [0; 6]).expect("it passes");
    far.write_all(b"bye\n").expect("open");
    near.read_exact(&mut [0; 4]).expect("it passes");
    drop((near, far));
    // Until the proxy has seen all of it.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let (code, printed, _) = witness.proxy.stop(Signal::SIGTERM);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("real clients, as the proxy saw them"), "{printed}");
    drop(back);
    let summary: Value = serde_json::from_slice(&fs::read(out.join("summary.json")).expect("a folder")).expect("JSON");
    assert_eq!(summary["seen_from"], json!("proxy"));
    let attempts = &summary["attempts"];
    let counts = ["total", "opened", "rejected", "failed"].map(|what| attempts[what].as_u64());
    assert_eq!(counts, [Some(4), Some(3), Some(1), Some(0)], "{attempts}");
    assert_eq!((&summary["connections"]["closed"], &summary["connections"]["open_at_end"]), (&json!(2), &json!(1)));
    assert_eq!((&summary["reconnect"]["affected"], &summary["reconnect"]["recovered"]), (&json!(2), &json!(1)));
    assert_eq!(summary["close_codes"], json!({ "client": { "1006": 1, "1012": 1 }, "server": { "1006": 1, "1012": 1 } }));
    for (command, exit) in [("report", 0), ("check", 0)] {
        let done = Command::new(program()).arg(command).arg(&out).output().expect("the program starts");
        assert_eq!(done.status.code(), Some(exit), "{command}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

#[test]
fn what_faults_answer_and_cut_in_place_of_the_server_is_known_by_client() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("run");
    let witness = Witness::start(&["--identify", "query:user", "--out", out.to_str().expect("UTF-8")]);
    for (name, inject) in [("busy", json!({ "upgrade_status": { "status": 503 } })), ("cut", json!({ "accept_rst": {} }))] {
        let fault = json!({ "name": name, "inject": inject, "first_n": 1, "for": "1m" });
        assert!(ask(witness.api, "POST /v1/faults", &fault).status < 300, "{name}");
        let mut near = witness.proxy.connect();
        near.write_all(b"GET /?user=anna HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n").expect("open");
        // The answer and a FIN, or an RST.
        let _ = to_end(&mut near);
        assert_eq!(ask(witness.api, &format!("DELETE /v1/faults/{name}"), &Value::Null).status, 204, "{name}");
    }
    assert_eq!(witness.proxy.stop(Signal::SIGTERM).0, Some(0));
    let summary: Value = serde_json::from_slice(&fs::read(out.join("summary.json")).expect("a folder")).expect("JSON");
    let counts = ["total", "opened", "rejected", "failed"].map(|what| summary["attempts"][what].as_u64());
    assert_eq!(counts, [Some(2), Some(0), Some(1), Some(1)], "{}", summary["attempts"]);
    let faults = summary["faults"].as_array().expect("a list");
    let hits: Vec<_> = faults.iter().map(|fault| (fault["id"].as_str(), fault["injected"].as_u64())).collect();
    assert_eq!(hits, [(Some("busy"), Some(1)), (Some("cut"), Some(1))]);
    assert!(!summary["notices"].to_string().contains("whose is not known"), "{}", summary["notices"]);
}

#[test]
fn attempts_while_the_server_is_down_are_known_by_client() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("run");
    let Witness { proxy, upstream, .. } = Witness::start(&["--identify", "query:user", "--out", out.to_str().expect("UTF-8")]);
    drop(upstream);
    for _ in 0..3 {
        let mut near = proxy.connect();
        near.write_all(b"GET /?user=anna HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n").expect("open");
        assert!(super::is_reset(&to_end(&mut near)));
    }
    // What says nothing is reset all the same.
    assert!(super::is_reset(&to_end(&mut proxy.connect())));
    assert_eq!(proxy.stop(Signal::SIGTERM).0, Some(0));
    let summary: Value = serde_json::from_slice(&fs::read(out.join("summary.json")).expect("a folder")).expect("JSON");
    let counts = ["total", "failed"].map(|what| summary["attempts"][what].as_u64());
    assert_eq!((counts, &summary["clients"]["started"]), ([Some(3), Some(3)], &json!(1)), "{summary}");
    assert!(summary["notices"].to_string().contains("1 attempt ended before the request was read"), "{}", summary["notices"]);
}

#[test]
fn codes_are_those_that_each_side_was_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("run");
    let witness = Witness::start(&["--identify", "query:user", "--out", out.to_str().expect("UTF-8")]);
    // The server's answer to 4001 is changed on its way, then it is swallowed.
    for inject in [json!({ "close_ack_wrong_code": { "code": 4009 } }), json!({ "close_ack_drop": {} })] {
        let fault = json!({ "name": "ack", "inject": inject, "new": true, "for": "1m" });
        let answer = ask(witness.api, "POST /v1/faults", &fault);
        assert!(answer.status < 300, "{}", answer.body);
        let (mut near, mut far) = witness.asked("/?user=anna", "", AGREED);
        exchange(&mut near, &mut far, &close(4001, "", true));
        far.write_all(&close(4001, "", false)).expect("open");
        if inject["close_ack_drop"].is_null() {
            near.read_exact(&mut [0; 4]).expect("a Close frame");
        }
        near.shutdown(Shutdown::Write).expect("open");
        far.shutdown(Shutdown::Write).expect("open");
        assert_eq!(ask(witness.api, "DELETE /v1/faults/ack", &Value::Null).status, 204);
        let _ = (to_end(&mut near), to_end(&mut far));
    }
    // The proxy closes, to both sides.
    let (mut near, mut far) = witness.asked("/?user=anna", "", AGREED);
    assert!(ask(witness.api, "DELETE /v1/connections/proxy/3?code=4321", &Value::Null).status < 300);
    let _ = (to_end(&mut near), to_end(&mut far));
    drop((near, far));
    // And once more, behind the server's own code.
    let (mut near, mut far) = witness.asked("/?user=anna", "", AGREED);
    exchange(&mut far, &mut near, &close(1000, "", false));
    assert!(ask(witness.api, "DELETE /v1/connections/proxy/4?code=4322", &Value::Null).status < 300);
    let _ = (to_end(&mut near), to_end(&mut far));
    drop((near, far));
    // The server's code comes when the proxy has ended its direction.
    let (mut near, mut far) = witness.asked("/?user=anna", "", AGREED);
    let fault = json!({ "name": "half", "inject": { "half_close_write": {} } });
    assert!(ask(witness.api, "POST /v1/faults", &fault).status < 300);
    assert_eq!(to_end(&mut near).expect("a FIN"), b"");
    far.write_all(&close(1001, "", false)).expect("open");
    far.shutdown(Shutdown::Write).expect("open");
    near.shutdown(Shutdown::Write).expect("open");
    let _ = to_end(&mut far);
    drop((near, far));
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(witness.proxy.stop(Signal::SIGTERM).0, Some(0));
    let summary: Value = serde_json::from_slice(&fs::read(out.join("summary.json")).expect("a folder")).expect("JSON");
    let expected =
        json!({ "client": { "1000": 1, "1006": 2, "4009": 1, "4321": 1 }, "server": { "1006": 1, "4001": 2, "4321": 1, "4322": 1 } });
    assert_eq!(summary["close_codes"], expected);
}

#[test]
fn a_folder_that_is_there_is_refused_before_anybody_connects() {
    let upstream = upstream();
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("mine.txt"), "mine").expect("the folder can be written");
    let mut command = Command::new(program());
    command.args(["proxy", "--listen", "127.0.0.1:0", "--upstream", &upstream.local_addr().expect("bound").to_string(), "--out"]);
    let done = command.arg(folder.path()).output().expect("the program starts");
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("already exists"), "{done:?}");
}
