//! Load as people describe it: stages of clients and of message rates, and arrivals per second from a file.

use super::diagnostic::{Diagnostic, Sink};
use super::keys;
use super::reader::{Reader, quantity, whole, wrong};
use super::tree::{Node, TomlValue};
use crate::event::CLIENTS_MAX;
use crate::plan::{Arrive, LoadStage, LoadStages};
use crate::units::{Bytes, Rate};
use std::sync::Arc;
use std::time::Duration;

/// Stages of one list; more are a slip.
const STAGES_MAX: usize = 1000;
/// Seconds of a file of arrivals: those of the longest run.
const SECONDS_MAX: usize = 7 * 24 * 3600;
/// Largest file of arrivals, bytes.
const FILE_MAX: Bytes = Bytes(64 << 20);
/// Highest message rate of a client, as of all rates.
const RATE_MAX: f64 = 1e6;

/// `stages` of clients.
pub(super) fn clients(arrive: &Reader<'_>) -> Option<Arrive> {
    let level = |node: &Node| whole("to", node, 0..=u64::from(CLIENTS_MAX), arrive.sink).map(|clients| clients as f64);
    let stages = stages(arrive.get("stages")?, arrive.sink, level)?;
    Some(Arrive::Stages(Arc::new(stages)))
}

/// `per_second`, or what a file has become.
pub(super) fn per_second(arrive: &Reader<'_>) -> Option<Arrive> {
    let node = arrive.get("per_second")?;
    let TomlValue::Array(list) = &node.value else { return wrong("per_second", "a list of whole numbers", node, arrive.sink) };
    let count = |one| whole("per_second", one, 0..=u64::from(CLIENTS_MAX), arrive.sink).and_then(|count| u32::try_from(count).ok());
    let counts: Vec<u32> = list.iter().filter_map(count).collect();
    if counts.len() > SECONDS_MAX {
        arrive.complain("per_second", "too many seconds", format!("found {}", counts.len()), "a run lasts at most a week");
    }
    Some(Arrive::PerSecond(counts.into()))
}

/// How many clients a shape has by itself; `None`: as many as `count` says.
pub(super) fn count(arrive: &Arrive) -> Option<u32> {
    let clients = match arrive {
        Arrive::Stages(stages) => stages.peak() as u64,
        Arrive::PerSecond(counts) => counts.iter().map(|count| u64::from(*count)).sum(),
        _ => return None,
    };
    Some(u32::try_from(clients).unwrap_or(u32::MAX).clamp(1, CLIENTS_MAX))
}

/// A rate of messages; of one in stages the highest.
pub(super) fn rate(reader: &Reader<'_>) -> Option<Rate> {
    match reader.get("rate") {
        // Complaints come from `of_cohort`.
        Some(node) if matches!(node.value, TomlValue::Table(_)) => rates(node, &Sink::default()).map(|stages| Rate(stages.peak())),
        _ => reader.rate("rate"),
    }
}

/// The stages of the message rate of a cohort, wherever that stands.
pub(super) fn of_cohort(cohort: &Reader<'_>, after: Duration) -> Option<Arc<LoadStages>> {
    let traffic = cohort.get("traffic");
    let traffic = ["echo", "send", "request"].into_iter().filter_map(|key| traffic?.get(key)?.get("rate"));
    let mut rate = traffic.chain(cohort.get("dialogue").and_then(|dialogue| dialogue.get("rate")));
    let node = rate.find(|node| matches!(node.value, TomlValue::Table(_)))?;
    rates(node, cohort.sink).map(|stages| Arc::new(stages.after(after)))
}

fn rates(node: &Node, sink: &Sink) -> Option<LoadStages> {
    let reader = Reader::open(node, &keys::RATE, sink)?;
    let level = |node: &Node| {
        let rate: Rate = quantity("to", "a rate", &["/s", "/min"], node, sink)?;
        if !(0.0..=RATE_MAX).contains(&rate.0) {
            sink.push(Diagnostic::new(&node.at, "`to` is out of bounds", format!("found {rate}")).help("a rate is at most 1000000/s"));
            return None;
        }
        Some(rate.0)
    };
    stages(reader.need("stages", reader.get("stages"))?, sink, level)
}

