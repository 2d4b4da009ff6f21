//! From a frame to what it is judged by.

use nsbpf_common::packet::Family;
use nsbpf_common::policy::Subject;
use nsbpf_common::sight::Seen;

use super::Kind;

/// A packet, as it is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Its kind.
    pub kind: Kind,
    /// What it is judged by.
    pub subject: Subject,
    /// Whether it hides what rules ask for: it is denied then.
    pub hides: bool,
}

impl Read {
    /// A frame, as the datapath understands it; `from` is the number of the port that it
    /// came in by, or [`ROUTED`](nsbpf_common::policy::ROUTED).
    #[must_use]
    pub fn frame(frame: &[u8], from: u64) -> Self {
        let mut seen = Seen::EMPTY;
        seen.look(frame);
        seen.look_at_flow(frame, 0, true);
        let mut subject = Subject::default();
        subject.fill(frame, &seen, from);
        let kind = match (seen.flow.has_flow(), seen.flow.key.family()) {
            (true, Family::Ipv4) => Kind::V4,
            (true, _) => Kind::V6,
            (false, _) => Kind::Other,
        };
        Self { kind, subject, hides: seen.hides(frame) }
    }
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

    fn read(frame: &[u8], from: u64) -> (Kind, Subject) {
        let Read { kind, subject, .. } = Read::frame(frame, from);
        (kind, subject)
    }

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
        assert_eq!(Read::frame(&[], 1).kind, Kind::Other);
    }

    #[test]
    fn what_hides_is_told() {
        let hides = |parts: &[&[u8]]| Read::frame(&frame(parts), 1).hides;
        for (fragment, carried, hidden) in
            [(0, 20, false), (0, 13, true), (0x2000, 14, false), (0x2000, 8, true), (1, 8, false)]
        {
            assert_eq!(hides(&[&[8, 0], &v4(6, fragment), &TCP[..carried]]), hidden, "{carried}");
            assert!(!hides(&[&[8, 0], &v4(17, fragment), &TCP[..8]]));
        }
        for (headers, hidden) in [(0, false), (7, false), (8, true)] {
            let next = |more: u8| if more > 0 { 60 } else { 58 };
            let mut v6 = vec![0x60, 0, 0, 0, 0, 0, next(headers), 64];
            v6.extend([0; 32]);
            for more in (0..headers).rev() {
                v6.extend([next(more), 0, 1, 4, 0, 0, 0, 0]);
            }
            v6.extend([128, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(hides(&[&[0x86, 0xdd], &v6]), hidden, "{headers}");
        }
    }
}
