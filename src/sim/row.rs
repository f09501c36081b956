//! A client as a row: what its policy remembers, where it stands, and its random stream.

use crate::plan::{Phase, Plan};
use crate::reconnect::History;
use crate::seed::Stream;

/// Where a client stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ClientState {
    /// Not there yet, waiting, or gone for good.
    #[default]
    Away,
    /// An HTTP request of it is with the server, before its attempt.
    Asking,
    /// SYN sent, or an HTTP request before its attempt is with somebody else.
    Knocking,
    /// TCP connected, no answer to the opening handshake yet.
    Shaking,
    /// Open.
    Open,
    /// Open, with more to know about it than that: see `pair`.
    Troubled,
    /// Closing handshake under way.
    Closing,
}

impl ClientState {
    /// Whether there is an open connection, as its client knows.
    pub(super) fn is_open(self) -> bool {
        matches!(self, ClientState::Open | ClientState::Troubled | ClientState::Closing)
    }

    /// Whether a server has it, and it is not open.
    pub(super) fn is_with_server(self) -> bool {
        matches!(self, ClientState::Asking | ClientState::Shaking)
    }

    /// As a selector names it.
    pub(super) fn phase(self) -> Option<Phase> {
        match self {
            ClientState::Away => None,
            ClientState::Asking | ClientState::Knocking => Some(Phase::Tcp),
            ClientState::Shaking => Some(Phase::Upgrade),
            ClientState::Open | ClientState::Troubled => Some(Phase::Open),
            ClientState::Closing => Some(Phase::Closing),
        }
    }
}

/// What an attempt does before its connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    /// The HTTP request under way, by its number in `before`.
    pub(super) request: usize,
    /// When it began, ns.
    pub(super) begun: u64,
    /// When the last one was answered, and the attempt itself began, ns; `None`: not yet.
    pub(super) dialled: Option<u64>,
}

/// A client: two cache lines side by side, one of them shared with a neighbour. In arrays of their own, rows and streams would cost
/// one more look at the page tables for most entries of the queue.
#[derive(Clone, Debug)]
#[repr(C, align(32))]
pub(super) struct ClientRow {
    /// Attempts begun: the number of the one under way, and of its connection.
    pub(super) attempts: u32,
    /// TCP connect of the attempt under way, µs.
    pub(super) tcp_us: u32,
    /// Changes with every state: entries of the queue for an earlier one do not count.
    pub(super) turn: u16,
    pub(super) cohort: u16,
    pub(super) server: u16,
    pub(super) state: ClientState,
    /// The server will close the connection at once when it is open: how is in `turned_away` of the world.
    pub(super) turned_away: bool,
    pub(super) history: History,
    /// Its stream `client/<k>/reconnect`.
    pub(super) random: Stream,
}

/// A row for each client of the plan, before its arrival.
pub(super) fn rows(plan: &Plan) -> Vec<ClientRow> {
    let mut rows = Vec::with_capacity(plan.clients() as usize);
    for (cohort, of) in (0..).zip(&plan.cohorts) {
        for client in of.first..of.first + of.count {
            let mut random = plan.seed.numbered("client/", client, "/reconnect");
            let history = of.reconnect.start(&mut || random.unit());
            rows.push(ClientRow {
                attempts: 0,
                tcp_us: 0,
                turn: 0,
                cohort,
                server: 0,
                state: ClientState::Away,
                turned_away: false,
                history,
                random,
            });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_a_cache_line_and_a_half() {
        assert_eq!(size_of::<ClientRow>(), 96);
        assert_eq!(size_of::<super::super::Due>(), 8);
    }
}
