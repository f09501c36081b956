//! What a client is asked, by whom and in which order. How a question is asked: `subject`.

use super::client::ClientCommand;
use super::findings::Findings;
use super::subject::Subject;
use crate::close::{ABNORMAL, NO_STATUS};
use crate::estimate;
use crate::seed::Seed;
use crate::sut::command::{Error, Guard};
use crate::text::barred_lines;
use crate::units::print_duration;
use futures_util::future::try_join_all;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

/// Status codes that are asked about; 1005 is an empty Close frame, 1006 an end by FIN without one.
const CODES: [u16; 12] = [1000, 1001, NO_STATUS, ABNORMAL, 1008, 1009, 1011, 1012, 1013, 4000, 4401, 4999];
/// HTTP statuses in place of an opening handshake.
const STATUSES: [u16; 5] = [401, 403, 404, 429, 503];
/// How long a silence is kept up, and an answer kept back.
pub(super) const SILENCE: Duration = Duration::from_secs(75);
/// How long a fresh client has to connect.
pub(super) const START_WITHIN: Duration = Duration::from_secs(60);

/// How attempts of an outage are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefuseBy {
    /// By a reset right after the request.
    #[default]
    Reset,
    /// By status 503.
    Unavailable,
    /// By the kernel: nobody listens. Attempts are seen only by who may read raw packets (CAP_NET_RAW).
    ClosedPort,
}

/// Where the client comes from.
#[derive(Clone, Debug)]
pub enum ClientSource {
    /// It is started by us.
    Command(ClientCommand),
    /// Its user starts it, and it connects to this address.
    Visitor(SocketAddr),
}

/// What is asked, and how often.
#[derive(Clone, Debug)]
pub struct Questions {
    /// Outages in all.
    pub outages: u32,
    /// Attempts that are refused in each.
    pub attempts: u32,
    /// How.
    pub refuse: RefuseBy,
    /// How long a connection is open before it is cut.
    pub held: Duration,
    /// Leaves out what takes a minute or more.
    pub quick: bool,
    /// Processes side by side; 1 of a client that its user starts.
    pub instances: u16,
    /// `HOST:PORT` of the server that speaks on open connections; `None`: messages are sent back.
    pub upstream: Option<String>,
    /// Of all that is random.
    pub seed: Seed,
}

/// Why nothing could be learnt.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// There is no such program.
    #[error("program `{0}` not found: check the command behind `--`; a name is looked up in PATH, one with a slash from this folder")]
    NotFound(String),
    /// The client's process.
    #[error(transparent)]
    Process(Error),
    /// A socket of ours.
    #[error("cannot serve: {0}")]
    Serve(#[from] io::Error),
    /// Attempts at a closed port cannot be seen.
    #[error("attempts at a closed port cannot be seen: {0}; run as root or with CAP_NET_RAW, or use --refuse reset")]
    Capture(io::Error),
    /// It runs and does not connect.
    #[error("the client did not connect to {url} within {}; {}", print_duration(START_WITHIN), last_output(printed))]
    NeverCame {
        /// Where it was to connect.
        url: String,
        /// The end of its output.
        printed: String,
    },
    /// It ended and has not connected.
    #[error("the client ended ({how}) and did not connect to {url}; {}", last_output(printed))]
    Ended {
        /// How.
        how: String,
        /// Where it was to connect.
        url: String,
        /// The end of its output.
        printed: String,
    },
    /// Nobody has started a client.
    #[error("no client came to {url} within {}", print_duration(*within))]
    NobodyCame {
        /// Where one was awaited.
        url: String,
        /// How long.
        within: Duration,
    },
}

impl From<Error> for LearnError {
    fn from(error: Error) -> Self {
        match error {
            Error::ProgramNotFound { program } => LearnError::NotFound(program),
            error => LearnError::Process(error),
        }
    }
}

fn last_output(printed: &str) -> String {
    if printed.is_empty() { "it printed nothing".to_owned() } else { format!("its last output:\n{}", barred_lines(printed)) }
}

/// A question beside the waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrialQuestion {
    ShortLived,
    Code(u16),
    Status(u16),
    ClosedPort,
    RetryAfter,
    Silence,
    Unanswered,
}

/// Those that take long.
const SLOW: [TrialQuestion; 3] = [TrialQuestion::RetryAfter, TrialQuestion::Silence, TrialQuestion::Unanswered];

