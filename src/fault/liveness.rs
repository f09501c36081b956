//! What a heartbeat makes of a silent connection: which ones it finds dead, and when. Pure; `metrics::liveness` lays what was
//! measured beside it.
//!
//! A ping needs both directions to be answered, so one stopped direction is enough. What differs is whose timers go on, whether the
//! bytes are late or lost, and what the end of the silence does:
//!
//! | kind | pings to the silent side | its own pings | when it is over |
//! |---|---|---|---|
//! | `freeze`, `server_pause` | wait in its kernel | none: its timers hang too | late pongs |
//! | `stop_reading` | wait in its kernel, then in the sender's | go out, their pongs are not read | late pongs |
//! | `hold_release` | wait on the path | wait on the path | late pongs |
//! | `blackhole`, `client_sleep` | lost | lost, or none | RST, or later pings pass |

use super::{ConnectionEffects, Effect, Flow, Injection, Side};
use std::time::Duration;

/// A connection that goes silent without ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// The side that carries it out.
    pub side: Side,
    /// That side's timers stand still: it sends no pings and counts no deadline.
    pub hangs: bool,
    /// What is sent meanwhile is lost; otherwise it is late.
    pub loses: bool,
    /// TCP is reset when it is over.
    pub resets: bool,
    /// `None`: to the end of the run.
    pub lasts: Option<Duration>,
}

/// What a heartbeat finds of the connections that fall silent, and after which time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Finds {
    /// Not one, and why.
    None(&'static str),
    /// A share of them, 0 to 1; 1: each.
    Some {
        /// Share.
        share: f64,
        /// The timeout, where a ping was due at once; a ping under way when it began is sooner by its round trip.
        earliest: Duration,
        /// The interval and the timeout, where a ping had just been answered.
        latest: Duration,
    },
}

impl Silence {
    /// Of an injection that lasts so long; `None` if it does not silence a connection that stays open.
    pub fn of(injection: &Injection, side: Side, lasts: Option<Duration>) -> Option<Silence> {
        match injection.effect(side) {
            Effect::Connection { gate, steps } if steps.is_empty() => Silence::behind(&gate, side, lasts),
            Effect::Process(on) if on.hangs() => Some(Silence { side, hangs: true, loses: false, resets: false, lasts }),
            _ => None,
        }
    }

    fn behind(gate: &ConnectionEffects, side: Side, lasts: Option<Duration>) -> Option<Silence> {
        let flows = [gate.read, gate.write];
        let held = gate.read_shape.hold || gate.write_shape.hold;
        let silent = held || flows.iter().any(|flow| *flow != Flow::Pass);
        silent.then(|| Silence { side, hangs: gate.asleep || gate.hangs(), loses: gate.discards(), resets: gate.reset_on_revert, lasts })
    }

