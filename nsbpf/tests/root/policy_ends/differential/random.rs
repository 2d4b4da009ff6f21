//! Rules and packets at random, which meet often, and at their edges.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nsbpf::lab::{Lab, Policy};
use nsbpf::policy::Kind;
use nsbpf_common::policy::{Subject, field, icmp};

use self::words::{KEYS, SETS, WORDS};
use crate::policy_ends::packet::{ICMP, ICMPV6, Packet, Part, SCTP, TCP, UDP};

/// What the rules of the library's own tests are made of, too.
#[path = "../../../../src/policy/tests/words.rs"]
pub(super) mod words;

/// Rules of sets.
pub(super) const LENGTHS: [u64; 4] = [3, 12, 25, 40];

const ACTIONS: [&str; 5] = ["allow", "deny", "reject", "log", "limit, limit: 1000000/s"];
const V4: [[u8; 4]; 13] = [
    [10, 0, 0, 0],
    [10, 0, 0, 1],
    [10, 0, 0, 2],
    [10, 0, 0, 3],
    [10, 0, 0, 4],
    [10, 0, 0, 9],
    [10, 0, 0, 254],
    [10, 1, 0, 1],
    [10, 1, 0, 9],
    [10, 1, 0, 254],
    [11, 0, 0, 0],
    [255, 255, 255, 255],
    [0, 0, 0, 0],
];
/// The first, the fourth, the fifth and the last of eight groups.
const V6: [[u16; 4]; 14] = [
    [0xfd00, 0, 0, 0],
    [0xfd00, 0, 0, 1],
    [0xfd00, 0, 0, 2],
    [0xfd00, 0, 0, 3],
    [0xfd00, 0, 0, 4],
    [0xfd00, 0, 0, 9],
    [0xfd00, 0, 0, 0xfe],
    [0xfd00, 0, 0x7fff, 0xffff],
    [0xfd00, 0, 0x8000, 0],
    [0xfd00, 1, 0, 0],
    [0xfd00, 1, 0xffff, 0xffff],
    [0xfd00, 2, 0, 0],
    [0xfe80, 0, 0, 5],
    [0xffff, 0xffff, 0xffff, 0xffff],
];
const NUMBERS: [u16; 15] = [0, 1, 2, 3, 5, 79, 80, 82, 83, 89, 95, 443, 1023, 1024, 65_535];
const TYPES: [(u8, u8); 12] = [
    (0, 0),
    (3, 0),
    (3, 1),
    (3, 2),
    (5, 0),
    (8, 0),
    (8, 1),
    (128, 0),
    (132, 0),
    (135, 0),
    (137, 0),
    (138, 0),
];
const MACS: [[u8; 6]; 3] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], [0xff; 6]];

/// Fragmented packets of a set at most: those of all of them are told apart by 16 bits.
const FRAGMENTS: u32 = 2_600;

/// A frame, as it is and as it is to be understood.
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) subject: Subject,
    /// Of IPv6, whole.
    pub(super) is_discovery: bool,
    /// Behind a first fragment, a later one.
    pub(super) follower: Option<Vec<u8>>,
}

