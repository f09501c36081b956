//! The parameters by name: what a preset file and a scenario may set, with what shape.
//!
//! The names are those of the preset file without `_ms`. A scenario may set any of them on top of a preset or a strategy of its own.

use super::codes::Codes;
use super::policy::{
    Anchor, CapStage, ConnectTimeout, Driver, Jitter, LibraryHeartbeat, NextAddress, Phase2, Policy, Polling, Reset, ScheduleKind,
    ServesWhen, TableEnd, WholeDraw,
};
use crate::units::nearest;
use std::time::Duration;

/// What the value of a setting looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingShape {
    /// `"250ms"`.
    Duration,
    /// `1.5`.
    Number,
    /// A factor as `0.8`, or a duration where the jitter adds one.
    NumberOrDuration,
    /// A whole number.
    Whole,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `["10ms", "50ms"]`.
    Durations,
    /// `[["0s", "5s"]]`.
    Ranges,
    /// `["1000", "4400-4499"]`.
    Codes,
    /// `[500, 503]`.
    Wholes,
}

/// A parameter by name.
#[derive(Clone, Copy, Debug)]
pub struct SettingRow {
    /// As written in a scenario.
    pub name: &'static str,
    /// Its value.
    pub shape: SettingShape,
    /// What it does; one sentence.
    pub doc: &'static str,
}

/// A value for a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// Of [`SettingShape::Duration`].
    Duration(Duration),
    /// Of [`SettingShape::Number`]; must be finite.
    Number(f64),
    /// Of [`SettingShape::Whole`].
    Whole(i64),
    /// Of [`SettingShape::Flag`].
    Flag(bool),
    /// Of [`SettingShape::Word`], and an element of [`SettingShape::Codes`].
    Word(String),
    /// Of the shapes that are lists.
    List(Vec<Setting>),
}

/// Why a setting was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// No such name; with the nearest one, if one is near.
    #[error("unknown reconnect parameter")]
    Unknown {
        /// What may have been meant.
        suggestion: Option<&'static str>,
    },
    /// The value does not fit.
    #[error("{0}")]
    Value(String),
}

const fn row(name: &'static str, shape: SettingShape, doc: &'static str) -> SettingRow {
    SettingRow { name, shape, doc }
}

const KINDS: &[&str] = &["none", "fixed", "linear", "exponential", "table", "poll"];
const BY: &[&str] = &["none", "client", "server"];

