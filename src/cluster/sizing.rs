//! How many processes a plan takes, given how many files each may open, and whether the machine has the memory.

use crate::load::fd_limit::SPARE_FILES;
use crate::plan::limits::is_named_here;
use crate::plan::{Embedded, Plan, Shard, Target};

/// Most workers.
const WORKERS_MAX: u32 = 256;
/// Most processes of an instance.
const PROCESSES_MAX: u16 = 64;
/// The kernel deals connections to processes by a hash, so their number varies; by so many standard deviations at most.
const DEVIATIONS: f64 = 6.0;
/// Memory of an idle client on plain ws, with what the kernel keeps of its socket, bytes: at least.
///
/// 60,000 idle clients and their embedded server took 700 MiB of the machine, 12 KiB each; half of it is taken for one side.
const CLIENT: u64 = 6 << 10;
/// The same on the other side, where it is on this machine, too.
const SERVED: u64 = 6 << 10;

/// Processes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Division {
    /// Processes that have the clients; 1: no worker, this process has them.
    pub workers: u32,
    /// Processes of each instance of the embedded server.
    pub processes: u16,
}

/// What this machine has for a run.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Open files of a process.
    pub files: u64,
    /// Free memory, bytes; `None` where the kernel does not tell.
    pub memory: Option<u64>,
    /// Ports that the kernel gives to the connections of one address to one server.
    pub ports: u64,
    /// Longest listen queue; `None` where the kernel does not tell.
    pub backlog: Option<u64>,
}

impl Room {
    /// What of a plan this machine will not do as it stands, in words, although it can begin.
    pub fn notices(self, plan: &Plan, shard: Shard) -> Vec<String> {
        let mut notices = Vec::new();
        match &plan.target {
            // On loopback, addresses of its own are taken for a crowd.
            Target::Url(remote) if !is_named_here(&remote.connected().host) && remote.address.socket.is_none() => {
                let sources = remote.source.len().max(1) as u64;
                let clients = u64::from(shard.count(plan.clients()));
                if clients > self.ports * sources {
                    notices.push(format!(
                        "{clients} clients, and {} ports for each address of the server: give more local addresses (`source` in \
                         [target.url]), or widen net.ipv4.ip_local_port_range; without either, some may not connect",
                        self.ports * sources
                    ));
                }
            }
            Target::Embedded(settings) => {
                if let Some(limit) = self.backlog.filter(|limit| *limit < u64::from(settings.backlog)) {
                    notices.push(format!(
                        "the listen queue has {limit} places and not {}: the kernel limits it (net.core.somaxconn)",
                        settings.backlog
                    ));
                }
            }
            Target::Url(_) | Target::Command(_) => {}
        }
        notices
    }
}

/// The plan does not fit, however it is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// For the processes.
    #[error(
        "{clients} clients are too many, at most {fit} are possible: each process may open {limit} files (including sockets that faults \
         leave open behind dead paths), and more clients would need more than {WORKERS_MAX} workers or {PROCESSES_MAX} server \
         processes; run fewer clients, or raise the limit (`ulimit -n`)"
    )]
    Files {
        /// Clients.
        clients: u32,
        /// So many would fit.
        fit: u32,
        /// Open files of a process.
        limit: u64,
    },
    /// For a process without clients.
    #[error(
        "not even one client is possible: each process may open {limit} files, and closestorm needs {SPARE_FILES} of them for itself; \
         raise the limit (`ulimit -n`)"
    )]
    NoFiles {
        /// Open files of a process.
        limit: u64,
    },
    /// For the memory of the machine.
    #[error(
        "{clients} clients are too many, at most {fit} are possible: even idle they need {} MiB of memory, and {} MiB are free; run \
         fewer clients (`--clients {fit}`), distribute them over several machines (`--shard`), or simulate them (`closestorm simulate`)",
        needed >> 20,
        free >> 20
    )]
    Memory {
        /// Clients.
        clients: u32,
        /// So many would fit.
        fit: u32,
        /// What they take, bytes.
        needed: u64,
        /// Free memory, bytes.
        free: u64,
    },
}

