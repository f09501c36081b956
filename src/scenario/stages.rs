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
    // Not where they were complained of.
    if counts.len() == list.len() && counts.iter().all(|count| *count == 0) {
        arrive.complain("per_second", "nobody arrives", "found no arrival in any second", "as `per_second = [3, 0, 9]`");
        return None;
    }
    if counts.len() > SECONDS_MAX {
        arrive.complain("per_second", "too many seconds", format!("found {}", counts.len()), "a run lasts at most a week");
    }
    Some(Arrive::PerSecond(counts.into()))
}

/// How many clients a cohort has: as many as its shape has by itself, else as `count` says. Another `count` than the shape's is meant only
/// where the shape is `scaled`.
pub(super) fn count(cohort: &Reader<'_>, arrive: Option<&Arrive>) -> u32 {
    let count = cohort.number("count", 1..=CLIENTS_MAX);
    let scaled = cohort.only_true("scaled");
    let Some(arrive) = arrive else {
        // A shape that was complained of may be one with a number of its own.
        return if cohort.get("arrive").is_some() { count } else { cohort.need("count", count) }.unwrap_or(1);
    };
    let Some(own) = arrive.own_count() else {
        if scaled {
            let help = "it belongs to `stages`, `per_second` and `file`, which have numbers of clients of their own: leave it out";
            cohort.complain("scaled", "`scaled` without a shape that can be scaled", "found here", help);
        }
        return cohort.need("count", count).unwrap_or(1);
    };
    let what = if matches!(arrive, Arrive::Stages(_)) { "the stages rise to" } else { "those who arrive are" };
    match count {
        Some(count) if !scaled && u64::from(count) != own => {
            let help = format!("leave `count` out, or write `scaled = true` beside it: then {count} clients have the same form");
            cohort.complain("count", format!("`count` is {count}, and {what} {own}"), "these differ", help);
        }
        None if own > u64::from(CLIENTS_MAX) => {
            let help = format!("write `count`, at most {CLIENTS_MAX}, and `scaled = true`");
            cohort.complain("arrive", format!("{what} {own}"), "too many clients", help);
        }
        _ => {}
    }
    count.unwrap_or_else(|| u32::try_from(own).unwrap_or(CLIENTS_MAX).clamp(1, CLIENTS_MAX))
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
    let traffic = cohort.get("traffic").map_or(&[][..], Node::entries).iter().filter_map(|way| way.node.get("rate"));
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

/// Puts what `arrive.file` holds in its place, so that workers, shards and the stored scenario have it. Beside `per_second` it stays, and both
/// are complained of when the scenario is read.
pub(super) fn inline(cohort: &mut Node, read: &dyn Fn(&str, Bytes) -> Result<String, String>, sink: &Sink) {
    let Some(arrive) = cohort.get_mut("arrive").filter(|arrive| arrive.get("per_second").is_none()) else { return };
    let Some(Node { value: TomlValue::Text(file), at, .. }) = arrive.get("file") else { return };
    match read(file, FILE_MAX).and_then(|text| arrivals(&text)) {
        Ok(counts) => {
            let number = |count| Node { at: at.clone(), value: TomlValue::Integer(i64::from(count)), written: None };
            let list = TomlValue::Array(counts.into_iter().map(number).collect());
            let at = at.clone();
            arrive.remove("file");
            arrive.set(&["per_second"], list);
            arrive.get_mut("per_second").into_iter().for_each(|node| node.at = at.clone());
        }
        Err(why) => {
            let help = "CSV with a header: a column of arrivals, or a column of seconds and one of the arrivals in each";
            sink.push(Diagnostic::new(at, format!("the file of arrivals {file} cannot be used"), why).help(help));
            arrive.remove("file");
        }
    }
}

/// Arrivals by second: the last column; the first, where there are two, is the second, from any one on. Seconds that are left out have none.
///
/// # Errors
/// Where it is wrong, without a word of what stands there: any file may have been named.
fn arrivals(text: &str) -> Result<Vec<u32>, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let header = reader.headers().map_err(|error| error.to_string())?;
    let columns = header.len();
    if header.iter().any(|name| name.parse::<f64>().is_ok()) {
        return Err("line 1: a number, where the names of the columns should be".to_owned());
    }
    if !(1..=2).contains(&columns) {
        return Err(format!("it has {columns} columns, not one or two"));
    }
    let (mut counts, mut first) = (Vec::new(), None);
    for (number, row) in reader.records().enumerate() {
        let row = row.map_err(|error| error.to_string())?;
        let line = number + 2;
        let whole = |place: usize, what: &str| {
            row.get(place).unwrap_or_default().parse::<u64>().map_err(|_| format!("line {line}: this is not {what}"))
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
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use crate::scenario::{Overrides, Source, load};
    use std::fs;

    fn plan(cohort: &str, overrides: &Overrides) -> Result<Plan, String> {
        load(&Source::Text { name: "shapes".to_owned(), text: format!("[clients.web]\n{cohort}\n") }, overrides)
            .map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_count_that_is_not_the_shapes_is_meant_only_where_it_is_scaled() {
        let stages = "arrive = { stages = [ { to = 20, over = \"1s\" }, { hold = \"1s\" } ] }";
        let seconds = "arrive = { per_second = [3, 0, 9] }";
        for (cohort, found) in [
            (stages.to_owned(), Ok(20)),
            (format!("count = 20\n{stages}"), Ok(20)),
            (format!("count = 10\n{stages}"), Err("`count` is 10, and the stages rise to 20")),
            (format!("count = 10\nscaled = true\n{stages}"), Ok(10)),
            (seconds.to_owned(), Ok(12)),
            (format!("count = 24\n{seconds}"), Err("`count` is 24, and those who arrive are 12")),
            (format!("count = 24\nscaled = true\n{seconds}"), Ok(24)),
            ("arrive = { per_second = [10000000, 1] }".to_owned(), Err("those who arrive are 10000001")),
            ("count = 5\nscaled = true\narrive = { over = \"1s\" }".to_owned(), Err("`scaled` without a shape")),
            ("arrive = { over = \"1s\" }".to_owned(), Err("needs `count`")),
        ] {
            match (plan(&cohort, &Overrides::default()), found) {
                (Ok(plan), Ok(count)) => assert_eq!(plan.clients(), count, "{cohort}"),
                (Err(said), Err(why)) => assert!(said.contains(why) && said.matches("--> ").count() == 1, "{cohort}: {said}"),
                (found, expected) => panic!("{cohort}: {found:?}, not {expected:?}"),
            }
        }
        // What the option has scaled loads again as it is stored.
        for shape in [stages, seconds] {
            let scaled = plan(shape, &Overrides { clients: Some(7), ..Overrides::default() }).expect("a plan");
            let again = load(&Source::Text { name: "again".to_owned(), text: scaled.resolved.clone() }, &Overrides::default());
            let again = again.unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!((again.clients(), &again.cohorts[0].arrive), (7, &scaled.cohorts[0].arrive), "{shape}");
        }
    }

    #[test]
    fn what_cannot_arrive_is_refused_once_and_without_the_words_of_a_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("the folder can be written");
            path.display().to_string()
        };
        let (good, none) = (file("good.csv", "arrivals\n3\n9\n"), file("none.csv", "arrivals\n0\n"));
        let (secret, json) = (file("secret", "root:x:0\nsecret-word\n"), file("secret.jsonl", "\"secret-word\"\n"));
        let count = "count = 1\n";
        for (cohort, why) in [
            ("arrive = { per_second = [0, 0] }".to_owned(), "nobody arrives"),
            ("arrive = { per_second = [] }".to_owned(), "nobody arrives"),
            ("arrive = { per_second = [-1] }".to_owned(), "out of bounds"),
            (format!("arrive = {{ file = {none:?} }}"), "nobody arrives"),
            ("arrive = { stages = [ { hold = \"1s\" } ] }".to_owned(), "never rise above 0"),
            (format!("arrive = {{ file = {good:?}, per_second = [1] }}"), "two conflicting keys"),
            (format!("arrive = {{ file = {good:?}, over = \"1s\" }}"), "two conflicting keys"),
            (format!("arrive = {{ file = {secret:?} }}"), "cannot be used"),
            (format!("{count}data = {json:?}"), "line 1: this is not a JSON object"),
        ] {
            let said = plan(&cohort, &Overrides::default()).expect_err(&cohort);
            assert!(said.contains(why) && said.matches("--> ").count() == 1, "{cohort}: {said}");
            assert!(!said.contains("secret-word"), "{cohort}: {said}");
        }
        assert_eq!(plan(&format!("arrive = {{ file = {good:?} }}"), &Overrides::default()).map(|plan| plan.clients()), Ok(12));
    }

    #[test]
    fn a_file_of_arrivals_is_read_by_second() {
        for (text, expected) in [
            ("arrivals\n3\n0\n5\n", Ok(vec![3, 0, 5])),
            ("second, arrivals\n1700000000, 3\n1700000002, 5\n", Ok(vec![3, 0, 5])),
            ("\u{feff}n\n1", Ok(vec![1])),
            ("second,arrivals\n2,1\n1,1\n", Err("line 3: seconds go back")),
            ("second,arrivals\n2,1\n2,1\n", Err("line 3: seconds go back, or one stands twice")),
            ("a,b,c\n1,2,3\n", Err("it has 3 columns, not one or two")),
            ("arrivals\n-1\n", Err("line 2: this is not a whole number of arrivals")),
            ("second,arrivals\n12:00,1\n", Err("line 2: this is not a whole number of seconds")),
            ("arrivals\n5000000000\n", Err("line 2: too many arrivals")),
            ("3\n0\n5\n", Err("line 1: a number, where the names of the columns should be")),
            ("arrivals\n0\n", Ok(vec![0])),
        ] {
            assert_eq!(arrivals(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}
