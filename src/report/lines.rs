//! Lines of text for a terminal: names at the left, texts and columns beside them, colours where they are wanted.

use crate::text::printable;

/// Width of the names at the left.
const LABEL: usize = 13;
/// Answers, failures and close reasons beyond this are counted.
const LIST_MAX: usize = 4;

/// Lines that are being written.
pub(super) struct Page {
    out: String,
    pub(super) width: usize,
    colour: bool,
}

impl Page {
    /// An empty one of `width` columns, at least 60.
    pub(super) fn new(width: usize, colour: bool) -> Page {
        Page { out: String::new(), width: width.max(60), colour }
    }

    /// What was written.
    pub(super) fn into_text(self) -> String {
        self.out
    }

    /// Lines so far.
    pub(super) fn height(&self) -> usize {
        self.out.lines().count()
    }

    pub(super) fn line(&mut self, text: &str) {
        self.out += text;
        self.out.push('\n');
    }

    /// A name at the left and a text beside it, wrapped.
    pub(super) fn entry(&mut self, name: &str, text: &str) {
        for (n, part) in wrapped(text, self.width - LABEL).iter().enumerate() {
            let name = if n == 0 { name } else { "" };
            self.line(&format!("{}{part}", self.dim(&format!("{name:LABEL$}"))));
        }
    }

    /// A name at the left and the first few of a list beside it; nothing of an empty one.
    pub(super) fn list(&mut self, name: &str, mut items: Vec<String>, what: &str) {
        if items.is_empty() {
            return;
        }
        let more = items.len().saturating_sub(LIST_MAX);
        items.truncate(LIST_MAX);
        if more > 0 {
            items.push(format!("{more} more {what} in the report"));
        }
        self.entry(name, &items.join(" · "));
    }

    /// A name at the left and columns beside it: the first flush left, the others flush right. Names are cut where the page is narrow.
    pub(super) fn columns(&mut self, name: &str, rows: &[Vec<String>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(widest).collect();
        let numbers: usize = widths.iter().skip(1).map(|w| w + 2).sum();
        let first = widths.first().copied().unwrap_or(0).min(self.width.saturating_sub(LABEL + numbers)).max(6);
        for (n, row) in rows.iter().enumerate() {
            let mut line = format!("{:first$}", shortened(row.first().map_or("", String::as_str), first));
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                line += &format!("  {cell:>width$}");
            }
            let label = self.dim(&format!("{:LABEL$}", if n == 0 { name } else { "" }));
            let faint = n == 0 || row.first().is_some_and(|cell| cell.starts_with("  "));
            let line = line.trim_end();
            let line = if faint { self.dim(line) } else { line.to_string() };
            self.line(format!("{label}{line}").trim_end());
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour && !text.trim().is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    pub(super) fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(super) fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn verdict(&self, result: &str, text: &str) -> String {
        let code = match result {
            "pass" => "1;32",
            "fail" => "1;31",
            "unchecked" => return text.to_owned(),
            _ => "1;33",
        };
        self.paint(code, text)
    }
}

/// The text in lines of at most `width` characters, broken at spaces; a longer word stands alone.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    // A separator stays with what it ends: no line begins with one.
    let text = printable(text).replace(" · ", "\u{a0}· ");
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let word = &word.replace('\u{a0}', " ");
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_string());
        }
    }
    lines
}

/// The text, cut with `…` beyond `max` characters.
pub(crate) fn shortened(text: &str, max: usize) -> String {
    let text = printable(text);
    if text.chars().count() <= max {
        return text;
    }
    text.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}
