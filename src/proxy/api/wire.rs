//! What the control API reads and writes, as Toxiproxy's: JSON in, JSON and errors out. No socket, no state.
//!
//! Names of fields match in any case, unknown ones are ignored, and `null` means that the field is absent, as in Go's decoder.

use crate::proxy::frames::StreamSide;
use crate::proxy::toxics::{TYPES, Toxic, ToxicType};
use serde_json::{Map, Value, json};

/// An answer that is an error.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) message: String,
    pub(crate) status: u16,
}

impl ApiError {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        ApiError { message: message.into(), status }
    }

    /// The request cannot be read.
    pub(crate) fn bad_body(why: impl std::fmt::Display) -> Self {
        ApiError::new(400, format!("bad request body: {why}"))
    }

    pub(crate) fn missing(field: &str) -> Self {
        ApiError::new(400, format!("missing required field: {field}"))
    }

    /// Its body.
    pub(crate) fn json(&self) -> Value {
        json!({ "error": self.message, "status": self.status })
    }
}

/// Fields of a proxy, as far as a request has them.
#[derive(Debug, Default)]
pub(crate) struct ProxyFields {
    pub(crate) name: Option<String>,
    pub(crate) listen: Option<String>,
    pub(crate) upstream: Option<String>,
    pub(crate) enabled: Option<bool>,
    /// Read where they are asked for only: clients send all that they know back.
    toxics: Value,
}

/// Fields of a toxic, as far as a request has them.
#[derive(Debug, Default)]
pub(crate) struct ToxicFields {
    pub(crate) name: Option<String>,
    of: Option<String>,
    stream: Option<String>,
    pub(crate) toxicity: Option<f64>,
    attributes: Map<String, Value>,
}

/// The first JSON value of a body; what follows it is ignored.
pub(crate) fn parse(body: &[u8]) -> Result<Value, ApiError> {
    match serde_json::Deserializer::from_slice(body).into_iter().next() {
        None => Err(ApiError::bad_body("it is empty")),
        Some(value) => value.map_err(ApiError::bad_body),
    }
}

impl ProxyFields {
    pub(crate) fn read(value: Value) -> Result<ProxyFields, ApiError> {
        let mut fields = ProxyFields::default();
        for (key, value) in object(value)? {
            match key.to_ascii_lowercase().as_str() {
                "name" => fields.name = string("name", value)?,
                "listen" => fields.listen = string("listen", value)?,
                "upstream" => fields.upstream = string("upstream", value)?,
                "enabled" => {
                    fields.enabled = match value {
                        Value::Null => None,
                        Value::Bool(enabled) => Some(enabled),
                        _ => return Err(ApiError::bad_body("enabled is true or false")),
                    }
                }
                "toxics" => fields.toxics = value,
                _ => {}
            }
        }
        Ok(fields)
    }

    /// Those of `POST /populate`.
    pub(crate) fn read_list(value: Value) -> Result<Vec<ProxyFields>, ApiError> {
        let mut list = Vec::new();
        for (value, number) in array(value)?.into_iter().zip(1..) {
            let fields = ProxyFields::read(value)?;
            for (field, text) in [("name", &fields.name), ("upstream", &fields.upstream)] {
                if text.as_deref().unwrap_or_default().is_empty() {
                    return Err(ApiError::missing(&format!("{field} at proxy {number}")));
                }
            }
            list.push(fields);
        }
        Ok(list)
    }

    /// The toxics in it.
    pub(crate) fn toxics(&mut self) -> Result<Vec<ToxicFields>, ApiError> {
        array(self.toxics.take())?.into_iter().map(ToxicFields::read).collect()
    }
}

impl ToxicFields {
    pub(crate) fn read(value: Value) -> Result<ToxicFields, ApiError> {
        let mut fields = ToxicFields::default();
        for (key, value) in object(value)? {
            match key.to_ascii_lowercase().as_str() {
                "name" => fields.name = string("name", value)?,
                "type" => fields.of = string("type", value)?,
                "stream" => fields.stream = string("stream", value)?,
                "toxicity" => {
                    fields.toxicity = match value {
                        Value::Null => None,
                        Value::Number(toxicity) => toxicity.as_f64(),
                        _ => return Err(ApiError::bad_body("toxicity is a number")),
                    }
                }
                "attributes" => fields.attributes = object(value)?,
                _ => {}
            }
        }
        Ok(fields)
    }

    /// The toxic that they make, with what is absent at its default.
    pub(crate) fn toxic(self, id: u64) -> Result<Toxic, ApiError> {
        let stream = match self.stream.unwrap_or_else(|| "downstream".to_owned()).to_ascii_lowercase().as_str() {
            "upstream" => StreamSide::Up,
            "downstream" => StreamSide::Down,
            _ => return Err(ApiError::new(400, "stream was invalid, can be either upstream or downstream")),
        };
        let of = self.of.unwrap_or_default();
        let of = TYPES.iter().find(|row| row.name == of).ok_or_else(|| ApiError::new(400, "invalid toxic type"))?;
        let name = self.name.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("{}_{}", of.name, word(stream)));
        let values = attributes(of, &self.attributes, vec![0; of.attributes.len()])?;
        Ok(Toxic { id, name, of, stream, toxicity: self.toxicity.unwrap_or(1.0), values })
    }

    /// Changes a toxic: attributes that are absent stay, as do name, type and stream.
    pub(crate) fn change(&self, toxic: &Toxic) -> Result<Toxic, ApiError> {
        let values = attributes(toxic.of, &self.attributes, toxic.values.clone())?;
        Ok(Toxic { values, toxicity: self.toxicity.unwrap_or(toxic.toxicity), ..toxic.clone() })
    }
}

