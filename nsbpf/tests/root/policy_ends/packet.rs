//! Packets, byte by byte: what a rule can ask of one is a field here.

use std::net::IpAddr;

/// TCP flags.
pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
pub(super) const ACK: u8 = 16;
/// IP protocol numbers.
pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;
pub(super) const SCTP: u8 = 132;

/// What every packet carries, again and again: any part of it tells which one it is.
const TOKEN_BYTES: usize = 16;
const TOKENS: usize = 8;

/// Which part of a packet a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// What comes before that many bytes behind the IP header.
    Head(u16),
    /// What comes after them.
    Tail(u16),
}

#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// Destination and source.
    pub(super) macs: [[u8; 6]; 2],
    pub(super) vlan: Option<u16>,
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) dscp: u8,
    /// What tells the fragments of one packet from others.
    pub(super) id: u32,
    pub(super) part: Part,
    pub(super) protocol: u8,
    /// Of ICMP: type and code, and the identifier.
    pub(super) ports: [u16; 2],
    pub(super) identifier: u16,
    pub(super) flags: u8,
    pub(super) sequence: [u32; 2],
    /// What ICMP errors are about.
    pub(super) about: Vec<u8>,
    /// IPv6 extension headers of destination options, or words of IPv4 options.
    pub(super) options: usize,
    /// Bytes of the frame behind the packet.
    pub(super) padding: usize,
}

impl Packet {
    pub(super) fn new(from: IpAddr, to: IpAddr) -> Self {
        Self {
            macs: [[0; 6]; 2],
            vlan: None,
            from,
            to,
            dscp: 0,
            id: 1,
            part: Part::Whole,
            protocol: UDP,
            ports: [1000, 2000],
            identifier: 77,
            flags: 0,
            sequence: [1; 2],
            about: Vec::new(),
            options: 0,
            padding: 0,
        }
    }

    pub(super) fn is_v4(&self) -> bool {
        self.from.is_ipv4()
    }

    pub(super) fn udp(&self, from: u16, to: u16) -> Self {
        Self { protocol: UDP, ports: [from, to], ..self.clone() }
    }

    pub(super) fn sctp(&self, from: u16, to: u16) -> Self {
        Self { protocol: SCTP, ports: [from, to], ..self.clone() }
    }

    pub(super) fn tcp(&self, from: u16, to: u16, flags: u8) -> Self {
        Self { protocol: TCP, ports: [from, to], flags, ..self.clone() }
    }

    /// A message of that type in ICMP, or of that other one in ICMPv6, with that code.
    pub(super) fn icmp(&self, v4: u8, v6: u8, code: u8) -> Self {
        let (protocol, of_type) = if self.is_v4() { (ICMP, v4) } else { (ICMPV6, v6) };
        Self { protocol, ports: [of_type.into(), code.into()], ..self.clone() }
    }

    pub(super) fn ping(&self) -> Self {
        self.icmp(8, 128, 0)
    }

    pub(super) fn pong(&self) -> Self {
        self.icmp(0, 129, 0)
    }

    pub(super) fn other(&self, protocol: u8) -> Self {
        Self { protocol, ..self.clone() }
    }

    pub(super) fn part(&self, part: Part) -> Self {
        Self { part, ..self.clone() }
    }

