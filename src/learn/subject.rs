//! One client, and the server that asks it question after question: what the server does next, and what the client made of it.

use super::client::{Client, LAST_WORDS};
use super::findings::{AfterCode, Findings, Return, StayedAway};
use super::host::{Arrival, HostSettings, LearnHost, VisitEnd, between};
use super::questions::{ClientSource, LearnError, Questions, RefuseBy, SILENCE, START_WITHIN, TrialQuestion};
use super::syn_watch::SynWatch;
use crate::close::{ABNORMAL, NO_STATUS};
use crate::estimate::SeenOutage;
use crate::serve::account::WireAccount;
use crate::sut::command::Guard;
use crate::units::ms;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// How long a connection is open that counts as short-lived.
pub(super) const SHORT: Duration = Duration::from_millis(100);
/// Waits of a series of short-lived connections.
const SHORT_LIVED: usize = 4;
/// Least time after which a client does not come back: longer than the 30 s of many libraries, and of what is advised after 1012.
const PATIENCE_LEAST: Duration = Duration::from_secs(40);
/// Most.
const PATIENCE_MOST: Duration = Duration::from_secs(150);
/// How long a connection may take to end after its steps.
const END_WITHIN: Duration = Duration::from_secs(30);
/// Beyond the longest ordinary wait a Retry-After asks for so much more.
const RETRY_AFTER_MORE: Duration = Duration::from_secs(3);
/// How much longer than twice the longest first wait a port is closed.
const CLOSED_MORE: Duration = Duration::from_millis(500);
/// How long a user has to start the first client …
const FIRST_VISITOR: Duration = Duration::from_secs(24 * 3600);
/// … and a fresh one, where one stayed away.
const NEXT_VISITOR: Duration = Duration::from_secs(300);

/// One process of the client, or one that its user starts, and its server.
pub(super) struct Subject<'a> {
    slot: u16,
    pub(super) questions: &'a Questions,
    pub(super) host: LearnHost,
    /// `None`: its user starts it.
    client: Option<Client<'a>>,
    told: &'a (dyn Fn(String) + Sync),
    /// Processes started so far.
    fresh: u32,
    /// The connection that is here, with the steps that cut it; 0: none was yet.
    pub(super) current: u64,
    /// What is on its wire.
    pub(super) wire: watch::Receiver<WireAccount>,
    pub(super) found: Findings,
}