/// All parameters, in the order of a policy's fields.
pub const SETTINGS: &[SettingRow] = &[
    row("kind", SettingShape::Word(KINDS), "shape of the schedule"),
    row("base", SettingShape::Duration, "first raw delay"),
    row("base_per_client", SettingShape::Durations, "two bounds of the base that each client draws once"),
    row("step", SettingShape::Duration, "added per retry by linear"),
    row("factor", SettingShape::Number, "multiplied per retry by exponential, at least 1"),
    row("exp0", SettingShape::Whole, "exponent of the first retry"),
    row("max_exponent", SettingShape::Whole, "the exponent grows no further"),
    row("table", SettingShape::Durations, "raw delays of table"),
    row("table_end", SettingShape::Word(TableEnd::WORDS), "what follows the last entry of the table"),
    row("cap", SettingShape::Duration, "longest delay; zero: none"),
    row("cap_stage", SettingShape::Word(CapStage::WORDS), "cap before jitter, after it, or both"),
    row("jitter", SettingShape::Word(Jitter::WORDS), "randomness of a delay"),
    row("jitter_lo", SettingShape::NumberOrDuration, "lower bound of jitter mult or add"),
    row("jitter_hi", SettingShape::NumberOrDuration, "upper bound of jitter mult or add"),
    row("jitter_hi_n0", SettingShape::Number, "upper bound of jitter mult before the first stale tick of poll"),
    row("jitter_x", SettingShape::Number, "greatest deviation of jitter comb10, as a share"),
    row("offset", SettingShape::Duration, "least delay of jitter offset_full or between"),
    row("jitter_int", SettingShape::Word(WholeDraw::WORDS), "draw whole milliseconds, with or without the upper end"),
    row("jitter_first", SettingShape::Flag, "the first delay has jitter too"),
    row("jitter_compounds", SettingShape::Flag, "a delay grows from the previous jittered delay"),
    row("round", SettingShape::Word(&["none", "floor"]), "round delays down to whole milliseconds"),
    row("stale", SettingShape::Duration, "age of the last message from which poll attempts"),
    row("min_disconnected", SettingShape::Duration, "poll does not attempt sooner after a loss"),
    row("reopen_delay", SettingShape::Duration, "wait of poll when the previous attempt is still under way"),
    row("lead", SettingShape::Ranges, "bounds of the first delays"),
    row("lead_counts", SettingShape::Flag, "lead delays count in the formula"),
    row("initial_skip", SettingShape::Whole, "entries of lead, then steps of the schedule, dropped when the very first connect fails"),
    row("anchor", SettingShape::Word(Anchor::WORDS), "delays count from the close or from the start of the previous attempt"),
    row("redraw", SettingShape::Flag, "draw again after each sleep"),
    row("phase2_after", SettingShape::Duration, "a second schedule takes over this long after an outage's first attempt"),
    row("phase2_first", SettingShape::Duration, "from the change of schedule to the next attempt"),
    row("phase2_every", SettingShape::Duration, "delays of the second schedule"),
    row("reset", SettingShape::Word(Reset::WORDS), "what sets the count of retries back"),
    row("reset_uptime", SettingShape::Duration, "time open for reset = \"uptime\""),
    row("ready", SettingShape::Word(ServesWhen::WORDS), "when the library takes a connection for one that serves"),
    row("max_retries", SettingShape::Whole, "retries before the client gives up; -1: unlimited"),
    row("retry_initial", SettingShape::Flag, "a failed very first connect is retried"),
    row("stop_codes", SettingShape::Codes, "status codes after which the client does not come back"),
    row("immediate_codes", SettingShape::Codes, "status codes after which it comes back with no delay"),
    row("backoff1s_codes", SettingShape::Codes, "status codes after which it comes back after 1 s"),
    row("stop_on_connect_error", SettingShape::Flag, "an attempt that does not open is final"),
    row("retry_http_status", SettingShape::Wholes, "the HTTP statuses that are retried; all others are final"),
    row("connect_timeout", SettingShape::Duration, "an attempt is abandoned after this time; zero: never"),
    row("connect_timeout_factor", SettingShape::Number, "growth of the connect timeout per failed attempt"),
    row("connect_timeout_cap", SettingShape::Duration, "longest connect timeout"),
    row(
        "blind_until_ready",
        SettingShape::Duration,
        "one that ends before it is ready is a failed attempt, noticed so long after its start",
    ),
    row("heartbeat_by", SettingShape::Word(BY), "who sends the pings"),
    row("heartbeat_interval", SettingShape::Duration, "between pings"),
    row("heartbeat_timeout", SettingShape::Duration, "from a ping to the end of the connection"),
    row("resume", SettingShape::Flag, "the library takes up earlier TLS sessions"),
    row("next_address", SettingShape::Word(NextAddress::WORDS), "when an attempt tries the next address of a name"),
    row("next_address_after", SettingShape::Duration, "an address that does not answer for so long is given up, or raced; 250 ms"),
];

impl SettingRow {
    /// The row of this name.
    ///
    /// # Errors
    /// [`SettingError::Unknown`].
    pub fn find(name: &str) -> Result<&'static SettingRow, SettingError> {
        SETTINGS
            .iter()
            .find(|row| row.name == name)
            .ok_or_else(|| SettingError::Unknown { suggestion: nearest(name, SETTINGS.iter().map(|row| row.name)) })
    }
}

impl Policy {
    /// Sets a parameter by name. Set `kind` and `jitter` before what belongs to them.
    ///
    /// # Errors
    /// An unknown name, a value of the wrong shape or out of bounds, or a parameter that this schedule or jitter does not have.
    pub fn set(&mut self, name: &str, value: Setting) -> Result<(), SettingError> {
        SettingRow::find(name)?;
        self.assign(name, value).map_err(SettingError::Value)
    }

