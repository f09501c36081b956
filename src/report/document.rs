//! The parts of a report, independent of how it is written.

/// A part of a report; texts are plain and not yet escaped.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Block {
    /// Title of a section.
    Heading(String),
    /// What the reader came with: the question.
    Lead(String),
    /// Running text.
    Paragraph(String),
    /// A command line.
    Command(String),
    /// `pass`, `fail`, `inconclusive` or `unchecked`, and what to say of it.
    Verdict { result: String, text: String },
    /// Numbers that matter, each with what it is.
    Figures(Vec<(String, String)>),
    /// A table.
    Table(Table),
    /// A chart by its name.
    Chart(&'static str),
    /// Points.
    List(Vec<String>),
}

/// A table: columns, and rows of as many cells.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    /// Names of the columns.
    pub(super) head: Vec<&'static str>,
    /// How many columns at the left hold words; the others hold numbers and are set flush right.
    pub(super) words: usize,
    /// Cells.
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(super) fn new(words: usize, head: &[&'static str]) -> Table {
        Table { head: head.to_vec(), words, rows: Vec::new() }
    }
}
