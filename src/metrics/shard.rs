//! The results of a part of a run as bytes, on their way to the whole.
//!
//! Not a format for others: only the program that wrote it reads it, in the same version, with the plan beside it. `results::shard`
//! sees to that, and [`Results::add`] puts parts together.

use super::answers::Answers;
use super::book::{CohortCounts, FaultBook, ProcessUsage, Results, Status};
use super::distributions::Distributions;
use super::ending::{Counted, EndingKey, Reasons};
use super::greatest::is_bounded;
use super::lateness::Parts;
use super::meta::RunMeta;
use super::milestones::SampledEvent;
use super::outage::Outage;
use super::peak::{Bins, Peaks};
use super::sample::Sample;
use super::timeline::Timeline;
use super::told_apart::ToldApart;
use crate::close::Cause;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// How much later than planned the measurement of a run may have ended.
const AFTER_THE_END: Duration = Duration::from_secs(3_600);
/// Processes that the clients of a run may be divided among.
const MOST_WORKERS: u32 = 1 << 16;

/// [`Results`] without what the plan tells.
#[derive(Serialize, Deserialize)]
struct Body {
    status: Status,
    measured: Duration,
    books: Vec<CohortCounts>,
    peak_open: u64,
    faults: Vec<FaultBook>,
    bank: Distributions,
    timeline: Timeline,
    peaks: (Vec<Bins>, Vec<Bins>),
    answers: Answers,
    endings: BTreeMap<Counted, u64>,
    told: ToldApart,
    reasons: Reasons,
    outages: Sample<Outage>,
    milestones: Sample<SampledEvent>,
    events: Sample<SampledEvent>,
    notices: BTreeMap<String, u64>,
    usage: ProcessUsage,
    workers: u32,
    parts: Parts,
    lost: Vec<String>,
    unreliable: Vec<String>,
}

impl Body {
    /// Whether every index is one of the plan, and every moment one of the run. Whoever reads the results relies on it.
    fn fits(&self, meta: &RunMeta) -> bool {
        let cohorts = meta.cohorts.len();
        let whose = |cohort: &u16| usize::from(*cohort) < cohorts;
        let planned = |fault: u16| usize::from(fault) < meta.faults.len();
        let caused = |key: &EndingKey| !matches!(key.cause, Cause::Fault(fault) if !planned(fault)) && key.fault.is_none_or(planned);
        self.measured <= meta.duration.saturating_add(AFTER_THE_END)
            && self.workers <= MOST_WORKERS
            && self.bank.fits(cohorts, meta.faults.len(), &meta.watches)
            && self.timeline.fits((cohorts, meta.faults.len()), (meta.duration, &meta.intervals))
            && self.answers.fits(cohorts)
            && self.faults.iter().all(|book| book.cohorts.keys().chain(book.found_alone.keys()).all(whose))
            && self.endings.keys().all(|(start, key)| meta.intervals.has(*start) && whose(&key.cohort) && caused(key))
            && self.outages.fits(|outage| outage.fits(cohorts) && outage.fault.is_none_or(planned))
            && self.milestones.fits(|_| true)
            && self.events.fits(|_| true)
    }
}

/// Why bytes are no results.
#[derive(Debug, thiserror::Error)]
#[error("the results of a worker or shard cannot be read: {0}")]
pub struct Unreadable(String);

/// Results as bytes.
pub fn encode(results: Results) -> Vec<u8> {
    let Results {
        meta: _,
        simulated: _,
        status,
        measured,
        books,
        peak_open,
        faults,
        bank,
        timeline,
        peaks,
        answers,
        endings,
        told,
        reasons,
        outages,
        milestones,
        events,
        notices,
        usage,
        workers,
        parts,
        lost,
        unreliable,
    } = results;
    let body = Body {
        status,
        measured,
        books,
        peak_open,
        faults,
        bank,
        timeline,
        peaks: peaks.into_bins(),
        answers,
        endings,
        told,
        reasons,
        outages,
        milestones,
        events,
        notices,
        usage,
        workers,
        parts,
        lost,
        unreliable,
    };
    // Fails only for types without a length or a full writer; ours have one, and memory grows.
    postcard::to_stdvec(&body).expect("every type of the books has its length")
}

