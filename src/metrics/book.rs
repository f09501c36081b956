//! What a run amounts to: the results, ready to be added to others, written and judged.

use super::answers::Answers;
use super::distributions::Distributions;
use super::ending::{Counted, Reasons};
use super::latency::Latency;
use super::lateness::{self, Parts, Work};
use super::ledger::{Ledger, LedgerError, same};
use super::meta::RunMeta;
use super::metric::TimeMetric;
use super::milestones::SampledEvent;
use super::outage::Outage;
use super::peak::Peaks;
use super::sample::Sample;
use super::survival::Survival;
use super::timeline::Timeline;
use super::told_apart::ToldApart;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It reached its planned length.
    Completed,
    /// It was stopped before, or before all seeds asked for were done.
    Aborted,
}

impl Status {
    /// As in files.
    pub fn name(self) -> &'static str {
        match self {
            Status::Completed => "completed",
            Status::Aborted => "aborted",
        }
    }
}

/// The results of one cohort.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CohortCounts {
    /// Attempts, connections and endings.
    pub ledger: Ledger,
    /// Clients that began an attempt.
    pub started: u64,
    /// Clients that were ready at least once.
    pub ready: u64,
    /// Clients that began and never opened.
    pub never_opened: u64,
    /// Most open at a time; after an addition, at the end of an interval.
    pub peak_open: u64,
    /// Clients that gave up by their policy.
    pub lost: u64,
    /// Outages.
    pub affected: u64,
    /// Outages that ended.
    pub recovered: u64,
    /// Outages cut by the end of the run.
    pub censored: u64,
    /// Of them those whose client left by plan before the end of the run.
    pub left: u64,
    /// Attempts of outages that ended.
    pub recovery_attempts: u64,
    /// Messages due.
    pub due: u64,
    /// Messages due and not sent.
    pub not_started: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Greetings of the embedded server, which are not among `received`.
    pub greetings: u64,
    /// Messages of dialogues sent, requests not among them.
    pub said: u64,
    /// Messages of dialogues that came and are neither replies nor among `received`.
    pub heard: u64,
    /// Messages sent whose reply came and is no error.
    pub answered: u64,
    /// Messages sent whose reply says that they failed.
    pub errors: u64,
    /// Received messages with a number, each once, and those that were missed.
    pub expected: u64,
    /// Of them those that did not come.
    pub missed: u64,
    /// Of them those of the time in which their client was away, and that it got later.
    pub recovered_messages: u64,
    /// Messages with a number that came again.
    pub duplicated: u64,
    /// Messages with a number that came after later ones.
    pub out_of_order: u64,
    /// Messages sent whose connection ended before their echo came.
    pub lost_messages: u64,
    /// Messages sent whose echo had not come when the measurement ended.
    pub unanswered: u64,
}

impl CohortCounts {
    /// Adds the counts of another; `peak_open` becomes the sum, which is an upper bound.
    pub fn add(&mut self, other: &CohortCounts) {
        self.ledger.add(&other.ledger);
        self.started += other.started;
        self.ready += other.ready;
        self.never_opened += other.never_opened;
        self.peak_open += other.peak_open;
        self.lost += other.lost;
        self.affected += other.affected;
        self.recovered += other.recovered;
        self.censored += other.censored;
        self.left += other.left;
        self.recovery_attempts += other.recovery_attempts;
        self.due += other.due;
        self.not_started += other.not_started;
        self.sent += other.sent;
        self.received += other.received;
        self.greetings += other.greetings;
        self.said += other.said;
        self.heard += other.heard;
        self.answered += other.answered;
        self.errors += other.errors;
        self.expected += other.expected;
        self.missed += other.missed;
        self.recovered_messages += other.recovered_messages;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.lost_messages += other.lost_messages;
        self.unanswered += other.unanswered;
    }
}

/// What is counted of one fault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultBook {
    /// First firing, µs.
    pub first: Option<u64>,
    /// Last revert, µs.
    pub reverted: Option<u64>,
    /// Firings; of one of processes, one for each instance.
    pub fired: u64,
    /// Their numbers.
    pub firings: BTreeSet<u32>,
    /// Reverts.
    pub reverts: u64,
    /// Selected over all firings.
    pub selected: u64,
    /// Connections and attempts on which it acted.
    pub injected: u64,
    /// Outages of this fault that ended.
    pub recovered: u64,
    /// `injected` by cohort.
    pub cohorts: BTreeMap<u16, u64>,
    /// Connections that the server's heartbeat found dead and whose clients had not noticed by the end, by cohort.
    pub found_alone: BTreeMap<u16, u64>,
}

