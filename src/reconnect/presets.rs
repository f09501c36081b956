//! Named behaviour of real library versions, with sources and test vectors, read once from the embedded `presets.toml`.
//!
//! To add a library, add a `[[preset]]` there: parameters by the names of [`SETTINGS`](super::SETTINGS) (durations in ms, `_ms` at
//! the end of the key), where they were read, and the delays it must give. The tests below run over every entry.

use super::policy::{Jitter, Policy};
use super::settings::{Setting, SettingRow, SettingShape};
use crate::units::{duration_ms, nearest, print_duration};
use serde::Deserialize;
use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;
use toml::Value;

/// One library version's behaviour, or one from a specification.
#[derive(Clone, Debug)]
pub struct Preset {
    /// What a scenario calls it.
    pub id: String,
    /// Package, version, source, notes and what is known beyond the policy.
    pub facts: Facts,
    /// How its clients come back.
    pub policy: Policy,
}

/// What is known of a preset besides its policy. What the model does not act on is told by `closestorm presets NAME`.
#[derive(Clone, Debug, Deserialize)]
pub struct Facts {
    /// Other names, as the one without version.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// This preset behaves as the one of this id.
    pub alias_of: Option<String>,
    /// Package as its registry calls it.
    pub package: String,
    /// Version or commit.
    pub version: String,
    /// How the figures were checked.
    pub verified: Verified,
    /// Where they were read: registry, file and lines.
    pub source: String,
    /// When the library was run, on what, and what was seen; absent: only the delays were compared, or it was not run.
    pub measured: Option<String>,
    /// On `connect_timeout`: where it stands, and what was seen.
    pub connect_timeout_note: Option<String>,
    /// What a user should know.
    #[serde(default)]
    pub note: String,
    /// More of it.
    pub extra_note: Option<String>,
    /// On `reset`.
    pub reset_note: Option<String>,
    /// On `resume`: where it stands, and what was seen.
    pub resume_note: Option<String>,
    /// On `next_address`: where it stands, and what was seen.
    pub next_address_note: Option<String>,
    /// On `immediate_codes`.
    pub immediate_note: Option<String>,
    /// On `rejoin_table_ms`.
    pub rejoin_note: Option<String>,
    /// Application messages that end reconnection; not modelled.
    #[serde(default)]
    pub stop_messages: Vec<String>,
    /// HTTP requests that one attempt costs; 1 in the model.
    pub http_requests_per_attempt: Option<u32>,
    /// Deadline of the protocol's own handshake, ms; not modelled.
    pub handshake_timeout_ms: Option<f64>,
    /// Deadline of the server's hello, ms; not modelled.
    pub hello_timeout_ms: Option<f64>,
    /// Deadline until protocol ready, ms; not modelled.
    pub ready_timeout_ms: Option<f64>,
    /// Delays of failed channel joins, ms; not modelled.
    pub rejoin_table_ms: Option<Vec<f64>>,
    /// A Retry-After lengthens a delay by at most this, ms; not modelled. Absent: not honoured.
    pub retry_after_extra_cap_ms: Option<f64>,
    /// Size of the retry token bucket; not modelled, nor are the next two.
    pub budget_tokens: Option<u32>,
    /// Tokens that a retry costs.
    pub budget_cost: Option<u32>,
    /// Tokens that a success gives back.
    pub budget_refund: Option<u32>,
    /// Least time from a silent peer death to noticing, ms; absent: never by itself.
    pub detect_min_ms: Option<f64>,
    /// Greatest time, ms.
    pub detect_max_ms: Option<f64>,
    /// Delays in ms for U = 0.37 in every draw, rounded as printed.
    pub vec_ms: Vec<f64>,
    /// The vector holds for 1 - U.
    #[serde(default)]
    pub vec_flip: bool,
    /// Where the vector comes from.
    pub vec_from: VectorFrom,
}

/// How the figures of a preset were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verified {
    /// The real library was run; covers the delay sequence.
    Run,
    /// Read from the source.
    Source,
    /// From a specification, or our own choice.
    Spec,
}

/// Where a test vector comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VectorFrom {
    /// Also seen in the run.
    Run,
    /// Computed only.
    Calc,
}

/// There is no preset of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct UnknownPreset {
    /// What was asked for.
    pub name: String,
    /// The nearest name, if one is near.
    pub suggestion: Option<&'static str>,
}

impl fmt::Display for UnknownPreset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown reconnect preset {:?}", self.name)?;
        self.suggestion.map_or(Ok(()), |near| write!(f, ", did you mean {near:?}?"))
    }
}

static PRESETS: LazyLock<Vec<Preset>> = LazyLock::new(|| {
    // the text is part of the program, and every test here reads it
    parse(include_str!("presets.toml")).unwrap_or_else(|why| panic!("presets.toml: {why}"))
});

/// All presets, in the order of the file.
pub fn presets() -> impl Iterator<Item = &'static Preset> {
    PRESETS.iter()
}

/// All names that [`find`] knows: ids and aliases.
pub fn names() -> impl Iterator<Item = &'static str> {
    presets().flat_map(|preset| std::iter::once(preset.id.as_str()).chain(preset.facts.aliases.iter().map(String::as_str)))
}

