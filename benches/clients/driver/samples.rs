//! What was measured: every figure of every round, and its median. Kept in a file, so that a run can be added to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What is measured, of whom, and which figure of it.
pub(crate) type Key = (String, String, String);

/// Figures by key, one a round; and what could not be measured, with the reason.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    figures: BTreeMap<Key, Vec<f64>>,
    failures: BTreeMap<(String, String), String>,
}

impl Samples {
    pub(crate) fn add(&mut self, section: &str, who: &str, figure: &str, value: f64) {
        self.figures.entry(key(section, who, figure)).or_default().push(value);
        self.failures.remove(&(section.to_owned(), who.to_owned()));
    }

    pub(crate) fn failed(&mut self, section: &str, who: &str, why: &str) {
        self.failures.insert((section.to_owned(), who.to_owned()), why.replace(['\n', ','], " "));
    }

    pub(crate) fn median(&self, section: &str, who: &str, figure: &str) -> Option<f64> {
        let mut values = self.figures.get(&key(section, who, figure))?.clone();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let odd = values.len() % 2 == 1;
        Some(if odd { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) })
    }

    /// All figures of one measurement of somebody, with their medians.
    pub(crate) fn figures<'a>(&'a self, section: &'a str, who: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let of = self.figures.keys().filter(move |(of, whose, _)| of == section && whose == who);
        of.filter_map(move |(_, _, figure)| Some((figure.as_str(), self.median(section, who, figure)?)))
    }

    /// Largest number of rounds of any figure of somebody.
    pub(crate) fn rounds(&self, who: &str) -> usize {
        self.figures.iter().filter(|((_, of, _), _)| of == who).map(|(_, values)| values.len()).max().unwrap_or(0)
    }

    pub(crate) fn failures(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.failures.iter().map(|((section, who), why)| (section.as_str(), who.as_str(), why.as_str()))
    }

    pub(crate) fn has(&self, who: &str) -> bool {
        self.rounds(who) > 0
    }

    /// What the file holds; nothing if there is none.
    pub(crate) fn load(path: &Path) -> Samples {
        let mut samples = Samples::default();
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            match line.split(',').collect::<Vec<_>>().as_slice() {
                [section, who, "failed", why] => samples.failed(section, who, why),
                [section, who, figure, values] => {
                    let values = values.split(' ').filter_map(|value| value.parse().ok()).collect();
                    samples.figures.insert(key(section, who, figure), values);
                }
                _ => {}
            }
        }
        samples
    }

    pub(crate) fn save(&self, path: &Path) -> Result<(), String> {
        let mut text = String::from("section,who,figure,values of each round\n");
        for ((section, who, figure), values) in &self.figures {
            let values: Vec<_> = values.iter().map(f64::to_string).collect();
            text += &format!("{section},{who},{figure},{}\n", values.join(" "));
        }
        for (section, who, why) in self.failures() {
            text += &format!("{section},{who},failed,{why}\n");
        }
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

fn key(section: &str, who: &str, figure: &str) -> Key {
    (section.to_owned(), who.to_owned(), figure.to_owned())
}
