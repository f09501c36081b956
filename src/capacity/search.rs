//! The search for the largest value that still holds: from all observations so far to the next value, or to the result.
//!
//! It doubles until something fails, bisects, repeats both sides of the edge, and tries two values below it again, because an edge need
//! not be monotone. There is no state but the observations: the same list gives the same answer. Each observation may be wrong:
//! where runs at one value disagree, the majority counts, and one that contradicts its neighbours is repeated before it is believed.

/// What became of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// All expectations held.
    Held,
    /// One did not.
    Failed,
    /// The generator, not the server, was the limit.
    Saturated,
    /// It cannot be told, as with too few samples.
    Untold,
    /// A run with this value could not begin.
    Impossible,
}

impl RunOutcome {
    /// As in files.
    pub fn name(self) -> &'static str {
        match self {
            RunOutcome::Held => "held",
            RunOutcome::Failed => "failed",
            RunOutcome::Saturated => "saturated",
            RunOutcome::Untold => "untold",
            RunOutcome::Impossible => "impossible",
        }
    }
}

/// One run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// The varied parameter.
    pub value: f64,
    /// What became of it.
    pub outcome: RunOutcome,
}

/// Where to search: `0 ≤ low < high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The first value tried.
    pub low: f64,
    /// The greatest value tried.
    pub high: f64,
    /// Only whole numbers make sense.
    pub whole: bool,
}

impl Range {
    /// The nearest value that is tried: a whole number or one of three significant digits, inside the range.
    pub fn settle(&self, value: f64) -> f64 {
        let rounded = if self.whole { value.round() } else { three_digits(value) };
        rounded.clamp(self.low, self.high)
    }
}

/// To three significant digits, so that `1.05e3` and the like are exact as text.
fn three_digits(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

/// How much effort the search makes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Most runs.
    pub steps: usize,
    /// Most runs at each side of the edge; what the majority of them says is settled.
    pub repeats: usize,
    /// Both sides of the edge are this close, as a share of the upper one.
    pub precision: f64,
}

/// Why a value is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Upwards, by doubling.
    Climb,
    /// Between a value that held and one that did not.
    Bisect,
    /// Once more, at the edge or where an observation is in doubt.
    Repeat,
    /// Below the limit, where the edge may not be monotone.
    Below,
}

impl Why {
    /// As in files.
    pub fn name(self) -> &'static str {
        match self {
            Why::Climb => "climb",
            Why::Bisect => "bisect",
            Why::Repeat => "repeat",
            Why::Below => "below",
        }
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Run with this value.
    Try {
        /// The varied parameter.
        value: f64,
        /// The reason.
        why: Why,
    },
    /// The search is over.
    Done(SearchFound),
}

/// What ended the search at its upper side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// An expectation failed above the limit: it was found.
    Edge,
    /// The range ended: the limit is a lower bound.
    Top,
    /// The generator was the limit: ours is a lower bound.
    Generator,
    /// Above the limit a run could not begin: it is a lower bound.
    Impossible,
    /// It failed even at the lowest value.
    Never,
    /// Nothing could be told anywhere.
    NoData,
}

