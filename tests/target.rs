//! Targets as real processes: nothing is left behind, whatever kills us; crash, stop, pause, start again; what goes wrong.
//!
//! Who is left is found by an environment variable that each test gives to all its processes, not by the guard's own means. Two
//! tests are also programs: started by others from this very binary, `hold` holds a guard and `serve` is a TCP server.

use closestorm::plan;
use closestorm::sut::command::{CommandTarget, Error, Guard, How, Recipe, Signal, Spec, port};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

const MARK: &str = "CLOSESTORM_TEST_MARK";
const HOLD: &str = "CLOSESTORM_TEST_HOLD";
const SERVE: &str = "CLOSESTORM_TEST_SERVE";
/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(20);

/// Distinguishes the processes of one test.
fn mark() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn guard() -> Guard {
    Guard::launch_from(Path::new(env!("CARGO_BIN_EXE_closestorm"))).await.unwrap()
}

fn spec(argv: &[&str], mark: &str, output: &Path) -> Spec {
    Spec {
        argv: argv.iter().map(ToString::to_string).collect(),
        env: BTreeMap::from([(MARK.into(), mark.into())]),
        workdir: None,
        output: output.to_path_buf(),
    }
}

/// Live processes with this mark.
fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|&byte| byte == 0).any(|entry| entry == wanted.as_bytes()) && state(*pid) != Some('Z')
    })
    .collect()
}

/// `S`, `T`, `Z` … of proc_pid_stat(5); `None`: no such process.
fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// What each file descriptor of a process is.
fn open_files(pid: u32) -> BTreeMap<u32, PathBuf> {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    // One that is closed meanwhile is not there.
    fds.filter_map(|fd| {
        let path = fd.ok()?.path();
        Some((path.file_name()?.to_str()?.parse().ok()?, std::fs::read_link(path).ok()?))
    })
    .collect()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A program: holds a guard that runs the command line in `HOLD`, until it is killed. Without `HOLD` there is nothing to hold.
#[tokio::test]
async fn hold() {
    let Ok(held) = std::env::var(HOLD) else { return };
    let (pause, argv): (bool, Vec<String>) = serde_json::from_str(&held).unwrap();
    let guard = guard().await;
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let started = guard.start(0, spec(&argv, &std::env::var(MARK).unwrap(), Path::new("/dev/null"))).await.unwrap();
    sleep(Duration::from_millis(100)).await; // a moment for it to make its descendants; the observer counts them anyway
    if pause {
        guard.signal(0, Signal::SIGSTOP).await.unwrap();
    }
    println!("\nheld {} {}", guard.pid(), started.pid);
    std::future::pending::<()>().await;
}

/// Starts `hold`; returns it with the process ids of the guard and of the leader.
async fn start_holder(pause: bool, argv: &[&str], mark: &str) -> (tokio::process::Child, u32, u32) {
    let mut holder = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "target::hold", "--nocapture"])
        .env(HOLD, serde_json::to_string(&(pause, argv)).unwrap())
        .env(MARK, mark)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    loop {
        let line = timeout(LONG, lines.next_line()).await.unwrap().unwrap().expect("the holder says what it holds");
        if let ["held", guard, leader] = line.split(' ').collect::<Vec<_>>()[..] {
            return (holder, guard.parse().unwrap(), leader.parse().unwrap());
        }
    }
}

#[tokio::test]
async fn a_guard_that_somebody_has_stopped_ends_when_it_is_told_to() {
    let guard = guard().await;
    let started = guard.start(0, spec(&["sleep", "1000"], "stopped", Path::new("/dev/null"))).await.unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(guard.pid() as i32), Signal::SIGSTOP).unwrap();
    // Without a word it would be killed after ten seconds.
    timeout(Duration::from_secs(8), guard.shutdown()).await.expect("it goes on").unwrap();
    assert!(!Path::new(&format!("/proc/{}", started.pid)).exists());
}

