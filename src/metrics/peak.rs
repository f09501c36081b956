//! Peaks: the largest number within any second, wherever it begins, of what happens in the run.
//!
//! Counted in bins of a millisecond, which add over workers; only bins that are not empty take room. Each keeps when within it the first
//! and the last happened, so that what happens exactly every second is not counted twice.

use super::attempts::AttemptStep;
use super::timeline::Tally;
use crate::close::{Cause, Deadline, MemoryLimit, TcpEnd, TlsEnd};
use crate::expect::{self, Expectation, Labels, OutcomeLabel, Stat, WireLabel};
use crate::fault::Side;
use crate::plan::Plan;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Widths of bins, µs, and up to which length of a run: so that there are at most 3,600,000 of them in a run of ten hours. The last is of all
/// longer runs. Each divides a second, and fits into what a bin keeps of its first and last.
const WIDTHS: [(u32, Duration); 3] = [(1_000, Duration::from_secs(3_600)), (10_000, Duration::from_secs(36_000)), (50_000, Duration::MAX)];
/// What the herd peak is counted as.
pub const HERD: &str = "attempts";

/// What happened within one bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bin {
    /// Number of the bin, from 0.
    pub number: u32,
    /// How much; it stays at the largest number that there is room for.
    pub count: u32,
    /// µs from the start of the bin to the first.
    pub first: u16,
    /// µs from the start of the bin to the last.
    pub last: u16,
}

impl Bin {
    fn add(&mut self, other: Bin) {
        self.count = self.count.saturating_add(other.count);
        (self.first, self.last) = (self.first.min(other.first), self.last.max(other.last));
    }
}

/// Bins that are not empty, ascending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bins {
    width_us: u32,
    list: Vec<Bin>,
}

impl Bins {
    /// Empty ones for a run of this length: of 1 ms, beyond an hour of 10 ms, beyond ten hours of 50 ms.
    pub fn new(duration: Duration) -> Bins {
        let width = WIDTHS.iter().find(|(_, longest)| duration <= *longest);
        Bins { width_us: width.map_or(1_000, |(width, _)| *width), list: Vec::new() }
    }

    /// Counts what a file has in a bin that begins at `offset_ms`: a narrower one may be of an older version.
    pub fn count_read(&mut self, offset_ms: u64, (count, first, last): (u32, u16, u16)) {
        let (at, width) = (offset_ms.saturating_mul(1_000), u64::from(self.width_us));
        let number = u32::try_from(at / width).unwrap_or(u32::MAX);
        let within = |us: u16| u16::try_from(at % width + u64::from(us)).unwrap_or(u16::MAX);
        if count > 0 {
            self.put(Bin { number, count, first: within(first), last: within(last) });
        }
    }

    /// Counts `count` at offset `at` µs.
    pub fn count(&mut self, at: u64, count: u32) {
        let width = u64::from(self.width_us);
        let number = u32::try_from(at / width).unwrap_or(u32::MAX);
        let within = (at % width) as u16;
        self.put(Bin { number, count, first: within, last: within });
    }

    // Nearly everything comes in the order of time; what is late, as an account of a server, finds its place.
    fn put(&mut self, bin: Bin) {
        match self.list.last_mut() {
            Some(last) if last.number == bin.number => last.add(bin),
            Some(last) if last.number > bin.number => match self.list.binary_search_by_key(&bin.number, |bin| bin.number) {
                Ok(place) => self.list[place].add(bin),
                Err(place) => self.list.insert(place, bin),
            },
            _ => self.list.push(bin),
        }
    }

    /// Those that are not empty, ascending.
    pub fn list(&self) -> &[Bin] {
        &self.list
    }

    /// Whether they are bins of the same width as others, ascending, none of them empty.
    fn fits(&self, own: &Bins) -> bool {
        let whole = |bin: &Bin| bin.count > 0 && bin.first <= bin.last && u32::from(bin.last) < own.width_us;
        self.width_us == own.width_us && self.list.iter().all(whole) && self.list.is_sorted_by(|one, next| one.number < next.number)
    }

    /// Offset of a bin, ms.
    pub fn offset_ms(&self, bin: Bin) -> u64 {
        u64::from(bin.number) * u64::from(self.width_us) / 1_000
    }

