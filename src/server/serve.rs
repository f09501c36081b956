//! The life of a server: it listens, obeys what it is told, and stops, at once or gracefully.

use crate::ipc;
use crate::panics;
use crate::plan::turn_in;
use crate::server::ServerShared;
use crate::server::evidence::{Commands, QUEUE_MAX, Reporter};
use crate::server::host::{Ends, ServerHost};
use crate::server::listener::{self, ListeningSocket};
use crate::server::protocol::{FromServer, ToServer};
use crate::units::parse_duration;
use crate::ws::memory;
use crate::ws::session::mailbox::SessionCommand;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A hook for tests: a variable of the environment with a duration in place of the scenario's `handshake_cost`. Only this process reads it,
/// so that a search for the limit of a server cannot know the answer.
const HIDDEN_COST: &str = "CLOSESTORM_HANDSHAKE_COST";
/// How often a process looks whether something in it panicked.
const PANIC_EVERY: Duration = Duration::from_millis(100);

/// Runs an embedded server process until it is told to stop, or its parent is gone. What it is to be is said over the link that is its
/// standard input.
///
/// Returns the exit code.
pub fn main() -> u8 {
    // Its parent raised the limit of open files already; a child inherits it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(ipc::LinkError::from).and_then(|runtime| runtime.block_on(serve())) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("embedded server: {error}");
            1
        }
    }
}

/// The cost that a test hides from whoever searches for it; `None` where there is none, or it is not a duration.
fn hidden_cost(variable: Option<&str>) -> Option<Duration> {
    parse_duration(variable?).ok()
}

impl ServerShared {
    /// Serves until it is told to stop, or its parent is gone.
    /// Whether all of its evidence was heard, where it was told to stop.
    pub(super) async fn live(self: &Arc<ServerShared>, door: ListeningSocket, mut commands: Commands) -> bool {
        self.report(&FromServer::Listening { at_ns: self.ground.now_ns() });
        let mut accepting = Ends(self.ground.task(listener::accept(self.clone(), door, self.listening.subscribe())));
        let graceful = obey(self, &mut commands).await;
        accepting.0.abort();
        // The listener closes when the task is gone: only then may the Close frames go out.
        let _ = (&mut accepting.0).await;
        let told = graceful.is_some();
        if let Some(ToServer::Graceful { fault, code, reason, grace, spread }) = graceful {
            tokio::select! {
                // Who is gone suffers nothing more.
                biased;
                () = shut_down(self, fault, code, &reason, grace, spread) => {}
                // Faults act on what is still open; a server stops but once.
                () = async { while obey(self, &mut commands).await.is_some() {} } => {}
            }
        }
        // Who has no parent any more tells nobody.
        self.reporter.flush().await || !told
    }
}

async fn serve() -> Result<(), ipc::LinkError> {
    let Some((mut spec, reporter, mut commands)) = Reporter::take(ipc::inherited()?, QUEUE_MAX).await? else { return Ok(()) };
    if let Some(cost) = hidden_cost(std::env::var(HIDDEN_COST).ok().as_deref()) {
        eprintln!("embedded server: {HIDDEN_COST} sets the cost of an opening handshake");
        spec.settings.handshake_cost = cost;
    }
    memory::set_limit(spec.memory);
    let server = ServerShared::new(spec, ServerHost::Process, reporter)?;
    // What stands already is told first: it holds from the first SYN on.
    while let Some(command) = commands.next().await {
        match command {
            listen @ ToServer::Listen { .. } => {
                carry_out(&server, listen);
                break;
            }
            command => carry_out(&server, command),
        }
    }
    let door = ListeningSocket::open(&server)?;
    // Into target.log: where other clients than ours find it.
    println!("listening on {}://{}", if server.tls.is_some() { "wss" } else { "ws" }, server.spec.address);
    tokio::spawn(tell_of_panic(server.clone()));
    if server.live(door, commands).await { Ok(()) } else { Err(io::Error::other("nobody read all of the evidence in time").into()) }
}

