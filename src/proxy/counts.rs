//! The live summary of all proxies: a fold of their events, bounded however long it runs.
//!
//! Clients are told apart where the user says by what. Then it also counts how soon they come back: a client is away from the end of its last
//! open connection to the next that opens, and waits from the end of one connection, or try, to the beginning of the next. One that closed as one
//! that leaves is not told to be away, but may come back all the same, as a client does that closes with 1000 where it hears nothing.

use crate::close::name;
use crate::metrics::latency::{Latency, micros};
use crate::proxy::account::{ConnectionAccount, EndedBy};
use crate::proxy::event::ProxyEvent;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

/// Clients that are told apart at most.
pub(crate) const CLIENTS_MAX: usize = 100_000;

/// All that was counted.
#[derive(Debug, Default)]
pub(crate) struct ProxyCounts {
    pub(crate) accepted: u64,
    /// Over.
    pub(crate) ended: u64,
    /// Opening handshakes by the status of their answer.
    pub(crate) answers: BTreeMap<u16, u64>,
    /// Connections whose upstream could not be connected.
    pub(crate) not_dialled: u64,
    /// Connections that were reset because of a limit of this machine.
    pub(crate) refused: u64,
    /// TLS handshakes with clients that failed.
    pub(crate) not_secured: u64,
    /// By who ended them and how.
    pub(crate) endings: BTreeMap<(EndedBy, &'static str), u64>,
    /// Connections by the code of the first Close frame from the client, and of that from the server.
    pub(crate) closes: [BTreeMap<u16, u64>; 2],
    clients: KnownClients,
}

/// Clients that are told apart.
#[derive(Debug, Default)]
struct KnownClients {
    by_label: BTreeMap<Arc<str>, KnownClient>,
    /// Opening handshakes without what tells clients apart.
    unknown: u64,
    /// Opening handshakes of clients beyond the limit.
    beyond: u64,
    waits: Latency,
    reconnects: Latency,
}

#[derive(Debug, Default)]
struct KnownClient {
    open: u32,
    /// End of the last connection or try.
    idle_since: Option<Instant>,
    /// Since when it has no open connection after it had one.
    away_since: Option<Instant>,
    /// It closed as one that leaves.
    has_left: bool,
}

impl ProxyCounts {
    /// Counts an event that happens now. Whether this is the first client that is one too many.
    pub(crate) fn on(&mut self, event: &ProxyEvent, now: Instant) -> bool {
        match event {
            ProxyEvent::Connected { .. } => self.accepted += 1,
            ProxyEvent::Answered { client, status, took, .. } => {
                *self.answers.entry(*status).or_default() += 1;
                return self.clients.answered(client.as_ref(), *status, now.checked_sub(*took).unwrap_or(now), now);
            }
            ProxyEvent::Ended(account) => {
                self.ended += 1;
                *self.endings.entry((account.by, account.how())).or_default() += 1;
                for (codes, side) in self.closes.iter_mut().zip([&account.near, &account.far]) {
                    side.close.iter().for_each(|close| *codes.entry(close.code).or_default() += 1);
                }
                self.clients.ended(account, now);
            }
            ProxyEvent::NotDialled { .. } => self.not_dialled += 1,
            ProxyEvent::Refused { .. } => self.refused += 1,
            ProxyEvent::ClientNotSecured { .. } => self.not_secured += 1,
            _ => {}
        }
        false
    }

    /// As the control API shows it; `identified_by`: what tells clients apart.
    pub(crate) fn json(&self, identified_by: Option<String>) -> Value {
        let codes = |codes: &BTreeMap<u16, u64>| -> Value {
            codes
                .iter()
                .map(|(code, count)| (code.to_string(), json!({ "count": count, "name": name(*code) })))
                .collect::<Map<_, _>>()
                .into()
        };
        let statuses: Map<String, Value> = self.answers.iter().map(|(status, count)| (status.to_string(), (*count).into())).collect();
        let endings = self.endings.iter().map(|((by, how), count)| json!({ "by": by.to_string(), "how": how, "count": count }));
        json!({
            "connections": {
                "accepted": self.accepted,
                "open": self.accepted.saturating_sub(self.ended),
                "ended": self.ended,
                "not_dialled": self.not_dialled,
                "refused": self.refused,
                "tls_failed": self.not_secured,
            },
            "handshakes": statuses,
            "endings": endings.collect::<Vec<_>>(),
            "closes": { "from_client": codes(&self.closes[0]), "from_server": codes(&self.closes[1]) },
            "clients": identified_by.map(|by| self.clients.json(&by)),
        })
    }
}

impl KnownClients {
    fn answered(&mut self, label: Option<&Arc<str>>, status: u16, began: Instant, now: Instant) -> bool {
        let Some(label) = label else {
            self.unknown += 1;
            return false;
        };
        let room = self.by_label.len() < CLIENTS_MAX;
        let client = match self.by_label.get_mut(label) {
            Some(client) => client,
            None if room => self.by_label.entry(label.clone()).or_default(),
            None => {
                self.beyond += 1;
                return self.beyond == 1;
            }
        };
        // A try that began before the end of what was before it waited for nothing.
        if let Some(wait) = client.idle_since.take().filter(|_| client.open == 0).and_then(|since| began.checked_duration_since(since)) {
            self.waits.record(micros(wait));
        }
        if status == 101 {
            client.open += 1;
            if let Some(since) = client.away_since.take() {
                self.reconnects.record(micros(now.saturating_duration_since(since)));
            }
        }
        false
    }

    fn ended(&mut self, account: &ConnectionAccount, now: Instant) {
        let Some(client) = account.client.as_ref().and_then(|label| self.by_label.get_mut(label)) else { return };
        client.open = client.open.saturating_sub(u32::from(account.opened_after.is_some()));
        if client.open == 0 {
            client.idle_since = Some(now);
            if account.opened_after.is_some() {
                client.away_since = Some(now);
                client.has_left = account.client_leaves();
            }
        }
    }

    fn json(&self, by: &str) -> Value {
        json!({
            "identified_by": by,
            "known": self.by_label.len(),
            "open": self.by_label.values().filter(|client| client.open > 0).count(),
            "away": self.by_label.values().filter(|client| client.away_since.is_some() && !client.has_left).count(),
            "connections_without": self.unknown,
            "connections_beyond_limit": self.beyond,
            "wait_us": self.waits.times(),
            "reconnect_us": self.reconnects.times(),
        })
    }
}