impl Division {
    /// As the user wants it, or as few processes as the clients of `shard` need where each may open so many files.
    ///
    /// # Errors
    /// They do not fit.
    pub fn of(plan: &Plan, shard: Shard, wanted: Option<u32>, room: Room) -> Result<Division, TooMany> {
        let clients = shard.count(plan.clients());
        let each = CLIENT + if let Target::Embedded(_) = plan.target { SERVED } else { 0 };
        let needed = u64::from(clients) * each;
        if let Some(free) = room.memory.filter(|free| *free < needed) {
            let fit = u32::try_from(free / each).unwrap_or(u32::MAX);
            return Err(TooMany::Memory { clients, fit, needed, free });
        }
        let divided = |clients| divided(plan, shard, clients, wanted, room.files);
        divided(clients).ok_or_else(|| {
            // What fits one process more fits it with one client less, so the edge is found by halving.
            let (mut fit, mut over) = (0, clients);
            while over - fit > 1 {
                let middle = fit + (over - fit) / 2;
                *(if divided(middle).is_some() { &mut fit } else { &mut over }) = middle;
            }
            if fit == 0 { TooMany::NoFiles { limit: room.files } } else { TooMany::Files { clients, fit, limit: room.files } }
        })
    }

    /// Processes that have connections: those of the clients and those of embedded servers.
    pub fn holders(self, plan: &Plan) -> u64 {
        let servers = if let Target::Embedded(settings) = &plan.target { settings.instances } else { 0 };
        u64::from(self.workers) + u64::from(servers) * u64::from(self.processes)
    }

    /// What the reader of results must know.
    pub fn notices(self, plan: &Plan) -> Vec<String> {
        let mut notices = Vec::new();
        if self.workers > 1 {
            notices.push(format!("the clients run in {} worker processes", self.workers));
        }
        if let Target::Embedded(settings) = &plan.target
            && self.processes > 1
        {
            let shared = if settings.handshake_cost.is_zero() { "" } else { "; each gets an equal part of the handshake capacity" };
            notices.push(format!("each instance of the embedded server is {} processes on one port{shared}", self.processes));
        }
        notices
    }
}

/// `None`: so many clients do not fit.
fn divided(plan: &Plan, shard: Shard, clients: u32, wanted: Option<u32>, limit: u64) -> Option<Division> {
    let part = u64::from(clients) as f64 / f64::from(shard.count(plan.clients()).max(1));
    // Of so many clients, where fewer than the plan has are tried.
    let scaled = |sockets: u64| (sockets as f64 * part).ceil() as u64;
    let processes = match &plan.target {
        Target::Embedded(settings) => {
            let left = scaled(plan.left_open(shard).servers);
            settings.processes.or_else(|| processes(settings, u64::from(clients) + left, limit))?
        }
        Target::Command(_) | Target::Url(_) => 1,
    };
    let workers = wanted.or_else(|| workers(plan, shard, clients, processes, limit, scaled))?;
    Some(Division { workers, processes })
}

/// As few as have room for their clients and for the sockets that faults leave open there.
fn workers(plan: &Plan, shard: Shard, clients: u32, processes: u16, limit: u64, scaled: impl Fn(u64) -> u64) -> Option<u32> {
    let instances = if let Target::Embedded(settings) = &plan.target { settings.instances } else { 0 };
    let each = limit.checked_sub(SPARE_FILES + u64::from(instances) * u64::from(processes)).filter(|each| *each > 0)?;
    let all = u64::from(clients).saturating_add(scaled(plan.left_open(shard).clients));
    let fits = |workers: &u32| {
        let left = scaled(plan.left_open(shard.part(0, *workers)).clients);
        u64::from(clients.div_ceil(*workers)).saturating_add(left) <= each
    };
    // The first guess is wrong only by what firings select in whole numbers.
    let first = u32::try_from(all.div_ceil(each)).ok()?.max(1);
    (first..=WORKERS_MAX).find(fits)
}

