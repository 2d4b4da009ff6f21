//! Who has which addresses, so that a long list of expectations of a large lab does
//! not search all of it for each word.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{Destination, Party};
use crate::lab::{Bridge, InterfaceId, Name, Namespace};

/// Namespaces by their names and by their addresses; each is known by its place.
pub(super) struct Index<'a> {
    namespaces: &'a [Namespace],
    pub(super) places: HashMap<&'a str, usize>,
    pub(super) owners: HashMap<IpAddr, Vec<usize>>,
    addresses: Vec<Vec<IpAddr>>,
}

impl<'a> Index<'a> {
    pub(super) fn of(namespaces: &'a [Namespace], bridges: &'a [Bridge]) -> Self {
        let places: HashMap<&str, usize> = namespaces
            .iter()
            .enumerate()
            .map(|(place, namespace)| (namespace.name.as_str(), place))
            .collect();
        let mut addresses: Vec<Vec<IpAddr>> =
            namespaces.iter().map(|namespace| namespace.ips(&[]).collect()).collect();
        for bridge in bridges {
            let inside = bridge.namespace.as_ref().and_then(|name| places.get(name.as_str()));
            if let Some(place) = inside {
                addresses[*place].extend(bridge.addresses.iter().map(ipnet::IpNet::addr));
            }
        }
        let mut owners: HashMap<IpAddr, Vec<usize>> = HashMap::new();
        for (place, ips) in addresses.iter().enumerate() {
            for ip in ips {
                let owners = owners.entry(*ip).or_default();
                if owners.last() != Some(&place) {
                    owners.push(place);
                }
            }
        }
        Self { namespaces, places, owners, addresses }
    }

    /// Who begins.
    pub(super) fn sources(&self, from: &Party<Name>) -> Ends {
        let mut ends = Ends::default();
        match from {
            Party::All => (0..self.addresses.len()).for_each(|place| self.add(place, &mut ends)),
            Party::Some(names) => names
                .iter()
                .filter_map(|name| self.places.get(name.as_str()))
                .for_each(|place| self.add(*place, &mut ends)),
        }
        ends
    }

    pub(super) fn sources_of(&self, name: &Name) -> Ends {
        let mut ends = Ends::default();
        if let Some(place) = self.places.get(name.as_str()) {
            self.add(*place, &mut ends);
        }
        ends
    }

    /// Whom the addresses are of that are to be reached.
    pub(super) fn targets(&self, to: &Party<Destination>) -> Ends {
        match to {
            Party::All => self.sources(&Party::All),
            Party::Some(destinations) => {
                let mut ends = Ends::default();
                for destination in destinations {
                    self.add_destination(destination, &mut ends);
                }
                ends
            }
        }
    }

    pub(super) fn targets_of(&self, destination: &Destination) -> Ends {
        let mut ends = Ends::default();
        self.add_destination(destination, &mut ends);
        ends
    }

    fn add(&self, place: usize, ends: &mut Ends) {
        self.addresses[place].iter().for_each(|ip| ends.add(*ip, Some(place)));
    }

    fn add_destination(&self, destination: &Destination, ends: &mut Ends) {
        let place = |name: &Name| self.places.get(name.as_str()).copied();
        match destination {
            Destination::Namespace(name) => {
                if let Some(place) = place(name) {
                    self.add(place, ends);
                }
            }
            Destination::Interface(InterfaceId { namespace, interface }) => {
                let Some(place) = place(namespace) else { return };
                let mut interfaces = self.namespaces[place].interfaces.iter();
                let found = interfaces.find(|one| one.name == *interface);
                for address in found.iter().flat_map(|interface| &interface.addresses) {
                    ends.add(address.addr(), Some(place));
                }
            }
            Destination::Address(ip, owner) => ends.add(*ip, owner.as_ref().and_then(place)),
        }
    }
}

/// Whose the addresses of each family are, two at most: more are never needed to
/// find one that is not a given one. `None` is outside the lab.
#[derive(Default)]
pub(super) struct Ends {
    ipv4: Vec<Option<usize>>,
    ipv6: Vec<Option<usize>>,
}

impl Ends {
    fn add(&mut self, ip: IpAddr, whose: Option<usize>) {
        let of_family = if ip.is_ipv4() { &mut self.ipv4 } else { &mut self.ipv6 };
        if of_family.len() < 2 && !of_family.contains(&whose) {
            of_family.push(whose);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ipv4.is_empty() && self.ipv6.is_empty()
    }

    /// Whether one of these reaches one of those that is somebody else's.
    pub(super) fn reach(&self, targets: &Self) -> bool {
        let families = [(&self.ipv4, &targets.ipv4), (&self.ipv6, &targets.ipv6)];
        families.iter().any(|(from, to)| from.iter().any(|from| to.iter().any(|to| from != to)))
    }
}
