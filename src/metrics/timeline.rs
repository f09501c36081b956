//! Numbers over time: a row per interval and cohort for charts, a row per interval of counts, and a row per aligned second for lateness.
//!
//! Open connections are not stored but computed from what opened and what closed, so rows of several runs can be added.

use super::attempts::{AttemptCounts, AttemptStep};
use super::bursts::Bursts;
use super::intervals::CountIntervals;
use super::latency::{Latency, micros};
use super::lateness::Work;
use crate::expect::OutcomeLabel;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Lengths of interval, ms: the shortest with which a run has at most [`ROWS`] rows is taken.
const LENGTHS_MS: [u64; 13] = [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000, 120_000, 300_000, 600_000, 3_600_000];
/// Most rows of a cohort.
const ROWS: u64 = 600;

/// Length of the intervals of a run of this length: 100 to 600 rows, fewer only below ten seconds.
pub fn interval(duration: Duration) -> Duration {
    let ms = duration.as_millis().max(1) as u64;
    let longest = ms.div_ceil(ROWS);
    Duration::from_millis(LENGTHS_MS.into_iter().find(|length| *length >= longest).unwrap_or(longest))
}

/// One interval of one cohort.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Attempts that began in it, and what became in it of these and of earlier ones.
    pub attempts: AttemptCounts,
    /// Connections ended.
    pub closed: u64,
    /// Outages begun.
    pub affected: u64,
    /// Outages ended.
    pub recovered: u64,
    /// Messages due.
    pub due: u64,
    /// Messages sent.
    pub sent: u64,
    /// Echoes received.
    pub echoed: u64,
    /// Median round trip from due, µs.
    pub rtt_p50: Option<u64>,
    /// 99th percentile, µs, as far as the samples go.
    pub rtt_p99: Option<u64>,
    /// Largest, µs.
    pub rtt_max: Option<u64>,
}

impl Cell {
    fn set_round_trips(&mut self, latency: &Latency) {
        (self.rtt_p50, self.rtt_p99, self.rtt_max) = (latency.quantile(0.5), latency.quantile(0.99), latency.max());
    }

    fn add(&mut self, other: &Cell) {
        self.attempts.add(&other.attempts);
        self.closed += other.closed;
        self.affected += other.affected;
        self.recovered += other.recovered;
        self.due += other.due;
        self.sent += other.sent;
        // Quantiles cannot be added: where both have some, only the largest remains known, unless the samples were kept.
        let both = self.echoed > 0 && other.echoed > 0;
        self.echoed += other.echoed;
        self.rtt_p50 = if both { None } else { self.rtt_p50.or(other.rtt_p50) };
        self.rtt_p99 = if both { None } else { self.rtt_p99.or(other.rtt_p99) };
        self.rtt_max = self.rtt_max.max(other.rtt_max);
    }
}

/// What else is counted by interval: rare, or of few clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Tally {
    /// An error that a dialogue names, by its number in the plan.
    Error(u16),
    /// HTTP requests before connections, by the status of the answer; `None`: there was none.
    Request(Option<u16>),
    /// Messages that did not come.
    Missed,
    /// Messages of the time in which their client was away, and that it got later.
    Recovered,
    /// Messages that came again.
    Duplicated,
    /// Messages that came after later ones of their stream.
    OutOfOrder,
}

impl Tally {
    /// The outcome of messages that it counts.
    pub fn outcome(self) -> Option<OutcomeLabel> {
        Some(match self {
            Tally::Error(_) | Tally::Request(_) => return None,
            Tally::Missed => OutcomeLabel::Missed,
            Tally::Recovered => OutcomeLabel::Recovered,
            Tally::Duplicated => OutcomeLabel::Duplicated,
            Tally::OutOfOrder => OutcomeLabel::OutOfOrder,
        })
    }
}

