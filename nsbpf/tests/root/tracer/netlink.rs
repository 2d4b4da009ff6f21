//! Which netlink messages change something.

/// Names of the messages of a datagram that change something.
pub(super) fn changes(protocol: i32, mut datagram: &[u8]) -> Vec<String> {
    let mut changes = Vec::new();
    while let Some(header) = datagram.first_chunk::<8>() {
        let [l0, l1, l2, l3, t0, t1, f0, f1] = *header;
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        let (kind, flags) = (u16::from_ne_bytes([t0, t1]), u16::from_ne_bytes([f0, f1]));
        // Behind the header, where it is generic netlink.
        let command = datagram.get(16).copied().unwrap_or_default();
        if changes_something(protocol, kind, flags) && !looks_at_offloads(protocol, command) {
            changes.push(name(protocol, kind));
        }
        datagram = datagram.get(length.max(1).next_multiple_of(4)..).unwrap_or_default();
    }
    changes
}

/// The first type of a route netlink message; from here on NEW, DEL, GET and SET
/// take turns.
const RTM_BASE: u16 = 16;

fn changes_something(protocol: i32, kind: u16, flags: u16) -> bool {
    /// The controller of generic netlink, which only tells of others.
    const GENL_ID_CTRL: u16 = 16;
    const SUBSYSTEM_NFTABLES: u16 = 10;
    let is_dump = i32::from(flags) & libc::NLM_F_DUMP == libc::NLM_F_DUMP;
    match protocol {
        libc::NETLINK_ROUTE => kind >= RTM_BASE && (kind - RTM_BASE) % 4 != 2,
        libc::NETLINK_GENERIC if kind == GENL_ID_CTRL => false,
        // nf_tables changes by a batch only (`nfnetlink_rcv_msg`, Linux 6.18), and
        // the message that begins one counts for all in it.
        libc::NETLINK_NETFILTER if kind >> 8 == SUBSYSTEM_NFTABLES => false,
        _ => !is_dump,
    }
}

/// Of generic netlink nsbpf uses ethtool's family only, which has no number that is known
/// beforehand.
fn looks_at_offloads(protocol: i32, command: u8) -> bool {
    const FEATURES_GET: u8 = 11;
    protocol == libc::NETLINK_GENERIC && command == FEATURES_GET
}

fn name(protocol: i32, kind: u16) -> String {
    const VERBS: [&str; 4] = ["NEW", "DEL", "GET", "SET"];
    const OBJECTS: [&str; 8] =
        ["LINK", "ADDR", "ROUTE", "NEIGH", "RULE", "QDISC", "TCLASS", "TFILTER"];
    let place = usize::from(kind.saturating_sub(RTM_BASE));
    match OBJECTS.get(place / 4) {
        Some(object) if protocol == libc::NETLINK_ROUTE => {
            format!("RTM_{}{object}", VERBS[place % 4])
        }
        _ => format!("netlink {protocol}: type {kind}"),
    }
}
