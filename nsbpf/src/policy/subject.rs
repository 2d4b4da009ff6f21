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

#[cfg(test)]
mod tests {
    use nsbpf_common::policy::ROUTED;

    use super::*;

    const MACS: [u8; 12] = [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1];

    fn frame(parts: &[&[u8]]) -> Vec<u8> {
        [&[&MACS[..]], parts].concat().concat()
    }

    fn v4(protocol: u8, fragment: u16) -> Vec<u8> {
        let [high, low] = fragment.to_be_bytes();
        vec![0x45, 0xb8, 0, 60, 0, 1, high, low, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
    }

    const TCP: [u8; 20] = [0x12, 0x34, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0];

    fn all(subject: &Subject) -> Vec<u64> {
        subject.fields.iter().chain(&subject.rare).copied().collect()
    }

    #[test]
    fn each_field_is_read_where_it_is() {
        let tagged = [0x81, 0, 0x60, 7, 8, 0];
        let (kind, subject) = read(&frame(&[&tagged, &v4(6, 0), &TCP]), 3);
        assert_eq!(kind, Kind::V4);
        let fields = [0x0a00_0001, 0, 0x0a00_0002, 0, 3, 6, 0x1234, 80];
        let rare = [7, 0x0800, 0x0200_0000_0001, 0x0200_0000_0009, 46, 0, 0];
        assert_eq!(all(&subject), [&fields[..], &rare].concat());
        assert_eq!(subject.tcp_flags, 2);

        let mut v6 = vec![0x6b, 0x80, 0, 0, 0, 12, 0, 64];
        v6.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        v6.extend([0xfd, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
        // A hop-by-hop header goes before the echo request.
        let echo = [58, 0, 1, 4, 0, 0, 0, 0, 128, 0, 0, 0];
        let (kind, subject) = read(&frame(&[&[0x86, 0xdd], &v6, &echo]), ROUTED);
        assert_eq!(kind, Kind::V6);
        let fields = [0xfd << 56, 1, 0xfd << 56 | 1, 2, ROUTED, 58, 0, 0];
        let rare = [0, 0x86dd, 0x0200_0000_0001, 0x0200_0000_0009, 46, 0x8001, 0];
        assert_eq!(all(&subject), [&fields[..], &rare].concat());
    }

    #[test]
    fn a_later_fragment_has_no_ports_and_what_is_cut_has_zeros() {
        let read = |parts: &[&[u8]]| read(&frame(parts), 1);
        let ports = |subject: &Subject| (subject.fields[7], subject.rare[6], subject.tcp_flags);
        let (_, first) = read(&[&[8, 0], &v4(6, 0x2000), &TCP]);
        assert_eq!(ports(&first), (80, 1, 2));
        let (_, later) = read(&[&[8, 0], &v4(6, 0x0010), &TCP]);
        assert_eq!(ports(&later), (0, 2, 0));
        let (kind, cut) = read(&[&[8, 0], &v4(6, 0), &TCP[..3]]);
        assert_eq!((kind, ports(&cut)), (Kind::V4, (0, 0, 0)));
        let (kind, arp) = read(&[&[8, 6], &[0; 28]]);
        assert_eq!((kind, arp.rare[1]), (Kind::Other, 0x0806));
        assert_eq!(super::read(&[], 1).0, Kind::Other);
    }
}
