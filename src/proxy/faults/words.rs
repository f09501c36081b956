//! Faults as the control API reads and writes them: the scenario's own words as JSON, and where they act. No socket, no state.

use crate::fault::{Effect, Value as ParameterValue, beside};
use crate::plan::{Fault, Phase, Pick, Repeat};
use crate::proxy::faults::why_not;
use crate::scenario::{Source, proxied_faults};
use crate::units::{Ratio, print_duration};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Between two firings of a fault: a proxy runs as long as it is wanted.
const LEAST_GAP: Duration = Duration::from_millis(10);

/// On what a fault may act.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FaultScope {
    /// Only this proxy; `None`: all.
    pub(crate) proxy: Option<String>,
    /// Only this one of its connections.
    pub(crate) connection: Option<u64>,
}

/// A fault in the words of a request: those of `[[faults]]`, and `proxy` and `connection`.
///
/// # Errors
/// What is wrong with it, in the words of the scenario parser.
pub(crate) fn read(value: Value) -> Result<(Fault, FaultScope), String> {
    let Value::Object(mut fields) = value else { return Err("a fault is an object".to_owned()) };
    let mut scope = FaultScope::default();
    match fields.remove("proxy") {
        None | Some(Value::Null) => {}
        Some(Value::String(proxy)) => scope.proxy = Some(proxy),
        Some(_) => return Err("`proxy` is the name of a proxy".to_owned()),
    }
    match fields.remove("connection") {
        None | Some(Value::Null) => {}
        Some(id) => scope.connection = Some(id.as_u64().ok_or("`connection` is the number of a connection")?),
    }
    if scope.connection.is_some() && scope.proxy.is_none() {
        return Err("`connection` is the number of a connection among those of `proxy`, which is missing".to_owned());
    }
    fields.entry("at").or_insert_with(|| "0s".into());
    let toml = toml::Value::try_from(json!({ "faults": [without_nulls(Value::Object(fields))] })).map_err(|why| why.to_string())?;
    let text = toml::to_string(&toml).map_err(|why| why.to_string())?;
    let mut faults = proxied_faults(&Source::Text { name: "fault".to_owned(), text }).map_err(|errors| errors.to_string())?;
    let fault = faults.pop().ok_or("there is no fault")?;
    check(&fault, &scope)?;
    Ok((fault, scope))
}

/// The words of a fault with changes. A direction stands for itself: what was said of it before is gone.
pub(crate) fn changed(mut words: Map<String, Value>, changes: Map<String, Value>) -> Map<String, Value> {
    if changes.contains_key("dir") {
        words.remove("side");
        let kinds = words.get_mut("inject").and_then(Value::as_object_mut);
        kinds
            .into_iter()
            .flat_map(|kinds| kinds.values_mut())
            .filter_map(Value::as_object_mut)
            .for_each(|params| drop(params.remove("dir")));
    }
    words.extend(changes);
    words
}

/// Whether a proxy can carry it out there.
///
/// # Errors
/// Why not.
pub(crate) fn check(fault: &Fault, scope: &FaultScope) -> Result<(), String> {
    let kind = fault.inject.row.kind;
    if let Some(why) = why_not(&fault.inject, fault.side) {
        return Err(format!("`{kind}` cannot be carried out by a proxy: {why}"));
    }
    let often = match fault.schedule.repeat {
        Repeat::Once => false,
        Repeat::Every(gap) => gap < LEAST_GAP,
        Repeat::Poisson(rate) => rate.0 * LEAST_GAP.as_secs_f64() > 1.0,
    };
    if often {
        return Err(format!("fault {} fires too often: at most once in {}", fault.name, print_duration(LEAST_GAP)));
    }
    if fault.select.phase == Some(Phase::Tls) {
        return Err("no connection is in the phase `tls` for a proxy: it knows `tcp`, `upgrade`, `open` and `closing`".to_owned());
    }
    if matches!(fault.inject.effect(fault.side), Effect::Listener { instance: Some(_), .. }) {
        return Err(format!("`instance` of `{kind}` is one of several servers; of a proxy, `proxy` says which"));
    }
    let listens = beside(fault.inject.row).is_some() || matches!(fault.inject.effect(fault.side), Effect::Listener { .. });
    if listens && scope.connection.is_some() {
        return Err(format!("`{kind}` acts on listening sockets, not on one connection"));
    }
    Ok(())
}

/// JSON's `null` is an absent key: TOML has none.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key, without_nulls(value))).collect()
        }
        Value::Array(list) => list.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// A fault in the words in which it can be sent.
