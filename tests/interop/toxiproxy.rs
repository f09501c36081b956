//! Toxiproxy's own clients of npm and PyPI and the extension of the Chaos Toolkit, unchanged, against the control API of `closestorm proxy`.

use super::{home, left_out, node};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// The program with an API; killed when dropped.
struct Api {
    child: Child,
    port: String,
}

impl Api {
    fn start() -> Api {
        let mut command = Command::new(env!("CARGO_BIN_EXE_closestorm"));
        let mut child = command.args(["proxy", "--api", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().unwrap_or_default().to_owned();
        assert!(line.starts_with("control API on http://127.0.0.1:"), "{line:?}");
        Api { child, port }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An upstream that sends everything back; its port. Its threads end with the test's process.
fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

fn is_content(output: &Output) {
    assert!(output.status.success() && output.stdout == b"ok\n", "{output:?}");
}

#[test]
fn the_client_of_npm_drives_the_proxy_unchanged() {
    if !node("Toxiproxy's client of npm") {
        return;
    }
    let api = Api::start();
    let url = format!("http://localhost:{}", api.port);
    is_content(&Command::new("node").args(["toxiproxy.js", &url, &echo()]).current_dir(home("tests/node")).output().unwrap());
}

/// A program of Python that is told the port of an API and that of an echo server.
fn python(program: &str) {
    if left_out("CLOSESTORM_NO_PYTHON", &format!("Toxiproxy's clients of PyPI: {program}")) {
        return;
    }
    let python: PathBuf = home("target/toxiproxy/bin/python");
    let api = Api::start();
    let done = Command::new(&python).args([program, &api.port, &echo()]).current_dir(home("tests/toxiproxy")).output();
    is_content(&done.unwrap_or_else(|why| panic!("{}: {why}: run scripts/test --install", python.display())));
}

#[test]
fn the_client_of_pypi_drives_the_proxy_unchanged() {
    python("client.py");
}

#[test]
fn the_extension_of_the_chaos_toolkit_drives_the_proxy_unchanged() {
    python("chaos.py");
}
