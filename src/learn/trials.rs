//! Asks a client question after question: what the server does next, and what the client made of it.

use super::client::{Client, ClientCommand};
use super::findings::{AfterCode, Findings, Return};
use super::host::{LearnHost, VisitEnd, between};
use crate::close::{ABNORMAL, NO_STATUS};
use crate::estimate::{self, SeenOutage};
use crate::seed::Seed;
use crate::sut::command::{Error, Guard};
use crate::units::{ms, print_duration};
use futures_util::future::try_join_all;
use std::io;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Status codes that are asked about; 1005 is an empty Close frame, 1006 an end by FIN without one.
const CODES: [u16; 12] = [1000, 1001, NO_STATUS, ABNORMAL, 1008, 1009, 1011, 1012, 1013, 4000, 4401, 4999];
/// HTTP statuses in place of an opening handshake.
const STATUSES: [u16; 5] = [401, 403, 404, 429, 503];
/// How long a connection is open that counts as short-lived.
const SHORT: Duration = Duration::from_millis(100);
/// Waits of a series of short-lived connections.
const SHORT_LIVED: usize = 4;
/// How long a fresh client has to connect.
const START_WITHIN: Duration = Duration::from_secs(30);
/// Least time after which a client does not come back: longer than the 30 s of many libraries, and of what is advised after 1012.
const PATIENCE_LEAST: Duration = Duration::from_secs(40);
/// Most.
const PATIENCE_MOST: Duration = Duration::from_secs(150);
/// How long a connection of a process that has ended may take to be seen.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// How long a silence is kept up, and an answer kept back.
const SILENCE: Duration = Duration::from_secs(75);
/// How long a connection may take to end after its steps.
const END_WITHIN: Duration = Duration::from_secs(30);
/// Beyond the longest ordinary wait a Retry-After asks for so much more.
const RETRY_AFTER_MORE: Duration = Duration::from_secs(3);

/// What is asked, and how often.
#[derive(Clone, Debug)]
pub struct Questions {
    /// Outages in all.
    pub outages: u32,
    /// Attempts that are refused in each.
    pub attempts: u32,
    /// How long a connection is open before it is cut.
    pub held: Duration,
    /// Leaves out what takes a minute or more.
    pub quick: bool,
    /// Processes side by side.
    pub instances: u16,
    /// Of all that is random.
    pub seed: Seed,
}

