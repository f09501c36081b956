//! Hits that faults have left: `first_n` over all firings of a fault, `count` and `percent` within each. Pure; the engine and the simulator
//! both ask it.

use super::{Fault, Firing, Pick, Shard};
use crate::seed::{Seed, Stream};
use std::collections::BTreeMap;

/// Hits that faults have left.
#[derive(Clone, Debug)]
pub struct Budget {
    /// By fault, in the order of the plan.
    faults: Vec<Left>,
    seed: Seed,
    shard: Shard,
}

#[derive(Clone, Debug)]
struct Left {
    pick: Pick,
    /// Of `first_n`; `None`: no bound.
    hits: Option<u64>,
    /// Name of the random streams of firings.
    stream: String,
    /// Those that have begun.
    firings: BTreeMap<u32, Begun>,
}

/// A firing that has begun.
#[derive(Clone, Debug)]
struct Begun {
    /// Of `count`; `None`: no bound.
    count: Option<u64>,
    /// Connections and attempts that could be hit so far, and those that were.
    seen: u64,
    hit: u64,
    /// The next hit comes when the share of those seen is above `hit` by more than this, in 0..1.
    next: f64,
    /// Where a share is rounded up among those that come one by one, and which of several parts have how many of those that are there.
    random: Stream,
}

impl Budget {
    /// Of a plan before its first firing. A shard that cannot ask the others has fixed quotas, which add up to the whole.
    pub fn new(faults: &[Fault], seed: Seed, shard: Shard) -> Budget {
        let left = |fault: &Fault| Left {
            pick: fault.select.pick,
            hits: fault.schedule.first_n.map(|hits| shard.quota(hits, 0)),
            stream: shard.stream(&format!("fault/{}/hits", fault.name)),
            firings: BTreeMap::new(),
        };
        Budget { faults: faults.iter().map(left).collect(), seed, shard }
    }

    fn of(&mut self, fault: u16) -> &mut Left {
        &mut self.faults[usize::from(fault)]
    }

    /// A firing begins, unless its fault has used up its hits. Whether it does, or has begun already.
    pub fn begin(&mut self, firing: Firing) -> bool {
        let (shard, seed) = (self.shard, self.seed);
        let left = self.of(firing.fault);
        if left.firings.contains_key(&firing.number) {
            return true;
        }
        let count = if let Pick::Count(count) = left.pick { Some(shard.quota(count.into(), firing.number.into())) } else { None };
        let begins = left.hits != Some(0);
        if begins {
            let mut random = seed.stream(&format!("{}/{}", left.stream, firing.number));
            let next = random.unit();
            left.firings.insert(firing.number, Begun { count, seen: 0, hit: 0, next, random });
        }
        begins
    }

    /// Whether a fault may hit nobody any more.
    pub(crate) fn is_used_up(&self, fault: u16) -> bool {
        self.faults[usize::from(fault)].hits == Some(0)
    }

    /// A firing is over: it hits nobody any more.
    pub fn end(&mut self, firing: Firing) {
        self.of(firing.fault).firings.remove(&firing.number);
    }

    /// How many a firing may still hit; `None`: no bound. None where it has not begun or is over.
    pub fn left(&self, firing: Firing) -> Option<u64> {
        let left = &self.faults[usize::from(firing.fault)];
        let Some(begun) = left.firings.get(&firing.number) else { return Some(0) };
        [left.hits, begun.count].into_iter().flatten().min()
    }

    /// How many of those that are `eligible` now a firing hits; they are taken.
    pub fn draw(&mut self, firing: Firing, eligible: u64) -> u64 {
        let (shard, most) = (self.shard, self.left(firing));
        let left = self.of(firing.fault);
        let wanted = match left.pick {
            Pick::Share(share) => shard.portion(share, usize::try_from(eligible).unwrap_or(usize::MAX)) as u64,
            Pick::All | Pick::Count(_) | Pick::Nth(_) => eligible,
        };
        let hits = most.map_or(wanted, |most| wanted.min(most)).min(eligible);
        if let Some(begun) = left.firings.get_mut(&firing.number) {
            begun.seen += eligible;
        }
        self.take(firing, hits);
        hits
    }

    /// As [`Budget::draw`] where those that are eligible are in several parts: how many each part hits, as if they were drawn from all.
    pub fn draw_from(&mut self, firing: Firing, parts: &[u64]) -> Vec<u64> {
        let (mut rest, mut hits) = (parts.iter().sum::<u64>(), 0);
        let mut wanted = self.draw(firing, rest);
        // One that is over has nothing left to divide.
        let Some(begun) = self.of(firing.fault).firings.get_mut(&firing.number) else { return vec![0; parts.len()] };
        let mut one_part = |part: &u64| {
            hits = 0;
            for _ in 0..*part {
                // Selection sampling over all; see `draw_exactly`.
                let taken = wanted > 0 && (wanted == rest || begun.random.below(rest) < wanted);
                rest -= 1;
                wanted -= u64::from(taken);
                hits += u64::from(taken);
            }
            hits
        };
        parts.iter().map(&mut one_part).collect()
    }

