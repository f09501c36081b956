//! What a search says of a lost node: which model of the server it simulates, and whether it may.

use super::super::console;
use super::step::{Bench, Busiest};
use crate::calibrate::{self, fragment};
use crate::capacity::Vary;
use crate::capacity::vary::CLIENTS;
use crate::cli::Capacity as Args;
use crate::plan::{Model, Plan};
use crate::results::capacity::{LimitRow, LostNodeRow};
use crate::results::capacity_limit::{Measure, reconnect_within};
use crate::results::folder::Folder;
use crate::results::{manifest, read};
use crate::sim::lost_node::{self, NodeLoss, bounds, strategies};
use anyhow::Context;
use std::path::Path;
use std::time::Duration;

/// In which everybody should be back, where the scenario does not say.
const WITHIN: Duration = Duration::from_secs(10);
/// A fitted model is believed if it opens as many as the busiest run did, times or divided by this.
const AGREES: f64 = 1.33;

/// Simulates the loss of a node after a search for how many connections a server opens; `None` where there is nothing to be said, and a
/// notice where a reader may wonder.
pub(super) fn lost_node(args: &Args, bench: &mut Bench<'_>, lowest: &Plan, limits: &[LimitRow], varied: &[Vary]) -> Option<LostNodeRow> {
    let ([limit], [vary]) = (limits, varied) else { return None };
    let opens = !Measure::of(lowest).echoes && is_load(&vary.key) && limit.limit.is_some();
    // With a crash in the scenario and a limit on the way back it was measured.
    let measured = lowest.faults.iter().any(|fault| fault.inject.row.kind == CRASH) && reconnect_within(&lowest.expectations).is_some();
    if !opens || measured || strategies(lowest).is_empty() || bench.is_stopped() {
        return None;
    }
    match simulated(args, bench, lowest, limit) {
        Ok(row) => row,
        Err(why) => {
            bench.notice(format!("no forecast for the loss of a node: {why:#}"));
            None
        }
    }
}

/// The fault that takes a node away.
pub(super) const CRASH: &str = "server_crash";

/// Whether more of it are more who connect.
fn is_load(key: &str) -> bool {
    key == CLIENTS || (key.starts_with("clients.") && [".count", ".arrive.rate", ".arrive.poisson"].iter().any(|end| key.ends_with(end)))
}

fn simulated(args: &Args, bench: &Bench<'_>, lowest: &Plan, limit: &LimitRow) -> anyhow::Result<Option<LostNodeRow>> {
    let (model, from) = match (lowest.simulated_as(), bench.busiest()) {
        (Ok(model), _) => (model, if lowest.model.is_some() { "[model]".to_owned() } else { "[target.embedded]".to_owned() }),
        (Err(_), Some(busiest)) => (fitted(args, busiest, bench.folder(), limit)?, format!("fitted to step {}", busiest.step)),
        (Err(_), None) => return Ok(None),
    };
    if !bounds(&model) {
        return Ok(None);
    }
    let down = lowest.faults.iter().filter_map(|fault| fault.inject.values.duration("down")).max();
    let loss = NodeLoss { within: WITHIN, down: down.unwrap_or_default() };
    let found = lost_node::search(lowest, &model, loss, &|| !bench.is_stopped())?;
    let us = |time: Duration| time.as_micros() as u64;
    Ok(found.map(|found| LostNodeRow {
        within_us: us(loss.within),
        down_us: us(loss.down),
        clients: found.clients.into(),
        back_us: found.back.map(us),
        more: found.more.map(u64::from),
        more_back_us: found.more_back.map(us),
        model: from,
        strategies: strategies(lowest),
    }))
}

/// A model of the server, fitted to the run in which it opened most.
fn fitted(args: &Args, busiest: &Busiest, place: &Path, limit: &LimitRow) -> anyhow::Result<Model> {
    let dir = place.join("fit");
    let manifest = manifest::of(console::command_line(), &busiest.plan);
    let folder = Folder::create(&dir)?;
    folder.write(&busiest.results, None, &busiest.plan.resolved, &busiest.verdict, &manifest)?;
    let dir = folder.finish()?;
    let fit = read::read(&dir).map_err(anyhow::Error::from).and_then(|loaded| Ok(calibrate::fit(&loaded)?));
    std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    let keys = fragment::overrides(&fragment::fragment(&fit?)).map_err(anyhow::Error::msg)?;
    let mut overrides = args.changes.overrides();
    overrides.set.extend(keys);
    let plan = console::load_changed(Some(&args.scenario), &overrides)?;
    let model = plan.simulated_as()?;
    let rate = f64::from(model.parallel) / model.handshake_cost.mean().as_secs_f64().max(1e-9);
    let most = limit.throughput_max_per_s.unwrap_or(0.0);
    anyhow::ensure!(
        rate < most * AGREES && most < rate * AGREES,
        "the server was not busy long enough to fit a model (the fit says {rate:.0} handshakes a second, but {most:.0} were observed)"
    );
    Ok(model)
}