/// The preset of this id or alias; a name without version is the newest.
///
/// # Errors
/// [`UnknownPreset`] with the nearest name, if one is near.
pub fn find(name: &str) -> Result<&'static Preset, UnknownPreset> {
    presets()
        .find(|preset| preset.id == name)
        .or_else(|| presets().find(|preset| preset.facts.aliases.iter().any(|alias| alias == name)))
        .ok_or_else(|| UnknownPreset { name: name.to_owned(), suggestion: nearest(name, names()) })
}

/// The parameters that a preset sets and their values as a scenario would write them, in the order of the file; none of a name that is unknown.
pub fn preset_values(name: &str) -> Vec<(String, String)> {
    let Ok(preset) = find(name) else { return Vec::new() };
    // It was parsed before.
    let file: File = toml::from_str(include_str!("presets.toml")).unwrap_or(File { preset: Vec::new() });
    let own = |id: &str| file.preset.iter().find(|entry| entry.id == id);
    let base = preset.facts.alias_of.as_deref().and_then(own);
    let mut all: Vec<(String, String)> = Vec::new();
    for (key, value) in base.into_iter().chain(own(&preset.id)).flat_map(|entry| &entry.parameters) {
        let name = key.strip_suffix("_ms").unwrap_or(key);
        let text = if key == name { value.to_string() } else { of_ms(value) };
        all.retain(|(other, _)| other != name);
        all.push((name.to_owned(), text));
    }
    all
}

/// Durations of the file as a scenario writes them.
fn of_ms(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("[{}]", list.iter().map(of_ms).collect::<Vec<_>>().join(", ")),
        _ => {
            let ms = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64)).unwrap_or_default();
            format!("\"{}\"", print_duration(duration_ms(ms)))
        }
    }
}

impl Policy {
    /// The policy of a named preset, alias or name without version.
    ///
    /// # Errors
    /// [`UnknownPreset`] with the nearest name, if one is near.
    pub fn preset(name: &str) -> Result<Policy, UnknownPreset> {
        find(name).map(|preset| preset.policy.clone())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    preset: Vec<PresetEntry>,
}

#[derive(Deserialize)]
struct PresetEntry {
    id: String,
    #[serde(flatten)]
    facts: Facts,
    /// All other keys must be settings.
    #[serde(flatten)]
    parameters: toml::Table,
}

fn parse(text: &str) -> Result<Vec<Preset>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut presets: Vec<Preset> = Vec::with_capacity(file.preset.len());
    for PresetEntry { id, facts, parameters } in file.preset {
        let policy = match &facts.alias_of {
            Some(other) => {
                presets.iter().find(|preset| preset.id == *other).map(|preset| preset.policy.clone()).ok_or("alias of nothing")?
            }
            None => Policy::fixed(Duration::ZERO),
        };
        let policy = with_parameters(policy, &parameters).map_err(|why| format!("{id}: {why}"))?;
        presets.push(Preset { id, facts, policy });
    }
    Ok(presets)
}

fn with_parameters(mut policy: Policy, parameters: &toml::Table) -> Result<Policy, String> {
    for (key, value) in parameters {
        let name = key.strip_suffix("_ms").unwrap_or(key);
        let row = SettingRow::find(name).map_err(|why| format!("{key}: {why}"))?;
        let shape = match (row.shape, policy.jitter) {
            (SettingShape::NumberOrDuration, Jitter::Add { .. }) => SettingShape::Duration,
            (shape, _) => shape,
        };
        let setting = setting(shape, value).ok_or_else(|| format!("{key}: {value} is not {shape:?}"))?;
        policy.set(name, setting).map_err(|why| format!("{key}: {why}"))?;
    }
    Ok(policy)
}

