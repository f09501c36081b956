//! What each event of a client does to the results. The recorder calls these, once for each event.

use super::answers::RefusalAnswer;
use super::attempts::AttemptStep;
use super::ending::Suffered;
use super::latency::micros;
use super::losses::{FORGOTTEN, OutageLoss};
use super::meta::SeenFrom;
use super::metric::TimeMetric;
use super::outage::{Acted, SLACK_US};
use super::peak::Attempt;
use super::pending::Message;
use super::timeline::Tally;
use super::{EVER_OPENED, EVER_READY, LOST, NUMBERED, OPEN, READY, Recorder, UNDER_WAY, key};
use crate::close::{Cause, Deadline, Ending, TcpEnd};
use crate::event::Closing;
use crate::event::{ConnectionNo, Outcome, Sequenced, Stage, Stages, UnderWay};
use crate::expect::{Dir, Metric as Counted, OutcomeLabel as Became};
use crate::fault::Side;
use crate::plan::LocalRow;
use std::time::Duration;

impl Recorder {
    pub(super) fn sent(&mut self, at: u64, row: LocalRow, due: u64, bytes: u32) {
        let cohort = self.cohort(row);
        let book = &mut self.books[usize::from(cohort)];
        book.due += 1;
        book.sent += 1;
        self.timeline.cell(due, cohort).due += 1;
        self.timeline.cell(at, cohort).sent += 1;
        // By their due time, as all that becomes of them; bytes by when they went.
        let second = self.timeline.counts(due, cohort);
        second.due += 1;
        second.sent += 1;
        self.timeline.counts(at, cohort).bytes_sent += u64::from(bytes);
        if self.peaks.asks(Counted::Messages) {
            self.peaks.message(due, due, cohort, Became::Due, 1);
            self.peaks.message(at, due, cohort, Became::Sent, 1);
        }
        self.peaks.bytes(at, cohort, Dir::Sent, bytes);
        self.work(at, due, cohort);
        if let Some(oldest) = self.pending.send(cohort, row, Message { due, sent: at }) {
            self.cut_message(at, cohort, oldest);
        }
    }

    /// A message will not be heard of any more.
    fn cut_message(&mut self, at: u64, cohort: u16, message: Message) {
        self.bank.record(at, key(TimeMetric::RttCensored, cohort, None), at.saturating_sub(message.due));
        self.bank.record(at, key(TimeMetric::RttFromSentCensored, cohort, None), at.saturating_sub(message.sent));
    }

    /// What the client's connection has sent will not be answered any more: it is lost, or unanswered. How many messages that are.
    fn cut_messages(&mut self, at: u64, row: LocalRow, outcome: Became) -> u64 {
        let cohort = self.cohort(row);
        let (messages, before) = self.pending.cut(cohort, row);
        let count = messages.len() as u64 + u64::from(before);
        // When those were due that were cut early is not known any more. Not in a second that has not begun.
        let early = (before > 0).then_some((at.saturating_sub(1), before));
        let due = messages.iter().map(|message| (message.due, 1)).chain(early);
        for (due, n) in due {
            let second = self.timeline.counts(due, cohort);
            *(if outcome == Became::Lost { &mut second.lost } else { &mut second.unanswered }) += u64::from(n);
            self.peaks.message(at, due, cohort, outcome, n);
        }
        messages.into_iter().for_each(|message| self.cut_message(at, cohort, message));
        count
    }

    /// Connections that a fault has killed and whose clients think them open when the measurement ends at `at`.
    pub(super) fn unnoticed(&mut self, at: u64) {
        if self.meta.seen_from() == SeenFrom::Server {
            // What a real client thinks nobody saw.
            return;
        }
        for (row, client) in self.outages.clients.each() {
            let acted = self.outages.injected(row, client.attempts).filter(|_| client.is(OPEN));
            let Some(acted) = acted.filter(|acted| self.is_dead(*acted)) else { continue };
            self.bank.record(at, key(TimeMetric::DetectCensored, client.cohort, Some(acted.fault)), at.saturating_sub(acted.at));
        }
    }