    /// The largest number within any second: never too small, and too large by less than what one bin holds.
    ///
    /// A second that begins inside a bin reaches into the bin a second later. Where both cannot be in it whole, at least one is left out.
    pub fn peak(&self) -> u64 {
        let second = 1_000_000 / self.width_us;
        let (mut end, mut sum, mut peak) = (0, 0_u64, 0);
        for (start, bin) in self.list.iter().enumerate() {
            // As many whole bins as a second has.
            while let Some(next) = self.list.get(end).filter(|next| next.number - bin.number < second) {
                sum += u64::from(next.count);
                end += 1;
            }
            let partly = match self.list.get(end) {
                Some(next) if next.number - bin.number == second && next.last < bin.first => u64::from(next.count),
                Some(next) if next.number - bin.number == second && next.first < bin.last => u64::from(next.count) - 1,
                _ => 0,
            };
            peak = peak.max(sum + partly);
            debug_assert!(end > start);
            sum -= u64::from(bin.count);
        }
        peak
    }

    /// Adds the bins of another part.
    pub fn add(&mut self, other: &Bins) {
        let mine = std::mem::take(&mut self.list);
        let (mut mine, mut theirs) = (mine.into_iter().peekable(), other.list.iter().copied().peekable());
        while let Some(next) = match (mine.peek(), theirs.peek()) {
            (Some(one), Some(two)) if two.number < one.number => theirs.next(),
            (Some(_), _) => mine.next(),
            (None, _) => theirs.next(),
        } {
            self.put(next);
        }
    }
}

/// What is counted for a peak that is expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracked {
    /// Metric and labels, as [`Expectation::counted`] writes them.
    pub text: String,
    metric: expect::Metric,
    labels: Labels,
    cohort: Option<u16>,
    fault: Option<u16>,
    /// Any of these; several steps of dialogues may have one name.
    causes: Option<Vec<Cause>>,
    errors: Option<Vec<u16>>,
}

impl Tracked {
    /// What the expectations of a plan take; each once.
    pub fn of(plan: &Plan) -> Vec<Tracked> {
        let cohorts: Vec<&str> = plan.cohorts.iter().map(|cohort| cohort.name.as_str()).collect();
        let faults: Vec<&str> = plan.faults.iter().map(|fault| fault.name.as_str()).collect();
        let mut all: Vec<Tracked> = Vec::new();
        for expectation in plan.expectations.iter().filter(|expectation| expectation.stat == Stat::Peak) {
            let steps: Vec<&str> = plan.scripts().flat_map(|script| script.steps()).collect();
            let errors: Vec<&str> = plan.scripts().flat_map(|script| script.errors()).collect();
            let tracked = Tracked::new(expectation, (&cohorts, &faults), (&steps, &errors));
            if tracked.text != HERD && all.iter().all(|other| other.text != tracked.text) {
                all.push(tracked);
            }
        }
        all
    }

    /// Of one expectation; its names are those of the plan.
    pub fn new(expectation: &Expectation, (cohorts, faults): (&[&str], &[&str]), (steps, errors): (&[&str], &[&str])) -> Tracked {
        let numbers = |names: &[&str], wanted: &str| -> Vec<u16> {
            let named = names.iter().enumerate().filter(|(_, name)| **name == wanted);
            named.filter_map(|(number, _)| u16::try_from(number).ok()).collect()
        };
        let index = |names: &[&str], name: &Option<String>| {
            let place = name.as_ref().map(|name| names.iter().position(|other| other == name));
            // A name that the plan does not have is that of nothing.
            place.map(|place| place.and_then(|place| u16::try_from(place).ok()).unwrap_or(u16::MAX))
        };
        let labels = expectation.labels.clone();
        Tracked {
            text: expectation.counted(),
            metric: expectation.metric,
            cohort: index(cohorts, &labels.cohort),
            fault: index(faults, &labels.fault),
            causes: labels.cause.as_ref().map(|cause| match cause.as_str() {
                "remote" => vec![Cause::Remote],
                "stay" => vec![Cause::Stay],
                "deadline:pong" => vec![Cause::Deadline(Deadline::Pong)],
                "local:max_message" => vec![Cause::Limit(MemoryLimit::MaxMessage)],
                "local:memory" => vec![Cause::Limit(MemoryLimit::Memory)],
                named => match (named.strip_prefix("deadline:dialogue:"), named.strip_prefix("dialogue:")) {
                    (Some(step), _) => numbers(steps, step).into_iter().map(|step| Cause::Deadline(Deadline::Dialogue(step))).collect(),
                    (None, Some(step)) => numbers(steps, step).into_iter().map(Cause::Dialogue).collect(),
                    (None, None) => vec![Cause::Fault(index(faults, &labels.cause).unwrap_or(u16::MAX))],
                },
            }),
            errors: labels.name.as_ref().map(|name| numbers(errors, name)),
            labels,
        }
    }

