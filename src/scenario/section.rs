//! How a table of a scenario and its keys are documented.

/// A table of the scenario.
#[derive(Debug)]
pub struct Section {
    /// How it is written, as `[clients.NAME]`.
    pub path: &'static str,
    /// What it is for; one sentence.
    pub doc: &'static str,
    /// In the order in which they are listed.
    pub keys: &'static [TableKey],
}

/// A key of a table.
#[derive(Debug)]
pub struct TableKey {
    /// As written.
    pub name: &'static str,
    /// What its value looks like.
    pub takes: &'static str,
    /// What holds without it.
    pub default: &'static str,
    /// What it means; one sentence.
    pub doc: &'static str,
}

/// A key and what is said of it.
pub(super) const fn key(name: &'static str, takes: &'static str, default: &'static str, doc: &'static str) -> TableKey {
    TableKey { name, takes, default, doc }
}

impl Section {
    /// The names of its keys, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.keys.iter().map(|key| key.name)
    }
}
