//! From a frame to what it is judged by.

use nsbpf_common::crossing;
use nsbpf_common::packet::{Family, Fragment, Headers, Packet, protocol};
use nsbpf_common::policy::{Subject, field};

use super::Kind;

const SCTP: u8 = 132;

/// Sets a field.
pub fn set(subject: &mut Subject, number: u32, value: u64) {
    let all = subject.fields.iter_mut().chain(&mut subject.rare);
    if let Some(field) = all.into_iter().nth(number as usize) {
        *field = value;
    }
}

/// The kind of a frame, and its fields; `from` is the number of the port that it came in
/// by, or [`ROUTED`](nsbpf_common::policy::ROUTED).
#[must_use]
pub fn read(frame: &[u8], from: u64) -> (Kind, Subject) {
    let mut headers = Headers::EMPTY;
    headers.parse(frame);
    let mut subject = Subject::default();
    let mut put = |number, value| set(&mut subject, number, value);
    put(field::PORT, from);
    put(field::ETHERTYPE, headers.ethertype.into());
    let tci = (headers.vlan_tags > 0).then_some(headers.vlan_tci);
    put(field::VLAN, crossing::vlan(crossing::tag(tci)).unwrap_or(0).into());
    put(field::DESTINATION_MAC, mac(frame, 0));
    put(field::SOURCE_MAC, mac(frame, 6));
    let at = headers.network_offset;
    let kind = match headers.family() {
        Family::Ipv4 => {
            let [source, destination] = [12, 16].map(|by| frame.load(at + by).unwrap_or([0; 4]));
            put(field::SOURCE, u32::from_be_bytes(source).into());
            put(field::DESTINATION, u32::from_be_bytes(destination).into());
            let [of_service] = frame.load(at + 1).unwrap_or([0]);
            put(field::DSCP, u64::from(of_service >> 2));
            Kind::V4
        }
        Family::Ipv6 => {
            let words = [
                (field::SOURCE, 8),
                (field::SOURCE_REST, 16),
                (field::DESTINATION, 24),
                (field::DESTINATION_REST, 32),
            ];
            for (number, by) in words {
                put(number, u64::from_be_bytes(frame.load(at + by).unwrap_or([0; 8])));
            }
            let start = u16::from_be_bytes(frame.load(at).unwrap_or([0; 2]));
            put(field::DSCP, u64::from((start >> 6) & 0x3f));
            Kind::V6
        }
        Family::Arp | Family::Other => return (Kind::Other, subject),
    };
    put(field::PROTOCOL, headers.protocol.into());
    let fragment = match headers.fragment() {
        Fragment::Whole => 0,
        Fragment::First => 1,
        Fragment::Later => 2,
    };
    put(field::FRAGMENT, fragment);
    if headers.fragment() == Fragment::Later {
        return (kind, subject);
    }
    let at = headers.transport_offset;
    match (kind, headers.protocol) {
        (_, protocol::TCP | protocol::UDP | SCTP) => {
            let [source, destination] = [0, 2].map(|by| frame.load(at + by).unwrap_or([0; 2]));
            put(field::SOURCE_PORT, u16::from_be_bytes(source).into());
            put(field::DESTINATION_PORT, u16::from_be_bytes(destination).into());
        }
        (Kind::V4, protocol::ICMP) | (Kind::V6, protocol::ICMPV6) => {
            if let Some(kind) = frame.load(at).map(u16::from_be_bytes) {
                put(field::ICMP, u64::from(kind) + 1);
            }
        }
        _ => {}
    }
    if headers.protocol == protocol::TCP
        && let Some([flags]) = frame.load(at + 13)
    {
        subject.tcp_flags = flags;
    }
    (kind, subject)
}

fn mac(frame: &[u8], offset: u16) -> u64 {
    let bytes: [u8; 6] = frame.load(offset).unwrap_or_default();
    bytes.into_iter().fold(0, |number, byte| number << 8 | u64::from(byte))
}
