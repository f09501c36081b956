//! Axes: from values to pixels, where the ticks stand and what they say.
//!
//! Labels of one axis share a unit where the scale is linear; on logarithmic scales each label has its own.

use crate::number;

/// A scale from values to pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Axis {
    /// `low..=high` on `from..=to` px, evenly. An empty range is widened to 1.
    pub fn linear(low: f64, high: f64, from: f64, to: f64) -> Axis {
        Axis { low, high: if high > low { high } else { low + 1.0 }, from, to, log: false }
    }

    /// Decades of equal length; `low` and `high` are widened to 1, 2 or 5 times a power of ten. Values at or below 0 lie at `low`.
    pub fn log(low: f64, high: f64, from: f64, to: f64) -> Axis {
        let low = floor_125(low.max(1e-9));
        let high = nice(high.max(low * 10.0));
        Axis { low, high, from, to, log: true }
    }

    /// Pixel of a value, kept on the axis.
    pub fn at(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + (self.to - self.from) * share.clamp(0.0, 1.0)
    }

    /// Ticks of a logarithmic axis of times in µs: value and label. 1, 2 and 5 where they fit, otherwise powers of ten.
    pub fn time_ticks(&self) -> Vec<(f64, String)> {
        if !self.log {
            let (step, unit) = time_step(self.high - self.low, 5);
            return steps(self.low, self.high, step).map(|v| (v, format!("{} {}", number::trimmed(v / unit.0, 3), unit.1))).collect();
        }
        self.log_ticks(66.0, |us| number::time(us.round() as u64))
    }

    /// Ticks of a logarithmic axis: value and label. 1, 2 and 5 where a decade has `room` px, otherwise powers of ten.
    pub fn log_ticks(&self, room: f64, label: impl Fn(f64) -> String) -> Vec<(f64, String)> {
        let all = decades(self.low, self.high).filter(|v| *v >= self.low * 0.999 && *v <= self.high * 1.001);
        let wide = (self.to - self.from).abs() / (self.high / self.low).log10() >= room;
        all.filter(|v| wide || is_power_of_ten(*v)).map(|v| (v, label(v))).collect()
    }
}

/// Ticks for counts from 0 to `high`: whole numbers, about `target` of them; the last is at or above `high`.
pub fn count_ticks(high: f64, target: usize) -> Vec<f64> {
    let step = nice(high.max(1.0) / target.max(1) as f64).max(1.0);
    let n = (high.max(1.0) / step).ceil() as usize;
    (0..=n).map(|i| i as f64 * step).collect()
}

/// Ticks from 0 to `high`, fractions too, about `target` of them; the last is at or above `high`.
pub fn ticks(high: f64, target: usize) -> Vec<f64> {
    let high = if high > 0.0 { high } else { 1.0 };
    let step = nice(high / target.max(1) as f64);
    let n = (high / step * 0.999_999).ceil() as usize;
    (0..=n).map(|i| i as f64 * step).collect()
}

/// Ticks of an axis of offsets in the run, in µs: value and bare number, and the unit for the axis title.
pub fn offset_ticks(high: f64, target: usize) -> (Vec<(f64, String)>, &'static str) {
    let (step, (unit, name)) = time_step(high, target);
    (steps(0.0, high, step).map(|v| (v, number::trimmed(v / unit, 3))).collect(), name)
}

/// A time axis from 0 in µs that ends at a tick: its end.
pub fn time_ceiling(high: f64, target: usize) -> f64 {
    let (step, _) = time_step(high, target);
    (high / step).ceil() * step
}

fn time_step(span: f64, target: usize) -> (f64, (f64, &'static str)) {
    const MINUTES: [f64; 9] = [15e6, 30e6, 60e6, 120e6, 300e6, 600e6, 900e6, 1800e6, 3600e6];
    let rough = span.max(1.0) / target.max(1) as f64;
    let step = if rough <= 10e6 {
        nice(rough)
    } else {
        MINUTES.into_iter().find(|s| *s >= rough).unwrap_or_else(|| nice(rough / 3600e6) * 3600e6)
    };
    let unit = match span {
        s if (1e6..600e6).contains(&s) => (1e6, "s"),
        s if (600e6..4.0 * 3600e6).contains(&s) && step >= 60e6 => (60e6, "min"),
        s if s >= 4.0 * 3600e6 && step >= 1800e6 => (3600e6, "h"),
        s if s >= 1e6 => (1e6, "s"),
        s if s >= 1e3 => (1e3, "ms"),
        _ => (1.0, "µs"),
    };
    (step, unit)
}

fn steps(low: f64, high: f64, step: f64) -> impl Iterator<Item = f64> {
    let first = (low / step).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(move |i| i as f64 * step)
}

/// The least of 1, 2 and 5 times a power of ten that is at least `rough`.
fn nice(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|step| *step >= rough * 0.999_999).unwrap_or(10.0 * power)
}

fn decades(low: f64, high: f64) -> impl Iterator<Item = f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    (first..=last).flat_map(|e| [1.0, 2.0, 5.0].map(|m| m * 10f64.powi(e)))
}

fn is_power_of_ten(value: f64) -> bool {
    let exponent = value.log10();
    (exponent - exponent.round()).abs() < 1e-6
}

fn floor_125(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|m| m * power).find(|v| *v <= value * 1.000_001).unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_tick_at_whole_numbers_that_cover_the_data() {
        for (high, expected) in [
            (1000.0, vec![0.0, 500.0, 1000.0]),
            (3.0, vec![0.0, 1.0, 2.0, 3.0]),
            (0.0, vec![0.0, 1.0]),
            (1204.0, vec![0.0, 500.0, 1000.0, 1500.0]),
        ] {
            assert_eq!(count_ticks(high, 3), expected, "{high}");
        }
    }

    #[test]
    fn fractions_tick_too() {
        assert_eq!(ticks(2.2, 4), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(ticks(0.4, 4), [0.0, 0.1, 0.2, 0.300_000_000_000_000_04, 0.4]);
        assert_eq!(ticks(8_000.0, 8).len(), 9);
    }

    #[test]
    fn offsets_share_one_unit() {
        let (ticks, unit) = offset_ticks(10e6, 5);
        assert_eq!((ticks[1].1.as_str(), unit), ("2", "s"));
        let (ticks, unit) = offset_ticks(0.8e6, 4);
        assert_eq!((ticks[1].1.as_str(), unit), ("200", "ms"));
        let (ticks, unit) = offset_ticks(3600e6, 6);
        assert_eq!((ticks[1].1.as_str(), unit), ("10", "min"));
    }

    #[test]
    fn logarithmic_axis_is_even_in_decades_and_keeps_outliers_on_it() {
        let axis = Axis::log(1e3, 1e6, 0.0, 300.0);
        for (value, px) in [(1e3, 0.0), (1e4, 100.0), (1e6, 300.0), (0.0, 0.0), (1e9, 300.0)] {
            assert!((axis.at(value) - px).abs() < 1e-6, "{value}");
        }
        let labels: Vec<String> = axis.time_ticks().into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels.first().map(String::as_str), Some("1 ms"));
        assert_eq!(labels.last().map(String::as_str), Some("1 s"));
    }
}