/// Why nothing could be learnt.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// The client's process.
    #[error(transparent)]
    Process(#[from] Error),
    /// A socket of ours.
    #[error("cannot serve: {0}")]
    Serve(#[from] io::Error),
    /// It runs and does not connect.
    #[error("the client did not connect to {url} within {}; it printed: {printed}", print_duration(START_WITHIN))]
    NeverCame {
        /// Where it was to connect.
        url: String,
        /// The end of its output.
        printed: String,
    },
}

/// A question beside the waits.
#[derive(Clone, Copy, Debug)]
enum TrialQuestion {
    ShortLived,
    Code(u16),
    Status(u16),
    RetryAfter,
    Silence,
    Unanswered,
}

/// Asks everything of one kind of client until it is done or `stop` comes; `told` hears how far it is.
///
/// # Errors
/// The client cannot be started or does not connect, and nothing at all was seen of it.
pub async fn learn(
    guard: &Guard,
    command: &ClientCommand,
    questions: &Questions,
    stop: impl Future<Output = ()>,
    told: &(dyn Fn(String) + Sync),
) -> Result<Findings, LearnError> {
    let mut subjects = Vec::new();
    for slot in 0..questions.instances {
        subjects.push(Subject::new(guard, slot, command, questions).await?);
    }
    let trouble = tokio::select! {
        biased;
        () = stop => None,
        asked = ask_all(&mut subjects, questions, told) => asked.err(),
    };
    let mut found = Findings { held: questions.held, ..Findings::default() };
    subjects.into_iter().for_each(|subject| found.add(subject));
    match trouble {
        Some(error) if found.outages.is_empty() => return Err(error),
        Some(error) => found.cut_short = Some(error.to_string()),
        None => {}
    }
    found.codes.sort_by_key(|after| after.code);
    found.statuses.sort_by_key(|(status, _)| *status);
    found.fit = estimate::fit(&found.outages, questions.seed);
    found.near = estimate::nearest(&found.outages, questions.held, questions.seed);
    Ok(found)
}

async fn ask_all(subjects: &mut [Subject<'_>], questions: &Questions, told: &(dyn Fn(String) + Sync)) -> Result<(), LearnError> {
    told(format!("cutting connections: {} outages, {} at a time", questions.outages, questions.instances));
    let share = questions.outages.div_ceil(u32::from(questions.instances));
    try_join_all(subjects.iter_mut().map(|subject| subject.outages(share))).await?;
    // The slow ones first, so that they go on beside the others.
    let slow = [TrialQuestion::RetryAfter, TrialQuestion::Silence, TrialQuestion::Unanswered].into_iter().filter(|_| !questions.quick);
    let quick = std::iter::once(TrialQuestion::ShortLived).chain(CODES.map(TrialQuestion::Code)).chain(STATUSES.map(TrialQuestion::Status));
    let list: Vec<TrialQuestion> = slow.chain(quick).collect();
    let count = subjects.len();
    let each = subjects.iter_mut().enumerate().map(|(index, subject)| {
        let own: Vec<TrialQuestion> = list.iter().copied().skip(index).step_by(count).collect();
        async move {
            for question in own {
                told(question.words());
                subject.ask(question).await?;
            }
            Ok::<(), LearnError>(())
        }
    });
    try_join_all(each).await.map(drop)
}

/// One process of the client, and its server.
struct Subject<'a> {
    guard: &'a Guard,
    slot: u16,
    command: &'a ClientCommand,
    questions: &'a Questions,
    host: LearnHost,
    client: Client<'a>,
    /// Processes started so far, over all instances.
    fresh: u32,
    /// The connection that is here, with the steps that cut it.
    current: u64,
    found: Findings,
}

impl<'a> Subject<'a> {
    async fn new(guard: &'a Guard, slot: u16, command: &'a ClientCommand, questions: &'a Questions) -> Result<Subject<'a>, LearnError> {
        let host = LearnHost::on_loopback(questions.seed).await?;
        let client = Client::new(guard, slot, command, &host.url());
        let fresh = 0;
        Ok(Subject { guard, slot, command, questions, host, client, fresh, current: 0, found: Findings::default() })
    }

    /// The steps that cut a connection.
    fn cut(&self) -> String {
        format!("/wait/{}ms/drop_rst", self.questions.held.as_millis())
    }

    /// A fresh process, whose first connection gets these steps.
    async fn begin(&mut self, path: &str) -> Result<(), LearnError> {
        if self.fresh > 0 {
            self.host.renew(self.questions.seed).await?;
            let client = Client::new(self.guard, self.slot, self.command, &self.host.url());
            self.client.take_over(client);
        }
        self.fresh += 1;
        self.host.prepare(path);
        self.client.start_fresh().await?;
        let Some((number, _)) = self.host.next(Instant::now() + START_WITHIN).await else {
            let printed = self.client.printed();
            return Err(LearnError::NeverCame { url: self.host.url(), printed });
        };
        self.current = number;
        Ok(())
    }

    /// After so long a client does not come back.
    fn patience(&self) -> Duration {
        (self.found.longest() * 3 + Duration::from_secs(5)).clamp(PATIENCE_LEAST, PATIENCE_MOST)
    }

    /// The end of the connection that is here, and whether the client came back; the next connection gets these steps. Where none came a fresh
    /// process is here, with these steps.
    async fn then(&mut self, path: &str) -> Result<(Option<VisitEnd>, Return), LearnError> {
        self.host.prepare(path);
        let longest = self.questions.held + END_WITHIN;
        let ended = self.host.end(self.current, Instant::now() + longest.max(SILENCE)).await;
        let from = ended.as_ref().map_or_else(Instant::now, |ended| ended.at);
        let patience = self.patience();
        let back = self.next(from, patience).await;
        if back.wait().is_none() {
            self.begin(path).await?;
        }
        Ok((ended, back))
    }

    async fn next(&mut self, from: Instant, patience: Duration) -> Return {
        let mut until = from + patience;
        loop {
            let came = tokio::select! {
                biased;
                came = self.host.next(until) => came,
                // What it did last may still be on its way.
                Ok(_) = self.guard.wait_gone(self.slot), if until > Instant::now() + LAST_WORDS => {
                    self.found.exits += 1;
                    until = Instant::now() + LAST_WORDS;
                    continue;
                }
            };
            return match came {
                Some((number, at)) => {
                    self.current = number;
                    Return::After(between(from, at))
                }
                None => Return::NotWithin(between(from, until)),
            };
        }
    }

    /// Which process this is, over all instances.
    fn number(&self) -> u32 {
        u32::from(self.slot) + u32::from(self.questions.instances) * self.fresh
    }

    async fn outages(&mut self, count: u32) -> Result<(), LearnError> {
        let cut = self.cut();
        self.begin(&cut).await?;
        for _ in 0..count {
            // In place, so that nothing is lost where the questions end early, and long waits make patient at once.
            self.found.outages.push(SeenOutage { client: self.number(), waits_ms: Vec::new() });
            for attempt in 0..=self.questions.attempts {
                let path = if attempt < self.questions.attempts { "/accept_rst" } else { &cut };
                match self.then_or_cut(path).await? {
                    Return::After(wait) => self.found.outages.last_mut().into_iter().for_each(|outage| outage.waits_ms.push(ms(wait))),
                    Return::NotWithin(_) => {
                        self.found.gave_up.push(attempt);
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// As [`Subject::then`], but a fresh process begins with a connection that is cut.
    async fn then_or_cut(&mut self, path: &str) -> Result<Return, LearnError> {
        self.host.prepare(path);
        let ended = self.host.end(self.current, Instant::now() + self.questions.held + END_WITHIN).await;
        let from = ended.map_or_else(Instant::now, |ended| ended.at);
        let back = self.next(from, self.patience()).await;
        if back.wait().is_none() {
            let cut = self.cut();
            self.begin(&cut).await?;
        }
        Ok(back)
    }

    /// One question; the connection that is here before and after it has the steps that cut it.
    async fn ask(&mut self, question: TrialQuestion) -> Result<(), LearnError> {
        let (cut, held) = (self.cut(), self.questions.held.as_millis());
        match question {
            TrialQuestion::ShortLived => {
                let short = format!("/wait/{}ms/drop_rst", SHORT.as_millis());
                let mut outage = SeenOutage { client: self.number(), waits_ms: Vec::new() };
                for _ in 0..=SHORT_LIVED {
                    match self.then_or_cut(&short).await? {
                        Return::After(wait) => outage.waits_ms.push(ms(wait)),
                        Return::NotWithin(_) => break,
                    }
                }
                self.found.short_lived.push(outage);
                self.then_or_cut(&cut).await?;
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
                self.found.codes.extend(ending.map(|ending| AfterCode { code, back, answered: ending.wire_received }));
            }
            TrialQuestion::Status(status) => {
                let back = self.refused(&format!("/upgrade_status?status={status}")).await?;
                self.found.statuses.extend(back.map(|back| (status, back)));
            }
            TrialQuestion::RetryAfter => {
                let asked = Duration::from_secs((self.found.longest() + RETRY_AFTER_MORE).as_secs() + 1);
                let back = self.refused(&format!("/upgrade_status?status=503&retry_after={}s", asked.as_secs())).await?;
                self.found.retry_after = back.map(|back| (asked, back));
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
            }
            TrialQuestion::Unanswered => {
                self.then("/accept_stall").await?;
                let from = Instant::now();
                let ended = self.host.end(self.current, from + SILENCE).await;
                self.found.unanswered =
                    Some(ended.as_ref().map_or(Return::NotWithin(SILENCE), |ended| Return::After(between(from, ended.at))));
                self.begin(&cut).await?;
            }
        }
        Ok(())
    }

    /// Whether the client comes back after its first attempt of an outage got this answer; `None`: there was no such attempt.
    async fn refused(&mut self, path: &str) -> Result<Option<Return>, LearnError> {
        if self.then_or_cut(path).await?.wait().is_none() {
            return Ok(None);
        }
        let cut = self.cut();
        Ok(Some(self.then(&cut).await?.1))
    }
}

impl Findings {
    fn add(&mut self, subject: Subject<'_>) {
        let Findings { outages, exits, gave_up, short_lived, codes, statuses, retry_after, silence, unanswered, .. } = subject.found;
        self.outages.extend(outages);
        self.exits += exits;
        self.gave_up.extend(gave_up);
        self.short_lived.extend(short_lived);
        self.codes.extend(codes);
        self.statuses.extend(statuses);
        self.retry_after = self.retry_after.or(retry_after);
        self.silence = self.silence.or(silence);
        self.unanswered = self.unanswered.or(unanswered);
        self.doubles += subject.host.doubles;
        self.connections += subject.host.came;
    }
}

impl TrialQuestion {
    fn words(self) -> String {
        match self {
            TrialQuestion::ShortLived => "connections that are cut right after they opened".to_owned(),
            TrialQuestion::Code(NO_STATUS) => "an empty Close frame".to_owned(),
            TrialQuestion::Code(ABNORMAL) => "FIN without a Close frame".to_owned(),
            TrialQuestion::Code(code) => format!("status code {code}"),
            TrialQuestion::Status(status) => format!("HTTP status {status}"),
            TrialQuestion::RetryAfter => "Retry-After".to_owned(),
            TrialQuestion::Silence => format!("a server that is silent (up to {})", print_duration(SILENCE)),
            TrialQuestion::Unanswered => format!("a request that is not answered (up to {})", print_duration(SILENCE)),
        }
    }
}
