//! What a selected attempt gets in place of a prompt and proper answer. It names no kind of fault.

use crate::fault::{Answer, End, OnAttempt, Shedding};
use crate::seed::Stream;
use crate::ws::frame_tap::Tap;
use crate::ws::handshake::server as request;
use std::future::poll_fn;
use std::io;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};

/// How long an answer that ends TCP by FIN waits for the client's.
const LINGER: Duration = Duration::from_secs(2);

/// Carries out what comes before the answer. Returns how the answer goes out; `None`: there is none any more.
pub(crate) async fn suffer(tap: &mut Tap, effect: OnAttempt, random: &mut Stream) -> Option<Answer> {
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
            let more = request::More { retry_after, location: location.as_deref() };
            request::refuse(tap, status, more, body as usize, "").await;
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
                _ if random.unit() >= share => Some(Answer::default()),
                Shedding::Close(code) => Some(Answer { close: Some(code), ..Answer::default() }),
                Shedding::Status(status) => {
                    request::refuse(tap, status, request::More::default(), 0, "").await;
                    None
                }
            }
        }
        // What clients do.
        OnAttempt::Ask(_) => Some(Answer::default()),
    }
}

/// Writes the bytes of an answer as `answer` says.
///
/// # Errors
/// If the connection did not survive it.
pub(crate) async fn send(tap: &mut Tap, bytes: &[u8], answer: &Answer) -> io::Result<()> {
    let whole = answer.instead.as_deref().unwrap_or(bytes);
    let length = answer.cut.map_or(whole.len(), |(length, _)| whole.len().min(length as usize));
    let (size, interval) = answer.pieces.map_or((whole.len(), Duration::ZERO), |(size, interval)| (size.max(1) as usize, interval));
    for (index, piece) in whole[..length].chunks(size.max(1)).enumerate() {
        if index > 0 && !interval.is_zero() {
            sleep(interval).await;
        }
        tap.write_all(piece).await?;
        tap.flush().await?;
    }
    match answer.cut {
        None => Ok(()),
        Some((_, end)) => {
            finish(tap, end).await;
            Err(io::Error::other("the answer was cut"))
        }
    }
}

/// Ends TCP, or holds it until the client does.
async fn finish(tap: &mut Tap, end: End) {
    match end {
        End::Rst => tap.transport().link_mut().reset(),
        // No row asks for silence here.
        End::Hold | End::Silent => gone(tap).await,
        End::Fin => {
            let _ = tap.shutdown().await;
            let _ = timeout(LINGER, gone(tap)).await;
        }
    }
}

/// A client that is gone meanwhile shows when it is written to.
async fn wait(delay: Duration) {
    if !delay.is_zero() {
        sleep(delay).await;
    }
}

/// Waits until the client ends TCP.
async fn gone(tap: &mut Tap) {
    let _ = poll_fn(|cx| tap.poll_after_close(cx)).await;
}
