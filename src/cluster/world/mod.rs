//! A whole run on a simulated machine, in one task set and on a clock that the test moves: the leading process, its guards, workers, servers and
//! programs, with links that are late, lost, damaged or cut, processes that die or stop at any step, clocks that jump, and a disk that fails.
//!
//! The program's own: the leading side of a run with workers, the guard and who steers it, what servers and workers make of their links, the
//! sums, the verdict, and the run folder. Played: connections of clients and servers, programs of users, the kernel.
//!
//! `CLOSESTORM_SEEDS`: how many worlds. `CLOSESTORM_SEED`: only that one, as a failure says.

mod machine;
mod program;
mod server;
mod worker;
mod written;

use super::coordinator::{conduct, given_up, links_to, start_workers, with_target};
use crate::event::Event;
use crate::ipc;
use crate::ipc::LinkEnd;
use crate::ipc::memory::{self, LinkOwner, Trouble, Weather};
use crate::load::hits::Question;
use crate::lock::lock;
use crate::metrics::{Results, Status};
use crate::plan::{Plan, Shard, Target};
use crate::results::Evidence;
use crate::run::{self, RunStart, StartedTarget, unless};
use crate::scenario::{Overrides, Source, load};
use crate::seed::{Seed, Stream};
use crate::snapshots::Publisher;
use crate::sut::command;
use crate::sut::command::guard;
use crate::sut::command::handle::{Guard, PATIENCE};
use crate::sut::control_links::Member;
use crate::sut::error::RunError;
use crate::sut::target_events::TargetEvents;
use crate::sut::{Fleet, TargetSetting};
use crate::transport::clock::Clock;
use crate::verdict::judge;
use machine::{Birth, Doing, GuardMachine, PlayedGuard, SimulatedMachine};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use server::Arrival;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, advance, sleep, timeout};

/// The whole of a run, whatever goes wrong: all that is waited for has its time, and a program of a user's may need to be killed twice.
const LONGEST: Duration = Duration::from_secs(300);
/// In which nobody is left once the leading process is gone.
const GONE_WITHIN: Duration = Duration::from_secs(90);

/// What all processes of a world share.
struct World {
    seed: u64,
    plan: Arc<Plan>,
    machine: SimulatedMachine,
    clock: Clock,
    servers: Mutex<BTreeMap<Member, mpsc::UnboundedSender<Arrival>>>,
    truth: Mutex<Truth>,
}

/// What really happened.
#[derive(Default)]
struct Truth {
    /// Connections whose endings a server has told, by client and number: when, and which process.
    told: BTreeMap<(u32, u32), (u64, i32)>,
    /// Process ids of workers.
    workers: BTreeMap<u32, i32>,
    /// When each worker that came to its end had ended its measurement, and what it had recorded.
    traces: BTreeMap<u32, (u64, Vec<(Duration, Event)>)>,
    /// Their results.
    parts: BTreeMap<u32, Results>,
    /// Processes that were killed or stopped by somebody else.
    struck: BTreeSet<i32>,
    /// The guard of the user's program was among them.
    unguarded: bool,
    /// The user has stopped the run.
    stopped: bool,
    /// The clock has jumped.
    jumped: bool,
    /// A server has told something that no line has room for.
    too_long: bool,
    /// The evidence of a server has room for some lines only.
    small_room: bool,
}

impl World {
    fn servers(&self) -> MutexGuard<'_, BTreeMap<Member, mpsc::UnboundedSender<Arrival>>> {
        lock(&self.servers)
    }

    fn truth(&self) -> MutexGuard<'_, Truth> {
        lock(&self.truth)
    }

    /// Starts a guard of the leading process.
    async fn guard(&self, name: &str, leader: i32) -> Result<Guard, command::Error> {
        let (ours, theirs) = ipc::pair().map_err(command::Error::Launch)?;
        let machine = self.machine.clone();
        let doing = |pid| -> Doing {
            let guarded = GuardMachine::of(machine, pid);
            Box::pin(async move { u8::from(guard::keep(theirs, guarded).await.is_err()) })
        };
        let birth = Birth { subreaper: true, ..Birth::of(name, leader) };
        let pid = self.machine.spawn(birth, doing);
        Guard::over(ours, PlayedGuard { machine: self.machine.clone(), parent: leader, pid }).await
    }
}

