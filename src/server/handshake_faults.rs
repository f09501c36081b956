//! What a selected attempt gets in place of a prompt and proper answer. It names no kind of fault.

use crate::event::Outcome;
use crate::fault::{OnAttempt, ResponseEdit, Shedding};
use crate::seed::Stream;
use crate::ws::frame_tap::Tap;
use crate::ws::handshake::server::{More, finish, gone, refuse};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Carries out what comes before the answer. Returns how the answer goes out; `None`: there is none any more.
pub(crate) async fn suffer(tap: &mut Tap, mut effect: OnAttempt, random: &mut Stream) -> Option<ResponseEdit> {
    hold(tap, &mut effect, random).await;
    answer(tap, effect, random).await
}

/// Waits as long as an attempt is held up. Nothing is written meanwhile: it may be dropped, and the attempt go on.
pub(crate) async fn hold(tap: &mut Tap, effect: &mut OnAttempt, random: &mut Stream) {
    match effect {
        OnAttempt::Stall(time) if time.is_zero() => gone(tap).await,
        OnAttempt::Stall(time) => drop(timeout(*time, gone(tap)).await),
        OnAttempt::Cut { delay, .. } | OnAttempt::Shed { delay, .. } => wait(*delay).await,
        OnAttempt::Answer(answer) => {
            answer.delay += answer.jitter.mul_f64(random.unit());
            wait(answer.delay).await;
        }
        // What clients do.
        OnAttempt::Reject { .. } | OnAttempt::Ask(_) => {}
    }
}

/// What comes behind [`hold`]: how the answer goes out; `None`: there is none any more.
pub(crate) async fn answer(tap: &mut Tap, effect: OnAttempt, random: &mut Stream) -> Option<ResponseEdit> {
    match effect {
        OnAttempt::Stall(_) => None,
        OnAttempt::Cut { end, .. } => {
            finish(tap, end).await;
            None
        }
        OnAttempt::Reject { status, retry_after, location, body } => {
            let more = More { retry_after, location: location.as_deref() };
            refuse(tap, status, more, body as usize, "").await;
            None
        }
        OnAttempt::Answer(answer) => Some(answer),
        OnAttempt::Shed { share, by, .. } => match by {
            _ if random.unit() >= share => Some(ResponseEdit::default()),
            Shedding::Close(code) => Some(ResponseEdit { close: Some(code), ..ResponseEdit::default() }),
            Shedding::Status(status) => {
                refuse(tap, status, More::default(), 0, "").await;
                None
            }
        },
        OnAttempt::Ask(_) => Some(ResponseEdit::default()),
    }
}

/// A client that is gone meanwhile shows when it is written to.
async fn wait(delay: Duration) {
    if !delay.is_zero() {
        sleep(delay).await;
    }
}

/// What an attempt comes to that gets this and no answer of ours any more, in the words of results.
pub(crate) fn outcome(effect: &OnAttempt) -> Outcome {
    let failed = |why: &str| Outcome::Failed { why: why.to_owned() };
    match effect {
        OnAttempt::Reject { status, retry_after, location, .. } => {
            Outcome::Rejected { status: *status, retry_after: *retry_after, location: location.as_deref().map(Into::into) }
        }
        OnAttempt::Shed { by: Shedding::Status(status), .. } => Outcome::Rejected { status: *status, retry_after: None, location: None },
        OnAttempt::Stall(_) => failed("the request was not answered"),
        OnAttempt::Cut { .. } => failed("the connection was ended in place of an answer"),
        OnAttempt::Answer(_) | OnAttempt::Shed { .. } | OnAttempt::Ask(_) => failed(GONE),
    }
}

/// Why an attempt failed whose client did not wait.
pub(crate) const GONE: &str = "the client was gone before the answer";
/// Why one failed on its way to a request.
pub(crate) const NO_TLS: &str = "the TLS handshake failed";