impl FaultBook {
    pub(super) fn add(&mut self, other: &FaultBook) {
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.reverted = self.reverted.max(other.reverted);
        // Every shard sees the same firings, each with its own clients.
        self.fired = self.fired.max(other.fired);
        self.firings.extend(&other.firings);
        self.reverts = self.reverts.max(other.reverts);
        self.selected += other.selected;
        self.injected += other.injected;
        self.recovered += other.recovered;
        other.cohorts.iter().for_each(|(cohort, count)| *self.cohorts.entry(*cohort).or_default() += count);
        other.found_alone.iter().for_each(|(cohort, count)| *self.found_alone.entry(*cohort).or_default() += count);
    }
}

/// The results of a run.
#[derive(Clone, Debug)]
pub struct Results {
    /// What they refer to.
    pub meta: RunMeta,
    /// From the simulator.
    pub simulated: bool,
    /// How the run ended.
    pub status: Status,
    /// Length when the measurement ended.
    pub measured: Duration,
    /// By cohort, in the order of the plan.
    pub books: Vec<CohortCounts>,
    /// Most clients open at a time, over all cohorts.
    pub peak_open: u64,
    /// By fault, in the order of the plan.
    pub faults: Vec<FaultBook>,
    /// Distributions.
    pub bank: Distributions,
    /// Numbers over time.
    pub timeline: Timeline,
    /// What was counted for peaks.
    pub peaks: Peaks,
    /// How servers turned attempts away.
    pub answers: Answers,
    /// Endings by interval and key.
    pub endings: BTreeMap<Counted, u64>,
    /// Which of their codes are told apart.
    pub told: ToldApart,
    /// Reasons with which connections ended.
    pub reasons: Reasons,
    /// Outages.
    pub outages: Sample<Outage>,
    /// Events of the run: faults, target, notices.
    pub milestones: Sample<SampledEvent>,
    /// Events of clients.
    pub events: Sample<SampledEvent>,
    /// Notices with their counts.
    pub notices: BTreeMap<String, u64>,
    /// What the measuring processes used.
    pub usage: ProcessUsage,
    /// Processes that had the clients.
    pub workers: u32,
    /// How late the load generators of its parts were, where it was added up from some.
    pub parts: Parts,
    /// Parts that were lost, in words: the results are not those of the plan.
    pub lost: Vec<String>,
    /// What was planned and not carried out, and limits of this machine that were hit, in words and each once: no property of the server.
    pub unreliable: Vec<String>,
}

/// What the measuring process used; all zero where nobody looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessUsage {
    /// Processor time, s.
    pub cpu_s: f64,
    /// Largest resident size.
    pub rss_peak_bytes: u64,
    /// Resident size before the first client.
    pub rss_base_bytes: u64,
    /// Opening handshakes that the target was asked for before offset 0; they are in no count.
    pub uncounted_openings: u64,
}

impl ProcessUsage {
    /// Adds what another process used.
    pub fn add(&mut self, other: ProcessUsage) {
        self.cpu_s += other.cpu_s;
        self.rss_peak_bytes += other.rss_peak_bytes;
        self.rss_base_bytes += other.rss_base_bytes;
        self.uncounted_openings += other.uncounted_openings;
    }
}

impl Results {
    /// Whether the ledger balances: of each cohort, then of the run.
    pub fn check_ledger(&self) -> Result<(), LedgerError> {
        let mut total = Ledger::default();
        for (book, meta) in self.books.iter().zip(&self.meta.cohorts) {
            let scope = format!("cohort {}", meta.name);
            book.ledger.check(&scope)?;
            same("outages", &scope, book.affected, book.recovered + book.censored, "affected = recovered + censored")?;
            same("outages", &scope, book.left, book.left.min(book.censored), "left <= censored")?;
            same("messages", &scope, book.due, book.not_started + book.sent, "due = not_started + sent")?;
            if meta.echoes {
                let became = book.answered + book.errors + book.lost_messages + book.unanswered;
                same("messages", &scope, book.sent, became, "sent = answered + errors + lost + unanswered")?;
            }
            total.add(&book.ledger);
        }
        total.check("the run")?;
        same("outages", "the run", self.total().left, self.timeline.left.values().sum(), "left = sum of left by interval")?;
        same("endings", "the run", total.closed, self.endings.values().sum(), "closed = sum of endings")
    }

    /// The results of all cohorts together.
    pub fn total(&self) -> CohortCounts {
        let mut total = CohortCounts::default();
        self.books.iter().for_each(|book| total.add(book));
        total.peak_open = self.peak_open;
        total
    }

