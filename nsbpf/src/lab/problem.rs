//! What is wrong with a lab, shown at its place.

use std::fmt;
use std::io::IsTerminal;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde_saphyr::Location;

use super::name::NameError;

/// Problems that are shown at most: what else is wrong is counted. A file of 16 MiB
/// can hold a mistake in every line.
const SHOWN: usize = 100;
/// Words that are listed at most where any of them would be right.
const LISTED: usize = 10;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// What, in a sentence without a full stop.
    pub(super) title: String,
    /// Where; `None` for the whole file.
    pub(super) location: Option<Location>,
    /// What to say right at the place.
    pub(super) label: String,
    /// What would be right.
    pub(super) help: Option<String>,
}

impl Problem {
    pub(super) fn new(title: String, location: Location) -> Self {
        let location = (location != Location::UNKNOWN).then_some(location);
        Self { title: printable(title), location, label: String::new(), help: None }
    }

    /// A text that was typed for the name of `what`, and cannot be it.
    pub(super) fn name(typed: &str, what: &str, location: Location, why: NameError) -> Self {
        Self::new(format!("`{typed}` cannot be the name of {what}"), location)
            .label(why.to_string())
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(printable(help.into()));
        self
    }

    pub(super) fn help_if(self, help: Option<String>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }
}

/// A text that quotes the file, without what a terminal would take for more than
/// a character.
fn printable(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

/// The nearest of the right words, as help for the next problem; `None` where so
/// many were found before that nobody sees it.
pub(super) fn nearest_if_seen<'a>(
    problems: &[Problem],
    word: &str,
    right: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    if problems.len() < SHOWN { nearest(word, right) } else { None }
}

/// Words as a list that has an end.
pub(super) fn listed<T: fmt::Display>(words: impl IntoIterator<Item = T>) -> String {
    let mut words = words.into_iter();
    let first: Vec<String> = words.by_ref().take(LISTED).map(|word| word.to_string()).collect();
    let more = if words.next().is_some() { ", …" } else { "" };
    format!("{}{more}", first.join(", "))
}

/// The nearest of the right words, as help.
pub(crate) fn nearest<'a>(word: &str, right: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let right: Vec<&str> = right.into_iter().collect();
    let (distance, best) = right
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)?;
    if distance <= (word.chars().count() / 3).max(1) {
        return Some(format!("did you mean `{best}`?"));
    }
    let right = listed(right.iter().map(|candidate| format!("`{candidate}`")));
    Some(format!("possible here: {right}"))
}

/// A lab that cannot be: all that is wrong with it.
#[derive(Debug)]
pub struct LabError {
    source: String,
    file: String,
    problems: Vec<Problem>,
}

impl LabError {
    pub(super) fn new(source: &str, file: &str, problems: Vec<Problem>) -> Self {
        Self { source: source.to_owned(), file: file.to_owned(), problems }
    }

    /// Every problem with an excerpt, as a person reads it; coloured when
    /// standard error is a terminal.
    #[must_use]
    pub fn render(&self) -> String {
        let styled = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let lines = Lines::of(&self.source);
        let mut shown: Vec<String> = self
            .problems
            .iter()
            .take(SHOWN)
            .map(|problem| {
                let (row, line, span) = match problem.location {
                    Some(location) => lines.excerpt(location),
                    None => (1, lines.0.first().copied().unwrap_or_default(), 0..0),
                };
                let annotation = AnnotationKind::Primary.span(span).label(problem.label.as_str());
                let snippet =
                    Snippet::source(line).line_start(row).path(&self.file).annotation(annotation);
                let mut group = Level::ERROR.primary_title(problem.title.as_str()).element(snippet);
                if let Some(help) = &problem.help {
                    group = group.element(Level::HELP.message(help.as_str()));
                }
                renderer.render(&[group])
            })
            .collect();
        shown.extend(self.not_shown());
        shown.join("\n\n")
    }

    fn not_shown(&self) -> Option<String> {
        let more = self.problems.len().saturating_sub(SHOWN);
        (more > 0).then(|| format!("{}: and {more} more", self.file))
    }
}

impl fmt::Display for LabError {
    /// One line a problem: `file:line:column: what; help`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.problems.iter().take(SHOWN).enumerate() {
            if place > 0 {
                writeln!(formatter)?;
            }
            write!(formatter, "{}", self.file)?;
            if let Some(location) = problem.location {
                write!(formatter, ":{}:{}", location.line(), location.column())?;
            }
            write!(formatter, ": {}", problem.title)?;
            if let Some(help) = &problem.help {
                write!(formatter, "; {help}")?;
            }
        }
        match self.not_shown() {
            Some(more) => write!(formatter, "\n{more}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LabError {}

/// The lines of a source, as YAML ends them: by a line feed, a carriage return or
/// both (YAML 1.2.2, section 5.4).
struct Lines<'a>(Vec<&'a str>);

impl<'a> Lines<'a> {
    fn of(source: &'a str) -> Self {
        let lines =
            source.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'));
        Self(lines.collect())
    }

    /// The number of the line that a location is in, that line, and the bytes of
    /// it that the location covers. Locations count lines and characters from 1.
    fn excerpt(&self, location: Location) -> (usize, &'a str, Range<usize>) {
        let number = |counted: u64| usize::try_from(counted).unwrap_or(1).max(1);
        let (row, column) = (number(location.line()), number(location.column()));
        let line = self.0.get(row - 1).copied().unwrap_or_default();
        let after = |from: usize, characters: usize| {
            line[from..].char_indices().nth(characters).map_or(line.len(), |(at, _)| from + at)
        };
        let start = after(0, column - 1);
        let length = usize::try_from(location.span().len()).unwrap_or(1).max(1);
        (row, line, start..after(start, length))
    }
}
