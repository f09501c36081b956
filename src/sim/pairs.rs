//! All connections that are more than a word of their client's row, by number.

use super::pair::{Pair, PairPhase, SERVER};
use std::collections::BTreeMap;

/// All of them, by number.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub(super) slots: Vec<Option<Box<Pair>>>,
    /// Entries of the queue for an earlier one do not count.
    pub(super) epochs: Vec<u16>,
    pub(super) free: Vec<u32>,
    /// Those whose client's session is not over, by client.
    pub(super) of: BTreeMap<u32, u32>,
    /// When the next pings are due of connections that have been here: client, connection, and each end's.
    pub(super) pings: BTreeMap<(u32, u32), [u64; 2]>,
}

impl Pairs {
    pub(super) fn put(&mut self, pair: Pair) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.epochs.push(0);
            self.slots.len() as u32 - 1
        });
        self.of.insert(pair.client, slot);
        self.slots[slot as usize] = Some(Box::new(pair));
        slot
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &Pair)> {
        (0..).zip(&self.slots).filter_map(|(slot, pair)| Some((slot, pair.as_deref()?)))
    }

    /// Numbers of those that a server process has, in the order in which they opened.
    pub(super) fn at(&self, server: u16) -> Vec<u32> {
        let live = |pair: &Pair| pair.server == server && pair.ends[SERVER].phase != PairPhase::Over;
        let mut slots: Vec<_> = self.all().filter(|(_, pair)| live(pair)).map(|(slot, pair)| (pair.opened_at, pair.client, slot)).collect();
        slots.sort_unstable();
        slots.into_iter().map(|(.., slot)| slot).collect()
    }

    /// Numbers of those whose server has given them up behind a dead path, and keeps the socket.
    pub(super) fn buried_at(&self, server: u16) -> Vec<u32> {
        self.all().filter(|(_, pair)| pair.server == server && pair.ends[SERVER].is_buried()).map(|(slot, _)| slot).collect()
    }

    /// The one of a client's session.
    pub(super) fn of(&self, client: u32) -> Option<u32> {
        self.of.get(&client).copied()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Pair> {
        self.slots.get(slot as usize)?.as_deref()
    }

    pub(super) fn drop(&mut self, slot: u32) {
        let Some(pair) = self.slots[slot as usize].take() else { return };
        if self.of.get(&pair.client) == Some(&slot) {
            self.of.remove(&pair.client);
        }
        self.free.push(slot);
    }
}
