//! When a server says that it sent a message: seconds, milliseconds, µs or ns since 1970, or ISO 8601.

/// Numbers from this on are so many times finer than a second: the first ones are of 1973, and each kind ends where the next begins, in the year 5138.
const UNITS: [(f64, f64); 4] = [(1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (1e8, 1.0)];

/// µs since 1970; `None`: it is no time of these years.
pub(super) fn micros_since_1970(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse::<f64>() {
        let (_, unit) = UNITS.into_iter().find(|(least, _)| number >= *least)?;
        // What is finer is beyond all years of `i64`.
        return Some((number / unit * 1e6).round() as i64).filter(|us| *us < 100_000_000_000_000_000);
    }
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ways_to_write_a_moment_are_one() {
        for text in [
            "1769860800.25",
            "1769860800250",
            "1769860800250000",
            "1769860800250000000",
            "2026-01-31T12:00:00.250Z",
            "2026-01-31T14:00:00.25+02:00",
        ] {
            assert_eq!(micros_since_1970(text), Some(1_769_860_800_250_000), "{text}");
        }
        for text in ["", "7", "-1769860800", "NaN", "inf", "1e300", "2026-01-31", "2026-01-31T12:00:00", "soon"] {
            assert_eq!(micros_since_1970(text), None, "{text}");
        }
    }
}