#[tokio::test]
async fn nothing_is_left_when_the_holder_of_the_guard_is_killed() {
    let table: [(&[&str], usize); 6] = [
        (&["sleep", "1000"], 1),
        (&["sh", "-c", "sleep 1000 & wait"], 2),
        (&["setsid", "sleep", "1000"], 1),              // its own session, and the leader has ended
        (&["sh", "-c", "setsid sleep 1000 & wait"], 2), // another session below a live leader
        (&["sh", "-c", "(setsid sh -c 'sleep 1000 & sleep 999' &)"], 3), // a daemon: no session, no parent, children
        (&["sh", "-c", "trap '' TERM INT HUP; sleep 1000 & wait"], 2),
    ];
    for pause in [false, true] {
        for (argv, expected) in table {
            let mark = mark();
            let (mut holder, guard, leader) = start_holder(pause, argv, &mark).await;
            // The holder, the guard, and the target's processes: otherwise this test would prove nothing.
            until(&format!("{argv:?} has {expected} processes"), || marked(&mark).len() == expected + 2).await;
            if pause && state(leader).is_some() {
                until("the target is stopped", || state(leader) == Some('T')).await;
            }
            holder.kill().await.unwrap(); // SIGKILL
            until(&format!("{argv:?} is gone, paused: {pause}"), || marked(&mark).is_empty()).await;
            until("the guard is gone", || state(guard).is_none_or(|state| state == 'Z')).await;
        }
    }
}

#[tokio::test]
async fn a_process_that_hides_its_origin_is_left_no_more_than_others() {
    // Neither our mark nor the guard's in its environment, another session, no parent.
    let mark = mark();
    let seconds = 1_000_000 + std::process::id(); // recognised by its command line, which no other test has
    let (mut holder, _, _) = start_holder(false, &["sh", "-c", &format!("env -i setsid sleep {seconds} & wait")], &mark).await;
    let line = format!("sleep\0{seconds}\0");
    let hidden = || {
        let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        pids.filter(|pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|found| found == line.as_bytes())).count()
    };
    until("it runs", || hidden() == 1).await;
    holder.kill().await.unwrap();
    until("it is gone", || hidden() == 0 && marked(&mark).is_empty()).await;
}

#[tokio::test]
#[ignore = "long: scripts/test"]
async fn a_process_that_is_just_loading_its_program_is_not_overlooked() {
    // The leader ends in the moment in which its child, in a session of its own, begins another program: it bears no mark just then.
    let guard = guard().await;
    for _ in 0..200 {
        guard.start(0, spec(&["setsid", "sleep", "1000"], &mark(), Path::new("/dev/null"))).await.unwrap();
        guard.wait_exit(0).await.unwrap();
        guard.signal(0, Signal::SIGKILL).await.expect("the child runs");
        guard.wait_gone(0).await.unwrap();
    }
}

#[tokio::test]
async fn a_program_that_is_no_guard_of_this_version_is_refused_with_what_it_said() {
    let folder = tempfile::tempdir().unwrap();
    let table = [
        (
            "echo '{\"closestorm\":\"guard\",\"version\":0}' >&0; exec cat",
            "the other side uses protocol guard 0, and this side uses guard 1",
        ),
        ("echo hello >&0; exec cat", "the first line names no protocol: \"hello\""),
        ("exit 0", "the other side closed before it sent its protocol version"),
    ];
    for (number, (line, expected)) in table.into_iter().enumerate() {
        let program = folder.path().join(format!("program-{number}"));
        std::fs::write(&program, format!("#!/bin/sh\n{line}\n")).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let Err(Error::Launch(why)) = Guard::launch_from(&program).await else { panic!("{line}") };
        assert!(why.to_string().contains("is not a guard process") && why.to_string().contains(expected), "{why}");
    }
}

#[tokio::test]
async fn signals_meant_for_closestorm_do_not_end_the_guard() {
    let guard = guard().await;
    for signal in ["TERM", "INT", "HUP", "QUIT", "USR1"] {
        let status = tokio::process::Command::new("kill").args([&format!("-{signal}"), &guard.pid().to_string()]).status().await;
        assert!(status.unwrap().success());
    }
    let started = guard.start(0, spec(&["sleep", "1000"], &mark(), Path::new("/dev/null"))).await.unwrap();
    // What the guard catches is not ignored or blocked in the target, and none of its pipes is open there.
    let status = std::fs::read_to_string(format!("/proc/{}/status", started.pid)).unwrap();
    for field in ["SigBlk:\t", "SigIgn:\t"] {
        let bits = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        // glibc's posix_spawn leaves its internal signals 32 and 33 ignored.
        assert_eq!(u64::from_str_radix(bits, 16).unwrap() & !(3 << 31), 0, "{field}{bits}");
    }
    // A target that held the guard's link open would keep closestorm from noticing that the guard is gone.
    let link = open_files(guard.pid()).into_values().next().expect("a standard input");
    assert!(link.to_string_lossy().starts_with("socket:"), "{link:?}");
    assert!(open_files(started.pid).values().all(|file| *file != link));
    guard.shutdown().await.unwrap();
    assert_eq!(state(started.pid), None);
    assert!(matches!(guard.signal(0, Signal::SIGTERM).await, Err(Error::GuardLost)));
}

