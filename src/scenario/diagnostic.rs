//! What is wrong with a scenario: collected while reading, rendered like a compiler's messages. Nothing here knows a key.

use crate::plan::ScenarioPlace;
use crate::secret::{Holder, Secrets, mask};
use crate::text::{printable, printable_in_place, printable_lines};
use crate::units::nearest;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

/// Errors that are shown; of more the number is said.
const SHOWN: usize = 50;

/// A text that parts of a scenario came from: a file, or an option of the command line.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// Path as given, or the option, as `--set`.
    pub(super) name: String,
    pub(super) text: String,
    /// Nothing of the text is shown: it may be none of the user's.
    foreign: bool,
    /// The name is the path of a file.
    is_file: bool,
}

/// A position: which text, which bytes of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) origin: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl At {
    pub(super) fn new(origin: usize, span: Range<usize>) -> At {
        At { origin, start: span.start, end: span.end }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(super) struct Diagnostic {
    /// `None` where there is no text, as for a file that cannot be read.
    at: Option<At>,
    title: String,
    label: String,
    help: Vec<String>,
}

/// Longest list of allowed words beside a suggestion.
const LISTED_MAX: usize = 20;

impl Diagnostic {
    /// At a position: what is wrong, and what was found there.
    pub(super) fn new(at: &At, title: impl Into<String>, label: impl Into<String>) -> Diagnostic {
        Diagnostic { at: Some(at.clone()), title: title.into(), label: label.into(), help: Vec::new() }
    }

    /// Without a position.
    pub(super) fn bare(title: impl Into<String>) -> Diagnostic {
        Diagnostic { at: None, title: title.into(), label: String::new(), help: Vec::new() }
    }

    /// What is allowed, or how to mend it.
    pub(super) fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help.push(help.into());
        self
    }

    /// The allowed words, the most likely one first.
    pub(super) fn allowed<'a>(self, found: &str, words: impl Iterator<Item = &'a str>) -> Diagnostic {
        self.suggest(found, words, "allowed")
    }

    /// As `allowed`, with another word for the list.
    pub(super) fn suggest<'a>(self, found: &str, words: impl Iterator<Item = &'a str>, list_name: &str) -> Diagnostic {
        let list: Vec<_> = words.collect();
        let near = nearest(found, list.iter().copied()).map(|word| format!("did you mean `{word}`?"));
        // A long list would bury the word that was meant, once for each error.
        let is_shown = !list.is_empty() && (near.is_none() || list.len() <= LISTED_MAX);
        let diagnostic = near.into_iter().fold(self, Diagnostic::help);
        if is_shown { diagnostic.help(format!("{list_name}: {}", list.join(", "))) } else { diagnostic }
    }
}

/// Collects diagnostics, and the texts that they point into.
#[derive(Debug, Default)]
pub(super) struct Sink {
    origins: RefCell<Vec<Origin>>,
    list: RefCell<Vec<Diagnostic>>,
    /// Variables of the environment that a scenario may read, if not all.
    readable: Option<Vec<String>>,
}

impl Sink {
    /// For a scenario that may read these variables of the environment; `None`: all.
    pub(super) fn reading(variables: Option<Vec<String>>) -> Sink {
        Sink { readable: variables, ..Sink::default() }
    }

    /// Why a variable has no value, and the way out. Of one that must not be read it is not told whether it is set.
    pub(super) fn no_variable(&self, name: &str) -> (String, String) {
        if self.readable.as_ref().is_some_and(|readable| !readable.iter().any(|allowed| allowed == name)) {
            let title = format!("the environment variable `{name}` is not allowed, because the scenario is untrusted");
            return (title, format!("allow it by `--allow-env {name}`"));
        }
        (format!("the environment variable `{name}` is not set"), "set it".to_owned())
    }

    /// Adds a text; the number goes into [`At`].
    pub(super) fn origin(&self, name: impl Into<String>, text: impl Into<String>) -> usize {
        self.add(Origin { name: name.into(), text: text.into(), foreign: false, is_file: false })
    }

    /// Adds the text of a scenario; `is_file`: its name is the path of a file. `foreign` as in [`Sink::foreign_origin`].
    pub(super) fn scenario_origin(&self, name: impl Into<String>, text: impl Into<String>, foreign: bool, is_file: bool) -> usize {
        self.add(Origin { name: name.into(), text: text.into(), foreign, is_file })
    }

    /// Where a position is, if it is in a file.
    pub(super) fn place(&self, at: &At) -> Option<ScenarioPlace> {
        let origins = self.origins.borrow();
        let origin = &origins[at.origin];
        let place = || ScenarioPlace { file: origin.name.clone(), line: line_and_column(&origin.text, at).0 };
        origin.is_file.then(place)
    }

    /// Adds a text of which no error may show anything but a place.
    pub(super) fn foreign_origin(&self, name: impl Into<String>, text: impl Into<String>) -> usize {
        self.add(Origin { name: name.into(), text: text.into(), foreign: true, is_file: false })
    }

    fn add(&self, origin: Origin) -> usize {
        let mut origins = self.origins.borrow_mut();
        origins.push(origin);
        origins.len() - 1
    }

    /// The name of the text that a position is in, as it may be shown, and its line, from 1.
    pub(super) fn line(&self, at: &At) -> (String, usize) {
        let origins = self.origins.borrow();
        let origin = &origins[at.origin];
        (printable(&mask(Holder::Text, &origin.name)), origin.text[..at.start].matches('\n').count() + 1)
    }

