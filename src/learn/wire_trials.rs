//! Questions whose answers are on the wire of one connection: what a client does around a Close frame, and about many pings at once.

use super::findings::{HeldClose, PingFlood, Return};
use super::host::between;
use super::questions::{LearnError, PINGS};
use super::subject::Subject;
use crate::close::{Cause, Ending, TcpEnd};
use crate::serve::account::WireAccount;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Most trials of a question.
const TRIALS: usize = 3;
/// How long the server keeps TCP open behind a closing handshake: longer than the minute that a client may take. Where trials took so long
/// together there is no further one.
const HOLD: (Duration, Duration) = (Duration::from_secs(62), Duration::from_secs(45));
/// The same where all is to be quick.
const HOLD_QUICK: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(5));
/// How long a client that does not answer a Close frame is waited for, by the server.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The server's Close frame.
pub(super) const HELD_CODE: u16 = 1001;
/// Between the pings and one more …
const SETTLE: Duration = Duration::from_secs(2);
/// … and from there to the end.
const ANSWER_LATER: Duration = Duration::from_secs(1);
/// Trials of pings.
const PING_TRIALS: usize = 2;

impl Subject<'_> {
    /// Closes and keeps TCP open, until the client has had enough or the server ends it; whether there is an answer.
    pub(super) async fn held_close(&mut self) -> Result<bool, LearnError> {
        let (hold, budget) = if self.questions.quick { HOLD_QUICK } else { HOLD };
        let held = self.questions.held;
        let path = format!("/wait/{}ms/close_hold_tcp?hold={}ms&code={HELD_CODE}", held.as_millis(), hold.as_millis());
        let mut watched = Duration::ZERO;
        while self.found.held_closes.len() < TRIALS && watched < budget {
            self.then(&path).await?;
            let (cut, mut wire) = (self.cut(), self.wire.clone());
            self.host.prepare(&cut);
            let closing = wire.wait_for(|account| account.close_sent.is_some() || account.hung_up.is_some());
            // The account of a connection that has ended says no more.
            let _ = timeout_at(Instant::now() + held + ANSWER_WITHIN, closing).await;
            let sent = wire.borrow().close_sent;
            let Some(sent) = sent else {
                // The client went first.
                let from = Instant::now();
                if self.next(from, self.patience()).await.wait().is_none() {
                    self.begin(&cut).await?;
                }
                break;
            };
            let back = self.next(sent, hold + ANSWER_WITHIN + self.patience()).await;
            match back {
                // One that comes back first may still end the old connection; its new one is cut soon.
                Return::After(_) => {
                    let until = (sent + hold).min(Instant::now() + held / 2);
                    let _ = timeout_at(until, wire.wait_for(|account| account.hung_up.is_some())).await;
                }
                Return::NotWithin(_) => self.begin(&cut).await?,
            }
            let trial = held_close(&wire.borrow(), sent, hold, Instant::now(), back);
            watched += trial.back.time().min(trial.hold);
            self.found.held_closes.push(trial);
        }
        Ok(!self.found.held_closes.is_empty())
    }

    /// Sends many pings at once, and later one more; whether there is an answer.
    pub(super) async fn pings(&mut self) -> Result<bool, LearnError> {
        let held = self.questions.held;
        let (settle, later) = (SETTLE.as_millis(), ANSWER_LATER.as_millis());
        let path = format!("/wait/{}ms/pings/{PINGS}/wait/{settle}ms/pings/1/wait/{later}ms/drop_rst", held.as_millis());
        let cut = self.cut();
        self.then(&path).await?;
        for trial in 1..=PING_TRIALS {
            let wire = self.wire.clone();
            // The trial after this one, or the next question.
            let next = if trial < PING_TRIALS { &path } else { &cut };
            let (ended, _) = self.then_or(next, next).await?;
            let flood = ping_flood(&wire.borrow(), ended.as_ref().and_then(|ended| ended.ending.as_deref()), held);
            self.found.ping_floods.extend(flood);
        }
        Ok(!self.found.ping_floods.is_empty())
    }
}

