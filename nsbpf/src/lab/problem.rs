//! What is wrong with a lab, shown at its place.

use std::fmt;
use std::io::IsTerminal;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde_saphyr::Location;

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
        Self { title, location, label: String::new(), help: None }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn help_if(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
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
    let listed: Vec<String> =
        right.iter().take(10).map(|candidate| format!("`{candidate}`")).collect();
    let more = if right.len() > 10 { ", …" } else { "" };
    Some(format!("possible here: {}{more}", listed.join(", ")))
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
        let shown: Vec<String> = self
            .problems
            .iter()
            .map(|problem| {
                let span =
                    problem.location.map_or(0..0, |location| byte_span(&self.source, location));
                let annotation = AnnotationKind::Primary.span(span).label(problem.label.as_str());
                let snippet = Snippet::source(&self.source).path(&self.file).annotation(annotation);
                let mut group = Level::ERROR.primary_title(problem.title.as_str()).element(snippet);
                if let Some(help) = &problem.help {
                    group = group.element(Level::HELP.message(help.as_str()));
                }
                renderer.render(&[group])
            })
            .collect();
        shown.join("\n\n")
    }
}

impl fmt::Display for LabError {
    /// One line a problem: `file:line:column: what; help`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.problems.iter().enumerate() {
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
        Ok(())
    }
}

impl std::error::Error for LabError {}

/// The bytes of the source that a location covers. Locations count lines and
/// characters from 1.
fn byte_span(source: &str, location: Location) -> Range<usize> {
    let line = usize::try_from(location.line()).unwrap_or(1).max(1) - 1;
    let column = usize::try_from(location.column()).unwrap_or(1).max(1) - 1;
    let line_start: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    let after = |from: usize, characters: usize| {
        source[from..].char_indices().nth(characters).map_or(source.len(), |(at, _)| from + at)
    };
    let start = after(line_start, column);
    let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
    let length = usize::try_from(location.span().len()).unwrap_or(1).max(1);
    start..after(start, length).clamp(start, line_end)
}
