//! Which flows are wanted, and what protocols are called.

use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use nsbpf_common::flow::{Flow, FlowKey, TcpState};
use nsbpf_common::packet::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

use super::names::Names;
use crate::lab::Name;

/// Names of protocols that are met, as IANA has them.
const PROTOCOLS: [(&str, u8); 14] = [
    ("icmp", ICMP),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", TCP),
    ("udp", UDP),
    ("ipv6", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", ICMPV6),
    ("ospf", 89),
    ("pim", 103),
    ("vrrp", 112),
    ("sctp", SCTP),
];

/// What a protocol is called: a number where it has no name here.
pub(in crate::observe) fn protocol_name(number: u8) -> String {
    let named = PROTOCOLS.iter().find(|(_, its_number)| *its_number == number);
    named.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

/// Whether its packets have ports.
pub(in crate::observe) fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | SCTP)
}

/// Protocols that are wanted: `icmp` is that of IPv4 and that of IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol(Vec<u8>);

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("icmp") {
            return Ok(Self(vec![ICMP, ICMPV6]));
        }
        let known = PROTOCOLS.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
        let number = known.map(|(_, number)| *number).or_else(|| text.parse().ok());
        number.map(|number| Self(vec![number])).ok_or_else(|| {
            let names: Vec<&str> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
            format!("a number up to 255, or one of {}", names.join(", "))
        })
    }
}

/// What all is to be so of a flow.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// It is of that protocol.
    pub protocol: Option<Protocol>,
    /// One end has that port.
    pub port: Option<u16>,
    /// For each of these: one end has an address of it.
    pub hosts: Vec<IpNet>,
    /// For each of these: one end is in it, or its packets come and go by it.
    pub namespaces: Vec<Name>,
    /// It is a TCP connection in that state.
    pub state: Option<TcpState>,
    /// Its last packet came within that time.
    pub active: Option<Duration>,
}

impl Filter {
    pub(super) fn matches(&self, key: &FlowKey, flow: &Flow, now: Duration, names: &Names) -> bool {
        let Self { protocol, port, hosts, namespaces, state, active } = self;
        if let Some(Protocol(numbers)) = protocol
            && !numbers.contains(&key.protocol())
        {
            return false;
        }
        if let Some(port) = port
            && !(has_ports(key.protocol()) && key.ports().contains(port))
        {
            return false;
        }
        if let Some(state) = state
            && (key.protocol() != TCP || flow.tcp_state() != *state)
        {
            return false;
        }
        if let Some(active) = active
            && now.saturating_sub(Duration::from_nanos(flow.last_seen_ns)) > *active
        {
            return false;
        }
        let in_hosts = |host: &IpNet| key.ips().iter().any(|ip| host.contains(ip));
        if !hosts.iter().all(in_hosts) {
            return false;
        }
        namespaces.is_empty() || {
            let ends = names.ends(key, flow);
            namespaces.iter().all(|namespace| {
                ends.iter().any(|end| {
                    end.namespace == Some(namespace)
                        || end.via.is_some_and(|via| via.namespace == *namespace)
                })
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;

    /// From `from` to `to`, as the first packet's key has them.
    fn key(protocol: u8, from: [u8; 4], to: [u8; 4], ports: [u16; 2]) -> FlowKey {
        let frame: Vec<u8> = [
            &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol],
            [0, 0].as_slice(),
            &from,
            &to,
            &ports[0].to_be_bytes(),
            &ports[1].to_be_bytes(),
            &[0; 16],
        ]
        .concat();
        let mut packet = nsbpf_common::flow::FlowPacket::default();
        assert!(packet.look_first(frame.as_slice()));
        packet.settle(1, 0);
        packet.key
    }

    #[test]
    fn a_filter_wants_all_of_it() {
        let names = Names::new(&State::default());
        let udp = key(UDP, [10, 0, 0, 1], [10, 0, 0, 2], [1000, 53]);
        let mut flow = Flow::default();
        flow.begin(0, 5_000_000_000);
        let now = Duration::from_secs(8);
        let none = Filter::default();
        let host = |text: &str| vec![text.parse().unwrap()];
        for (filter, wanted) in [
            (none.clone(), true),
            (Filter { protocol: "UDP".parse().ok(), ..none.clone() }, true),
            (Filter { protocol: "17".parse().ok(), ..none.clone() }, true),
            (Filter { protocol: "icmp".parse().ok(), ..none.clone() }, false),
            (Filter { port: Some(53), ..none.clone() }, true),
            (Filter { port: Some(1000), ..none.clone() }, true),
            (Filter { port: Some(54), ..none.clone() }, false),
            (Filter { port: Some(53), protocol: "tcp".parse().ok(), ..none.clone() }, false),
            (Filter { hosts: host("10.0.0.2/32"), ..none.clone() }, true),
            (Filter { hosts: host("10.0.0.0/24"), ..none.clone() }, true),
            (Filter { hosts: host("10.0.0.3/32"), ..none.clone() }, false),
            (Filter { hosts: host("fd00::/64"), ..none.clone() }, false),
            (Filter { state: Some(TcpState::None), ..none.clone() }, false),
            (Filter { active: Some(Duration::from_secs(4)), ..none.clone() }, true),
            (Filter { active: Some(Duration::from_secs(2)), ..none.clone() }, false),
            (Filter { namespaces: vec![Name::new("a").unwrap()], ..none }, false),
        ] {
            assert_eq!(filter.matches(&udp, &flow, now, &names), wanted, "{filter:?}");
        }
        let hosts = [host("10.0.0.1/32"), host("10.0.0.9/32")].concat();
        assert!(!Filter { hosts, ..Filter::default() }.matches(&udp, &flow, now, &names));
        let echo = key(ICMP, [10, 0, 0, 1], [10, 0, 0, 2], [0x0800, 0]);
        let port = Filter { port: Some(echo.ports()[0]), ..Filter::default() };
        assert!(!port.matches(&echo, &flow, now, &names), "an identifier is no port");
    }

    #[test]
    fn protocols_have_names_and_numbers() {
        for (name, number) in PROTOCOLS {
            assert_eq!(protocol_name(number), name);
            assert!(name.parse::<Protocol>().unwrap().0.contains(&number));
        }
        assert_eq!(protocol_name(253), "253");
        assert_eq!("253".parse(), Ok(Protocol(vec![253])));
        assert!("256".parse::<Protocol>().unwrap_err().contains("tcp"));
    }
}
