//! The parameter that is varied: `key=low..high` of the command line, and its values as a scenario takes them.

use super::search::Range;
use crate::event::CLIENTS_MAX;
use crate::units::{Bytes, Rate, Ratio, parse_duration, print_duration};
use std::time::Duration;

/// The key that stands for all clients together.
pub const CLIENTS: &str = "clients";

/// What the values of a parameter count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things: whole numbers.
    Count,
    /// A plain number with a fraction.
    Number,
    /// Seconds.
    Seconds,
    /// Per second.
    PerSecond,
    /// Percent, 0 to 100.
    Percent,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// As in files.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Count => "count",
            Unit::Number => "number",
            Unit::Seconds => "s",
            Unit::PerSecond => "per_s",
            Unit::Percent => "percent",
            Unit::Bytes => "bytes",
        }
    }

    /// The unit that a file names; anything unknown is a plain number.
    pub fn parse(name: &str) -> Unit {
        let all = [Unit::Count, Unit::Seconds, Unit::PerSecond, Unit::Percent, Unit::Bytes];
        all.into_iter().find(|unit| unit.name() == name).unwrap_or(Unit::Number)
    }

    /// Whether only whole numbers make sense.
    fn is_whole(self) -> bool {
        matches!(self, Unit::Count | Unit::Bytes)
    }

    /// A value as a scenario takes it: `1600`, `2.5s`, `500/s`, `5%`, `64KiB`.
    pub fn text(self, value: f64) -> String {
        match self {
            Unit::Count => format!("{value:.0}"),
            Unit::Number => value.to_string(),
            Unit::Seconds => print_duration(Duration::from_nanos((value * 1e9).round().max(0.0) as u64)),
            Unit::PerSecond => Rate(value).to_string(),
            // Through text, so that 12.5 is not 12.499999.
            Unit::Percent => format!("{value}%").parse::<Ratio>().map_or_else(|_| format!("{value}%"), |ratio| ratio.to_string()),
            Unit::Bytes => Bytes(value.round().max(0.0) as u64).to_string(),
        }
    }

    /// Reads a value; `None` for what this unit does not measure.
    fn read(self, text: &str) -> Option<f64> {
        let plain = || text.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
        match self {
            Unit::Count => text.parse::<u32>().ok().map(f64::from),
            Unit::Number => plain(),
            Unit::Seconds => parse_duration(text).ok().map(|time| time.as_secs_f64()),
            Unit::PerSecond => text.parse::<Rate>().ok().map(|rate| rate.0),
            // The decimal point stays where it is written.
            Unit::Percent => text.parse::<Ratio>().ok().and_then(|_| text.trim().trim_end_matches('%').trim().parse().ok()),
            Unit::Bytes => text.parse::<Bytes>().ok().map(|bytes| bytes.0 as f64),
        }
    }
}

/// A parameter and its range.
#[derive(Clone, Debug, PartialEq)]
pub struct Vary {
    /// `clients`, or a key as `--set` takes it.
    pub key: String,
    /// Of its values.
    pub unit: Unit,
    /// Where to search, in that unit.
    pub range: Range,
}

impl Vary {
    /// Reads `key=low..high`. The lower end may leave out the unit: `100..2000/s`.
    ///
    /// # Errors
    /// What is wrong and what to write instead, in a sentence.
    pub fn parse(text: &str) -> Result<Vary, String> {
        let wrong = |what: &str| format!("`--vary {text}`: {what}; write it as clients=100..20000 or clients.web.arrive.rate=50/s..5000/s");
        let (key, range) = text.split_once('=').ok_or_else(|| wrong("there is no `=`"))?;
        let (low, high) = range.split_once("..").ok_or_else(|| wrong("there is no `..` between the lowest and the highest value"))?;
        let (key, low, high) = (key.trim(), low.trim(), high.trim());
        if key.is_empty() {
            return Err(wrong("there is no key"));
        }
        let units = [Unit::Count, Unit::Number, Unit::Percent, Unit::PerSecond, Unit::Bytes, Unit::Seconds];
        let both = |unit: Unit| {
            let top = unit.read(high)?;
            let suffix = high.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
            Some((unit, unit.read(low).or_else(|| unit.read(&format!("{low}{suffix}")))?, top))
        };
        let Some((unit, low, high)) = units.into_iter().find_map(both) else {
            return Err(wrong("its ends are not two numbers of one kind with a unit"));
        };
        if low >= high {
            return Err(wrong("the lowest value is not below the highest"));
        }
        if key == CLIENTS && (unit != Unit::Count || low < 1.0) {
            return Err(wrong(&format!("clients are counted, from 1 to {CLIENTS_MAX}")));
        }
        Ok(Vary { key: key.to_owned(), unit, range: Range { low, high, whole: unit.is_whole() } })
    }

    /// A value as a scenario takes it.
    pub fn text(&self, value: f64) -> String {
        self.unit.text(value)
    }