#[tokio::test]
async fn dropping_the_guard_ends_it_without_waiting() {
    let mark = mark();
    let guard = guard().await;
    let copy = guard.clone();
    guard.start(7, spec(&["sh", "-c", "sleep 1000 & wait"], &mark, Path::new("/dev/null"))).await.unwrap();
    until("it runs", || marked(&mark).len() == 2).await;
    drop(guard);
    copy.signal(7, Signal::SIGCONT).await.unwrap();
    drop(copy);
    until("it is gone", || marked(&mark).is_empty()).await;
}

#[tokio::test]
async fn targets_do_not_outlive_a_guard_that_was_killed() {
    let mark = mark();
    let guard = guard().await;
    guard.start(0, spec(&["sh", "-c", "sleep 1000 & wait"], &mark, Path::new("/dev/null"))).await.unwrap();
    until("it runs", || marked(&mark).len() == 2).await;
    let killed = tokio::process::Command::new("kill").args(["-KILL", &guard.pid().to_string()]).status().await;
    assert!(killed.unwrap().success());
    until("it is gone", || marked(&mark).is_empty()).await;
    assert!(matches!(guard.wait_exit(0).await, Err(Error::GuardLost)));
}

/// A program: a TCP server on the port in `SERVE` that answers each connection with a line. Without `SERVE` it serves nobody.
#[tokio::test]
async fn serve() {
    let Ok(port) = std::env::var(SERVE) else { return };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse().unwrap())).await.unwrap();
    println!("\nserving on {port}");
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let _ = stream.read(&mut [0; 512]).await;
    }
}

fn server(ready: plan::Ready) -> plan::Command {
    let exe = std::env::current_exe().unwrap();
    command(&[exe.to_str().unwrap(), "--exact", "target::serve", "--nocapture"], ready)
}

fn command(run: &[&str], ready: plan::Ready) -> plan::Command {
    plan::Command {
        run: run.iter().map(ToString::to_string).collect(),
        shown: run.join(" "),
        address: "ws://127.0.0.1:{port}/".into(),
        ready,
        ready_within: Duration::from_secs(10),
        stop_signal: "SIGTERM".into(),
        env: BTreeMap::from([(SERVE.into(), "{port}".into()), (MARK.into(), mark())]),
        workdir: None,
        insecure: false,
        ca: None,
        before: plan::Before::default(),
    }
}

/// What a client sees: the first bytes, or the error's name.
async fn ask(addr: SocketAddr) -> String {
    let answer = async {
        let mut stream = TcpStream::connect(addr).await?;
        let mut line = vec![0; 15];
        stream.read_exact(&mut line).await?;
        Ok::<_, std::io::Error>(String::from_utf8(line).unwrap())
    };
    match timeout(Duration::from_millis(500), answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => format!("{:?}", error.kind()),
        Err(_) => "silence".into(),
    }
}

struct Room {
    guard: Guard,
    _folder: tempfile::TempDir,
    output: PathBuf,
}

impl Room {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { guard: guard().await, output: folder.path().join("target.log"), _folder: folder }
    }

    async fn target(&self, command: &plan::Command) -> CommandTarget {
        CommandTarget::of_command(&self.guard, 0, command, &self.output).await.unwrap()
    }

    async fn start_error(&self, command: &plan::Command) -> String {
        self.target(command).await.start_again().await.unwrap_err().to_string()
    }
}

