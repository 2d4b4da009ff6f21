//! The identity of a link: an alias, `nsbpf:LAB/BRIDGE` or
//! `nsbpf:LAB/NAMESPACE/INTERFACE`.

use crate::lab::{InterfaceId, InterfaceName, Name};

const PREFIX: &str = "nsbpf:";

/// What a link of ours is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// A bridge.
    Bridge(InterfaceName),
    /// The host-side end of an interface.
    Interface(InterfaceId),
}

/// The alias of a link.
pub(super) fn alias(lab: &Name, identity: &Identity) -> String {
    match identity {
        Identity::Bridge(bridge) => format!("{PREFIX}{lab}/{bridge}"),
        Identity::Interface(id) => format!("{PREFIX}{lab}/{id}"),
    }
}

/// The lab and the identity that an alias tells; `None` for one that is not
/// ours. Anybody can write an alias, so that nothing is taken on trust: names
/// are checked as those of a lab file are.
pub(super) fn parse(alias: &str) -> Option<(Name, Identity)> {
    let mut parts = alias.strip_prefix(PREFIX)?.split('/');
    let lab = Name::new(parts.next()?).ok()?;
    let first = parts.next()?;
    let identity = match parts.next() {
        None => Identity::Bridge(InterfaceName::new(first).ok()?),
        Some(interface) => Identity::Interface(InterfaceId {
            namespace: Name::new(first).ok()?,
            interface: InterfaceName::new(interface).ok()?,
        }),
    };
    parts.next().is_none().then_some((lab, identity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_leads_back_to_the_identity() {
        let lab = Name::new("lab").unwrap();
        let bridge = Identity::Bridge(InterfaceName::new("br0").unwrap());
        let interface = Identity::Interface(InterfaceId {
            namespace: Name::new("vnet0").unwrap(),
            interface: InterfaceName::new("eth0").unwrap(),
        });
        for identity in [bridge, interface] {
            assert_eq!(parse(&alias(&lab, &identity)), Some((lab.clone(), identity)));
        }
    }

    #[test]
    fn what_others_write_is_nothing() {
        for alias in
            ["", "nsbpf:", "nsbpf:lab", "nsbpf:a/b/c/d", "nsbpf:../b/c", "other:a/b", "nsbpf:a//b"]
        {
            assert_eq!(parse(alias), None, "{alias}");
        }
    }
}