    /// Whether a connection on which a fault acted then is dead for its user at the end.
    fn is_dead(&self, Acted { at: acted, fault }: Acted) -> bool {
        let meta = &self.meta.faults[usize::from(fault)];
        // Firings hold equally long: if any up to then still holds, the one that acted does.
        let holds = || self.standing.range((fault, 0)..=(fault, u32::MAX)).any(|(_, fired)| *fired <= acted + SLACK_US);
        meta.kills && (!meta.holds || holds())
    }

    /// The measurement ends at `at`.
    pub(super) fn unanswered(&mut self, at: u64, row: LocalRow) {
        let (count, cohort) = (self.cut_messages(at, row, Became::Unanswered), self.cohort(row));
        self.books[usize::from(cohort)].unanswered += count;
    }

    pub(super) fn not_started(&mut self, row: LocalRow, due: u64) {
        let cohort = self.cohort(row);
        let book = &mut self.books[usize::from(cohort)];
        book.due += 1;
        book.not_started += 1;
        self.timeline.cell(due, cohort).due += 1;
        let second = self.timeline.counts(due, cohort);
        second.due += 1;
        second.not_started += 1;
        if self.peaks.asks(Counted::Messages) {
            self.peaks.message(due, due, cohort, Became::Due, 1);
            self.peaks.message(due, due, cohort, Became::NotStarted, 1);
        }
    }

    /// A reply came; `error`: it says that its request failed.
    pub(super) fn echoed(&mut self, at: u64, (row, bytes): (LocalRow, u32), (due, sent): (u64, u64), error: bool) {
        let cohort = self.cohort(row);
        self.received(at, row, bytes);
        if !self.pending.echo(cohort, row, Message { due, sent }) {
            return;
        }
        let (book, second) = (&mut self.books[usize::from(cohort)], self.timeline.counts(due, cohort));
        let became = if error { Became::Error } else { Became::Answered };
        *(if error { &mut book.errors } else { &mut book.answered }) += 1;
        *(if error { &mut second.errors } else { &mut second.answered }) += 1;
        self.peaks.message(at, due, cohort, became, 1);
        self.bank.record(at, key(TimeMetric::Rtt, cohort, None), at.saturating_sub(due));
        self.bank.record(at, key(TimeMetric::RttFromSent, cohort, None), at.saturating_sub(sent));
        self.timeline.echo(at, cohort, at.saturating_sub(due));
    }

    pub(super) fn received(&mut self, at: u64, row: LocalRow, bytes: u32) {
        let cohort = self.cohort(row);
        self.books[usize::from(cohort)].received += 1;
        let second = self.timeline.counts(at, cohort);
        second.received += 1;
        second.bytes_received += u64::from(bytes);
        self.peaks.message(at, at, cohort, Became::Received, 1);
        self.peaks.bytes(at, cohort, Dir::Received, bytes);
    }

    /// An HTTP request before a connection is over: it was answered with a status, or given up.
    pub(super) fn requested(&mut self, at: u64, row: LocalRow, took: Duration, (status, late): (Option<u16>, bool)) {
        let (cohort, took) = (self.cohort(row), micros(took));
        let metric = status.map(|_| TimeMetric::HttpRequest).or(late.then_some(TimeMetric::HttpRequestCensored));
        metric.into_iter().for_each(|metric| self.bank.record(at, key(metric, cohort, None), took));
        self.tally(at, at.saturating_sub(took), (cohort, None), Tally::Request(status));
    }

    /// A received message says when it was sent.
    pub(super) fn broadcast(&mut self, at: u64, row: LocalRow, took: Duration, negative: bool) {
        let (metric, cohort) =
            (if negative { TimeMetric::BroadcastLatencyNegative } else { TimeMetric::BroadcastLatency }, self.cohort(row));
        self.bank.record(at, key(metric, cohort, None), micros(took));
    }

