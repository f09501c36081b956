//! The page of a run under way: the same page, whose data comes from the plan and the stream of snapshots. Of bounded size however long a run is.
//!
//! What only the end of a run tells is not here: the verdict, curves of single cohorts, phases, endings by cause, round trips.

use super::data::{self, AGAIN_MAX, PageCloses, PageCohort, PageCurve, PageData, PageLive};
use super::{anchor, document, scenario};
use crate::expect::Expectation;
use crate::metrics::latency::supported;
use crate::metrics::timeline;
use crate::metrics::{Rates, Snapshot};
use crate::number;
use crate::plan::Plan;
use crate::plot::draw::escape;
use crate::plot::{self, Mark};
use crate::report::content::{self, WHAT_HAPPENED};
use std::collections::BTreeMap;
use std::time::Duration;

/// About the time between two snapshots: what the second one says happened before it.
const BETWEEN: Duration = Duration::from_millis(200);
/// What the policy of the page allows besides: to follow the run, and no icon.
const POLICY: &str = "; connect-src 'self'; img-src 'self'";

/// A fault of the plan, and when it is to fire.
#[derive(Debug)]
struct LiveFault {
    name: String,
    kind: &'static str,
    firings: Vec<Duration>,
    revert_after: Option<Duration>,
}

/// How a run came to where it stands.
#[derive(Debug)]
pub(crate) struct LiveRun {
    title: String,
    question: Option<String>,
    scenario: String,
    duration: Duration,
    clients: u64,
    expectations: Vec<Expectation>,
    faults: Vec<LiveFault>,
    /// Cohorts that are told apart, of all of them.
    names: Vec<String>,
    step_ms: u64,
    cohorts: Vec<PageCohort>,
    /// Connections that ended, by bar and code.
    closes: BTreeMap<(u64, u16), u64>,
    at: Duration,
    latest: Snapshot,
    rates: Rates,
}

impl LiveRun {
    /// One that has not begun.
    pub(crate) fn of(plan: &Plan) -> LiveRun {
        let fault = |fault: &crate::plan::Fault| LiveFault {
            name: fault.name.clone(),
            kind: fault.inject.row.kind,
            firings: fault.offsets(plan.seed).take_while(|offset| *offset < plan.duration).take(AGAIN_MAX + 1).collect(),
            revert_after: fault.schedule.revert_after,
        };
        let names = data::told_apart(plan.cohorts.iter().map(|cohort| cohort.name.clone()).collect());
        let interval = timeline::interval(plan.duration).max(BETWEEN).as_millis() as u64;
        let end_ms = plan.duration.as_millis() as u64;
        let cohort = |name: &String| PageCohort { name: name.clone(), open: vec![0], attempts: vec![0], ..PageCohort::default() };
        LiveRun {
            title: plan.name.clone(),
            question: plan.question.clone(),
            scenario: plan.resolved.clone(),
            duration: plan.duration,
            clients: u64::from(plan.clients()),
            expectations: plan.expectations.clone(),
            faults: plan.faults.iter().map(fault).collect(),
            step_ms: interval * data::merged(interval, end_ms, names.len()),
            cohorts: names.iter().map(cohort).collect(),
            names,
            closes: BTreeMap::new(),
            at: Duration::ZERO,
            latest: Snapshot::default(),
            rates: Rates::default(),
        }
    }

    /// The run stands so now.
    pub(crate) fn add(&mut self, at: Duration, state: Snapshot, rates: Rates) {
        let happened = at.saturating_sub(BETWEEN / 2).min(self.duration);
        let point = (happened.as_millis() as u64 / self.step_ms) as usize;
        let before = &self.latest;
        for cohort in &mut self.cohorts {
            let open = cohort.open.last().copied().unwrap_or(0);
            // Where no snapshot came in between, nothing is known to have changed.
            cohort.open.resize(cohort.open.len().max(point + 1), open);
            cohort.attempts.resize(cohort.open.len(), 0);
            if let Some(open) = cohort.open.last_mut() {
                *open = 0;
            }
        }
        for (place, now) in state.cohorts.iter().enumerate() {
            let was = before.cohorts.get(place).copied().unwrap_or_default();
            let Some(cohort) = self.cohorts.get_mut(place.min(self.names.len().saturating_sub(1))) else { continue };
            if let (Some(open), Some(attempts)) = (cohort.open.last_mut(), cohort.attempts.last_mut()) {
                *open += now.open;
                *attempts += now.attempts.saturating_sub(was.attempts);
            }
        }
        let bar = happened.as_secs() / data::bar_s(self.duration.as_millis() as u64);
        for (code, count) in &state.closes {
            let more = count.saturating_sub(before.closes.get(code).copied().unwrap_or(0));
            if more > 0 {
                *self.closes.entry((bar, *code)).or_default() += more;
            }
        }
        (self.at, self.latest, self.rates) = (at, state, rates);
    }

