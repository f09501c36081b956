//! Hits that faults have left: `first_n` over all firings of a fault, `count` within each. Pure; the engine and the simulator both ask it.

use super::{Fault, Firing, Pick, Shard};
use std::collections::BTreeMap;

/// Hits that faults have left.
#[derive(Clone, Debug)]
pub struct Budget {
    /// By fault, in the order of the plan.
    faults: Vec<Left>,
    shard: Shard,
}

#[derive(Clone, Debug)]
struct Left {
    pick: Pick,
    /// Of `first_n`; `None`: no bound.
    hits: Option<u64>,
    /// Of each firing that has begun; `None`: no bound.
    firings: BTreeMap<u32, Option<u64>>,
}

impl Budget {
    /// Of a plan before its first firing. A shard has fixed quotas, which add up to the whole.
    pub fn new(faults: &[Fault], shard: Shard) -> Budget {
        let left = |fault: &Fault| Left {
            pick: fault.select.pick,
            hits: fault.schedule.first_n.map(|hits| shard.quota(hits, 0)),
            firings: BTreeMap::new(),
        };
        Budget { faults: faults.iter().map(left).collect(), shard }
    }

    fn of(&mut self, fault: u16) -> &mut Left {
        &mut self.faults[usize::from(fault)]
    }

    /// A firing begins, unless its fault has used up its hits. Whether it does.
    pub fn begin(&mut self, firing: Firing) -> bool {
        let shard = self.shard;
        let left = self.of(firing.fault);
        let count = if let Pick::Count(count) = left.pick { Some(shard.quota(count.into(), firing.number.into())) } else { None };
        let begins = left.hits != Some(0);
        if begins {
            left.firings.insert(firing.number, count);
        }
        begins
    }

    /// A firing is over: it hits nobody any more.
    pub fn end(&mut self, firing: Firing) {
        self.of(firing.fault).firings.remove(&firing.number);
    }

    /// How many a firing may still hit; `None`: no bound. None where it has not begun or is over.
    pub fn left(&self, firing: Firing) -> Option<u64> {
        let left = &self.faults[usize::from(firing.fault)];
        let Some(count) = left.firings.get(&firing.number) else { return Some(0) };
        [left.hits, *count].into_iter().flatten().min()
    }

    /// A firing hits so many, which must be left.
    pub fn take(&mut self, firing: Firing, hits: u64) {
        let left = self.of(firing.fault);
        left.hits = left.hits.map(|left| left.saturating_sub(hits));
        if let Some(Some(count)) = left.firings.get_mut(&firing.number) {
            *count = count.saturating_sub(hits);
        }
    }

    /// A firing hits one more, if it may. Whether it does.
    pub fn take_one(&mut self, firing: Firing) -> bool {
        let may = self.left(firing) != Some(0);
        if may {
            self.take(firing, 1);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Overrides, Source, load};

    fn budget(fault: &str, shard: Shard) -> Budget {
        let set = vec![format!("faults=[{{at=\"1s\",every=\"1s\",inject={{drop_rst={{}}}},{fault}}}]")];
        let plan = load(&Source::Bundled("default".to_owned()), &Overrides { set, ..Overrides::default() });
        Budget::new(&plan.unwrap_or_else(|errors| panic!("{errors}")).faults, shard)
    }

    /// Hits of each of three firings that are asked for four each, one after the other.
    fn hits(budget: &mut Budget) -> Vec<usize> {
        let firing = |number| Firing { fault: 0, number };
        (0..3)
            .map(|number| {
                budget.begin(firing(number));
                (0..4).filter(|_| budget.take_one(firing(number))).count()
            })
            .collect()
    }

    #[test]
    fn first_n_bounds_the_fault_and_count_each_firing() {
        for (fault, expected) in [
            ("select={percent=\"50%\"}", [4, 4, 4]),
            ("first_n=5", [4, 1, 0]),
            ("select={count=3}", [3, 3, 3]),
            ("select={count=3},first_n=5", [3, 2, 0]),
        ] {
            assert_eq!(hits(&mut budget(fault, Shard::WHOLE)), expected, "{fault}");
        }
    }

    #[test]
    fn shards_have_quotas_that_add_up() {
        let total: usize = (0..3).map(|index| hits(&mut budget("first_n=5", Shard { index, of: 3 })).iter().sum::<usize>()).sum();
        assert_eq!(total, 5);
    }

    #[test]
    fn a_firing_that_is_over_or_spent_hits_nobody() {
        let mut budget = budget("first_n=1", Shard::WHOLE);
        let (first, second) = (Firing { fault: 0, number: 0 }, Firing { fault: 0, number: 1 });
        assert!(!budget.take_one(first), "not begun");
        assert!(budget.begin(first) && budget.begin(second) && budget.take_one(second));
        assert!(!budget.take_one(first) && !budget.begin(Firing { fault: 0, number: 2 }));
        budget.end(second);
        assert_eq!(budget.left(second), Some(0));
    }
}