    /// A message said that something is wrong.
    pub(super) fn error(&mut self, at: u64, row: LocalRow, error: u16) {
        self.tally(at, at, (self.cohort(row), None), Tally::Error(error));
    }

    /// A received message has a number: what its client missed before it, and what it got late or twice.
    pub(super) fn sequenced(&mut self, at: u64, row: LocalRow, found: Sequenced, replayed: bool) {
        let cohort = self.cohort(row);
        self.outages.clients[row].set(NUMBERED, true);
        let last = self.outages.last_fault(row);
        let first = matches!(found, Sequenced::Back { .. } | Sequenced::Late { back: true, .. } | Sequenced::Duplicate { back: true });
        let out = first && self.losses.back(row, last);
        let book = &mut self.books[usize::from(cohort)];
        let missed = match found {
            Sequenced::Next => 0,
            Sequenced::Back { missed } | Sequenced::Gap { missed } => missed,
            Sequenced::Late { found, away, .. } => {
                let Some((counted, fault)) = self.losses.late(row, micros(found)) else {
                    // As with gaps that the client itself has forgotten: it stays missed.
                    book.duplicated += 1;
                    return self.tally(at, at, (cohort, None), Tally::Duplicated);
                };
                book.missed = book.missed.saturating_sub(1);
                *(if away { &mut book.recovered_messages } else { &mut book.out_of_order }) += 1;
                self.timeline.not_missed(counted, (cohort, fault));
                let what = if away { Tally::Recovered } else { Tally::OutOfOrder };
                return self.tally(at, at, (cohort, last.filter(|_| away)), what);
            }
            Sequenced::Duplicate { .. } => {
                book.duplicated += 1;
                return self.tally(at, at, (cohort, None), Tally::Duplicated);
            }
        };
        book.expected += missed + 1;
        self.timeline.counts(at, cohort).expected += missed + 1;
        self.peaks.message(at, at, cohort, Became::Expected, u32::try_from(missed + 1).unwrap_or(u32::MAX));
        if missed > 0 {
            book.missed += missed;
            let fault = last.filter(|_| out);
            if self.losses.miss(row, (at, fault), missed, out) {
                self.notice(FORGOTTEN);
            }
            self.timeline.tally(at, (cohort, fault), Tally::Missed, missed);
        }
        if replayed {
            self.books[usize::from(cohort)].recovered_messages += 1;
            self.tally(at, at, (cohort, last), Tally::Recovered);
        }
    }

    /// What a client missed in an outage will not become less.
    pub(super) fn settle_missed(&mut self, row: LocalRow, (fault, missed): OutageLoss) {
        self.timeline.outage_missed((self.cohort(row), fault), missed);
    }

    /// What a client of a cohort missed in an outage by this fault will not be known.
    pub(super) fn miss_unknown(&mut self, whose: (u16, Option<u16>)) {
        *self.timeline.missed_unknown.entry(whose).or_default() += 1;
    }

    /// Counts at `at` what began at `start`.
    fn tally(&mut self, at: u64, start: u64, whose: (u16, Option<u16>), what: Tally) {
        self.timeline.tally(start, whose, what, 1);
        self.peaks.tally(at, start, whose, what, 1);
    }

    /// A message of a dialogue was sent that is not one of its requests: only its bytes are in the timeline.
    pub(super) fn said(&mut self, at: u64, row: LocalRow, bytes: u32) {
        let cohort = self.cohort(row);
        self.books[usize::from(cohort)].said += 1;
        self.timeline.counts(at, cohort).bytes_sent += u64::from(bytes);
        self.peaks.bytes(at, cohort, Dir::Sent, bytes);
    }

