//! HTTP requests of simulated clients before an attempt: each has a connection of its own, to the instance that the attempt will go to or
//! to somebody else, and takes its server some time.

use super::row::{Asking, ClientState};
use super::server::Syn;
use super::{What, World, nanos};
use crate::dialogue::HttpRequest;
use crate::event::{ClientIndex, Event, Outcome, Stage};
use crate::plan::Target;
use std::time::Duration;

/// How a request ends, in the mark of its entry.
const LATE: u32 = 0;
/// Refused, or its connection ended.
pub(super) const ASKED_IN_VAIN: u32 = 1;
/// Its client is sent away by its stages.
const LEFT: u32 = 2;
/// Answered; from here on the mark also has the stops of the server when the answer was promised.
const ANSWERED: u32 = 3;
/// The status of an answer where the scenario names none.
const OK: u16 = 200;

impl World<'_> {
    fn requests(&self, client: u32) -> &[HttpRequest] {
        let cohort = &self.plan.cohorts[usize::from(self.rows[client as usize].cohort)];
        cohort.script.as_ref().map_or(&[], |script| &script.before)
    }

    /// An attempt begins: with its requests, if it has some.
    pub(super) fn dials(&mut self, client: u32) {
        if self.requests(client).is_empty() {
            self.turn_to(client, ClientState::Knocking);
            return self.on_syn(client);
        }
        self.ask(client, 0);
    }

    /// Whether requests before an attempt are under way.
    pub(super) fn is_asking(&self, client: u32) -> bool {
        self.asking.get(&client).is_some_and(|asking| asking.dialled.is_none())
    }

    /// When the attempt itself began, behind its requests.
    pub(super) fn dialled(&self, client: u32) -> Option<u64> {
        self.asking.get(&client)?.dialled
    }

    fn ask(&mut self, client: u32, request: usize) {
        let begun = self.now;
        let Some(asked) = self.requests(client).get(request) else {
            // Others follow it at once: it is an attempt like any.
            self.asking.insert(client, Asking { request, begun, dialled: Some(begun) });
            self.turn_to(client, ClientState::Knocking);
            return self.on_syn(client);
        };
        let own = if let Target::Url(remote) = &self.plan.target { Some(&*remote.address.authority) } else { None };
        let elsewhere = asked.elsewhere(own);
        self.asking.insert(client, Asking { request, begun, dialled: None });
        let Some(secure) = elsewhere else {
            self.turn_to(client, ClientState::Asking);
            return self.ask_syn(client);
        };
        self.turn_to(client, ClientState::Knocking);
        // TCP, TLS, and the request itself. Nobody else is known to ask there.
        let path = (0..2 + u64::from(secure)).fold(0_u64, |path, _| path.saturating_add(self.rtt()));
        let cost = self.kind.model.before_cost.as_ref().map_or(0, |cost| nanos(cost.draw(&mut self.path)));
        self.asked_at(client, begun.saturating_add(path).saturating_add(cost), ANSWERED);
    }

    /// A request ends so at `at`, unless its time or its client's presence is over before.
    fn asked_at(&mut self, client: u32, at: u64, mark: u32) {
        let Some(Asking { request, begun, .. }) = self.asking.get(&client).copied() else { return };
        let within = self.requests(client).get(request).map_or(u64::MAX, |asked| nanos(asked.within));
        let left = self.untils.get(&client).copied().unwrap_or(u64::MAX);
        let (until, late) = (begun.saturating_add(within), if left < begun.saturating_add(within) { LEFT } else { LATE });
        let until = until.min(left.max(self.now));
        if at < until { self.push_for(at, client, What::Asked, mark) } else { self.push_for(until, client, What::Asked, late) }
    }

    /// As [`World::on_syn`], of a request.
    pub(super) fn ask_syn(&mut self, client: u32) {
        let (now, who) = (self.now, self.who(client));
        let Some(Asking { begun, .. }) = self.asking.get(&client).copied() else { return };
        let place = usize::from(self.rows[client as usize].server);
        match self.knocks(place) {
            Syn::Dropped => {
                let grid = self.kind.model.syn_retries.grid_ms();
                let next = grid.iter().map(|ms| begun.saturating_add(ms * 1_000_000)).find(|at| *at > now);
                self.asked_at(client, u64::MAX, LATE);
                next.into_iter().for_each(|next| self.push_for(next, client, What::Syn, 0));
            }
            Syn::Refused => {
                let at = now.saturating_add(self.rtt());
                self.asked_at(client, at, ASKED_IN_VAIN);
            }
            Syn::Held => {
                self.servers[place].held.push(who);
                self.asked_at(client, u64::MAX, LATE);
            }
            Syn::Taken(looks) => {
                let tls = if self.kind.model.tls { self.rtt() } else { 0 };
                let arrives = looks.max(now.saturating_add(self.rtt()).saturating_add(tls).saturating_add(self.leg()));
                self.servers[place].will_ask(&self.kind, arrives);
                self.asked_at(client, u64::MAX, LATE);
                self.push_for(arrives, client, What::Request, 0);
            }
        }
    }

    /// A request is with its server.
    pub(super) fn ask_arrives(&mut self, client: u32) {
        let (now, who) = (self.now, self.who(client));
        let place = usize::from(self.rows[client as usize].server);
        let server = &mut self.servers[place];
        if server.is_frozen(now) || !server.full.is_empty() {
            return server.held.push(who);
        }
        match server.ask(&self.kind, now, who) {
            Some(at) => self.answers(client, at),
            None => self.take_next(place),
        }
    }

    /// The server answers a request at `at`.
    pub(super) fn answers(&mut self, client: u32, at: u64) {
        let stops = self.servers[usize::from(self.rows[client as usize].server)].stops.len() as u32;
        let at = at.saturating_add(self.leg());
        self.asked_at(client, at, ANSWERED + stops);
    }

    /// A request is over.
    pub(super) fn asked(&mut self, client: u32, mark: u32) {
        let Some(Asking { request, begun, .. }) = self.asking.get(&client).copied() else { return };
        if let (Some(stops), ClientState::Asking) = (mark.checked_sub(ANSWERED), self.rows[client as usize].state)
            && let Some(server) = self.servers.get(usize::from(self.rows[client as usize].server))
        {
            let (later, now_stops) = (server.stopped_since(stops), server.stops.len() as u32);
            if later > 0 {
                return self.asked_at(client, self.now.saturating_add(later), ANSWERED + now_stops);
            }
        }
        let status = self.requests(client).get(request).map(|asked| asked.status.unwrap_or(OK)).filter(|_| mark >= ANSWERED);
        if mark != LEFT {
            let took = Duration::from_nanos(self.now - begun);
            self.record(self.now, &Event::Requested { client: ClientIndex(client), took, status, late: mark == LATE });
        }
        let outcome = match mark {
            LATE => Outcome::TimedOut,
            ASKED_IN_VAIN => Outcome::Failed { why: "http request: the connection was refused or ended".to_owned() },
            LEFT => Outcome::Abandoned,
            _ => return self.ask(client, request + 1),
        };
        let failing = self.failing(Stage::Before, outcome, None);
        if mark == LEFT {
            self.attempt_failed(client, self.now, failing);
            return self.away(client);
        }
        self.fails(client, self.now, failing);
    }
}
