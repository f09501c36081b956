//! Requests of clients that gave up while they waited in a listen queue, or while a fault held their answer back. A server that does not look
//! works for them all the same.

use super::server::{RequestFate, Who};
use super::{Due, What, World, nanos};
use crate::fault::{OnAttempt, Shedding};
use crate::plan::Gone;
use std::time::Duration;

impl World<'_> {
    /// The server goes on with this request at `at`, whatever its client does meanwhile.
    pub(super) fn go_on_at(&mut self, at: u64, server: u16, who: Who) {
        let (client, turn) = (self.leavers.keep(server, who), self.processes[usize::from(server)]);
        self.push(at, Due { client, turn, what: What::Late, mark: 0 });
    }

    /// It goes on; `place` is among `leavers`.
    pub(super) fn late(&mut self, place: u32, process: u16) {
        let Some((server, who)) = self.leavers.take(place) else { return };
        if self.processes.get(usize::from(server)) != Some(&process) {
            return;
        }
        let there = self.rows[who.client as usize].turn == who.turn;
        let stands = &self.servers[usize::from(server)];
        if stands.is_frozen(self.now) {
            // Its timers wait until it goes on.
            let (goes_on, until) = (stands.frozen_until, self.upgrade_until(who.client));
            if there && goes_on >= until {
                self.push_for(until, who.client, What::Deadline, 0);
            }
            return self.go_on_at(goes_on, server, who);
        }
        if there {
            return self.serve(who.client, self.upgrade_until(who.client));
        }
        self.serve_gone(server, who);
    }

    /// A request comes out of the listen queue whose client is gone.
    pub(super) fn request_gone(&mut self, server: u16, who: Who) {
        if self.kind.model.gone == Gone::Skipped {
            return;
        }
        let delay = match self.taken(who) {
            None => Duration::ZERO,
            Some((_, OnAttempt::Answer(answer), mut random)) => answer.delay + answer.jitter.mul_f64(random.unit()),
            Some((_, OnAttempt::Shed { delay, share, by }, mut random)) => {
                if random.unit() < share && matches!(by, Shedding::Status(_)) {
                    return;
                }
                delay
            }
            Some(_) => return,
        };
        if delay.is_zero() { self.serve_gone(server, who) } else { self.go_on_at(self.now.saturating_add(nanos(delay)), server, who) }
    }

    /// The server has reset all that waited for an answer.
    pub(super) fn forget_gone(&mut self, server: u16) {
        for who in self.leavers.forget(server) {
            self.servers[usize::from(server)].vacate(who);
        }
    }

    fn serve_gone(&mut self, place: u16, who: Who) {
        let server = &mut self.servers[usize::from(place)];
        if self.kind.model.gone == Gone::Skipped {
            return;
        }
        match server.request(&self.kind, self.now, who) {
            RequestFate::Done(_) | RequestFate::Ended(_) => self.vacate_later(place, who),
            RequestFate::Waits => self.take_next(usize::from(place)),
            RequestFate::Refused(_) => {}
        }
    }

    /// The client of an attempt is gone: its seat is free when its server is done with it.
    pub(super) fn vacate_later(&mut self, place: u16, who: Who) {
        let Some(until) = self.servers.get_mut(usize::from(place)).and_then(|server| server.abandoned(who, self.now)) else { return };
        let (client, turn) = (self.leavers.keep(place, who), self.processes[usize::from(place)]);
        self.push(until, Due { client, turn, what: What::Vacate, mark: 0 });
    }
}
