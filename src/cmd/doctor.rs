//! `closestorm doctor`: what this machine allows, the largest run that fits, and what to change. What refuses a run is asked of the same code as in
//! `closestorm run`.

mod machine;

use super::console::{self, print};
use super::exit::{COULD_NOT_RUN, OK};
use crate::api;
use crate::cli::{Doctor, Format};
use crate::cluster::{Division, Room, TooMany};
use crate::event::CLIENTS_MAX;
use crate::number::{self, counted};
use crate::plan::{Plan, Shard};
use crate::scenario::{self, Overrides, Source};
use crate::text::{json, printable};
use serde::Serialize;
use std::fmt::Write;

/// Open files of a process below which every larger run needs several.
const FILES_FEW: u64 = 4096;
/// Lateness of timers above which waits of a millisecond are not to be trusted, µs.
const LATE_US: u64 = 2000;
/// Clock sources that are read without a system call.
const FAST_CLOCKS: [&str; 5] = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "riscv_clocksource"];

/// Whether a fact is in the way of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum FactMark {
    /// It is fine.
    Ok,
    /// It bounds larger runs, or their accuracy.
    Low,
}

/// One thing that a machine has or allows.
#[derive(Debug, Serialize)]
struct Fact {
    name: &'static str,
    finding: FactMark,
    /// What was found.
    value: String,
    /// What to change; null where nothing is.
    change: Option<String>,
}

/// The most clients of a run on this machine, by where their server is.
#[derive(Debug, Serialize)]
struct LargestRun {
    /// closestorm's own server, which takes its part.
    embedded: u64,
    /// Another server on this machine.
    here: u64,
    /// A server on another machine, one address of it.
    elsewhere: u64,
}

/// Whether a scenario fits.
#[derive(Debug, Serialize)]
struct ScenarioFit {
    name: String,
    clients: u32,
    fits: bool,
    /// Why it does not; null where it does.
    why: Option<String>,
    /// How many processes have its clients; null where it does not fit.
    workers: Option<u32>,
    /// What is not in the way of its beginning, and is to be known.
    notices: Vec<String>,
}

/// All of it.
#[derive(Debug, Serialize)]
struct Examination {
    machine: Vec<Fact>,
    largest: LargestRun,
    scenario: Option<ScenarioFit>,
}

/// Looks at the machine, and at whether a scenario fits it.
///
/// # Errors
/// The scenario is wrong, or the limit of open files cannot be read.
pub fn main(args: &Doctor) -> anyhow::Result<u8> {
    let plan = args.scenario.as_deref().map(|scenario| console::load(Some(scenario), &args.changes)).transpose()?;
    // Before the limit of files is raised: it shows what the shell has.
    let machine = facts()?;
    let room = api::room()?;
    let scenario = plan.map(|plan| fit(&plan, room));
    let code = if scenario.as_ref().is_some_and(|fit| !fit.fits) { COULD_NOT_RUN } else { OK };
    let all = Examination { machine, largest: largest(room, machine::files_left()), scenario };
    match args.format {
        Format::Json => print(&json(&all)?)?,
        Format::Text => print(&text(&all))?,
    }
    Ok(code)
}

/// What `run` would say.
fn fit(plan: &Plan, room: Room) -> ScenarioFit {
    let division = api::check_instances(plan)
        .map_err(|error| error.to_string())
        .and_then(|()| Division::of(plan, Shard::WHOLE, None, room).map_err(|error| error.to_string()));
    let notices = room.notices(plan, Shard::WHOLE).into_iter().chain(division.iter().flat_map(|division| division.notices(plan)));
    ScenarioFit {
        name: plan.name.clone(),
        clients: plan.clients(),
        fits: division.is_ok(),
        notices: notices.collect(),
        workers: division.as_ref().ok().map(|division| division.workers),
        why: division.err(),
    }
}

