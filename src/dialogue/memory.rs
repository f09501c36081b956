//! What a client with a dialogue keeps over its connections: captured values, where its streams of messages are, its own random numbers.

use super::script::Dialogue;
use super::sequence::SequenceMemory;
use crate::event::{ClientIndex, ConnectionNo};
use crate::lock::lock;
use crate::secret::{MASK, Secrets};
use crate::seed::{Seed, Stream};
use crate::template::{DataTable, OwnValues, TemplateValues};
use std::sync::Mutex;
use std::time::Duration;

/// Longest value that a client keeps, bytes: a server chooses it, and it may stand in each of the client's messages.
const CAPTURED_MAX: usize = 64 << 10;

/// A dialogue and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Scripted<'a> {
    /// What is said.
    pub script: &'a Dialogue,
    /// Name of the cohort.
    pub cohort: &'a str,
    /// Its data file.
    pub data: Option<&'a DataTable>,
}

/// What a client keeps over its connections.
#[derive(Debug)]
pub struct ClientMemory {
    random: Mutex<Stream>,
    sequence: u64,
    row: usize,
    captured: Vec<(Box<str>, String)>,
    /// Cookies, which its dialogue must not show.
    cookies: Box<[String]>,
    /// Boxed: few dialogues follow numbers.
    streams: Option<Box<SequenceMemory>>,
}

impl ClientMemory {
    /// Of a client with this row of its cohort's data file. Draws from `client/<k>/messages`.
    pub fn new(seed: Seed, client: ClientIndex, row: usize) -> ClientMemory {
        let random = Mutex::new(seed.numbered("client/", client.0, "/messages"));
        ClientMemory { random, sequence: 0, row, captured: Vec::new(), cookies: Box::default(), streams: None }
    }

    /// The number of its next message.
    pub(super) fn count(&mut self) {
        self.sequence += 1;
    }

    /// A number from 0 to 1 of its own.
    pub(super) fn unit(&self) -> f64 {
        lock(&self.random).unit()
    }

    /// What it knows of its streams, from now on.
    pub(super) fn streams(&mut self) -> &mut SequenceMemory {
        self.streams.get_or_insert_default()
    }

    /// The client has left by itself: what it does not get until it comes back, it does not miss.
    pub fn forget_streams(&mut self) {
        self.streams = None;
    }

    /// Whether it has a value for each of these names.
    pub(super) fn knows<'n>(&self, mut names: impl Iterator<Item = &'n str>) -> bool {
        names.all(|name| self.captured.iter().any(|(known, _)| **known == *name))
    }

    /// Keeps a value; an earlier one of that name is replaced. An empty one is as none.
    ///
    /// # Errors
    /// It is too long, in words: then there is none.
    pub fn capture(&mut self, name: &str, value: String) -> Result<(), String> {
        self.captured.retain(|(known, _)| **known != *name);
        if value.len() > CAPTURED_MAX {
            return Err(format!("`{name}` is longer than {CAPTURED_MAX} bytes"));
        }
        if !value.is_empty() {
            self.captured.push((name.into(), value));
        }
        Ok(())
    }

    /// Bytes of all captured values.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.captured.iter().map(|(_, value)| value.len()).sum()
    }

    /// Knows the values of the client's cookies, as something that must not be shown.
    pub fn know_cookies(&mut self, cookies: Box<[String]>) {
        self.cookies = cookies;
    }

    /// Adds what must not be shown: the client's row of its data, what it captured, and its cookies.
    pub fn add_secrets(&self, data: Option<&DataTable>, secrets: &mut Secrets) {
        let row = data.and_then(|data| Some((&data.columns, data.rows.get(self.row)?)));
        for (column, value) in row.into_iter().flat_map(|(columns, row)| columns.iter().zip(row)) {
            secrets.hide_value(value, &format!("{{data.{column}}}"));
        }
        self.captured.iter().for_each(|(name, value)| secrets.hide_value(value, &format!("{{captured.{name}}}")));
        self.cookies.iter().for_each(|value| secrets.hide_value(value, MASK));
    }

    /// Does something with the values of this moment.
    pub fn with_values<T>(
        &self,
        (cohort, data): (&str, Option<&DataTable>),
        (client, connection): (ClientIndex, ConnectionNo),
        time: Duration,
        what: impl FnOnce(&TemplateValues<'_>) -> T,
    ) -> T {
        let row = data.map(|data| (data, self.row));
        let own = OwnValues { cohort, sequence: self.sequence, time, random: &self.random, row, captured: &self.captured };
        what(&TemplateValues { client: client.0.to_string().into(), attempt: connection.0.to_string().into(), own: Some(&own) })
    }
}
