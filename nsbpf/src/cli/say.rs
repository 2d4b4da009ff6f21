//! Sentences that several verbs say.

use std::io::{self, Write};
use std::time::Duration;

use crate::apply::TakenDown;
use crate::lab::{Lab, Name};
use crate::plan::Filtering;

/// Namespaces that are named each for itself at most.
const SHOWN: usize = 10;

/// Prints a line on standard output.
pub(super) fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// Warns on standard error of what a lab's fast paths have to do with packet filters.
pub(super) fn warn_of_filters(lab: &Name, filtering: &Filtering) -> io::Result<()> {
    for warning in filtering.warnings() {
        writeln!(io::stderr(), "warning: {lab}: {warning}")?;
    }
    Ok(())
}

/// Says that a lab is down, and what of it lives on.
pub(super) fn say_down<E>(
    lab: &Name,
    down: &TakenDown,
    mut say: impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let TakenDown { objects: _, took, lingering } = down;
    let took = millis(*took);
    if lingering.is_empty() {
        return say(&format!("{lab} is down after {took}: nothing of it is left"));
    }
    say(&format!("{lab} is down after {took}"))?;
    for lingering in lingering.iter().take(SHOWN) {
        say(&format!("warning: {lingering}"))?;
    }
    match lingering.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => say(&format!("warning: and so do {more} more namespaces")),
    }
}

/// A time in whole milliseconds.
pub(super) fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

/// So many of something.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// What a lab is made of, in numbers.
pub(super) fn size(lab: &Lab) -> String {
    [
        count(lab.namespaces.len(), "namespace"),
        count(lab.interfaces().count(), "interface"),
        count(lab.bridges.len(), "bridge"),
    ]
    .join(", ")
}
