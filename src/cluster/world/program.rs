//! Programs of users as a guard has them: they fork, run into the background, hide, do not want to end, or end by themselves.

use super::World;
use super::machine::Doing;
use crate::plan::Ready;
use crate::seed::{Seed, Stream};
use crate::sut::command::handle::{Guard, Spec};
use crate::sut::command::process::{CommandTarget, Recipe};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// A process of such a program, `depth` forks below the one that was started.
pub(super) fn lives(world: &Arc<World>, pid: i32, depth: u32) -> Doing {
    let (machine, mut random) = (world.machine.clone(), Seed(world.seed).stream(&format!("world/program/{pid}")));
    let world = Arc::downgrade(world);
    Box::pin(async move {
        for _ in 0..random.below(4) {
            sleep(Duration::from_millis(random.below(1_500))).await;
            if depth < 3
                && let Some(world) = world.upgrade()
            {
                let how = (random.below(2) == 0, random.below(8) == 0, random.below(3) == 0);
                machine.fork(pid, how, |child| lives(&world, child, depth + 1));
            }
        }
        if random.below(3) > 0 {
            std::future::pending::<()>().await;
        }
        random.below(3) as u8
    })
}

/// Does to such a program what a plan may do, in any order. What was wrong.
pub(super) async fn drive(guard: Guard, mut random: Stream) -> Vec<String> {
    let spec = Spec { argv: vec!["program".to_owned()], env: BTreeMap::new(), workdir: None, output: "program.log".into() };
    let recipe = Recipe {
        spec,
        url: "ws://127.0.0.1:1/".to_owned(),
        addrs: Vec::new(),
        ready: Ready::Tcp,
        ready_within: Duration::from_secs(5),
        port_held: true,
    };
    let mut target = CommandTarget::new(&guard, 0, recipe);
    let mut wrong = Vec::new();
    for _ in 0..random.below(8) {
        sleep(Duration::from_millis(random.below(1_200))).await;
        match random.below(6) {
            0 | 1 => drop(target.launch().await),
            2 => match target.crash().await {
                // Whoever is left holds its ports.
                Ok(down) if down.gone_at < down.signalled_at => wrong.push(format!("gone before it was killed: {down:?}")),
                _ => {}
            },
            3 => drop(target.stop(Signal::SIGTERM, Duration::from_millis(random.below(2_000))).await),
            4 => drop(target.pause().await),
            _ => drop(target.resume().await),
        }
    }
    wrong
}
