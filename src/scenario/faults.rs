//! `[[faults]]`: read from the list of kinds, so that a new kind needs nothing here.

use super::cohort::check_name;
use super::diagnostic::{Diagnostic, Sink};
use super::keys;
use super::reader::{Reader, entries, quantity, text, whole, wrong};
use super::tree::{Entry, Node, TomlValue as Tree};
use crate::fault::{self, Form, Injection, KindRow, Param, Side, Value, ValueShape, Values};
use crate::plan::{Cohort, FAULTS_MAX, FIRINGS_MAX, Fault, Model, Phase, Pick, Repeat, Schedule, Select, Target};
use crate::units::{Bytes, Ratio};
use std::time::Duration;

const PHASES: &[(&str, Phase)] =
    &[("tcp", Phase::Tcp), ("tls", Phase::Tls), ("upgrade", Phase::Upgrade), ("open", Phase::Open), ("closing", Phase::Closing)];
const DIRECTIONS: &[(&str, ())] = &[("up", ()), ("down", ()), ("both", ())];

/// What a fault is checked against.
pub(super) struct Context<'a> {
    /// `None`: it was complained of.
    pub(super) target: Option<&'a Target>,
    /// What is simulated in its place, if it differs.
    pub(super) model: Option<&'a Model>,
    pub(super) cohorts: &'a [Cohort],
    /// Length of the run; `None`: a proxy, which runs until it is stopped, and whose faults act towards either side.
    pub(super) run: Option<Duration>,
}

/// Reads all faults.
pub(super) fn read(top: &Reader<'_>, context: &Context<'_>, notices: &mut Vec<String>) -> Vec<Fault> {
    let Some(node) = top.get("faults") else { return Vec::new() };
    let Tree::Array(list) = &node.value else {
        return wrong("faults", "a list of tables, each under `[[faults]]`", node, top.sink).unwrap_or_default();
    };
    if list.len() > FAULTS_MAX {
        top.complain("faults", "too many faults", format!("found {}", list.len()), format!("at most {FAULTS_MAX}"));
        return Vec::new();
    }
    let mut faults: Vec<Fault> = Vec::new();
    for (index, node) in list.iter().enumerate() {
        let Some(fault) = fault(node, index + 1, context, top.sink) else { continue };
        if faults.iter().any(|other| other.name == fault.name) {
            let at = node.get("name").map_or(&node.at, |name| &name.at);
            let title = format!("two faults have the name \"{}\"", fault.name);
            top.sink.push(Diagnostic::new(at, title, "the second one").help("the name is the fault's id in all results"));
        }
        if context.run.is_some_and(|run| fault.schedule.at >= run) {
            notices.push(format!("fault {}: it is due after the end of the run, so it never fires", fault.name));
        }
        faults.push(fault);
    }
    faults
}

fn fault(node: &Node, number: usize, context: &Context<'_>, sink: &Sink) -> Option<Fault> {
    let reader = Reader::open(node, &keys::FAULT, sink)?;
    let schedule = schedule(&reader, context.run);
    let select = select(&reader, context.cohorts);
    let inject = reader.need("inject", reader.get("inject"))?;
    let injection = injection(&reader, inject, context);
    let kind = injection.as_ref()?.row;
    let side = side(&reader, inject, kind, context);
    check_form(&reader, kind);
    let name = reader.text("name").map_or_else(|| format!("{}-{number}", kind.kind), str::to_owned);
    if let Some(node) = reader.get("name") {
        check_name(&name, "fault", &Entry { key: name.clone(), at: node.at.clone(), node: node.clone() }, sink);
        if matches!(name.as_str(), "remote" | "stay") {
            reader.complain(
                "name",
                format!("\"{name}\" cannot be the name of a fault"),
                "is already the name of a cause",
                "choose \
                another name",
            );
        }
    }
    Some(Fault { name, inject: injection?, side: side?, schedule, select, new: reader.flag("new").unwrap_or(false) })
}

/// The kinds that can be carried out on a target, by a side.
fn possible(row: &KindRow, side: Side, target: &Target) -> bool {
    row.sides.contains(&side)
        && match (side, target) {
            (Side::Client, _) | (Side::Server, Target::Embedded(_)) => true,
            (Side::Server, Target::Command(_)) => matches!(row.form, Form::Process { .. }),
            (Side::Server, Target::Url(_)) => false,
        }
}

