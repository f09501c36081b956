//! The Autobahn cases, run by kosoku: the embedded server under its fuzzing client, our client's session under its fuzzing server, each
//! directly and through the proxy, which changes no verdict.
//!
//! `tests/autobahn/expected.json` holds the verdict of each case; `CLOSESTORM_MEASURE=1` writes it anew. Sections 12 and 13 are
//! compression, which neither side offers. `scripts/test` installs kosoku below `target/`, as `tests/autobahn/requirements.txt` says.

use super::proxy_tls::Proxy;
use super::{LONG, Run, alone, home, left_out};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

const SECTIONS: [&str; 9] = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"];
/// Cases of these sections.
const CASES: usize = 301;
/// What RFC 6455 leaves open: a ping after 256 KiB and a Close frame, and status codes from 5000 on.
const INFORMATIONAL: [&str; 3] = ["7.1.6", "7.13.1", "7.13.2"];
/// tungstenite looks at the UTF-8 of a frame when it is complete, not as its bytes come.
const NON_STRICT: [&str; 2] = ["6.4.3", "6.4.4"];
/// For all cases of one direction; two of them wait two seconds each.
const ALL_WITHIN: Duration = Duration::from_secs(300);

/// Verdict by case.
type Verdicts = BTreeMap<String, String>;

/// Whether kosoku is there. Where it is not, the test fails, unless Python was left out on purpose.
fn kosoku(test: &str) -> Option<Command> {
    if left_out("CLOSESTORM_NO_PYTHON", test) {
        return None;
    }
    let program = home("target/autobahn/bin/kosoku");
    assert!(program.exists(), "{test} needs kosoku, which scripts/test installs; without Python set CLOSESTORM_NO_PYTHON=1");
    let mut command = Command::new("timeout");
    command.arg(ALL_WITHIN.as_secs().to_string()).arg(program).args(SECTIONS.iter().flat_map(|section| ["-i", section]));
    Some(command)
}

/// Reads kosoku's report on the one peer that it has tried.
fn verdicts(folder: &Path) -> Verdicts {
    let text = std::fs::read_to_string(folder.join("index.json")).unwrap();
    let peers: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_str(&text).unwrap();
    let cases = peers.into_values().next().unwrap();
    let word = |case: &Value, key: &str| case[key].as_str().unwrap().to_owned();
    let verdict = |case: &Value| match (word(case, "behavior"), word(case, "behaviorClose")) {
        (all, close) if all == close || close == "OK" => all,
        (all, close) => format!("{all}, closing: {close}"),
    };
    cases.iter().map(|(id, case)| (id.clone(), verdict(case))).collect()
}

/// Compares with the committed verdicts, or writes them. A verdict that no expectation may excuse fails either way.
fn hold(peer: &str, found: Verdicts) {
    static TABLE: Mutex<()> = Mutex::new(());
    assert_eq!(found.len(), CASES, "{peer}: cases");
    let allowed = |(case, verdict): &(&String, &String)| match verdict.as_str() {
        "OK" => true,
        "INFORMATIONAL" => INFORMATIONAL.contains(&case.as_str()),
        "NON-STRICT" => NON_STRICT.contains(&case.as_str()),
        _ => false,
    };
    let wrong: Vec<_> = found.iter().filter(|row| !allowed(row)).collect();
    assert!(wrong.is_empty(), "{peer}: {wrong:?}");
    let _one = TABLE.lock().unwrap();
    let file = home("tests/autobahn/expected.json");
    let mut table: BTreeMap<String, Verdicts> =
        std::fs::read_to_string(&file).map(|text| serde_json::from_str(&text).unwrap()).unwrap_or_default();
    if std::env::var_os("CLOSESTORM_MEASURE").is_some() {
        table.insert(peer.to_owned(), found);
        std::fs::write(&file, serde_json::to_string_pretty(&table).unwrap() + "\n").unwrap();
        return;
    }
    let expected = table.remove(peer).unwrap_or_default();
    let changed: Vec<_> = found.iter().filter(|(case, verdict)| expected.get(*case) != Some(*verdict)).collect();
    assert!(changed.is_empty(), "{peer}: not what tests/autobahn/expected.json says: {changed:?}");
    assert_eq!(expected.len(), found.len(), "{peer}: tests/autobahn/expected.json has cases that did not run");
}

