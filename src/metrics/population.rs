//! The clients of one process: a row for each, from its arrival on. What it costs follows from those that came, and not from the plan.
//!
//! A client is known by its number in the plan, [`ClientIndex`]; its place here is a [`LocalRow`], which [`Shard`] tells. Clients that no plan
//! has foreseen have the numbers that follow it, and belong to its last cohort.

use crate::event::ClientIndex;
use crate::plan::{LocalRow, Shard};
use prefetch_index::prefetch_index;
use std::ops::{Index, IndexMut};

/// The clients of this process that have arrived, with what is kept of each.
#[derive(Debug)]
pub(super) struct Population<C> {
    shard: Shard,
    /// Of each cohort, the number that follows its last client.
    ends: Vec<u32>,
    /// Clients with this number and above are not admitted.
    limit: u32,
    /// What is kept of a client of this cohort when it arrives.
    arriving: fn(u16) -> C,
    rows: Vec<C>,
}

impl<C> Population<C> {
    /// Nobody yet, of cohorts with so many planned clients; those of `shard` are ours. `arriving`: what is kept of one of this cohort at first.
    pub(super) fn new(shard: Shard, planned: impl Iterator<Item = u64>, arriving: fn(u16) -> C) -> Population<C> {
        let ends = planned.scan(0, |end, count| {
            *end += count as u32;
            Some(*end)
        });
        let ends: Vec<_> = ends.collect();
        Population { shard, limit: ends.last().copied().unwrap_or(0), ends, arriving, rows: Vec::new() }
    }

    /// Whose clients they are.
    #[inline(always)]
    pub(super) fn shard(&self) -> Shard {
        self.shard
    }

    /// Clients in all processes together, planned and not, that are admitted at most.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// Admits clients beyond those of the plan, up to `limit` in all processes together.
    pub(super) fn open_to(&mut self, limit: u32) {
        self.limit = self.limit.max(limit);
    }

    /// Whether a client has a row; one that is ours and within the limit gets it now.
    #[inline(always)]
    pub(super) fn admits(&mut self, client: ClientIndex) -> bool {
        self.shard.owns(client.0) && (self.shard.row(client).index() < self.rows.len() || self.arrive(client))
    }

    #[cold]
    fn arrive(&mut self, client: ClientIndex) -> bool {
        if client.0 >= self.limit {
            return false;
        }
        if self.rows.is_empty() {
            // Memory that is reserved and not written to is not used yet.
            self.rows.reserve_exact(self.shard.count(self.ends.last().copied().unwrap_or(0)) as usize);
        }
        // Those in between have not arrived yet; whoever has a lower number mostly comes earlier.
        for row in self.rows.len()..=self.shard.row(client).index() {
            let client = self.shard.client(LocalRow(row as u32));
            let cohort = self.ends.partition_point(|end| *end <= client.0).min(self.ends.len().saturating_sub(1));
            self.rows.push((self.arriving)(cohort as u16));
        }
        true
    }

    /// Has the row of a client fetched from memory.
    #[inline(always)]
    pub(super) fn fetch(&self, client: ClientIndex) {
        prefetch_index(&self.rows, self.shard.row(client).index());
    }

    /// Rows so far.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// All rows, in the order of client numbers.
    pub(super) fn each(&self) -> impl Iterator<Item = (LocalRow, &C)> {
        (0..).map(LocalRow).zip(&self.rows)
    }

    /// The same, taken out.
    pub(super) fn into_each(self) -> impl Iterator<Item = (ClientIndex, C)> {
        (0..).map(move |row| self.shard.client(LocalRow(row))).zip(self.rows)
    }
}

impl<C> Index<LocalRow> for Population<C> {
    type Output = C;

    #[inline(always)]
    fn index(&self, row: LocalRow) -> &C {
        &self.rows[row.index()]
    }
}

impl<C> IndexMut<LocalRow> for Population<C> {
    #[inline(always)]
    fn index_mut(&mut self, row: LocalRow) -> &mut C {
        &mut self.rows[row.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_rows_for_its_own_clients_from_their_arrival_on() {
        const PLANNED: u32 = 100_000;
        for index in 0..8 {
            let shard = Shard { index, of: 8 };
            let mut population = Population::new(shard, [60_000, 40_000].into_iter(), |cohort| cohort);
            assert_eq!((population.len(), size_of_val(&population.rows[..])), (0, 0), "nobody has arrived");
            assert!(!population.admits(ClientIndex(index + 1)), "one of another process");
            for (before, client) in shard.clients(PLANNED).map(ClientIndex).enumerate() {
                assert!(population.admits(client) && population.admits(client));
                assert_eq!(population.len(), before + 1, "a row for each that arrives");
            }
            assert_eq!((population.len(), population.rows.capacity()), (12_500, 12_500));
            // Each knows its cohort and its number.
            for (row, cohort) in population.each() {
                assert_eq!(*cohort, u16::from(shard.client(row).0 >= 60_000));
            }
            let next = ClientIndex(PLANNED + index);
            assert!(!population.admits(next), "the plan has no such client");
            // 16 more in all, two of them here.
            population.open_to(PLANNED + 16);
            assert!(population.admits(next) && population.admits(ClientIndex(next.0 + 8)));
            assert_eq!(population.len(), 12_502);
            assert_eq!(population[shard.row(next)], 1, "the last one");
            assert!(!population.admits(ClientIndex(next.0 + 16)), "beyond the limit");
            assert_eq!(population.len(), 12_502);
        }
    }

    #[test]
    fn a_plan_without_clients_is_open_too() {
        let mut population = Population::new(Shard::WHOLE, [0].into_iter(), |_| ());
        population.open_to(2);
        assert_eq!([0, 1, 2, u32::MAX].map(|client| population.admits(ClientIndex(client))), [true, true, false, false]);
        assert_eq!((population.len(), population.limit()), (2, 2));
    }
}
