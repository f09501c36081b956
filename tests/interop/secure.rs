//! wss: the embedded server's own certificate, a foreign server's with `insecure` and with `ca`, and a clear refusal without either.

use super::{Peer, Run, alone, node};
use closestorm::transport::tls::Identity;
use std::process::Command;

const CRASH: &str = r#"
duration = "8s"
expect = [
  "clients_lost count == 0",
  "closes{reported=1006} share == 100%",
  "attempts{outcome=refused} count > 0",
  "tls p50 > 0us",
]
[target.embedded]
tls = true
[clients.web]
count     = 100
arrive    = { over = "1s" }
traffic   = { echo = { rate = "2/s", payload = "100B" } }
reconnect = { exponential = { base = "200ms", factor = 2, cap = "1s", jitter = "full" } }
[[faults]]
at     = "3s"
inject = { server_crash = { down = "1s" } }
"#;

#[test]
fn a_crash_over_tls_is_a_crash_and_handshakes_are_timed() {
    let _alone = alone();
    let run = Run::new();
    let summary = run.load(&run.file(CRASH), &[]).summary;
    assert_eq!(summary.tls_us.count, summary.attempts.counts.opened, "each connection had its TLS handshake");
    assert!(summary.tls_us.min > Some(0) && summary.connections.opened >= 200);
    // A killed process says no close_notify; rustls calls that an error, and for WebSocket it is 1006 by FIN or RST.
    assert!(
        summary.endings.iter().all(|row| row.tcp_end.as_ref().is_some_and(|end| ["fin", "rst"].contains(&end.as_str()))),
        "{:#?}",
        summary.endings
    );
    assert_eq!((summary.reconnect.affected, summary.reconnect.recovered), (100, 100));
}

/// A server with a certificate that nobody vouches for, and what is to be said about it.
fn scenario(port: &str, trust: &str) -> String {
    format!(
        "duration = \"2s\"\nexpect = [\"closes{{reported=1001}} share == 100%\", \"closes{{clean=true}} count >= 5\"]\n\
         [target.url]\naddress = \"wss://localhost:{port}/?code=1001&after=200\"\n{trust}\n[clients.web]\ncount = 5\narrive = {{ at_once = true }}\nreconnect = {{ fixed = {{ delay = \"10s\" }} }}\n"
    )
}

#[test]
fn a_foreign_certificate_needs_insecure_or_ca() {
    if !node("wss against a Node server with a self-signed certificate") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let identity = Identity::generate().unwrap();
    std::fs::write(path("certificate.pem"), &identity.certificate).unwrap();
    std::fs::write(path("key.pem"), &identity.key).unwrap();
    let peer = Peer::start(&[&path("certificate.pem"), &path("key.pem")]);
    for trust in ["insecure = true".to_owned(), format!("ca = \"{}\"", path("certificate.pem"))] {
        let run = Run::new();
        let summary = run.load(&run.file(&scenario(&peer.port, &trust)), &[]).summary;
        assert_eq!((summary.attempts.counts.opened, summary.tls_us.count), (5, 5), "{trust}");
    }
    let run = Run::new();
    let output = run.output(&run.file(&scenario(&peer.port, "")), &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["wss://localhost", "no trusted authority issued it", "`insecure = true`", "`ca = "] {
        assert!(said.contains(part), "{said:?} lacks {part:?}");
    }
    assert!(!run.out().exists() && !run.folder.path().join("run.partial").exists(), "nothing was measured");
}

/// As people make test certificates: `openssl req -x509` makes an authority of it.
#[test]
fn a_certificate_of_openssl_works_as_ca() {
    if !node("wss against a Node server with a certificate of openssl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ])
        .args(["-addext", "subjectAltName=DNS:localhost", "-keyout", &key, "-out", &certificate])
        .output();
    let made = made.expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let peer = Peer::start(&[&certificate, &key]);
    let run = Run::new();
    let summary = run.load(&run.file(&scenario(&peer.port, &format!("ca = \"{certificate}\""))), &[]).summary;
    assert_eq!(summary.attempts.counts.opened, 5);
    // It is for localhost, and naming it does not make it one for another host.
    let elsewhere = scenario(&peer.port, &format!("ca = \"{certificate}\"")).replace("localhost", "127.0.0.1");
    let run = Run::new();
    let output = run.output(&run.file(&elsewhere), &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("it is for another host name"), "{said}");
}