/// A value of the file, durations in ms.
fn setting(shape: SettingShape, value: &Value) -> Option<Setting> {
    let number = || value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
    let list = |inner: SettingShape| value.as_array()?.iter().map(|one| setting(inner, one)).collect::<Option<_>>().map(Setting::List);
    match shape {
        SettingShape::Duration => number().map(|ms| Setting::Duration(duration_ms(ms))),
        SettingShape::Number | SettingShape::NumberOrDuration => number().map(Setting::Number),
        SettingShape::Whole => value.as_integer().map(Setting::Whole),
        SettingShape::Flag => value.as_bool().map(Setting::Flag),
        SettingShape::Word(_) => value.as_str().map(|word| Setting::Word(word.to_owned())),
        SettingShape::Durations => list(SettingShape::Duration),
        SettingShape::Ranges => list(SettingShape::Durations),
        SettingShape::Codes => list(SettingShape::Word(&[])),
        SettingShape::Wholes => list(SettingShape::Whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::GiveUp;
    use crate::reconnect::describe::{LONG, delays};
    use crate::reconnect::{Anchor, Reset, SETTINGS, ScheduleKind, ServesWhen};
    use std::collections::BTreeSet;

    #[test]
    fn every_preset_gives_its_vector() {
        for preset in presets().filter(|preset| !matches!(preset.policy.kind, ScheduleKind::Poll(_)) && preset.facts.alias_of.is_none()) {
            let facts = &preset.facts;
            let u = if facts.vec_flip { 1.0 - 0.37 } else { 0.37 };
            let (found, end) = delays(&preset.policy, u, LONG, facts.vec_ms.len());
            assert_eq!(found.len(), facts.vec_ms.len(), "{}: {end:?}", preset.id);
            for (wait, expected) in found.iter().zip(&facts.vec_ms) {
                let found = wait.as_secs_f64() * 1000.0;
                assert!(agrees(found, *expected), "{}: {found} is not {expected}", preset.id);
            }
        }
    }

    /// Within 0.001 ms, or equal after rounding to the decimals that the file prints.
    fn agrees(found: f64, printed: f64) -> bool {
        let decimals = printed.to_string().split_once('.').map_or(0, |(_, decimals)| decimals.len());
        (found - printed).abs() <= 0.001 || (decimals > 0 && format!("{found:.decimals$}") == format!("{printed:.decimals$}"))
    }

    #[test]
    fn presets_have_names_of_their_own() {
        assert_eq!(names().collect::<BTreeSet<_>>().len(), names().count());
        for preset in presets() {
            let facts = &preset.facts;
            assert!(!facts.source.is_empty() && !facts.version.is_empty() && !facts.package.is_empty(), "{}", preset.id);
            assert!(facts.vec_from == VectorFrom::Calc || facts.verified == Verified::Run, "{}", preset.id);
            assert_eq!(facts.detect_min_ms.is_some(), preset.policy.heartbeat.is_some() && facts.alias_of.is_none(), "{}", preset.id);
        }
    }

    #[test]
    fn every_setting_is_used_by_a_preset_and_no_other_key_is() {
        let text = include_str!("presets.toml");
        for row in SETTINGS {
            let keys = [format!("\n{} = ", row.name), format!("\n{}_ms = ", row.name)];
            assert!(keys.iter().any(|key| text.contains(key)), "{}", row.name);
        }
        for wrong in ["jiter = \"none\"\n", "max_retries = \"five\"\n", "stale_ms = 1\n"] {
            let changed = text.replacen("kind = \"exponential\"\n", &format!("kind = \"exponential\"\n{wrong}"), 1);
            assert_ne!(changed, text);
            assert!(parse(&changed).is_err(), "{wrong}");
        }
    }

    #[test]
    fn who_resets_when_ready_waits_for_the_server_and_who_counts_a_time_waits_for_it() {
        for preset in presets() {
            let ready = preset.policy.ready;
            match preset.policy.reset {
                Reset::Ready => assert_eq!(ready, ServesWhen::Message, "{}", preset.id),
                Reset::Uptime => assert_eq!(ready, ServesWhen::Uptime, "{}", preset.id),
                _ => assert_ne!(ready, ServesWhen::Uptime, "{}", preset.id),
            }
        }
        assert_eq!(find("phoenix").unwrap().policy.ready, ServesWhen::Message);
        assert_eq!(find("python-websockets").unwrap().policy.ready, ServesWhen::Open);
    }

    #[test]
    fn names_without_version_are_the_newest() {
        for (name, id) in [
            ("phoenix", "phoenix-1.8"),
            ("phoenix-1.7", "phoenix-1.7"),
            ("y-websocket", "y-websocket-3"),
            ("pusher-js", "pusher-js-node"),
            ("@microsoft/signalr", "signalr"),
        ] {
            assert_eq!(find(name).map(|preset| preset.id.as_str()), Ok(id));
        }
        assert_eq!(Policy::preset("apollo-client-graphqlwslink"), Policy::preset("graphql-ws"));
    }

    #[test]
    fn a_misspelt_name_is_answered_with_the_nearest() {
        let error = |name| find(name).map(|preset| &preset.id).unwrap_err();
        assert_eq!(
            error("socketio-client").to_string(),
            "unknown reconnect preset \"socketio-client\", did you mean \"socket.io-client\"?"
        );
        assert_eq!(error("zzz"), UnknownPreset { name: "zzz".to_owned(), suggestion: None });
    }

    #[test]
    fn presets_give_up_when_their_vector_ends() {
        for (name, why) in [
            ("signalr", GiveUp::Retries),
            ("robust-websocket", GiveUp::Retries),
            ("graphql-ws-retry-all", GiveUp::Retries),
            ("apollo-retrylink", GiveUp::Retries),
            ("graphql-ws", GiveUp::Final { what: "failed connect".to_owned() }),
            ("sockjs-client", GiveUp::NoReconnect),
        ] {
            let preset = find(name).unwrap();
            let (found, end) = delays(&preset.policy, 0.37, Duration::ZERO, 100);
            assert_eq!((found.len(), end), (preset.facts.vec_ms.len(), Some(why)), "{name}");
        }
        assert_eq!(find("nats").unwrap().policy.anchor, Anchor::AttemptStart);
        assert_eq!(delays(&find("nats").unwrap().policy, 0.37, Duration::ZERO, 100).0.len(), 10);
    }
}
