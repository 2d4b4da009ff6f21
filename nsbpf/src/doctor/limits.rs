//! How many namespaces and open files there may be.

use rustix::process::{Resource, getrlimit};

use super::finding::Finding;
use super::reading::{self, Reading, number};

const NAMESPACES: &str = "number of namespaces";
const FILES: &str = "open files of a process";
const ALL_FILES: &str = "open files of the host";
/// Namespaces of the lab that a host should carry.
const WANTED: u64 = 1000;
/// Each namespace takes two while a lab is built, and the rest takes some.
const FILES_WANTED: u64 = 2 * WANTED + 500;

pub(super) fn check() -> Vec<Finding> {
    let used = reading::text("/proc/sys/fs/file-nr").and_then(|text| {
        // In use, free (always 0), at most.
        match text.split_whitespace().next().map(str::parse) {
            Some(Ok(used)) => Reading::Is(used),
            _ => Reading::Unreadable(format!("/proc/sys/fs/file-nr: {text:?}")),
        }
    });
    vec![
        judge_namespaces(&number("/proc/sys/user/max_net_namespaces")),
        judge_files(getrlimit(Resource::Nofile).maximum, &number("/proc/sys/fs/nr_open")),
        judge_all_files(&number("/proc/sys/fs/file-max"), &used),
    ]
}

fn judge_namespaces(limit: &Reading<u64>) -> Finding {
    let limit = match limit {
        Reading::Is(limit) => *limit,
        Reading::Absent => {
            return Finding::problem(
                NAMESPACES,
                "there is no /proc/sys/user/max_net_namespaces: the kernel has no \
                 network namespaces",
                "a kernel with CONFIG_NET_NS=y",
            );
        }
        Reading::Unreadable(why) => return Finding::unknown(NAMESPACES, why),
    };
    let read = format!("user.max_net_namespaces = {limit}");
    let cure = format!("sysctl -w user.max_net_namespaces={}", 10 * WANTED);
    match limit {
        0 => Finding::problem(NAMESPACES, format!("{read}: none can be made"), cure),
        1..WANTED => {
            Finding::warning(NAMESPACES, format!("{read}: a lab of {WANTED} is refused"), cure)
        }
        _ => Finding::ok(NAMESPACES, read),
    }
}

/// `None` is no limit.
fn judge_files(hard: Option<u64>, ceiling: &Reading<u64>) -> Finding {
    let Some(hard) = hard.filter(|hard| *hard < FILES_WANTED) else {
        let read = hard.map_or_else(|| "not limited".to_owned(), |hard| hard.to_string());
        return Finding::ok(FILES, format!("hard limit (ulimit -Hn): {read}"));
    };
    let cause = format!(
        "the hard limit (ulimit -Hn) is {hard}: enough for a lab of some {} namespaces",
        hard.saturating_sub(500) / 2
    );
    // A limit cannot be raised above the kernel's.
    let first = match ceiling.value() {
        Some(ceiling) if *ceiling < FILES_WANTED => "sysctl -w fs.nr_open=1048576, and then ",
        _ => "",
    };
    let cure = format!(
        "{first}prlimit --pid $$ --nofile=65536 in the shell that starts nsbpf, or \
         LimitNOFILE=65536 in its unit"
    );
    Finding::warning(FILES, cause, cure)
}

fn judge_all_files(limit: &Reading<u64>, used: &Reading<u64>) -> Finding {
    let (limit, used) = match (limit, used) {
        (Reading::Is(limit), Reading::Is(used)) => (*limit, *used),
        (Reading::Unreadable(why), _) | (_, Reading::Unreadable(why)) => {
            return Finding::unknown(ALL_FILES, why);
        }
        _ => return Finding::unknown(ALL_FILES, "there is no /proc/sys/fs/file-max"),
    };
    let read = format!("fs.file-max = {limit}, of which {used} are open");
    if limit.saturating_sub(used) >= FILES_WANTED {
        return Finding::ok(ALL_FILES, read);
    }
    let more = used.saturating_add(FILES_WANTED).next_power_of_two();
    Finding::warning(
        ALL_FILES,
        format!("{read}: a lab of {WANTED} namespaces takes {FILES_WANTED} while it is built"),
        format!("sysctl -w fs.file-max={more}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    #[test]
    fn namespaces_are_counted_against_a_large_lab() {
        let severity = |limit| judge_namespaces(&Reading::Is(limit)).severity;
        assert_eq!(severity(0), Severity::Problem);
        assert_eq!(severity(999), Severity::Warning);
        assert_eq!(severity(1000), Severity::Ok);
        assert_eq!(judge_namespaces(&Reading::Absent).severity, Severity::Problem);
    }

    #[test]
    fn a_process_limit_is_raised_below_the_kernels_ceiling() {
        let low = judge_files(Some(1024), &Reading::Is(1_048_576));
        assert_eq!(low.severity, Severity::Warning);
        assert!(low.cause.contains("some 262 namespaces"), "{}", low.cause);
        assert!(low.cure.unwrap().starts_with("prlimit "));
        let lower = judge_files(Some(1024), &Reading::Is(2000)).cure.unwrap();
        assert!(lower.starts_with("sysctl -w fs.nr_open=1048576, and then prlimit "), "{lower}");
        assert_eq!(judge_files(None, &Reading::Absent).severity, Severity::Ok);
        assert_eq!(judge_files(Some(2500), &Reading::Absent).severity, Severity::Ok);
    }

    #[test]
    fn what_others_have_open_counts() {
        let judge = |limit, used| judge_all_files(&Reading::Is(limit), &Reading::Is(used));
        assert_eq!(judge(100_000, 4_000).severity, Severity::Ok);
        let full = judge(100_000, 99_000);
        assert_eq!(full.severity, Severity::Warning);
        assert_eq!(full.cure.unwrap(), "sysctl -w fs.file-max=131072");
    }
}
