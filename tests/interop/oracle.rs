//! An oracle in Python recomputes `summary.json` from all events of a run, and must agree: thirty runs, each with something else in it.
//!
//! `tests/python/oracle.py` shares no code with closestorm; its Kaplan-Meier estimates are those of lifelines.

use super::{home, left_out};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Three processes have the clients.
const WORKERS: &[&str] = &["--workers", "3"];
const ONE: &[&str] = &[];

const FIXED: &str = "reconnect = { fixed = { delay = \"300ms\" } }\n";
const ECHO: &str = "traffic = { echo = { rate = \"5/s\", payload = \"32B\" } }\n";
const WEB: &str = "[clients.web]\ncount = 40\narrive = { over = \"800ms\" }\n";

/// Name, parts of the scenario, options.
type Plan = (&'static str, &'static [&'static str], &'static [&'static str]);

/// Parts are put together in this order; tables come last.
const PLANS: [Plan; 30] = [
    (
        "crash",
        &["[target.embedded]\n", WEB, FIXED, ECHO, "[[faults]]\nat = \"1500ms\"\ninject = { server_crash = { down = \"700ms\" } }\n"],
        ONE,
    ),
    (
        "crash, workers",
        &["[target.embedded]\n", WEB, FIXED, ECHO, "[[faults]]\nat = \"1500ms\"\ninject = { server_crash = { down = \"700ms\" } }\n"],
        WORKERS,
    ),
    (
        "crash over TLS",
        &[
            "[target.embedded]\ntls = true\n",
            WEB,
            FIXED,
            ECHO,
            "[[faults]]\nat = \"1500ms\"\ninject = { server_crash = { down = \"700ms\" } }\n",
        ],
        ONE,
    ),
    (
        "TLS, workers",
        &["[target.embedded]\ntls = true\n", WEB, FIXED, ECHO, "[[faults]]\nat = \"1500ms\"\ninject = { drop_rst = {} }\n"],
        WORKERS,
    ),
    (
        "never back in time",
        &[
            "[target.embedded]\n",
            WEB,
            "reconnect = { fixed = { delay = \"30s\" } }\n",
            ECHO,
            "[[faults]]\nat = \"1500ms\"\nselect = { percent = \"50%\" }\ninject = { drop_fin = {} }\n",
        ],
        ONE,
    ),
    (
        "gave up",
        &[
            "[target.embedded]\n",
            WEB,
            "reconnect = { preset = \"reconnecting-websocket\", max_retries = 1 }\n",
            "[[faults]]\nat = \"1200ms\"\ninject = { server_crash = { down = \"2s\" } }\n",
        ],
        ONE,
    ),
    (
        "gave up, workers",
        &[
            "[target.embedded]\n",
            WEB,
            "reconnect = { preset = \"reconnecting-websocket\", max_retries = 1 }\n",
            "[[faults]]\nat = \"1200ms\"\ninject = { server_crash = { down = \"2s\" } }\n",
        ],
        WORKERS,
    ),
    (
        "some give up, some are cut",
        &[
            "[target.embedded]\n",
            WEB,
            "reconnect = \"none\"\n",
            ECHO,
            "[clients.tv]\ncount = 30\nreconnect = { fixed = { delay = \"1s\" } }\n",
            "[[faults]]\nat = \"1s\"\nselect = { percent = \"60%\" }\ninject = { drop_rst = {} }\n[[faults]]\nat = \"3500ms\"\nselect = { percent = \"60%\" }\ninject = { drop_rst = {} }\n",
        ],
        ONE,
    ),
    (
        "blackholed",
        &[
            "[target.embedded]\n",
            WEB,
            FIXED,
            ECHO,
            "heartbeat = \"none\"\n",
            "[[faults]]\nat = \"1500ms\"\nside = \"client\"\nselect = { percent = \"50%\" }\ninject = { blackhole = {} }\n",
        ],
        ONE,
    ),
    (
        "blackholed, workers",
        &[
            "[target.embedded]\n",
            WEB,
            FIXED,
            ECHO,
            "heartbeat = \"none\"\n",
            "[[faults]]\nat = \"1500ms\"\nside = \"client\"\nselect = { percent = \"50%\" }\ninject = { blackhole = {} }\n",
        ],
        WORKERS,
    ),
    (
        "blackholed and noticed",
        &[
            "[target.embedded]\n",
            WEB,
            FIXED,
            ECHO,
            "heartbeat = { every = \"500ms\", timeout = \"300ms\" }\n",
            "[[faults]]\nat = \"1500ms\"\nside = \"client\"\nselect = { percent = \"50%\" }\ninject = { blackhole = {} }\n",
        ],
        ONE,
    ),
    (
        "frozen server side",
        &[
            "[target.embedded]\n",
            WEB,
            FIXED,
            ECHO,
            "[[faults]]\nat = \"1500ms\"\nfor = \"1s\"\nside = \"server\"\ninject = { freeze = {} }\n",
        ],
        ONE,
    ),
    (
        "paused",
        &["[target.embedded]\n", WEB, FIXED, ECHO, "[[faults]]\nat = \"1500ms\"\nfor = \"1s\"\ninject = { server_pause = {} }\n"],
        ONE,
    ),
    (
        "closed with codes",
        &[
            "[target.embedded]\n",
            WEB,
            FIXED,
            ECHO,
            "[[faults]]\nat = \"1s\"\nevery = \"500ms\"\nuntil = \"3s\"\nselect = { count = 7 }\ninject = { close_code = { code = 4321, reason = \"go away\" } }\n",
        ],
        ONE,
    ),
    (
        "closed with codes, workers",
        &[
            "[target.embedded]\n",
            WEB,
            FIXED,
            ECHO,
            "[[faults]]\nat = \"1s\"\nevery = \"500ms\"\nuntil = \"3s\"\nselect = { count = 7 }\ninject = { close_code = { code = 4321, reason = \"go away\" } }\n",
        ],
        WORKERS,
    ),
    (
        "late acks",
        &[
            "[target.embedded]\n",
            WEB,
            FIXED,
            "stay = { for = \"1s\", return = \"300ms\" }\n",
            "[[faults]]\nat = \"0s\"\nfor = \"3s\"\nside = \"server\"\nnew = true\ninject = { close_ack_delay = { delay = \"200ms\" } }\n",
        ],
        ONE,
    ),
    (
        "acks that never come",
        &[
            "[target.embedded]\n",
            WEB,
            FIXED,
            "stay = { for = \"1s\", return = \"300ms\" }\ndeadlines = { close = \"800ms\" }\n",
            "[[faults]]\nat = \"900ms\"\nside = \"server\"\nselect = { percent = \"50%\" }\ninject = { close_ack_drop = {} }\n",
        ],
        ONE,
    ),
    (
        "stays and returns",
        &[
            "[target.embedded]\n",
            WEB,
            FIXED,
            ECHO,
            "stay = { for = { exponential = \"1s\" }, close = { code = 4000, reason = \"done\" }, return = \"200ms\" }\n",
        ],
        ONE,
    ),
    ("stays for good", &["[target.embedded]\n", WEB, ECHO, "stay = { for = \"1s\" }\n"], WORKERS),
    (
        "statuses",
        &[
            "[target.embedded]\n",
            WEB,
            FIXED,
            "[[faults]]\nat = \"0s\"\nfor = \"1s\"\nselect = { percent = \"50%\" }\ninject = { upgrade_status = { status = 503, retry_after = \"1s\" } }\n",
        ],
        ONE,
    ),
    (
        "admission",
        &[
            "[target.embedded]\nadmit = { rate = \"20/s\", burst = 5, reject = 429, retry_after = \"1s\" }\n",
            WEB,
            FIXED,
            "[[faults]]\nat = \"2s\"\ninject = { drop_rst = {} }\n",
        ],
        ONE,
    ),
    (
        "handshakes that time out",
        &["[target.embedded]\nhandshake_cost = \"60ms\"\n", WEB, FIXED, ECHO, "deadlines = { handshake = \"500ms\" }\n"],
        ONE,
    ),
    (
        "handshakes that time out, workers",
        &["[target.embedded]\nhandshake_cost = \"60ms\"\n", WEB, FIXED, "deadlines = { handshake = \"500ms\" }\n"],
        WORKERS,
    ),
    ("handshakes cut by the end", &["[target.embedded]\nhandshake_cost = \"200ms\"\n", WEB, FIXED], ONE),
    (
        "refused",
        &[
            "[target.embedded]\n",
            WEB,
            FIXED,
            ECHO,
            "[[faults]]\nat = \"1s\"\nfor = \"1s\"\ninject = { connect_refuse = {} }\n[[faults]]\nat = \"1200ms\"\ninject = { drop_rst = {} }\n",
        ],
        ONE,
    ),
    (
        "three instances",
        &[
            "[target.embedded]\ninstances = 3\n",
            WEB,
            FIXED,
            ECHO,
            "[[faults]]\nat = \"1s\"\ninject = { server_crash = { instance = 1, down = \"1s\" } }\n",
        ],
        WORKERS,
    ),
    (
        "graceful",
        &[
            "[target.embedded]\n",
            WEB,
            FIXED,
            ECHO,
            "[[faults]]\nat = \"1500ms\"\ninject = { server_graceful = { spread = \"500ms\", down = \"300ms\" } }\n",
        ],
        ONE,
    ),
    (
        "rolling restart",
        &[
            "[target.embedded]\ninstances = 2\n",
            WEB,
            FIXED,
            ECHO,
            "[[faults]]\nat = \"1s\"\ninject = { server_restart_rolling = { interval = \"1s\", down = \"300ms\" } }\n",
        ],
        ONE,
    ),
    (
        "closed loop and sends",
        &[
            "[target.embedded]\n",
            WEB,
            FIXED,
            "traffic = { echo = { in_flight = 1, payload = \"64B\" } }\n",
            "[clients.sensor]\ncount = 20\ntraffic = { send = { rate = \"10/s\", payload = \"100B\" } }\n",
            FIXED,
            "[[faults]]\nat = \"2s\"\ninject = { drop_rst = {} }\n",
        ],
        ONE,
    ),
    (
        "latency and half-closes",
        &[
            "[target.embedded]\n",
            WEB,
            FIXED,
            ECHO,
            "[[faults]]\nat = \"1s\"\nfor = \"2s\"\nside = \"client\"\nselect = { percent = \"30%\" }\ninject = { latency = { latency = \"150ms\" } }\n[[faults]]\nat = \"2s\"\nside = \"client\"\nselect = { count = 9 }\ninject = { half_close_write = {} }\n",
        ],
        ONE,
    ),
];

/// The oracle's Python, with lifelines; `scripts/test` installs it, and so does this where it did not.
fn python() -> std::path::PathBuf {
    let (place, wanted) = (home("target/oracle"), home("tests/oracle/requirements.txt"));
    let (wanted, installed) = (std::fs::read(&wanted).unwrap(), place.join("installed.txt"));
    let python = place.join("bin/python");
    if std::fs::read(&installed).ok().as_ref() != Some(&wanted) {
        let run = |program: &Path, args: &[&str]| {
            let status = Command::new(program).args(args).current_dir(home(".")).status();
            let fine = status.as_ref().is_ok_and(std::process::ExitStatus::success);
            assert!(fine, "{} {args:?}: {status:?}. Without Python set CLOSESTORM_NO_PYTHON=1 to leave this out", program.display());
        };
        run(Path::new("python3"), &["-m", "venv", "--clear", "target/oracle"]);
        run(
            &python,
            &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", "tests/oracle/requirements.txt"],
        );
        std::fs::write(&installed, &wanted).unwrap();
    }
    python
}

#[test]
fn an_oracle_in_python_finds_in_all_events_what_the_summary_says() {
    if left_out("CLOSESTORM_NO_PYTHON", "the oracle") {
        return;
    }
    let _alone = super::alone();
    let place = tempfile::tempdir().unwrap();
    let start = |(number, (name, parts, options)): (usize, &Plan)| {
        let text = parts.iter().fold(format!("duration = \"4s\"\nseed = {number}\n"), |mut text, part| {
            let _ = write!(text, "{part}"); // writing to a String cannot fail
            text
        });
        let file = place.path().join(format!("{number}.toml"));
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_closestorm"));
        command
            .arg("run")
            .arg(&file)
            .args(["--quiet", "--events", "full", "--allow-inconclusive", "--out"])
            .arg(place.path().join(name))
            .args(options.iter());
        (*name, command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    };
    let mut folders = Vec::new();
    // A few at a time: they wait more than they work.
    for few in PLANS.iter().enumerate().collect::<Vec<_>>().chunks(6) {
        let running: Vec<_> = few.iter().map(|one| start(*one)).collect();
        for (name, child) in running {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
            folders.push(place.path().join(name));
        }
    }
    assert_eq!(folders.len(), PLANS.len());
    let told = Command::new(python()).arg(home("tests/python/oracle.py")).args(&folders).output().unwrap();
    assert!(told.status.success(), "{}{}", String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert_eq!(String::from_utf8_lossy(&told.stdout).lines().filter(|line| line.ends_with(": agrees")).count(), PLANS.len());
}