/// Numbers at random, the same ones each time.
pub(super) struct Random {
    state: u64,
    id: u32,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { state, id: seed as u32 * FRAGMENTS }
    }

    fn below(&mut self, limit: u64) -> u64 {
        // Xorshift, by George Marsaglia.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 16) % limit
    }

    fn of<T: Copy>(&mut self, some: &[T]) -> T {
        some[self.below(some.len() as u64) as usize]
    }

    /// Whether something happens that does so often of a hundred.
    fn happens(&mut self, often: u64) -> bool {
        self.below(100) < often
    }

    fn rule(&mut self) -> String {
        let mut rule = "{ ".to_owned();
        for side in ["from", "to"] {
            if !self.happens(50) {
                continue;
            }
            let words: Vec<String> =
                (0..=self.below(3)).map(|_| format!("'{}'", self.of(WORDS))).collect();
            let words = words.join(", ");
            let _ = if self.happens(25) {
                write!(rule, "{side}: {{ not: [{words}] }}, ")
            } else {
                write!(rule, "{side}: [{words}], ")
            };
        }
        for (key, often, values) in KEYS {
            if self.happens(often.into()) {
                let _ = write!(rule, "{key}: {}, ", self.of(values));
            }
        }
        let _ = write!(rule, "action: {} }}", self.of(&ACTIONS));
        rule
    }

    /// So many rules, all of which are taken.
    pub(super) fn policy(&mut self, lab: &Lab, count: u64) -> Policy {
        let default = if self.happens(50) { "allow" } else { "deny" };
        let read = |rules: &[String]| {
            let rules = rules.join("\n- ");
            let text = format!(
                "default: {default}\nestablished: false\nsets: {SETS}\nrules:\n- {rules}\n"
            );
            lab.read_policy(&text, "rules.yaml")
        };
        let mut rules = Vec::new();
        while (rules.len() as u64) < count {
            let rule = self.rule();
            if read(std::slice::from_ref(&rule)).is_ok() {
                rules.push(rule);
            }
        }
        read(&rules).expect("all of them are right")
    }

    pub(super) fn frame(&mut self) -> Frame {
        if self.happens(10) { self.other() } else { self.ip() }
    }

    /// What is no IP.
    fn other(&mut self) -> Frame {
        let (to, from) = (self.of(&MACS), self.of(&MACS));
        let vlan = self.vlan();
        let ethertype: u16 = self.of(&[0x0806, 0x88cc, 0x88cc, 0x0027, 0x8847]);
        let mut bytes = [to, from].concat();
        if let Some(vlan) = vlan {
            bytes.extend([0x81, 0]);
            bytes.extend(vlan.to_be_bytes());
        }
        bytes.extend(ethertype.to_be_bytes());
        bytes.extend([0x6e; 50]);
        let mut subject = Subject::default();
        link(&mut subject, [to, from], vlan, ethertype);
        Frame { bytes, kind: Kind::Other, subject, is_discovery: false, follower: None }
    }

    fn vlan(&mut self) -> Option<u16> {
        self.happens(25).then(|| self.of(&[0, 1, 6, 7, 8, 4094]))
    }

    fn ip(&mut self) -> Frame {
        let is_v4 = self.happens(50);
        let [from, to] = [(); 2].map(|()| self.address(is_v4));
        let mut packet = Packet::new(from, to);
        packet.macs = [self.of(&MACS), self.of(&MACS)];
        packet.vlan = self.vlan();
        packet.dscp = self.of(&[0, 0, 0, 1, 46, 47, 63]);
        packet.protocol =
            self.of(&[TCP, TCP, TCP, UDP, UDP, UDP, ICMP, ICMPV6, ICMPV6, 47, SCTP, 200]);
        packet.ports = [self.of(&NUMBERS), self.of(&NUMBERS)];
        packet.flags = if packet.protocol == TCP { self.below(256) as u8 } else { 0 };
        let is_icmp = matches!(packet.protocol, ICMP | ICMPV6);
        if is_icmp {
            let (of_type, code) = self.of(&TYPES);
            packet.ports = [of_type.into(), code.into()];
        }
        packet.options = if self.happens(10) { 1 + self.below(4) as usize } else { 0 };
        packet.part = match self.below(20) {
            0 => Part::Head(48),
            1 => Part::Tail(48),
            _ => Part::Whole,
        };
        self.id += u32::from(packet.part != Part::Whole);
        packet.id = self.id;
        let follower = matches!(packet.part, Part::Head(_))
            .then(|| packet.part(Part::Tail(48)).bytes(self.id));
        let (kind, ethertype) = if is_v4 { (Kind::V4, 0x0800) } else { (Kind::V6, 0x86dd) };
        let mut subject = Subject::default();
        link(&mut subject, packet.macs, packet.vlan, ethertype);
        fill(&mut subject, &packet);
        let is_discovery = !is_v4
            && packet.protocol == ICMPV6
            && packet.part == Part::Whole
            && (133..=137).contains(&packet.ports[0]);
        Frame { bytes: packet.bytes(self.id), kind, subject, is_discovery, follower }
    }

    fn address(&mut self, is_v4: bool) -> IpAddr {
        if is_v4 {
            Ipv4Addr::from(self.of(&V4)).into()
        } else {
            let [first, fourth, fifth, last] = self.of(&V6);
            Ipv6Addr::new(first, 0, 0, fourth, fifth, 0, 0, last).into()
        }
    }
}

fn number(mac: [u8; 6]) -> u64 {
    mac.iter().fold(0, |number, octet| number << 8 | u64::from(*octet))
}

/// What a frame has of the link, whatever it carries.
fn link(subject: &mut Subject, [to, from]: [[u8; 6]; 2], vlan: Option<u16>, ethertype: u16) {
    subject.set(field::DESTINATION_MAC, number(to));
    subject.set(field::SOURCE_MAC, number(from));
    subject.set(field::VLAN, vlan.unwrap_or(0).into());
    subject.set(field::ETHERTYPE, ethertype.into());
}

/// What it has of IP.
fn fill(subject: &mut Subject, packet: &Packet) {
    for (address, first, rest) in [
        (packet.from, field::SOURCE, field::SOURCE_REST),
        (packet.to, field::DESTINATION, field::DESTINATION_REST),
    ] {
        let (one, other) = match address {
            IpAddr::V4(address) => (address.to_bits().into(), 0),
            IpAddr::V6(address) => ((address.to_bits() >> 64) as u64, address.to_bits() as u64),
        };
        subject.set(first, one);
        subject.set(rest, other);
    }
    subject.set(field::PROTOCOL, packet.protocol.into());
    subject.set(field::DSCP, packet.dscp.into());
    let fragment = match packet.part {
        Part::Whole => 0,
        Part::Head(_) => 1,
        Part::Tail(_) => 2,
    };
    subject.set(field::FRAGMENT, fragment);
    if fragment == 2 {
        return;
    }
    let [one, two] = packet.ports;
    match packet.protocol {
        ICMP | ICMPV6 => subject.set(field::ICMP, icmp(one as u8, two as u8)),
        TCP | UDP | SCTP => {
            subject.set(field::SOURCE_PORT, one.into());
            subject.set(field::DESTINATION_PORT, two.into());
            subject.tcp_flags = packet.flags;
        }
        _ => {}
    }
}
