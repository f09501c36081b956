//! Numbers as people read them: `1,204`, `2.31 s`, `640 µs`, `99.7 %`. Used by the charts and the reports.
//!
//! Nothing here parses, and nothing here is for machines: files keep integers in µs.

/// A count with thousands separators: `1,204`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun, which takes an s unless there is one of it: `1 client`, `1,204 clients`.
pub fn counted(n: u64, noun: &str) -> String {
    format!("{} {}", count(n), noun_of(n, noun))
}

/// A noun as it stands behind a number: `client` of one, `clients` of any other.
pub fn noun_of(n: u64, noun: &str) -> String {
    let end = match n {
        1 => "",
        _ if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{noun}{end}")
}

/// The word that goes with a number: of one, or of any other.
pub fn word_of<'a>(n: u64, one: &'a str, other: &'a str) -> &'a str {
    if n == 1 { one } else { other }
}

/// A time given in µs, to three digits: `640 µs`, `12.3 ms`, `2.31 s`, `2 min 5 s`, `1 h 2 min`.
pub fn time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..999_500 => format!("{} ms", three_digits(us as f64 / 1e3)),
        999_500..120_000_000 => format!("{} s", three_digits(us as f64 / 1e6)),
        _ => {
            let s = (us as f64 / 1e6).round() as u64;
            match s {
                0..3600 => two_units(s / 60, "min", s % 60, "s"),
                _ => two_units(s / 3600, "h", s % 3600 / 60, "min"),
            }
        }
    }
}

/// A time that may be absent: [`time`], or `n/a`.
pub fn time_or_na(us: Option<u64>) -> String {
    us.map_or_else(|| "n/a".to_string(), time)
}

/// Percent, 0 to 100, to one decimal, never rounded to all or nothing: `99.7 %`, `> 99.9 %`, `< 0.1 %`.
pub fn percent(value: f64) -> String {
    match value {
        v if !v.is_finite() => "n/a".to_string(),
        v if v <= 0.0 => "0 %".to_string(),
        v if v < 0.1 => "< 0.1 %".to_string(),
        v if v < 100.0 && v > 99.9 => "> 99.9 %".to_string(),
        v => format!("{} %", trimmed(v, 1)),
    }
}

/// `part` of `whole` in percent; `n/a` of nothing.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "n/a".to_string() } else { percent(part as f64 * 100.0 / whole as f64) }
}

/// Bytes with binary prefixes: `512 B`, `7.9 KiB`, `103 MiB`.
pub fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1023.5 {
            return format!("{} {unit}", three_digits(value));
        }
        value /= 1024.0;
    }
    format!("{} TiB", three_digits(value))
}

/// A value in its unit: those of observed expectations (`us`, `count`, `percent`, `per_s`) and of varied parameters (`s`, `bytes`, `number`).
pub fn observed(value: f64, unit: &str) -> String {
    match unit {
        "s" => time((value.max(0.0) * 1e6).round() as u64),
        "us" => time(value.max(0.0).round() as u64),
        "percent" => percent(value),
        "per_s" => format!("{}/s", quantity(value)),
        "bytes" => bytes(value.max(0.0).round() as u64),
        _ => quantity(value),
    }
}

/// As [`observed`], with as many digits as it takes to tell a value from the limit that it is near: `10.005 s`, where the limit is 10 s.
pub fn observed_beside(value: f64, limit: f64, unit: &str) -> String {
    let shown = observed(value, unit);
    let (size, name) = match unit {
        "us" if value < 1e6 && limit < 1e6 => (1e3, " ms"),
        "us" => (1e6, " s"),
        "percent" => (1.0, " %"),
        "per_s" => (1.0, "/s"),
        _ => (1.0, ""),
    };
    if shown != observed(limit, unit) {
        return shown;
    }
    let digits = |decimals| (trimmed(value / size, decimals), trimmed(limit / size, decimals));
    let told_apart = (1..=6).map(digits).find(|(value, limit)| value != limit);
    told_apart.map_or(shown, |(value, _)| format!("{value}{name}"))
}

