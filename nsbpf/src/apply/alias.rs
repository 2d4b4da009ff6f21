//! The identity of a link: an alias, `nsbpf:LAB/BRIDGE` or
//! `nsbpf:LAB/NAMESPACE/INTERFACE`. A port of a bridge bears that of the interface
//! behind it.

use crate::lab::{InterfaceId, InterfaceName, LinkId, Name};

const PREFIX: &str = "nsbpf:";

/// The alias of a link.
pub(super) fn alias(lab: &Name, identity: &LinkId) -> String {
    format!("{PREFIX}{lab}/{identity}")
}

/// The lab and the identity that an alias tells; `None` for one that is not
/// ours. Anybody can write an alias, so that nothing is taken on trust: names
/// are checked as those of a lab file are.
pub(super) fn parse(alias: &str) -> Option<(Name, LinkId)> {
    let mut parts = alias.strip_prefix(PREFIX)?.split('/');
    let lab = Name::new(parts.next()?).ok()?;
    let first = parts.next()?;
    let identity = match parts.next() {
        None => LinkId::Bridge(InterfaceName::new(first).ok()?),
        Some(interface) => LinkId::Interface(InterfaceId {
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
        let bridge = LinkId::Bridge(InterfaceName::new("br0").unwrap());
        let interface = LinkId::Interface(InterfaceId {
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