    /// Reads a value of the range, in its unit.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn value(&self, text: &str) -> Result<f64, String> {
        let (low, high) = (self.text(self.range.low), self.text(self.range.high));
        let value = self.unit.read(text.trim()).ok_or_else(|| format!("it is no value of {}, such as {high}", self.key))?;
        // Nothing is tried beyond it, so nothing could be said.
        if value < self.range.low || value > self.range.high {
            return Err(format!("it is not within the range of the search, {low} to {high}"));
        }
        Ok(value)
    }

    /// `n` values from the lowest to the highest, spread by equal factors, or evenly where the lowest is 0 or the unit is percent; all of
    /// them where there are no more.
    pub fn levels(&self, n: usize) -> Vec<f64> {
        let Range { low, high, whole } = self.range;
        if whole && high - low < n as f64 {
            return (low as u64..=high as u64).map(|value| value as f64).collect();
        }
        let even = low <= 0.0 || self.unit == Unit::Percent;
        let at = |i: usize| {
            let share = i as f64 / (n.max(2) - 1) as f64;
            if even { low + (high - low) * share } else { low * (high / low).powf(share) }
        };
        let mut levels: Vec<f64> = (0..n.max(2)).map(|i| self.range.settle(at(i))).collect();
        levels.dedup();
        levels
    }

    /// Whether its value is how many are at work at the same time, and so an N of the Universal Scalability Law.
    ///
    /// `round_trips`: clients work for the whole run. Clients that only open a connection work once, and then their number sets a rate.
    ///
    /// # Errors
    /// Why it is not, as half a sentence.
    pub fn concurrency(&self, round_trips: bool) -> Result<(), &'static str> {
        let last = self.key.rsplit('.').next().unwrap_or_default();
        match (self.unit, last) {
            (Unit::Count, "parallel") => Ok(()),
            (Unit::Count, CLIENTS | "count") if self.key == CLIENTS || self.key.starts_with("clients.") => match round_trips {
                true => Ok(()),
                false => Err("each client works once, when it opens: their number sets a rate, not how many work at the same time"),
            },
            (Unit::PerSecond, _) => Err("a rate is not a number of things that work at the same time"),
            (Unit::Percent, _) => Err("a share is not a number of things that work at the same time"),
            (Unit::Seconds, _) => Err("a time is not a number of things that work at the same time"),
            _ => Err("the varied key does not say how many work at the same time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_with_their_units_and_printed_back() {
        for (text, unit, low, high, printed) in [
            ("clients=100..20000", Unit::Count, 100.0, 20_000.0, "20000"),
            ("clients.web.arrive.rate=50/s..5000/s", Unit::PerSecond, 50.0, 5_000.0, "5000/s"),
            ("clients.web.arrive.rate=50..5000/s", Unit::PerSecond, 50.0, 5_000.0, "5000/s"), // the unit stands once
            ("faults.crash.inject.server_crash.down=500ms..20s", Unit::Seconds, 0.5, 20.0, "20s"),
            ("faults.0.select.percent=1%..100%", Unit::Percent, 1.0, 100.0, "100%"),
            ("x=0.1%..12.5%", Unit::Percent, 0.1, 12.5, "12.5%"),
            ("x=1KiB..1MiB", Unit::Bytes, 1_024.0, 1_048_576.0, "1MiB"),
            ("x=0.5..2", Unit::Number, 0.5, 2.0, "2"),
            ("x=0..20s", Unit::Seconds, 0.0, 20.0, "20s"),
            ("x=500..2000ms", Unit::Seconds, 0.5, 2.0, "2s"),
        ] {
            let vary = Vary::parse(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((vary.unit, vary.range.low, vary.range.high), (unit, low, high), "{text}");
            assert_eq!(vary.text(high), printed, "{text}");
            assert_eq!(unit.read(&vary.text(high)), Some(high), "{text}");
            assert_eq!(Unit::parse(unit.name()), unit);
        }
    }

    #[test]
    fn what_is_no_range_is_refused_with_an_example() {
        for (text, part) in [
            ("clients", "no `=`"),
            ("clients=100", "no `..`"),
            ("=1..2", "no key"),
            ("clients=200..100", "not below"),
            ("clients=0..100", "from 1"),
            ("clients=1s..2s", "counted"),
            ("clients=10..1000000000000", "to 10000000"),
            ("x=1s..5%", "one kind"),
            ("x=a..b", "one kind"),
            ("x=-1..5", "one kind"),
        ] {
            let error = Vary::parse(text).unwrap_err();
            assert!(error.contains(part) && error.contains("clients=100..20000"), "{text}: {error}");
        }
    }

    #[test]
    fn levels_span_the_range() {
        assert_eq!(Vary::parse("clients=100..800").unwrap().levels(4), [100.0, 200.0, 400.0, 800.0]);
        assert_eq!(Vary::parse("x=10%..100%").unwrap().levels(4), [10.0, 40.0, 70.0, 100.0]);
        assert_eq!(Vary::parse("x=0s..3s").unwrap().levels(4), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(Vary::parse("clients=1..2").unwrap().levels(4), [1.0, 2.0]);
        assert_eq!(Vary::parse("target.embedded.instances=2..8").unwrap().levels(7), [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    }

    #[test]
    fn only_numbers_of_things_at_work_are_a_concurrency() {
        for (text, round_trips, yes) in [
            ("clients=1..100", true, true),
            ("clients.web.count=1..100", true, true),
            ("clients=1..100", false, false), // they open and then wait
            ("target.embedded.parallel=1..8", false, true),
            ("clients.web.arrive.rate=1/s..9/s", true, false),
            ("faults.0.select.percent=1%..9%", true, false),
            ("target.embedded.backlog=1..9", true, false),
        ] {
            assert_eq!(Vary::parse(text).unwrap().concurrency(round_trips).is_ok(), yes, "{text}");
        }
    }
}