    /// A message of a dialogue came that is not among those that are received.
    pub(super) fn heard(&mut self, at: u64, row: LocalRow, bytes: u32) {
        let cohort = self.cohort(row);
        self.books[usize::from(cohort)].heard += 1;
        self.timeline.counts(at, cohort).bytes_received += u64::from(bytes);
        self.peaks.bytes(at, cohort, Dir::Received, bytes);
    }

    /// Records the lateness of a connect or send. Real clients are not late: nobody says when they should come.
    fn work(&mut self, at: u64, due: u64, cohort: u16) {
        if self.meta.real.is_some() {
            return;
        }
        self.bank.record(at, key(TimeMetric::Lag, cohort, None), at.saturating_sub(due));
        self.timeline.work(at, due, cohort, self.meta.tolerance_us);
    }

    pub(super) fn attempt_started(&mut self, at: u64, row: LocalRow, due: u64) {
        let (cohort, fault) = (self.cohort(row), self.outages.fault_of(row).flatten());
        let state = &mut self.outages.clients[row];
        self.books[usize::from(cohort)].started += u64::from(state.attempts == 0);
        state.set(UNDER_WAY, true);
        state.attempts += 1;
        state.begin(at);
        let begun = state.begun();
        self.outages.attempt(at, row);
        self.step(at, Attempt { begun, cohort, fault, step: AttemptStep::Begun, status: None });
        // One of many that are due in one instant is late only where one core would have begun it sooner.
        let owed = self.timeline.bursts.attempt(at, due);
        self.work(at.saturating_sub(owed).max(due), due, cohort);
    }

    /// Counts a step of an attempt.
    fn step(&mut self, at: u64, attempt: Attempt) {
        let Attempt { begun, cohort, fault, step, status } = attempt;
        self.books[usize::from(cohort)].ledger.attempts.count(step);
        self.timeline.attempt(at, begun, (cohort, fault), step, status);
        self.peaks.attempt(at, attempt);
    }

    pub(super) fn attempt_failed(&mut self, at: u64, row: LocalRow, outcome: &Outcome, fault: Option<u16>) {
        let cohort = self.cohort(row);
        let outage_fault = self.outages.fault_of(row).flatten();
        let state = &mut self.outages.clients[row];
        state.set(UNDER_WAY, false);
        let begun = state.begun();
        let step = match outcome {
            Outcome::Refused => AttemptStep::Refused,
            Outcome::TimedOut => AttemptStep::TimedOut,
            Outcome::Rejected { .. } => AttemptStep::Rejected,
            Outcome::Failed { .. } => AttemptStep::Failed,
            Outcome::Abandoned => AttemptStep::Abandoned,
        };
        self.outages.fail(at, row);
        let mut rejected = None;
        if let Outcome::Rejected { status, retry_after, location } = outcome {
            rejected = Some(*status);
            let (retry_after_s, location) = (retry_after.map(|after| after.as_secs()), location.as_deref().map(str::to_owned));
            self.answers.count(cohort, RefusalAnswer { status: *status, retry_after_s, location }, 1);
        }
        if let Outcome::Failed { why } = outcome {
            self.answers.failed(why, 1);
        }
        self.step(at, Attempt { begun, cohort, fault: fault.or(outage_fault), step, status: rejected });
    }

    /// An attempt was cut: what of it had ended is a time, what was under way took longer. One that was answered otherwise, or failed,
    /// says nothing of how long it would have taken.
    pub(super) fn cut_attempt(&mut self, at: u64, row: LocalRow, stage: Stage, times: &Stages) {
        if self.meta.real.is_some() {
            return;
        }
        let (cohort, fault) = (self.cohort(row), self.outages.fault_of(row).flatten());
        let begun = self.outages.clients[row].begun();
        let cut = match stage {
            // No stage of a connection.
            Stage::Before => return,
            Stage::Tcp => TimeMetric::TcpConnectCensored,
            Stage::Tls => TimeMetric::TlsCensored,
            Stage::Upgrade => TimeMetric::OpeningHandshakeCensored,
        };
        let ended = [(TimeMetric::TcpConnect, times.tcp), (TimeMetric::Tls, times.tls), (cut, Some(times.elapsed))];
        for (metric, time) in ended.into_iter().filter_map(|(metric, time)| Some((metric, time?))) {
            self.bank.record_from(at, begun, key(metric, cohort, fault), micros(time));
            if let Some(kind) = of_kind(metric, times.resumed) {
                self.bank.record_from(at, begun, key(kind, cohort, fault), micros(time));
            }
        }
    }

