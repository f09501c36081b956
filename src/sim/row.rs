//! A client as a row: what its policy remembers, and where it stands; and its random stream, which fewer entries of the queue need.

use crate::plan::{Phase, Plan};
use crate::reconnect::History;
use crate::seed::Stream;

/// Where a client stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// Not there yet, waiting, or gone for good.
    #[default]
    Away,
    /// SYN sent.
    Knocking,
    /// TCP connected, no answer to the opening handshake yet.
    Shaking,
    /// Open.
    Open,
    /// Open, and nothing arrives any more: a dead path.
    Dead,
    /// Open, and the peer stands still.
    Stalled,
    /// Closing handshake under way.
    Closing,
}

impl State {
    /// Whether there is an open connection, as its client knows.
    pub(super) fn is_open(self) -> bool {
        matches!(self, State::Open | State::Dead | State::Stalled | State::Closing)
    }

    /// As a selector names it.
    pub(super) fn phase(self) -> Option<Phase> {
        match self {
            State::Away => None,
            State::Knocking => Some(Phase::Tcp),
            State::Shaking => Some(Phase::Upgrade),
            State::Open | State::Dead | State::Stalled => Some(Phase::Open),
            State::Closing => Some(Phase::Closing),
        }
    }
}

/// A client: one cache line.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Row {
    pub(super) history: History,
    /// Attempts begun: the number of the one under way, and of its connection.
    pub(super) attempts: u32,
    /// TCP connect of the attempt under way, µs.
    pub(super) tcp_us: u32,
    /// Changes with every state: entries of the queue for an earlier one do not count.
    pub(super) turn: u16,
    pub(super) cohort: u16,
    pub(super) server: u16,
    pub(super) state: State,
    /// A fault that acted on the connection, plus one; 0 for none.
    pub(super) fault: u8,
}

/// A row for each client of the plan, before its arrival, and its stream `client/<k>/reconnect`.
pub(super) fn rows(plan: &Plan) -> (Vec<Row>, Vec<Stream>) {
    let clients = plan.clients() as usize;
    let (mut rows, mut streams) = (Vec::with_capacity(clients), Vec::with_capacity(clients));
    for (cohort, of) in (0..).zip(&plan.cohorts) {
        for client in of.first..of.first + of.count {
            let mut random = plan.seed.numbered("client/", client, "/reconnect");
            let history = of.reconnect.start(&mut || random.unit());
            rows.push(Row { history, attempts: 0, tcp_us: 0, turn: 0, cohort, server: 0, state: State::Away, fault: 0 });
            streams.push(random);
        }
    }
    (rows, streams)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_one_cache_line_and_half_of_one_for_its_draws() {
        assert_eq!((size_of::<Row>(), size_of::<Stream>()), (64, 32));
        assert_eq!(size_of::<super::super::Due>(), 8);
    }
}
