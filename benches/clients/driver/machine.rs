//! The machine: what it is called in the table, which cores client and server get, which addresses and ports are fresh.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

/// Which core each side is pinned to; none without `taskset` or with one core only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) pins: Option<(u32, u32)>,
}

impl Cores {
    /// The first two cores this process may use: server, client.
    pub(crate) fn find() -> Cores {
        let allowed = cpus_allowed();
        let pins = match (Command::new("taskset").arg("--version").output(), allowed.as_slice()) {
            (Ok(_), &[server, .., client]) => Some((server, client)),
            _ => None,
        };
        Cores { pins }
    }

    pub(crate) fn server(self, program: &str) -> Command {
        pinned(program, self.pins.map(|pins| pins.0))
    }

    pub(crate) fn client(self, program: &str) -> Command {
        pinned(program, self.pins.map(|pins| pins.1))
    }

    pub(crate) fn describe(self) -> String {
        match self.pins {
            Some((server, client)) => format!("server on core {server}, client on core {client}"),
            None => "nothing pinned: needs `taskset` and two cores".to_owned(),
        }
    }
}

fn pinned(program: &str, core: Option<u32>) -> Command {
    let Some(core) = core else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string(), program]);
    command
}

fn cpus_allowed() -> Vec<u32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("").trim();
    let ranges = list.split(',').filter_map(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.parse::<u32>().ok()?..=to.parse().ok()?)
    });
    ranges.flatten().collect()
}

/// Processor, cores, memory and kernel, in one line.
pub(crate) fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':')).map_or("unknown processor", |(_, name)| name.trim());
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<f64>().ok());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = cpus_allowed().len();
    format!("{model}, {cores} cores, {:.0} GiB, Linux {}", total.unwrap_or(0.0) / 1024.0 / 1024.0, kernel.trim())
}

/// Hands out addresses of 127.0.0.0/8 that no run has used, so that ports of earlier runs are in nobody's way.
pub(crate) struct Addresses {
    next: u32,
}

impl Addresses {
    pub(crate) fn new() -> Self {
        // Another start of this program begins elsewhere.
        Addresses { next: (std::process::id() % 50_000) * 256 }
    }

    pub(crate) fn fresh(&mut self, count: u32) -> Vec<Ipv4Addr> {
        // 127.16.0.0 and above, away from 127.0.0.1 and what others use by habit.
        let first = u32::from(Ipv4Addr::new(127, 16, 0, 1));
        let from = self.next;
        self.next = (from + 256) % 0x00d0_0000;
        (0..count).map(|index| Ipv4Addr::from(first + from + index)).collect()
    }
}

/// A free port below the ephemeral ones: no client's own port can be in the way when the server comes back to it.
pub(crate) fn free_port() -> Result<u16, String> {
    let offset = u16::try_from(std::process::id() % 10_000).unwrap_or(0);
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
    (20_000 + offset..32_000).chain(20_000..20_000 + offset).find(free).ok_or_else(|| "no free port between 20000 and 32000".to_owned())
}