    fn assign(&mut self, name: &str, value: Setting) -> Result<(), String> {
        match name {
            "kind" => self.kind = kind(&value.word()?)?,
            "base" => (self.base, self.base_per_client) = (value.duration()?, None),
            "base_per_client" => self.base_per_client = Some(value.bounds()?),
            "step" => self.step = value.duration()?,
            "factor" => self.factor = value.number(1.0)?,
            "exp0" => self.exp0 = value.whole()?,
            "max_exponent" => self.max_exponent = Some(value.whole()?),
            "table" => self.table = value.each(Setting::duration)?,
            "table_end" => self.table_end = value.word()?.parse()?,
            "cap" => self.cap = value.positive()?,
            "cap_stage" => self.cap_stage = value.word()?.parse()?,
            "lead" => self.lead = value.each(Setting::bounds)?,
            "lead_counts" => self.lead_counts = value.flag()?,
            "initial_skip" => self.initial_skip = Some(value.whole()?),
            "anchor" => self.anchor = value.word()?.parse()?,
            "redraw" => self.redraw = value.flag()?,
            "reset" => self.reset = value.word()?.parse()?,
            "reset_uptime" => self.reset_uptime = value.duration()?,
            "ready" => self.ready = value.word()?.parse()?,
            "max_retries" => self.max_retries = if value == Setting::Whole(-1) { None } else { Some(value.whole()?) },
            "retry_initial" => self.retry_initial = value.flag()?,
            "stop_codes" => self.stop_codes = value.codes()?,
            "immediate_codes" => self.immediate_codes = value.codes()?,
            "backoff1s_codes" => self.backoff1s_codes = value.codes()?,
            "stop_on_connect_error" => self.stop_on_connect_error = value.flag()?,
            "retry_http_status" => self.retry_http_status = Some(value.each(Setting::whole)?),
            "blind_until_ready" => self.blind_until_ready = Some(value.duration()?),
            "resume" => self.resume = value.flag()?,
            "next_address" => self.next_address = NextAddress::read(&value.word()?)?,
            "next_address_after" => match &mut self.next_address {
                NextAddress::Abandoned(after) | NextAddress::Raced(after) => *after = value.duration()?,
                _ => return Err("next_address is neither \"abandon\" nor \"race\"".to_owned()),
            },
            "round" => self.round_down = value.word()? == "floor",
            _ if name.starts_with("jitter") || name == "offset" => self.assign_jitter(name, value)?,
            _ => self.assign_group(name, value)?,
        }
        Ok(())
    }

    fn assign_jitter(&mut self, name: &str, value: Setting) -> Result<(), String> {
        match (name, &mut self.jitter, &mut self.kind) {
            ("jitter", jitter, _) => *jitter = value.word()?.parse()?,
            ("jitter_int", ..) => self.jitter_int = Some(value.word()?.parse()?),
            ("jitter_first", ..) => self.jitter_first = value.flag()?,
            ("jitter_compounds", ..) => self.jitter_compounds = value.flag()?,
            ("jitter_lo", Jitter::Mult { lo, .. }, _) => *lo = value.number(0.0)?,
            ("jitter_hi", Jitter::Mult { hi, .. }, _) => *hi = value.number(0.0)?,
            ("jitter_lo", Jitter::Add { lo, .. }, _) => *lo = value.duration()?,
            ("jitter_hi", Jitter::Add { hi, .. }, _) => *hi = value.duration()?,
            ("jitter_hi_n0", _, ScheduleKind::Poll(polling)) => polling.jitter_hi_n0 = value.number(0.0)?,
            ("jitter_x", Jitter::Comb10 { x }, _) => *x = value.number(0.0)?,
            ("offset", Jitter::OffsetFull { offset } | Jitter::Between { offset }, _) => *offset = value.duration()?,
            _ => return Err(format!("{name} does not belong to this jitter")),
        }
        Ok(())
    }

    fn assign_group(&mut self, name: &str, value: Setting) -> Result<(), String> {
        let zero = Duration::ZERO;
        match (name, &mut self.kind) {
            ("stale", ScheduleKind::Poll(polling)) => polling.stale = value.duration()?,
            ("min_disconnected", ScheduleKind::Poll(polling)) => polling.min_disconnected = value.duration()?,
            ("reopen_delay", ScheduleKind::Poll(polling)) => polling.reopen_delay = value.duration()?,
            ("phase2_after" | "phase2_first" | "phase2_every", _) => {
                let phase2 = self.phase2.get_or_insert(Phase2 { after: zero, first: zero, every: zero });
                match name {
                    "phase2_after" => phase2.after = value.duration()?,
                    "phase2_first" => phase2.first = value.duration()?,
                    _ => phase2.every = value.duration()?,
                }
            }
            ("connect_timeout", _) => {
                self.connect_timeout = value.positive()?.map(|first| ConnectTimeout { first, factor: 1.0, cap: None });
            }
            ("connect_timeout_factor" | "connect_timeout_cap", _) => {
                let timeout = self.connect_timeout.as_mut().ok_or("there is no connect_timeout to grow")?;
                match name {
                    "connect_timeout_factor" => timeout.factor = value.number(1.0)?,
                    _ => timeout.cap = value.positive()?,
                }
            }
            ("heartbeat_by", _) => {
                let word = value.word()?;
                self.heartbeat = match word.as_str() {
                    "none" => None,
                    _ => Some(LibraryHeartbeat { by: word.parse::<Driver>()?, interval: zero, timeout: zero }),
                };
            }
            ("heartbeat_interval" | "heartbeat_timeout", _) => {
                let heartbeat = self.heartbeat.as_mut().ok_or("there is no heartbeat_by")?;
                match name {
                    "heartbeat_interval" => heartbeat.interval = value.duration()?,
                    _ => heartbeat.timeout = value.duration()?,
                }
            }
            _ => return Err(format!("{name} does not belong to this schedule")),
        }
        Ok(())
    }
}