/// Results of the plan that `meta` is of.
///
/// # Errors
/// The bytes are cut, of another version, or of a plan with other cohorts or faults.
pub fn decode(meta: RunMeta, bytes: &[u8]) -> Result<Results, Unreadable> {
    let body: Body = postcard::from_bytes(bytes).map_err(|error| Unreadable(error.to_string()))?;
    if body.books.len() != meta.cohorts.len() || body.faults.len() != meta.faults.len() {
        return Err(Unreadable("they belong to another plan".to_owned()));
    }
    if !is_bounded(&body) || !body.fits(&meta) {
        return Err(Unreadable("they name what the plan does not have, or numbers that no run can have".to_owned()));
    }
    let peaks = Peaks::from_bins(body.peaks, meta.cohorts.len(), (&meta.peaks, meta.duration))
        .ok_or_else(|| Unreadable("they belong to another plan".to_owned()))?;
    Ok(Results {
        meta,
        simulated: false,
        status: body.status,
        measured: body.measured,
        books: body.books,
        peak_open: body.peak_open,
        faults: body.faults,
        bank: body.bank,
        timeline: body.timeline,
        peaks,
        answers: body.answers,
        endings: body.endings,
        told: body.told,
        reasons: body.reasons,
        outages: body.outages,
        milestones: body.milestones,
        events: body.events,
        notices: body.notices,
        usage: body.usage,
        workers: body.workers,
        parts: body.parts,
        lost: body.lost,
        unreliable: body.unreliable,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::Recorder;
    use super::super::tests::{ending, meta};
    use super::super::timeline::Tally;
    use super::*;
    use crate::close::Cause;
    use crate::event::{ClientIndex, Closing, ConnectionNo, Event, GiveUp, Outcome, Sequenced};
    use crate::metrics::intervals::CountIntervals;
    use crate::observer::Observer;
    use crate::plan::Shard;
    use crate::results::{hlog, tables};
    use crate::seed::Stream;
    use proptest::prelude::*;

    const CLIENTS: u32 = 50;
    pub(in crate::metrics) const END: Duration = Duration::from_secs(5);

    /// A client's numbers in [`story`].
    #[derive(Clone, Default)]
    struct StoryStream {
        begun: bool,
        /// With which the last one came.
        connection: u32,
        /// The last gap: when it was found, messages of it that may still come, and whether the client was away.
        found: Duration,
        left: u64,
        away: bool,
    }

    /// Events of a run, made up: each client attempts, opens, talks, ends; a fault strikes a server process now and then.
    pub(in crate::metrics) fn story(random: &mut Stream) -> Vec<(Duration, Event)> {
        let mut events = Vec::new();
        let mut clients = vec![(0_u32, false); CLIENTS as usize];
        let mut streams = vec![StoryStream::default(); CLIENTS as usize];
        let mut at = Duration::ZERO;
        while at < END {
            at += Duration::from_micros(random.below(12_000));
            let client = ClientIndex(random.below(u64::from(CLIENTS)) as u32);
            let (attempts, open) = clients[client.0 as usize];
            let connection = ConnectionNo(attempts);
            let mut tell = |event| events.push((at, event));
            match (open, random.below(12)) {
                (_, 0) if random.below(40) == 0 => {
                    tell(Event::Fired { fault: 0, firing: 0, selected: CLIENTS, eligible: None });
                    tell(Event::Target { instance: 0, what: "down", detail: String::new() });
                    for (index, (attempts, _)) in clients.iter().enumerate().filter(|(_, (_, open))| *open) {
                        let (client, connection) = (ClientIndex(index as u32), ConnectionNo(*attempts));
                        tell(Event::Injected { fault: 0, client, connection });
                    }
                }
                (true, 0..=1) => {
                    let ending = ending(if random.below(5) == 0 { Cause::Stay } else { Cause::Remote }, 1000 + random.below(8) as u16);
                    let server = Event::ServerEnded { client, connection, ending: Box::new(ending.clone()) };
                    let closing = Some(Closing { ack: Some(Duration::from_micros(random.below(9_000))), total: Duration::from_millis(9) });
                    if random.below(2) == 0 {
                        tell(server.clone());
                        tell(Event::Ended { client, connection, ending: Box::new(ending), closing });
                    } else {
                        tell(Event::Ended { client, connection, ending: Box::new(ending), closing: None });
                        tell(server);
                    }
                    clients[client.0 as usize].1 = false;
                    match random.below(20) {
                        0 => tell(Event::GaveUp { client, why: GiveUp::Retries }),
                        1..=3 => tell(Event::Left { client }),
                        _ => {}
                    }
                }
                (true, 2..=6) => {
                    let stream = &mut streams[client.0 as usize];
                    let back = std::mem::replace(&mut stream.connection, attempts) != attempts && stream.begun;
                    let missed = random.below(3) * random.below(900);
                    let found = match (stream.begun, random.below(5)) {
                        (true, 0) if stream.left > 0 => {
                            stream.left -= 1;
                            Sequenced::Late { found: stream.found, away: stream.away, back }
                        }
                        (true, 1) => Sequenced::Duplicate { back },
                        (true, 2) | (true, _) if back => Sequenced::Back { missed },
                        (true, 2) => Sequenced::Gap { missed },
                        _ => Sequenced::Next,
                    };
                    if let Sequenced::Back { missed } | Sequenced::Gap { missed } = found {
                        (stream.found, stream.left, stream.away) = (at, missed, back);
                    }
                    stream.begun = true;
                    tell(Event::Sequenced { client, found, replayed: random.below(4) == 0 });
                    let took = Duration::from_micros(random.below(90_000));
                    tell(Event::Broadcast { client, took, negative: random.below(7) == 0 });
                    if random.below(9) == 0 {
                        tell(Event::ErrorHeard { client, error: random.below(2) as u16 });
                    }
                }
                (true, _) => {
                    let due = at.saturating_sub(Duration::from_micros(random.below(30_000)));
                    tell(Event::Sent { client, due, bytes: 10 });
                    tell(Event::Echoed { client, bytes: 10, due, sent: at, error: false });
                }
                (false, chance) => {
                    let number = ConnectionNo(attempts + 1);
                    clients[client.0 as usize].0 += 1;
                    let (took, late) = (Duration::from_micros(random.below(30_000)), random.below(9) == 0);
                    let status = (!late).then(|| 200 + random.below(3) as u16);
                    tell(Event::Requested { client, took, status, late });
                    tell(Event::AttemptStarted { client, due: at.saturating_sub(Duration::from_micros(random.below(25_000))) });
                    match chance {
                        0..=2 => {
                            let times = crate::event::Stages::default();
                            tell(Event::AttemptFailed {
                                client,
                                stage: crate::event::Stage::Tcp,
                                outcome: Outcome::TimedOut,
                                times,
                                fault: None,
                            })
                        }
                        _ => {
                            let (tcp, upgrade) = (Duration::from_micros(random.below(900)), Duration::from_micros(random.below(9_000)));
                            tell(Event::Opened { client, connection: number, instance: 0, tcp, tls: None, resumed: false, upgrade });
                            if chance > 3 {
                                tell(Event::Ready { client, connection: number });
                            }
                            clients[client.0 as usize].1 = true;
                        }
                    }
                }
            }
        }
        events
    }

    pub(in crate::metrics) fn record(meta: &RunMeta, shard: Option<Shard>, events: &[(Duration, Event)]) -> Results {
        let mut recorder = Recorder::of(meta.clone(), shard.unwrap_or(Shard::WHOLE), true, false);
        for (at, event) in events {
            let own = match (super::super::subject(event).0, shard) {
                (_, None) => true,
                (Some(client), Some(shard)) => shard.owns(client.0),
                // The process that leads tells of the target; a firing is everybody's, each with what it selected.
                (None, Some(shard)) => shard.index == 0 || matches!(event, Event::Fired { .. }),
            };
            match event {
                Event::Fired { fault, firing, .. } if shard.is_some() => {
                    let selected = shard.map_or(0, |shard| shard.count(CLIENTS));
                    recorder.on(*at, &Event::Fired { fault: *fault, firing: *firing, selected, eligible: None });
                }
                event if own => recorder.on(*at, event),
                _ => {}
            }
        }
        recorder.finish(END, Status::Completed)
    }

    /// As a reader of the interval log finds them.
    fn logged(results: &Results) -> Vec<hlog::Distribution> {
        let mut log = Vec::new();
        hlog::write_log(&mut log, results, 0.0).unwrap();
        hlog::read_log(&log).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

        #[test]
        fn parts_added_up_are_the_whole(seed in any::<u64>(), of in 1..5_u32, width in 1..4_u32) {
            let mut meta = RunMeta { duration: END, ..meta() };
            (meta.cohorts[0].planned, meta.cohorts[1].planned) = (30, 20);
            meta.cohorts[1].awaits_ready = true;
            meta.errors = vec!["slow_down".to_owned(), "full".to_owned()];
            meta.intervals = CountIntervals::of_width(width.next_power_of_two(), END);
            let events = story(&mut crate::seed::Seed(seed).stream("story"));
            let whole = record(&meta, None, &events);
            let mut sum = record(&meta, Some(Shard { index: 0, of }), &events);
            for index in 1..of {
                let part = record(&meta, Some(Shard { index, of }), &events);
                sum.add(&decode(meta.clone(), &encode(part)).unwrap());
            }
            sum.check_ledger().unwrap();
            let mut books = sum.books.clone();
            // Peaks do not add: those of a sum are at the ends of intervals.
            for (book, whole) in books.iter_mut().zip(&whole.books) {
                prop_assert!(book.peak_open <= whole.peak_open);
                book.peak_open = whole.peak_open;
            }
            prop_assert_eq!(&books, &whole.books);
            prop_assert_eq!(&sum.faults, &whole.faults);
            prop_assert_eq!(&sum.timeline.tallies, &whole.timeline.tallies);
            prop_assert_eq!(&sum.timeline.missed, &whole.timeline.missed);
            prop_assert_eq!(&sum.timeline.missed_unknown, &whole.timeline.missed_unknown);
            prop_assert!(whole.total().left > 0);
            prop_assert!(whole.total().missed > 0 && !whole.timeline.missed.is_empty());
            let missed = |results: &Results| {
                let of = results.timeline.tallies.iter().filter(|(key, _)| key.3 == Tally::Missed);
                of.map(|(_, n)| n).sum::<u64>()
            };
            prop_assert_eq!(missed(&whole), whole.total().missed, "what came after all was taken back where it was counted");
            // Each process begins its own attempts: of those due in one instant fewer go before, which excuse less lateness, so a part may
            // count an attempt as late that the whole does not.
            let late_apart = |results: &Results| -> (Vec<_>, Vec<_>) {
                // Where intervals are longer, it depends on what was late which seconds stand apart.
                let rows = tables::count_rows(results).into_iter().filter(|row| row.metric != "work" || row.outcome.as_deref() == Some("late") || width == 1);
                rows.partition(|row| row.outcome.as_deref() == Some("late"))
            };
            let ((late, rows), (late_whole, rows_whole)) = (late_apart(&sum), late_apart(&whole));
            prop_assert_eq!(rows, rows_whole);
            for row in &late_whole {
                let same = late.iter().find(|other| (other.second, &other.cohort) == (row.second, &row.cohort));
                prop_assert!(same.is_some_and(|other| other.count >= row.count));
            }
            prop_assert_eq!(tables::ending_rows(&sum), tables::ending_rows(&whole));
            prop_assert_eq!(tables::timeline_rows(&sum), tables::timeline_rows(&whole));
            let but_lag = |mut rows: Vec<hlog::Distribution>| {
                rows.retain(|row| row.metric != "lag");
                rows
            };
            let broadcasts = |row: &&hlog::Distribution| row.metric.starts_with("broadcast_latency");
            prop_assert!(hlog::distributions(&whole).iter().filter(broadcasts).count() > 1);
            prop_assert_eq!(but_lag(hlog::distributions(&sum)), but_lag(hlog::distributions(&whole)));
            prop_assert_eq!(but_lag(logged(&sum)), but_lag(logged(&whole)));
            prop_assert_eq!(sum.reasons.top(99), whole.reasons.top(99));
            prop_assert_eq!(&sum.peaks, &whole.peaks);
            prop_assert_eq!(&sum.answers, &whole.answers);
            prop_assert_eq!(&sum.notices, &whole.notices);
            prop_assert!(sum.timeline.late_share_max() >= whole.timeline.late_share_max());
            prop_assert_eq!((sum.outages.seen(), sum.events.seen()), (whole.outages.seen(), whole.events.seen()));
            let milestones = |results: &Results| {
                let mut all: Vec<_> = results.milestones.kept().iter().map(|(at, _, event)| (*at, format!("{event:?}"))).collect();
                all.sort();
                all
            };
            prop_assert_eq!(milestones(&sum), milestones(&whole));
            let mut rows = (tables::reconnect_rows(&sum), tables::reconnect_rows(&whole));
            let key = |row: &crate::results::record::ReconnectRow| (row.client, row.fault_offset_us, row.attempts);
            rows.0.sort_by_key(key);
            rows.1.sort_by_key(key);
            prop_assert_eq!(rows.0, rows.1);
        }
    }

    #[test]
    fn bytes_that_are_no_books_are_refused() {
        let results = record(&meta(), None, &[]);
        let bytes = encode(results);
        assert!(decode(meta(), &bytes).is_ok());
        assert!(decode(meta(), &bytes[..bytes.len() / 2]).is_err());
        let mut other = meta();
        other.cohorts.pop();
        assert!(decode(other, &bytes).unwrap_err().to_string().contains("another plan"));
    }

    #[test]
    fn what_no_run_of_the_plan_can_have_is_refused() {
        type Change = fn(&mut Results);
        let changes: [(&str, Change); 15] = [
            ("nothing", |_| {}),
            ("an answer of a cohort", |results| {
                let answer = super::super::answers::RefusalAnswer { status: 503, retry_after_s: None, location: None };
                results.answers.count(99, answer, 1);
            }),
            ("a client that gave up after the end", |results| _ = results.timeline.lost.insert((u32::MAX, 0, None), 1)),
            ("a client that gave up of a cohort", |results| _ = results.timeline.lost.insert((0, 99, None), 1)),
            ("a client that gave up of a fault", |results| _ = results.timeline.lost.insert((0, 0, Some(99)), 1)),
            ("a tally of a fault", |results| _ = results.timeline.tallies.insert((0, 0, Some(99), Tally::Missed), 1)),
            ("an unknown outage of a fault", |results| _ = results.timeline.missed_unknown.insert((0, Some(99)), 1)),
            ("an outage of a fault", |results| _ = results.timeline.missed.insert((0, Some(99), 3), Default::default())),
            ("an attempt of a fault", |results| {
                let key = (0, 0, Some(99), crate::metrics::attempts::AttemptStep::Begun, None);
                results.timeline.attempts.insert(key, 1);
            }),
            ("an ending of a cohort", |results| {
                let (second, key) = results.endings.keys().next().expect("there is one").clone();
                results.endings.insert((second, EndingKey { cohort: 99, ..key }), 1);
            }),
            ("an ending of a fault", |results| {
                let (second, key) = results.endings.keys().next().expect("there is one").clone();
                results.endings.insert((second, EndingKey { fault: Some(99), ..key }), 1);
            }),
            ("an ending by a fault", |results| {
                let (second, key) = results.endings.keys().next().expect("there is one").clone();
                results.endings.insert((second, EndingKey { cause: Cause::Fault(99), ..key }), 1);
            }),
            ("a fault of a cohort", |results| _ = results.faults[0].cohorts.insert(99, 1)),
            ("a time", |results| results.measured = Duration::from_secs(1 << 50)),
            ("a count", |results| results.books[0].sent = u64::MAX),
        ];
        for (what, change) in changes {
            let mut results = super::super::tests::finished();
            let meta = results.meta.clone();
            change(&mut results);
            assert_eq!(decode(meta, &encode(results)).is_ok(), what == "nothing", "{what}");
        }
    }
}
