//! Flows of the benchmark's frames: which ports a number stands for.

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

#[cfg(test)]
mod tests {
    use super::*;

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