impl Ended {
    /// As in files.
    pub fn name(self) -> &'static str {
        match self {
            Ended::Edge => "edge",
            Ended::Top => "top",
            Ended::Generator => "generator",
            Ended::Impossible => "impossible",
            Ended::Never => "never",
            Ended::NoData => "no_data",
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchFound {
    /// The largest value that held with nothing below it failing; `None` where there is none.
    pub limit: Option<f64>,
    /// The largest value up to the limit at and below which no run at all failed.
    pub surely_holds: Option<f64>,
    /// The smallest value above the limit at which no run held; `None` where none failed.
    pub surely_fails: Option<f64>,
    /// The smallest value that did not hold.
    pub ceiling: Option<f64>,
    /// Values above the ceiling that held again: the edge is not monotone.
    pub held_above: Vec<f64>,
    /// What ended the search.
    pub ended: Ended,
    /// The search came to its own end; otherwise its runs were used up, or it was stopped, and the edge may be wide.
    pub complete: bool,
}

/// After so many doublings from its first value above 0 the climb has reached the top.
const CLIMB_FROM_ZERO: f64 = 16.0;
/// Shares of the way down from the limit to `low` that are tried again.
const BELOW: [f64; 2] = [0.1, 0.25];

/// The next value to try, or the result.
pub fn next(range: Range, settings: Settings, observations: &[Observation]) -> Next {
    let picture = Picture::of(observations, settings.repeats);
    match picture.wanted(range, settings, observations.last()) {
        Some((value, why)) if observations.len() < settings.steps.max(1) => Next::Try { value, why },
        wanted => Next::Done(picture.conclude(wanted.is_none())),
    }
}

/// The result as far as it is known: for a search that was stopped.
pub fn so_far(settings: Settings, observations: &[Observation]) -> SearchFound {
    Picture::of(observations, settings.repeats).conclude(false)
}

/// All runs at one value.
#[derive(Clone, Debug)]
struct ValueRuns {
    value: f64,
    outcomes: Vec<RunOutcome>,
    /// Number of its last run.
    last: usize,
}

impl ValueRuns {
    fn count(&self, outcome: RunOutcome) -> usize {
        self.outcomes.iter().filter(|one| **one == outcome).count()
    }

    /// What most of its runs say; among equals the worse. Runs that tell nothing have no vote where others have.
    fn standing(&self) -> RunOutcome {
        let worse_last = [RunOutcome::Held, RunOutcome::Saturated, RunOutcome::Failed, RunOutcome::Impossible];
        let best = worse_last.into_iter().max_by_key(|outcome| self.count(*outcome)).filter(|outcome| self.count(*outcome) > 0);
        best.unwrap_or(RunOutcome::Untold)
    }

    /// Whether more runs cannot change what it says.
    fn is_settled(&self, repeats: usize) -> bool {
        let most = self.count(self.standing());
        most * 2 > repeats || self.outcomes.len() >= repeats || self.standing() == RunOutcome::Impossible
    }
}

/// What is known: each value with its runs, by value.
struct Picture {
    places: Vec<ValueRuns>,
    repeats: usize,
}

impl Picture {
    fn of(observations: &[Observation], repeats: usize) -> Picture {
        let mut places: Vec<ValueRuns> = Vec::new();
        for (last, seen) in observations.iter().enumerate() {
            match places.iter_mut().find(|place| place.value == seen.value) {
                Some(place) => {
                    place.outcomes.push(seen.outcome);
                    place.last = last;
                }
                None => places.push(ValueRuns { value: seen.value, outcomes: vec![seen.outcome], last }),
            }
        }
        places.sort_by(|a, b| a.value.total_cmp(&b.value));
        Picture { places, repeats }
    }

    /// The smallest value that did not hold.
    fn ceiling(&self) -> Option<&ValueRuns> {
        self.places.iter().find(|place| !matches!(place.standing(), RunOutcome::Held | RunOutcome::Untold))
    }

    /// The largest value below the ceiling with this standing.
    fn below_ceiling(&self, standing: RunOutcome) -> Option<&ValueRuns> {
        let top = self.ceiling().map_or(f64::INFINITY, |place| place.value);
        self.places.iter().rev().find(|place| place.value < top && place.standing() == standing)
    }

    /// The next value to try; `None` where nothing more can be learnt.
    fn wanted(&self, range: Range, settings: Settings, last: Option<&Observation>) -> Option<(f64, Why)> {
        let Some(last) = last else { return Some((range.settle(range.low), Why::Climb)) };
        let in_doubt = |place: &ValueRuns| !place.is_settled(self.repeats);
        // A busy moment of the machine is more likely than a generator at its limit: once more, at once.
        if let Some(place) = self.places.iter().find(|place| place.value == last.value)
            && place.outcomes.len() == 1
            && matches!(last.outcome, RunOutcome::Saturated | RunOutcome::Untold)
            && in_doubt(place)
        {
            return Some((place.value, Why::Repeat));
        }
        let Some(ceiling) = self.ceiling() else { return self.climb(range) };
        // Something above it held: one of the two is wrong, or the edge is not monotone.
        let contradicted = self.places.iter().any(|place| place.value > ceiling.value && place.standing() == RunOutcome::Held);
        if contradicted && in_doubt(ceiling) {
            return Some((ceiling.value, Why::Repeat));
        }
        let floor = self.below_ceiling(RunOutcome::Held);
        if let Some(base) = floor.or_else(|| self.below_ceiling(RunOutcome::Untold)) {
            let middle = range.settle(f64::midpoint(base.value, ceiling.value));
            let wide = ceiling.value - base.value > settings.precision * ceiling.value;
            if wide && middle > base.value && middle < ceiling.value {
                return Some((middle, Why::Bisect));
            }
        }
        if let Some(place) = [Some(ceiling), floor].into_iter().flatten().find(|place| in_doubt(place)) {
            return Some((place.value, Why::Repeat));
        }
        self.below(range, floor?)
    }

    /// Upwards while nothing has failed.
    fn climb(&self, range: Range) -> Option<(f64, Why)> {
        let top = self.places.last()?;
        if top.value < range.high {
            let next = if top.value > 0.0 { top.value * 2.0 } else { range.high / CLIMB_FROM_ZERO };
            return Some((range.settle(next), Why::Climb));
        }
        if !top.is_settled(self.repeats) {
            return Some((top.value, Why::Repeat));
        }
        self.below(range, self.below_ceiling(RunOutcome::Held)?)
    }

    /// The values below the limit that have not been tried since it was settled.
    fn below(&self, range: Range, floor: &ValueRuns) -> Option<(f64, Why)> {
        let points = BELOW.map(|share| range.settle(floor.value - share * (floor.value - range.low)));
        let settled = floor.last.max(self.ceiling().map_or(0, |ceiling| ceiling.last));
        let tried = |value: f64| self.places.iter().any(|place| place.value == value && place.last > settled);
        points.into_iter().find(|value| *value < floor.value && !tried(*value)).map(|value| (value, Why::Below))
    }

    fn conclude(&self, complete: bool) -> SearchFound {
        let (ceiling, floor) = (self.ceiling(), self.below_ceiling(RunOutcome::Held));
        let limit = floor.map(|place| place.value);
        let held = |place: &ValueRuns| place.outcomes.contains(&RunOutcome::Held);
        let failed = |place: &ValueRuns| place.outcomes.iter().any(|outcome| !matches!(outcome, RunOutcome::Held | RunOutcome::Untold));
        let clean = self.places.iter().take_while(|place| !failed(place) && limit.is_some_and(|limit| place.value <= limit));
        let above = |place: &&ValueRuns| ceiling.is_some_and(|ceiling| place.value >= ceiling.value);
        SearchFound {
            limit,
            surely_holds: clean.filter(|place| held(place)).last().map(|place| place.value),
            surely_fails: self.places.iter().filter(above).find(|place| !held(place)).map(|place| place.value),
            ceiling: ceiling.map(|place| place.value),
            held_above: self
                .places
                .iter()
                .filter(above)
                .filter(|place| place.standing() == RunOutcome::Held)
                .map(|place| place.value)
                .collect(),
            ended: match (limit, ceiling.map(ValueRuns::standing)) {
                (_, Some(RunOutcome::Saturated)) => Ended::Generator,
                (_, Some(RunOutcome::Impossible)) => Ended::Impossible,
                (Some(_), Some(_)) => Ended::Edge,
                (Some(_), None) => Ended::Top,
                (None, Some(_)) => Ended::Never,
                (None, None) => Ended::NoData,
            },
            complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use RunOutcome::{Failed, Held, Impossible, Saturated, Untold};

    const SETTINGS: Settings = Settings { steps: 40, repeats: 3, precision: 0.05 };
    const RANGE: Range = Range { low: 10.0, high: 10_000.0, whole: true };

    /// Searches where `world` answers, and gives what was found with all observations.
    fn search(range: Range, settings: Settings, mut world: impl FnMut(f64, usize) -> RunOutcome) -> (SearchFound, Vec<Observation>) {
        let mut seen = Vec::new();
        loop {
            match next(range, settings, &seen) {
                Next::Done(found) => return (found, seen),
                Next::Try { value, .. } => {
                    assert!(seen.len() < settings.steps && (range.low..=range.high).contains(&value), "{value} after {}", seen.len());
                    let outcome = world(value, seen.len());
                    seen.push(Observation { value, outcome });
                }
            }
        }
    }

    fn edge_at(edge: f64) -> impl FnMut(f64, usize) -> RunOutcome {
        move |value, _| if value <= edge { Held } else { Failed }
    }

    #[test]
    fn a_plain_edge_is_found_within_the_precision_and_with_few_runs() {
        for edge in [10.0, 11.0, 100.0, 210.0, 1_234.0, 3_900.0, 9_400.0] {
            let (found, seen) = search(RANGE, SETTINGS, edge_at(edge));
            let limit = found.limit.unwrap();
            assert!(limit <= edge && limit > edge * 0.94 - 1.0, "{edge}: {found:?}");
            assert!(found.ended == Ended::Edge && found.complete && found.ceiling > Some(edge) && found.held_above.is_empty(), "{found:?}");
            assert_eq!((found.surely_holds, found.surely_fails), (found.limit, found.ceiling), "{edge}");
            assert!(seen.len() <= 20, "{edge}: {}", seen.len());
            // Both sides were repeated, and at last two values below were tried again, whether they had been tried before or not.
            assert!(seen.iter().filter(|one| one.value == limit).count() >= 2, "{edge}");
            let last = &seen[seen.len() - 2..];
            assert!(limit < 15.0 || last.iter().all(|one| one.value < limit), "{edge}: {last:?}");
        }
    }

    #[test]
    fn it_doubles_from_the_bottom_and_then_bisects() {
        let (_, seen) = search(RANGE, SETTINGS, edge_at(100.0));
        let values: Vec<f64> = seen.iter().map(|one| one.value).collect();
        assert_eq!(values[..6], [10.0, 20.0, 40.0, 80.0, 160.0, 120.0]);
    }

    #[test]
    fn what_always_holds_gives_a_lower_bound_and_what_never_holds_none() {
        let (found, _) = search(RANGE, SETTINGS, |_, _| Held);
        assert_eq!((found.limit, found.ended, found.surely_fails), (Some(10_000.0), Ended::Top, None));
        let (found, seen) = search(RANGE, SETTINGS, |_, _| Failed);
        assert_eq!((found.limit, found.ended, seen.len()), (None, Ended::Never, 2), "the lowest value fails twice of three times");
        let (found, _) = search(RANGE, SETTINGS, |_, _| Untold);
        assert_eq!((found.limit, found.ended), (None, Ended::NoData));
    }

    #[test]
    fn a_saturated_generator_or_a_run_that_cannot_begin_ends_the_climb_with_a_lower_bound() {
        for (outcome, ended) in [(Saturated, Ended::Generator), (Impossible, Ended::Impossible)] {
            let (found, _) = search(RANGE, SETTINGS, |value, _| if value <= 1_500.0 { Held } else { outcome });
            assert_eq!(found.ended, ended);
            assert!(found.limit > Some(1_400.0) && found.limit <= Some(1_500.0), "{found:?}");
            // Where the server fails below what the generator can do, the limit is the server's.
            let (found, _) = search(RANGE, SETTINGS, |value, _| match value {
                ..=700.0 => Held,
                ..=1_000.0 => Failed,
                _ => outcome,
            });
            assert_eq!(found.ended, Ended::Edge);
        }
    }

    #[test]
    fn one_bad_moment_is_repeated_and_does_not_move_the_limit() {
        for (bad, which) in [(Failed, 2), (Failed, 5), (Saturated, 3), (Untold, 4)] {
            let (found, _) = search(RANGE, SETTINGS, |value, n| match (n == which, value <= 2_000.0) {
                (true, _) => bad,
                (_, true) => Held,
                _ => Failed,
            });
            assert!(
                found.limit > Some(1_880.0) && found.limit <= Some(2_000.0) && found.ended == Ended::Edge,
                "{bad:?} {which}: {found:?}"
            );
        }
    }

    #[test]
    fn too_few_samples_at_the_bottom_are_no_limit() {
        let (found, _) = search(RANGE, SETTINGS, |value, _| match value {
            ..=300.0 => Untold,
            ..=2_000.0 => Held,
            _ => Failed,
        });
        assert!(found.limit > Some(1_880.0) && found.ended == Ended::Edge, "{found:?}");
    }

    #[test]
    fn a_hole_below_the_limit_is_found_and_the_limit_goes_below_it() {
        // Holds to 2,000, but for a hole that the doubling steps over: one of the values tried again lies in it.
        let hole = 1_700.0..=1_850.0;
        let (found, _) = search(RANGE, SETTINGS, |value, _| if value > 2_000.0 || hole.contains(&value) { Failed } else { Held });
        assert!(found.limit < Some(1_700.0) && found.limit > Some(1_600.0), "{found:?}");
        assert!(found.held_above.iter().any(|value| *value > 1_900.0), "what held above it is told: {found:?}");
    }

    #[test]
    fn a_noisy_edge_is_found_near_its_middle_with_a_spread_that_says_so() {
        let mut off = Vec::new();
        for seed in 0..40 {
            let mut random = Seed(seed).stream("noise");
            // Holds for sure below 1,800, fails for sure above 2,200, and in between with a falling chance.
            let (found, _) = search(RANGE, SETTINGS, |value, _| if random.unit() < (2_200.0 - value) / 400.0 { Held } else { Failed });
            let limit = found.limit.unwrap();
            assert!((1_600.0..=2_200.0).contains(&limit), "{seed}: {found:?}");
            assert!(found.surely_holds <= found.limit && found.surely_fails >= found.ceiling);
            off.push((limit - 2_000.0).abs());
        }
        off.sort_by(f64::total_cmp);
        assert!(off[20] < 150.0, "median distance from the middle: {}", off[20]);
    }

    #[test]
    fn the_runs_are_bounded_and_what_was_found_by_then_counts() {
        let few = Settings { steps: 7, ..SETTINGS };
        let (found, seen) = search(RANGE, few, edge_at(100.0));
        assert_eq!((seen.len(), found.complete, found.limit, found.ceiling), (7, false, Some(100.0), Some(120.0)));
        assert_eq!(so_far(few, &seen[..4]).limit, Some(80.0));
        assert_eq!(so_far(few, &[]).ended, Ended::NoData);
    }

    #[test]
    fn fractions_and_zero_are_values_too() {
        let range = Range { low: 0.0, high: 20.0, whole: false };
        let (found, seen) = search(range, SETTINGS, edge_at(3.3));
        assert_eq!(seen[1].value, 1.25);
        assert!(found.limit > Some(3.1) && found.limit <= Some(3.3), "{found:?}");
        assert_eq!(range.settle(2.34567), 2.35);
    }

    proptest::proptest! {
        #[test]
        fn it_ends_whatever_it_observes(outcomes in proptest::collection::vec(0..5_usize, 60), steps in 1..60_usize) {
            let all = [Held, Failed, Saturated, Untold, Impossible];
            let (found, seen) = search(RANGE, Settings { steps, ..SETTINGS }, |_, n| all[outcomes[n]]);
            proptest::prop_assert!(seen.len() <= steps);
            proptest::prop_assert!(found.limit.is_none_or(|limit| found.ceiling.is_none_or(|ceiling| limit < ceiling)));
        }
    }
}