/// One interval of counts of one cohort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountCell {
    /// Messages due in it.
    pub due: u64,
    /// Messages due in it and never sent.
    pub not_started: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Messages whose echo came.
    pub answered: u64,
    /// Messages whose reply says that they failed.
    pub errors: u64,
    /// Messages without echo whose connection ended.
    pub lost: u64,
    /// Messages without echo when the measurement ended.
    pub unanswered: u64,
    /// Received messages with a number, each once, and those that were missed.
    pub expected: u64,
    /// Payload bytes sent.
    pub bytes_sent: u64,
    /// Payload bytes received.
    pub bytes_received: u64,
}

impl CountCell {
    fn add(&mut self, other: &CountCell) {
        self.due += other.due;
        self.not_started += other.not_started;
        self.sent += other.sent;
        self.received += other.received;
        self.answered += other.answered;
        self.errors += other.errors;
        self.lost += other.lost;
        self.unanswered += other.unanswered;
        self.expected += other.expected;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
    }
}

/// Connects and sends of one cohort that were due in one aligned second and were begun. Small, because each second of a run has one: more than
/// four billion stay that many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SecondWork {
    all: u32,
    late: u32,
}

impl SecondWork {
    fn add(&mut self, other: SecondWork) {
        (self.all, self.late) = (self.all.saturating_add(other.all), self.late.saturating_add(other.late));
    }
}

/// Attempts by the first second of the interval in which they began: cohort, fault, step, and the HTTP status of those that were rejected.
pub type AttemptKey = (u32, u16, Option<u16>, AttemptStep, Option<u16>);
/// Clients that gave up or left in an interval, by its first second: cohort and fault.
pub type LostKey = (u32, u16, Option<u16>);
/// What else is counted in an interval, by its first second: cohort, fault, what.
pub type TallyKey = (u32, u16, Option<u16>, Tally);
/// Outages by how many messages their client missed: cohort, fault, messages.
pub type MissedKey = (u16, Option<u16>, u64);

/// Outages in which about as many messages were missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissedOutages {
    /// How many.
    pub outages: u64,
    /// Messages missed in all of them, exactly.
    pub missed: u64,
    /// Most in one of them, exactly.
    pub most: u64,
}

impl MissedOutages {
    fn add(&mut self, other: MissedOutages) {
        self.outages += other.outages;
        self.missed += other.missed;
        self.most = self.most.max(other.most);
    }
}

/// All rows of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timeline {
    length: u64,
    last: usize,
    cells: Vec<Vec<Cell>>,
    intervals: CountIntervals,
    counts: Vec<Vec<CountCell>>,
    /// By second whatever the length of the run: what was late in one is not made good by others.
    work: Vec<Vec<SecondWork>>,
    /// Attempts by interval; complete once finished.
    pub attempts: BTreeMap<AttemptKey, u64>,
    /// Clients that gave up by interval.
    pub lost: BTreeMap<LostKey, u64>,
    /// Outages whose client left by plan, by the interval in which they began.
    pub left: BTreeMap<LostKey, u64>,
    /// What else is counted by interval.
    pub tallies: BTreeMap<TallyKey, u64>,
    /// Outages by what was missed in them; above 1,000 to three digits.
    pub missed: BTreeMap<MissedKey, MissedOutages>,
    /// Outages of which it is not known what was missed in them, by cohort and fault.
    pub missed_unknown: BTreeMap<(u16, Option<u16>), u64>,
    /// Attempts that were due in one instant.
    pub bursts: Bursts,
    #[serde(skip)]
    round_trips: Vec<(usize, Latency)>,
    /// Counts on their way to `attempts`: each key has one place here, and goes on when another needs it.
    #[serde(skip)]
    recent: Vec<(AttemptKey, u64)>,
    /// Round trips of closed intervals by place and cohort, encoded, where others will be added; quantiles cannot be.
    kept: Option<BTreeMap<(usize, u16), Vec<u8>>>,
}

/// Places of `recent`: a power of two, more than the keys of a second usually are.
const RECENT: usize = 64;