#[tokio::test]
async fn a_crashed_server_refuses_and_serves_again_on_the_same_port() {
    let room = Room::new().await;
    let mut target = room.target(&server(plan::Ready::Tcp)).await;
    let addr = target.addrs()[0];
    assert!(target.url().ends_with(&format!(":{}/", addr.port())) && !target.url().contains('{'));
    let mut last = 0;
    for _ in 0..3 {
        let up = target.start_again().await.unwrap();
        assert!(last < up.started_at && up.started_at < up.ready_at);
        assert_eq!(ask(addr).await, "HTTP/1.1 200 OK");
        let down = target.crash().await.unwrap();
        assert_eq!((down.exit.how, down.exit.asked, down.exit.pid, down.forced), (How::Signal(9), true, up.pid, false));
        assert!(up.ready_at < down.signalled_at && down.signalled_at <= down.exit.at && down.exit.at <= down.gone_at);
        assert_eq!(ask(addr).await, "ConnectionRefused");
        last = down.gone_at;
    }
    assert!(matches!(target.crash().await, Err(Error::NotRunning)));
    assert_eq!(std::fs::read_to_string(&room.output).unwrap().matches("serving on").count(), 3);
}

#[tokio::test]
async fn a_crash_reaches_descendants_in_other_sessions() {
    let room = Room::new().await;
    let exe = std::env::current_exe().unwrap();
    for disguise in ["setsid", "env -i CLOSESTORM_TEST_SERVE={port} setsid"] {
        let run = format!("{disguise} '{}' --exact target::serve --nocapture & wait", exe.display());
        let mut target = room.target(&command(&["sh", "-c", &run], plan::Ready::Tcp)).await;
        for _ in 0..5 {
            target.start_again().await.unwrap();
            assert_eq!(ask(target.addrs()[0]).await, "HTTP/1.1 200 OK");
            target.crash().await.unwrap();
            assert_eq!(ask(target.addrs()[0]).await, "ConnectionRefused", "{disguise}");
        }
    }
}

#[tokio::test]
async fn a_paused_server_accepts_and_says_nothing_until_it_is_resumed() {
    let room = Room::new().await;
    let mut target = room.target(&server(plan::Ready::Http { path: "/".into(), status: 200 })).await;
    let up = target.start_again().await.unwrap();
    let paused_at = target.pause().await.unwrap();
    assert!(target.is_paused());
    until("it is stopped", || state(up.pid) == Some('T')).await; // delivered is not yet carried out on another processor
    assert_eq!(ask(target.addrs()[0]).await, "silence");
    let resumed_at = target.resume().await.unwrap();
    assert!(resumed_at - paused_at >= 500_000_000, "the silence took 500 ms");
    assert_eq!(ask(target.addrs()[0]).await, "HTTP/1.1 200 OK");
    target.pause().await.unwrap();
    let down = target.crash().await.unwrap();
    assert_eq!(down.exit.how, How::Signal(9));
}

#[tokio::test]
async fn a_graceful_stop_is_enough_or_is_forced() {
    let room = Room::new().await;
    let mut target = room.target(&server(plan::Ready::Line { text: "serving on".into() })).await;
    target.start_again().await.unwrap();
    target.pause().await.unwrap();
    let down = target.stop(Signal::SIGTERM, LONG).await.unwrap();
    assert_eq!((down.exit.how, down.exit.asked, down.forced), (How::Signal(15), true, false), "a paused server is resumed to obey");

    let ready = plan::Ready::Line { text: "ready".into() };
    let mut deaf = room.target(&command(&["sh", "-c", "trap '' TERM; echo ready; sleep 1000"], ready.clone())).await;
    deaf.start_again().await.unwrap();
    let down = deaf.stop(Signal::SIGTERM, Duration::from_millis(100)).await.unwrap();
    assert_eq!((down.exit.how, down.forced), (How::Signal(9), true));
    assert!(down.exit.at - down.signalled_at >= 100_000_000);

    // The shell ends at once and its child some time later, in order.
    let slow = "trap 'sleep 0.3; echo child ended; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let mut late = room.target(&command(&["sh", "-c", "trap 'exit 3' TERM; sh -c \"$0\" & wait", slow], ready)).await;
    late.start_again().await.unwrap();
    let down = late.stop(Signal::SIGTERM, LONG).await.unwrap();
    assert_eq!((down.exit.how, down.forced), (How::Status(3), false));
    assert!(down.gone_at - down.exit.at >= 200_000_000, "the child was awaited");
    assert!(std::fs::read_to_string(&room.output).unwrap().contains("child ended"));
}