/// Tells the parent when something in this process panics: its task is gone, and what it had to say is missing.
async fn tell_of_panic(server: Arc<ServerShared>) {
    while !panics::happened() {
        tokio::time::sleep(PANIC_EVERY).await;
    }
    server.report(&FromServer::Panicked);
}

/// Carries out what the parent and its workers say, until the parent says stop or is gone.
async fn obey(server: &ServerShared, commands: &mut Commands) -> Option<ToServer> {
    while let Some(command) = commands.next().await {
        match command {
            graceful @ ToServer::Graceful { .. } => return Some(graceful),
            command => carry_out(server, command),
        }
    }
    None
}

/// Carries out one command of those that do not end it.
pub(super) fn carry_out(server: &ServerShared, command: ToServer) {
    let mut state = server.state();
    match command {
        ToServer::Listen { tickets: key } => server.tickets.iter().for_each(|tickets| tickets.change(&key)),
        // Those that are read at other places.
        ToServer::Graceful { .. } | ToServer::Serve { .. } | ToServer::Worker | ToServer::Tell { .. } | ToServer::Heard => {}
        ToServer::StandStill { ticket } => {
            server.admission.stand_still();
            server.report(&FromServer::Still { ticket });
        }
        ToServer::GoOn => server.admission.go_on(),
        ToServer::Numbered { ticket, id } => drop(state.numbering.remove(&ticket).map(|asking| asking.send(id))),
        ToServer::Answer { ticket, granted } => drop(state.asked.remove(&ticket).map(|asking| asking.send(granted))),
        ToServer::Inject { dose, ids } => {
            let dose = Arc::new(dose);
            for id in ids {
                if let Some(control) = state.by_id.get(&id).and_then(|serial| state.connections.get(serial)) {
                    control.send(SessionCommand::Inject(dose.clone()));
                }
            }
        }
        // A fault that fires while a server starts is told twice.
        ToServer::InjectNew { dose, standing } => {
            if state.new.iter().all(|(other, _)| other.firing != dose.firing) {
                state.new.push((Arc::new(dose), standing));
            }
        }
        ToServer::Attempts { firing, effect, standing } => {
            if state.attempts.iter().all(|(other, ..)| *other != firing) {
                state.attempts.push((firing, effect, standing));
            }
        }
        ToServer::Listener { firing, on, instance } => {
            if instance.is_none_or(|instance| instance == server.spec.instance) {
                server.listening.send_modify(|active| active.push((firing, on)));
            }
        }
        ToServer::Revert { firing } => {
            server.listening.send_if_modified(|active| {
                let before = active.len();
                active.retain(|(standing, _)| *standing != firing);
                active.len() < before
            });
            state.new.retain(|(dose, _)| dose.firing != firing);
            state.attempts.retain(|(active, ..)| *active != firing);
            state.connections.values().for_each(|control| control.send(SessionCommand::Revert(firing)));
        }
    }
}

/// Closes every connection over `spread` and waits up to `grace` for the closing handshakes; over as soon as nobody is left.
async fn shut_down(server: &ServerShared, fault: u16, code: u16, reason: &str, grace: Duration, spread: Duration) {
    let reason: Arc<str> = reason.into();
    let controls: Vec<_> = {
        let mut state = server.state();
        state.closing = Some(SessionCommand::Close { fault, code, reason: reason.clone() });
        state.connections.values().cloned().collect()
    };
    let begun = Instant::now();
    let count = u32::try_from(controls.len()).unwrap_or(u32::MAX).max(1);
    let patience = async {
        for (index, control) in (0_u32..).zip(controls) {
            let due = begun + turn_in(spread, index, count);
            if due > Instant::now() {
                sleep_until(due).await;
            }
            control.send(SessionCommand::Close { fault, code, reason: reason.clone() });
        }
        sleep_until(begun + spread + grace).await;
    };
    let mut open = server.open.subscribe();
    tokio::select! {
        // Whoever is left at the end of the patience, or nobody before it.
        biased;
        _ = open.wait_for(|open| *open == 0) => {}
        () = patience => {}
    }
}
