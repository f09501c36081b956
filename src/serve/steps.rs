//! The steps of a misbehaving endpoint, read from the path and query of a URL.
//!
//! Pure: no socket, no clock, no random numbers. Kinds of faults come from the one list of them; `connection` carries steps out, `catalogue`
//! describes them.

use crate::fault::{self, Form, Injection, KindRow, Param, Value, ValueShape, Values};
use crate::serve::catalogue;
use crate::units::{nearest, parse_duration, print_duration};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use url::form_urlencoded;

/// Most steps of one URL.
const STEPS_MAX: usize = 64;
/// Shortest gap of `repeat`.
const GAP_MIN: Duration = Duration::from_millis(1);
/// Most pings of one step.
const PINGS_MAX: u32 = 100_000;
/// Query key by which a page recognises its connection.
pub const WATCH: &str = "watch";
/// Longest value of [`WATCH`].
const WATCH_MAX: usize = 64;
/// Query key of every kind that holds: when it ends.
pub const FOR: &str = "for";

/// Name of the first part of a path in the spelling of httptoolkit's testserver.
const OTHER_SPELLING: &str = "ws";

/// What the page's Node server says and does.
const PAGE: [&str; 2] = ["Welcome to the WebSocket server!", "Closing the connection after 5 seconds"];
const PAGE_STAYS: Duration = Duration::from_secs(5);

/// What an endpoint does with one connection, in order.
#[derive(Clone, Debug, Default)]
pub struct PathSteps {
    /// Before the opening handshake is answered: waits, and steps that act on the answer.
    pub before: Vec<PathStep>,
    /// On the open connection.
    pub open: Vec<PathStep>,
    /// It does not send messages back.
    pub silent: bool,
    /// By which a page recognises its connection; empty: none does.
    pub watch: String,
}

/// One step.
#[derive(Clone, Debug)]
pub struct PathStep {
    /// Probability that it is carried out, 0 to 1.
    pub share: f64,
    /// What it does.
    pub does: StepAction,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum StepAction {
    /// Nothing: messages are sent back anyway.
    Echo,
    /// A text message.
    Message(String),
    /// The same text message again and again, beside the steps that follow.
    Repeat {
        /// Its text.
        text: String,
        /// From one to the next; the first goes out at once.
        every: Duration,
    },
    /// The next step waits.
    Wait(Duration),
    /// So many pings at once, each with another payload.
    Pings(u32),
    /// The subprotocol in the answer; `None`: none, whatever the client offers.
    Subprotocol(Option<String>),
    /// A fault.
    Fault {
        /// Which.
        injection: Injection,
        /// How long it holds; `None`: to the end of the connection.
        holds: Option<Duration>,
    },
}

impl fmt::Display for StepAction {
    /// In words, for whoever watches.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StepAction::Echo => f.write_str("echo"),
            StepAction::Message(_) => f.write_str("message"),
            StepAction::Repeat { every, .. } => write!(f, "repeat every {}", print_duration(*every)),
            StepAction::Wait(time) => write!(f, "wait {}", print_duration(*time)),
            StepAction::Pings(count) => write!(f, "{count} pings"),
            StepAction::Subprotocol(Some(name)) => write!(f, "subprotocol {name}"),
            StepAction::Subprotocol(None) => f.write_str("no-subprotocol"),
            StepAction::Fault { injection, holds: None } => f.write_str(injection.row.kind),
            StepAction::Fault { injection, holds: Some(time) } => write!(f, "{} for {}", injection.row.kind, print_duration(*time)),
        }
    }
}

/// Why a URL is no list of steps; its text is for the body of an HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepError(String);

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn wrong<T>(text: impl Into<String>) -> Result<T, StepError> {
    Err(StepError(text.into()))
}

/// A step as the path has it, before the query is read.
struct PathPart {
    /// As written.
    name: String,
    share: f64,
    action: PartAction,
}