    /// The end of the measurement cuts what was under way.
    pub(super) fn cut(&mut self, at: u64, row: LocalRow, what: &UnderWay) {
        let state = &self.outages.clients[row];
        match what {
            UnderWay::Attempt { stage, times } if state.is(UNDER_WAY) => self.cut_attempt(at, row, *stage, times),
            UnderWay::Closing { ack, elapsed } if state.is(OPEN) => {
                let (cohort, fault) = (state.cohort, self.outages.injected(row, state.attempts).map(|acted| acted.fault));
                self.closing(at, (cohort, fault), Closing { ack: *ack, total: *elapsed }, false);
            }
            // It ended in time.
            UnderWay::Attempt { .. } | UnderWay::Closing { .. } => {}
        }
    }

    /// Records a closing handshake. `ended`: with the end of TCP, which was waited for; otherwise it was cut.
    fn closing(&mut self, at: u64, (cohort, fault): (u16, Option<u16>), closing: Closing, ended: bool) {
        let start = at.saturating_sub(micros(closing.total));
        let mut book = |metric, time| self.bank.record_from(at, start, key(metric, cohort, fault), micros(time));
        match closing.ack {
            Some(ack) => {
                let rest = closing.total.saturating_sub(ack);
                book(TimeMetric::CloseAck, ack);
                book(if ended { TimeMetric::ClosingHandshake } else { TimeMetric::ClosingHandshakeCensored }, closing.total);
                book(if ended { TimeMetric::FinWait } else { TimeMetric::FinWaitCensored }, rest);
            }
            // Without answer it is no closing handshake, however TCP ended.
            None => {
                book(TimeMetric::CloseAckCensored, closing.total);
                book(TimeMetric::ClosingHandshakeCensored, closing.total);
            }
        }
    }

    /// `tls`: how long it took, and whether it took up an earlier session.
    pub(super) fn opened(&mut self, at: u64, row: LocalRow, tcp: Duration, tls: Option<(Duration, bool)>, upgrade: Duration) {
        let (cohort, fault) = (self.cohort(row), self.outages.fault_of(row).flatten());
        let state = &mut self.outages.clients[row];
        state.set(UNDER_WAY, false);
        state.set(OPEN | EVER_OPENED, true);
        let begun = state.begun();
        let book = &mut self.books[usize::from(cohort)];
        let open = &mut self.open[usize::from(cohort)];
        *open += 1;
        book.peak_open = book.peak_open.max(*open);
        self.all_open += 1;
        self.peak_open = self.peak_open.max(self.all_open);
        self.outages.opened(at, row);
        self.step(at, Attempt { begun, cohort, fault, step: AttemptStep::Opened, status: None });
        if self.meta.cohorts[usize::from(cohort)].awaits_ready {
            self.opening.insert(row, at);
        }
        if self.meta.real.is_some() {
            // How long it took its client nobody saw.
            return;
        }
        self.bank.record_from(at, begun, key(TimeMetric::TcpConnect, cohort, fault), micros(tcp));
        self.bank.record_from(at, begun, key(TimeMetric::OpeningHandshake, cohort, fault), micros(upgrade));
        if let Some((tls, resumed)) = tls {
            for metric in [Some(TimeMetric::Tls), of_kind(TimeMetric::Tls, resumed)].into_iter().flatten() {
                self.bank.record_from(at, begun, key(metric, cohort, fault), micros(tls));
            }
        }
    }