    /// The page as the run stands; it follows the stream of events at `events` beside it.
    pub(crate) fn page(&self) -> String {
        let title = escape(&self.title);
        let heading = |text: &str| format!("<h2 id=\"{}\">{}</h2>\n", anchor(text), escape(text));
        let chart = |name: &str, about: &str| {
            format!(
                "<figure data-chart=\"{name}\"><div class=\"live\" hidden></div><div class=\"drawn\"></div><figcaption>{}</figcaption></figure>\n",
                escape(about)
            )
        };
        let lead = self.question.iter().map(|question| format!("<p class=\"lead\">{}</p>\n", escape(question))).collect::<String>();
        let mut main = format!(
            "<h1>{title}</h1>\n{lead}<p class=\"verdict unchecked\" id=\"status\">The run is under way.</p>\n<dl class=\"figures\"></dl>\n\
             <noscript><p>This page needs a script to follow the run. Its report will be in the run folder.</p></noscript>\n"
        );
        main += &(heading(WHAT_HAPPENED) + &chart("timeline", "Open clients, attempts and closes so far"));
        if !self.faults.is_empty() {
            let row = |fault: &LiveFault| format!("<tr><td>{}</td><td>{}</td><td></td></tr>\n", escape(&fault.name), fault.kind);
            main += &heading(content::FAULTS);
            main += &format!(
                "<div class=\"wide\" id=\"faults\"><table>\n<thead><tr><th>Fault</th><th>Kind</th><th>So far</th></tr></thead>\n<tbody>\n{}</tbody></table></div>\n",
                self.faults.iter().map(row).collect::<String>()
            );
        }
        main += &(heading(content::RECONNECT) + &chart("reconnect", "Share of outages that are over so far"));
        if !self.expectations.is_empty() {
            let point = |expectation: &Expectation| format!("<li><code>{}</code></li>", escape(&expectation.text));
            main += &heading("Expectations");
            main += &format!("<p>They are judged at the end.</p>\n<ul>{}</ul>\n", self.expectations.iter().map(point).collect::<String>());
        }
        main += &scenario(&self.scenario);
        document(&title, &main, &self.data().json(), POLICY)
    }

    /// What is new to the page.
    pub(crate) fn json(&self) -> String {
        self.data().json()
    }

    fn data(&self) -> PageData {
        let results = self.expectations.iter().map(|expectation| (expectation, ""));
        PageData {
            since: "the first arrival",
            end_ms: self.duration.as_millis() as u64,
            step_ms: self.step_ms,
            merged: 1,
            cohorts: self.cohorts.clone(),
            closes: self.closes(),
            marks: data::marks(self.marks()),
            curves: vec![self.curve()],
            limits: plot::limits_of_expectations(results, self.faults.len()),
            live: Some(self.live()),
        }
    }

    fn closes(&self) -> PageCloses {
        let (codes, others) = data::most_frequent(self.latest.closes.iter().map(|(code, count)| (*code, *count)));
        let mut cells: BTreeMap<(u64, usize), u64> = BTreeMap::new();
        for ((bar, code), count) in &self.closes {
            let place = codes.iter().position(|kept| kept == code).unwrap_or(codes.len());
            *cells.entry((*bar, place)).or_default() += count;
        }
        PageCloses {
            side: "client",
            step_ms: data::bar_s(self.duration.as_millis() as u64) * 1000,
            codes: data::code_words(codes, others),
            cells: cells.into_iter().map(|((bar, place), count)| (bar, None, place, count)).collect(),
        }
    }