#[tokio::test]
async fn a_target_that_dies_by_itself_is_noticed_and_can_be_started_again() {
    let room = Room::new().await;
    let mut exits = room.guard.exits();
    let run = "echo ready; sleep 1000 & read never < /dev/null; sleep 0.2; exit 7";
    let mut target = room.target(&command(&["sh", "-c", run], plan::Ready::Line { text: "ready".into() })).await;
    for _ in 0..2 {
        let up = target.start_again().await.unwrap();
        let exit = timeout(LONG, exits.recv()).await.unwrap().unwrap();
        assert_eq!((exit.slot, exit.pid, exit.how, exit.asked), (0, up.pid, How::Status(7), false));
        assert!(matches!(target.pause().await, Err(Error::NotRunning)));
    }
    // The first `sleep 1000` was swept away before the second start; only the second is left.
    assert_eq!(timeout(Duration::from_millis(50), room.guard.wait_gone(0)).await.ok().map(drop), None);
}

#[tokio::test]
async fn each_failure_to_start_says_why() {
    let room = Room::new().await;
    let tcp = plan::Ready::Tcp;
    let missing = command(&["no-such-program"], tcp.clone());
    let no_workdir = plan::Command { workdir: Some("/no/such/folder".into()), ..command(&["true"], tcp.clone()) };
    let not_executable = command(&["/etc/passwd"], tcp.clone());
    let early = command(&["sh", "-c", "echo Error: no module ws >&2; exit 1"], tcp.clone());
    let daemon = command(&["sh", "-c", "sleep 1000 &"], tcp.clone());
    let mute = plan::Command { ready_within: Duration::from_millis(200), ..command(&["sh", "-c", "echo hello; sleep 1000"], tcp.clone()) };
    let table = [
        (missing, vec!["`no-such-program` not found", "check `run`"]),
        (no_workdir, vec!["/no/such/folder", "check `workdir`"]),
        (not_executable, vec!["`/etc/passwd` cannot be started", "executable"]),
        (early, vec!["ended before it was ready: exit status 1 after 0.", "Error: no module ws"]),
        (daemon, vec!["exit status 0", "stay in the foreground", "printed nothing"]),
        (mute, vec!["not ready within 200ms", "a TCP connect to 127.0.0.1:", "refused", "\n  | hello"]),
    ];
    for (command, parts) in table {
        // A file of its own, so that the quoted output is its own.
        std::fs::remove_file(&room.output).ok();
        let error = room.start_error(&command).await;
        parts.iter().for_each(|part| assert!(error.contains(part), "{error:?} lacks {part:?}"));
        assert!(marked(&command.env[MARK]).is_empty(), "left running after: {error}");
    }
}

#[tokio::test]
async fn a_port_that_somebody_listens_on_is_in_use() {
    let room = Room::new().await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let fixed = plan::Command { address: format!("ws://{addr}/"), ..server(plan::Ready::Tcp) };
    let error = room.start_error(&fixed).await;
    assert!(error.contains(&format!("{addr} is in use")), "{error}");
}

#[tokio::test]
async fn a_held_port_is_refused_before_during_and_after_the_server() {
    let room = Room::new().await;
    let held = port::Reserved::new(Ipv4Addr::LOCALHOST.into()).unwrap();
    // Listens with SO_REUSEPORT, as the embedded server does; node and python3 may be missing, so this is our own.
    let spec = Spec {
        argv: server(plan::Ready::Tcp).run,
        env: BTreeMap::from([(SERVE_SHARED.into(), held.addr().port().to_string())]),
        workdir: None,
        output: room.output.clone(),
    };
    let mut recipe = Recipe {
        spec,
        url: format!("ws://{}/", held.addr()),
        addrs: vec![held.addr()],
        ready: plan::Ready::Tcp,
        ready_within: LONG,
        port_held: true,
    };
    recipe.spec.argv[2] = "target::serve_shared".into();
    let mut target = CommandTarget::new(&room.guard, 3, recipe);
    for _ in 0..2 {
        assert_eq!(ask(held.addr()).await, "ConnectionRefused");
        target.start_again().await.unwrap();
        assert_eq!(ask(held.addr()).await, "HTTP/1.1 200 OK");
        target.crash().await.unwrap();
    }
    assert_eq!(ask(held.addr()).await, "ConnectionRefused");
}

const SERVE_SHARED: &str = "CLOSESTORM_TEST_SERVE_SHARED";

/// A program: `serve` with SO_REUSEPORT.
#[tokio::test]
async fn serve_shared() {
    let Ok(port) = std::env::var(SERVE_SHARED) else { return };
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, port.parse().unwrap()).into()).unwrap();
    let listener = socket.listen(16).unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
    }
}