pub(crate) fn json(fault: &Fault, scope: &FaultScope) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |key: &str, value: Option<Value>| value.map(|value| fields.insert(key.to_owned(), value));
    put("name", Some(fault.name.clone().into()));
    let params: Map<String, Value> = fault.inject.values.0.iter().map(|(name, value)| (name.clone(), parameter(value))).collect();
    put("inject", Some(json!({ fault.inject.row.kind: params })));
    put("side", Some(fault.side.word().into()));
    let schedule = &fault.schedule;
    put("at", Some(print_duration(schedule.at).into()));
    match schedule.repeat {
        Repeat::Once => {}
        Repeat::Every(gap) => drop(put("every", Some(print_duration(gap).into()))),
        Repeat::Poisson(rate) => drop(put("rate", Some(rate.to_string().into()))),
    }
    put("until", schedule.until.map(|until| print_duration(until).into()));
    put("for", schedule.revert_after.map(|after| print_duration(after).into()));
    put("first_n", schedule.first_n.map(Value::from));
    put("new", fault.new.then_some(true.into()));
    put("select", select(fault));
    put("proxy", scope.proxy.clone().map(Value::from));
    put("connection", scope.connection.map(Value::from));
    fields
}

fn select(fault: &Fault) -> Option<Value> {
    let select = &fault.select;
    let mut fields = Map::new();
    let phase = |phase| match phase {
        Phase::Tcp => "tcp",
        Phase::Tls => "tls",
        Phase::Upgrade => "upgrade",
        Phase::Open => "open",
        Phase::Closing => "closing",
    };
    fields.extend(select.phase.map(|of| ("phase".to_owned(), phase(of).into())));
    fields.extend((!select.min_age.is_zero()).then(|| ("min_age".to_owned(), print_duration(select.min_age).into())));
    fields.extend(match select.pick {
        Pick::All => None,
        Pick::Count(count) => Some(("count".to_owned(), count.into())),
        Pick::Share(share) => Some(("percent".to_owned(), Ratio(share).to_string().into())),
        Pick::Nth(n) => Some(("nth".to_owned(), n.into())),
    });
    (!fields.is_empty()).then(|| fields.into())
}

fn parameter(value: &ParameterValue) -> Value {
    match value {
        ParameterValue::Duration(duration) => print_duration(*duration).into(),
        ParameterValue::Bytes(bytes) => bytes.to_string().into(),
        ParameterValue::Whole(number) => (*number).into(),
        ParameterValue::Share(share) => Ratio(*share).to_string().into(),
        ParameterValue::Text(text) => text.clone().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Form, proxied_rows, rows};

    #[test]
    fn every_kind_is_read_and_written_back_in_the_same_words() {
        for row in rows().chain(proxied_rows()) {
            let mut words = json!({ "name": "x", "inject": { row.kind: {} } });
            if matches!(row.form, Form::Holding | Form::Attempts) {
                words["for"] = "5s".into();
                words["select"] = json!({ "percent": "50%" });
            }
            match read(words) {
                Ok((fault, scope)) => {
                    let written = json(&fault, &scope);
                    let again = read(written.clone().into()).unwrap_or_else(|why| panic!("{}: {why}", row.kind));
                    assert_eq!(json(&again.0, &again.1), written);
                }
                Err(why) => assert!(why.contains("cannot be carried out by a proxy: "), "{}: {why}", row.kind),
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_the_scenario() {
        for (words, why) in [
            (json!([]), "an object"),
            (json!({}), "needs `inject`"),
            (json!({"inject": {"drop_rts": {}}}), "did you mean `drop_rst`?"),
            (json!({"inject": {"latency": {"latency": "fast"}}}), "latency"),
            (json!({"inject": {"latency": {"latency": 5}}}), "latency"),
            (json!({"inject": {"drop_rst": {}}, "for": "1s"}), "no effect with `drop_rst`"),
            (json!({"inject": {"drop_rst": {}}, "fro": "1s"}), "unknown key `fro`"),
            (json!({"inject": {"drop_rst": {}}, "connection": 3}), "`proxy`, which is missing"),
            (json!({"inject": {"drop_rst": {}}, "name": "${HOME}"}), "variable"),
            (json!({"inject": {"connect_refuse": {}}, "proxy": "p", "connection": 3}), "listening sockets"),
            (json!({"inject": {"drop_rst": {}}, "every": "1ms"}), "too often"),
            (json!({"inject": {"drop_rst": {}}, "rate": "1000/s"}), "too often"),
            (json!({"inject": {"server_crash": {}}}), "the proxy has none of them"),
            (json!({"inject": {"drop_rst": {}}, "select": {"phase": "tls"}}), "`tcp`, `upgrade`, `open` and `closing`"),
            (json!({"inject": {"connect_refuse": {"instance": 0}}}), "`proxy` says which"),
        ] {
            let found = read(words.clone()).expect_err(&words.to_string());
            assert!(found.contains(why), "{words}: {found}");
        }
    }
}