impl Timeline {
    /// For a run of this length, whose counts have these intervals.
    pub fn new(cohorts: usize, duration: Duration, intervals: CountIntervals) -> Timeline {
        let length = micros(interval(duration));
        Timeline {
            length,
            last: (micros(duration).saturating_sub(1) / length) as usize,
            cells: vec![Vec::new(); cohorts],
            intervals,
            counts: vec![Vec::new(); cohorts],
            work: vec![Vec::new(); cohorts],
            attempts: BTreeMap::new(),
            lost: BTreeMap::new(),
            left: BTreeMap::new(),
            tallies: BTreeMap::new(),
            missed: BTreeMap::new(),
            missed_unknown: BTreeMap::new(),
            bursts: Bursts::default(),
            round_trips: Vec::new(),
            recent: vec![((0, 0, None, AttemptStep::Begun, None), 0); RECENT],
            kept: None,
        }
    }

    /// Keeps the round trips of each interval, so that another timeline can be added without losing their quantiles.
    pub fn keep_round_trips(&mut self) {
        self.kept = Some(BTreeMap::new());
    }

    /// Length of an interval, µs.
    pub fn length_us(&self) -> u64 {
        self.length
    }

    /// The interval at this offset; beyond the end of the run the last one.
    pub fn cell(&mut self, at: u64, cohort: u16) -> &mut Cell {
        let place = ((at / self.length) as usize).min(self.last);
        at_or_grow(&mut self.cells[usize::from(cohort)], place)
    }

    /// The counts of the interval at this offset; beyond the end of the run of the last one.
    pub fn counts(&mut self, at: u64, cohort: u16) -> &mut CountCell {
        let (place, _) = self.intervals.of(second_of(at));
        at_or_grow(&mut self.counts[usize::from(cohort)], place)
    }

    /// The first second of the interval of counts at this offset; beyond the end of the run that of the last one.
    pub fn start_of(&self, at: u64) -> u32 {
        self.intervals.of(second_of(at)).1
    }

    /// How seconds are counted together.
    pub fn intervals(&self) -> &CountIntervals {
        &self.intervals
    }

    /// Counts a step at `at` µs of an attempt that began at `begun` µs; `status`: the HTTP status that rejected it.
    pub fn attempt(&mut self, at: u64, begun: u64, (cohort, fault): (u16, Option<u16>), step: AttemptStep, status: Option<u16>) {
        self.cell(at, cohort).attempts.count(step);
        let key = (self.start_of(begun), cohort, fault, step, status);
        // A search in the map for each of many millions would cost more than all the rest.
        let place = (usize::from(cohort) * 31
            + fault.map_or(0, |fault| usize::from(fault) + 1) * 8
            + step as usize
            + status.map_or(0, usize::from)
            + key.0 as usize * 17)
            % RECENT;
        let recent = &mut self.recent[place];
        if recent.0 != key {
            if recent.1 > 0 {
                *self.attempts.entry(recent.0).or_default() += recent.1;
            }
            *recent = (key, 0);
        }
        recent.1 += 1;
    }

    /// Counts a client that gave up.
    pub fn give_up(&mut self, at: u64, cohort: u16, fault: Option<u16>) {
        *self.lost.entry((self.start_of(at), cohort, fault)).or_default() += 1;
    }

    /// Counts an outage that began at `start` and whose client left by plan.
    pub fn leave(&mut self, start: u64, cohort: u16, fault: Option<u16>) {
        *self.left.entry((self.start_of(start), cohort, fault)).or_default() += 1;
    }

    /// Counts `n` of what is rare.
    pub fn tally(&mut self, at: u64, (cohort, fault): (u16, Option<u16>), what: Tally, n: u64) {
        *self.tallies.entry((self.start_of(at), cohort, fault, what)).or_default() += n;
    }

