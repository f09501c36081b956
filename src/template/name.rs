//! What stands between the braces of a template: the names that users write, and what each means.

use std::fmt;

/// What can be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// Index of the client in the run, from 0.
    Client,
    /// Number of the client's attempt, from 1.
    Attempt,
    /// Number of the connection: that of the attempt that opened it.
    Connection,
    /// Number of the client's message, from 1, over all its connections.
    Sequence,
    /// Milliseconds since the start of the run.
    Time,
    /// Name of the cohort.
    Cohort,
    /// So many random hexadecimal digits.
    Hex(u8),
    /// A random UUID, version 4.
    Uuid,
    /// A random whole number from the first to the last.
    Number(i64, i64),
    /// One of these, drawn.
    Choice(Box<[Box<str>]>),
    /// A column of the cohort's data file, in the client's row.
    Data(Box<str>),
    /// What an earlier step captured under this name.
    Captured(Box<str>),
    /// An environment variable.
    Env(Box<str>),
}

/// The names as users write them, for suggestions.
pub const NAMES: &[&str] = &[
    "client",
    "cohort",
    "attempt",
    "connection",
    "sequence",
    "time",
    "random.hex",
    "random.uuid",
    "random.number:1-6",
    "random.choice:a,b",
    "data.COLUMN",
    "captured.NAME",
    "env.NAME",
];

/// Digits of `{random.hex}` without a number.
const HEX: u8 = 16;

impl Name {
    /// Reads what stands between braces; `None` where it is no name.
    pub fn read(text: &str) -> Option<Name> {
        let (first, rest) = text.split_once('.').map_or((text, None), |(first, rest)| (first, Some(rest)));
        Some(match (first, rest) {
            ("client", None) => Name::Client,
            ("attempt", None) => Name::Attempt,
            ("connection", None) => Name::Connection,
            ("sequence", None) => Name::Sequence,
            ("time", None) => Name::Time,
            ("cohort", None) => Name::Cohort,
            ("data", Some(column)) => Name::Data(column.into()),
            ("captured", Some(name)) => Name::Captured(name.into()),
            ("env", Some(name)) => Name::Env(name.into()),
            ("random", Some("hex")) => Name::Hex(HEX),
            ("random", Some("uuid")) => Name::Uuid,
            ("random", Some(rest)) => match rest.split_once(':')? {
                ("hex", digits) => Name::Hex(digits.parse().ok().filter(|digits| *digits > 0)?),
                ("number", bounds) => {
                    let (least, most) = bounds.split_once('-')?;
                    let (least, most) = (least.parse().ok()?, most.parse().ok()?);
                    (least <= most).then_some(Name::Number(least, most))?
                }
                ("choice", all) => Name::Choice(all.split(',').map(Into::into).collect()),
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Whether an attempt's number and its client's are all that it takes.
    pub fn is_simple(&self) -> bool {
        matches!(self, Name::Client | Name::Attempt)
    }
}

/// As users write it.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Client => f.write_str("client"),
            Name::Attempt => f.write_str("attempt"),
            Name::Connection => f.write_str("connection"),
            Name::Sequence => f.write_str("sequence"),
            Name::Time => f.write_str("time"),
            Name::Cohort => f.write_str("cohort"),
            Name::Hex(digits) => write!(f, "random.hex:{digits}"),
            Name::Uuid => f.write_str("random.uuid"),
            Name::Number(least, most) => write!(f, "random.number:{least}-{most}"),
            Name::Choice(all) => write!(f, "random.choice:{}", all.join(",")),
            Name::Data(column) => write!(f, "data.{column}"),
            Name::Captured(name) => write!(f, "captured.{name}"),
            Name::Env(name) => write!(f, "env.{name}"),
        }
    }
}
