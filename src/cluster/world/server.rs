//! An embedded server of the simulated world: its connections are played, and how it hears and tells is the program's own.

use super::World;
use crate::close::{Cause, Ending, Initiator, TcpEnd};
use crate::ipc::{LINE_MAX, LinkEnd};
use crate::seed::Seed;
use crate::server::evidence::Reporter;
use crate::server::protocol::{FromServer, ToServer};
use crate::ws::handshake::own_headers::Id;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

/// A connection that a client has opened, and who waits for its end, which is also that of the server.
pub(super) struct Arrival {
    pub(super) id: Id,
    pub(super) stays: Duration,
    pub(super) ended: oneshot::Sender<()>,
}

/// How a connection ended, without a Close frame.
pub(super) fn ending(reason: String) -> Box<Ending> {
    Box::new(Ending {
        cause: Cause::Remote,
        initiator: Initiator::Server,
        wire_received: None,
        wire_sent: None,
        tcp_end: TcpEnd::Fin,
        tls_end: None,
        mid_frame: false,
        clean: false,
        code: 1006,
        reason,
        bytes_after: 0,
    })
}

/// A server process, from its start to its exit code.
pub(super) async fn serve(world: Arc<World>, pid: i32, link: LinkEnd) -> u8 {
    let mut random = Seed(world.seed).stream(&format!("world/server/{pid}"));
    let room = if random.below(3) == 0 { 1_000 } else { 1 << 20 };
    world.truth().small_room |= room == 1_000;
    let Ok(Some((spec, reporter, mut commands))) = Reporter::take(link, room).await else { return 1 };
    loop {
        match commands.next().await {
            Some(ToServer::Listen { .. }) => break,
            Some(_) => {}
            None => return 0,
        }
    }
    let (arrive, mut arriving) = mpsc::unbounded_channel();
    let member = (spec.instance, spec.process);
    world.servers().insert(member, arrive);
    reporter.send(&FromServer::Listening { at_ns: world.clock.now_ns() });
    let mut open: Vec<(Instant, Arrival)> = Vec::new();
    loop {
        let next = open.iter().enumerate().min_by_key(|(_, (until, _))| *until).map(|(index, (until, _))| (index, *until));
        tokio::select! {
            biased;
            command = commands.next() => match command {
                Some(ToServer::StandStill { ticket }) => reporter.send(&FromServer::Still { ticket }),
                Some(ToServer::Graceful { grace, .. }) => {
                    world.servers().remove(&member);
                    sleep(grace.min(Duration::from_millis(random.below(100)))).await;
                    open.drain(..).for_each(|(_, arrival)| tell(&world, pid, &reporter, arrival, String::new()));
                    break;
                }
                Some(_) => {}
                None => break,
            },
            arrival = arriving.recv() => match arrival {
                Some(Arrival { stays, .. }) if stays.is_zero() => {}
                Some(arrival) => open.push((Instant::now() + arrival.stays, arrival)),
                None => break,
            },
            () = sleep_until(next.map_or_else(Instant::now, |(_, until)| until)), if next.is_some() => {
                if let Some((index, _)) = next {
                    // A reason that no line has room for.
                    let reason = if random.below(20_000) == 0 { "x".repeat(9 << 20) } else { "x".repeat(random.below(200) as usize) };
                    tell(&world, pid, &reporter, open.swap_remove(index).1, reason);
                }
            }
        }
    }
    u8::from(!reporter.flush().await)
}

fn tell(world: &World, pid: i32, reporter: &Reporter, arrival: Arrival, reason: String) {
    let Arrival { id, ended, .. } = arrival;
    let at_ns = world.clock.now_ns();
    world.truth().too_long |= reason.len() > LINE_MAX;
    world.truth().told.insert((id.client.0, id.connection.0), (at_ns, pid));
    reporter.send(&FromServer::Ended { id: Some(id), ending: ending(reason), at_ns });
    // Its client may be gone.
    let _ = ended.send(());
}