/// `sockets`: of all servers, at most.
fn processes(settings: &Embedded, sockets: u64, limit: u64) -> Option<u16> {
    // While one instance is down, the others have all.
    let most = sockets as f64 / f64::from((settings.instances - 1).max(1));
    let fits = |processes: &u16| {
        let mean = most / f64::from(*processes);
        let spread = if *processes > 1 { DEVIATIONS * mean.sqrt() } else { 0.0 };
        mean + spread + SPARE_FILES as f64 <= limit as f64
    };
    (1..=PROCESSES_MAX).find(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Overrides, Source, load};

    const ROOM: Room = Room { files: 20_000, memory: None, ports: 28_232, backlog: None };
    const URL: &str = "faults=[]";

    fn plan(clients: u32, change: &str) -> Plan {
        let overrides = Overrides { set: vec![change.to_owned()], clients: Some(clients), ..Overrides::default() };
        let source = if change == URL { Source::Url("ws://127.0.0.1:1/".to_owned()) } else { Source::Bundled("default".to_owned()) };
        load(&source, &overrides).expect("the scenario loads")
    }

    #[test]
    fn as_few_processes_as_the_clients_need() {
        for (clients, target, shard, wanted, workers, processes) in [
            (1_000, "seed=1", "1/1", None, 1, 1),
            (19_936, "seed=1", "1/1", None, 2, 1), // the line to the server takes a file, too
            (20_000, "seed=1", "1/1", None, 2, 2),
            (100_000, "seed=1", "1/1", None, 6, 6),
            (100_000, "seed=1", "1/1", Some(8), 8, 6),
            (100_000, "target.embedded.processes=7", "1/1", None, 6, 7),
            (100_000, "target.embedded.instances=3", "1/1", None, 6, 3), // 50,000 each while one is down
            (100_000, URL, "2/8", None, 1, 1),
            (1_000, "seed=1", "1/1", Some(2), 2, 1),
        ] {
            let division = Division::of(&plan(clients, target), shard.parse().unwrap(), wanted, ROOM);
            assert_eq!(division, Ok(Division { workers, processes }), "{clients} {target} {shard}");
        }
        let refused = Division::of(&plan(9_000_000, "seed=1"), Shard::WHOLE, None, ROOM).unwrap_err();
        assert!(refused.to_string().contains("ulimit -n"), "{refused}");
        let TooMany::Files { fit, .. } = refused else { panic!("{refused}") };
        for (clients, fits) in [(fit, true), (fit + 1, false)] {
            assert_eq!(Division::of(&plan(clients, "seed=1"), Shard::WHOLE, None, ROOM).is_ok(), fits, "{clients}");
        }
        let none = Division::of(&plan(10, "seed=1"), Shard::WHOLE, None, Room { files: 60, ..ROOM });
        assert_eq!(none, Err(TooMany::NoFiles { limit: 60 }));
    }

    #[test]
    fn sockets_that_faults_leave_open_need_files_too() {
        let switches = r#"faults=[{at="2s",every="1s",until="5s",inject={client_network_switch={}}}]"#;
        let room = Room { files: 500, ..ROOM };
        // 200 clients and three times 200 sockets behind them, on both sides.
        let division = Division::of(&plan(200, switches), Shard::WHOLE, None, room);
        assert_eq!(division, Ok(Division { workers: 2, processes: 3 }));
        assert_eq!(Division::of(&plan(200, URL), Shard::WHOLE, None, room), Ok(Division { workers: 1, processes: 1 }));
    }

    #[test]
    fn more_clients_than_memory_are_refused_with_the_number_that_fits() {
        for (change, each) in [("seed=1", 12), (URL, 6)] {
            let room = Room { memory: Some(each << 30), ..ROOM };
            let of = |clients| Division::of(&plan(clients, change), Shard::WHOLE, None, room);
            assert!(of(1 << 20).is_ok(), "{change}");
            let refused = of((1 << 20) + 1).unwrap_err();
            assert!(refused.to_string().contains("`--clients 1048576`"), "{refused}");
        }
    }

    #[test]
    fn ports_and_listen_queue_that_do_not_do_are_told() {
        let url = |address: &str, more: &str, clients: u32| {
            let set = vec![format!("target.url={{address=\"{address}\"{more}}}")];
            let overrides = Overrides { set, clients: Some(clients), ..Overrides::default() };
            load(&Source::Url("ws://127.0.0.1:1/".to_owned()), &overrides).expect("the scenario loads")
        };
        for (plan, expected) in [
            (url("ws://192.0.2.1:1/", "", 28_232), None),
            (url("ws://192.0.2.1:1/", "", 28_233), Some("28232 ports")),
            (url("ws://192.0.2.1:1/", ",source=[\"192.0.2.2\",\"192.0.2.3\"]", 28_233), None),
            (url("ws://localhost:1/", "", 50_000), None),
            (plan(10, "target.embedded.backlog=5000"), Some("has 4096 places and not 5000")),
            (plan(10, "target.embedded.backlog=4096"), None),
        ] {
            let notices = Room { backlog: Some(4096), ..ROOM }.notices(&plan, Shard::WHOLE);
            assert_eq!(notices.len(), usize::from(expected.is_some()), "{notices:?}");
            assert!(expected.is_none_or(|words| notices[0].contains(words)), "{notices:?}");
        }
    }

    #[test]
    fn a_division_is_told_to_the_reader() {
        let plan = plan(100_000, "target.embedded.handshake_cost=\"1ms\"");
        let notices = Division { workers: 6, processes: 6 }.notices(&plan);
        assert_eq!(notices.len(), 2);
        assert!(notices[1].contains("an equal part of the handshake capacity"), "{notices:?}");
        assert!(Division { workers: 1, processes: 1 }.notices(&plan).is_empty());
    }
}
