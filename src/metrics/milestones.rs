//! Events of the run from several parts: a firing is one event, whichever parts carried it out.

use super::sample::Sample;
use crate::event::Event;
use std::collections::{BTreeMap, BTreeSet};

/// An event that is kept: offset in µs, number of the event in the run, event.
pub type SampledEvent = (u64, u64, Event);

/// Adds the events of another part. A firing of a fault, and its revert, are the same in all parts: the earliest tells when, and what they
/// selected is added; a firing on several servers is one of each. Events of one part alone, as of the target, stand for themselves.
pub(super) fn add(sum: &mut Sample<SampledEvent>, part: &Sample<SampledEvent>) {
    if !(sum.is_complete() && part.is_complete()) {
        return sum.add(part);
    }
    let mut places: BTreeMap<(u16, u32, Common), Vec<usize>> = BTreeMap::new();
    for (place, (_, _, event)) in sum.kept().iter().enumerate() {
        if let Some(which) = common(event) {
            places.entry(which).or_default().push(place);
        }
    }
    let mut turns: BTreeMap<(u16, u32, Common), usize> = BTreeMap::new();
    let mine = sum.kept_mut();
    let rest = part.without(|(at, _, event)| {
        let Some(which) = common(event) else { return false };
        let turn = turns.entry(which).or_default();
        let place = places.get(&which).and_then(|places| places.get(*turn));
        *turn += 1;
        let Some((mine_at, _, mine)) = place.and_then(|place| mine.get_mut(*place)) else { return false };
        *mine_at = (*mine_at).min(*at);
        if let (Event::Fired { selected: sum, eligible: all, .. }, Event::Fired { selected, eligible, .. }) = (mine, event) {
            *sum = sum.saturating_add(*selected);
            *all = all.map_or(*eligible, |all| Some(all.saturating_add(eligible.unwrap_or(0))));
        }
        true
    });
    sum.add(&rest);
    // A part may have used up its hits before the others have: the fault fired.
    let fired = |(_, _, event): &SampledEvent| if let Event::Fired { fault, firing, .. } = event { Some((*fault, *firing)) } else { None };
    let fired: BTreeSet<_> = sum.kept().iter().filter_map(fired).collect();
    let told = |(_, _, event): &SampledEvent| matches!(event, Event::Spent { fault, firing } if fired.contains(&(*fault, *firing)));
    if sum.kept().iter().any(told) {
        *sum = sum.without(told);
    }
}

/// What happens in all parts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Common {
    Fired,
    Spent,
    Reverted,
}

/// What of an event is the same in all parts: the fault, its firing, and what happened.
fn common(event: &Event) -> Option<(u16, u32, Common)> {
    match event {
        Event::Fired { fault, firing, .. } => Some((*fault, *firing, Common::Fired)),
        Event::Spent { fault, firing } => Some((*fault, *firing, Common::Spent)),
        Event::Reverted { fault, firing } => Some((*fault, *firing, Common::Reverted)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn firings_of_parts_are_one_and_their_selections_add_up() {
        let of = |events: Vec<SampledEvent>| {
            let mut sample = Sample::new(100, Seed(1).stream("x"));
            events.into_iter().for_each(|event| sample.offer(|| event));
            sample
        };
        let fired = |at, fault, firing, selected| (at, at, Event::Fired { fault, firing, selected, eligible: None });
        let down = (12, 9, Event::Target { instance: 0, what: "down", detail: String::new() });
        let mut sum = of(vec![fired(10, 0, 0, 3), fired(20, 0, 1, 4)]);
        add(&mut sum, &of(vec![fired(9, 0, 0, 1), down.clone(), fired(15, 1, 0, 7), fired(22, 0, 1, 2), fired(30, 0, 2, 5)]));
        let expected = [
            (9, 10, Event::Fired { fault: 0, firing: 0, selected: 4, eligible: None }),
            (20, 20, Event::Fired { fault: 0, firing: 1, selected: 6, eligible: None }),
            down,
            fired(15, 1, 0, 7),
            fired(30, 0, 2, 5), // the first part had fewer
        ];
        assert_eq!((sum.kept(), sum.seen()), (&expected[..], 5));
        let spent = |at| (at, at, Event::Spent { fault: 0, firing: 1 });
        for (one, other, expected) in [
            (spent(20), fired(21, 0, 1, 2), fired(21, 0, 1, 2)), // one part had used up its hits
            (fired(21, 0, 1, 2), spent(20), fired(21, 0, 1, 2)),
            (spent(20), spent(19), (19, 20, Event::Spent { fault: 0, firing: 1 })),
        ] {
            let mut sum = of(vec![one]);
            add(&mut sum, &of(vec![other]));
            assert_eq!(sum.kept(), [expected]);
        }
    }
}
