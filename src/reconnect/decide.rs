//! After a loss: first whether the client comes back at all, then when.

use super::delay::{self, DelayInput};
use super::policy::{Anchor, Phase2, Policy, Reset, ScheduleKind};
use super::{Decision, History, Loss, Random};
use crate::event::GiveUp;
use crate::units::duration_ms;
use std::time::Duration;

/// Redraws end here at the latest; with uniform draws eight in a row that grow have a chance below 1 in 40,000.
const REDRAWS_MAX: u32 = 64;

impl Policy {
    /// What a client does after `loss`, which it noticed at `now`.
    ///
    /// Order: reset rule; is the loss final; codes with a delay of their own; retries used up; the schedule. The wait is exact and
    /// counts from `now`, whatever the anchor. Draws: one per delay with jitter, more only with `redraw` and a poll timer.
    pub fn decide(&self, history: &mut History, loss: &Loss, now: Duration, random: Random<'_>) -> Decision {
        let unready = matches!(loss, Loss::Closed { .. }) && !history.is_ready();
        match history.attempt().zip(self.blind_until_ready).filter(|_| unready) {
            Some((start, blind)) => {
                let noticed = now.max(start.saturating_add(blind));
                history.never_opened();
                match self.judge(history, &Loss::TimedOut, noticed, random) {
                    Decision::Wait(wait) => Decision::Wait(wait.saturating_add(noticed - now)),
                    gives_up => gives_up,
                }
            }
            None => self.judge(history, loss, now, random),
        }
    }

    /// As [`Policy::decide`], of a loss that the library notices at `now`.
    fn judge(&self, history: &mut History, loss: &Loss, now: Duration, random: Random<'_>) -> Decision {
        if self.resets(history, loss, now) {
            history.reset();
        }
        match loss {
            Loss::Closed { .. } => history.connected = true,
            _ => history.failures = history.failures.saturating_add(1),
        }
        if let Some(why) = self.is_final(history, loss) {
            return Decision::GiveUp(why);
        }
        if history.retries == 0 {
            history.initial = !history.connected;
        }
        if let Some(wait) = self.by_code(history, loss) {
            return Decision::Wait(wait);
        }
        if self.max_retries.is_some_and(|max| history.retries >= max) {
            return Decision::GiveUp(GiveUp::Retries);
        }
        let Some(wait) = self.wait(history, loss, now, random) else { return Decision::GiveUp(GiveUp::Retries) };
        history.retries = history.retries.saturating_add(1);
        Decision::Wait(self.phase2.map_or(wait, |phase2| second_phase(phase2, history, loss, now, wait)))
    }

    /// Whether the connection that was lost, or the answer that was got, sets the count back.
    fn resets(&self, history: &History, loss: &Loss, now: Duration) -> bool {
        let closed = matches!(loss, Loss::Closed { .. });
        match self.reset {
            Reset::Open => closed,
            Reset::Ready => closed && history.is_ready(),
            Reset::Uptime => closed && history.opened_at().is_some_and(|opened| now.saturating_sub(opened) >= self.reset_uptime),
            Reset::HttpOk => closed || matches!(loss, Loss::Rejected { .. }),
            Reset::None => false,
        }
    }

    fn is_final(&self, history: &History, loss: &Loss) -> Option<GiveUp> {
        if self.kind == ScheduleKind::None {
            return Some(GiveUp::NoReconnect);
        }
        let what = || match loss {
            Loss::Closed { code } => format!("status code {code}"),
            Loss::Rejected { status } => format!("HTTP status {status}"),
            Loss::Failed => "failed connect".to_owned(),
            Loss::TimedOut => "timed out connect".to_owned(),
        };
        match loss {
            Loss::Closed { code } => self.stop_codes.contains(*code).then(|| fatal(what())),
            Loss::Rejected { status } if self.retry_http_status.as_ref().is_some_and(|retried| !retried.contains(status)) => {
                Some(fatal(what()))
            }
            _ if !history.connected && !self.retry_initial => Some(fatal(format!("first attempt: {}", what()))),
            _ if self.stop_on_connect_error => Some(fatal(what())),
            _ => None,
        }
    }

    /// Codes with a delay of their own. It stands for the first lead delay and is not counted where there is none.
    fn by_code(&self, history: &mut History, loss: &Loss) -> Option<Duration> {
        let Loss::Closed { code } = loss else { return None };
        let wait = match code {
            _ if self.immediate_codes.contains(*code) => Duration::ZERO,
            _ if self.backoff1s_codes.contains(*code) => Duration::from_secs(1),
            _ => return None,
        };
        if !self.lead.is_empty() {
            history.retries = history.retries.max(1);
        }
        Some(wait)
    }

