//! Layer 2 segments: which addresses are on each, and the next ones that are free.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_saphyr::Location;

use super::{InterfaceId, InterfaceName};

/// Names a segment: everything on it hears the same broadcasts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum SegmentId {
    /// A VLAN of a bridge; 0 on one that looks at none.
    Bridge(InterfaceName, u16),
    /// A pair of interfaces, by its first.
    Pair(InterfaceId),
}

/// A segment.
#[derive(Default)]
pub(super) struct Segment {
    subnets: Subnets,
    taken: HashMap<IpAddr, Location>,
    next: HashMap<IpNet, u128>,
    macs: HashSet<[u8; 6]>,
}

/// Why an address cannot be on a segment.
pub(super) enum Clash {
    /// It is there already.
    Taken(Location),
    /// Its subnet overlaps another one.
    Overlap(IpNet),
}

impl Segment {
    /// Puts an address on the segment.
    pub(super) fn add(&mut self, address: IpNet, place: Location) -> Result<(), Clash> {
        self.subnets.add(address, Owner::Anybody).map_err(Clash::Overlap)?;
        match self.taken.insert(address.addr(), place) {
            None => Ok(()),
            Some(before) => {
                self.taken.insert(address.addr(), before);
                Err(Clash::Taken(before))
            }
        }
    }

    /// The next address of a subnet that nobody has; `None` when there is none.
    pub(super) fn hand_out(&mut self, subnet: IpNet, place: Location) -> Option<IpNet> {
        let subnet = subnet.trunc();
        let first = bits(subnet.network());
        let last = match subnet {
            // The last one is the broadcast address.
            IpNet::V4(_) => bits(subnet.broadcast()) - 1,
            IpNet::V6(_) => bits(subnet.broadcast()),
        };
        let next = self.next.entry(subnet).or_insert(first + 1);
        while *next <= last {
            let address = match subnet {
                #[expect(clippy::cast_possible_truncation, reason = "it is one of IPv4")]
                IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(*next as u32)),
                IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(*next)),
            };
            *next += 1;
            if let Entry::Vacant(free) = self.taken.entry(address) {
                free.insert(place);
                return IpNet::new(address, subnet.prefix_len()).ok();
            }
        }
        None
    }

    /// Puts a hardware address on the segment; `false` when it is there already.
    pub(super) fn add_mac(&mut self, mac: [u8; 6]) -> bool {
        self.macs.insert(mac)
    }
}

/// Who says a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Others may say the same.
    Anybody,
    /// Only this interface, by its place in a list.
    Interface(usize),
}

/// Subnets that are equal or apart.
#[derive(Default)]
pub(super) struct Subnets(BTreeMap<(bool, u128), (IpNet, Owner)>);

impl Subnets {
    /// Adds the subnet of an address.
    ///
    /// # Errors
    /// The one that it overlaps: another one, or the same of another owner.
    pub(super) fn add(&mut self, address: IpNet, owner: Owner) -> Result<(), IpNet> {
        let subnet = address.trunc();
        let family = matches!(subnet, IpNet::V6(_));
        let first = (family, bits(subnet.network()));
        let last = (family, bits(subnet.broadcast()));
        let before = self.0.range(..first).next_back().filter(|(_, (other, _))| {
            // Those in the map are apart: only the nearest can reach so far.
            other.contains(&subnet)
        });
        if let Some((_, (other, by))) = before.or_else(|| self.0.range(first..=last).next())
            && !(*other == subnet && *by == owner)
        {
            return Err(*other);
        }
        self.0.insert(first, (subnet, owner));
        Ok(())
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn subnets_are_equal_or_apart() {
        let mut subnets = Subnets::default();
        assert_eq!(subnets.add(net("10.1.0.1/16"), Owner::Anybody), Ok(()));
        assert_eq!(subnets.add(net("10.1.7.1/16"), Owner::Anybody), Ok(()));
        assert_eq!(subnets.add(net("10.2.0.1/16"), Owner::Anybody), Ok(()));
        assert_eq!(subnets.add(net("fd00::1/64"), Owner::Anybody), Ok(()));
        for (clash, with) in [
            ("10.1.7.1/24", "10.1.0.0/16"),
            ("10.0.0.1/8", "10.1.0.0/16"),
            ("10.2.255.255/32", "10.2.0.0/16"),
            ("fd00::/16", "fd00::/64"),
        ] {
            assert_eq!(subnets.add(net(clash), Owner::Anybody), Err(net(with)), "{clash}");
        }
        assert_eq!(subnets.add(net("10.1.0.0/16"), Owner::Interface(3)), Err(net("10.1.0.0/16")));
    }

    #[test]
    fn the_next_ones_are_those_that_nobody_has() {
        let mut segment = Segment::default();
        let place = Location::UNKNOWN;
        assert!(segment.add(net("10.0.0.2/29"), place).is_ok());
        let mut given = Vec::new();
        while let Some(address) = segment.hand_out(net("10.0.0.0/29"), place) {
            given.push(address.to_string());
        }
        assert_eq!(
            given,
            ["10.0.0.1/29", "10.0.0.3/29", "10.0.0.4/29", "10.0.0.5/29", "10.0.0.6/29"]
        );
        assert_eq!(segment.hand_out(net("fd00::/64"), place), Some(net("fd00::1/64")));
    }
}
