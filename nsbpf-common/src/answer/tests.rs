use std::vec::Vec;

use super::*;
use crate::pair::OUTSIDE;

const FROM: [u8; 6] = [2, 0, 0, 0, 0, 1];
const TO: [u8; 6] = [2, 0, 0, 0, 0, 2];
const UDP: u8 = protocol::UDP;

fn frame(tag: bool, is_v4: bool, of_protocol: u8, carried: &[u8]) -> Vec<u8> {
    let mut frame = [TO, FROM].concat();
    if tag {
        frame.extend([0x81, 0, 0, 7]);
    }
    let length = u16::try_from(carried.len()).unwrap();
    if is_v4 {
        let [high, low] = (length + 20).to_be_bytes();
        frame.extend([8, 0, 0x45, 0, high, low, 0, 0, 0x40, 0, 64, of_protocol, 0, 0]);
        frame.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    } else {
        let [high, low] = length.to_be_bytes();
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, high, low, of_protocol, 64]);
        for last in [1, 2] {
            frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
    }
    frame.extend(carried);
    frame
}

fn tcp(flags: u8, sequence: u32, acknowledged: u32, carried: usize) -> Vec<u8> {
    let mut tcp = Vec::from([0x12, 0x34, 0, 80]);
    tcp.extend(sequence.to_be_bytes());
    tcp.extend(acknowledged.to_be_bytes());
    tcp.extend([5 << 4, flags, 1, 0, 0, 0, 0, 0]);
    tcp.resize(20 + carried, 0x55);
    tcp
}

/// What becomes of a frame: its answer, as it would leave.
fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let mut seen = Seen::EMPTY;
    seen.look(frame);
    seen.look_at_flow(frame, OUTSIDE, true);
    let mut answer = Answer {
        headers: [u32::MAX; 16],
        sum: u32::MAX,
        quoted: 0,
        network: 0,
        kind: 0,
        reserved: [0; 3],
    };
    answer.find(frame, &seen);
    answer.complete(&seen.flow.key, seen.flow.direction);
    let kind = answer.kind();
    if kind == Kind::None {
        return None;
    }
    let network = usize::from(answer.network);
    let mut out = Vec::from(&frame[..network]);
    out.extend(&answer.headers()[..usize::from(kind.header_bytes())]);
    if kind.has_quote() {
        out.extend(&frame[network..network + usize::from(answer.quoted)]);
    }
    Some(out)
}

/// The sum of what is summed up, which is all ones if the checksum in it is right.
fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for word in part.chunks(2) {
            sum += u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    u16::try_from(sum).unwrap()
}

/// Checks addresses, lengths and checksums; returns the transport header and what is behind.
fn checked(answer: &[u8], network: usize, is_v4: bool, of_protocol: u8) -> &[u8] {
    let ip = &answer[network..];
    let (header, carried) = ip.split_at(if is_v4 { 20 } else { 40 });
    let (from, to) =
        if is_v4 { (&header[12..16], &header[16..]) } else { (&header[8..24], &header[24..]) };
    assert_eq!((from.last(), to.last()), (Some(&2), Some(&1)));
    let length = u16::try_from(carried.len()).unwrap();
    if is_v4 {
        assert_eq!(header[..4], [0x45, 0, 0, u8::try_from(ip.len()).unwrap()]);
        assert_eq!((header[9], sum(&[header])), (of_protocol, 0xffff));
    } else {
        assert_eq!(header[4..8], [0, u8::try_from(length).unwrap(), of_protocol, 64]);
    }
    let pseudo = [[0, of_protocol], length.to_be_bytes()].concat();
    let has_pseudo = !(is_v4 && of_protocol == protocol::ICMP);
    let parts: &[&[u8]] = if has_pseudo { &[from, to, &pseudo, carried] } else { &[carried] };
    assert_eq!(sum(parts), 0xffff);
    carried
}

#[test]
fn tcp_is_reset() {
    for tag in [false, true] {
        for is_v4 in [false, true] {
            let network = if tag { 18 } else { 14 };
            // What is acknowledged is where a reset is expected; else it acknowledges what came.
            for (flags, carried, sequence, acknowledged, expected) in [
                (SYN, 0, 0, 1001, RST | ACK),
                (SYN, 7, 0, 1008, RST | ACK),
                (FIN, 3, 0, 1004, RST | ACK),
                (ACK, 100, 77, 0, RST),
                (SYN | ACK, 0, 77, 0, RST),
            ] {
                let came = frame(tag, is_v4, protocol::TCP, &tcp(flags, 1000, 77, carried));
                let out = answer(&came).unwrap();
                let tcp = checked(&out, network, is_v4, protocol::TCP);
                assert_eq!(tcp[..4], [0, 80, 0x12, 0x34]);
                assert_eq!(tcp[4..8], u32::to_be_bytes(sequence));
                assert_eq!(tcp[8..12], u32::to_be_bytes(acknowledged));
                assert_eq!((tcp[12], tcp[13], tcp.len()), (5 << 4, expected, 20));
            }
            assert_eq!(answer(&frame(tag, is_v4, protocol::TCP, &tcp(RST, 1, 1, 0))), None);
        }
    }
}

#[test]
fn what_is_no_tcp_is_unreachable() {
    for tag in [false, true] {
        for is_v4 in [false, true] {
            for (of_protocol, carried, code) in [
                (UDP, 8, [3, 4]),
                (UDP, 9, [3, 4]),
                (UDP, 500, [3, 4]),
                (132, 40, [3, 4]),
                (47, 40, [13, 1]),
                (if is_v4 { protocol::ICMP } else { protocol::ICMPV6 }, 64, [13, 1]),
            ] {
                let mut packet = std::vec![0x5a; carried];
                packet[0] = if is_v4 { 8 } else { 128 };
                let came = frame(tag, is_v4, of_protocol, &packet);
                let out = answer(&came).unwrap();
                let network = if tag { 18 } else { 14 };
                let icmp = if is_v4 { protocol::ICMP } else { protocol::ICMPV6 };
                let message = checked(&out, network, is_v4, icmp);
                let [of_type, code] = if is_v4 { [3, code[0]] } else { [1, code[1]] };
                assert_eq!(message[..2], [of_type, code]);
                assert_eq!(message[4..8], [0; 4]);
                let quote = &came[network..];
                assert_eq!(&message[8..], &quote[..quote.len().min(96)]);
            }
        }
    }
}

#[test]
fn some_things_have_no_answer() {
    let mut group = frame(false, true, UDP, &[0; 8]);
    group[0] = 1;
    assert_eq!(answer(&group), None);
    let mut later = frame(false, true, UDP, &[0; 64]);
    later[21] = 9;
    assert_eq!(answer(&later), None);
    for (is_v4, of_protocol, of_type) in
        [(true, protocol::ICMP, 3), (true, protocol::ICMP, 11), (false, protocol::ICMPV6, 1)]
    {
        assert_eq!(answer(&frame(false, is_v4, of_protocol, &[of_type; 40])), None);
    }
    let arp = [&TO[..], &FROM, &[8, 6], &[0; 28]].concat();
    assert_eq!(answer(&arp), None);
    // What ends before it says all that matters.
    let short = frame(false, true, protocol::TCP, &tcp(SYN, 1, 1, 0)[..11]);
    assert_eq!(answer(&short), None);
}