    /// The wait of the schedule; `None`: a table has ended.
    fn wait(&self, history: &mut History, loss: &Loss, now: Duration, random: Random<'_>) -> Option<Duration> {
        let closed = matches!(loss, Loss::Closed { .. }).then(|| (history.opened_at().unwrap_or(now), history.is_ready()));
        if let (ScheduleKind::Poll(polling), Some(timer)) = (&self.kind, history.timer()) {
            return Some(timer.wait(self, polling, closed, now, random));
        }
        let (lead, skip) = self.usable_lead(history.initial);
        if let Some(bounds) = lead.get(history.retries as usize) {
            return Some(duration_ms(delay::uniform(*bounds, random)));
        }
        let k = if self.lead_counts { history.retries } else { history.retries - lead.len() as u32 };
        let step = DelayInput { k, skip, base_ms: history.base_ms(self), previous_ms: history.previous_ms() };
        let elapsed = match self.anchor {
            Anchor::Close => Duration::ZERO,
            Anchor::AttemptStart => history.attempt().map_or(Duration::ZERO, |start| now.saturating_sub(start)),
        };
        let mut drawn = delay::delay(self, &step, random)?;
        if self.redraw && duration_ms(drawn) > elapsed {
            drawn = self.redrawn(&step, drawn, random)?;
        }
        history.delayed(drawn);
        Some(duration_ms(drawn).saturating_sub(elapsed))
    }

    /// The last of a growing run of draws: after each sleep the client draws again, and sleeps the rest while the new delay is longer.
    ///
    /// With jitter uniform on [0, 1] the result has density x·eˣ, mean e - 2.
    fn redrawn(&self, step: &DelayInput, first: f64, random: Random<'_>) -> Option<f64> {
        let mut drawn = first;
        for _ in 0..REDRAWS_MAX {
            let next = delay::delay(self, step, random)?;
            if next <= drawn {
                break;
            }
            drawn = next;
        }
        Some(drawn)
    }

    /// The lead delays of this client, and how many steps of the schedule it skips.
    fn usable_lead(&self, initial: bool) -> (&[(Duration, Duration)], u32) {
        match self.initial_skip {
            _ if !initial => (&self.lead, 0),
            None => (&[], 0),
            Some(skip) => {
                let from_lead = (skip as usize).min(self.lead.len());
                (&self.lead[from_lead..], skip - from_lead as u32)
            }
        }
    }
}

/// `wait`, unless it would be pending when the second phase begins: then the attempt of that phase.
fn second_phase(phase2: Phase2, history: &mut History, loss: &Loss, now: Duration, wait: Duration) -> Duration {
    let first = match loss {
        Loss::Closed { .. } => now.saturating_add(wait),
        _ => history.attempt().unwrap_or(now),
    };
    let begun = history.outage(first);
    let change = begun.saturating_add(phase2.after);
    let first = change.saturating_add(phase2.first);
    match now {
        _ if now.saturating_add(wait) < change => wait,
        _ if now < first => first - now,
        _ => phase2.every,
    }
}