/// A plan with faults of processes, or without.
fn plan(random: &mut Stream) -> Plan {
    let mut text = "duration = \"10s\"\nexpect = [\"clients_lost count < 25\"]\nclients.a = { count = 24 }\n".to_owned();
    text += &format!("target.embedded = {{ instances = {}, processes = {} }}\n", 1 + random.below(2), 1 + random.below(2));
    for fault in 0..random.below(3) {
        let at = 1_000 + random.below(6_000);
        let inject = match random.below(3) {
            0 => "inject = { server_crash = { down = \"700ms\" } }",
            1 => "inject = { server_graceful = { grace = \"1s\", down = \"500ms\" } }",
            _ => "inject = { server_pause = {} }\nfor = \"1s\"",
        };
        text += &format!("[[faults]]\nname = \"f{fault}\"\nat = \"{at}ms\"\n{inject}\n");
    }
    load(&Source::Text { name: "world".to_owned(), text }, &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

/// How the links of a world are.
fn weather(seed: u64, leader: LinkOwner) -> Weather {
    let mut random = Seed(seed).stream("world/links");
    let mut delays = Seed(seed).stream("world/delays");
    // One world in four has no trouble at all on its links, and some have a lot of it.
    let one_in = [0, 60, 30, 8][random.below(4) as usize];
    let slow = 1 + random.below(40_000);
    let trouble = move || {
        let (hit, what, line) = (random.below(one_in.max(1)), random.below(4), random.below(40));
        let trouble = match what {
            0 => Trouble::Lost,
            1 => Trouble::Damaged,
            2 => Trouble::Cut,
            _ => Trouble::Late(Duration::from_millis(100 + random.below(30_000))),
        };
        // Half of them among the first lines, of which some links have no others.
        (one_in > 0 && hit == 0).then_some((if line % 2 == 0 { line } else { line / 8 }, trouble))
    };
    Weather {
        room: 4_096,
        trouble: Box::new(trouble),
        delay: Box::new(move || Duration::from_micros(delays.below(slow))),
        leader,
        happened: Vec::new(),
    }
}

/// What the leading process came to.
struct Led {
    results: Result<Results, String>,
    /// What the driver of the user's program found wrong.
    wrong: Vec<String>,
}

/// The leading process.
async fn lead(world: Arc<World>, pid: i32, count: u32) -> Led {
    let mut wrong = Vec::new();
    let results = Box::pin(led(&world, pid, count, &mut wrong)).await;
    Led { results, wrong }
}

async fn led(world: &Arc<World>, pid: i32, count: u32, wrong: &mut Vec<String>) -> Result<Results, String> {
    let mut random = Seed(world.seed).stream("world/leader");
    let driven = if random.below(2) == 0 {
        let guard = world.guard("guard of program", pid).await.map_err(|error| error.to_string())?;
        Some((tokio::spawn(program::drive(guard.clone(), Seed(world.seed).stream("world/drive"))), guard))
    } else {
        None
    };
    let results = Box::pin(with_workers(world, pid, count)).await;
    if let Some((driving, guard)) = driven {
        driving.abort();
        if let Ok(found) = driving.await {
            wrong.extend(found);
        }
        // As every command does at its end.
        let _ = guard.shutdown().await;
    }
    results
}

async fn with_workers(world: &Arc<World>, pid: i32, count: u32) -> Result<Results, String> {
    let told = |error: &dyn std::error::Error| error.to_string();
    let ((crew, orders), (asking, questions)) = (TargetEvents::new(), mpsc::unbounded_channel::<Question>());
    let guard = world.guard("guard of workers", pid).await.map_err(|error| told(&error))?;
    let (program, output) = (Path::new("closestorm"), Path::new("nowhere/workers.log"));
    let mut stop = pin!(stop(world));
    let members = {
        let (shards, give_up) = ((Shard::WHOLE, count), pin!(run::stopped(stop.as_mut())));
        let starting = Box::pin(start_workers(&guard, &world.plan, shards, (program, output), asking, give_up));
        starting.await.map_err(|error| told(&error))?
    };
    let Target::Embedded(settings) = &world.plan.target else { unreachable!("as the plan says") };
    let setting = TargetSetting {
        real: None,
        plan: &world.plan,
        program: Some(program.to_owned()),
        output: output.to_owned(),
        workers: links_to(&members, count),
        crew: crew.clone(),
    };
    let mut lost = None;
    let started = {
        let mut give_up = pin!(given_up(&members, stop.as_mut(), &mut lost));
        let guard = async { world.guard("guard of servers", pid).await.map_err(RunError::from) };
        match unless(give_up.as_mut(), guard).await {
            Ok(guard) => Box::pin(Fleet::played(setting, settings, guard, give_up)).await,
            Err(error) => Err(error),
        }
    };
    let (fleet, reports) = with_target(&members, count, started, lost).await.map_err(|error| told(&error))?;
    let led = StartedTarget::played(fleet, reports, crew, world.clock);
    let (shards, folder) = ((Shard::WHOLE, count), Path::new("nowhere"));
    let (parts, questions) = ((members, led), (orders, questions));
    let conducting = conduct(world.plan.clone(), shards, RunStart::Ready, parts, questions, folder, stop, Publisher::default());
    Box::pin(conducting).await.map_err(|error| told(&error))
}

/// Resolves when the user stops the run, which in one world of eight is at any moment.
async fn stop(world: &World) {
    let mut random = Seed(world.seed).stream("world/stop");
    if random.below(8) != 0 {
        return std::future::pending().await;
    }
    sleep(Duration::from_millis(random.below(14_000))).await;
    world.truth().stopped = true;
}

/// What happens to processes, at which times.
async fn fate(world: Arc<World>) {
    let mut random = Seed(world.seed).stream("world/fate");
    let names = ["leader", "guard of workers", "guard of servers", "guard of program", "closestorm __worker", "closestorm __server"];
    // Half of the worlds have none.
    let mut times: Vec<u64> = (0..random.below(4).saturating_sub(1)).map(|_| random.below(16_000)).collect();
    times.sort_unstable();
    let (begun, mut struck) = (Instant::now(), Vec::<&str>::new());
    for at in times {
        sleep(Duration::from_millis(at).saturating_sub(begun.elapsed())).await;
        let name = names[random.below(names.len() as u64) as usize];
        let found = world.machine.named(name);
        let Some(pid) = found.get(random.below(found.len() as u64) as usize).copied() else { continue };
        // The guard ends what the leading process leaves, and the other way round: of both, one.
        let both = |one: &str, other: &str| name.starts_with(one) && struck.iter().any(|struck| struck.starts_with(other));
        if both("leader", "guard") || both("guard", "leader") {
            continue;
        }
        struck.push(name);
        world.truth().struck.insert(pid);
        world.truth().unguarded |= name == "guard of program";
        match random.below(4) {
            0 if name != "leader" => {
                world.machine.signal(pid, Signal::SIGSTOP);
                if random.below(2) == 0 {
                    sleep(Duration::from_millis(random.below(9_000))).await;
                    world.machine.signal(pid, Signal::SIGCONT);
                }
            }
            _ => world.machine.signal(pid, Signal::SIGKILL),
        }
    }
}

/// What must hold of a world, and does not.
async fn broken(seed: u64) -> Vec<String> {
    let mut random = Seed(seed).stream("world");
    let clock = Clock::Runtime(Instant::now());
    // A reading of 0 would be before all offsets.
    sleep(Duration::from_secs(1)).await;
    let machine = SimulatedMachine::new(clock);
    let plan = Arc::new(plan(&mut random));
    let world = Arc::new(World { seed, plan, machine: machine.clone(), clock, servers: Mutex::default(), truth: Mutex::default() });
    install(&world);
    let count = 1 + random.below(4) as u32;
    let (say, ended) = oneshot::channel();
    let leading = world.clone();
    let leader = machine.spawn(Birth::of("leader", 1), |pid| {
        Box::pin(async move {
            let led = lead(leading, pid, count).await;
            let _ = say.send(led);
            0
        })
    });
    memory::set(machine.owner(leader).map(|owner| weather(seed, owner)));
    let fated = tokio::spawn(fate(world.clone()));
    let begun = Instant::now();
    if random.below(4) == 0 {
        // The machine sleeps: for everybody the clock jumps.
        sleep(Duration::from_millis(random.below(12_000))).await;
        advance(Duration::from_secs(1 + random.below(60))).await;
        world.truth().jumped = true;
    }
    let mut wrong = Vec::new();
    let led = match timeout(LONGEST.saturating_sub(begun.elapsed()), ended).await {
        Ok(led) => led.ok(),
        Err(_) => {
            wrong.push(format!("it did not end within {LONGEST:?}"));
            None
        }
    };
    fated.abort();
    let died = led.is_none();
    // Whoever was stopped and is continued later goes on.
    let left = || {
        // Who has taken off its mark, nobody finds but its guard.
        let hidden = if world.truth().unguarded { machine.hidden() } else { Vec::new() };
        machine.left().into_iter().filter(|(pid, _)| !hidden.contains(pid)).collect::<Vec<_>>()
    };
    let gone = async {
        while !left().is_empty() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let is_left = timeout(GONE_WITHIN, gone).await.is_err();
    let happened = memory::set(None).map(|weather| weather.happened).unwrap_or_default();
    // So late that its guard was killed before it heard that it is to end.
    let late = |(trouble, from, to): &(Trouble, u32, u32)| {
        matches!(trouble, Trouble::Late(by) if *by >= PATIENCE) && [from, to].iter().any(|pid| machine.was_killed(pid.cast_signed()))
    };
    world.truth().unguarded |= happened.iter().any(late);
    if is_left && !left().is_empty() {
        wrong.push(format!("left: {:?}; struck: {:?}, the leading process died: {died}; {happened:?}", left(), world.truth().struck));
    }
    machine.uninstall();
    if let Some(Led { results, wrong: found }) = led {
        wrong.extend(found);
        match results {
            Ok(results) => wrong.extend(figures(&world, count, &results, &happened).into_iter().chain(written::check(&world, &results))),
            // A run that could not begin has no results; but it was in trouble.
            Err(why) if happened.is_empty() && world.truth().struck.is_empty() && !world.truth().jumped && !world.truth().stopped => {
                wrong.push(format!("nothing went wrong, and it said: {why}"))
            }
            Err(_) => {}
        }
    }
    wrong
}

/// Says what guards start.
fn install(world: &Arc<World>) {
    let (of, seed) = (Arc::downgrade(world), world.seed);
    world.machine.install(Box::new(move |argv, stdin: Option<LinkEnd>, pid| {
        let failed = (crate::sut::command::protocol::FailedStep::Program, Errno::ENOMEM);
        let world = of.upgrade().ok_or(failed)?;
        if Seed(seed).numbered("world/start/", pid as u32, "").below(400) == 0 {
            world.truth().struck.insert(pid);
            return Err(failed);
        }
        Ok(match (argv.get(1).map(String::as_str), stdin) {
            (Some("__worker"), Some(link)) => Box::pin(worker::work(world, pid, link)),
            (Some("__server"), Some(link)) => Box::pin(server::serve(world, pid, link)),
            _ => program::lives(&world, pid, 0),
        })
    }));
}

/// What must hold of results, and does not.
fn figures(world: &World, count: u32, sum: &Results, happened: &[(Trouble, u32, u32)]) -> Vec<String> {
    let (truth, mut wrong) = (world.truth(), Vec::new());
    let lost = |worker: u32| sum.lost.iter().any(|lost| lost.starts_with(&format!("worker {} of", worker + 1)));
    if let Err(error) = sum.check_ledger() {
        wrong.push(error.to_string());
    }
    let attempts = |results: &Results| results.total().ledger.attempts.total;
    let mut expected = 0;
    for worker in 0..count {
        match truth.parts.get(&worker) {
            Some(part) if !lost(worker) => expected += attempts(part),
            None if !lost(worker) => wrong.push(format!("worker {worker} did not finish, and is not lost: {:?}", sum.lost)),
            _ => {}
        }
        let undisturbed = truth.struck.is_empty() && happened.is_empty();
        if lost(worker) && undisturbed {
            wrong.push(format!("nothing went wrong, and worker {worker} is lost: {:?}", sum.lost));
        }
    }
    if attempts(sum) != expected {
        wrong.push(format!("{} attempts in the sum, {expected} in the books of those who finished", attempts(sum)));
    }
    let unreliable = sum.why_unreliable();
    let verdict = judge(&Evidence::of(sum), &world.plan.expectations);
    let ready = sum.books.iter().any(|book| book.ready > 0);
    let whole = sum.status == Status::Completed;
    if (sum.lost.is_empty() && unreliable.is_empty() && ready && whole) == (verdict.result == "inconclusive") {
        wrong.push(format!("lost {:?}, unreliable {unreliable:?}, verdict {} {:?}", sum.lost, verdict.result, verdict.reasons));
    }
    // Faults that meet at one server, or whose time a jump has left out, are not carried out, and the run says so.
    let calm = whole && truth.struck.is_empty() && happened.is_empty() && !truth.jumped && !truth.too_long && world.plan.faults.len() < 2;
    // A small buffer of evidence may be full where nothing else goes wrong.
    let full = truth.small_room && unreliable.iter().all(|why| why.contains("the buffer of the embedded server was full"));
    // A server may die where no client was there to notice.
    let unnoticed = !unreliable.is_empty() && unreliable.iter().all(|why| why.ends_with("it reached no connection and no attempt"));
    if calm && !full && !unnoticed && verdict.result != "pass" {
        wrong.push(format!("nothing went wrong, and the verdict is {} {:?}", verdict.result, verdict.reasons));
    }
    for (worker, (ended_ns, trace)) in truth.traces.iter().filter(|(worker, _)| !lost(**worker)) {
        wrong.extend(evidence(world, &truth, (*worker, count), *ended_ns, trace, !whole || !unreliable.is_empty()));
    }
    wrong
}

/// Each ending that a server told in the time of the measurement is counted once, or the run says why not, or the server was killed.
fn evidence(
    world: &World,
    truth: &Truth,
    (worker, count): (u32, u32),
    ended_ns: u64,
    trace: &[(Duration, Event)],
    unreliable: bool,
) -> Vec<String> {
    let mut counted: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    let mut said = unreliable;
    for (_, event) in trace {
        match event {
            Event::ServerEnded { client, connection, .. } => *counted.entry((client.0, connection.0)).or_default() += 1,
            Event::Notice { .. } => said = true,
            _ => {}
        }
    }
    let strange = counted.iter().filter(|(id, times)| **times > 1 || !truth.told.contains_key(*id));
    let mut wrong: Vec<String> = strange
        .map(|(id, times)| {
            format!("worker {worker}: the ending of {id:?} is counted {times} times, and was told: {:?}", truth.told.get(id))
        })
        .collect();
    let ours = |client: u32| Shard::WHOLE.part(worker, count).owns(client);
    let missing = truth.told.iter().filter(|((client, _), (at, by))| ours(*client) && *at < ended_ns && !world.machine.was_killed(*by));
    let missing: Vec<_> = missing.filter(|(id, _)| !counted.contains_key(*id)).collect();
    if !missing.is_empty() && !said {
        wrong.push(format!("worker {worker}: told and not counted, and nobody says so: {missing:?}"));
    }
    wrong
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// For the futures of a whole run, which an unoptimized build moves about on its stack.
const STACK: usize = 64 << 20;

#[test]
fn whatever_goes_wrong_a_run_ends_with_true_figures_and_leaves_nobody() {
    let playing = std::thread::Builder::new().stack_size(STACK).spawn(play).expect("a thread");
    playing.join().expect("a world is broken, as said above");
}

fn play() {
    let seeds = number("CLOSESTORM_SEED").map_or(0..number("CLOSESTORM_SEEDS").unwrap_or(300), |seed| seed..seed + 1);
    let mut found = Vec::new();
    for seed in seeds.clone() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let wrong = runtime.block_on(Box::pin(broken(seed)));
        if !wrong.is_empty() {
            found.push(format!("{wrong:#?}\nagain: CLOSESTORM_SEED={seed} cargo test --lib cluster::world"));
        }
    }
    println!("{} worlds, {} broken", seeds.count(), found.len());
    assert!(found.is_empty(), "{} worlds are broken: {}", found.len(), found.iter().take(5).cloned().collect::<Vec<_>>().join("\n"));
}