#[test]
fn the_embedded_server_passes_the_autobahn_cases() {
    server_passes(false);
}

#[test]
fn the_embedded_server_passes_the_autobahn_cases_through_the_proxy() {
    server_passes(true);
}

fn server_passes(proxied: bool) {
    let _alone = alone();
    let Some(mut kosoku) = kosoku("the Autobahn cases against the embedded server") else { return };
    let run = Run::new();
    let file = run.file(&format!("duration = \"{}s\"\n[target.embedded]\n[clients.idle]\ncount = 1\n", (ALL_WITHIN + LONG).as_secs()));
    let closestorm = run.command(&file, &[]).spawn().unwrap();
    let report = run.folder.path().join("report");
    let address = run.address();
    let proxy = proxied.then(|| Proxy::start(address.trim_start_matches("ws://").trim_end_matches('/'), &[]));
    let address = proxy.as_ref().map_or(address, |proxy| format!("ws://{}", proxy.address));
    let output = kosoku.arg(address).args(["-p", "4", "-o"]).arg(&report).output();
    // It ends its server, too.
    kill(Pid::from_raw(closestorm.id().cast_signed()), Signal::SIGTERM).unwrap();
    closestorm.wait_with_output().unwrap();
    let output = output.unwrap();
    assert!(report.join("index.json").exists(), "{}", String::from_utf8_lossy(&output.stderr));
    hold("embedded server", verdicts(&report));
}

#[test]
fn our_client_passes_the_autobahn_cases() {
    client_passes(false);
}

#[test]
fn our_client_passes_the_autobahn_cases_through_the_proxy() {
    client_passes(true);
}

fn client_passes(proxied: bool) {
    let _alone = alone();
    let Some(mut kosoku) = kosoku("the Autobahn cases against our client") else { return };
    let folder = tempfile::tempdir().unwrap();
    kosoku.args(["-m", "fuzzingserver", "127.0.0.1:0", "-o"]).arg(folder.path()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut server = kosoku.spawn().unwrap();
    let (mut line, mut said) = (String::new(), BufReader::new(server.stderr.take().unwrap()));
    said.read_line(&mut line).unwrap();
    let address =
        line.trim_end().rsplit(' ').next().filter(|word| word.starts_with("ws://")).unwrap_or_else(|| panic!("kosoku said {line:?}"));
    let proxy = proxied.then(|| Proxy::start(address.trim_start_matches("ws://").trim_end_matches('/'), &[]));
    let address = &proxy.as_ref().map_or_else(|| address.to_owned(), |proxy| format!("ws://{}", proxy.address));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let driven = runtime.block_on(async { tokio::time::timeout(ALL_WITHIN, drive(address)).await });
    if !matches!(driven, Ok(Ok(()))) {
        let _ = server.kill();
    }
    server.wait().unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    driven.expect("the cases end").unwrap_or_else(|error| panic!("{error}; kosoku said {rest}"));
    hold("our client", verdicts(folder.path()));
}

/// What a client under test does: asks how many cases there are, runs each, and has the report written.
async fn drive(server: &str) -> Result<(), String> {
    let count = closestorm::run::echo(&format!("{server}/getCaseCount")).await?;
    let count: usize = count.text.as_deref().unwrap_or_default().parse().map_err(|error| format!("number of cases: {error}"))?;
    for case in 1..=count {
        closestorm::run::echo(&format!("{server}/runCase?case={case}&agent=closestorm")).await?;
    }
    closestorm::run::echo(&format!("{server}/updateReports?agent=closestorm")).await.map(drop)
}