    /// Takes one back that was counted as missed at `at`.
    pub fn not_missed(&mut self, at: u64, (cohort, fault): (u16, Option<u16>)) {
        if let Some(count) = self.tallies.get_mut(&(self.start_of(at), cohort, fault, Tally::Missed)) {
            *count = count.saturating_sub(1);
        }
    }

    /// Counts an outage in which so many messages were missed.
    pub fn outage_missed(&mut self, (cohort, fault): (u16, Option<u16>), missed: u64) {
        let digits = missed.checked_ilog10().unwrap_or(0).saturating_sub(2);
        let step = 10_u64.pow(digits);
        let one = MissedOutages { outages: 1, missed, most: missed };
        self.missed.entry((cohort, fault, missed / step * step)).or_default().add(one);
    }

    /// Counts work that was due at `due` and begun at `at`; more than `tolerance` µs between them is late.
    pub fn work(&mut self, at: u64, due: u64, cohort: u16, tolerance: u64) {
        let second = second_of(due).min(self.intervals.seconds() - 1);
        let late = u32::from(at.saturating_sub(due) > tolerance);
        at_or_grow(&mut self.work[usize::from(cohort)], second as usize).add(SecondWork { all: 1, late });
    }

    /// Counts an echo with its round trip in µs.
    pub fn echo(&mut self, at: u64, cohort: u16, us: u64) {
        self.cell(at, cohort).echoed += 1;
        let place = ((at / self.length) as usize).min(self.last);
        if self.round_trips.is_empty() {
            self.round_trips = vec![(place, Latency::new()); self.cells.len()];
        }
        // A late one counts into the interval that is being filled.
        if self.round_trips[usize::from(cohort)].0 < place {
            self.close_round_trips(cohort);
            self.round_trips[usize::from(cohort)].0 = place;
        }
        self.round_trips[usize::from(cohort)].1.record(us);
    }

    /// Closes the interval being filled, and brings `attempts` up to date.
    pub fn finish(&mut self) {
        for (key, count) in self.recent.iter_mut().filter(|(_, count)| *count > 0) {
            *self.attempts.entry(*key).or_default() += std::mem::take(count);
        }
        (0..self.round_trips.len()).for_each(|cohort| self.close_round_trips(cohort as u16));
    }

    fn close_round_trips(&mut self, cohort: u16) {
        let (place, latency) = &mut self.round_trips[usize::from(cohort)];
        if latency.count() > 0 {
            let cell = at_or_grow(&mut self.cells[usize::from(cohort)], *place);
            cell.set_round_trips(latency);
            if let Some(kept) = &mut self.kept {
                // An interval is closed again where its last echo came late.
                let all = kept.entry((*place, cohort)).or_default();
                let sum = Latency::decode(all).map_or_else(|| latency.clone(), |before| before.plus(latency));
                *all = sum.encode();
            }
            latency.clear();
        }
    }

    /// All intervals up to `end` µs: offset in µs, cohort, open connections at its end, and the numbers; by offset, then cohort.
    pub fn rows(&self, end: u64) -> Vec<(u64, u16, u64, Cell)> {
        let count = (end.div_ceil(self.length).max(1) as usize).min(self.last + 1);
        let mut open = vec![0_u64; self.cells.len()];
        let mut rows = Vec::with_capacity(count * self.cells.len());
        for place in 0..count {
            for (cohort, cells) in self.cells.iter().enumerate() {
                let cell = cells.get(place).cloned().unwrap_or_default();
                open[cohort] = (open[cohort] + cell.attempts.opened).saturating_sub(cell.closed);
                rows.push((place as u64 * self.length, cohort as u16, open[cohort], cell));
            }
        }
        rows
    }

    /// All intervals of counts that have numbers: first second, cohort, numbers.
    pub fn each_count(&self) -> impl Iterator<Item = (u32, u16, CountCell)> {
        let of_cohort = |(cohort, cells): (usize, &'_ Vec<CountCell>)| {
            let cells: Vec<_> = self.intervals.starts().zip(cells).map(|(start, cell)| (start, cohort as u16, *cell)).collect();
            cells
        };
        self.counts.iter().enumerate().flat_map(of_cohort).filter(|row| row.2 != CountCell::default())
    }

