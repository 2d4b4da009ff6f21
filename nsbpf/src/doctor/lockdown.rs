//! Kernel lockdown: what it forbids even to root.

use super::finding::Finding;
use super::reading::{Reading, text};

const SUBJECT: &str = "lockdown";
const FILE: &str = "/sys/kernel/security/lockdown";

pub(super) fn check() -> Vec<Finding> {
    vec![judge(&text(FILE))]
}

/// The file names all modes, and the one that is on in brackets.
fn judge(modes: &Reading<String>) -> Finding {
    let modes = match modes {
        Reading::Is(modes) => modes,
        Reading::Absent => {
            return Finding::ok(SUBJECT, format!("there is no {FILE}: not built in, or not shown"));
        }
        Reading::Unreadable(why) => return Finding::unknown(SUBJECT, why),
    };
    let mode = modes.split_whitespace().find_map(|mode| mode.strip_prefix('[')?.strip_suffix(']'));
    match mode {
        Some("confidentiality") => Finding::warning(
            SUBJECT,
            format!(
                "{FILE} says confidentiality: programs that read the kernel's memory are \
                 refused; counters are not"
            ),
            "start the kernel with lockdown=integrity, where the firmware's secure boot lets you",
        ),
        Some(mode) => Finding::ok(SUBJECT, mode),
        None => Finding::unknown(SUBJECT, format!("{FILE} says {modes:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    #[test]
    fn the_mode_in_brackets_counts() {
        let severity = |text: &str| judge(&Reading::Is(text.to_owned())).severity;
        assert_eq!(severity("[none] integrity confidentiality"), Severity::Ok);
        assert_eq!(severity("none [integrity] confidentiality"), Severity::Ok);
        assert_eq!(severity("none integrity [confidentiality]"), Severity::Warning);
        assert_eq!(severity("none"), Severity::Unknown);
        assert_eq!(judge(&Reading::Absent).severity, Severity::Ok);
    }
}