    /// What the pings of `driver` find, one every `every` from a random phase on, each with `timeout` for its pong.
    ///
    /// A zero `every` sends none. Whether a ping leaves the kernel makes no difference, as behind a closed window: its deadline counts
    /// from when it was due.
    pub fn found_by(&self, driver: Side, every: Duration, timeout: Duration) -> Finds {
        if every.is_zero() {
            return Finds::None("no heartbeat");
        }
        if self.hangs && driver == self.side {
            return Finds::None("the side that pings hangs itself");
        }
        let all = Finds::Some { share: 1.0, earliest: timeout, latest: every + timeout };
        let Some(lasts) = self.lasts else { return all };
        let chance = |pings_within: Duration| (pings_within.as_secs_f64() / every.as_secs_f64()).min(1.0);
        if self.loses && !self.resets {
            // The ping is lost for good: it needs only to fall into the silence. The driver that is silent itself counts anew afterwards.
            let latest = if driver == self.side && lasts < every + timeout { lasts + timeout } else { lasts.min(every) + timeout };
            let earliest = if driver == self.side && lasts < timeout { lasts + timeout } else { timeout };
            return Finds::Some { share: chance(lasts), earliest, latest };
        }
        if lasts <= timeout {
            return Finds::None(if self.resets { "the path answers RST before the timeout" } else { "over before the timeout" });
        }
        Finds::Some { share: chance(lasts - timeout), earliest: timeout, latest: (every + timeout).min(lasts) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Value, Values, row};
    use std::collections::BTreeMap;

    fn seconds(s: f64) -> Duration {
        Duration::from_secs_f64(s)
    }

    fn silence(kind: &str, side: Side, lasts: Option<f64>, more: &[(&str, &str)]) -> Option<Silence> {
        let text = |value: &str| Value::Text(value.to_owned());
        let values: BTreeMap<_, _> = more.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect();
        let injection = Injection { row: row(kind).expect("in the catalogue"), values: Values(values) };
        Silence::of(&injection, side, lasts.map(seconds))
    }

    /// Kind, its side, who pings, how long it lasts, interval and timeout, parameters; and what is found. Times in seconds.
    type Line = (&'static str, Side, Side, Option<f64>, (f64, f64), &'static [(&'static str, &'static str)], Option<(f64, f64, f64)>);

    /// (share, earliest, latest) in seconds; `None`: finds nothing.
    fn found(kind: &str, side: Side, driver: Side, lasts: Option<f64>, beat: (f64, f64), more: &[(&str, &str)]) -> Option<(f64, f64, f64)> {
        let silence = silence(kind, side, lasts, more).unwrap_or_else(|| panic!("{kind} is silent"));
        match silence.found_by(driver, seconds(beat.0), seconds(beat.1)) {
            Finds::None(_) => None,
            Finds::Some { share, earliest, latest } => Some((share, earliest.as_secs_f64(), latest.as_secs_f64())),
        }
    }

    #[test]
    fn a_heartbeat_finds_what_outlasts_its_timeout_within_interval_and_timeout() {
        use Side::{Client as C, Server as S};
        let (slow, quick) = ((25.0, 2.0), (5.0, 2.0));
        const RESUME: &[(&str, &str)] = &[("on_revert", "resume")];
        #[rustfmt::skip]
        let table: &[Line] = &[
            // A process that hangs is found by its peer, never by itself.
            ("freeze", S, C, Some(30.0), quick, &[], Some((1.0, 2.0, 7.0))),
            ("freeze", S, C, Some(30.0), slow, &[], Some((1.0, 2.0, 27.0))),
            ("freeze", C, C, Some(30.0), quick, &[], None),
            ("freeze", S, S, None, quick, &[], None),
            ("freeze", C, S, None, quick, &[], Some((1.0, 2.0, 7.0))),
            ("server_pause", S, C, Some(30.0), quick, &[], Some((1.0, 2.0, 7.0))),
            ("server_pause", S, S, Some(30.0), quick, &[], None),
            // Who does not read does not see pongs either: both sides' pings find it.
            ("stop_reading", S, C, Some(30.0), quick, &[], Some((1.0, 2.0, 7.0))),
            ("stop_reading", C, C, Some(30.0), quick, &[], Some((1.0, 2.0, 7.0))),
            // One dead direction is enough, for both sides.
            ("blackhole", C, C, None, slow, &[("dir", "up")], Some((1.0, 2.0, 27.0))),
            ("blackhole", C, S, None, slow, &[("dir", "up")], Some((1.0, 2.0, 27.0))),
            ("blackhole", S, C, None, slow, &[("dir", "down")], Some((1.0, 2.0, 27.0))),
            // A jam no longer than the timeout is never seen; a longer one by those whose ping came early enough.
            ("hold_release", C, C, Some(1.9), quick, &[], None),
            ("hold_release", C, C, Some(2.0), quick, &[], None),
            ("hold_release", S, C, Some(4.0), quick, &[("dir", "up")], Some((0.4, 2.0, 4.0))),
            ("hold_release", C, C, Some(7.0), quick, &[], Some((1.0, 2.0, 7.0))),
            // A dead path that answers RST afterwards forestalls what is not due by then; one that comes back has lost the ping.
            ("blackhole", C, C, Some(1.0), quick, &[], None),
            ("blackhole", C, C, Some(4.5), quick, &[], Some((0.5, 2.0, 4.5))),
            ("blackhole", C, S, Some(1.0), quick, RESUME, Some((0.2, 2.0, 3.0))),
            ("blackhole", C, C, Some(1.0), quick, RESUME, Some((0.2, 3.0, 3.0))),
            ("blackhole", C, C, Some(30.0), quick, RESUME, Some((1.0, 2.0, 7.0))),
            // A sleeper's own timers stand still.
            ("client_sleep", C, C, Some(30.0), quick, &[], None),
            ("client_sleep", C, S, Some(30.0), quick, &[], Some((1.0, 2.0, 7.0))),
            // No heartbeat.
            ("blackhole", C, C, None, (0.0, 0.0), &[], None),
        ];
        for (kind, side, driver, lasts, beat, more, expected) in table {
            let found = found(kind, *side, *driver, *lasts, *beat, more);
            assert_eq!(found, *expected, "{kind} at the {side:?}, pings of the {driver:?}, {lasts:?} s, {beat:?}, {more:?}");
        }
    }

    #[test]
    fn only_what_silences_a_connection_that_stays_open_is_a_silence() {
        for (kind, is) in [("latency", false), ("drop_fin", false), ("client_crash", false), ("pong_drop", false), ("freeze", true)] {
            assert_eq!(silence(kind, Side::Client, None, &[]).is_some(), is, "{kind}");
        }
    }
}
