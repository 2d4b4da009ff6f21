//! Tables and queues that all namespaces of a host share, and that large labs
//! fill.

use super::finding::Finding;
use super::reading::{self, Reading, hexadecimal_column, sysctl};

const BACKLOG: &str = "receive backlog";
/// Namespaces of the lab that a host should carry.
const NAMESPACES: u64 = 1000;
/// Neighbour entries a namespace: it and a gateway know each other, so do two
/// that talk, and IPv6 keeps some for multicast. 1,000 namespaces that said
/// nothing had 900 IPv6 entries.
const ENTRIES: u64 = 4;
/// A broadcast is copied to all ports of a bridge (1,023 at most) in one go, into
/// one processor's queue. With the kernel's 1,000, 999 ARP requests on a bridge
/// of 1,000 ports lost some 8,000 of their copies.
const ROOM: u64 = 4096;

/// The table of one family.
#[derive(Debug)]
struct Neighbours {
    subject: &'static str,
    /// Prefix of its settings.
    settings: &'static str,
    /// Its statistics.
    statistics: &'static str,
}

const TABLES: [Neighbours; 2] = [
    Neighbours {
        subject: "IPv4 neighbour table",
        settings: "net.ipv4.neigh.default",
        statistics: "/proc/thread-self/net/stat/arp_cache",
    },
    Neighbours {
        subject: "IPv6 neighbour table",
        settings: "net.ipv6.neigh.default",
        statistics: "/proc/thread-self/net/stat/ndisc_cache",
    },
];

pub(super) fn check() -> Vec<Finding> {
    let mut findings: Vec<Finding> = TABLES.iter().map(check_neighbours).collect();
    let dropped = reading::text("/proc/thread-self/net/softnet_stat")
        .and_then(|text| Reading::Is(hexadecimal_column(&text, 1)));
    findings.push(judge_backlog(&sysctl("net.core.netdev_max_backlog"), &dropped));
    findings
}

fn check_neighbours(table: &Neighbours) -> Finding {
    let [first, second, third] =
        ["1", "2", "3"].map(|which| sysctl(&format!("{}.gc_thresh{which}", table.settings)));
    // The last column is how often the table was full.
    let full = reading::text(table.statistics).and_then(|text| {
        let columns = text.lines().next().unwrap_or_default().split_whitespace();
        match columns.clone().position(|column| column == "table_fulls") {
            Some(column) => Reading::Is(hexadecimal_column(&text, column)),
            None => Reading::Absent,
        }
    });
    let full = full.value().copied().unwrap_or_default();
    let limits = first.and_then(|first| {
        second.and_then(|second| third.and_then(|third| Reading::Is([first, second, third])))
    });
    judge_neighbours(table, &limits, full)
}

/// Beyond the third limit no entry is made and packets are dropped; beyond the
/// second each new entry may throw others out; below the first none is thrown out
/// (`neigh_alloc`, `neigh_forced_gc`, `neigh_periodic_work`, Linux 6.18). The
/// table is one for all namespaces.
fn judge_neighbours(table: &Neighbours, limits: &Reading<[u64; 3]>, full: u64) -> Finding {
    let Neighbours { subject, settings, statistics: _ } = table;
    let [first, second, third] = match limits {
        Reading::Is(limits) => *limits,
        Reading::Absent => {
            return Finding::unknown(subject, hidden(&format!("{settings}.gc_thresh…")));
        }
        Reading::Unreadable(why) => return Finding::unknown(subject, why),
    };
    let read = format!("{settings}.gc_thresh1/2/3 = {first}/{second}/{third}");
    let needed = NAMESPACES * ENTRIES;
    let read = match full {
        0 => read,
        full => format!("{read}; the table was full {full} times since the host started"),
    };
    if second >= needed && third >= needed {
        return Finding::ok(subject, read);
    }
    let enough = second.min(third) / ENTRIES;
    let third = third.max(2 * needed);
    let second = second.max(needed);
    let first = first.max(needed / 4);
    Finding::warning(
        subject,
        format!(
            "{read}. All namespaces share it: enough for some {enough}; beyond that packets wait \
             for addresses that were just forgotten, or are dropped"
        ),
        format!(
            "sysctl -w {settings}.gc_thresh3={third} {settings}.gc_thresh2={second} \
             {settings}.gc_thresh1={first}"
        ),
    )
}

/// What crosses a veth pair waits in a queue of the processor it is on
/// (`netif_rx`), and is dropped where that is full (`enqueue_to_backlog`, Linux
/// 6.18).
fn judge_backlog(limit: &Reading<u64>, dropped: &Reading<u64>) -> Finding {
    let dropped = match dropped {
        Reading::Is(dropped) => *dropped,
        Reading::Absent => 0,
        Reading::Unreadable(why) => return Finding::unknown(BACKLOG, why),
    };
    let lost = match dropped {
        0 => String::new(),
        dropped => format!("; {dropped} frames were dropped since the host started"),
    };
    match limit {
        Reading::Unreadable(why) => Finding::unknown(BACKLOG, why),
        Reading::Absent => Finding::unknown(BACKLOG, hidden("net.core.netdev_max_backlog") + &lost),
        Reading::Is(limit) if *limit >= ROOM => {
            Finding::ok(BACKLOG, format!("net.core.netdev_max_backlog = {limit}{lost}"))
        }
        Reading::Is(limit) => Finding::warning(
            BACKLOG,
            format!(
                "net.core.netdev_max_backlog = {limit} frames a processor: a broadcast on a \
                 bridge is as many as it has ports, and what finds no room is dropped{lost}"
            ),
            format!("sysctl -w net.core.netdev_max_backlog={ROOM}"),
        ),
    }
}

fn hidden(what: &str) -> String {
    format!("{what} shows in the host's own network namespace only: run `nsbpf doctor` there")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    fn neighbours(limits: [u64; 3], full: u64) -> Finding {
        judge_neighbours(&TABLES[0], &Reading::Is(limits), full)
    }

    #[test]
    fn the_kernels_own_limits_are_for_small_labs() {
        let finding = neighbours([128, 512, 1024], 0);
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.cause.contains("some 128;"), "{}", finding.cause);
        assert_eq!(
            finding.cure.unwrap(),
            "sysctl -w net.ipv4.neigh.default.gc_thresh3=8000 \
             net.ipv4.neigh.default.gc_thresh2=4000 net.ipv4.neigh.default.gc_thresh1=1000"
        );
    }

    #[test]
    fn what_the_cure_sets_is_enough() {
        let cured = neighbours([1000, 4000, 8000], 7);
        assert_eq!(cured.severity, Severity::Ok);
        assert!(cured.cause.contains("was full 7 times"), "{}", cured.cause);
    }

    #[test]
    fn limits_that_do_not_show_are_not_guessed() {
        let finding = judge_neighbours(&TABLES[1], &Reading::Absent, 0);
        assert_eq!(finding.severity, Severity::Unknown);
    }

    #[test]
    fn a_backlog_has_room_for_a_broadcast_or_not() {
        let judge = |limit, dropped| judge_backlog(&limit, &Reading::Is(dropped));
        let small = judge(Reading::Is(1000), 9);
        assert_eq!(small.severity, Severity::Warning);
        assert!(small.cause.contains("9 frames were dropped"), "{}", small.cause);
        assert_eq!(small.cure.unwrap(), "sysctl -w net.core.netdev_max_backlog=4096");
        assert_eq!(judge(Reading::Is(4096), 9).severity, Severity::Ok);
        assert_eq!(judge(Reading::Absent, 0).severity, Severity::Unknown);
    }
}