    /// A connection has become ready; or, if it has `ended`, will not.
    pub(super) fn readied(&mut self, at: u64, row: LocalRow, ended: bool) {
        let Some(opened) = self.opening.remove(&row) else { return };
        let (cohort, fault) = (self.cohort(row), self.outages.fault_of(row).flatten());
        let metric = if ended { TimeMetric::TimeToReadyCensored } else { TimeMetric::TimeToReady };
        self.bank.record_from(at, opened, key(metric, cohort, fault), at.saturating_sub(opened));
    }

    pub(super) fn ready(&mut self, at: u64, row: LocalRow) {
        self.readied(at, row, false);
        let state = &mut self.outages.clients[row];
        self.ready += u64::from(!state.is(READY));
        state.set(EVER_READY | READY, true);
        if !self.outages.ready(at, row) {
            return;
        }
        let cohort = self.cohort(row);
        self.timeline.cell(at, cohort).recovered += 1;
        while let Some(outage) = self.outages.settled(at) {
            self.book_outage(outage, None);
        }
    }

    /// A fault acted on a connection or attempt of this client.
    fn hit(&mut self, fault: u16, row: LocalRow) {
        let cohort = self.cohort(row);
        let book = &mut self.faults[usize::from(fault)];
        book.injected += 1;
        *book.cohorts.entry(cohort).or_default() += 1;
    }

    pub(super) fn injected(&mut self, at: u64, fault: u16, row: LocalRow, connection: ConnectionNo) {
        self.hit(fault, row);
        let acted = Acted { at, fault };
        self.outages.inject(row, connection.0, acted, self.meta.faults[usize::from(fault)].by_close);
        self.endings.acted((row, connection.0), acted, self.suffered(fault));
    }

    /// An open connection of this client is no more.
    fn closed(&mut self, at: u64, row: LocalRow) {
        let (cohort, lost) = (self.cohort(row), self.cut_messages(at, row, Became::Lost));
        self.readied(at, row, true);
        let state = &mut self.outages.clients[row];
        self.ready -= u64::from(state.is(READY));
        state.set(OPEN | READY, false);
        let open = &mut self.open[usize::from(cohort)];
        *open = open.saturating_sub(1);
        self.all_open = self.all_open.saturating_sub(1);
        let book = &mut self.books[usize::from(cohort)];
        book.ledger.closed += 1;
        book.lost_messages += lost;
        self.timeline.cell(at, cohort).closed += 1;
    }

    /// A connection of a real client ended, by the account of its server; `None`: that is gone, too. Who was told what and who was away
    /// nobody knows.
    pub(super) fn seen_by_server(&mut self, at: u64, row: LocalRow, connection: ConnectionNo, ending: Option<&Ending>) {
        if !self.outages.clients[row].is(OPEN) {
            return;
        }
        self.closed(at, row);
        ending.into_iter().for_each(|ending| self.pong_deadline(at, Side::Server, row, connection, ending));
        let acted = self.outages.injected(row, connection.0);
        self.endings.seen_by_server((at, self.timeline.start_of(at)), self.cohort(row), ending, acted);
    }