    /// Whether it is about what started at `start` µs, of this cohort and fault.
    fn is(&self, metric: expect::Metric, start: u64, cohort: u16, fault: Option<u16>) -> bool {
        let second = Duration::from_secs(start / 1_000_000);
        self.metric == metric
            && self.cohort.is_none_or(|wanted| wanted == cohort)
            && self.fault.is_none_or(|wanted| Some(wanted) == fault)
            && self.labels.from.is_none_or(|from| second >= from)
            && self.labels.to.is_none_or(|to| second < to)
    }

    fn is_outcome(&self, outcome: OutcomeLabel, default: Option<OutcomeLabel>) -> bool {
        self.labels.outcome.or(default) == Some(outcome)
    }
}

/// A step of an attempt, as far as peaks ask.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// When it began, µs.
    pub begun: u64,
    /// Whose.
    pub cohort: u16,
    /// The fault it belongs to.
    pub fault: Option<u16>,
    /// What became of it.
    pub step: AttemptStep,
    /// HTTP status that rejected it.
    pub status: Option<u16>,
}

/// An end of a connection, as far as peaks ask: the account of each side.
#[derive(Clone, Copy, Debug)]
pub struct Close {
    /// Whose.
    pub cohort: u16,
    /// The fault it belongs to.
    pub fault: Option<u16>,
    /// Why.
    pub cause: Cause,
    /// Of which side.
    pub side: Side,
    /// Reported to that side's user.
    pub reported: u16,
    /// Status code that this side received.
    pub wire: Option<u16>,
    /// As this side saw it.
    pub tcp_end: TcpEnd,
    /// As this side saw it; `None` on ws.
    pub tls_end: Option<TlsEnd>,
    /// As this side saw it.
    pub clean: bool,
}

/// The bins of all peaks of a run: of the herd by cohort, and of what is expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Peaks {
    herd: Vec<Bins>,
    tracked: Vec<(Tracked, Bins)>,
}

impl Peaks {
    /// Empty ones.
    pub fn new(cohorts: usize, tracked: &[Tracked], duration: Duration) -> Peaks {
        let bins = Bins::new(duration);
        Peaks { herd: vec![bins.clone(); cohorts], tracked: tracked.iter().map(|tracked| (tracked.clone(), bins.clone())).collect() }
    }

    /// Whether anything of this metric is expected to have a peak.
    #[inline]
    pub fn asks(&self, metric: expect::Metric) -> bool {
        // Nearly always empty.
        self.tracked.iter().any(|(tracked, _)| tracked.metric == metric)
    }

    /// Counts a step of an attempt at `at` µs.
    #[inline]
    pub fn attempt(&mut self, at: u64, attempt: Attempt) {
        let Attempt { begun, cohort, fault, step, status } = attempt;
        if step == AttemptStep::Begun {
            self.herd[usize::from(cohort)].count(at, 1);
        }
        for (tracked, bins) in &mut self.tracked {
            let of_step = match (tracked.labels.outcome, tracked.labels.status) {
                (None, None) => step == AttemptStep::Begun,
                (outcome, wanted) => {
                    outcome.is_none_or(|outcome| step.outcome() == Some(outcome)) && wanted.is_none_or(|wanted| status == Some(wanted))
                }
            };
            if of_step && tracked.is(expect::Metric::Attempts, begun, cohort, fault) {
                bins.count(at, 1);
            }
        }
    }

    /// Counts a client that gave up at `at` µs.
    pub fn give_up(&mut self, at: u64, cohort: u16, fault: Option<u16>) {
        self.each(|tracked| tracked.is(expect::Metric::ClientsLost, at, cohort, fault), at, 1);
    }

    /// Counts a message that was due at `due` µs at `at` µs.
    pub fn message(&mut self, at: u64, due: u64, cohort: u16, outcome: OutcomeLabel, count: u32) {
        let of = |tracked: &Tracked| {
            tracked.is(expect::Metric::Messages, due, cohort, None) && tracked.is_outcome(outcome, Some(OutcomeLabel::Due))
        };
        self.each(of, at, count);
    }