/// A list of stages, whose highest level is above 0.
fn stages(node: &Node, sink: &Sink, level: impl Fn(&Node) -> Option<f64>) -> Option<LoadStages> {
    let TomlValue::Array(list) = &node.value else { return wrong("stages", "a list of tables", node, sink) };
    if list.len() > STAGES_MAX {
        sink.push(Diagnostic::new(&node.at, "too many stages", format!("found {}", list.len())).help("at most 1000"));
        return None;
    }
    let mut all: Vec<LoadStage> = Vec::new();
    for one in list {
        let reader = Reader::open(one, &keys::STAGE, sink)?;
        let stage = match reader.one_of(&["to", "hold"])? {
            "hold" => {
                if reader.get("over").is_some() {
                    reader.complain("over", "`over` beside `hold`", "found here", "`hold` has its own length: leave `over` out");
                }
                LoadStage { to: all.last().map_or(0.0, |before| before.to), over: reader.duration("hold")? }
            }
            _ => LoadStage { to: level(reader.get("to")?)?, over: reader.duration("over").unwrap_or_default() },
        };
        all.push(stage);
    }
    let stages = LoadStages::new(all);
    if stages.peak() <= 0.0 {
        let help = "as `stages = [ { to = 500, over = \"1m\" }, { hold = \"5m\" }, { to = 0, over = \"30s\" } ]`";
        sink.push(Diagnostic::new(&node.at, "these stages never rise above 0", "found here").help(help));
        return None;
    }
    Some(stages)
}

/// Puts what `arrive.file` holds in its place, so that workers, shards and the stored scenario have it.
pub(super) fn inline(cohort: &mut Node, read: &dyn Fn(&str, Bytes) -> Result<String, String>, sink: &Sink) {
    let Some(arrive) = cohort.get_mut("arrive") else { return };
    let Some(Node { value: TomlValue::Text(file), at, .. }) = arrive.get("file") else { return };
    match read(file, FILE_MAX).and_then(|text| arrivals(&text)) {
        Ok(counts) => {
            let number = |count| Node { at: at.clone(), value: TomlValue::Integer(i64::from(count)), written: None };
            let list = TomlValue::Array(counts.into_iter().map(number).collect());
            arrive.remove("file");
            arrive.set(&["per_second"], list);
        }
        Err(why) => {
            let help = "CSV with a header: a column of arrivals, or a column of seconds and one of the arrivals in each";
            sink.push(Diagnostic::new(at, format!("the file of arrivals {file} cannot be used"), why).help(help));
            arrive.remove("file");
        }
    }
}

/// Arrivals by second: the last column; the first, where there are two, is the second, from any one on. Seconds that are left out have none.
fn arrivals(text: &str) -> Result<Vec<u32>, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let columns = reader.headers().map_err(|error| error.to_string())?.len();
    if !(1..=2).contains(&columns) {
        return Err(format!("it has {columns} columns, not one or two"));
    }
    let (mut counts, mut first) = (Vec::new(), None);
    for (number, row) in reader.records().enumerate() {
        let row = row.map_err(|error| error.to_string())?;
        let line = number + 2;
        let whole = |place: usize, what: &str| {
            let field = row.get(place).unwrap_or_default();
            field.parse::<u64>().map_err(|_| format!("line {line}: \"{field}\" is not {what}"))
        };
        let count =
            u32::try_from(whole(columns - 1, "a whole number of arrivals")?).map_err(|_| format!("line {line}: too many arrivals"))?;
        if columns == 2 {
            let second = whole(0, "a whole number of seconds")?;
            let second = second.checked_sub(*first.get_or_insert(second)).ok_or_else(|| format!("line {line}: seconds go back"))?;
            if second < counts.len() as u64 {
                return Err(format!("line {line}: seconds go back, or one stands twice"));
            }
            counts.resize(usize::try_from(second).unwrap_or(SECONDS_MAX).min(SECONDS_MAX), 0);
        }
        counts.push(count);
        if counts.len() > SECONDS_MAX {
            return Err("it is longer than a week".to_owned());
        }
    }
    if counts.iter().all(|count| *count == 0) { Err("nobody arrives".to_owned()) } else { Ok(counts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_arrivals_is_read_by_second() {
        for (text, expected) in [
            ("arrivals\n3\n0\n5\n", Ok(vec![3, 0, 5])),
            ("second, arrivals\n1700000000, 3\n1700000002, 5\n", Ok(vec![3, 0, 5])),
            ("\u{feff}n\n1", Ok(vec![1])),
            ("second,arrivals\n2,1\n1,1\n", Err("line 3: seconds go back")),
            ("second,arrivals\n2,1\n2,1\n", Err("line 3: seconds go back, or one stands twice")),
            ("a,b,c\n1,2,3\n", Err("it has 3 columns, not one or two")),
            ("arrivals\n-1\n", Err("line 2: \"-1\" is not a whole number of arrivals")),
            ("second,arrivals\n12:00,1\n", Err("line 2: \"12:00\" is not a whole number of seconds")),
            ("arrivals\n0\n", Err("nobody arrives")),
        ] {
            assert_eq!(arrivals(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}
