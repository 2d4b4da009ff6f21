//! Flows of the benchmark's frames: which ports, or addresses, a number stands for.

/// The first source port.
pub const FIRST_SOURCE: u16 = 1024;
/// The first destination port: the discard service.
pub const FIRST_DESTINATION: u16 = 9;
/// Source ports for each destination port.
pub const SOURCES: u32 = 64_512;
/// Flows at most: their destination ports are those right after the first.
pub const MAX_FLOWS: u32 = 16 * SOURCES;
/// Bytes from the start of the UDP header to the end of the word behind it.
pub const UDP_BYTES: usize = 8 + 2;

/// The source and the destination port of a flow, by its number below
/// [`MAX_FLOWS`].
#[must_use]
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "both are less than 65,536")]
pub fn ports(number: u32) -> (u16, u16) {
    let source = FIRST_SOURCE.wrapping_add((number % SOURCES) as u16);
    (source, FIRST_DESTINATION.wrapping_add((number / SOURCES) as u16))
}

/// Makes a UDP header, and the first word behind it, those of a flow. The word makes
/// up for the ports, so that the checksum stays what it was (RFC 1624: a word and its
/// complement add nothing).
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "folded")]
pub fn put_flow(udp: &mut [u8; UDP_BYTES], number: u32) {
    let (source, destination) = ports(number);
    let sum = u32::from(source) + u32::from(destination);
    let word = !(((sum & 0xffff) + (sum >> 16)) as u16);
    let [source, destination, word] = [source, destination, word].map(u16::to_be_bytes);
    [udp[0], udp[1]] = source;
    [udp[2], udp[3]] = destination;
    [udp[8], udp[9]] = word;
}

/// What stands for flows without end where their number is asked for: each frame is of a
/// flow that was not there before, but for one in thousands.
pub const ENDLESS: u32 = u32::MAX;
/// The same, where destinations differ too.
pub const ENDLESS_ENDS: u32 = u32::MAX - 1;
/// Bytes from the start of an IPv4 header without options to the end of the ports behind it.
pub const IPV4_BYTES: usize = 20 + 4;
/// The destinations are `10.0.0.0/8`, where they differ.
const FIRST_DESTINATION_ADDRESS: u32 = 0x0a00_0000;
/// The source addresses of flows without end are `10.128.0.0/9`.
const FIRST_ADDRESS: u32 = 0x0a80_0000;
/// Bits of a number that tell source ports apart; the rest are of the address.
const PORT_BITS: u32 = 9;
/// The first source port of flows without end.
const FIRST_ENDLESS_SOURCE: u16 = 1 << 15;

/// Makes an IPv4 header, and the source port behind it, those of one of flows without end, to
/// the same destination or to one of that number. The identification makes up for the
/// addresses, so that the header's checksum stays what it was; UDP has none.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "halves, and folded")]
pub fn put_new_flow(header: &mut [u8; IPV4_BYTES], number: u32, destination: Option<u32>) {
    let address = FIRST_ADDRESS | (number >> PORT_BITS);
    let source = FIRST_ENDLESS_SOURCE | (number & ((1 << PORT_BITS) - 1)) as u16;
    let mut sum = (address >> 16) + (address & 0xffff);
    if let Some(number) = destination {
        let address = FIRST_DESTINATION_ADDRESS | (number >> 8);
        sum += (address >> 16) + (address & 0xffff);
        [header[16], header[17], header[18], header[19]] = address.to_be_bytes();
    }
    sum = (sum & 0xffff) + (sum >> 16);
    let word = !(((sum & 0xffff) + (sum >> 16)) as u16);
    [header[4], header[5]] = word.to_be_bytes();
    [header[12], header[13], header[14], header[15]] = address.to_be_bytes();
    [header[20], header[21]] = source.to_be_bytes();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_new_flow_has_an_end_of_its_own_and_the_same_checksum() {
        let mut header = [0; IPV4_BYTES];
        let mut seen = std::collections::BTreeSet::new();
        for number in (0..u32::MAX).step_by(99_991) {
            put_new_flow(&mut header, number, Some(number.rotate_left(7)));
            assert!(seen.insert((header[12..16].to_vec(), header[20..22].to_vec())), "{number}");
            assert!(header[12] == 10 && header[13] >= 128, "{header:?}");
            let words = header[..20].chunks(2);
            let sum: u32 = words.map(|it| u32::from(u16::from_be_bytes([it[0], it[1]]))).sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "flow {number}");
        }
    }

    #[test]
    fn every_flow_has_ports_of_its_own_and_the_same_checksum() {
        let mut udp = [0; UDP_BYTES];
        let mut seen = std::collections::BTreeSet::new();
        for number in (0..MAX_FLOWS).step_by(997) {
            assert!(seen.insert(ports(number)), "flow {number} has the ports of another");
            put_flow(&mut udp, number);
            let words = udp.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
            let sum: u32 = words.sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "flow {number}");
        }
        assert_eq!(ports(0), (1024, 9));
        assert_eq!(ports(SOURCES - 1), (65_535, 9));
        assert_eq!(ports(SOURCES), (1024, 10));
    }
}
