//! What packet filters and fast paths have to do with each other, for who wants to tell
//! it: rules on a bridge are passed by, those in a router are not.

use std::collections::{BTreeMap, BTreeSet};

use nsbpf_common::stats::Way;

use super::{Settings, desired};
use crate::lab::{InterfaceName, Lab, Name};
use crate::state::{BridgePort, Far, FilterChain, Key, Object, Objects, Place, State, Veth};

/// Chains that a warning names, and routers that are warned of, at most.
const SHOWN: usize = 5;

/// Chains that fast paths have to do with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filtering {
    /// What frames between ports of bridges pass by, and where it is.
    pub passed_by: Vec<(Place, Vec<FilterChain>)>,
    /// Namespaces that forward each packet themselves because of what is filtered there.
    pub heeded: Vec<(Name, Vec<FilterChain>)>,
}

impl Filtering {
    /// The routers that a lab's packets do not pass by because of what was found there,
    /// and what they pass by.
    #[must_use]
    pub fn new(
        lab: &Lab,
        settings: &Settings,
        found: &State,
        passed_by: Vec<(Place, Vec<FilterChain>)>,
    ) -> Self {
        let routers = desired::filtering_routers(lab, settings, found);
        let heeded = routers.map(|(name, chains)| (name.clone(), chains.to_vec())).collect();
        Self { passed_by, heeded }
    }

    /// A sentence for each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let Self { passed_by, heeded } = self;
        let passed_by = passed_by.iter().map(|(place, chains)| {
            format!(
                "packets between its ports pass these rules of {place} by: {}; `fastpath: bridge` has them looked at",
                listed(chains)
            )
        });
        let heeded_shown = heeded.iter().take(SHOWN).map(|(name, chains)| {
            format!(
                "router {name} has rules, and so forwards each packet itself: {}",
                listed(chains)
            )
        });
        let more = match heeded.len().saturating_sub(SHOWN) {
            0 => None,
            more => Some(format!("and so do {more} more routers")),
        };
        passed_by.chain(heeded_shown).chain(more).collect()
    }
}

fn listed(chains: &[FilterChain]) -> String {
    let mut names: Vec<String> = chains.iter().take(SHOWN).map(ToString::to_string).collect();
    if chains.len() > SHOWN {
        names.push(format!("{} more", chains.len() - SHOWN));
    }
    names.join(", ")
}

/// Where there are bridges that frames pass by from one of the lab's ports to another.
#[must_use]
pub fn fast_places(wanted: &Objects) -> BTreeSet<Place> {
    let mut bridges: BTreeMap<&InterfaceName, (usize, bool, &Place)> = BTreeMap::new();
    for object in wanted.values() {
        let Object::Veth(Veth { number, far: Far::Port(port), .. }) = object else { continue };
        let BridgePort { place, bridge: Some(bridge), .. } = port else { continue };
        let is_fast = match wanted.get(&Key::Port(*number)) {
            Some(Object::Port(port)) => port.way != Way::Bridge,
            _ => false,
        };
        let (ports, fast, _) = bridges.entry(bridge).or_insert((0, false, place));
        *ports += 1;
        *fast |= is_fast;
    }
    let fast = bridges.into_values().filter(|(ports, fast, _)| *ports > 1 && *fast);
    fast.map(|(.., place)| place.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{settings, wanted};
    use crate::state::IngressHook;

    const QUICKSTART: &str = include_str!("../../../labs/quickstart.yaml");
    const ROUTER: &str = include_str!("../../../labs/05-router.yaml");

    fn chain(name: &str, rules: u32, drops: bool) -> FilterChain {
        FilterChain { name: name.to_owned(), rules, drops }
    }

    #[test]
    fn a_bridge_is_passed_by_between_two_ports() {
        let places = |lab: &str| {
            let wanted = wanted(lab, IngressHook::Tc, &State::default());
            fast_places(&wanted).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let host = Place::Host.to_string();
        assert_eq!(places(QUICKSTART), [host]);
        let inside = QUICKSTART.replace("br0: {}", "br0: { namespace: switch }");
        assert_eq!(places(&format!("{inside}  switch: {{}}\n")), ["namespace switch"]);
        let nowhere: [String; 0] = [];
        assert_eq!(places(&format!("{QUICKSTART}fastpath: bridge\n")), nowhere);
        let one = "name: one\nbridges: { br0: {} }\nnamespaces:\n  \
            a: { interfaces: { eth0: { bridge: br0 } } }\n";
        assert_eq!(places(one), nowhere);
    }

    #[test]
    fn a_router_with_rules_forwards_itself() {
        let state = |chains: &[FilterChain]| {
            let found = chains.iter().map(|_| (Name::new("router").unwrap(), chains.to_vec()));
            State { filters: found.collect(), ..State::default() }
        };
        let hooks = |state: &State| {
            let wanted = wanted(ROUTER, IngressHook::Tc, state);
            wanted.keys().filter(|key| key.to_string().starts_with("route ingress of")).count()
        };
        let filtering = |state: &State| {
            let lab = Lab::parse(ROUTER, "lab.yaml").unwrap();
            Filtering::new(&lab, &settings(IngressHook::Tc), state, Vec::new()).warnings()
        };
        let none = state(&[]);
        assert_eq!(hooks(&none), 2);
        assert!(filtering(&none).is_empty());
        let some = state(&[chain("nftables inet fw forward", 1, false)]);
        assert_eq!(hooks(&some), 0);
        assert_eq!(
            filtering(&some),
            ["router router has rules, and so forwards each packet itself: \
              nftables inet fw forward (1 rule)"]
        );
    }

    #[test]
    fn a_long_list_is_cut_short() {
        let chains: Vec<_> = (1..=7).map(|rules| chain("x", rules, false)).collect();
        assert!(listed(&chains).ends_with("x (5 rules), 2 more"), "{}", listed(&chains));
    }
}
