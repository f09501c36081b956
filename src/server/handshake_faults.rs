//! What a selected attempt gets in place of a prompt and proper answer. It names no kind of fault.

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