    /// Counts at `at` µs one of what is counted beside messages, and began at `start` µs.
    pub fn tally(&mut self, at: u64, start: u64, (cohort, fault): (u16, Option<u16>), what: Tally, n: u64) {
        let of = |tracked: &Tracked| match what {
            Tally::Error(error) => {
                let named = || tracked.errors.as_ref().is_none_or(|errors| errors.contains(&error));
                tracked.is(expect::Metric::Errors, start, cohort, fault) && named()
            }
            Tally::Request(status) => {
                let wanted = || tracked.labels.status.is_none_or(|wanted| Some(wanted) == status);
                tracked.is(expect::Metric::HttpRequests, start, cohort, fault) && wanted()
            }
            what => tracked.is(expect::Metric::Messages, start, cohort, fault) && tracked.labels.outcome == what.outcome(),
        };
        self.each(of, at, u32::try_from(n).unwrap_or(u32::MAX));
    }

    /// Counts payload bytes at `at` µs.
    pub fn bytes(&mut self, at: u64, cohort: u16, dir: expect::Dir, count: u32) {
        let of = |tracked: &Tracked| {
            tracked.is(expect::Metric::Bytes, at, cohort, None) && tracked.labels.dir.is_none_or(|wanted| wanted == dir)
        };
        self.each(of, at, count);
    }

    /// Counts the account of one side of a connection that ended at `at` µs.
    pub fn close(&mut self, at: u64, close: Close) {
        let of = |tracked: &Tracked| {
            let labels = &tracked.labels;
            tracked.is(expect::Metric::Closes, at, close.cohort, close.fault)
                && labels.side == close.side
                && tracked.causes.as_ref().is_none_or(|causes| causes.contains(&close.cause))
                && labels.reported.is_none_or(|reported| reported == close.reported)
                && labels.tcp_end.is_none_or(|end| end == close.tcp_end)
                && labels.tls_end.is_none_or(|end| Some(end) == close.tls_end)
                && labels.clean.is_none_or(|clean| clean == close.clean)
                && match labels.wire {
                    None => true,
                    Some(WireLabel::Nothing) => close.wire.is_none(),
                    Some(WireLabel::Code(code)) => close.wire == Some(code),
                }
        };
        self.each(of, at, 1);
    }

    fn each(&mut self, of: impl Fn(&Tracked) -> bool, at: u64, count: u32) {
        self.tracked.iter_mut().filter(|(tracked, _)| of(tracked)).for_each(|(_, bins)| bins.count(at, count));
    }

    /// Most attempts begun within any second, of one cohort or of all.
    pub fn attempts(&self, cohort: Option<u16>) -> u64 {
        match cohort {
            Some(cohort) => self.herd[usize::from(cohort)].peak(),
            None => self.herd().peak(),
        }
    }

    /// The attempts of all cohorts.
    fn herd(&self) -> Bins {
        let mut all = self.herd.iter();
        let mut sum = all.next().cloned().unwrap_or_else(|| Bins::new(Duration::ZERO));
        all.for_each(|bins| sum.add(bins));
        sum
    }

    /// What was counted for each: the herd, then what is expected.
    pub fn each_counted(&self) -> Vec<(&str, Bins)> {
        let tracked = self.tracked.iter().map(|(tracked, bins)| (tracked.text.as_str(), bins.clone()));
        std::iter::once((HERD, self.herd())).chain(tracked).collect()
    }

    /// Adds those of another part of the same plan.
    pub fn add(&mut self, other: &Peaks) {
        self.herd.iter_mut().zip(&other.herd).for_each(|(mine, theirs)| mine.add(theirs));
        self.tracked.iter_mut().zip(&other.tracked).for_each(|(mine, theirs)| mine.1.add(&theirs.1));
    }

    /// The bins alone: of the herd by cohort, of what is expected.
    pub(super) fn into_bins(self) -> (Vec<Bins>, Vec<Bins>) {
        (self.herd, self.tracked.into_iter().map(|(_, bins)| bins).collect())
    }

