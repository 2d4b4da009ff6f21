//! Packets that were logged, with the names that a lab has for their ends.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use nsbpf_common::flow::FlowKey;
use nsbpf_common::packet::{ethertype, protocol};
use nsbpf_common::policy::LogRecord;
use serde::Serialize;

use crate::lab::policy as words;
use crate::observe::flows::{has_ports, protocol_name};
use crate::state::State;
use crate::store::PolicyRecord;

/// What a lab calls ends of packets.
pub struct Names(crate::observe::flows::Names);

/// A packet that was logged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Logged {
    /// When it came.
    pub time: String,
    /// The rule that decided; `None` for the default, or where it is not known any more.
    pub rule: Option<String>,
    /// The rule's action.
    pub action: &'static str,
    /// Whether it ended.
    pub dropped: bool,
    /// The interface by whose port it came in; `None` if it came in by none.
    pub via: Option<String>,
    /// The protocol's name, or its number if it has none here: of what is no IP, that of
    /// Ethernet.
    pub protocol: String,
    /// Its ends.
    #[serde(flatten)]
    pub ends: Ends,
    /// TCP flags that are set.
    pub flags: Option<String>,
    /// Bytes on a wire.
    pub bytes: u32,
}

/// Both ends of a packet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ends {
    /// Who sent it.
    pub from: LoggedEnd,
    /// Whom it is for.
    pub to: LoggedEnd,
}

/// One end of a packet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoggedEnd {
    /// Its MAC address.
    pub mac: String,
    /// Its IP address, if it has one.
    pub address: Option<IpAddr>,
    /// Its port, if it has one.
    pub port: Option<u16>,
    /// The interface, or the bridge, that has the address.
    pub interface: Option<String>,
}

impl Names {
    /// Those of a lab, as it is.
    #[must_use]
    pub fn new(state: &State) -> Self {
        Self(crate::observe::flows::Names::new(state))
    }

    /// A packet, which was logged by that policy if it is of its generation. The clock is
    /// what the wall's shows beyond the one that records have.
    #[must_use]
    pub fn describe(&self, record: &LogRecord, policy: Option<&PolicyRecord>) -> Logged {
        let LogRecord { time_ns, key, generation, decision, bytes, macs, port, direction, .. } =
            record;
        let policy = policy.filter(|policy| policy.generation == *generation);
        let of_slot = |policy: &PolicyRecord| {
            policy.rules.iter().find(|rule| rule.slot == decision.slot()).map(|it| it.name.clone())
        };
        let is_ip = matches!(record.ethertype, ethertype::IPV4 | ethertype::IPV6)
            && *key != FlowKey::default();
        let number = key.protocol();
        let protocol =
            if is_ip { protocol_name(number) } else { words::ethertype(record.ethertype.into()) };
        let [to, from] = macs.map(words::mac);
        let sender = usize::from(direction & 1);
        let end = |mac: String, end: usize| {
            let address = if is_ip { key.ips().get(end).copied() } else { None };
            let has_ports = is_ip && has_ports(number) && key.ports_be() != [0; 2];
            let port = if has_ports { key.ports().get(end).copied() } else { None };
            let link = address.and_then(|address| self.0.owner_of(address, key.domain()));
            LoggedEnd { mac, address, port, interface: link.map(ToString::to_string) }
        };
        Logged {
            time: wall_time(*time_ns),
            rule: policy.and_then(of_slot),
            action: decision.action().name(),
            dropped: record.dropped != 0,
            via: self.0.port(*port).map(ToString::to_string),
            protocol,
            ends: Ends { from: end(from, sender), to: end(to, 1 - sender) },
            flags: (is_ip && number == protocol::TCP).then(|| words::flags(record.tcp_flags)),
            bytes: *bytes,
        }
    }
}

/// A time of the kernel's monotonic clock, as the wall's clock had it.
fn wall_time(time_ns: u64) -> String {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = Duration::try_from(now).unwrap_or_default();
    let ago = now.saturating_sub(Duration::from_nanos(time_ns));
    let time = SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH);
    humantime::format_rfc3339_micros(time).to_string()
}

#[cfg(test)]
mod tests {
    use nsbpf_common::policy::{Action, Decision};

    use super::*;
    use crate::store::{Carried, RuleRecord, SettingRecord};

    fn policy(generation: u64) -> PolicyRecord {
        let rule = RuleRecord {
            name: "web".to_owned(),
            matches: "any".to_owned(),
            action: "deny".to_owned(),
            log: Some(1),
            slot: 7,
            setting: SettingRecord::default(),
            carried: Carried::default(),
        };
        PolicyRecord {
            generation,
            digest: [0; 16],
            default: "allow".to_owned(),
            established: true,
            default_carried: Carried::default(),
            rules_file: None,
            rules: vec![rule],
        }
    }

    #[test]
    fn a_packet_is_told_by_its_rule_and_its_ends() {
        let names = Names::new(&State::default());
        let ips = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
        let record = LogRecord {
            key: FlowKey::new(ips, [1234_u16.to_be(), 80_u16.to_be()], protocol::TCP),
            generation: 3,
            decision: Decision::new(Action::Deny, true, 7),
            bytes: 60,
            macs: [0x0101_0101_0101, 0x0202_0202_0202],
            ethertype: ethertype::IPV4,
            tcp_flags: 0b1_0010,
            dropped: 1,
            ..LogRecord::default()
        };
        let logged = names.describe(&record, Some(&policy(3)));
        assert_eq!((logged.rule.as_deref(), logged.action), (Some("web"), "deny"));
        assert_eq!((logged.protocol.as_str(), logged.flags.as_deref()), ("tcp", Some("syn,ack")));
        let Ends { from, to } = &logged.ends;
        assert_eq!((from.address, from.port), (Some(ips[0]), Some(1234)));
        assert_eq!((to.address, to.port), (Some(ips[1]), Some(80)));
        assert_eq!(
            (from.mac.as_str(), to.mac.as_str()),
            ("02:02:02:02:02:02", "01:01:01:01:01:01")
        );
        assert!(logged.dropped);
        // The other way round, and by a policy that is no more.
        let reply = LogRecord { direction: 1, ..record };
        let logged = names.describe(&reply, Some(&policy(4)));
        assert_eq!((logged.rule, logged.ends.from.port), (None, Some(80)));
        let arp = LogRecord { key: FlowKey::default(), ethertype: ethertype::ARP, ..record };
        let logged = names.describe(&arp, None);
        assert_eq!((logged.protocol.as_str(), logged.ends.from.address), ("arp", None));
    }
}
