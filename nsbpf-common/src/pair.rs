//! Pairs of ports: the keys of the traffic matrix.

use crate::abi::abi;

/// Whence a packet came and where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Pair {
    /// Number of the port that it came in by, or [`OUTSIDE`].
    pub from: u16,
    /// Number of the port that it went out of.
    pub to: u16,
}

abi!(Pair, size = 4, align = 2);

impl Pair {
    /// Its place in a table of so many ports: a row a port that packets come in
    /// by, and a last one for [`OUTSIDE`] and whatever else is no port. Past the
    /// table's end for a packet that goes out of no port.
    #[inline(always)]
    #[must_use]
    pub const fn index(self, ports: u16) -> u32 {
        let Self { from, to } = self;
        let row = if from > ports { ports } else { from };
        if to >= ports { u32::MAX } else { row as u32 * ports as u32 + to as u32 }
    }

    /// Places of a table of so many ports.
    #[must_use]
    pub const fn table_length(ports: u16) -> u32 {
        (ports as u32 + 1) * ports as u32
    }
}

/// In the place of a port's number: the host itself, or what lies behind it. No
/// lab has as many ports as that.
pub const OUTSIDE: u16 = u16::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_has_a_place_of_its_own() {
        for ports in [1, 2, 7] {
            let mut taken = std::vec![false; Pair::table_length(ports) as usize];
            for from in (0..ports).chain([OUTSIDE]) {
                for to in 0..ports {
                    let index = Pair { from, to }.index(ports) as usize;
                    assert!(!taken[index]);
                    taken[index] = true;
                }
            }
            assert!(taken.into_iter().all(|taken| taken));
            let bridge = Pair { from: OUTSIDE - 1, to: 0 };
            assert_eq!(bridge.index(ports), Pair { from: OUTSIDE, to: 0 }.index(ports));
            for to in [ports, OUTSIDE] {
                assert_eq!(Pair { from: 0, to }.index(ports), u32::MAX);
            }
        }
    }
}
