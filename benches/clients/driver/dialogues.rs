//! What a dialogue costs beside an echo: memory of a client, and round trips for each second of processor time.
//!
//! Each kind of client talks to the embedded server, which is a process of its own and does not count. Memory is the generator's
//! proportional share (PSS), so that pages of the program that both processes have count once.

use super::ours;
use super::samples::Samples;
use super::usage;
use std::fmt::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Clients whose memory is compared.
pub(crate) const CLIENTS: u32 = 5000;
/// Kinds of clients, with what they say at a low rate and in a closed loop.
pub(crate) const KINDS: [(&str, &str); 4] = [
    ("echo", "traffic = { echo = { PACE, payload = \"100B\" } }"),
    (
        "socket.io",
        "like = \"socket.io-client\"\ndialogue = { PACE, request = [{ send = '42{sequence}[\"ask\"]', reply = \"43{sequence}[\" }] }",
    ),
    (
        "graphql-ws",
        "like = \"graphql-ws\"\ndialogue = { PACE, request = [{ send = '{\"id\":\"{sequence}\",\"type\":\"subscribe\"}', \
         reply = { json = { \"/id\" = \"{sequence}\", \"/type\" = \"next\" } } }] }",
    ),
    (
        "mqtt",
        "like = \"mqtt.js\"\ndialogue = { PACE, request = [{ send = '{\"type\":\"publish\",\"topic\":\"a/{client}\",\"qos\":1,\"id\":{sequence},\
         \"payload\":\"on\"}', reply = { json = { \"/type\" = \"puback\", \"/id\" = \"{sequence}\" } } }] }",
    ),
];

/// One run of each kind for memory, one for speed.
pub(crate) fn measure(samples: &mut Samples) -> Result<(), String> {
    for (kind, says) in KINDS {
        let pss_kib = memory(&says.replace("PACE", "rate = \"0.2/s\"")).map_err(|why| format!("{kind}: {why}"))?;
        samples.add("dialogue", kind, "pss_kib", pss_kib);
        let (answered, cpu_s) = speed(&says.replace("PACE", "in_flight = 4")).map_err(|why| format!("{kind}: {why}"))?;
        samples.add("dialogue", kind, "per_cpu_s", answered / cpu_s.max(1e-9));
    }
    Ok(())
}

fn command(clients: u32, duration: &str, says: &str) -> Result<Command, String> {
    let folder = super::work_folder().join("dialogue");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let mut text = format!("duration = \"{duration}\"\n[target.embedded]\n[clients.all]\ncount = {clients}\n");
    let _ = writeln!(text, "arrive = {{ over = \"1s\" }}\nreconnect = \"none\"\n{says}");
    let path = folder.join("scenario.toml");
    std::fs::write(&path, text).map_err(|error| error.to_string())?;
    let mut command = Command::new(ours::program());
    command.arg("run").arg(&path).arg("--quiet").arg("--out").arg(folder.join("run")).stdout(Stdio::null());
    Ok(command)
}

/// Of the generator with all clients open, KiB.
fn memory(says: &str) -> Result<f64, String> {
    let mut child = command(CLIENTS, "6s", says)?.spawn().map_err(|error| error.to_string())?;
    super::pause(Duration::from_secs(5));
    let pss_kib = usage::pss_kib(child.id());
    let status = child.wait().map_err(|error| error.to_string())?;
    if !matches!(status.code(), Some(0 | 3)) {
        return Err(format!("closestorm ended with {status}"));
    }
    let open = ours::number(&super::work_folder().join("dialogue"), &["clients", "open_at_end"])?;
    if open < f64::from(CLIENTS) {
        return Err(format!("{open} of {CLIENTS} were open"));
    }
    pss_kib.ok_or_else(|| "no PSS".to_owned())
}

/// Round trips of a closed loop, and processor time of the generator, s.
fn speed(says: &str) -> Result<(f64, f64), String> {
    let status = command(100, "4s", says)?.status().map_err(|error| error.to_string())?;
    if !matches!(status.code(), Some(0 | 3)) {
        return Err(format!("closestorm ended with {status}"));
    }
    let folder = super::work_folder().join("dialogue");
    Ok((ours::number(&folder, &["messages", "answered"])?, ours::number(&folder, &["generator", "cpu_s"])?))
}
