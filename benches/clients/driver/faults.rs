//! What faults cost those whom they do not touch: processor time for each message with ten faults active on other connections, against
//! none.
//!
//! Both processes count, clients and embedded server; the generator's own account stands beside the sum: it has no charts and no server
//! in it. Of each kind of run the cheapest counts, as other load on the machine only adds.

use super::ours;
use super::samples::Samples;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::fmt::Write;
use std::process::{Command, Stdio};

const KINDS: [&str; 10] =
    ["latency", "bandwidth", "slice", "coalesce", "bursty_stall", "freeze", "stop_reading", "blackhole", "pong_drop", "corrupt_byte"];

/// One run without and one with faults.
pub(crate) fn measure(samples: &mut Samples) -> Result<(), String> {
    for (name, faults) in [("without", false), ("with", true)] {
        let folder = super::work_folder().join("faults");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let path = folder.join("scenario.toml");
        std::fs::write(&path, scenario(faults)).map_err(|error| error.to_string())?;
        let before = children_us()?;
        let mut command = Command::new(ours::program());
        command.arg("run").arg(&path).arg("--quiet").arg("--out").arg(folder.join("run")).stdout(Stdio::null());
        let status = command.status().map_err(|error| error.to_string())?;
        if !matches!(status.code(), Some(0 | 3)) {
            return Err(format!("closestorm ended with {status}"));
        }
        let all = children_us()? - before;
        let messages = ours::number(&folder, &["messages", "sent"])?.max(1.0);
        let own = ours::number(&folder, &["generator", "cpu_s"])? * 1e6;
        samples.add("faults", name, "all_us", all / messages);
        samples.add("faults", name, "own_us", own / messages);
        samples.add("faults", name, "messages", messages);
    }
    Ok(())
}

/// Processor time of ended children, and theirs.
fn children_us() -> Result<f64, String> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| error.to_string())?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2⁵³")]
    let us = (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64;
    Ok(us)
}

/// The same clients in both scenarios; a thousand of them say much and suffer nothing.
fn scenario(faults: bool) -> String {
    let mut text = String::from(
        "duration = \"8s\"\n[target.embedded]\n[clients.busy]\ncount = 1000\narrive = { over = \"1s\" }\n\
         traffic = { echo = { rate = \"20/s\", payload = \"100B\" } }\n",
    );
    for kind in KINDS {
        let _ = writeln!(
            text,
            "[clients.{kind}]\ncount = 20\narrive = {{ over = \"1s\" }}\nreconnect = \"none\"\n\
             traffic = {{ echo = {{ rate = \"1/s\", payload = \"100B\" }} }}"
        );
    }
    for kind in KINDS.into_iter().filter(|_| faults) {
        let _ = writeln!(text, "[[faults]]\nat = \"1s\"\nselect = {{ cohort = \"{kind}\" }}\ninject = {{ {kind} = {{}} }}");
    }
    text
}
