//! What was expected and what was seen, as a person reads it.

use std::fmt::Write as _;

use crate::observe::expectations::{ExpectationReport, FailureReport};
use crate::observe::matrix::{Cell, MatrixReport};

/// Failures that are named each for itself at most, of an expectation.
const SHOWN: usize = 5;
/// Failing pairs that are named each for itself at most.
const PAIRS_SHOWN: usize = 20;
/// Namespaces that a matrix is drawn for at most.
const COLUMNS: usize = 40;

/// A line an expectation, what is wrong below it, and a line of counts; empty
/// when nothing is expected.
pub(super) fn verdicts(reports: &[ExpectationReport]) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    for report in reports {
        let _ = writeln!(text, "{}", verdict(report));
    }
    if !reports.is_empty() {
        let met = reports.iter().filter(|report| report.met).count();
        let _ = writeln!(text, "{met} of {} as expected", plural(reports.len(), "expectation"));
    }
    text
}

fn verdict(report: &ExpectationReport) -> String {
    let ExpectationReport { from, to, way, reach, because, met, tried, failures } = report;
    let sign = if *met { "ok  " } else { "FAIL" };
    let arrow = if *reach { "→" } else { "↛" };
    let mut text = format!("{sign} {from} {arrow} {to}, {way}");
    if *tried > 1 {
        let good = tried - failures.len();
        let _ = write!(text, " ({good}/{tried})");
    }
    if let Some(because) = because {
        let _ = write!(text, ": {because}");
    }
    for FailureReport { from, to, address, seen, hint } in failures.iter().take(SHOWN) {
        let to = to.as_ref().map_or(String::new(), |to| format!("{to} "));
        let seen =
            if *reach { seen.clone() } else { format!("expected not to be reached; {seen}") };
        let _ = write!(text, "\n       {from} → {to}{address}: {seen}");
        if let Some(hint) = hint {
            let _ = write!(text, " ({hint})");
        }
    }
    if failures.len() > SHOWN {
        let _ = write!(text, "\n       and {} more", failures.len() - SHOWN);
    }
    text
}

/// The matrix, where it is small enough; counts; pairs that are not well.
pub(super) fn matrix_text(matrix: &MatrixReport) -> String {
    let MatrixReport { namespaces, pairs, tried, ok, partial, no, cells, failures } = matrix;
    let mut text = String::new();
    if namespaces.len() <= COLUMNS {
        text.push_str(&drawn(namespaces, cells));
    }
    let sample = if tried == pairs { String::new() } else { format!(" of {pairs}") };
    let _ = writeln!(
        text,
        "{}{sample} pinged: {ok} ok, {partial} partial, {no} no answer",
        plural(*tried, "pair")
    );
    for pair in failures.iter().take(PAIRS_SHOWN) {
        let silent: Vec<String> = pair
            .silent
            .iter()
            .map(|silent| format!("{} {}", silent.address, silent.seen))
            .collect();
        let _ = writeln!(text, "  {} → {}: {}", pair.from, pair.to, silent.join("; "));
    }
    if failures.len() > PAIRS_SHOWN {
        let more = failures.len() - PAIRS_SHOWN;
        let _ = writeln!(text, "  and {more} more: `--format json` names all");
    }
    text
}

/// Columns are numbered: forty names would not fit beside each other.
fn drawn(namespaces: &[String], cells: &[Vec<Option<Cell>>]) -> String {
    let width = namespaces.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut text = format!("{:>width$}    ", "from \\ to", width = width.max(9));
    let width = width.max(9);
    for column in 1..=namespaces.len() {
        let _ = write!(text, " {column:>2}");
    }
    text.push('\n');
    for (row, (name, cells)) in (1..).zip(namespaces.iter().zip(cells)) {
        let _ = write!(text, "{name:>width$} {row:>2} ");
        for cell in cells {
            let sign = match cell {
                Some(Cell::Ok) => "ok",
                Some(Cell::Partial) => "~",
                Some(Cell::No) => "NO",
                None => "·",
            };
            let _ = write!(text, " {sign:>2}");
        }
        text.push('\n');
    }
    text
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> ExpectationReport {
        ExpectationReport {
            from: "left".to_owned(),
            to: "right".to_owned(),
            way: "ping".to_owned(),
            reach: true,
            because: Some("they are neighbours".to_owned()),
            met: true,
            tried: 2,
            failures: Vec::new(),
        }
    }

    #[test]
    fn a_line_an_expectation() {
        let text = verdicts(&[report()]);
        assert_eq!(
            text,
            "ok   left → right, ping (2/2): they are neighbours\n1 of 1 expectation as expected\n"
        );
        assert_eq!(verdicts(&[]), "");
    }

    #[test]
    fn a_failure_says_who_where_and_what() {
        let failure = FailureReport {
            from: "left".to_owned(),
            to: Some("right".to_owned()),
            address: "10.0.0.2".parse().unwrap(),
            seen: "no answer in 5 s".to_owned(),
            hint: Some("look there".to_owned()),
        };
        let failed =
            ExpectationReport { met: false, failures: vec![failure; 7], tried: 7, ..report() };
        let text = verdicts(&[failed]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "FAIL left → right, ping (0/7): they are neighbours");
        assert_eq!(lines[1], "       left → right 10.0.0.2: no answer in 5 s (look there)");
        assert_eq!(lines[6..], ["       and 2 more", "0 of 1 expectation as expected"]);
    }

    #[test]
    fn a_matrix_is_drawn_row_by_row() {
        let text = drawn(
            &["a".to_owned(), "b".to_owned()],
            &[vec![None, Some(Cell::Ok)], vec![Some(Cell::No), None]],
        );
        assert_eq!(text, "from \\ to      1  2\n        a  1   · ok\n        b  2  NO  ·\n");
    }
}