fn side(reader: &Reader<'_>, inject: &Node, row: &KindRow, context: &Context<'_>) -> Option<Side> {
    let target = context.target?;
    let name = match target {
        Target::Embedded(_) => "the embedded server",
        Target::Command(_) => "a command target",
        Target::Url(_) => "a URL target",
    };
    let able: Vec<_> = [Side::Server, Side::Client].into_iter().filter(|side| possible(row, *side, target)).collect();
    let Some(default) = able.first().copied() else {
        let title = format!("`{}` is not possible with {name}", row.kind);
        let kinds = fault::rows().filter(|row| [Side::Server, Side::Client].iter().any(|side| possible(row, *side, target)));
        let help = format!("possible there: {}", kinds.map(|row| row.kind).collect::<Vec<_>>().join(", "));
        reader.sink.push(Diagnostic::new(&inject.at, title, "needs a server that closestorm starts").help(help));
        return None;
    };
    let default = if context.run.is_none() { side_of_direction(reader, row).unwrap_or(default) } else { default };
    reader.get("side").map_or(Some(default), |_| {
        let side = reader.choice("side", &Side::WORDS)?;
        if !able.contains(&side) {
            let title = format!("`{}` is not possible on the {} side with {name}", row.kind, side.word());
            let sides: Vec<_> = able.iter().map(|side| side.word()).collect();
            reader.complain("side", title, "found here", format!("possible there: side = \"{}\"", sides.join("\" or \"")));
        }
        Some(side)
    })
}

/// Through a proxy a kind without a direction of its own has one all the same: it acts as one side, towards the other.
fn side_of_direction(reader: &Reader<'_>, row: &KindRow) -> Option<Side> {
    let words = [("up", Side::Client), ("down", Side::Server)];
    let side = if has_direction(row) { None } else { words.iter().find(|(word, _)| Some(*word) == dir_of(reader)) }?.1;
    if !row.sides.contains(&side) {
        let title = format!("`{}` cannot act in this direction", row.kind);
        reader.complain("dir", title, "found here", format!("only a {} does it", other(side).word()));
    }
    Some(side)
}

fn other(side: Side) -> Side {
    if side == Side::Client { Side::Server } else { Side::Client }
}

fn dir_of<'a>(reader: &Reader<'a>) -> Option<&'a str> {
    reader.get("dir").and_then(|_| reader.choice("dir", DIRECTIONS)).and(reader.text("dir"))
}

fn has_direction(row: &KindRow) -> bool {
    row.params.iter().any(|param| param.name == "dir")
}

/// Complains of keys that mean nothing for the kind.
fn check_form(reader: &Reader<'_>, row: &KindRow) {
    let refuse = |key: &str, why: &str, help: &str| {
        if reader.get(key).is_some() {
            reader.complain(key, format!("`{key}` has no effect with `{}`", row.kind), why, help);
        }
    };
    match row.form {
        Form::Instant => refuse("for", "it acts once and ends immediately", "leave it out; only kinds that hold can be reverted"),
        Form::Process { holds } => {
            if !holds {
                refuse("for", "it acts once and ends immediately", "its parameter `down` says when the server comes back");
            }
            refuse("select", "it acts on processes, not on connections", "its parameter `instance` says on which");
            refuse("new", "it acts on processes, not on connections", "leave it out");
        }
        Form::Listener => {
            refuse("select", "it acts on listening sockets: the kernel knows no client", "its parameter `instance` says on which");
            refuse("new", "it acts on listening sockets, not on connections", "leave it out");
            refuse("first_n", "it acts on listening sockets and counts nobody", "`for` says when it is over");
        }
        Form::Attempts => refuse("new", "it always selects the attempts that begin while it is active", "leave it out"),
        Form::Holding => {}
    }
}

fn hits(reader: &Reader<'_>) -> Option<u64> {
    reader.whole("first_n", 1..=u64::MAX)
}