enum PartAction {
    Done(StepAction),
    /// What of the page's Node server stands for several steps.
    Page,
    Fault {
        row: &'static KindRow,
        values: Values,
        holds: Option<Duration>,
    },
}

impl FromStr for PathSteps {
    type Err = StepError;

    /// Reads a request target, as `/message/hello/wait/2s/close/1011?reason=oops`.
    fn from_str(target: &str) -> Result<PathSteps, StepError> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut parts = parts(path)?;
        let watch = read_query(query, &mut parts)?;
        in_order(parts, watch)
    }
}

/// The decoded segments of a path.
fn segments(path: &str) -> Result<Vec<String>, StepError> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(Vec::new());
    }
    path.split('/').map(decoded).collect()
}

/// A segment without its percent encoding (RFC 3986 §2.1); a `%` that begins none stands for itself, as in `/flaky/20%/`.
fn decoded(segment: &str) -> Result<String, StepError> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (bytes, mut out, mut at) = (segment.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        match (bytes[at], digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            // Two hexadecimal digits are below 256.
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).or_else(|_| wrong(format!("`{segment}` is not UTF-8")))
}

/// The steps of a path, with the values that stand in it.
fn parts(path: &str) -> Result<Vec<PathPart>, StepError> {
    let all = segments(path)?;
    let other = all.first().is_some_and(|first| first == OTHER_SPELLING);
    let mut rest = all.iter().skip(usize::from(other)).map(String::as_str).peekable();
    let (mut parts, mut share) = (Vec::new(), 1.0);
    while let Some(name) = rest.next() {
        if parts.len() == STEPS_MAX {
            return wrong(format!("more than {STEPS_MAX} steps"));
        }
        let mut argument = |what: &str| rest.next().map_or_else(|| wrong(format!("`{name}` needs {what} behind it")), Ok);
        let action = match name {
            "flaky" => {
                share *= percent(argument("a percentage")?)?;
                if rest.peek().is_none() {
                    return wrong("`flaky` needs a step behind its percentage, as /flaky/20/drop_rst");
                }
                continue;
            }
            "echo" => PartAction::Done(StepAction::Echo),
            "page" => PartAction::Page,
            "message" => PartAction::Done(StepAction::Message(argument("a text")?.to_owned())),
            "repeat" => {
                let text = argument("a text and a time")?.to_owned();
                let every = time(name, argument("a time behind the text")?, if other { "ms" } else { "s" })?;
                if every < GAP_MIN {
                    return wrong("`repeat` needs a time of 1ms or more");
                }
                PartAction::Done(StepAction::Repeat { text, every })
            }
            "wait" => PartAction::Done(StepAction::Wait(time(name, argument("a time")?, "s")?)),
            "delay" if other => PartAction::Done(StepAction::Wait(time(name, argument("a time")?, "s")?)),
            "pings" => PartAction::Done(StepAction::Pings(pings(argument("a number")?)?)),
            "subprotocol" => PartAction::Done(StepAction::Subprotocol(Some(token(argument("a name")?)?))),
            "no-subprotocol" => PartAction::Done(StepAction::Subprotocol(None)),
            "error" if other => match argument("`reset`")? {
                "reset" => of_kind("drop_rst")?,
                found => return wrong(format!("there is no error `{found}`: it is `reset`")),
            },
            "close" => {
                let code = rest.next_if(|next| next.bytes().all(|byte| byte.is_ascii_digit()) && !next.is_empty());
                let mut close = of_kind("close_code")?;
                if let PartAction::Fault { row, values, .. } = &mut close {
                    set(row, values, name, "code", code.unwrap_or("1000"))?;
                }
                close
            }
            kind => of_kind(kind)?,
        };
        parts.push(PathPart { name: name.to_owned(), share: std::mem::replace(&mut share, 1.0), action });
    }
    Ok(parts)
}