    /// Work by aligned second: second, cohort, work.
    pub fn each_work(&self) -> impl Iterator<Item = (u32, u16, Work)> + Clone {
        let of_cohort = |(cohort, seconds): (usize, &'_ Vec<SecondWork>)| {
            let work = |work: &SecondWork| Work { all: work.all.into(), late: work.late.into() };
            (0..).zip(seconds.clone()).map(move |(second, of)| (second, cohort as u16, work(&of)))
        };
        self.work.iter().enumerate().flat_map(of_cohort).filter(|row| row.2.all > 0)
    }

    /// Largest share of late work in an aligned second, 0 to 1.
    pub fn late_share_max(&self) -> f64 {
        let mut all: Vec<SecondWork> = Vec::new();
        for (second, of) in self.work.iter().flat_map(|cohort| cohort.iter().enumerate()) {
            at_or_grow(&mut all, second).add(*of);
        }
        all.iter().filter(|work| work.all > 0).map(|work| f64::from(work.late) / f64::from(work.all)).fold(0.0, f64::max)
    }

    /// Whether it is one of a run of this length with so many cohorts and faults, so that all of its places are in range.
    pub(super) fn fits(&self, (cohorts, faults): (usize, usize), (duration, intervals): (Duration, &CountIntervals)) -> bool {
        let own = Timeline::new(cohorts, duration, intervals.clone());
        let whose = |cohort: u16| usize::from(cohort) < cohorts;
        let of = |fault: Option<u16>| fault.is_none_or(|fault| usize::from(fault) < faults);
        let of_cohorts = [self.cells.len(), self.counts.len(), self.work.len()] == [cohorts; 3];
        (self.length, self.last, &self.intervals) == (own.length, own.last, intervals)
            && of_cohorts
            && self.cells.iter().all(|cells| cells.len() <= own.last + 1)
            && self.counts.iter().all(|of| of.len() <= intervals.count())
            && self.work.iter().all(|of| of.len() <= intervals.seconds() as usize)
            && self.attempts.keys().all(|(start, cohort, fault, ..)| intervals.has(*start) && whose(*cohort) && of(*fault))
            && self.lost.keys().chain(self.left.keys()).all(|(start, cohort, fault)| intervals.has(*start) && whose(*cohort) && of(*fault))
            && self.missed.keys().all(|(cohort, fault, _)| whose(*cohort) && of(*fault))
            && self.missed_unknown.keys().all(|(cohort, fault)| whose(*cohort) && of(*fault))
            && self.tallies.keys().all(|(start, cohort, fault, _)| intervals.has(*start) && whose(*cohort) && of(*fault))
            && self.kept.iter().flatten().all(|((place, cohort), _)| *place <= own.last && whose(*cohort))
    }