    /// From [`into_bins`](Peaks::into_bins) of a plan of this length of which the same is expected; `None` of another.
    pub(super) fn from_bins(
        (herd, bins): (Vec<Bins>, Vec<Bins>),
        cohorts: usize,
        (tracked, duration): (&[Tracked], Duration),
    ) -> Option<Peaks> {
        let own = Bins::new(duration);
        let fits = herd.len() == cohorts && bins.len() == tracked.len() && herd.iter().chain(&bins).all(|bins| bins.fits(&own));
        fits.then(|| Peaks { herd, tracked: tracked.iter().cloned().zip(bins).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000;

    fn bins(duration_s: u64, at: impl IntoIterator<Item = u64>) -> Bins {
        let mut bins = Bins::new(Duration::from_secs(duration_s));
        at.into_iter().for_each(|at| bins.count(at, 1));
        bins
    }

    /// The truth: for each beginning, what follows within a second.
    fn exact(at: &[u64]) -> u64 {
        at.iter().map(|from| at.iter().filter(|at| (*from..from + SECOND).contains(at)).count() as u64).max().unwrap_or(0)
    }

    #[test]
    fn a_second_may_begin_anywhere() {
        // A thousand within a second, across the boundary of two aligned ones.
        assert_eq!(bins(60, (0..1_000).map(|i| 4_500_000 + i * 970)).peak(), 1_000);
        // A second that begins inside a bin.
        assert_eq!(bins(60, [900, 1_000_100]).peak(), 2);
        // Exactly a second apart is not within a second, neither at an even rate nor in crowds.
        assert_eq!(bins(60, (0..5_000).map(|i| i * 2_000)).peak(), 500);
        assert_eq!(bins(60, (0..9).flat_map(|i| [i * SECOND; 70])).peak(), 70);
        assert_eq!(bins(60, []).peak(), 0);
        assert_eq!(bins(7_200, [3_000_000_000, 3_000_999_000, 3_001_000_000]).peak(), 2);
    }

    #[test]
    fn bins_from_elsewhere_fit_only_whole_ascending_and_of_the_same_width() {
        let own = bins(60, []);
        let bin = |number| Bin { number, count: 1, first: 0, last: 999 };
        let of = |list: Vec<Bin>| Bins { list, ..own.clone() };
        assert!(of(vec![bin(1), bin(2)]).fits(&own) && of(vec![]).fits(&own));
        for list in [vec![bin(2), bin(1)], vec![bin(1), bin(1)], vec![Bin { count: 0, ..bin(1) }], vec![Bin { last: 1_000, ..bin(1) }]] {
            assert!(!of(list.clone()).fits(&own), "{list:?}");
        }
        assert!(!of(vec![Bin { first: 2, last: 1, ..bin(1) }]).fits(&own));
        assert!(!bins(7_200, [5]).fits(&own));
    }

    #[test]
    fn a_run_of_a_week_has_few_bins_and_narrower_ones_of_older_folders_are_put_together() {
        for (hours, width_us) in [(1, 1_000), (2, 10_000), (10, 10_000), (11, 50_000), (168, 50_000)] {
            assert_eq!(Bins::new(Duration::from_secs(hours * 3_600)).width_us, width_us, "{hours} h");
        }
        let mut bins = Bins::new(Duration::from_secs(168 * 3_600));
        bins.count_read(1_000, (7, 3, 9_000));
        bins.count_read(1_040, (5, 2, 9_999));
        bins.count_read(1_050, (0, 0, 0));
        assert_eq!(bins.list(), [Bin { number: 20, count: 12, first: 3, last: 49_999 }]);
    }

    proptest! {
        #[test]
        fn a_peak_is_never_too_small_and_hardly_too_large(mut at in prop::collection::vec(0..4 * SECOND, 1..400), duration in 1..2_u64) {
            let found = bins(duration * 3_600, at.clone());
            at.sort_unstable();
            let (truth, most) = (exact(&at), found.list().iter().map(|bin| u64::from(bin.count)).max().unwrap_or(0));
            prop_assert!(found.peak() >= truth && found.peak() < truth + most, "{} {truth} {most}", found.peak());
        }

        #[test]
        fn parts_add_up_to_the_whole(at in prop::collection::vec(0..4 * SECOND, 0..200), split in 0..200_usize) {
            let (one, two) = at.split_at(split.min(at.len()));
            let mut sum = bins(60, one.iter().copied());
            sum.add(&bins(60, two.iter().copied()));
            prop_assert_eq!(&sum, &bins(60, at.clone()));
            let mut read = Bins::new(Duration::from_secs(60));
            sum.list().iter().for_each(|bin| read.count_read(sum.offset_ms(*bin), (bin.count, bin.first, bin.last)));
            prop_assert_eq!(read, sum);
        }
    }
}
