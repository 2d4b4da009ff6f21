//! The counters of a namespace's protocols: `/proc/net/snmp`, `/proc/net/netstat` and
//! `/proc/net/snmp6`.

/// A line of `/proc/net/snmp` names the columns, the next one has them.
pub(super) fn counter_of(snmp: &str, protocol: &str, counter: &str) -> Option<u64> {
    let of_protocol = |line: &'_ str| {
        line.split_once(": ").filter(|(name, _)| *name == protocol).map(|(_, rest)| rest.to_owned())
    };
    let mut lines = snmp.lines().filter_map(of_protocol);
    let (names, values) = (lines.next()?, lines.next()?);
    let mut columns = names.split_whitespace().zip(values.split_whitespace());
    columns.find(|(name, _)| *name == counter)?.1.parse().ok()
}

/// A line of `/proc/net/snmp6` has a name and a number.
pub(super) fn counter6_of(snmp6: &str, counter: &str) -> Option<u64> {
    let mut lines = snmp6.lines().filter_map(|line| line.split_once(char::is_whitespace));
    lines.find(|(name, _)| *name == counter)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_their_names() {
        let snmp = "Ip: Forwarding InReceives InDelivers\nIp: 2 71 70\nIcmp: InMsgs\nIcmp: 3\n";
        assert_eq!(counter_of(snmp, "Ip", "InDelivers"), Some(70));
        assert_eq!(counter_of(snmp, "Ip", "InMsgs"), None);
        assert_eq!(counter_of(snmp, "Icmp", "InMsgs"), Some(3));
        let snmp6 = "Ip6InReceives                   \t5\nIp6InDelivers          \t17\n";
        assert_eq!(counter6_of(snmp6, "Ip6InDelivers"), Some(17));
        assert_eq!(counter6_of(snmp6, "Ip6In"), None);
    }
}