    /// Adds another timeline of the same plan.
    pub fn add(&mut self, other: &Timeline) {
        for (cohort, cells) in other.cells.iter().enumerate() {
            cells.iter().enumerate().for_each(|(place, cell)| at_or_grow(&mut self.cells[cohort], place).add(cell));
        }
        for (key, encoded) in other.kept.iter().flatten() {
            let mine = self.kept.get_or_insert_default().entry(*key).or_default();
            let sum = [&*mine, encoded].into_iter().filter_map(|bytes| Latency::decode(bytes)).reduce(|sum, next| sum.plus(&next));
            if let Some(sum) = sum {
                *mine = sum.encode();
                at_or_grow(&mut self.cells[usize::from(key.1)], key.0).set_round_trips(&sum);
            }
        }
        for (cohort, cells) in other.counts.iter().enumerate() {
            cells.iter().enumerate().for_each(|(place, cell)| at_or_grow(&mut self.counts[cohort], place).add(cell));
        }
        for (cohort, seconds) in other.work.iter().enumerate() {
            seconds.iter().enumerate().for_each(|(second, work)| at_or_grow(&mut self.work[cohort], second).add(*work));
        }
        other.attempts.iter().for_each(|(key, count)| *self.attempts.entry(*key).or_default() += count);
        other.lost.iter().for_each(|(key, count)| *self.lost.entry(*key).or_default() += count);
        other.left.iter().for_each(|(key, count)| *self.left.entry(*key).or_default() += count);
        other.missed.iter().for_each(|(key, more)| self.missed.entry(*key).or_default().add(*more));
        other.missed_unknown.iter().for_each(|(key, count)| *self.missed_unknown.entry(*key).or_default() += count);
        other.tallies.iter().for_each(|(key, count)| *self.tallies.entry(*key).or_default() += count);
        self.bursts.add(&other.bursts);
    }
}

/// Number of the aligned second at this offset in µs.
fn second_of(at: u64) -> u32 {
    u32::try_from(at / 1_000_000).unwrap_or(u32::MAX)
}

fn at_or_grow<T: Clone + Default>(list: &mut Vec<T>, place: usize) -> &mut T {
    if list.len() <= place {
        list.resize(place + 1, T::default());
    }
    &mut list[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(cohorts: usize, duration: Duration) -> Timeline {
        Timeline::new(cohorts, duration, CountIntervals::new(duration, &[]))
    }

    #[test]
    fn a_run_has_100_to_600_rows() {
        for (seconds, ms) in
            [(1, 100), (10, 100), (40, 100), (60, 100), (61, 200), (120, 200), (300, 500), (3_600, 10_000), (86_400, 300_000)]
        {
            let length = interval(Duration::from_secs(seconds)).as_millis() as u64;
            assert_eq!(length, ms, "{seconds} s");
            assert!(seconds < 10 || (100..=600).contains(&(seconds * 1000 / length)), "{seconds} s");
        }
    }

    #[test]
    fn open_connections_follow_from_what_opened_and_closed() {
        let mut timeline = self::timeline(1, Duration::from_secs(10));
        (0..5).for_each(|_| timeline.attempt(50_000, 50_000, (0, None), AttemptStep::Opened, None));
        timeline.cell(350_000, 0).closed += 2;
        timeline.cell(99_000_000, 0).closed += 3; // after the end: in the last row
        let mut twice = timeline.clone();
        twice.add(&timeline);
        for (timeline, factor) in [(timeline, 1), (twice, 2)] {
            let rows = timeline.rows(10_000_000);
            let open = |place: usize| rows[place].2;
            assert_eq!((rows.len(), open(0), open(2), open(3), open(99)), (100, 5 * factor, 5 * factor, 3 * factor, 0));
        }
    }

    #[test]
    fn lateness_is_judged_by_the_second_in_which_work_was_due() {
        let mut timeline = self::timeline(2, Duration::from_secs(10));
        (0..99).for_each(|_| timeline.work(1_000_000, 1_000_000, 0, 20_000));
        timeline.work(2_030_000, 1_999_000, 1, 20_000);
        timeline.work(2_020_000, 2_000_000, 1, 20_000); // exactly the tolerance is not late
        assert_eq!(timeline.late_share_max(), 0.01);
    }

    #[test]
    fn round_trips_stand_in_their_interval() {
        let mut timeline = self::timeline(1, Duration::from_secs(10));
        timeline.echo(10_000, 0, 5);
        timeline.echo(150_000, 0, 7);
        timeline.echo(160_000, 0, 9);
        timeline.finish();
        let rows = timeline.rows(200_000);
        assert_eq!((rows[0].3.rtt_p50, rows[1].3.rtt_p50, rows[1].3.rtt_max, rows[1].3.echoed), (Some(5), Some(7), Some(9), 2));
    }
}