fn schedule(reader: &Reader<'_>, run: Option<Duration>) -> Schedule {
    let at = reader.need("at", reader.duration("at")).unwrap_or_default();
    let until = reader.duration("until");
    let (every, rate) = (reader.positive("every"), reader.rate("rate"));
    if reader.get("every").is_some() && reader.get("rate").is_some() {
        reader.complain("rate", "`every` and `rate` conflict", "both are set", "`every` fires at fixed gaps, `rate` as a Poisson process");
    }
    let repeat = every.map(Repeat::Every).or(rate.map(Repeat::Poisson)).unwrap_or(Repeat::Once);
    if until.is_some_and(|until| until <= at) {
        reader.complain("until", "`until` is not after `at`", "the fault would never fire", "both are offsets in the run");
    }
    if until.is_some() && repeat == Repeat::Once {
        reader.complain("until", "`until` ends a repetition", "there is no `every` and no `rate`", "`for` says when a fault is reverted");
    }
    // A fault of a proxy fires as long as that runs.
    let Some(run) = run else { return Schedule { at, repeat, until, revert_after: reader.positive("for"), first_n: hits(reader) } };
    let span = until.unwrap_or(run).min(run).saturating_sub(at).as_secs_f64();
    let (key, firings) = match repeat {
        Repeat::Every(gap) => ("every", span / gap.as_secs_f64().max(1e-9)),
        Repeat::Poisson(rate) => ("rate", span * rate.0),
        Repeat::Once => ("at", 1.0),
    };
    if firings > FIRINGS_MAX {
        reader.complain(
            key,
            "this fault fires too often",
            format!("about {firings:.0} times"),
            format!(
                "at most {FIRINGS_MAX} times in \
            a run"
            ),
        );
    }
    Schedule { at, repeat, until, revert_after: reader.positive("for"), first_n: hits(reader) }
}

fn select(reader: &Reader<'_>, cohorts: &[Cohort]) -> Select {
    let everybody = Select { cohort: None, phase: None, min_age: Duration::ZERO, pick: Pick::All };
    let Some(select) = reader.table("select", &keys::SELECT) else { return everybody };
    let picks = ["all", "count", "percent", "nth"];
    let picked = picks.iter().any(|pick| select.node.get(pick).is_some());
    let pick = picked.then(|| select.one_of(&picks)).flatten().and_then(|pick| match pick {
        "count" => select.number("count", 1..=u32::MAX).map(Pick::Count),
        "percent" => select.share("percent").map(|share| Pick::Share(share.0)),
        "nth" => select.number("nth", 1..=u32::MAX).map(Pick::Nth),
        _ => select.only_true("all").then_some(Pick::All),
    });
    Select {
        cohort: select.text("cohort").and_then(|name| {
            let found = cohorts.iter().position(|cohort| cohort.name == name);
            if found.is_none() {
                let diagnostic = Diagnostic::new(select.at("cohort"), format!("there is no cohort \"{name}\""), "not a `[clients.NAME]`");
                reader.sink.push(diagnostic.allowed(name, cohorts.iter().map(|cohort| cohort.name.as_str())));
            }
            found
        }),
        phase: select.choice("phase", PHASES),
        min_age: select.duration("min_age").unwrap_or_default(),
        pick: pick.unwrap_or(Pick::All),
    }
}

fn injection(reader: &Reader<'_>, node: &Node, context: &Context<'_>) -> Option<Injection> {
    let sink = reader.sink;
    let kinds = match entries(node, "inject", sink)? {
        [kind] => kind,
        list => {
            let label = if list.is_empty() { "no kind here" } else { "more than one kind here" };
            let help = "write one kind, as `inject = { drop_rst = {} }`, and each further one under its own `[[faults]]`";
            sink.push(Diagnostic::new(&node.at, "`inject` takes one kind of fault", label).help(help));
            return None;
        }
    };
    let of_proxy = || fault::proxied_rows().find(|row| row.kind == kinds.key).filter(|_| context.run.is_none());
    let Some(row) = fault::row(&kinds.key).or_else(of_proxy) else {
        let title = format!("unknown kind of fault `{}`", kinds.key);
        sink.push(Diagnostic::new(&kinds.at, title, "there is no such kind").allowed(&kinds.key, fault::rows().map(|row| row.kind)));
        return None;
    };
    let mut values = Values::default();
    for entry in entries(&kinds.node, row.kind, sink)? {
        match row.params.iter().find(|param| param.name == entry.key) {
            Some(param) => values.0.extend(value(param, &entry.node, sink).map(|value| (param.name.to_owned(), value))),
            None => {
                let title = format!("unknown parameter `{}` of `{}`", entry.key, row.kind);
                let label = if row.params.is_empty() { "this kind has no parameters" } else { "not a parameter of this kind" };
                sink.push(Diagnostic::new(&entry.at, title, label).allowed(&entry.key, row.params.iter().map(|param| param.name)));
            }
        }
    }
    direction(reader, row, context, &mut values);
    for (name, value) in row.defaults().0 {
        values.0.entry(name).or_insert(value);
    }
    check_instance(&kinds.node, &values, context, sink);
    Some(Injection { row, values })
}