    /// Of faults that have fired.
    fn marks(&self) -> Vec<Mark> {
        let us = |time: Duration| time.as_micros() as u64;
        let mark = |(fault, so_far): (&LiveFault, &crate::metrics::FaultSoFar)| {
            let fired = (so_far.fired as usize).min(fault.firings.len());
            let from = *fault.firings[..fired].first()?;
            let until_us = fault.revert_after.map(|after| us(fault.firings[fired - 1] + after));
            let again_us = fault.firings[1..fired].iter().map(|at| us(*at)).collect();
            Some(Mark::of_fault((&fault.name, so_far.fired), (us(from), until_us), again_us, self.faults.len()))
        };
        let mut marks: Vec<Mark> = self.faults.iter().zip(&self.latest.faults).filter_map(mark).collect();
        marks.sort_by_key(|mark| mark.from_us);
        marks
    }

    fn outages(&self) -> u64 {
        self.latest.recovered + self.latest.disconnected
    }

    fn curve(&self) -> PageCurve {
        let (outages, state) = (self.outages(), &self.latest);
        let mut back = 0;
        let step = |(us, count): (u64, u64)| {
            back += count;
            (us, back as f64 / outages.max(1) as f64)
        };
        let steps: Vec<_> = state.reconnect.steps().map(step).collect();
        let first = self
            .faults
            .iter()
            .zip(&state.faults)
            .filter(|(_, so_far)| so_far.fired > 0)
            .filter_map(|(fault, _)| fault.firings.first())
            .min();
        let watched = first.map_or(0, |first| self.at.saturating_sub(*first).as_micros() as u64);
        let until_us = watched.max(steps.last().map_or(0, |(us, _)| *us));
        PageCurve { cohort: None, outages, back, supported: supported(outages as f64), until_us, steps }
    }

    fn live(&self) -> PageLive {
        let (state, at) = (&self.latest, self.at.min(self.duration));
        let count = |what, n| (what, number::count(n));
        let mut figures =
            vec![count("clients planned", self.clients), count("open now", state.open), count("disconnected now", state.disconnected)];
        figures.extend((state.lost > 0).then(|| count("gave up", state.lost)));
        figures.extend([("attempts a second", number::quantity(self.rates.attempts.round())), count("attempts failed", state.failed())]);
        let quantile = |q| match state.reconnect.quantile(q, self.outages()) {
            _ if self.outages() == 0 => "—".to_owned(),
            Some(us) => number::time(us),
            None => "not yet".to_owned(),
        };
        figures.extend([("median time to reconnect", quantile(0.5)), ("p99 time to reconnect", quantile(0.99))]);
        let so_far = |(place, fault): (usize, &LiveFault)| fault.so_far(state.faults.get(place).copied().unwrap_or_default());
        PageLive {
            at_ms: at.as_millis() as u64,
            status: format!("Running: {} s of {}", at.as_secs(), number::time(self.duration.as_micros() as u64)),
            figures,
            faults: self.faults.iter().enumerate().map(so_far).collect(),
        }
    }
}