/// A toxic as clients read it: with all attributes of its type.
pub(crate) fn toxic_json(toxic: &Toxic) -> Value {
    let attributes: Map<String, Value> =
        toxic.of.attributes.iter().zip(&toxic.values).map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    // A whole toxicity is written without a fraction, as Go does.
    let toxicity =
        if toxic.toxicity.fract() == 0.0 && toxic.toxicity.abs() < 1e9 { json!(toxic.toxicity as i64) } else { json!(toxic.toxicity) };
    json!({ "attributes": attributes, "name": toxic.name, "type": toxic.of.name, "stream": word(toxic.stream), "toxicity": toxicity })
}

/// Toxics as they are listed: those of the upstream direction first, each in the order in which they were added.
pub(crate) fn toxics_json(toxics: &[Toxic]) -> Value {
    let of = |stream: StreamSide| toxics.iter().filter(move |toxic| toxic.stream == stream);
    of(StreamSide::Up).chain(of(StreamSide::Down)).map(toxic_json).collect()
}

fn word(stream: StreamSide) -> &'static str {
    match stream {
        StreamSide::Up => "upstream",
        StreamSide::Down => "downstream",
    }
}

fn attributes(of: &ToxicType, given: &Map<String, Value>, mut values: Vec<i64>) -> Result<Vec<i64>, ApiError> {
    for (key, value) in given {
        let Some(index) = of.attributes.iter().position(|name| name.eq_ignore_ascii_case(key)) else { continue };
        values[index] = match value {
            Value::Null => continue,
            value => value.as_i64().ok_or_else(|| ApiError::bad_body(format!("{} is a whole number", of.attributes[index])))?,
        };
    }
    Ok(values)
}

fn object(value: Value) -> Result<Map<String, Value>, ApiError> {
    match value {
        Value::Null => Ok(Map::new()),
        Value::Object(fields) => Ok(fields),
        _ => Err(ApiError::bad_body("an object is needed")),
    }
}

fn array(value: Value) -> Result<Vec<Value>, ApiError> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(values) => Ok(values),
        _ => Err(ApiError::bad_body("an array is needed")),
    }
}

fn string(field: &str, value: Value) -> Result<Option<String>, ApiError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(ApiError::bad_body(format!("{field} is a string"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toxic(text: &str) -> Result<String, String> {
        let fields = parse(text.as_bytes()).and_then(ToxicFields::read).and_then(|fields| fields.toxic(1));
        fields.map(|toxic| toxic_json(&toxic).to_string()).map_err(|error| format!("{} {}", error.status, error.message))
    }

    #[test]
    fn toxics_are_read_and_written_as_toxiproxy_does() {
        for (text, written) in [
            (
                r#"{"type":"latency"}"#,
                r#"{"attributes":{"latency":0,"jitter":0},"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":1}"#,
            ),
            (
                r#"{"TYPE":"slicer","Stream":"UPSTREAM","name":"s","toxicity":0.25,"attributes":{"Average_Size":5,"x":"y","delay":null},"z":1} rest"#,
                r#"{"attributes":{"average_size":5,"size_variation":0,"delay":0},"name":"s","type":"slicer","stream":"upstream","toxicity":0.25}"#,
            ),
            (
                r#"{"type":"noop","name":null,"stream":null,"toxicity":null,"attributes":null}"#,
                r#"{"attributes":{},"name":"noop_downstream","type":"noop","stream":"downstream","toxicity":1}"#,
            ),
        ] {
            assert_eq!(toxic(text).as_deref(), Ok(written));
        }
        for (text, why) in [
            ("", "400 bad request body: "),
            ("{", "400 bad request body: "),
            ("[]", "400 bad request body: "),
            (r#"{"type":1}"#, "400 bad request body: "),
            (r#"{"type":"latency","attributes":{"latency":1.5}}"#, "400 bad request body: latency is a whole number"),
            (r#"{"type":"latency","attributes":{"latency":"1"}}"#, "400 bad request body: "),
            (r#"{"type":"latency","toxicity":"1"}"#, "400 bad request body: "),
            (r#"{"type":"nothing"}"#, "400 invalid toxic type"),
            (r#"{}"#, "400 invalid toxic type"),
            (r#"{"type":"nothing","stream":"sideways"}"#, "400 stream was invalid, can be either upstream or downstream"),
        ] {
            let found = toxic(text).expect_err(text);
            assert!(found.starts_with(why), "{text}: {found}");
        }
    }

    #[test]
    fn a_change_keeps_what_is_absent() {
        let before =
            parse(br#"{"type":"latency","attributes":{"latency":7,"jitter":3}}"#).and_then(ToxicFields::read).and_then(|of| of.toxic(1));
        let before = before.expect("a toxic");
        let change = ToxicFields::read(json!({"attributes":{"jitter":4},"name":"other","stream":"upstream"})).expect("fields");
        let after = change.change(&before).expect("a toxic");
        assert_eq!((after.values, after.toxicity, after.name.as_str()), (vec![7, 4], 1.0, "latency_downstream"));
    }

    #[test]
    fn a_list_is_checked_before_anything_is_made_of_it() {
        let list = json!([{"name":"a","upstream":"h:1"}, {"name":"b","upstream":""}]);
        let error = ProxyFields::read_list(list).expect_err("no upstream");
        assert_eq!(error, ApiError::new(400, "missing required field: upstream at proxy 2"));
        let mut one = ProxyFields::read(json!({"name":"a","enabled":null,"toxics":[{"type":"noop"}]})).expect("fields");
        assert_eq!((one.enabled, one.toxics().map(|toxics| toxics.len())), (None, Ok(1)));
    }
}
