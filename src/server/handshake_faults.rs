//! What a selected attempt gets in place of a prompt and proper answer. It names no kind of fault.

use crate::event::Outcome;
use crate::fault::{OnAttempt, ResponseEdit, Shedding};
use crate::seed::Stream;
use crate::ws::frame_tap::Tap;
use crate::ws::handshake::server::{More, finish, gone, refuse};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Carries out what comes before the answer. Returns how the answer goes out; `None`: there is none any more.
pub(crate) async fn suffer(tap: &mut Tap, effect: OnAttempt, random: &mut Stream) -> Option<ResponseEdit> {
    match effect {
        OnAttempt::Stall(hold) => {
            if hold.is_zero() {
                gone(tap).await;
            } else {
                let _ = timeout(hold, gone(tap)).await;
            }
            None
        }
        OnAttempt::Cut { delay, end } => {
            wait(delay).await;
            finish(tap, end).await;
            None
        }
        OnAttempt::Reject { status, retry_after, location, body } => {
            let more = More { retry_after, location: location.as_deref() };
            refuse(tap, status, more, body as usize, "").await;
            None
        }
        OnAttempt::Answer(mut answer) => {
            answer.delay += answer.jitter.mul_f64(random.unit());
            wait(answer.delay).await;
            Some(answer)
        }
        OnAttempt::Shed { delay, share, by } => {
            wait(delay).await;
            match by {
                _ if random.unit() >= share => Some(ResponseEdit::default()),
                Shedding::Close(code) => Some(ResponseEdit { close: Some(code), ..ResponseEdit::default() }),
                Shedding::Status(status) => {
                    refuse(tap, status, More::default(), 0, "").await;
                    None
                }
            }
        }
        // What clients do.
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