/// What an account says of a Close frame that was sent then, whose server kept TCP open for so long, as far as it was seen by now.
fn held_close(account: &WireAccount, sent: Instant, hold: Duration, now: Instant, back: Return) -> HeldClose {
    let from = account.close_received.unwrap_or(sent);
    // Behind that the server has ended its side, and the client's end is an answer.
    let longest = if account.close_received.is_some() { hold } else { hold.min(ANSWER_WITHIN) };
    let seen = account.hung_up.filter(|(at, _)| between(from, *at) < longest);
    HeldClose {
        answered: account.close_received.map(|at| between(sent, at)),
        hung_up: seen.map_or(Return::NotWithin(longest.min(between(from, now))), |(at, _)| Return::After(between(from, at))),
        by_reset: seen.is_some_and(|(_, end)| end == TcpEnd::Rst),
        data_before: account.data_open,
        data_unanswered: account.data_unanswered,
        last_unanswered: account.last_unanswered.map(|at| between(sent, at)),
        data_after: account.data_after_close,
        back,
        hold: account.close_received.map_or(longest, |at| between(sent, at) + hold),
    }
}

/// What an account says of pings on a connection that was open for so long before them; `None`: they were not sent.
fn ping_flood(account: &WireAccount, ending: Option<&Ending>, held: Duration) -> Option<PingFlood> {
    let ended =
        ending.filter(|ending| !matches!(ending.cause, Cause::Fault(_))).map(|ending| match (ending.wire_received, ending.tcp_end) {
            (Some(code), _) => format!("a Close frame with {code}"),
            (None, TcpEnd::Rst) => "RST".to_owned(),
            (None, TcpEnd::Fin) => "FIN without a Close frame".to_owned(),
            _ => "silence".to_owned(),
        });
    (account.pings >= PINGS).then(|| PingFlood {
        sent: PINGS,
        answered: account.answered.range(..PINGS).count() as u32,
        last: account.answered.contains(&(PINGS - 1)),
        later: account.answered.contains(&PINGS),
        ended,
        data_before: account.data_open,
        before: held,
        data_after: account.data_pinged,
        after: SETTLE + ANSWER_LATER,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::close::Initiator;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_end_of_tcp_is_the_clients_own_only_before_the_servers() {
        let (sent, back) = (Instant::now(), Return::After(40 * SECOND));
        let at = |seconds| sent + SECOND * seconds;
        let seen = |answer: Option<u32>, fin: Option<u32>, now| {
            let (close_received, hung_up) = (answer.map(at), fin.map(|fin| (at(fin), TcpEnd::Fin)));
            let account = WireAccount { close_sent: Some(sent), close_received, hung_up, ..WireAccount::default() };
            let trial = held_close(&account, sent, 62 * SECOND, at(now), back);
            assert_eq!(trial.hold, answer.map_or(10 * SECOND, |answer| SECOND * answer + 62 * SECOND));
            assert!(trial.came_first() == answer.is_some());
            (trial.answered, trial.hung_up)
        };
        assert_eq!(seen(Some(1), Some(31), 33), (Some(SECOND), Return::After(30 * SECOND)));
        assert_eq!(seen(Some(1), Some(63), 70), (Some(SECOND), Return::NotWithin(62 * SECOND)), "in answer to the server's FIN");
        assert_eq!(seen(Some(1), None, 4), (Some(SECOND), Return::NotWithin(3 * SECOND)), "it had come back, and was watched no longer");
        assert_eq!(seen(None, Some(2), 4), (None, Return::After(2 * SECOND)));
        assert_eq!(seen(None, Some(10), 14), (None, Return::NotWithin(10 * SECOND)), "the server had enough");
    }

    #[test]
    fn pings_that_were_not_sent_are_no_trial_and_only_the_clients_end_is_its_own() {
        let mut account = WireAccount { pings: PINGS + 1, answered: [5, PINGS - 1].into(), data_open: 4, ..WireAccount::default() };
        let mut ending = Ending {
            cause: Cause::Fault(5),
            initiator: Initiator::Server,
            wire_received: None,
            wire_sent: None,
            tcp_end: TcpEnd::Local,
            tls_end: None,
            mid_frame: false,
            clean: false,
            code: 1006,
            reason: String::new(),
            bytes_after: 0,
        };
        let flood = ping_flood(&account, Some(&ending), SECOND).unwrap();
        assert_eq!((flood.answered, flood.last, flood.later, flood.ended, flood.data_before), (2, true, false, None, 4));
        (ending.cause, ending.wire_received) = (Cause::Remote, Some(1008));
        assert_eq!(ping_flood(&account, Some(&ending), SECOND).unwrap().ended.as_deref(), Some("a Close frame with 1008"));
        account.pings = 0;
        assert_eq!(ping_flood(&account, Some(&ending), SECOND), None);
    }
}