    /// The text at a position.
    pub(super) fn source(&self, at: &At) -> String {
        self.origins.borrow()[at.origin].text[at.start..at.end].to_owned()
    }

    /// The position of a part of the text at `at`, or all of it where the file spells the text in another way.
    pub(super) fn inside(&self, at: &At, text: &str, part: &Range<usize>) -> At {
        match self.source(at).find(text) {
            Some(start) => At { origin: at.origin, start: at.start + start + part.start, end: at.start + start + part.end },
            None => at.clone(),
        }
    }

    pub(super) fn push(&self, diagnostic: Diagnostic) {
        self.list.borrow_mut().push(diagnostic);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// Everything that was found, in the order of the texts.
    ///
    /// `secrets`: what of it must not be shown.
    pub(super) fn into_errors(self, secrets: Secrets) -> Errors {
        let mut list = self.list.into_inner();
        list.sort_by(|a, b| a.at.cmp(&b.at));
        Errors { origins: self.origins.into_inner(), list, colour: false, secrets }
    }
}

/// Everything that is wrong with a scenario. Prints like a compiler's messages, with file, line, column and caret.
#[derive(Clone, Debug)]
pub struct Errors {
    origins: Vec<Origin>,
    list: Vec<Diagnostic>,
    colour: bool,
    secrets: Secrets,
}

impl Errors {
    /// Prints with terminal colours, or without, as it does unless told.
    pub fn coloured(mut self, colour: bool) -> Errors {
        self.colour = colour;
        self
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// Line and column, from 1.
    fn place(&self, at: &At) -> (usize, usize) {
        line_and_column(&self.origins[at.origin].text, at)
    }

    /// Each in one line, without secrets, and where it is if that is in a file: for CI services.
    pub fn in_lines(&self) -> Vec<(String, Option<ScenarioPlace>)> {
        let line = |one: &Diagnostic| {
            let origin = one.at.as_ref().map(|at| (&self.origins[at.origin], self.place(at)));
            let text = match &origin {
                Some((origin, (line, column))) if origin.foreign => {
                    format!("{}:{line}:{column}: this is wrong in a file that the scenario names", origin.name)
                }
                _ => {
                    let words = std::iter::once(&one.title).chain(Some(&one.label).filter(|label| !label.is_empty())).chain(&one.help);
                    words.map(String::as_str).collect::<Vec<_>>().join("; ")
                }
            };
            let place =
                origin.filter(|(origin, _)| origin.is_file).map(|(origin, (line, _))| ScenarioPlace { file: origin.name.clone(), line });
            (printable(&self.secrets.hide(&mask(Holder::Text, &text))), place)
        };
        self.list.iter().take(SHOWN).map(line).collect()
    }

    /// Title, line and column of each, 1-based; 0 where there is no text. For tests and for machines.
    pub fn summaries(&self) -> Vec<(&str, usize, usize)> {
        let summary = |one: &'_ Diagnostic| one.at.as_ref().map_or((0, 0), |at| self.place(at));
        self.list.iter().map(|one| (one.title.as_str(), summary(one).0, summary(one).1)).collect()
    }
}

/// Line and column of a position, from 1.
fn line_and_column(text: &str, at: &At) -> (usize, usize) {
    let before = &text[..at.start];
    let line = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line..].chars().count() + 1)
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let renderer = if self.colour { Renderer::styled() } else { Renderer::plain() };
        // Stars in place of secrets, so that all places stay what they are.
        let shown =
            |origin: &'_ Origin| (printable_in_place(&self.secrets.starred(&origin.text)), printable(&mask(Holder::Text, &origin.name)));
        let texts: Vec<_> = self.origins.iter().map(shown).collect();
        for (index, one) in self.list.iter().take(SHOWN).enumerate() {
            let helps: Vec<String> = one.help.iter().map(|help| printable_lines(&self.secrets.hide(help))).collect();
            let help: Vec<_> = helps.iter().map(|help| Level::HELP.message(help.as_str())).collect();
            let (title, label) =
                (printable(&self.secrets.hide(&one.title)), printable(&self.secrets.hide(&mask(Holder::Text, &one.label))));
            let title = Level::ERROR.primary_title(title.as_str());
            let group = match &one.at {
                Some(at) if self.origins[at.origin].foreign => {
                    // Title, label and help may all have words of it.
                    let (line, column) = self.place(at);
                    let (name, gap) = (&texts[at.origin].1, if index == 0 { "" } else { "\n\n" });
                    write!(
                        f,
                        "{gap}error: {name}:{line}:{column}: this is wrong in a file that the scenario names: what it says is not quoted here, `closestorm validate` of that file quotes it"
                    )?;
                    continue;
                }
                Some(at) => {
                    let mark = AnnotationKind::Primary.span(at.start..at.end).label(label.as_str());
                    let (text, name) = &texts[at.origin];
                    title.element(Snippet::source(text.as_str()).path(name.as_str()).annotation(mark)).elements(help)
                }
                None => title.elements(help),
            };
            let gap = if index == 0 { "" } else { "\n\n" };
            write!(f, "{gap}{}", renderer.render(&[group]))?;
        }
        match self.list.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            1 => write!(f, "\n\n1 more error is not shown"),
            more => write!(f, "\n\n{more} more errors are not shown"),
        }
    }
}

impl std::error::Error for Errors {}