    pub(super) fn ended(&mut self, at: u64, row: LocalRow, connection: ConnectionNo, ending: &Ending, closing: Option<Closing>) {
        let cohort = self.cohort(row);
        self.closed(at, row);
        let acted = self.outages.injected(row, connection.0);
        if let Some(closing) = closing {
            let fault = Acted::fault_of(acted, at, ending.cause);
            self.closing(at, (cohort, fault), closing, matches!(ending.tcp_end, TcpEnd::Fin | TcpEnd::Rst));
        }
        self.pong_deadline(at, Side::Client, row, connection, ending);
        let process = acted.map_or(Suffered::Nothing, |acted| self.suffered(acted.fault));
        self.endings.client((at, self.timeline.start_of(at)), (row, connection.0), cohort, ending, (acted, process));
        // A server that is asked to stop may serve on for a while: a client is out of service from its own Close frame on.
        let by_close = acted.is_some_and(|acted| self.meta.faults[usize::from(acted.fault)].by_close);
        let closed = by_close.then(|| closing.map(|closing| at.saturating_sub(micros(closing.total))));
        let fault_before = self.outages.last_fault(row);
        // Who cannot be known again is never away.
        let known = self.meta.real.is_none_or(|real| real.identified);
        let began = known && self.outages.end(at, row, connection.0, ending, closed);
        if self.outages.clients[row].is(NUMBERED) {
            let before = match () {
                () if began => self.losses.begin(row, self.outages.clients[row].is(NUMBERED)),
                () if ending.cause == Cause::Stay => self.losses.leave(row).map(Some),
                () => None,
            };
            match before {
                Some(Some(loss)) => self.settle_missed(row, loss),
                Some(None) => self.miss_unknown((cohort, fault_before)),
                None => {}
            }
        }
        self.books[usize::from(cohort)].affected += u64::from(began);
        self.timeline.cell(at, cohort).affected += u64::from(began);
    }

    /// What a server process suffers of a fault: nothing of one that held and was reverted, as a server that runs again speaks for itself.
    fn suffered(&self, fault: u16) -> Suffered {
        let (meta, book) = (&self.meta.faults[usize::from(fault)], &self.faults[usize::from(fault)]);
        match () {
            () if meta.crashes => Suffered::Crash,
            () if meta.process && !(meta.holds && book.reverts > 0 && book.reverts >= book.fired) => Suffered::Stop,
            () => Suffered::Nothing,
        }
    }

    /// A heartbeat of `side` found a connection dead that a fault had silenced.
    fn pong_deadline(&mut self, at: u64, side: Side, row: LocalRow, connection: ConnectionNo, ending: &Ending) {
        if ending.cause != Cause::Deadline(Deadline::Pong) {
            return;
        }
        let Some(acted) = self.outages.injected(row, connection.0).filter(|acted| acted.counts_until(at)) else { return };
        let key = key(super::liveness::metric(side), self.cohort(row), Some(acted.fault));
        self.bank.record(at, key, at.saturating_sub(acted.at));
    }

    pub(super) fn server_ended(&mut self, at: u64, row: LocalRow, connection: ConnectionNo, ending: &Ending) {
        self.pong_deadline(at, Side::Server, row, connection, ending);
        self.endings.server((row, connection.0), ending);
        if let Cause::Fault(fault) = ending.cause {
            self.outages.attribute(row, connection.0, fault);
        }
    }

    pub(super) fn gave_up(&mut self, at: u64, row: LocalRow) {
        let (cohort, fault) = (self.cohort(row), self.outages.fault_of(row).flatten());
        let state = &mut self.outages.clients[row];
        if state.is(LOST) {
            return;
        }
        state.set(LOST, true);
        self.books[usize::from(cohort)].lost += 1;
        self.outages.give_up(at, row);
        self.timeline.give_up(at, cohort, fault);
        self.peaks.give_up(at, cohort, fault);
    }
}

/// Where a TLS handshake is counted a second time, with those of its kind.
fn of_kind(metric: TimeMetric, resumed: bool) -> Option<TimeMetric> {
    Some(match (metric, resumed) {
        (TimeMetric::Tls, false) => TimeMetric::TlsFull,
        (TimeMetric::Tls, true) => TimeMetric::TlsResumed,
        (TimeMetric::TlsCensored, false) => TimeMetric::TlsFullCensored,
        (TimeMetric::TlsCensored, true) => TimeMetric::TlsResumedCensored,
        _ => return None,
    })
}
