//! `nsbpf doctor`: what on this host would eat or slow the traffic of labs.

use std::fmt::Write as _;

use clap::Args;

use super::exit::FoundProblems;
use super::privilege;
use super::say::say;
use super::view::Format;
use crate::doctor::{Finding, Severity, examine};

/// Look for what on this host would eat or slow the traffic of labs
///
/// Each finding says what was read where, and what helps. Nothing is changed.
/// Without root it looks at less, and says at what not.
///
/// Exit code 0 when nothing would eat traffic, whatever is slow; 1 when there is
/// a problem: packets are lost, or no lab can be built.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// How to show findings
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Doctor {
    pub(super) fn run(self) -> anyhow::Result<()> {
        privilege::raise_memory_limit();
        let findings = examine();
        match self.format {
            Format::Json => {
                for finding in &findings {
                    say(&serde_json::to_string(finding)?)?;
                }
            }
            Format::Table => say(&text(&findings))?,
        }
        if findings.iter().any(|finding| finding.severity == Severity::Problem) {
            return Err(FoundProblems.into());
        }
        Ok(())
    }
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { severity, subject, cause, cure } in findings {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:<8} {subject}: {cause}", severity.word());
        if let Some(cure) = cure {
            let _ = writeln!(text, "         cure: {cure}");
        }
    }
    text + &tally(findings)
}

/// `1 problem, 2 warnings, 0 unknown, 17 ok`
fn tally(findings: &[Finding]) -> String {
    [Severity::Problem, Severity::Warning, Severity::Unknown, Severity::Ok]
        .map(|severity| {
            let count = findings.iter().filter(|finding| finding.severity == severity).count();
            let countable = matches!(severity, Severity::Problem | Severity::Warning);
            let plural = if countable && count != 1 { "s" } else { "" };
            format!("{count} {}{plural}", severity.word())
        })
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_line_each_and_a_tally() {
        let finding = |severity, cure: Option<&str>| Finding {
            severity,
            subject: "thing",
            cause: "it is so".to_owned(),
            cure: cure.map(str::to_owned),
        };
        let findings = [
            finding(Severity::Problem, Some("do this")),
            finding(Severity::Ok, None),
            finding(Severity::Ok, None),
        ];
        assert_eq!(
            text(&findings),
            "problem  thing: it is so\n         cure: do this\nok       thing: it is so\n\
             ok       thing: it is so\n1 problem, 0 warnings, 0 unknown, 2 ok"
        );
    }
}
