//! Quantities with units: what is printed parses back.
//!
//! Durations are `std::time::Duration`; [`parse_duration`] and [`print_duration`] stand in for `FromStr` and `Display`. A bare
//! number is an error that shows the fix. Positions in a file are added by `scenario`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Events per second; finite, at least 0.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Rate(pub f64);

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bytes(pub u64);

/// A share, 0 to 1; written in percent.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Ratio(pub f64);

/// Text that is not a quantity of the expected kind. Prints as what was found and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitError {
    /// What is wrong, as `"250" has no unit`.
    pub found: String,
    /// What to write instead, as `write "250ms" or "250s"`.
    pub fix: String,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.found, self.fix)
    }
}

impl std::error::Error for UnitError {}

/// Units of time and their length in ns. `us` comes before `µs` because it is printed.
const TIMES: &[(&str, u128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
const SIZES: &[(&str, u128)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];
const PERIODS: &[(&str, f64)] = &[("s", 1.0), ("min", 60.0), ("h", 3600.0)];

/// Parses `"250ms"`, `"2.5s"`, `"1m 30s"`, `"500us"`, `"1h"`; exact to the nanosecond, what is finer is cut off.
///
/// ```
/// # use std::time::Duration;
/// assert_eq!(closestorm::units::parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
/// assert!(closestorm::units::parse_duration("250").unwrap_err().to_string().contains("250ms"));
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let wrong = || wrong(text, "a duration", &["ms", "s"], r#""250ms", "2.5s" or "1m 30s""#);
    let mut rest = text.trim();
    let mut total: u128 = 0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let (number, unit, after) = split(rest).ok_or_else(wrong)?;
        let size = TIMES.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
        total = decimal(number, size).and_then(|ns| ns.checked_add(total)).ok_or_else(wrong)?;
        rest = after.trim_start();
    }
    // u64 nanoseconds are 584 years; more is a slip.
    u64::try_from(total)
        .map(Duration::from_nanos)
        .map_err(|_| UnitError { found: format!("\"{text}\" is too long"), fix: "a duration is at most 584 years".to_owned() })
}

/// Prints a duration so that [`parse_duration`] reads the same: `2.5s`, `250ms`, `1m 30s`, `0s`.
pub fn print_duration(duration: Duration) -> String {
    let ns = duration.as_nanos();
    let fraction = |unit: u128, name: &str| {
        let digits = unit.ilog10() as usize;
        let rest = format!("{:0digits$}", ns % unit);
        let rest = rest.trim_end_matches('0');
        let rest = if ns.is_multiple_of(unit) { "" } else { rest };
        format!("{}{}{rest}{name}", ns / unit, if rest.is_empty() { "" } else { "." })
    };
    match ns {
        0 => "0s".to_owned(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => fraction(1_000, "us"),
        1_000_000..1_000_000_000 => fraction(1_000_000, "ms"),
        1_000_000_000..60_000_000_000 => fraction(1_000_000_000, "s"),
        _ => {
            let seconds = duration.as_secs();
            let rest = Duration::new(seconds % 60, duration.subsec_nanos());
            let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m")];
            let mut words: Vec<_> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
            if !rest.is_zero() {
                words.push(print_duration(rest));
            }
            words.join(" ")
        }
    }
}

impl FromStr for Bytes {
    type Err = UnitError;

    /// Parses `"100B"`, `"64KiB"`, `"1MB"`.
    fn from_str(text: &str) -> Result<Bytes, UnitError> {
        let wrong = || wrong(text, "a size", &["B", "KiB"], r#""100B", "64KiB" or "1MB""#);
        let (number, unit, after) = split(text.trim()).ok_or_else(wrong)?;
        let size = SIZES.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
        let bytes = decimal(number, size).filter(|_| after.is_empty()).ok_or_else(wrong)?;
        u64::try_from(bytes).map(Bytes).map_err(|_| wrong())
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = ["GiB", "GB", "MiB", "MB", "KiB", "KB"].into_iter().find_map(|name| {
            let size = SIZES.iter().find(|(unit, _)| *unit == name)?.1 as u64;
            (self.0 > 0 && self.0.is_multiple_of(size)).then(|| (self.0 / size, name))
        });
        let (number, unit) = fits.unwrap_or((self.0, "B"));
        write!(f, "{number}{unit}")
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    /// Parses `"500/s"`, `"30/min"`, `"10/h"`.
    fn from_str(text: &str) -> Result<Rate, UnitError> {
        let wrong = || wrong(text, "a rate", &["/s", "/min"], r#""500/s" or "30/min""#);
        let (number, period) = text.trim().split_once('/').ok_or_else(wrong)?;
        let period = PERIODS.iter().find(|(name, _)| *name == period.trim()).ok_or_else(wrong)?.1;
        let number = float(number.trim()).ok_or_else(wrong)?;
        Ok(Rate(number / period))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Below one a second a larger period reads better, where it is exact.
        let whole = |(_, period): &&(&str, f64)| {
            let number = (self.0 * period).round();
            number >= 1.0 && number / period == self.0
        };
        match PERIODS.iter().find(whole) {
            Some((unit, period)) => write!(f, "{}/{unit}", (self.0 * period).round()),
            None => write!(f, "{}/s", self.0),
        }
    }
}

impl FromStr for Ratio {
    type Err = UnitError;

    /// Parses `"5%"`, 0 % to 100 %.
    fn from_str(text: &str) -> Result<Ratio, UnitError> {
        let wrong = || wrong(text, "a share", &["%"], r#""5%""#);
        let number = text.trim().strip_suffix('%').ok_or_else(wrong)?.trim_end();
        // The decimal point moves in the text, so that 99.9 % is the number 0.999 and not its neighbour.
        let share = float(number).and_then(|_| format!("{number}e-2").parse().ok()).ok_or_else(wrong)?;
        if share > 1.0 {
            return Err(UnitError { found: format!("\"{text}\" is more than 100 %"), fix: r#"a share is "0%" to "100%""#.to_owned() });
        }
        Ok(Ratio(share))
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The shortest decimal that reads back as the same number.
        let percent = (0..=15).map(|digits| format!("{:.digits$}", self.0 * 100.0));
        let exact = percent.into_iter().find(|text| format!("{text}e-2").parse() == Ok(self.0));
        write!(f, "{}%", exact.unwrap_or_else(|| (self.0 * 100.0).to_string()))
    }
}

/// The first number, its unit and what follows; `None` without either.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|at| *at > 0)?;
    let rest = text[digits..].trim_start();
    let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
    (letters > 0).then(|| (&text[..digits], &rest[..letters], &rest[letters..]))
}

/// `number · unit`, exact; `None` for what is not a decimal number or does not fit.
fn decimal(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let fraction = &fraction[..fraction.len().min(18)];
    let part = fraction.parse::<u128>().ok()?.checked_mul(unit)? / 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    whole.parse::<u128>().ok()?.checked_mul(unit)?.checked_add(part)
}

/// A plain decimal number: no sign, no exponent, no `inf`.
fn float(number: &str) -> Option<f64> {
    let plain = number.starts_with(|c: char| c.is_ascii_digit()) && number.chars().all(|c| c.is_ascii_digit() || c == '.');
    number.parse().ok().filter(|n: &f64| plain && n.is_finite())
}

fn wrong(text: &str, what: &str, units: &[&str], examples: &str) -> UnitError {
    let bare = text.trim();
    if float(bare).is_some() {
        let fixes: Vec<_> = units.iter().map(|unit| format!("\"{bare}{unit}\"")).collect();
        return UnitError { found: format!("{bare} has no unit"), fix: format!("write {}", fixes.join(" or ")) };
    }
    UnitError { found: format!("\"{text}\" is not {what}"), fix: format!("write it as {examples}") }
}

/// A time as a `Retry-After` header says it, which knows whole seconds only: rounded up, or clients would come too early.
pub fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

/// This many milliseconds, a century, stand for never.
pub const NEVER_MS: f64 = 3.156e12;

/// Exact milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// From milliseconds, to the nanosecond; negative is zero, beyond a century is a century.
pub fn duration_ms(ms: f64) -> Duration {
    // Not by `Duration::from_secs_f64`, which rounds the same but costs ten times as much. The cast is exact: a century fits.
    if ms.is_nan() { Duration::ZERO } else { Duration::from_nanos((ms.clamp(0.0, NEVER_MS) * 1e6).round_ties_even() as u64) }
}

/// The allowed word most like what was found, if any is alike: by the Jaro-Winkler similarity, from 0.8.
pub fn nearest<'a>(found: &str, allowed: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let alike = allowed.map(|word| (strsim::jaro_winkler(found, word), word));
    alike.filter(|(likeness, _)| *likeness >= 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_parse_and_print_back() {
        for (text, ns, printed) in [
            ("250ms", 250_000_000, "250ms"),
            ("2.5s", 2_500_000_000, "2.5s"),
            ("1m 30s", 90_000_000_000, "1m 30s"),
            ("1m30s", 90_000_000_000, "1m 30s"),
            ("90s", 90_000_000_000, "1m 30s"),
            ("500us", 500_000, "500us"),
            ("500µs", 500_000, "500us"),
            ("1.5 us", 1_500, "1.5us"),
            ("1h", 3_600_000_000_000, "1h"),
            ("0s", 0, "0s"),
            ("7ns", 7, "7ns"),
            ("1.000000001s", 1_000_000_001, "1.000000001s"),
            ("1h 0.5s", 3_600_500_000_000, "1h 500ms"),
            ("10s", 10_000_000_000, "10s"),
        ] {
            let parsed = parse_duration(text).expect(text);
            assert_eq!(parsed, Duration::from_nanos(ns), "{text}");
            assert_eq!(print_duration(parsed), printed, "{text}");
            assert_eq!(parse_duration(printed), Ok(parsed), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_an_error_that_shows_the_fix() {
        for (text, part) in [
            ("250", r#"250 has no unit: write "250ms" or "250s""#),
            ("", "is not a duration"),
            ("ms", "is not a duration"),
            ("5 parsecs", "is not a duration"),
            ("-5s", "is not a duration"),
            ("1.2.3s", "is not a duration"),
            ("1e3s", "is not a duration"),
            ("99999999999999h", "too long"),
        ] {
            let error = parse_duration(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_rates_and_shares_print_back() {
        for (text, bytes, printed) in
            [("100B", 100, "100B"), ("64KiB", 65536, "64KiB"), ("1MB", 1_000_000, "1MB"), ("1.5 KiB", 1536, "1536B"), ("0B", 0, "0B")]
        {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
            assert_eq!(Bytes(bytes).to_string(), printed);
        }
        for (text, rate, printed) in
            [("500/s", 500.0, "500/s"), ("30/min", 0.5, "30/min"), ("1/min", 1.0 / 60.0, "1/min"), ("0.3/s", 0.3, "18/min")]
        {
            assert_eq!(text.parse(), Ok(Rate(rate)), "{text}");
            assert_eq!(Rate(rate).to_string().parse(), Ok(Rate(rate)), "{text}");
            assert_eq!(Rate(rate).to_string(), printed);
        }
        for (text, share, printed) in [("5%", 0.05, "5%"), ("99.9%", 0.999, "99.9%"), ("100%", 1.0, "100%"), ("0%", 0.0, "0%")] {
            assert_eq!(text.parse(), Ok(Ratio(share)), "{text}");
            assert_eq!(Ratio(share).to_string(), printed);
        }
        assert!("101%".parse::<Ratio>().is_err());
        assert!("5".parse::<Ratio>().unwrap_err().to_string().contains("\"5%\""));
        assert!("500".parse::<Rate>().unwrap_err().to_string().contains("\"500/s\""));
        assert!("inf/s".parse::<Rate>().is_err());
        assert!("100".parse::<Bytes>().unwrap_err().to_string().contains("\"100B\""));
    }

    proptest::proptest! {
        #[test]
        fn every_duration_prints_back(ns in 0_u64..u64::MAX) {
            let duration = Duration::from_nanos(ns);
            proptest::prop_assert_eq!(parse_duration(&print_duration(duration)), Ok(duration));
        }

        #[test]
        fn every_rate_and_size_prints_back(rate in 0.0_f64..1e9, bytes in 0_u64..u64::MAX) {
            proptest::prop_assert_eq!(Rate(rate).to_string().parse(), Ok(Rate(rate)));
            proptest::prop_assert_eq!(Bytes(bytes).to_string().parse(), Ok(Bytes(bytes)));
        }
    }

    #[test]
    fn retry_after_is_never_told_shorter_than_it_is() {
        for (given, told) in [(0, 0), (1, 1), (900, 1), (1000, 1), (1001, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(given)), Duration::from_secs(told), "{given} ms");
        }
    }
}
