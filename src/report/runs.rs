//! How far several seeds of a plan lie apart, for a terminal and for the report.

use super::document::{Block, Table};
use crate::plot::number;
use crate::results::runs::{Runs, Spread};

/// For a terminal: least, median and most of each figure. `judged`: the scenario expects something.
pub fn spread(runs: &Runs, seed: u64, judged: bool) -> String {
    let last = seed.wrapping_add(runs.planned.saturating_sub(1));
    let seeds = format!("seeds {seed} to {last}");
    let mut out = format!("{:<13}{seeds:<24}{:>12}{:>12}{:>12}\n", format!("{} runs", runs.done), "least", "median", "most");
    for (name, time, Spread { least, median, most, .. }) in runs.figures() {
        let [least, median, most] = [least, median, most].map(|value| show(value, time));
        out += &format!("             {name:<24}{least:>12}{median:>12}{most:>12}\n");
    }
    if judged {
        out += &format!("             all expectations held in {} of {}\n", runs.passed, runs.done);
    }
    out + &stopped(runs).map_or_else(String::new, |text| format!("             {text}\n"))
}

/// For the report; nothing for one seed.
pub(super) fn blocks(runs: Option<&Runs>) -> Vec<Block> {
    let Some(runs) = runs else { return Vec::new() };
    let mut text = format!(
        "The rest of this report is one seed of {}: all of them are in runs.csv. The verdict is pass in {} of {}.",
        runs.done, runs.passed, runs.done
    );
    text += &stopped(runs).map_or_else(String::new, |stopped| format!(" It was {stopped}."));
    let mut table = Table::new(1, &["Over the seeds", "Least", "p10", "Median", "p90", "Most"]);
    for (name, time, of) in runs.figures() {
        let cells = [of.least, of.p10, of.median, of.p90, of.most].map(|value| show(value, time));
        table.rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
    }
    vec![Block::Heading("Other seeds".to_owned()), Block::Paragraph(text), Block::Table(table)]
}

fn stopped(runs: &Runs) -> Option<String> {
    (runs.done < runs.planned).then(|| format!("stopped after {} of {} runs", runs.done, runs.planned))
}

fn show(value: Option<u64>, time: bool) -> String {
    match value {
        None => "not reached".to_owned(),
        Some(us) if time => number::time(us),
        Some(count) => number::count(count),
    }
}