impl<'a> Subject<'a> {
    pub(super) async fn new(
        guard: &'a Guard,
        slot: u16,
        source: &'a ClientSource,
        questions: &'a Questions,
        told: &'a (dyn Fn(String) + Sync),
    ) -> Result<Subject<'a>, LearnError> {
        let (client, listen) = match source {
            ClientSource::Command(command) => (Some(Client::new(guard, slot, command)), None),
            ClientSource::Visitor(address) => (None, Some(*address)),
        };
        let host = LearnHost::start(HostSettings { seed: questions.seed, listen, upstream: questions.upstream.clone() }).await?;
        Ok(Subject {
            slot,
            questions,
            host,
            client,
            told,
            fresh: 0,
            current: 0,
            wire: watch::channel(WireAccount::default()).1,
            found: Findings::default(),
        })
    }

    /// The steps that cut a connection.
    pub(super) fn cut(&self) -> String {
        format!("/wait/{}ms/drop_rst", self.questions.held.as_millis())
    }

    /// A fresh client, whose first connection gets these steps.
    pub(super) async fn begin(&mut self, path: &str) -> Result<(), LearnError> {
        if self.fresh > 0 {
            self.host.renew().await?;
        }
        self.fresh += 1;
        self.host.prepare(path);
        let url = self.host.url();
        let came = match &mut self.client {
            Some(client) => {
                client.start_fresh(&url).await?;
                tokio::select! {
                    biased;
                    came = self.host.next(Instant::now() + START_WITHIN) => came.ok_or_else(|| client.printed()).map_err(|printed| LearnError::NeverCame { url, printed })?,
                    how = client.ended() => return Err(LearnError::Ended { how: how?, url, printed: client.printed() }),
                }
            }
            None => {
                let (text, within) = match self.fresh {
                    1 => (format!("waiting for a client: have it connect to {url} (Ctrl-C: end)"), FIRST_VISITOR),
                    _ => (format!("it stayed away: start it again, as by loading its page anew; it is to connect to {url}"), NEXT_VISITOR),
                };
                (self.told)(text);
                self.host.next(Instant::now() + within).await.ok_or(LearnError::NobodyCame { url, within })?
            }
        };
        self.meet(came);
        Ok(())
    }

    fn meet(&mut self, came: Arrival) {
        (self.current, self.wire) = (came.number, came.wire);
    }

    /// After so long a client does not come back.
    pub(super) fn patience(&self) -> Duration {
        (self.found.longest() * 3 + Duration::from_secs(5)).clamp(PATIENCE_LEAST, PATIENCE_MOST)
    }

    /// The end of the connection that is here, and whether the client came back; the next connection gets these steps. Where none came a fresh
    /// client is here, whose first connection gets those of `anew`.
    pub(super) async fn then_or(&mut self, path: &str, anew: &str) -> Result<(Option<VisitEnd>, Return), LearnError> {
        self.host.prepare(path);
        let (ended, from) = self.end().await;
        let back = self.next(from, self.patience()).await;
        if back.wait().is_none() {
            self.begin(anew).await?;
        }
        Ok((ended, back))
    }

    /// As [`Subject::then_or`], with the same steps for both.
    pub(super) async fn then(&mut self, path: &str) -> Result<(Option<VisitEnd>, Return), LearnError> {
        self.then_or(path, path).await
    }

    /// As [`Subject::then_or`], but a fresh client begins with a connection that is cut.
    pub(super) async fn then_or_cut(&mut self, path: &str) -> Result<Return, LearnError> {
        let cut = self.cut();
        Ok(self.then_or(path, &cut).await?.1)
    }

    /// The end of the connection that is here, and when it was.
    async fn end(&mut self) -> (Option<VisitEnd>, Instant) {
        let longest = (self.questions.held + END_WITHIN).max(SILENCE);
        let ended = self.host.end(self.current, Instant::now() + longest).await;
        let at = ended.as_ref().map_or_else(Instant::now, |ended| ended.at);
        (ended, at)
    }

    pub(super) async fn next(&mut self, from: Instant, patience: Duration) -> Return {
        let mut until = from + patience;
        loop {
            let came = tokio::select! {
                biased;
                came = self.host.next(until) => came,
                // What it did last may still be on its way.
                Ok(()) = gone(self.client.as_ref()), if until > Instant::now() + LAST_WORDS => {
                    self.found.exits += 1;
                    until = Instant::now() + LAST_WORDS;
                    continue;
                }
            };
            return match came {
                Some(came) => {
                    let wait = between(from, came.at);
                    self.meet(came);
                    Return::After(wait)
                }
                None => Return::NotWithin(between(from, until)),
            };
        }
    }

    /// Which client this is, over all.
    fn number(&self) -> u32 {
        u32::from(self.slot) + u32::from(self.questions.instances) * self.fresh
    }

    pub(super) async fn outages(&mut self, count: u32) -> Result<(), LearnError> {
        let cut = self.cut();
        self.begin(&cut).await?;
        for number in 0..count {
            if self.client.is_none() {
                (self.told)(format!("outage {} of {count}", number + 1));
            }
            // In place, so that nothing is lost where the questions end early, and long waits make patient at once.
            self.found.outages.push(SeenOutage { client: self.number(), waits_ms: Vec::new() });
            match self.questions.refuse {
                RefuseBy::Reset => self.outage("/accept_rst").await?,
                RefuseBy::Unavailable => self.outage("/upgrade_status?status=503").await?,
                RefuseBy::ClosedPort => self.outage_at_closed_port().await?,
            }
        }
        Ok(())
    }

    /// One outage, in which attempts get these steps.
    async fn outage(&mut self, refusal: &str) -> Result<(), LearnError> {
        let cut = self.cut();
        for attempt in 0..=self.questions.attempts {
            let path = if attempt < self.questions.attempts { refusal } else { &cut };
            let exits = self.found.exits;
            match self.then_or_cut(path).await? {
                Return::After(wait) => self.waited(wait),
                Return::NotWithin(within) => {
                    self.gave_up(attempt, within, exits);
                    break;
                }
            }
        }
        Ok(())
    }

    /// One outage, in which nobody listens.
    async fn outage_at_closed_port(&mut self) -> Result<(), LearnError> {
        let cut = self.cut();
        self.host.close_port().await;
        let mut attempts = SynWatch::of(self.host.port()).map_err(LearnError::Capture)?;
        // A client that comes back at once may be here before the end was told.
        let mut early = None;
        let mut from = loop {
            tokio::select! {
                biased;
                (_, at) = self.end() => break at,
                at = attempts.next() => early = Some(at),
            }
        };
        for attempt in 0..self.questions.attempts {
            let at = match early.take() {
                Some(at) => at,
                None => match timeout_at(from + self.patience(), attempts.next()).await {
                    Ok(at) => at,
                    Err(_) => {
                        self.found.gave_up.push(StayedAway { attempts: attempt, within: Some(self.patience()) });
                        return self.begin(&cut).await;
                    }
                },
            };
            let at = at.map_err(LearnError::Capture)?.max(from);
            self.waited(between(from, at));
            from = at;
        }
        self.host.prepare(&cut);
        self.host.open_port().await?;
        let exits = self.found.exits;
        match self.next(from, self.patience()).await {
            Return::After(wait) => self.waited(wait),
            Return::NotWithin(within) => {
                self.gave_up(self.questions.attempts, within, exits);
                self.begin(&cut).await?;
            }
        }
        Ok(())
    }

    /// The client did not come back from an outage, before which so many processes had ended.
    fn gave_up(&mut self, attempts: u32, within: Duration, exits_before: u32) {
        let within = (self.found.exits == exits_before).then_some(within);
        self.found.gave_up.push(StayedAway { attempts, within });
    }

    fn waited(&mut self, wait: Duration) {
        self.found.outages.last_mut().into_iter().for_each(|outage| outage.waits_ms.push(ms(wait)));
    }

    /// One question, and whether it has an answer: a client that is not there does not hear it. The connection that is here before and after it has
    /// the steps that cut it.
    pub(super) async fn ask(&mut self, question: TrialQuestion) -> Result<bool, LearnError> {
        let (cut, held) = (self.cut(), self.questions.held.as_millis());
        let answered = match question {
            TrialQuestion::ShortLived => {
                let short = format!("/wait/{}ms/drop_rst", SHORT.as_millis());
                let mut outage = SeenOutage { client: self.number(), waits_ms: Vec::new() };
                for _ in 0..=SHORT_LIVED {
                    match self.then_or_cut(&short).await? {
                        Return::After(wait) => outage.waits_ms.push(ms(wait)),
                        Return::NotWithin(_) => break,
                    }
                }
                let answered = !outage.waits_ms.is_empty();
                self.found.short_lived.push(outage);
                self.then_or_cut(&cut).await?;
                answered
            }
            TrialQuestion::Code(code) => {
                let steps = match code {
                    NO_STATUS => "close_empty".to_owned(),
                    ABNORMAL => "drop_fin".to_owned(),
                    code => format!("close/{code}"),
                };
                self.then(&format!("/wait/{held}ms/{steps}")).await?;
                let (ended, back) = self.then(&cut).await?;
                // Where the client was first, or never opened, the code was not sent.
                let ending = ended.and_then(|ended| ended.ending).filter(|ending| match code {
                    ABNORMAL => ending.wire_sent.is_none() && ending.wire_received.is_none(),
                    code => ending.wire_sent == Some(code),
                });
                let after = ending.map(|ending| AfterCode { code, back, answered: ending.wire_received });
                self.found.codes.extend(after);
                after.is_some()
            }
            TrialQuestion::Status(status) => {
                let back = self.refused(&format!("/upgrade_status?status={status}")).await?;
                self.found.statuses.extend(back.map(|back| (status, back)));
                back.is_some()
            }
            TrialQuestion::ClosedPort => {
                self.closed_port(&cut).await?;
                true
            }
            TrialQuestion::HeldClose => self.held_close().await?,
            TrialQuestion::Pings => self.pings().await?,
            TrialQuestion::RetryAfter => {
                let asked = Duration::from_secs((self.found.longest() + RETRY_AFTER_MORE).as_secs() + 1);
                let back = self.refused(&format!("/upgrade_status?status=503&retry_after={}s", asked.as_secs())).await?;
                self.found.retry_after = back.map(|back| (asked, back));
                back.is_some()
            }
            TrialQuestion::Silence => {
                self.then(&format!("/wait/{}ms/blackhole", SHORT.as_millis())).await?;
                sleep_until(Instant::now() + SHORT).await;
                self.host.unwell();
                self.host.prepare(&cut);
                let back = self.next(Instant::now(), SILENCE).await;
                self.found.silence = Some(back);
                if back.wait().is_none() {
                    self.begin(&cut).await?;
                }
                true
            }
            TrialQuestion::Unanswered => {
                self.then("/accept_stall").await?;
                let from = Instant::now();
                let ended = self.host.end(self.current, from + SILENCE).await;
                self.found.unanswered =
                    Some(ended.as_ref().map_or(Return::NotWithin(SILENCE), |ended| Return::After(between(from, ended.at))));
                self.begin(&cut).await?;
                true
            }
        };
        Ok(answered)
    }

    /// The port is closed for so long that a first attempt is refused; then the client has time to come back.
    async fn closed_port(&mut self, cut: &str) -> Result<(), LearnError> {
        self.host.close_port().await;
        let from = self.end().await.1;
        // A few draws of a random wait are not the longest that there is.
        let closed = self.found.longest_first() * 2 + CLOSED_MORE;
        sleep(closed).await;
        self.host.prepare(cut);
        self.host.open_port().await?;
        let back = self.next(from, closed + self.patience()).await;
        self.found.closed_port = Some(back);
        match back {
            Return::After(_) => Ok(()),
            Return::NotWithin(_) => self.begin(cut).await,
        }
    }

    /// Whether the client comes back after its first attempt of an outage got this answer; `None`: there was no such attempt.
    async fn refused(&mut self, path: &str) -> Result<Option<Return>, LearnError> {
        if self.then_or_cut(path).await?.wait().is_none() {
            return Ok(None);
        }
        let cut = self.cut();
        Ok(Some(self.then(&cut).await?.1))
    }

    /// What was found of this one joins what was found of others.
    pub(super) fn add_to(self, all: &mut Findings) {
        let Findings {
            outages,
            exits,
            gave_up,
            short_lived,
            codes,
            statuses,
            closed_port,
            held_closes,
            ping_floods,
            retry_after,
            silence,
            unanswered,
            asked,
            ..
        } = self.found;
        all.outages.extend(outages);
        all.exits += exits;
        all.gave_up.extend(gave_up);
        all.short_lived.extend(short_lived);
        all.codes.extend(codes);
        all.statuses.extend(statuses);
        all.closed_port = all.closed_port.or(closed_port);
        all.held_closes.extend(held_closes);
        all.ping_floods.extend(ping_floods);
        all.retry_after = all.retry_after.or(retry_after);
        all.silence = all.silence.or(silence);
        all.unanswered = all.unanswered.or(unanswered);
        all.asked.extend(asked);
        all.doubles += self.host.counts.doubles;
        all.connections += self.host.counts.came;
        all.most_open = all.most_open.max(self.host.counts.most);
    }
}

/// The end of a process of ours; of another's client nobody knows.
async fn gone(client: Option<&Client<'_>>) -> Result<(), crate::sut::command::Error> {
    match client {
        Some(client) => client.gone().await,
        None => std::future::pending().await,
    }
}