/// `dir` of the fault is the parameter `dir` of its kind.
fn direction(reader: &Reader<'_>, row: &KindRow, context: &Context<'_>, values: &mut Values) {
    let Some(dir) = dir_of(reader) else { return };
    if !has_direction(row) && context.run.is_none() && dir != "both" && reader.get("side").is_none() {
        // It says as which side the proxy acts.
    } else if !has_direction(row) {
        reader.complain("dir", format!("`{}` has no direction", row.kind), "found here", "leave it out");
    } else if values.0.insert("dir".to_owned(), Value::Text(dir.to_owned())).is_some() {
        reader.complain("dir", "the direction is given twice", "and once in `inject`", "keep one of them");
    }
}

fn check_instance(node: &Node, values: &Values, context: &Context<'_>, sink: &Sink) {
    // Whoever carries the plan out looks again: the fleet of the model may be the larger or the smaller one.
    let instances = context.target.map_or(1, Target::instances).max(context.model.map_or(1, |model| model.instances));
    if let (Some(instance), Some(at)) = (values.whole("instance"), node.get("instance").map(|node| &node.at))
        && instance >= u64::from(instances)
    {
        let title = format!("there is no instance {instance}");
        sink.push(Diagnostic::new(at, title, "found here").help(format!("the target has {instances}, counted from 0")));
    }
}

fn value(param: &Param, node: &Node, sink: &Sink) -> Option<Value> {
    match param.shape {
        ValueShape::Duration => super::reader::duration(param.name, node, sink).map(Value::Duration),
        ValueShape::Bytes { max } => {
            let size = quantity::<Bytes>(param.name, "a size", &["B", "KiB"], node, sink)?;
            if size.0 > max {
                let title = format!("`{}` is out of bounds", param.name);
                sink.push(Diagnostic::new(&node.at, title, format!("found {size}")).help(format!("at most {}", Bytes(max))));
            }
            Some(Value::Bytes(size))
        }
        ValueShape::Whole { min, max } => whole(param.name, node, min..=max, sink).map(Value::Whole),
        ValueShape::Share { min, max } => {
            let share = quantity::<Ratio>(param.name, "a share", &["%"], node, sink)?.0;
            if !(min..=max).contains(&share) {
                let title = format!("`{}` is out of bounds", param.name);
                sink.push(Diagnostic::new(&node.at, title, "found here").help(format!("{} to {}", Ratio(min), Ratio(max))));
            }
            Some(Value::Share(share))
        }
        ValueShape::Text { max } => {
            let found = text(param.name, node, sink)?;
            if found.len() > max {
                let label = format!("found {} bytes", found.len());
                sink.push(Diagnostic::new(&node.at, format!("`{}` is too long", param.name), label).help(format!("at most {max} bytes")));
            }
            Some(Value::Text(found.to_owned()))
        }
        ValueShape::Choice(words) => {
            let found = text(param.name, node, sink)?;
            if !words.contains(&found) {
                let title = format!("`{}` cannot be \"{found}\"", param.name);
                sink.push(Diagnostic::new(&node.at, title, "unknown word").allowed(found, words.iter().copied()));
            }
            Some(Value::Text(found.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_of_the_catalogue_has_the_shape_of_its_parameter() {
        for row in fault::rows() {
            for param in row.params {
                let read = param.default.map(|text| param.read(text));
                assert!(read.as_ref().is_none_or(Result::is_ok), "{}.{}: {read:?}", row.kind, param.name);
            }
        }
    }
}