fn fatal(what: String) -> GiveUp {
    GiveUp::Final { what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconnect::{Codes, Jitter, TableEnd, presets};
    use crate::seed::Seed;
    use proptest::prelude::*;

    const CUT: Loss = Loss::Closed { code: 1006 };

    fn s(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// A client whose first connection opened and was ready at 0; draws are 0.37.
    fn connected(policy: &Policy) -> History {
        let mut history = policy.start(&mut || 0.37);
        history.attempt_started(s(0.0));
        history.opened(s(0.0));
        history.ready();
        history
    }

    fn decide(policy: &Policy, history: &mut History, loss: Loss, now: f64) -> Decision {
        policy.decide(history, &loss, s(now), &mut || 0.37)
    }

    fn wait(seconds: f64) -> Decision {
        Decision::Wait(s(seconds))
    }

    #[test]
    fn each_reset_rule_counts_what_it_says() {
        let delays = [1, 2, 4, 8].map(Duration::from_secs).to_vec();
        let table = |reset| Policy { reset, reset_uptime: s(5.0), ..Policy::table(delays.clone(), TableEnd::Repeat) };
        for (reset, ready, lived, expected) in [
            (Reset::Open, false, 0.1, 1.0),
            (Reset::Ready, false, 9.0, 4.0),
            (Reset::Ready, true, 0.1, 1.0),
            (Reset::Uptime, true, 4.9, 4.0),
            (Reset::Uptime, false, 5.0, 1.0),
            (Reset::HttpOk, false, 0.1, 1.0),
            (Reset::None, true, 100.0, 4.0),
        ] {
            let policy = table(reset);
            let mut history = connected(&policy);
            assert_eq!(decide(&policy, &mut history, CUT, 10.0), wait(1.0));
            history.attempt_started(s(11.0));
            assert_eq!(decide(&policy, &mut history, Loss::Failed, 11.0), wait(2.0));
            history.attempt_started(s(13.0));
            history.opened(s(13.0));
            if ready {
                history.ready();
            }
            assert_eq!(decide(&policy, &mut history, CUT, 13.0 + lived), wait(expected), "{reset} {lived}");
        }
    }

    #[test]
    fn immediate_reconnects_are_not_counted() {
        let policy = Policy { max_retries: Some(1), immediate_codes: Codes::parse(&["1000"]).unwrap(), ..Policy::fixed(s(3.0)) };
        let mut history = policy.start(&mut || 0.37);
        for _ in 0..3 {
            history.attempt_started(s(1.0));
            assert_eq!(decide(&policy, &mut history, Loss::Closed { code: 1000 }, 2.0), wait(0.0));
        }
        assert_eq!(decide(&policy, &mut history, Loss::Failed, 3.0), wait(3.0));
        assert_eq!(decide(&policy, &mut history, Loss::Failed, 4.0), Decision::GiveUp(GiveUp::Retries));
    }

    #[test]
    fn the_same_random_stream_gives_the_same_waits() {
        for preset in presets() {
            let waits = |seed| {
                let mut stream = Seed(seed).stream("client/1/reconnect");
                let mut random = || stream.unit();
                let mut history = preset.policy.start(&mut random);
                history.attempt_started(s(0.0));
                history.opened(s(0.1));
                (1..20).map(|i| preset.policy.decide(&mut history, &CUT, s(f64::from(i) * 100.0), &mut random)).collect::<Vec<_>>()
            };
            assert_eq!(waits(5), waits(5), "{}", preset.id);
            if matches!(preset.policy.jitter, Jitter::Mult { .. } | Jitter::Comb10 { .. }) && preset.policy.anchor == Anchor::Close {
                assert_ne!(waits(5), waits(6), "{}", preset.id);
            }
        }
    }

    fn loss() -> impl Strategy<Value = Loss> {
        prop_oneof![
            (1000..5000_u16).prop_map(|code| Loss::Closed { code }),
            Just(Loss::Failed),
            Just(Loss::TimedOut),
            (400..600_u16).prop_map(|status| Loss::Rejected { status }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn waits_stay_within_zero_and_the_cap(base in 0_u64..100_000, cap in 0_u64..100_000, factor in 1.0..10.0_f64,
                word in prop::sample::select(vec!["none", "full", "equal", "decorrelated"]), seed: u64, tries in 1_u64..40) {
            let cap = Duration::from_millis(cap);
            let policy = Policy::exponential(Duration::from_millis(base), factor, Some(cap), word.parse().unwrap());
            let mut stream = Seed(seed).stream("waits");
            let mut random = || stream.unit();
            let mut history = policy.start(&mut random);
            for i in 0..tries {
                match policy.decide(&mut history, &Loss::Failed, Duration::from_secs(i), &mut random) {
                    Decision::Wait(wait) => prop_assert!(wait <= cap, "{wait:?}"),
                    Decision::GiveUp(why) => prop_assert!(false, "{why:?}"),
                }
            }
        }

        #[test]
        fn no_preset_waits_longer_than_its_parameters_allow(index in 0..presets().count(), losses in prop::collection::vec(loss(), 1..60), seed: u64) {
            let preset = presets().nth(index).unwrap();
            let policy = &preset.policy;
            let mut stream = Seed(seed).stream("presets");
            let mut random = || stream.unit();
            let mut history = policy.start(&mut random);
            let mut now = s(0.0);
            let mut retries = 0;
            for loss in losses {
                history.attempt_started(now);
                if let Loss::Closed { .. } = loss {
                    history.opened(now);
                }
                let Decision::Wait(wait) = policy.decide(&mut history, &loss, now, &mut random) else { break };
                retries = history.retries();
                // the longest there is: a lead of 5 s before a small cap, jitter of a fifth, the gap before a second phase, an end not seen
                let gap = policy.phase2.map_or(s(0.0), |phase2| phase2.first) + policy.blind_until_ready.unwrap_or_default();
                let most = policy.cap.map_or(s(1e9), |cap| cap.max(s(5.0)).mul_f64(1.2) + gap);
                prop_assert!(wait <= most, "{}: {wait:?}", preset.id);
                now += wait;
            }
            prop_assert!(policy.max_retries.is_none_or(|max| retries <= max), "{}: {retries}", preset.id);
        }
    }
}
