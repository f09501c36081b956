//! TLS at both sides of `closestorm proxy`, with Node and Python at both ends: messages, codes, half-closes and resets pass, and who is not
//! trusted is refused.

use super::{home, node};
use closestorm::transport::tls::Identity;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

/// The program as a proxy with an API; killed when dropped.
pub(super) struct Proxy {
    child: Child,
    pub(super) address: String,
    pub(super) api: String,
    /// What it printed first.
    said: String,
    err: BufReader<ChildStderr>,
}

impl Proxy {
    pub(super) fn start(upstream: &str, args: &[&str]) -> Proxy {
        let mut command = Command::new(env!("CARGO_BIN_EXE_closestorm"));
        command.args(["proxy", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--upstream", upstream]).args(args);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut out, err) = (BufReader::new(child.stdout.take().unwrap()), BufReader::new(child.stderr.take().unwrap()));
        // From here on it is ended, whatever comes.
        let mut proxy = Proxy { child, address: String::new(), api: String::new(), said: String::new(), err };
        while proxy.api.is_empty() {
            let mut line = String::new();
            assert!(out.read_line(&mut line).unwrap() > 0, "{upstream} {args:?}: {}", proxy.said);
            proxy.said += &line;
            if let Some(rest) = line.strip_prefix("listening on ") {
                proxy.address = rest.split(',').next().unwrap().trim_start_matches("wss://").to_owned();
            }
            if let Some(api) = line.trim().strip_prefix("control API on http://") {
                proxy.api = api.to_owned();
            }
        }
        proxy
    }

    /// Ends it as a user does, with its results written.
    pub(super) fn stop(&mut self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A certificate for localhost in files of this folder.
fn certificate(folder: &Path) -> [String; 2] {
    let identity = Identity::generate().unwrap();
    [("certificate.pem", &identity.certificate), ("key.pem", &identity.key)].map(|(name, text)| {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    })
}

#[test]
fn messages_codes_half_closes_and_resets_pass_through_tls_at_either_side() {
    if !node("TLS through the proxy") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [cert, key] = certificate(folder.path());
    let mut peer = Command::new("node");
    peer.arg(home("tests/node/proxy_tls.js")).args([&cert, &key]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut peer = peer.spawn().unwrap();
    let mut out = BufReader::new(peer.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let ports: Value = serde_json::from_str(&line).unwrap();
    let mut proxies = Vec::new();
    let mut start = |port: &str, near_secure: bool, far_secure: bool| {
        let scheme = if far_secure { "wss" } else { "tcp" };
        let mut args = if near_secure { vec!["--tls", "--cert", &cert, "--key", &key] } else { Vec::new() };
        if far_secure {
            args.extend(["--ca", &cert]);
        }
        let proxy = Proxy::start(&format!("{scheme}://localhost:{}", ports[port]), &args);
        let place = json!({ "proxy": proxy.address, "api": proxy.api, "secure": near_secure });
        proxies.push(proxy);
        place
    };
    let places = json!({
        "plain_to_plain": { "ws": start("ws", false, false), "tcp": start("tcp", false, false) },
        "secure_to_plain": { "ws": start("ws", true, false), "tcp": start("tcp", true, false) },
        "plain_to_secure": { "ws": start("wss", false, true), "tcp": start("tls", false, true) },
        "secure_to_secure": { "ws": start("wss", true, true), "tcp": start("tls", true, true) },
    });
    writeln!(peer.stdin.take().unwrap(), "{places}").unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(peer.wait().unwrap().success() && rest == "ok\n", "{rest:?}");
}

/// What a client and a proxy say when the one does not trust the other: `client` is Python, which prints how its connection ended.
fn refused(upstream: &str, args: &[&str], client: &str) -> (String, String) {
    let mut proxy = Proxy::start(upstream, args);
    let port = proxy.address.rsplit(':').next().unwrap();
    let output = Command::new("python3").args(["-c", client, port]).output().unwrap();
    let mut line = String::new();
    proxy.err.read_line(&mut line).unwrap();
    (String::from_utf8_lossy(&output.stdout).trim().to_owned() + &String::from_utf8_lossy(&output.stderr), line)
}

/// Connects, with TLS that trusts the machine's roots where it is asked for, and prints how the connection ended.
const CLIENT: &str = r#"
import socket, ssl, sys
try:
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30)
    s = ssl.create_default_context().wrap_socket(s, server_hostname="localhost") if TLS else s
    print("end" if s.recv(1) == b"" else "data")
except Exception as error:
    print(type(error).__name__)
"#;

#[test]
fn who_is_not_trusted_is_refused_and_the_reason_is_told() {
    if super::left_out("CLOSESTORM_NO_PYTHON", "TLS of the proxy refused") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [cert, key] = certificate(folder.path());
    let server = r#"
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
listener = socket.create_server(("127.0.0.2", 0))
print(listener.getsockname()[1], flush=True)
while True:
    try:
        context.wrap_socket(listener.accept()[0], server_side=True)
    except Exception:
        pass
"#;
    let mut server = Command::new("python3").args(["-c", server, &cert, &key]).stdout(Stdio::piped()).spawn().unwrap();
    let mut port = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let port = port.trim();
    let plain = CLIENT.replace("TLS", "False");
    let (client, event) = refused(&format!("wss://127.0.0.2:{port}"), &[], &plain);
    assert_eq!(client, "ConnectionResetError");
    for part in ["cannot connect to wss://127.0.0.2:", "no trusted authority issued it", "--ca FILE", "--insecure", "was reset"] {
        assert!(event.contains(part), "{event}");
    }
    // It is for localhost, 127.0.0.1 and ::1.
    let (_, event) = refused(&format!("wss://127.0.0.2:{port}"), &["--ca", &cert], &plain);
    assert!(event.contains("it is for another host name"), "{event}");
    // A server without TLS.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("wss://localhost:{}", silent.local_addr().unwrap().port());
    let (client, event) = refused(&to, &["--insecure", "--connect-timeout", "200ms"], &plain);
    assert_eq!(client, "ConnectionResetError");
    assert!(event.contains("TLS: not complete within 200ms"), "{event}");
    // A client that does not trust the proxy's certificate, and one that speaks no TLS.
    let tcp = format!("tcp://127.0.0.2:{port}");
    let (client, event) = refused(&tcp, &["--tls"], &CLIENT.replace("TLS", "True"));
    assert_eq!(client, "SSLCertVerificationError");
    assert!(event.contains("TLS with a client failed: the client does not trust the certificate"), "{event}");
    let (_, event) = refused(&tcp, &["--tls"], &plain.replace("print(", "s.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n'); print("));
    assert!(event.contains("the client does not speak TLS"), "{event}");
    let _ = server.kill();
    let _ = server.wait();
    // The fingerprint is the one that openssl shows.
    let proxy = Proxy::start(&tcp, &["--tls", "--cert", &cert, "--key", &key]);
    let shown = Command::new("openssl").args(["x509", "-noout", "-fingerprint", "-sha256", "-in", &cert]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).trim().rsplit('=').next().unwrap().to_owned();
    assert!(shown.len() == 95 && proxy.said.contains(&format!("certificate SHA-256 {shown}\n")), "{shown} {}", proxy.said);
}

/// A server that ends a connection as its first byte says, and a client that tells how: Python's `ssl` knows a cut from an end of TLS.
const ENDS: &str = r#"
import socket, ssl, subprocess, sys, threading
cert, key, program = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
listener = socket.create_server(("127.0.0.1", 0))
kept = []

def serve():
    while True:
        s = context.wrap_socket(listener.accept()[0], server_side=True, suppress_ragged_eofs=False)
        if s.recv(1) == b"c":
            kept.append(socket.socket(fileno=s.detach()))
            kept[-1].shutdown(socket.SHUT_WR)
        else:
            try:
                s.unwrap()
            except ssl.SSLError:
                pass
            s.close()

threading.Thread(target=serve, daemon=True).start()
to = "wss://localhost:%d" % listener.getsockname()[1]
args = [program, "proxy", "--listen", "127.0.0.1:0", "--upstream", to, "--ca", cert, "--tls", "--cert", cert, "--key", key]
proxy = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
port = int(proxy.stdout.readline().split(",")[0].rsplit(":", 1)[1])
for how in (b"c", b"e"):
    trust = ssl.create_default_context(cafile=cert)
    s = trust.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=30), server_hostname="localhost", suppress_ragged_eofs=False)
    s.sendall(how)
    try:
        print("end" if s.recv(1) == b"" else "data")
    except ssl.SSLEOFError:
        print("cut")
proxy.kill()
proxy.wait()
"#;

#[test]
fn an_end_of_tls_is_told_apart_from_a_cut() {
    if super::left_out("CLOSESTORM_NO_PYTHON", "ends of TLS through the proxy") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [cert, key] = certificate(folder.path());
    let output = Command::new("python3").args(["-c", ENDS, &cert, &key, env!("CARGO_BIN_EXE_closestorm")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "cut\nend\n", "{}", String::from_utf8_lossy(&output.stderr));
}
