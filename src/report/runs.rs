//! How far several seeds of a plan lie apart, for a terminal and for the report.

use super::document::{Block, Table};
use crate::metrics::latency::needed;
use crate::number;
use crate::plot::Loaded;
use crate::results::spread::{Runs, Spread};

/// Percentiles of a cohort that the report has.
const PERCENTILES: [f64; 3] = [50.0, 90.0, 99.0];

/// For a terminal: least, median and most of each figure. `judged`: the scenario expects something.
pub fn spread(runs: &Runs, seed: u64, judged: bool) -> String {
    if runs.done < 2 {
        return stopped(runs).map_or_else(String::new, |text| format!("{:<13}{text}\n", "seeds"));
    }
    let last = seed.wrapping_add(runs.planned.saturating_sub(1));
    let seeds = format!("seeds {seed} to {last}");
    let mut out = format!("{:<13}{seeds:<24}{:>12}{:>12}{:>12}\n", number::counted(runs.done, "run"), "least", "median", "most");
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
pub(super) fn blocks(loaded: &Loaded) -> Vec<Block> {
    let Some(runs) = &loaded.summary.runs else { return Vec::new() };
    let heading = Block::Heading("Other seeds".to_owned());
    let stopped = stopped(runs).map(|stopped| format!("The simulation was {stopped}."));
    if runs.done < 2 {
        return vec![heading, Block::Paragraph(stopped.unwrap_or_default())];
    }
    let mut text = format!(
        "The rest of this report shows the first of {}; runs.csv has all of them. The verdict is pass for {} of {}.",
        runs.done, runs.passed, runs.done
    );
    if let Some(seeds) = loaded.bands.timeline.iter().map(|band| band.seeds).max() {
        text += &format!(
            " The charts of the timeline and of the time to reconnect show bands over {}: from minimum to maximum and, with ten or more \
             seeds, from p10 to p90. Bands are computed for each point separately, so their edges are not curves of single seeds. The \
             numbers are in runs_timeline.csv and runs_reconnect.csv.",
            if seeds < runs.done { format!("the first {}", number::count(seeds)) } else { "all seeds".to_owned() }
        );
    }
    text += &stopped.map_or_else(String::new, |stopped| format!(" {stopped}"));
    let mut table = Table::new(1, &["Value per seed", "Least", "p10", "Median", "p90", "Most"]);
    for (name, time, of) in runs.figures() {
        let cells = [of.least, of.p10, of.median, of.p90, of.most].map(|value| show(value, time));
        table.rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
    }
    let mut blocks = vec![heading, Block::Paragraph(text), Block::Table(table)];
    blocks.extend(cohorts(loaded).map(Block::Table));
    blocks
}

/// The same of each of several cohorts; p99 where there are samples for it.
fn cohorts(loaded: &Loaded) -> Option<Table> {
    let mut table = Table::new(2, &["Cohort", "Time to reconnect", "Seeds", "Least", "p10", "Median", "p90", "Most"]);
    for (name, cohort) in &loaded.summary.cohorts {
        let bands = loaded.bands.reconnect.iter().filter(|band| band.cohort == *name && PERCENTILES.contains(&band.percentile));
        for band in bands.filter(|band| cohort.reconnect.affected >= needed(band.percentile / 100.0)) {
            let times = [band.least_us, band.p10_us, band.median_us, band.p90_us, band.most_us].map(|us| show(us, true));
            let begin = [name.clone(), format!("p{}", band.percentile), number::count(band.seeds)];
            table.rows.push(begin.into_iter().chain(times).collect());
        }
    }
    (loaded.summary.cohorts.len() > 1 && !table.rows.is_empty()).then_some(table)
}

fn stopped(runs: &Runs) -> Option<String> {
    let planned = runs.planned;
    (runs.done < planned).then(|| match runs.done {
        0 => format!("stopped during the first of {planned} seeds"),
        done => format!("stopped after {done} of {planned} seeds"),
    })
}

fn show(value: Option<u64>, time: bool) -> String {
    match value {
        None => "not reached".to_owned(),
        Some(us) if time => number::time(us),
        Some(count) => number::count(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::fixture;

    #[test]
    fn each_of_several_cohorts_has_its_spread_and_the_bands_are_explained() {
        let seeds = |run: &str| fixture::all().into_iter().find(|(name, _)| *name == run).unwrap().1;
        let loaded = seeds("fifty-seeds");
        let report = crate::report::markdown(&loaded);
        for part in [
            "## Other seeds",
            "bands over all seeds",
            "runs\\_reconnect.csv",
            "| exponential | p50 | 50 | 2.59 s |",
            "| full-jitter | \
                p99 |",
        ] {
            assert!(report.contains(part), "{part}: {report}");
        }
        assert!(!crate::report::markdown(&seeds("two-seeds")).contains("| web | p50 |"), "of one cohort the table above has it");
    }

    #[test]
    fn what_was_stopped_says_how_far_it_came() {
        let mut loaded = fixture::crash_storm();
        for (done, said) in [
            (0, "The simulation was stopped during the first of 20 seeds."),
            (
                1,
                "The simulation was stopped after 1 \
            of 20 seeds.",
            ),
        ] {
            let runs = Runs { planned: 20, done, ..Runs::default() };
            assert!(!spread(&runs, 1, true).contains("least"), "there is nothing to compare");
            loaded.summary.runs = Some(runs);
            assert!(crate::report::markdown(&loaded).contains(said), "{done}");
        }
        assert!(spread(&Runs { planned: 20, done: 7, ..Runs::default() }, 1, true).ends_with("stopped after 7 of 20 seeds\n"));
    }
}
