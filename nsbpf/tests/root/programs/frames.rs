//! Frames, one for each way through the parser.

pub(crate) struct Frame {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
}

impl Frame {
    /// The frame cut off at every byte where a header can end, and whole. For tc
    /// the kernel makes a socket buffer only of a frame that has an IP header where
    /// it says so (`bpf_prog_test_run_skb`, Linux 6.18).
    pub(crate) fn prefixes(&self, program: &str) -> impl Iterator<Item = &[u8]> {
        const LONGEST_HEADERS: usize = 140;
        let shortest = match (program.starts_with("xdp"), &self.bytes[12..14]) {
            (true, _) => 14,
            (false, [0x08, 0x00]) => 14 + 20,
            (false, [0x86, 0xdd]) => 14 + 40,
            (false, _) => 15,
        };
        let lengths = shortest..self.bytes.len().min(LONGEST_HEADERS);
        lengths.chain([self.bytes.len()]).map(|length| &self.bytes[..length])
    }
}

pub(crate) fn ethernet(ethertype: &[u8], rest: &[&[u8]]) -> Vec<u8> {
    let macs = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    [&macs, ethertype].into_iter().chain(rest.iter().copied()).flatten().copied().collect()
}

pub(crate) fn ipv4(words_of_options: u8, fragment: [u8; 2], protocol: u8) -> Vec<u8> {
    let mut header = vec![0x45 + words_of_options, 0, 0, 0, 0, 1, fragment[0], fragment[1]];
    header.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    header.extend([1, 1, 1, 1].repeat(words_of_options.into()));
    header
}

pub(crate) fn ipv6(next: u8) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    header.extend([0xfd; 32]);
    header
}

pub(crate) fn frames() -> Vec<Frame> {
    const IPV4: &[u8] = &[0x08, 0x00];
    const IPV6: &[u8] = &[0x86, 0xdd];
    let udp = [[0x03, 0xe8, 0x07, 0xd0, 0, 40, 0, 0].as_slice(), &[0; 32]].concat();
    let mut tcp = vec![0x03, 0xe8, 0x07, 0xd0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0];
    tcp.extend([0; 32]);
    let extensions = [
        [43, 0, 0, 0, 0, 0, 0, 0].as_slice(),
        &[60, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[17, 0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    vec![
        Frame {
            name: "VLAN-tagged UDP over IPv4",
            bytes: ethernet(&[0x81, 0x00, 0x20, 0x07], &[IPV4, &ipv4(0, [0; 2], 17), &udp]),
        },
        Frame {
            name: "two VLAN tags",
            bytes: ethernet(
                &[0x88, 0xa8, 0x00, 0x09, 0x81, 0x00, 0x00, 0x07],
                &[IPV6, &ipv6(6), &tcp],
            ),
        },
        Frame { name: "IPv4 with options", bytes: ethernet(IPV4, &[&ipv4(10, [0; 2], 6), &tcp]) },
        Frame {
            name: "IPv6 with extension headers",
            bytes: ethernet(IPV6, &[&ipv6(0), &extensions, &udp]),
        },
        Frame {
            name: "a later fragment",
            bytes: ethernet(IPV4, &[&ipv4(0, [0x20, 0x01], 17), &udp]),
        },
        Frame { name: "ARP", bytes: ethernet(&[0x08, 0x06], &[&[0; 46]]) },
        Frame { name: "ICMPv6", bytes: ethernet(IPV6, &[&ipv6(58), &[128; 32]]) },
        Frame { name: "LLC", bytes: ethernet(&[0x00, 0x26], &[&[0x42; 46]]) },
        Frame {
            name: "IPv4 whose options are cut off",
            bytes: ethernet(IPV4, &[&[0x4f], &ipv4(0, [0; 2], 6)[1..]]),
        },
        Frame { name: "TCP over IPv6", bytes: ethernet(IPV6, &[&ipv6(6), &tcp]) },
        Frame {
            name: "a protocol that nobody knows over IPv6",
            bytes: ethernet(IPV6, &[&ipv6(200), &udp]),
        },
        Frame {
            name: "IPv6 multicast",
            bytes: to([0x33, 0x33, 0, 0, 0, 1], ethernet(IPV6, &[&ipv6(58), &[143; 32]])),
        },
        Frame {
            name: "IPv4 broadcast",
            bytes: to([0xff; 6], ethernet(IPV4, &[&ipv4(0, [0; 2], 17), &udp])),
        },
        Frame { name: "GRE over IPv4", bytes: ethernet(IPV4, &[&ipv4(0, [0; 2], 47), &udp]) },
        Frame {
            name: "IPv4 that is not version 4",
            bytes: ethernet(IPV4, &[&[0x65], &ipv4(0, [0; 2], 17)[1..], &udp]),
        },
        Frame {
            name: "three VLAN tags",
            bytes: ethernet(
                &[0x81, 0, 0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3],
                &[IPV4, &ipv4(0, [0; 2], 17), &udp],
            ),
        },
        Frame {
            name: "a jumbo frame",
            bytes: ethernet(IPV4, &[&ipv4(0, [0; 2], 17), &udp, &[0; 3000]]),
        },
    ]
}

fn to(destination: [u8; 6], mut frame: Vec<u8>) -> Vec<u8> {
    frame[..6].copy_from_slice(&destination);
    frame
}
