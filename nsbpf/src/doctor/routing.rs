//! What decides about routed packets: the reverse path filter and forwarding.

use super::finding::Finding;
use super::reading::{Reading, sysctl};

const REVERSE_PATH: &str = "reverse path filter";
const FORWARDING: &str = "forwarding";
const STRICT: u64 = 1;

pub(super) fn check() -> Vec<Finding> {
    let filter = |of| sysctl(&format!("net.ipv4.conf.{of}.rp_filter"));
    vec![
        judge_reverse_path(&filter("all"), &filter("default")),
        judge_forwarding(&sysctl("net.ipv4.ip_forward"), &sysctl("net.ipv6.conf.all.forwarding")),
    ]
}

/// An interface filters by the larger of `all` and its own value, which is that
/// of `default` when it is born (`IN_DEV_RPFILTER`, Linux 6.18).
fn judge_reverse_path(all: &Reading<u64>, default: &Reading<u64>) -> Finding {
    let (all, default) = match (all, default) {
        (Reading::Is(all), Reading::Is(default)) => (*all, *default),
        (Reading::Unreadable(why), _) | (_, Reading::Unreadable(why)) => {
            return Finding::unknown(REVERSE_PATH, why);
        }
        _ => return Finding::unknown(REVERSE_PATH, "net.ipv4.conf has no rp_filter"),
    };
    let read = format!("net.ipv4.conf.all.rp_filter = {all}, default = {default}");
    if all.max(default) != STRICT {
        return Finding::ok(REVERSE_PATH, read);
    }
    let mut cure = Vec::new();
    for (name, value) in [("all", all), ("default", default)] {
        if value == STRICT {
            cure.push(format!("net.ipv4.conf.{name}.rp_filter=2"));
        }
    }
    Finding::warning(
        REVERSE_PATH,
        format!(
            "{read}: packets whose answer would leave by another interface are dropped, on this \
             host and in new namespaces, which begin with the host's values; labs with routers \
             and more than one way lose packets"
        ),
        format!("sysctl -w {}", cure.join(" ")),
    )
}

/// Labs without a way out need none, so that off is no fault.
fn judge_forwarding(ipv4: &Reading<u64>, ipv6: &Reading<u64>) -> Finding {
    let mut off = Vec::new();
    let names = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"];
    for (name, value) in names.into_iter().zip([ipv4, ipv6]) {
        match value {
            Reading::Unreadable(why) => return Finding::unknown(FORWARDING, why),
            Reading::Is(0) => off.push(name),
            Reading::Is(_) | Reading::Absent => {}
        }
    }
    if off.is_empty() {
        return Finding::ok(FORWARDING, "on");
    }
    let cure: Vec<String> = off.iter().map(|name| format!("{name}=1")).collect();
    let cause = format!(
        "{} = 0: nothing to labs, but a lab reaches nothing beyond this host",
        off.join(" and ")
    );
    Finding {
        cure: Some(format!("sysctl -w {}", cure.join(" "))),
        ..Finding::ok(FORWARDING, cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    #[test]
    fn the_larger_value_counts() {
        let judge = |all, default| judge_reverse_path(&Reading::Is(all), &Reading::Is(default));
        for (all, default) in [(0, 0), (2, 1), (1, 2), (0, 2)] {
            assert_eq!(judge(all, default).severity, Severity::Ok, "{all} {default}");
        }
        let cures = [
            (1, 0, "sysctl -w net.ipv4.conf.all.rp_filter=2"),
            (0, 1, "sysctl -w net.ipv4.conf.default.rp_filter=2"),
            (1, 1, "sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.default.rp_filter=2"),
        ];
        for (all, default, cure) in cures {
            let finding = judge(all, default);
            assert_eq!(finding.severity, Severity::Warning);
            assert_eq!(finding.cure.unwrap(), cure);
        }
    }

    #[test]
    fn forwarding_is_missed_only_by_uplinks() {
        let finding = judge_forwarding(&Reading::Is(0), &Reading::Is(1));
        assert_eq!(finding.severity, Severity::Ok);
        assert_eq!(finding.cure.unwrap(), "sysctl -w net.ipv4.ip_forward=1");
        assert_eq!(judge_forwarding(&Reading::Is(1), &Reading::Absent).cure, None);
    }
}