/// `files_left`: of all processes together. A connection within this machine takes two of them.
fn largest(room: Room, files_left: Option<u64>) -> LargestRun {
    let files = files_left.unwrap_or(u64::MAX);
    let clients = most(&Source::Url("ws://127.0.0.1:9000/".to_owned()), room);
    // Its only fault ends connections, and leaves no socket behind.
    let embedded = most(&Source::Bundled("default".to_owned()), room);
    LargestRun { embedded: embedded.min(files / 2), here: clients.min(files / 2), elsewhere: clients.min(files).min(room.ports) }
}

/// The most clients of a scenario that fit.
fn most(source: &Source, room: Room) -> u64 {
    let overrides = Overrides { clients: Some(CLIENTS_MAX), ..Overrides::default() };
    let Ok(plan) = scenario::load(source, &overrides) else { return 0 };
    let (mut most, mut room) = (u64::from(CLIENTS_MAX), room);
    // Memory is looked at first, and hides what the files allow.
    for _ in 0..2 {
        match Division::of(&plan, Shard::WHOLE, None, room) {
            Ok(_) => {}
            Err(TooMany::NoFiles { .. }) => return 0,
            Err(TooMany::Files { fit, .. } | TooMany::Memory { fit, .. }) => most = most.min(fit.into()),
        }
        room.memory = None;
    }
    most
}

/// What the kernel tells of this machine and of this process.
fn facts() -> anyhow::Result<Vec<Fact>> {
    let found = machine::look()?;
    let ok = |name, value: String| Fact { name, finding: FactMark::Ok, value, change: None };
    let low = |name, value: String, change: &str| Fact { name, finding: FactMark::Low, value, change: Some(change.to_owned()) };
    let mut all = Vec::new();
    let (soft, hard) = found.files;
    let raised = if soft < hard { format!(" (soft limit {}, raised for each run)", number::count(soft)) } else { String::new() };
    let files = format!("{} a process{raised}", number::count(hard));
    all.push(if hard < FILES_FEW {
        low(
            "open files",
            files,
            "raise the hard limit: `ulimit -Hn 1048576` as root, LimitNOFILE= of a service, --ulimit nofile= of a container",
        )
    } else {
        ok("open files", files)
    });
    if let Some(free) = found.files_left {
        let value = format!("{} left of all processes together", number::count(free));
        all.push(if free < FILES_FEW { low("open files, all", value, "sysctl -w fs.file-max=…") } else { ok("open files, all", value) });
    }
    let ports = format!("{} for each local address and server address ({}-{})", number::count(found.ports()), found.ports.0, found.ports.1);
    all.push(if found.ports() < 20_000 {
        low("ports", ports, "sysctl -w net.ipv4.ip_local_port_range='10000 65000', or several local addresses (`source` in [target.url])")
    } else {
        ok("ports", ports)
    });
    if let Some(backlog) = found.somaxconn {
        let value = format!("{} connections of a server on this machine", number::count(backlog));
        all.push(if backlog < 1024 { low("listen queue", value, "sysctl -w net.core.somaxconn=4096") } else { ok("listen queue", value) });
    }
    if let Some(free) = found.memory_free {
        let total = found.memory.map(|total| format!(" of {}", number::bytes(total))).unwrap_or_default();
        let limited = found.memory_cgroup.filter(|left| *left <= free).map_or("", |_| " (the limit of its cgroup decides)");
        let value = format!("{} free{total}{limited}", number::bytes(free));
        all.push(if free < 512 << 20 {
            low("memory", value, "free some, or raise the limit of the container")
        } else {
            ok("memory", value)
        });
    }
    let quota = found.quota.filter(|quota| *quota < found.processors as f64);
    let value = match quota {
        Some(quota) => format!("{}, of which the cgroup grants {quota:.2}", counted(found.processors, "processor")),
        None => counted(found.processors, "processor"),
    };
    all.push(if quota.unwrap_or(found.processors as f64) < 2.0 {
        low(
            "processors",
            value,
            "give it two: with one, clients and a server on this machine wait for each other, and times are the machine's",
        )
    } else {
        ok("processors", value)
    });
    if let Some(clock) = found.clock {
        all.push(if FAST_CLOCKS.contains(&clock.as_str()) {
            ok("clock", clock)
        } else {
            low("clock", clock, "a faster clock source (tsc or kvm-clock): each reading of this one is a system call")
        });
    }
    let late = format!(
        "late by {} in the middle, {} at most of {}",
        number::time(found.late_us.0),
        number::time(found.late_us.1),
        machine::TIMERS
    );
    all.push(if found.late_us.0 > LATE_US { low("timers", late, "let nothing else run on this machine") } else { ok("timers", late) });
    let value = if found.namespaces { "can be made by this user" } else { "cannot be made by this user" };
    all.push(ok("network namespaces", format!("{value}; no kind of fault needs them")));
    Ok(all)
}

