//! What is filled in for the names of a template, and the rows of a data file.

use super::Name;
use crate::lock::lock;
use crate::seed::Stream;
use std::borrow::Cow;

use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

/// What stands in place of the names.
#[derive(Clone, Debug)]
pub struct TemplateValues<'a> {
    /// For `{client}`.
    pub client: Cow<'a, str>,
    /// For `{attempt}`.
    pub attempt: Cow<'a, str>,
    /// For all others; without it they are empty.
    pub own: Option<&'a OwnValues<'a>>,
}

/// What one client has of its own at one moment.
#[derive(Debug)]
pub struct OwnValues<'a> {
    /// For `{cohort}`.
    pub cohort: &'a str,
    /// For `{sequence}`.
    pub sequence: u64,
    /// For `{time}`: offset from the start of the run.
    pub time: Duration,
    /// For `{random…}`.
    pub random: &'a Mutex<Stream>,
    /// For `{data.COLUMN}`: the file and the client's row in it.
    pub row: Option<(&'a DataTable, usize)>,
    /// For `{captured.NAME}`.
    pub captured: &'a [(Box<str>, String)],
}

impl TemplateValues<'_> {
    /// Appends what stands for a name.
    pub(super) fn put(&self, name: &Name, to: &mut String) {
        match (name, self.own) {
            (Name::Client, _) => to.push_str(&self.client),
            (Name::Attempt | Name::Connection, _) => to.push_str(&self.attempt),
            (_, Some(own)) => own.put(name, to),
            (_, None) => {}
        }
    }
}

impl OwnValues<'_> {
    fn put(&self, name: &Name, to: &mut String) {
        let mut random = lock(self.random);
        // Writing to a string does not fail.
        let _ = match name {
            Name::Cohort => write!(to, "{}", self.cohort),
            Name::Sequence => write!(to, "{}", self.sequence),
            Name::Time => write!(to, "{}", self.time.as_millis()),
            Name::Hex(digits) => (0..*digits).try_for_each(|_| write!(to, "{:x}", random.below(16))),
            Name::Uuid => {
                let mut part = |digits: usize| (0..digits).map(|_| format!("{:x}", random.below(16))).collect::<String>();
                let (a, b, c, d, e) = (part(8), part(4), part(3), part(3), part(12));
                write!(to, "{a}-{b}-4{c}-{:x}{d}-{e}", 8 + random.below(4))
            }
            Name::Number(least, most) => {
                let span = most.abs_diff(*least).saturating_add(1);
                write!(to, "{}", least.wrapping_add_unsigned(random.below(span)))
            }
            Name::Choice(all) => {
                let one = random.below(all.len() as u64) as usize;
                to.push_str(all.get(one).map_or("", |one| one));
                Ok(())
            }
            Name::Data(column) => {
                to.push_str(self.row.and_then(|(table, row)| table.value(row, column)).unwrap_or_default());
                Ok(())
            }
            Name::Captured(name) => {
                let found = self.captured.iter().rev().find(|(known, _)| known == name);
                to.push_str(found.map_or("", |(_, value)| value));
                Ok(())
            }
            // Filled in by itself, or known before the run.
            Name::Client | Name::Attempt | Name::Connection | Name::Env(_) => Ok(()),
        };
    }
}

/// Rows of a data file, all of the same columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataTable {
    /// Names of its columns.
    pub columns: Vec<String>,
    /// Values, a row after the other.
    pub rows: Vec<Vec<String>>,
}

impl DataTable {
    /// The value of a column in a row, from 0.
    pub fn value(&self, row: usize, column: &str) -> Option<&str> {
        let place = self.columns.iter().position(|known| known == column)?;
        self.rows.get(row)?.get(place).map(String::as_str)
    }
}