    pub(super) fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut packet = self.clone();
        change(&mut packet);
        packet
    }

    /// What the other end says in the same flow.
    pub(super) fn back(&self) -> Self {
        let mut packet = self.clone();
        std::mem::swap(&mut packet.from, &mut packet.to);
        packet.macs.swap(0, 1);
        if !matches!(self.protocol, ICMP | ICMPV6) {
            packet.ports.swap(0, 1);
        }
        packet
    }

    /// Where the IP header starts.
    fn network(&self) -> usize {
        14 + if self.vlan.is_some() { 4 } else { 0 }
    }

    /// An ICMP error about a packet, from there to its sender.
    pub(super) fn error(&self, from: IpAddr, (v4, v6): (u8, u8), code: u8) -> Self {
        let whole = self.bytes(0);
        let network = self.network();
        let header = if self.is_v4() { 20 } else { 40 };
        let about = whole[network..network + header + 8].to_vec();
        let error = self.back().icmp(v4, v6, code);
        error.with(|it| (it.from, it.about) = (from, about))
    }

    /// The frame, which carries a number.
    pub(super) fn bytes(&self, number: u32) -> Vec<u8> {
        let payload = self.payload(number);
        let (start, more, carried) = match self.part {
            Part::Whole => (0, false, &payload[..]),
            Part::Head(end) => (0, true, &payload[..end.into()]),
            Part::Tail(start) => (start, false, &payload[start.into()..]),
        };
        let mut frame: Vec<u8> = self.macs.concat();
        if let Some(vlan) = self.vlan {
            frame.extend([0x81, 0]);
            frame.extend(vlan.to_be_bytes());
        }
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let place = (start / 8) | if more { 0x2000 } else { 0 };
                let words = self.options as u8;
                let length = 20 + 4 * u16::from(words) + carried.len() as u16;
                let mut header = vec![0x45 + words, self.dscp << 2];
                header.extend(length.to_be_bytes());
                header.extend((self.id as u16).to_be_bytes());
                header.extend(place.to_be_bytes());
                header.extend([64, self.protocol, 0, 0]);
                header.extend([from.octets(), to.octets()].concat());
                header.extend([1, 1, 1, 1].repeat(self.options));
                let sum = checksum(&[&header]);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                frame.extend([8, 0]);
                frame.extend(header);
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let is_part = self.part != Part::Whole;
                let mut before = Vec::new();
                let next = if is_part { 44 } else { self.protocol };
                for number in 0..self.options {
                    let next = if number + 1 < self.options { 60 } else { next };
                    before.extend([next, 0, 1, 4, 0, 0, 0, 0]);
                }
                if is_part {
                    let place = start | u16::from(more);
                    before.extend([self.protocol, 0]);
                    before.extend(place.to_be_bytes());
                    before.extend(self.id.to_be_bytes());
                }
                let first = if self.options > 0 { 60 } else { next };
                let length = (before.len() + carried.len()) as u16;
                frame.extend([0x86, 0xdd]);
                frame.extend((0x6000_0000 | u32::from(self.dscp) << 22).to_be_bytes());
                frame.extend(length.to_be_bytes());
                frame.extend([first, 64]);
                frame.extend([from.octets(), to.octets()].concat());
                frame.extend(before);
            }
            _ => panic!("two families"),
        }
        frame.extend(carried);
        frame.resize(frame.len() + self.padding, 0);
        frame
    }

    /// What tells the packet of that number where it arrives: its token, or of a part that has
    /// none all of it.
    pub(super) fn told_by(&self, number: u32) -> Vec<u8> {
        let frame = self.with(|it| it.padding = 0).bytes(number);
        let token = token(number);
        if has(&frame, &token) { token.to_vec() } else { frame[self.network()..].to_vec() }
    }

    /// All that is behind the IP header.
    fn payload(&self, number: u32) -> Vec<u8> {
        let [one, two] = self.ports;
        let tokens = token(number).repeat(TOKENS);
        let mut payload = Vec::new();
        let sum_at = match self.protocol {
            TCP => {
                payload.extend([one.to_be_bytes(), two.to_be_bytes()].concat());
                payload.extend(self.sequence.map(u32::to_be_bytes).concat());
                payload.extend([0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
                Some(16)
            }
            UDP => {
                let length = 8 + tokens.len() as u16;
                payload.extend([one.to_be_bytes(), two.to_be_bytes()].concat());
                payload.extend(length.to_be_bytes());
                payload.extend([0, 0]);
                Some(6)
            }
            SCTP => {
                payload.extend([one.to_be_bytes(), two.to_be_bytes()].concat());
                payload.extend([0; 8]);
                None
            }
            ICMP | ICMPV6 => {
                payload.extend([one as u8, two as u8, 0, 0]);
                payload.extend(self.identifier.to_be_bytes());
                payload.extend([0, 1]);
                payload.extend(&self.about);
                Some(2)
            }
            _ => None,
        };
        payload.extend(tokens);
        if let Some(place) = sum_at {
            let sum = if self.protocol == ICMP {
                checksum(&[&payload])
            } else {
                let addresses: Vec<u8> =
                    [self.from, self.to].into_iter().flat_map(octets).collect();
                let length = (payload.len() as u16).to_be_bytes();
                checksum(&[&addresses, &length, &[0, self.protocol], &payload])
            };
            payload[place..place + 2].copy_from_slice(&sum.to_be_bytes());
        }
        payload
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// What tells a frame from all others.
pub(super) fn token(number: u32) -> [u8; TOKEN_BYTES] {
    let mut token = *b"nsbpf-ends--0000";
    token[12..].copy_from_slice(&number.to_be_bytes());
    token
}

/// Whether bytes are in a frame.
pub(super) fn has(frame: &[u8], bytes: &[u8]) -> bool {
    frame.windows(bytes.len()).any(|window| window == bytes)
}

/// The internet checksum (RFC 1071) of parts of even lengths, but for the last one.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0;
    for part in parts {
        for word in part.chunks(2) {
            sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