fn text(all: &Examination) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for fact in &all.machine {
        let mark = if fact.finding == FactMark::Ok { "ok " } else { "low" };
        let change = fact.change.as_ref().map(|change| format!("; change: {change}")).unwrap_or_default();
        let _ = writeln!(text, "{mark}  {:<18}  {}{change}", fact.name, fact.value);
    }
    let LargestRun { embedded, here, elsewhere } = all.largest;
    let _ = writeln!(text, "\nLargest run by files, ports and memory, with idle clients:");
    for (clients, what) in
        [(embedded, "with the embedded server"), (here, "with a server on this machine"), (elsewhere, "with a server elsewhere")]
    {
        let _ = writeln!(text, "  {:>10} clients  {what}", number::count(clients));
    }
    let _ = writeln!(text, "How fast they may connect and send depends on the processors: a run that is too fast for them says so.");
    if let Some(fit) = &all.scenario {
        let clients = counted(fit.clients.into(), "client");
        let _ = match (&fit.why, fit.workers) {
            (Some(why), _) => writeln!(text, "\n{} does not fit: {}", printable(&fit.name), printable(why)),
            (None, Some(workers)) if workers > 1 => {
                writeln!(text, "\n{} fits: {clients} in {workers} worker processes", printable(&fit.name))
            }
            (None, _) => writeln!(text, "\n{} fits: {clients}", printable(&fit.name)),
        };
        for notice in &fit.notices {
            let _ = writeln!(text, "  note: {}", printable(notice));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { files: 1024, memory: Some(1 << 40), ports: 28_232, backlog: Some(4096) };

    #[test]
    fn the_largest_run_is_the_largest_that_a_run_takes() {
        for room in [ROOM, Room { files: 1 << 20, memory: Some(1 << 30), ..ROOM }, Room { files: 1 << 20, ..ROOM }] {
            let largest = largest(room, None);
            for (source, most) in
                [(Source::Bundled("default".to_owned()), largest.embedded), (Source::Url("ws://127.0.0.1:9/".to_owned()), largest.here)]
            {
                let with = |clients: u64| {
                    let overrides = Overrides { clients: u32::try_from(clients).ok(), ..Overrides::default() };
                    fit(&scenario::load(&source, &overrides).expect("it loads"), room)
                };
                assert!(with(most).fits, "{most}: {:?}", with(most));
                assert!(most == u64::from(CLIENTS_MAX) || !with(most + 1).fits, "{most}");
            }
            assert!(largest.elsewhere <= 28_232 && largest.embedded <= largest.here, "{largest:?}");
        }
        assert_eq!(largest(Room { files: 60, ..ROOM }, None).here, 0);
        // Both ends of a connection within this machine are files of it.
        let few = largest(Room { files: 1 << 20, ..ROOM }, Some(1_000));
        assert_eq!((few.embedded, few.here, few.elsewhere), (500, 500, 1_000));
    }

    #[test]
    fn every_fact_has_a_line_and_what_is_low_says_what_to_change() {
        let machine = facts().expect("the kernel tells");
        assert!(machine.len() >= 6, "{machine:?}");
        assert!(machine.iter().all(|fact| (fact.finding == FactMark::Low) == fact.change.is_some()), "{machine:?}");
        let all = Examination { machine, largest: largest(ROOM, None), scenario: None };
        let text = text(&all);
        for name in ["open files", "ports", "memory", "processors", "timers", "network namespaces"] {
            assert!(text.lines().any(|line| line.contains(name)), "{name}: {text}");
        }
    }
}
