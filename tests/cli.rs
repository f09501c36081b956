//! The program as a hostile user meets it: exit codes, messages, signals, full disks, closed pipes, damaged files, dead targets.
//!
//! Every test starts the real binary in a folder of its own, with a mark in the environment. Whatever is done to it, no process with
//! that mark may be left, no message may be a panic, and a start that failed may leave no file. One test is also a program: started
//! by others from this very binary, `serve` is a WebSocket server.

#![expect(clippy::disallowed_methods, reason = "real processes in real time, on threads that carry nobody")]

mod canary;
mod canary_told;
mod capacity;
mod carriers;
mod ci;
mod comparisons;
mod dead_targets;
mod dialogues;
mod disk;
mod files;
mod hostile;
mod limits;
mod links;
mod load_shapes;
mod newcomers;
mod obeyed;
mod output;
mod panics;
mod planted;
mod porting;
mod refusals;
mod selections;
mod shards;
mod signals;
mod strangers;
mod templates;
mod watched;
mod ways;
mod workers;

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const MARK: &str = "CLOSESTORM_TEST_CLI";
const SERVE: &str = "CLOSESTORM_TEST_WEBSOCKET";
/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(40);

/// A second and a half in which twenty clients lose their server and come back. The wide time limit allows the generator to be a second
/// late, for tests share their machine.
const SHORT: &str = r#"
duration = "1500ms"
expect = ["clients_lost count == 0", "closes{reported=1006} share == 100%", "reconnect_time p50 < 20s"]
[target.embedded]
[clients.web]
count     = 20
arrive    = { over = "200ms" }
reconnect = { fixed = { delay = "200ms" } }
traffic   = { echo = { rate = "4/s", payload = "100B" } }
[[faults]]
name   = "crash"
at     = "600ms"
inject = { server_crash = { down = "300ms" } }
"#;

/// Clients that listen to an embedded server for half a minute.
const LISTENING: &str = "duration = \"30s\"\n[target.embedded]\n[clients.web]\ncount = 10\narrive = { over = \"300ms\" }\n";

/// A folder to run the program in.
struct Place {
    folder: TempDir,
    mark: String,
}

/// The program, started.
struct Started<'a> {
    child: Child,
    place: &'a Place,
    name: String,
}

/// The program, ended.
#[derive(Debug)]
struct Ended {
    /// `None`: by a signal.
    code: Option<i32>,
    out: String,
    err: String,
}

impl Place {
    fn new() -> Place {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Place { folder: tempfile::tempdir().expect("a temporary folder"), mark }
    }

    /// With a scenario `test.toml`.
    fn with(scenario: &str) -> Place {
        let place = Place::new();
        place.write("test.toml", scenario);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the folder can be written");
    }

    fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.path(name)).expect(name)).expect(name)
    }

    fn start(&self, args: &[&str]) -> Started<'_> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_closestorm"));
        command.args(args);
        self.spawn(command)
    }

    /// A line of shell, in which `$C` is the program and `$SERVE` the command line of a WebSocket server.
    fn shell(&self, line: &str) -> Started<'_> {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        self.spawn(command)
    }

    fn spawn(&self, mut command: Command) -> Started<'_> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(".{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let file = |end: &str| fs::File::create(self.path(&format!("{name}.{end}"))).expect("the folder can be written");
        command.current_dir(self.folder.path()).env("C", env!("CARGO_BIN_EXE_closestorm")).env(MARK, &self.mark);
        ["CI", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE", "NO_COLOR", "TERM", "COLUMNS"]
            .iter()
            .for_each(|name| _ = command.env_remove(name));
        command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
        Started { child: command.spawn().expect("the program starts"), place: self, name }
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.start(args).end()
    }

    /// Of a run that writes the folder `run`, with `--force`: again where the load generator was too slow, which beside other tests says nothing.
    /// Those that are run again are so one at a time.
    fn in_time<T>(&self, run: impl Fn() -> T) -> T {
        static ONE: Mutex<()> = Mutex::new(());
        let mut last = run();
        let _one = self.was_saturated().then(|| ONE.lock().unwrap_or_else(PoisonError::into_inner));
        for _ in 0..10 {
            if !self.was_saturated() {
                break;
            }
            last = run();
        }
        last
    }

    fn was_saturated(&self) -> bool {
        self.path("run/summary.json").exists() && self.json("run/summary.json")["generator"]["saturated"] == true
    }

    /// Live processes with the mark of this place.
    fn processes(&self) -> Vec<u32> {
        let wanted = format!("{MARK}={}", self.mark);
        let pids = fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|&byte| byte == 0).any(|entry| entry == wanted.as_bytes()) && !is_zombie(*pid)
        })
        .collect()
    }

    /// Waits until none is left.
    fn assert_nothing_is_left(&self) {
        let names = |pids: Vec<u32>| pids.iter().map(|pid| fs::read_to_string(format!("/proc/{pid}/cmdline"))).collect::<Vec<_>>();
        until(&format!("processes are left: {:?}", names(self.processes())), || self.processes().is_empty());
    }

    /// Files and folders here that are not the scenario and not the program's output, deepest last.
    fn litter(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).expect("the folder").map(|entry| entry.expect("an entry").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| !name.starts_with('.') && !name.ends_with(".toml")).collect()
    }

    /// The program says one thing, with all these parts, and leaves nothing; how much of it is a message of ours is its first word.
    fn assert_refuses(&self, args: &[&str], code: i32, parts: &[&str]) {
        let before = self.litter();
        let ended = self.run(args);
        ended.assert_one_message(code, parts);
        assert_eq!(ended.out, "", "{args:?}");
        assert_eq!(self.litter(), before, "{args:?} leaves files: {ended:?}");
    }
}