fn kind(word: &str) -> Result<ScheduleKind, String> {
    let zero = Duration::ZERO;
    Ok(match word {
        "none" => ScheduleKind::None,
        "fixed" => ScheduleKind::Fixed,
        "linear" => ScheduleKind::Linear,
        "exponential" => ScheduleKind::Exponential,
        "table" => ScheduleKind::Table,
        "poll" => ScheduleKind::Poll(Polling { stale: zero, min_disconnected: zero, reopen_delay: zero, jitter_hi_n0: 1.0 }),
        _ => return Err(format!("expected one of {}", KINDS.join(", "))),
    })
}

impl Setting {
    fn duration(self) -> Result<Duration, String> {
        match self {
            Setting::Duration(duration) => Ok(duration),
            _ => Err("expected a duration like \"250ms\"".to_owned()),
        }
    }

    fn positive(self) -> Result<Option<Duration>, String> {
        self.duration().map(|duration| Some(duration).filter(|duration| !duration.is_zero()))
    }

    fn number(self, least: f64) -> Result<f64, String> {
        match self {
            Setting::Number(number) if number.is_finite() && number >= least => Ok(number),
            Setting::Whole(number) if number as f64 >= least => Ok(number as f64),
            _ => Err(format!("expected a number, at least {least}")),
        }
    }

    fn whole<T: TryFrom<i64>>(self) -> Result<T, String> {
        match self {
            Setting::Whole(number) => T::try_from(number).map_err(|_| format!("{number} is out of bounds")),
            _ => Err("expected a whole number".to_owned()),
        }
    }

    fn flag(self) -> Result<bool, String> {
        match self {
            Setting::Flag(flag) => Ok(flag),
            _ => Err("expected true or false".to_owned()),
        }
    }

    fn word(self) -> Result<String, String> {
        match self {
            Setting::Word(word) => Ok(word),
            _ => Err("expected text".to_owned()),
        }
    }

    fn each<T>(self, one: impl Fn(Setting) -> Result<T, String>) -> Result<Vec<T>, String> {
        match self {
            Setting::List(list) => list.into_iter().map(one).collect(),
            _ => Err("expected a list".to_owned()),
        }
    }

    fn bounds(self) -> Result<(Duration, Duration), String> {
        match self.each(Setting::duration)?[..] {
            [lo, hi] if lo <= hi => Ok((lo, hi)),
            _ => Err("expected two durations, the lower first".to_owned()),
        }
    }

    fn codes(self) -> Result<Codes, String> {
        Codes::parse(&self.each(Setting::word)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_are_refused() {
        let mut policy = Policy::default();
        for (name, value) in [
            ("factor", Setting::Number(0.5)),
            ("factor", Setting::Number(f64::NAN)),
            ("max_retries", Setting::Whole(-2)),
            ("reset", Setting::Word("opened".to_owned())),
            ("jitter_x", Setting::Number(0.5)),           // full jitter has no x
            ("stale", Setting::Duration(Duration::ZERO)), // not a poll timer
            ("stop_codes", Setting::List(vec![Setting::Word("ten".to_owned())])),
            ("lead", Setting::List(vec![Setting::List(vec![Setting::Duration(Duration::ZERO)])])),
        ] {
            assert!(matches!(policy.set(name, value), Err(SettingError::Value(_))), "{name}");
        }
        assert_eq!(policy, Policy::default());
        assert_eq!(policy.set("max_retry", Setting::Whole(1)), Err(SettingError::Unknown { suggestion: Some("max_retries") }));
    }

    #[test]
    fn an_override_changes_one_parameter() {
        let mut policy = Policy::preset("reconnecting-websocket").unwrap();
        policy.set("base", Setting::Duration(Duration::from_secs(2))).unwrap();
        policy.set("max_retries", Setting::Whole(5)).unwrap();
        assert_eq!((policy.base, policy.base_per_client, policy.max_retries), (Duration::from_secs(2), None, Some(5)));
        assert_eq!(policy.reset_uptime, Duration::from_secs(5));
    }
}