/// The step of a kind, with its defaults.
fn of_kind(name: &str) -> Result<PartAction, StepError> {
    let Some(row) = fault::row(name) else { return wrong(catalogue::unknown(name)) };
    if !catalogue::is_step(row) {
        return wrong(format!("`{name}` is no step: a server cannot do it to one connection"));
    }
    Ok(PartAction::Fault { row, values: row.defaults(), holds: None })
}

fn time(name: &str, text: &str, unit: &str) -> Result<Duration, StepError> {
    parse_duration(&with_unit(text, unit)).or_else(|error| wrong(format!("`{name}`: {error}")))
}

/// In a URL a time without unit has this one: a header like `Retry-After` counts seconds, and so do paths of testserver.
fn with_unit(text: &str, unit: &str) -> String {
    if text.parse::<f64>().is_ok() { format!("{text}{unit}") } else { text.to_owned() }
}

/// As `20`, `20%` or `0.5`, a percentage in any case.
fn percent(text: &str) -> Result<f64, StepError> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>().ok();
    match number.filter(|number| (0.0..=100.0).contains(number)) {
        Some(number) => Ok(number / 100.0),
        None => wrong(format!("`flaky`: \"{text}\" is not a percentage from 0 to 100")),
    }
}

fn pings(text: &str) -> Result<u32, StepError> {
    match text.parse() {
        Ok(count @ 1..=PINGS_MAX) => Ok(count),
        _ => wrong(format!("`pings`: \"{text}\" is not a whole number from 1 to {PINGS_MAX}")),
    }
}

/// A subprotocol is a token (RFC 6455 §4.1, RFC 9110 §5.6.2).
fn token(text: &str) -> Result<String, StepError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || text.len() > WATCH_MAX || !text.bytes().all(fits) {
        return wrong(format!("`subprotocol`: \"{text}\" cannot be the name of a subprotocol"));
    }
    Ok(text.to_owned())
}

fn set(row: &KindRow, values: &mut Values, step: &str, key: &str, text: &str) -> Result<(), StepError> {
    let param = row.params.iter().find(|param| param.name == key);
    let read = |param: &Param| if param.shape == ValueShape::Duration { param.read(&with_unit(text, "s")) } else { param.read(text) };
    let value = param.map(|param| read(param).or_else(|error| wrong(format!("`{key}` of `{step}`: {error}"))));
    if let Some(value) = value {
        values.0.insert(key.to_owned(), value?);
    }
    Ok(())
}

