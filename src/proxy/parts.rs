//! What a connection through the proxy is made of: both links and both directions, and what holds on them.

use crate::close::TcpEnd;
use crate::fault::{ConnectionEffects, End, Side};
use crate::proxy::account::EndedBy;
use crate::proxy::connection::{DirectionCounters, ProxiedConnection};
use crate::proxy::effects::RelayEffects;
use crate::proxy::faults::held::{HeldFaults, towards};
use crate::proxy::frame_stage::{FrameStage, StageRules};
use crate::proxy::frames::StreamSide;
use crate::proxy::half::RelayHalf;
use crate::seed::Seed;
use crate::transport::Transport;
use crate::transport::link::Link;
use crate::transport::memory::MemoryEnd;
use crate::ws::frame::Scanner;
use std::sync::Arc;

/// Both links and both directions.
pub(crate) struct RelayParts {
    /// To the client.
    pub(crate) near: Transport,
    /// To the upstream.
    pub(crate) far: Transport,
    pub(crate) up: RelayHalf,
    pub(crate) down: RelayHalf,
    pub(crate) connection: Arc<ProxiedConnection>,
    pub(crate) seed: Seed,
    /// What toxics ask for.
    pub(crate) toxics: Option<Box<RelayEffects>>,
    /// A path is dead for good: its links stay as they are.
    pub(crate) dead: bool,
    /// How a link ended that was let go while the other one is kept: to the client, and to the upstream.
    pub(crate) gone: [Option<(TcpEnd, Option<End>)>; 2],
}

/// How a connection is to end, or that it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RelayVerdict {
    GoesOn,
    /// Both sides get this end, which somebody began.
    Ends(End, EndedBy),
    /// A path is dead, and what is left of it is kept: nothing more passes.
    Dead,
    /// There is nothing left.
    Over,
}

impl RelayParts {
    /// Brings links and frames into the state that toxics and faults ask for.
    pub(crate) fn apply_gates(&mut self, held: Option<&HeldFaults>) {
        if self.dead {
            return;
        }
        let (seed, id) = (self.seed, self.connection.id);
        let gate = |side| held.map_or_else(ConnectionEffects::default, |held| held.gate(side));
        let toxic = |of: fn(&RelayEffects) -> ConnectionEffects| self.toxics.as_deref().map_or_else(ConnectionEffects::default, of);
        let near = toxic(|toxics| toxics.down.gate()).and(&gate(Side::Server));
        let far = toxic(|toxics| toxics.up.gate()).and(&gate(Side::Client));
        let random = |direction: &'static str| {
            move |lane: &str| match lane {
                "out" => seed.stream(&format!("proxy/{id}/{direction}")),
                lane => seed.stream(&format!("proxy/{id}/{direction}/{lane}")),
            }
        };
        self.far.link_mut().set_gate(&far, random("up"));
        self.near.link_mut().set_gate(&near, random("down"));
        for half in [&mut self.up, &mut self.down] {
            half.fin_again();
            let rules = held.map_or_else(StageRules::default, |held| held.rules(half.side));
            match &mut half.stage {
                Some(stage) => stage.change(rules),
                None if rules.is_empty() => {}
                None => make_stage(half, rules, seed, &self.connection),
            }
        }
    }

    /// These bytes of both directions passed before it was carried.
    pub(crate) fn passed(&mut self, up: &[u8], down: &[u8]) {
        let connection = &self.connection;
        for (half, bytes, counters) in [(&mut self.up, up, &connection.up), (&mut self.down, down, &connection.down)] {
            half.watch.follow(half.side, connection, bytes);
            DirectionCounters::add(&counters.passed_on, bytes.len() as u64);
        }
    }

    /// Who reset the connection, or is gone.
    pub(crate) fn broken_by(&self) -> EndedBy {
        if self.far.link().end() == TcpEnd::None { EndedBy::Client } else { EndedBy::Server }
    }

    /// Resets the link to `side` now, and leaves one in its place that has ended.
    pub(crate) fn let_go(&mut self, side: Side) {
        let (link, half) = match side {
            Side::Client => (&mut self.near, &mut self.down),
            Side::Server => (&mut self.far, &mut self.up),
        };
        half.note_first(link);
        link.link_mut().reset();
        self.gone[side as usize] = Some((link.link().end(), link.link().own_end()));
        *link = Transport::Plain(Link::new(MemoryEnd::pair().0));
    }

    /// How TCP ended with `side`: by it, and by the proxy.
    pub(crate) fn ends_of(&self, side: Side) -> (TcpEnd, Option<End>) {
        let link = if side == Side::Client { self.near.link() } else { self.far.link() };
        self.gone[side as usize].unwrap_or((link.end(), link.own_end()))
    }

    /// The direction towards whoever suffers from what `side` does.
    pub(crate) fn half(&mut self, side: Side) -> &mut RelayHalf {
        match towards(side) {
            StreamSide::Up => &mut self.up,
            StreamSide::Down => &mut self.down,
        }
    }

    /// The frames of that direction; `None`: it has none.
    pub(crate) fn frames(&mut self, side: Side) -> Option<&mut FrameStage> {
        let (seed, connection) = (self.seed, self.connection.clone());
        let half = self.half(side);
        if half.stage.is_none() {
            make_stage(half, StageRules { masks: side == Side::Client, ..StageRules::default() }, seed, &connection);
        }
        half.stage.as_deref_mut()
    }

    /// The link to whoever suffers from what `side` does.
    pub(crate) fn link(&mut self, side: Side) -> &mut Transport {
        match side {
            Side::Client => &mut self.far,
            Side::Server => &mut self.near,
        }
    }
}

fn make_stage(half: &mut RelayHalf, rules: StageRules, seed: Seed, connection: &ProxiedConnection) {
    // What was read with the end of the head has been counted, and is still to come.
    let Some(at) = half.watch.scanner().map(|at| if half.unstaged.is_empty() { at } else { Scanner::default() }) else { return };
    let (direction, counters) = if half.side == StreamSide::Up { ("up", &connection.up) } else { ("down", &connection.down) };
    let mut stage = FrameStage::new(rules, at, seed.stream(&format!("proxy/{}/frames/{direction}", connection.id)));
    if counters.close_code().is_some() && half.unstaged.is_empty() {
        stage.set_closed();
    }
    half.stage = Some(Box::new(stage));
}
