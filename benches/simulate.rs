//! How fast the simulator is: its event queue beside a binary heap, and whole runs by number of clients. No threshold, no verdict.
//!
//! `cargo bench --bench simulate` runs all; `-- queue` and `-- run` one half, `-- run 1000000` one size. Figures are of one thread.

use closestorm::plan::Plan;
use closestorm::scenario::{Overrides, Source, load};
use closestorm::seed::Seed;
use closestorm::sim::{self, queue::Calendar};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;

/// Entries taken in each measurement.
const TAKEN: u64 = 5_000_000;
/// Longest delay of a new entry, ns: waits of up to 30 s.
const SPAN: u64 = 30_000_000_000;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let (sizes, halves): (Vec<_>, Vec<_>) = arguments.iter().partition(|argument| argument.parse::<u32>().is_ok());
    let sizes: Vec<u32> = sizes.into_iter().filter_map(|size| size.parse().ok()).collect();
    let wanted = |name: &str| halves.iter().all(|half| *half == name);
    if wanted("queue") {
        println!("{:<10}{:>12}{:>24}{:>24}", "pending", "entries", "binary heap, M/s", "calendar, M/s");
        for pending in [10_000, 100_000, 1_000_000, 10_000_000] {
            println!("{pending:<10}{TAKEN:>12}{:>24.2}{:>24.2}", heap(pending), calendar(pending));
        }
    }
    if wanted("run") {
        println!("{:<10}{:>12}{:>12}{:>10}{:>14}{:>14}", "clients", "events", "entries", "s", "M events/s", "ns per entry");
        let sizes = if sizes.is_empty() { vec![10_000, 100_000, 1_000_000, 10_000_000] } else { sizes };
        sizes.into_iter().for_each(whole);
    }
}

/// Processor time of this process, s.
fn cpu_s() -> f64 {
    closestorm::results::usage::Baseline::default().used().cpu_s
}

fn heap(pending: u64) -> f64 {
    let mut random = Seed(1).stream("bench");
    let mut queue: BinaryHeap<_> = (0..pending).map(|number| Reverse((random.below(SPAN), number, 0_u64))).collect();
    let begun = cpu_s();
    for number in pending..pending + TAKEN {
        let Some(Reverse((at, _, what))) = queue.pop() else { break };
        queue.push(Reverse((at + random.below(SPAN), number, black_box(what))));
    }
    TAKEN as f64 / 1e6 / (cpu_s() - begun)
}

fn calendar(pending: u64) -> f64 {
    let mut random = Seed(1).stream("bench");
    let mut queue = Calendar::new();
    (0..pending).for_each(|_| queue.push(random.below(SPAN), 0_u64));
    let begun = cpu_s();
    for _ in 0..TAKEN {
        let Some((at, what)) = queue.pop() else { break };
        queue.push(at + random.below(SPAN), black_box(what));
    }
    TAKEN as f64 / 1e6 / (cpu_s() - begun)
}

/// A crash after all have arrived, then a minute of full jitter against 5,000 handshakes a second.
fn whole(clients: u32) {
    let plan = plan(clients);
    let model = plan.simulated_as().expect("an embedded server can be simulated");
    let begun = cpu_s();
    let simulated = sim::run(&plan, &model).expect("a crash is simulated");
    let took = cpu_s() - begun;
    let (events, entries) = (simulated.events, simulated.entries);
    black_box(simulated.results);
    println!("{clients:<10}{events:>12}{entries:>12}{took:>10.2}{:>14.2}{:>14.0}", events as f64 / 1e6 / took, took * 1e9 / entries as f64);
}

fn plan(clients: u32) -> Plan {
    // Arrivals fill nine tenths of what the server can take.
    let arrivals = clients.div_ceil(4_500);
    let set = [
        format!("duration=\"{}s\"", arrivals + 70),
        "expect=[]".to_owned(),
        format!("clients.web.count={clients}"),
        format!("clients.web.arrive={{over=\"{arrivals}s\"}}"),
        "clients.web.traffic=none".to_owned(),
        "clients.web.reconnect={exponential={base=\"1s\",factor=2,cap=\"30s\",jitter=\"full\"}}".to_owned(),
        "target.embedded={handshake_cost=\"200us\",backlog=4096}".to_owned(),
        format!("faults=[{{name=\"crash\",at=\"{}s\",inject={{server_crash={{down=\"2500ms\"}}}}}}]", arrivals + 10),
    ];
    let overrides = Overrides { set: set.to_vec(), ..Overrides::default() };
    load(&Source::Bundled("default".to_owned()), &overrides).unwrap_or_else(|errors| panic!("{errors}"))
}