    /// Hits that were taken and not carried out: who was to be hit was gone.
    pub fn give_back(&mut self, firing: Firing, hits: u64) {
        let left = self.of(firing.fault);
        left.hits = left.hits.map(|left| left + hits);
        if let Some(begun) = left.firings.get_mut(&firing.number) {
            begun.count = begun.count.map(|count| count + hits);
            begun.hit = begun.hit.saturating_sub(hits);
        }
    }

    fn take(&mut self, firing: Firing, hits: u64) {
        let left = self.of(firing.fault);
        left.hits = left.hits.map(|left| left.saturating_sub(hits));
        if let Some(begun) = left.firings.get_mut(&firing.number) {
            begun.count = begun.count.map(|count| count.saturating_sub(hits));
            begun.hit += hits;
        }
    }

    /// One more connection or attempt could be hit by a firing. Whether it is: after each, the hits of a share are that share of all that came
    /// so far, rounded up or down, in places that nobody foresees.
    pub fn take_one(&mut self, firing: Firing) -> bool {
        if self.left(firing) == Some(0) {
            return false;
        }
        let left = self.of(firing.fault);
        if let (Pick::Share(share), Some(begun)) = (left.pick, left.firings.get_mut(&firing.number)) {
            begun.seen += 1;
            if begun.seen as f64 * share <= begun.hit as f64 + begun.next {
                return false;
            }
            begun.next = begun.random.unit();
        }
        self.take(firing, 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Overrides, Source, load};

    fn budget(fault: &str, shard: Shard) -> Budget {
        let set = vec![format!("faults=[{{at=\"1s\",every=\"1s\",inject={{drop_rst={{}}}},{fault}}}]")];
        let plan = load(&Source::Bundled("default".to_owned()), &Overrides { set, ..Overrides::default() });
        Budget::new(&plan.unwrap_or_else(|errors| panic!("{errors}")).faults, Seed(7), shard)
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
            ("select={percent=\"50%\"}", [2, 2, 2]),
            ("select={percent=\"100%\"}", [4, 4, 4]),
            ("select={percent=\"50%\"},first_n=3", [2, 1, 0]),
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

    #[test]
    fn a_share_of_those_that_come_one_by_one_is_exact_at_every_moment() {
        for percent in [0, 1, 7, 30, 50, 85, 99, 100] {
            let mut budget = budget(&format!("select={{percent=\"{percent}%\"}}"), Shard::WHOLE);
            let firing = Firing { fault: 0, number: 0 };
            budget.begin(firing);
            let at_once = budget.draw(firing, 200);
            assert_eq!(at_once, percent * 2);
            let (mut hits, mut places) = (0, Vec::new());
            for seen in 1..=1000_u64 {
                if budget.take_one(firing) {
                    hits += 1;
                    places.push(seen);
                }
                let exact = seen as f64 * percent as f64 / 100.0;
                assert!((hits as f64 - exact).abs() < 1.0 + 1e-9, "{percent} %: {hits} of {seen}");
            }
            let gaps: std::collections::BTreeSet<_> = places.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(gaps.len() > 1 || [0, 100].contains(&percent), "{percent} %: every n-th is no random share");
        }
    }

    #[test]
    fn parts_of_a_firing_hit_together_what_one_would() {
        for (fault, parts, expected) in [
            ("select={count=10}", [3, 40, 0], 10),
            ("select={count=10}", [3, 4, 0], 7), // no more than there are
            ("select={percent=\"25%\"}", [10, 10, 21], 10),
            ("select={percent=\"50%\"},first_n=5", [40, 0, 1], 5),
            ("first_n=5", [2, 2, 2], 5),
            ("select={nth=10}", [4, 5, 6], 15), // of which only the n-th are eligible
        ] {
            let mut budget = budget(fault, Shard::WHOLE);
            let firing = Firing { fault: 0, number: 0 };
            budget.begin(firing);
            let hits = budget.draw_from(firing, &parts);
            assert_eq!(hits.iter().sum::<u64>(), expected, "{fault}: {hits:?}");
            assert!(hits.iter().zip(parts).all(|(hits, part)| *hits <= part), "{fault}: {hits:?}");
        }
    }

    #[test]
    fn every_part_has_the_share_of_its_connections() {
        let mut budget = budget("select={count=10}", Shard::WHOLE);
        let mut sums = [0; 3];
        for number in 0..2_000 {
            let firing = Firing { fault: 0, number };
            budget.begin(firing);
            budget.draw_from(firing, &[10, 30, 60]).iter().zip(&mut sums).for_each(|(hits, sum)| *sum += hits);
        }
        assert!((1_850..2_150).contains(&sums[0]) && (11_700..12_300).contains(&sums[2]), "{sums:?}");
    }

    #[test]
    fn hits_that_were_not_carried_out_are_left() {
        let mut budget = budget("select={count=3},first_n=4", Shard::WHOLE);
        let firing = Firing { fault: 0, number: 0 };
        assert!(budget.begin(firing));
        assert_eq!(budget.draw(firing, 9), 3);
        budget.give_back(firing, 2);
        assert!(budget.take_one(firing) && budget.take_one(firing) && !budget.take_one(firing));
    }
}