/// A number that may have a fraction: whole numbers and those from 100 on as [`count`], others to three digits.
pub fn quantity(value: f64) -> String {
    let sign = if value < 0.0 { "−" } else { "" };
    let size = value.abs();
    if size.fract() == 0.0 || size >= 100.0 {
        return format!("{sign}{}", count(size.round() as u64));
    }
    format!("{sign}{}", three_digits(size))
}

/// To at most three significant digits, without trailing zeros.
fn three_digits(value: f64) -> String {
    let decimals = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    trimmed(value, decimals)
}

/// With at most `decimals` decimals, without trailing zeros.
pub fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

fn two_units(big: u64, big_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{big} {big_unit}") } else { format!("{big} {big_unit} {small} {small_unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_a_limit_is_told_from_it() {
        for (value, limit, unit, text) in [
            (10_004_977.0, 10_000_000.0, "us", "10.005 s"),
            (9_999_700.0, 10_000_000.0, "us", "9.9997 s"),
            (10_000_000.0, 10_000_000.0, "us", "10 s"),
            (11_000_000.0, 10_000_000.0, "us", "11 s"),
            (200_400.0, 200_000.0, "us", "200.4 ms"),
            (1_000_004.0, 1_000_000.0, "us", "1.000004 s"),
            (300_040_000.0, 300_000_000.0, "us", "300.04 s"),
            (99.04, 99.0, "percent", "99.04 %"),
            (99.96, 99.99, "percent", "99.96 %"),
            (2000.2, 2000.0, "per_s", "2000.2/s"),
            (3.0, 3.0, "count", "3"),
        ] {
            assert_eq!(observed_beside(value, limit, unit), text);
        }
    }

    #[test]
    fn counts_have_separators() {
        for (n, text) in [(0, "0"), (999, "999"), (1_204, "1,204"), (1_000_000, "1,000,000")] {
            assert_eq!(count(n), text);
        }
    }

    #[test]
    fn times_change_unit_before_they_round_into_the_next() {
        for (us, text) in [
            (0, "0 µs"),
            (640, "640 µs"),
            (1_000, "1 ms"),
            (12_345, "12.3 ms"),
            (999_499, "999 ms"),
            (999_500, "1 s"), // not 1000 ms
            (2_310_000, "2.31 s"),
            (30_000_000, "30 s"),
            (125_000_000, "2 min 5 s"),
            (3_600_000_000, "1 h"),
        ] {
            assert_eq!(time(us), text, "{us}");
        }
    }

    #[test]
    fn percents_never_round_to_all_or_nothing() {
        for (value, text) in
            [(100.0, "100 %"), (99.97, "> 99.9 %"), (99.7, "99.7 %"), (50.0, "50 %"), (0.04, "< 0.1 %"), (0.0, "0 %"), (f64::NAN, "n/a")]
        {
            assert_eq!(percent(value), text);
        }
    }

    #[test]
    fn observations_carry_their_unit() {
        for (value, unit, text) in [
            (8_123_000.0, "us", "8.12 s"),
            (99.5, "percent", "99.5 %"),
            (2412.0, "per_s", "2,412/s"),
            (2.5, "s", "2.5 s"),
            (0.0, "count", "0"),
        ] {
            assert_eq!(observed(value, unit), text);
        }
    }

    #[test]
    fn words_go_with_their_number() {
        for (n, noun, text) in [
            (0, "client", "0 clients"),
            (1, "more cohort", "1 more cohort"),
            (1, "process", "1 process"),
            (1_204, "process", "1,204 processes"),
        ] {
            assert_eq!(counted(n, noun), text);
        }
        assert_eq!([0, 1, 2].map(|n| word_of(n, "was", "were")), ["were", "was", "were"]);
    }

    #[test]
    fn bytes_use_binary_prefixes() {
        for (n, text) in [(512, "512 B"), (8_100, "7.91 KiB"), (108_003_328, "103 MiB")] {
            assert_eq!(bytes(n), text);
        }
    }
}
