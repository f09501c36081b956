//! Asks all questions of several processes side by side, and puts together what was seen. How one is asked: `subject`.

use super::findings::Findings;
use super::questions::{ClientSource, LearnError, Questions, TrialQuestion};
use super::subject::Subject;
use crate::close::{ABNORMAL, NO_STATUS};
use crate::estimate;
use crate::number::counted;
use crate::sut::command::Guard;
use futures_util::future::try_join_all;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Status codes that are asked about; 1005 is an empty Close frame, 1006 an end by FIN without one.
const CODES: [u16; 12] = [1000, 1001, NO_STATUS, ABNORMAL, 1008, 1009, 1011, 1012, 1013, 4000, 4401, 4999];
/// HTTP statuses in place of an opening handshake.
const STATUSES: [u16; 5] = [401, 403, 404, 429, 503];
/// Those that take long.
const SLOW: [TrialQuestion; 3] = [TrialQuestion::RetryAfter, TrialQuestion::Silence, TrialQuestion::Unanswered];

/// Timers that come so many milliseconds late, or later, are counted together.
const LATE_MOST: usize = 64;
/// Between looks at how late the machine is.
const LOOK: Duration = Duration::from_millis(20);

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
    let mut late = [0; LATE_MOST];
    let trouble = tokio::select! {
        biased;
        () = stop => None,
        never = watch_lateness(&mut late) => match never {},
        result = ask_all(&mut subjects, questions, asked, told) => result.err(),
    };
    let mut found = Findings { held: questions.held, refuse: questions.refuse, ..Findings::default() };
    subjects.into_iter().for_each(|subject| subject.add_to(&mut found));
    match trouble {
        Some(error) if found.outages.iter().all(|outage| outage.waits_ms.is_empty()) && found.gave_up.is_empty() => return Err(error),
        Some(error) => found.cut_short = Some(error.to_string()),
        None => {}
    }
    found.late = lateness(&late);
    found.not_asked = list.iter().map(|one| one.words()).filter(|words| !found.asked.iter().any(|(asked, _)| asked == words)).collect();
    found.codes.sort_by_key(|after| after.code);
    found.statuses.sort_by_key(|(status, _)| *status);
    found.fit = estimate::fit(&found.outages, questions.seed);
    found.near = estimate::nearest(&found.outages, questions.held, questions.seed);
    Ok(found)
}

/// Notes how late timers come, as those of clients on this machine do.
async fn watch_lateness(late: &mut [u64; LATE_MOST]) -> Infallible {
    loop {
        let due = Instant::now() + LOOK;
        sleep(LOOK).await;
        let ms = usize::try_from(due.elapsed().as_millis()).unwrap_or(LATE_MOST);
        late[ms.min(LATE_MOST - 1)] += 1;
    }
}

/// So late or later comes one timer in ten; `late`: how many came so many milliseconds late.
fn lateness(late: &[u64; LATE_MOST]) -> Duration {
    let (all, mut before) = (late.iter().sum::<u64>(), 0);
    let ms = late.iter().position(|count| {
        before += count;
        before * 10 > all * 9
    });
    Duration::from_millis(ms.unwrap_or_default() as u64)
}

/// All questions, those first that most clients survive.
fn list() -> Vec<TrialQuestion> {
    let codes = CODES.map(TrialQuestion::Code).into_iter().chain(STATUSES.map(TrialQuestion::Status));
    let first = [TrialQuestion::ShortLived, TrialQuestion::ClosedPort, TrialQuestion::HeldClose, TrialQuestion::Pings];
    first.into_iter().chain(codes).chain(SLOW).collect()
}

async fn ask_all(
    subjects: &mut [Subject<'_>],
    questions: &Questions,
    list: Vec<TrialQuestion>,
    told: &(dyn Fn(String) + Sync),
) -> Result<(), LearnError> {
    told(format!("cutting connections: {}, {} at a time", counted(questions.outages.into(), "outage"), questions.instances));
    let share = questions.outages.div_ceil(u32::from(questions.instances));
    let count = subjects.len();
    let each = subjects.iter_mut().enumerate().map(|(index, subject)| {
        let own: Vec<TrialQuestion> = list.iter().copied().skip(index).step_by(count).collect();
        async move {
            // One after the other without a pause: a client whose server has no steps for it gets no answer, and goes its own ways.
            subject.outages(share).await?;
            for question in own {
                told(question.words());
                let from = Instant::now();
                if subject.ask(question).await? {
                    subject.found.asked.push((question.words(), from.elapsed()));
                }
            }
            Ok::<(), LearnError>(())
        }
    });
    try_join_all(each).await.map(drop)
}