impl Started<'_> {
    fn out(&self) -> String {
        fs::read_to_string(self.place.path(&format!("{}.out", self.name))).unwrap_or_default()
    }

    fn err(&self) -> String {
        fs::read_to_string(self.place.path(&format!("{}.err", self.name))).unwrap_or_default()
    }

    /// Waits until the first line of progress is there.
    fn until_it_runs(&self) {
        until("the run does not begin", || self.err().contains("open "));
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
    }

    /// Waits for the end, and until nothing is left of it.
    fn end(self) -> Ended {
        let ended = self.end_with_a_panic();
        assert!(!ended.err.contains("panicked"), "{ended:?}");
        ended
    }

    /// The same where a panic may be told.
    fn end_with_a_panic(mut self) -> Ended {
        let deadline = Instant::now() + LONG;
        let status = loop {
            match self.child.try_wait().expect("the program can be waited for") {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    let _ = self.child.kill();
                    panic!("it does not end: {}", self.err());
                }
                None => sleep(Duration::from_millis(10)),
            }
        };
        self.place.assert_nothing_is_left();
        Ended { code: status.code(), out: self.out(), err: self.err() }
    }
}

/// A test that fails leaves nothing running.
impl Drop for Started<'_> {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Ended {
    fn assert_code(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{self:?}");
    }

    fn assert_one_message(&self, code: i32, parts: &[&str]) {
        self.assert_code(code);
        let messages = self.err.lines().filter(|line| line.starts_with("closestorm: ") || line.starts_with("error: ")).count();
        assert_eq!(messages, 1, "{self:?}");
        parts.iter().for_each(|part| assert!(self.err.contains(part), "{part:?} is not in {}", self.err));
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z')))
}

/// Checks all cases at the same time: most of what they do is to wait.
fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, check: impl Fn(T) + Sync) {
    let check = &check;
    thread::scope(|scope| {
        let threads: Vec<_> = cases.into_iter().map(|case| scope.spawn(move || check(case))).collect();
        let ended: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
        ended.into_iter().for_each(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    });
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(10));
    }
}

/// A server that does this with each connection, until the tests end.
fn server(behaviour: impl Fn(TcpStream) + Send + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let behaviour = behaviour.clone();
            thread::spawn(move || behaviour(stream));
        }
    });
    address
}

/// Reads a request's head.
fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|length| length == 1) {
        head.push(byte[0]);
    }
}

/// A WebSocket server that echoes, until the tests end.
fn websocket_server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || echo(listener, LONG * 10));
    address
}

fn echo(listener: TcpListener, length: Duration) {
    use futures_util::{SinkExt, StreamExt};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let serving = async {
        listener.set_nonblocking(true).expect("a socket can be");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if (message.is_binary() || message.is_text()) && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    };
    let _ = runtime.block_on(async { tokio::time::timeout(length, serving).await });
}

/// A program: a WebSocket server on the port that `SERVE` names, for as many milliseconds as it says, then it exits with 7. Without
/// `SERVE` there is nothing to serve.
#[test]
fn serve() {
    let Ok(wanted) = std::env::var(SERVE) else { return };
    let (port, length) = wanted.split_once(' ').expect("port and length");
    let (port, length) = (port.parse().expect("a port"), length.parse().expect("a length"));
    echo(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free"), Duration::from_millis(length));
    std::process::exit(7);
}

/// A `[target.command]` that serves for so long; `line` is its command line, in which `{serve}` is the server.
fn command_target(line: &str, length: Duration) -> String {
    let exe = std::env::current_exe().expect("this binary has a path");
    let line = line.replace("{serve}", &format!("{} --exact cli::serve --nocapture", exe.display()));
    format!("[target.command]\nrun = \"{line}\"\nenv = {{ {SERVE} = \"{{port}} {}\" }}\n", length.as_millis())
}

fn exists(path: &Path) -> bool {
    path.try_exists().expect("the folder can be read")
}