    /// The distribution of a metric over all cohorts and faults.
    pub fn latency(&self, metric: TimeMetric) -> Latency {
        self.bank.sum(metric, |_| true)
    }

    /// The same with what was cut and what never ends.
    pub fn survival(&self, metric: TimeMetric) -> Survival {
        self.bank.survival(metric, |_| true)
    }

    /// Whether the generator was too late for its measurements to be trusted.
    pub fn saturated(&self) -> bool {
        !self.saturated_seconds().is_empty()
    }

    /// Seconds in which it was, or that of one of the parts.
    pub fn saturated_seconds(&self) -> Vec<u32> {
        let parts = self.parts.saturated.iter().flat_map(|(_, seconds)| seconds.keys().copied());
        let all: BTreeSet<u32> = self.saturated_together().into_keys().chain(parts).collect();
        all.into_iter().collect()
    }

    /// The same of all parts added up.
    fn saturated_together(&self) -> BTreeMap<u32, Work> {
        let name = |cohort: u16| self.meta.cohorts.get(usize::from(cohort)).map_or("", |cohort| cohort.name.as_str());
        let work = self.timeline.each_work().map(|(second, cohort, work)| (second, name(cohort), work));
        lateness::saturated(work, &self.meta.feeds)
    }

    /// Largest share of late work in a second, of the whole or of a part, 0 to 1.
    pub fn late_share_max(&self) -> f64 {
        self.timeline.late_share_max().max(self.parts.share_max)
    }

    /// Notes how late the load generator of a part was, which may have parts itself.
    pub fn note_lateness(&mut self, name: &str, part: &Results) {
        self.parts.share_max = self.parts.share_max.max(part.late_share_max());
        let inner = part.parts.saturated.iter().map(|(of, seconds)| (format!("{name}, {of}"), seconds.clone()));
        let mut late: Vec<_> = inner.collect();
        let own = part.saturated_together();
        if late.is_empty() && !own.is_empty() {
            late.push((name.to_owned(), own));
        }
        self.parts.saturated.extend(late);
    }

    /// Adds a reason for which the results do not tell of the server; each once.
    pub fn cannot_rely(&mut self, reason: &str) {
        if !self.unreliable.iter().any(|known| known == reason) {
            self.unreliable.push(reason.to_owned());
        }
    }

    /// Adds the results of another part of the same plan: counters and histograms are added, never averaged.
    pub fn add(&mut self, other: &Results) {
        self.simulated |= other.simulated;
        self.measured = self.measured.max(other.measured);
        if other.status == Status::Aborted {
            self.status = Status::Aborted;
        }
        self.books.iter_mut().zip(&other.books).for_each(|(book, other)| book.add(other));
        self.faults.iter_mut().zip(&other.faults).for_each(|(book, other)| book.add(other));
        self.bank.add(&other.bank);
        self.timeline.add(&other.timeline);
        self.peaks.add(&other.peaks);
        self.answers.add(&other.answers);
        let had_others = self.told.has_others() || other.told.has_others();
        self.told.add(&other.told);
        let all = std::mem::take(&mut self.endings).into_iter().chain(other.endings.iter().map(|(key, count)| (key.clone(), *count)));
        all.for_each(|((second, key), count)| *self.endings.entry((second, key.named(&self.told))).or_default() += count);
        self.reasons.add(&other.reasons);
        self.outages.add(&other.outages);
        super::milestones::add(&mut self.milestones, &other.milestones);
        self.events.add(&other.events);
        other.notices.iter().for_each(|(text, count)| *self.notices.entry(text.clone()).or_default() += count);
        if self.told.has_others() && !had_others {
            *self.notices.entry(super::told_apart::MANY_CODES.to_owned()).or_default() += 1;
        }
        self.usage.add(other.usage);
        self.workers += other.workers;
        self.lost.extend_from_slice(&other.lost);
        other.unreliable.iter().for_each(|reason| self.cannot_rely(reason));
        self.peaks();
    }

    /// Peaks do not add: after an addition they are those at the ends of intervals.
    fn peaks(&mut self) {
        let mut open: BTreeMap<u64, u64> = BTreeMap::new();
        self.books.iter_mut().for_each(|book| book.peak_open = 0);
        for (offset, cohort, count, _) in self.timeline.rows(super::latency::micros(self.measured)) {
            *open.entry(offset).or_default() += count;
            let book = &mut self.books[usize::from(cohort)];
            book.peak_open = book.peak_open.max(count);
        }
        self.peak_open = open.into_values().max().unwrap_or(0);
    }
}