/// Asks everything of one kind of client until it is done or `stop` comes; `told` hears how far it is.
///
/// # Errors
/// The client cannot be started or does not connect, and nothing at all was seen of it.
pub async fn learn(
    guard: &Guard,
    source: &ClientSource,
    questions: &Questions,
    stop: impl Future<Output = ()>,
    told: &(dyn Fn(String) + Sync),
) -> Result<Findings, LearnError> {
    let mut subjects = Vec::new();
    for slot in 0..questions.instances {
        subjects.push(Subject::new(guard, slot, source, questions, told).await?);
    }
    let list = list();
    let (slow, quick): (Vec<_>, Vec<_>) = list.iter().copied().partition(|question| SLOW.contains(question));
    // The slow ones first, so that they go on beside the others; but a client that is not ours to start again may be lost by any.
    let asked = match source {
        _ if questions.quick => quick,
        ClientSource::Command(_) => [slow, quick].concat(),
        ClientSource::Visitor(_) => [quick, slow].concat(),
    };
    let trouble = tokio::select! {
        biased;
        () = stop => None,
        result = ask_all(&mut subjects, questions, asked, told) => result.err(),
    };
    let mut found = Findings { held: questions.held, refuse: questions.refuse, ..Findings::default() };
    subjects.into_iter().for_each(|subject| subject.add_to(&mut found));
    match trouble {
        Some(error) if found.outages.iter().all(|outage| outage.waits_ms.is_empty()) && found.gave_up.is_empty() => return Err(error),
        Some(error) => found.cut_short = Some(error.to_string()),
        None => {}
    }
    found.not_asked = list.iter().map(|one| one.words()).filter(|words| !found.asked.iter().any(|(asked, _)| asked == words)).collect();
    found.codes.sort_by_key(|after| after.code);
    found.statuses.sort_by_key(|(status, _)| *status);
    found.fit = estimate::fit(&found.outages, questions.seed);
    found.near = estimate::nearest(&found.outages, questions.held, questions.seed);
    Ok(found)
}

/// All questions, those first that most clients survive.
fn list() -> Vec<TrialQuestion> {
    let codes = CODES.map(TrialQuestion::Code).into_iter().chain(STATUSES.map(TrialQuestion::Status));
    [TrialQuestion::ShortLived, TrialQuestion::ClosedPort].into_iter().chain(codes).chain(SLOW).collect()
}

async fn ask_all(
    subjects: &mut [Subject<'_>],
    questions: &Questions,
    list: Vec<TrialQuestion>,
    told: &(dyn Fn(String) + Sync),
) -> Result<(), LearnError> {
    told(format!("cutting connections: {} outages, {} at a time", questions.outages, questions.instances));
    let share = questions.outages.div_ceil(u32::from(questions.instances));
    try_join_all(subjects.iter_mut().map(|subject| subject.outages(share))).await?;
    let count = subjects.len();
    let each = subjects.iter_mut().enumerate().map(|(index, subject)| {
        let own: Vec<TrialQuestion> = list.iter().copied().skip(index).step_by(count).collect();
        async move {
            for question in own {
                told(question.words());
                let from = Instant::now();
                subject.ask(question).await?;
                subject.found.asked.push((question.words(), from.elapsed()));
            }
            Ok::<(), LearnError>(())
        }
    });
    try_join_all(each).await.map(drop)
}

impl TrialQuestion {
    pub(super) fn words(self) -> String {
        match self {
            TrialQuestion::ShortLived => "connections that are cut right after they opened".to_owned(),
            TrialQuestion::Code(NO_STATUS) => "an empty Close frame".to_owned(),
            TrialQuestion::Code(ABNORMAL) => "FIN without a Close frame".to_owned(),
            TrialQuestion::Code(code) => format!("status code {code}"),
            TrialQuestion::Status(status) => format!("HTTP status {status}"),
            TrialQuestion::ClosedPort => "a closed port".to_owned(),
            TrialQuestion::RetryAfter => "Retry-After".to_owned(),
            TrialQuestion::Silence => format!("a server that is silent (up to {})", print_duration(SILENCE)),
            TrialQuestion::Unanswered => format!("a request that is not answered (up to {})", print_duration(SILENCE)),
        }
    }
}

impl RefuseBy {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            RefuseBy::Reset => "a reset right after the request",
            RefuseBy::Unavailable => "status 503",
            RefuseBy::ClosedPort => "a closed port",
        }
    }
}
