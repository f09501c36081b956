//! Sets of status codes, as a preset or a scenario writes them.

use std::fmt;
use std::ops::RangeInclusive;

/// A set of status codes, as ranges in the order written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codes(pub Vec<RangeInclusive<u16>>);

impl Codes {
    /// Whether `code` is in the set.
    pub fn contains(&self, code: u16) -> bool {
        self.0.iter().any(|range| range.contains(&code))
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The set of these single codes and ranges, as `"1000"` and `"4400-4499"`.
    ///
    /// # Errors
    /// What is wrong with the first bad one.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Codes, String> {
        texts.iter().map(|text| range(text.as_ref())).collect::<Result<_, _>>().map(Codes)
    }
}

fn range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let number =
        |part: &str| part.trim().parse::<u16>().map_err(|_| format!("{text:?} is not a status code or a range like \"4400-4499\""));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(format!("{text:?} runs backwards"));
    }
    Ok(first..=last)
}

impl fmt::Display for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match range.start() == range.end() {
                true => write!(f, "{comma}{}", range.start())?,
                false => write!(f, "{comma}{}-{}", range.start(), range.end())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_single_or_ranges() {
        let codes = Codes::parse(&["1000", "4400-4499"]).unwrap();
        assert_eq!(codes.to_string(), "1000, 4400-4499");
        assert!(codes.contains(1000) && codes.contains(4400) && codes.contains(4499));
        assert!(!codes.contains(1001) && !codes.contains(4500));
        for wrong in ["", "abc", "4499-4400", "70000", "1000-"] {
            assert!(Codes::parse(&[wrong]).is_err(), "{wrong}");
        }
    }
}