impl PathPart {
    /// What the query may say of it.
    fn keys(&self) -> Vec<&'static str> {
        match &self.action {
            PartAction::Fault { row, .. } => {
                let own = row.params.iter().map(|param| param.name);
                own.chain((row.form == Form::Holding).then_some(FOR)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether it is meant by the name before the dot in `kind.key`.
    fn is_called(&self, name: &str) -> bool {
        self.name == name || matches!(&self.action, PartAction::Fault { row, .. } if row.kind == name)
    }

    fn set(&mut self, key: &str, text: &str) -> Result<(), StepError> {
        match &mut self.action {
            PartAction::Fault { holds, .. } if key == FOR => {
                *holds = Some(time(FOR, text, "s")?);
                Ok(())
            }
            PartAction::Fault { row, values, .. } => set(row, values, &self.name, key, text),
            _ => Ok(()),
        }
    }
}

/// Gives the steps what the query says. Returns the value of [`WATCH`].
fn read_query(query: &str, parts: &mut [PathPart]) -> Result<String, StepError> {
    let mut watch = String::new();
    let mut seen = Vec::new();
    for (key, text) in form_urlencoded::parse(query.as_bytes()) {
        if seen.contains(&key) {
            return wrong(format!("`{key}` is given twice"));
        }
        seen.push(key.clone());
        if key == WATCH {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            if text.is_empty() || text.len() > WATCH_MAX || !text.bytes().all(fits) {
                return wrong(format!("`{WATCH}` is up to {WATCH_MAX} letters, digits, - and _"));
            }
            watch = text.into_owned();
            continue;
        }
        let (step, name) = key.split_once('.').map_or((None, key.as_ref()), |(step, name)| (Some(step), name));
        let meant = |part: &PathPart| step.is_none_or(|step| part.is_called(step)) && part.keys().contains(&name);
        let mut takers: Vec<&str> = parts.iter().filter(|part| meant(part)).map(|part| part.name.as_str()).collect();
        takers.dedup();
        takers.sort_unstable();
        takers.dedup();
        match takers.as_slice() {
            [] => return wrong(unknown_key(&key, parts)),
            [_] => {}
            [first, second, ..] => {
                return wrong(format!("`{name}` is a parameter of both `{first}` and `{second}`: write {first}.{name} or {second}.{name}"));
            }
        }
        for part in parts.iter_mut().filter(|part| meant(part)) {
            part.set(name, &text)?;
        }
    }
    Ok(watch)
}

fn unknown_key(key: &str, parts: &[PathPart]) -> String {
    let mut keys: Vec<&str> = parts.iter().flat_map(PathPart::keys).collect();
    keys.sort_unstable();
    keys.dedup();
    let near = nearest(key, keys.iter().copied()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    let all = if keys.is_empty() { "these steps have no parameters".to_owned() } else { format!("parameters here: {}", keys.join(", ")) };
    format!("no step of this URL has a parameter `{key}`{near} ({all})")
}

impl StepAction {
    /// Whether it acts on the answer to the opening handshake.
    fn is_of_handshake(&self) -> bool {
        match self {
            StepAction::Fault { injection, .. } => injection.row.form == Form::Attempts,
            StepAction::Subprotocol(_) => true,
            _ => false,
        }
    }
}

/// The steps before and behind the answer to the opening handshake.
fn in_order(parts: Vec<PathPart>, watch: String) -> Result<PathSteps, StepError> {
    let (mut steps, mut silent) = (PathSteps { watch, ..PathSteps::default() }, false);
    // The name of the first step that needs an open connection.
    let mut first_open: Option<String> = None;
    let mut waits = Vec::new();
    for PathPart { name, share, action } in parts {
        let actions = match action {
            PartAction::Done(action) => vec![action],
            PartAction::Fault { row, values, holds } => vec![StepAction::Fault { injection: Injection { row, values }, holds }],
            PartAction::Page => {
                silent = true;
                let mut close = of_kind("close_code")?;
                if let PartAction::Fault { row, values, .. } = &mut close {
                    values.0.insert("code".into(), Value::Whole(1000));
                    set(row, values, "page", "reason", "Normal closure")?;
                }
                let PartAction::Fault { row, values, holds } = close else { continue };
                let [welcome, closing] = PAGE.map(|text| StepAction::Message(text.to_owned()));
                let close = StepAction::Fault { injection: Injection { row, values }, holds };
                vec![welcome, StepAction::Wait(PAGE_STAYS), closing, close]
            }
        };
        for does in actions {
            let step = PathStep { share, does };
            match (&step.does, &first_open) {
                (does, None) if does.is_of_handshake() => {
                    // What waited before it waits before the answer.
                    steps.before.append(&mut waits);
                    steps.before.push(step);
                }
                (does, Some(open)) if does.is_of_handshake() => {
                    return wrong(format!(
                        "`{name}` acts on the answer to the opening handshake, and `{open}` before it needs an open connection: put `{name}` first"
                    ));
                }
                (StepAction::Wait(_), None) => waits.push(step),
                _ => {
                    first_open.get_or_insert_with(|| name.clone());
                    steps.open.append(&mut waits);
                    steps.open.push(step);
                }
            }
        }
    }
    steps.open.append(&mut waits);
    steps.silent = silent;
    Ok(steps)
}

#[cfg(test)]
mod tests;
