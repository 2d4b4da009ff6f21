//! Bridges: from what was typed to what they are, but for their addresses.

use std::ops::RangeInclusive;

use serde_saphyr::{Location, Spanned};

use super::address::{self, Asked};
use super::name::{InterfaceName, Name};
use super::problem::Problem;
use super::spec::{BridgeSpec, Entries};
use super::{Bridge, DEFAULT_MTU};

/// What IPv4 takes at least (RFC 791), and the most that a veth can have
/// (`ETH_MAX_MTU`).
pub(super) const POSSIBLE_MTUS: RangeInclusive<u32> = 68..=65_535;
/// VLAN ids that a port can be in (IEEE 802.1Q: 0 and 4,095 are reserved).
pub(super) const POSSIBLE_VLANS: RangeInclusive<u16> = 1..=4094;
/// The VLAN of a port that names none (`br_vlan_init`, Linux 6.18).
pub(super) const DEFAULT_VLAN: u16 = 1;
/// Seconds that IEEE 802.1D recommends, and the kernel's default.
pub(super) const DEFAULT_FORWARD_DELAY: u8 = 15;
/// Seconds that the kernel takes with STP on (`BR_MIN_FORWARD_DELAY`,
/// `BR_MAX_FORWARD_DELAY`, `net/bridge/br_private_stp.h`, Linux 6.18).
pub(super) const POSSIBLE_FORWARD_DELAYS: RangeInclusive<u8> = 2..=30;

/// A bridge whose addresses are not handed out yet.
pub(super) struct Draft {
    pub(super) bridge: Bridge,
    pub(super) asked: Vec<Asked>,
}

impl Draft {
    /// The VLAN of its own addresses, 0 where it looks at none.
    pub(super) fn own_vlan(&self) -> u16 {
        self.bridge.vlan.unwrap_or_default()
    }
}

/// Checks all bridges.
pub(super) fn check(bridges: &Entries<BridgeSpec>, problems: &mut Vec<Problem>) -> Vec<Draft> {
    bridges.0.iter().filter_map(|(name, spec)| one(name, spec, problems)).collect()
}

fn one(name: &Spanned<String>, spec: &BridgeSpec, problems: &mut Vec<Problem>) -> Option<Draft> {
    let place = name.referenced;
    let checked = InterfaceName::new(&name.value)
        .map_err(|why| problems.push(Problem::name(&name.value, "a bridge", place, why)))
        .ok();
    let namespace = spec.namespace.as_ref().and_then(|typed| {
        let refused = |why| Problem::name(&typed.value, "a namespace", typed.referenced, why);
        Name::new(&typed.value).map_err(|why| problems.push(refused(why))).ok()
    });
    let mtu = mtu(spec.mtu.as_ref(), problems).unwrap_or(DEFAULT_MTU);
    let asked = address::check(&spec.addresses, mtu, problems);
    let vlan = match &spec.vlan {
        None => spec.vlan_filtering.then_some(DEFAULT_VLAN),
        Some(vlan) => {
            if !spec.vlan_filtering {
                let title = "this bridge looks at no VLAN".to_owned();
                let help = "add `vlan_filtering: true`";
                problems.push(Problem::new(title, vlan.referenced).help(help));
            }
            self::vlan(vlan.value, vlan.referenced, problems)
        }
    };
    let forward_delay = forward_delay(spec, problems);
    let uplink = spec.uplink.as_ref().is_some_and(|uplink| uplink.value);
    if let Some(typed) = spec.uplink.as_ref().filter(|uplink| uplink.value) {
        if spec.namespace.is_some() {
            let title = "a bridge in a namespace has no way out through the host".to_owned();
            let help = "leave out `namespace:`, or `uplink:`";
            problems.push(Problem::new(title, typed.referenced).help(help));
        } else if spec.addresses.is_empty() {
            let title = "an uplink needs an address that is the gateway".to_owned();
            let help = "give the bridge `addresses: [10.0.0.254/24]`, say";
            problems.push(Problem::new(title, typed.referenced).help(help));
        }
    }
    let bridge = Bridge {
        name: checked?,
        namespace,
        mtu,
        addresses: Vec::new(),
        stp: spec.stp,
        forward_delay,
        vlan,
        uplink,
    };
    Some(Draft { bridge, asked })
}

fn forward_delay(spec: &BridgeSpec, problems: &mut Vec<Problem>) -> u8 {
    let Some(delay) = &spec.forward_delay else { return DEFAULT_FORWARD_DELAY };
    let (title, help) = if !spec.stp {
        (
            "`forward_delay` is of the spanning tree protocol".to_owned(),
            "add `stp: true`".to_owned(),
        )
    } else if !POSSIBLE_FORWARD_DELAYS.contains(&delay.value) {
        let [first, last] = [POSSIBLE_FORWARD_DELAYS.start(), POSSIBLE_FORWARD_DELAYS.end()];
        (
            format!("a forward delay of {} seconds is not possible", delay.value),
            format!("{first} to {last} seconds"),
        )
    } else {
        return delay.value;
    };
    problems.push(Problem::new(title, delay.referenced).help(help));
    DEFAULT_FORWARD_DELAY
}

/// Checks an MTU; `None` where none is typed.
pub(super) fn mtu(mtu: Option<&Spanned<u32>>, problems: &mut Vec<Problem>) -> Option<u32> {
    let mtu = mtu?;
    if !POSSIBLE_MTUS.contains(&mtu.value) {
        let title = format!("an MTU of {} is not possible", mtu.value);
        let help = format!("{} to {} bytes", POSSIBLE_MTUS.start(), POSSIBLE_MTUS.end());
        problems.push(Problem::new(title, mtu.referenced).help(help));
    }
    Some(mtu.value)
}

/// Checks a VLAN id.
pub(super) fn vlan(vlan: u16, place: Location, problems: &mut Vec<Problem>) -> Option<u16> {
    if POSSIBLE_VLANS.contains(&vlan) {
        return Some(vlan);
    }
    let title = format!("there is no VLAN {vlan}");
    let help = format!("{} to {}", POSSIBLE_VLANS.start(), POSSIBLE_VLANS.end());
    problems.push(Problem::new(title, place).help(help));
    None
}
