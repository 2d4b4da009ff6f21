//! What a check says.

use serde::Serialize;

/// How bad it is. The order is that of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Packets of labs are lost, or no lab can be built.
    Problem,
    /// Something is slow, is passed by, or will be missing in larger labs or for some
    /// things.
    Warning,
    /// It could not be looked at.
    Unknown,
    /// Nothing is wrong.
    Ok,
}

impl Severity {
    /// As it is written in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Ok => "ok",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was looked at; the same words whatever was found.
    pub subject: &'static str,
    /// What was read where, and what follows from it.
    pub cause: String,
    /// The command or the setting that helps; `None` when nothing has to be done
    /// or nothing can.
    pub cure: Option<String>,
}

impl Finding {
    pub(super) fn problem(
        subject: &'static str,
        cause: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        let (cause, cure) = (cause.into(), Some(cure.into()));
        Self { severity: Severity::Problem, subject, cause, cure }
    }

    pub(super) fn warning(
        subject: &'static str,
        cause: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        let (cause, cure) = (cause.into(), Some(cure.into()));
        Self { severity: Severity::Warning, subject, cause, cure }
    }

    pub(super) fn unknown(subject: &'static str, why: impl Into<String>) -> Self {
        Self { severity: Severity::Unknown, subject, cause: why.into(), cure: None }
    }

    pub(super) fn ok(subject: &'static str, cause: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, subject, cause: cause.into(), cure: None }
    }
}