impl LiveFault {
    fn so_far(&self, so_far: crate::metrics::FaultSoFar) -> String {
        let hit = || number::counted(so_far.injected, "hit");
        match (so_far.fired, self.firings.first()) {
            (0, None) => "does not fire in this run".to_owned(),
            (0, Some(at)) => format!("due at {}", number::time(at.as_micros() as u64)),
            (1, Some(at)) => format!("fired at {}, {}", number::time(at.as_micros() as u64), hit()),
            (fired, _) => format!("fired {} times, {}", number::count(fired), hit()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{CohortSoFar, FaultSoFar};
    use crate::scenario::{Overrides, Source, load};

    fn plan(text: &str) -> Plan {
        load(&Source::Text { name: "test".to_owned(), text: text.to_owned() }, &Overrides::default()).unwrap()
    }

    fn crash(seconds: u64) -> Plan {
        plan(&format!(
            "question = 'Does it <hold>?'\nduration = '{seconds}s'\nexpect = ['reconnect_time p99 < 5s']\n\
             [clients.web]\ncount = 10\n[clients.app]\ncount = 20\n\
             [[faults]]\nname = 'cut'\nat = '2s'\ninject = {{ drop_rst = {{}} }}\n"
        ))
    }

    /// As a run of so many updates tells it: a tick a little late each time.
    fn follow(run: &mut LiveRun, updates: u64) {
        for n in 1..=updates {
            let at = BETWEEN * n as u32 + Duration::from_millis(n % 7);
            let mut state = Snapshot { open: 30, disconnected: 3, recovered: n / 20, ..Snapshot::default() };
            state.cohorts = vec![CohortSoFar { open: 10, attempts: n }, CohortSoFar { open: 20, attempts: 2 * n }];
            state.closes = BTreeMap::from([(1006, n), (4000, n / 10)]);
            state.faults = vec![FaultSoFar { fired: u64::from(n > 10), injected: 30 }];
            state.reconnect.add(123_456, n / 20);
            run.add(at, state, Rates::default());
        }
    }

    #[test]
    fn what_the_stream_told_is_in_the_data_once() {
        let mut run = LiveRun::of(&crash(60));
        follow(&mut run, 100);
        let data = run.data();
        assert_eq!((data.end_ms, data.step_ms, data.cohorts[0].open.len()), (60_000, 200, 100));
        assert_eq!(data.cohorts.iter().map(|cohort| cohort.attempts.iter().sum::<u64>()).collect::<Vec<_>>(), [100, 200]);
        assert!(data.cohorts.iter().all(|cohort| cohort.attempts.iter().all(|n| *n == cohort.attempts[0])), "an update is a point");
        assert!(data.cohorts[1].open.iter().all(|open| *open == 20));
        assert_eq!(data.closes.codes, ["1006", "4000"]);
        let closes = |place| data.closes.cells.iter().filter(|cell| cell.2 == place).map(|cell| cell.3).sum::<u64>();
        assert_eq!((closes(0), closes(1)), (100, 10));
        assert_eq!(data.marks.iter().map(|mark| (mark.label.as_str(), mark.from_ms)).collect::<Vec<_>>(), [("cut at 2 s", 2000.0)]);
        assert_eq!((data.curves[0].outages, data.curves[0].back, &data.curves[0].steps[..]), (8, 5, &[(130_000, 0.625)][..]));
        assert_eq!((data.limits.len(), data.limits[0].us), (1, 5e6));
        let live = data.live.unwrap();
        assert_eq!((live.status.as_str(), &live.faults[..]), ("Running: 20 s of 60 s", &["fired at 2 s, 30 hits".to_owned()][..]));
        assert!(live.figures.contains(&("p99 time to reconnect", "not yet".to_owned())), "{live:?}");
    }

    #[test]
    fn a_long_run_stays_small() {
        let mut run = LiveRun::of(&crash(86_400));
        follow(&mut run, 432_000);
        let json = run.json();
        assert!(run.cohorts[0].open.len() <= 600 && json.len() < 40_000, "{} {}", run.cohorts[0].open.len(), json.len());
        assert_eq!(run.cohorts[1].attempts.iter().sum::<u64>(), 864_000);
    }

    #[test]
    fn more_cohorts_than_are_shown_are_one() {
        let cohorts: String = (0..130).map(|n| format!("[clients.c{n}]\ncount = 1\n")).collect();
        let mut run = LiveRun::of(&plan(&format!("duration = '10s'\n{cohorts}")));
        let state = Snapshot { cohorts: vec![CohortSoFar { open: 1, attempts: 1 }; 130], ..Snapshot::default() };
        run.add(BETWEEN, state, Rates::default());
        assert_eq!((run.cohorts.len(), run.cohorts[99].open[0], run.cohorts[0].open[0]), (100, 31, 1));
    }

    #[test]
    fn the_page_holds_what_is_the_users_as_text() {
        let page = LiveRun::of(&crash(60)).page();
        assert!(page.contains("<p class=\"lead\">Does it &lt;hold&gt;?</p>") && page.contains("connect-src 'self'"));
        assert!(page.contains("<code>reconnect_time p99 &lt; 5s</code>"), "{page}");
    }
}
