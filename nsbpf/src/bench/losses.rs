//! Where packets get lost: the kernel's own counters along a path, before and after.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use super::snmp::{counter_of, counter6_of};
use super::testbed::{Side, Testbed};
use super::{BenchError, io_error};
use crate::net::{Netlink, link, traffic};

/// Counters by the name of their place.
pub(super) type Losses = BTreeMap<String, u64>;

/// What tells of packets that a namespace did not take, or of segments that TCP sent
/// again: `/proc/net/snmp` and `/proc/net/netstat`, and the same of IPv6 in `/proc/net/snmp6`
/// under other names.
const COUNTERS: [(&str, &[&str]); 4] = [
    ("Ip", &["InHdrErrors", "InAddrErrors", "InDiscards", "OutDiscards", "OutNoRoutes"]),
    ("Udp", &["NoPorts", "RcvbufErrors", "SndbufErrors", "InCsumErrors", "MemErrors"]),
    ("Tcp", &["RetransSegs", "InErrs", "InCsumErrors"]),
    ("TcpExt", &["TCPBacklogDrop", "TCPRcvQDrop", "RcvPruned", "OfoPruned", "ListenDrops"]),
];

/// All counters of a path that have counted anything. They count from before it was there.
pub(super) fn look(testbed: &mut Testbed) -> Result<Losses, BenchError> {
    let mut losses = Losses::new();
    let Testbed { sender, receiver, router, .. } = testbed;
    for side in [sender, receiver].into_iter().chain(router) {
        in_namespace(side, &mut losses)?;
    }
    let failed = |source| BenchError::Links { of: "the host".to_owned(), source };
    let mut host = Netlink::open().map_err(failed)?;
    of_links(&mut host, "host", &mut losses).map_err(failed)?;
    let softnet = fs::read_to_string("/proc/net/softnet_stat")
        .map_err(io_error("read /proc/net/softnet_stat"))?;
    losses.insert("host, backlog of a processor: dropped".to_owned(), backlog(&softnet));
    losses.insert("datapath: dropped".to_owned(), testbed.dropped()?);
    losses.retain(|_, count| *count > 0);
    Ok(losses)
}

/// What came to it since.
pub(super) fn since(now: Losses, before: &Losses) -> Losses {
    let mut since = now;
    for (place, count) in &mut since {
        *count = count.saturating_sub(before.get(place).copied().unwrap_or_default());
    }
    since.retain(|_, count| *count > 0);
    since
}

fn in_namespace(side: &mut Side, losses: &mut Losses) -> Result<(), BenchError> {
    let Side { name, netlink, netns, .. } = side;
    of_links(netlink, name, losses)
        .map_err(|source| BenchError::Links { of: format!("namespace {name}"), source })?;
    let read = || {
        let mut snmp = fs::read_to_string("/proc/thread-self/net/snmp")?;
        snmp += &fs::read_to_string("/proc/thread-self/net/netstat")?;
        // Not there where IPv6 is off.
        let snmp6 = fs::read_to_string("/proc/thread-self/net/snmp6").unwrap_or_default();
        Ok::<_, io::Error>((snmp, snmp6))
    };
    let (snmp, snmp6) = netns
        .run(read)
        .and_then(|read| read)
        .map_err(io_error(format!("read the counters of namespace {name}")))?;
    for (protocol, names) in COUNTERS {
        for counter in names {
            let v4 = counter_of(&snmp, protocol, counter);
            let v6 = counter6_of(&snmp6, &format!("{protocol}6{counter}"));
            for (place, count) in
                [(format!("{protocol}: {counter}"), v4), (format!("{protocol}6: {counter}"), v6)]
            {
                losses.insert(format!("{name}, {place}"), count.unwrap_or_default());
            }
        }
    }
    Ok(())
}

fn of_links(
    netlink: &mut Netlink,
    namespace: &str,
    losses: &mut Losses,
) -> Result<(), crate::net::NetlinkError> {
    let names: BTreeMap<u32, String> =
        link::list(netlink)?.into_iter().map(|link| (link.ifindex, link.name)).collect();
    for counted in traffic::losses(netlink)? {
        let Some(name) = names.get(&counted.ifindex) else { continue };
        for (what, count) in counted.counters() {
            losses.insert(format!("{namespace}, {name}: {what}"), count);
        }
    }
    Ok(())
}

/// A line a processor; the second column is what found its queue full (`softnet_seq_show`,
/// Linux 6.18).
fn backlog(softnet: &str) -> u64 {
    let dropped = |line: &str| {
        line.split_whitespace().nth(1).and_then(|column| u64::from_str_radix(column, 16).ok())
    };
    softnet.lines().filter_map(dropped).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_found_its_queue_full_is_summed() {
        assert_eq!(backlog("0000a 00000002 0\n00001 00000010 0\n"), 18);
    }

    #[test]
    fn only_what_was_lost_meanwhile_is_told() {
        let losses = |pairs: &[(&str, u64)]| -> Losses {
            pairs.iter().map(|(place, count)| ((*place).to_owned(), *count)).collect()
        };
        let before = losses(&[("a", 3), ("b", 5)]);
        let now = losses(&[("a", 3), ("b", 9), ("c", 1)]);
        assert_eq!(since(now, &before), losses(&[("b", 4), ("c", 1)]));
    }
}
