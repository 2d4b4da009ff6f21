//! Chains that decide something about packets that are forwarded: such as have
//! rules, or drop what no rule accepts.
//!
//! Not seen: ebtables-legacy, whose tables the kernel lists nowhere and makes when
//! it is asked for them (`find_table_lock`, Linux 6.18), and tables of the family
//! netdev, which are a device's.

use std::collections::BTreeSet;
use std::io;

use super::{
    BaseChain, Family, LegacyChain, LegacyError, LegacyFamily, base_chains, legacy_chains,
};
use crate::net::nftables::{self, NAME_PREFIX, TableError};
use crate::net::{NetlinkError, sysctl};
use crate::state::FilterChain;

/// Why the chains could not be looked at.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is named after what it wraps")]
pub enum FilterError {
    #[error("the chains of nf_tables: {0}")]
    Chains(#[from] NetlinkError),
    #[error(transparent)]
    Legacy(#[from] LegacyError),
    #[error("the tables of labs: {0}")]
    Tables(#[from] TableError),
    #[error("net.bridge.bridge-nf-call-…: {0}")]
    Calls(#[from] io::Error),
}

/// Those that see frames between ports of bridges, in the calling thread's network
/// namespace. Of ARP, which always takes the bridge, there are none.
///
/// # Errors
/// It takes `CAP_NET_ADMIN`.
pub fn on_bridged() -> Result<Vec<FilterChain>, FilterError> {
    let [ipv4, ipv6, _] = sysctl::bridge_calls()?;
    let sees = |family| match family {
        Family::Bridge => true,
        Family::Inet => ipv4 || ipv6,
        Family::Ipv4 => ipv4,
        Family::Ipv6 => ipv6,
    };
    let mut chains = base_chains()?;
    if chains.iter().any(|chain| chain.table.starts_with(NAME_PREFIX)) {
        // A lab's own accepts all that comes from a bridge, and masquerades nothing
        // that goes to the same.
        let ours: BTreeSet<String> = nftables::list()?
            .into_iter()
            .filter(|table| table.is_ours() && table.intact)
            .map(|table| table.name)
            .collect();
        chains.retain(|chain| chain.family != Family::Inet || !ours.contains(&chain.table));
    }
    look(chains, sees)
}

/// Those that see what is routed, in the calling thread's network namespace.
///
/// # Errors
/// It takes `CAP_NET_ADMIN`.
pub fn on_routed() -> Result<Vec<FilterChain>, FilterError> {
    look(base_chains()?, |family| family != Family::Bridge)
}

fn look(
    chains: Vec<BaseChain>,
    sees: impl Fn(Family) -> bool,
) -> Result<Vec<FilterChain>, FilterError> {
    let chains = chains.into_iter().filter(|chain| sees(chain.family));
    let mut found: Vec<FilterChain> = chains.map(of_nftables).collect();
    for (family, legacy) in [(Family::Ipv4, LegacyFamily::Ipv4), (Family::Ipv6, LegacyFamily::Ipv6)]
    {
        if sees(family) {
            found.extend(legacy_chains(legacy)?.iter().map(|chain| of_legacy(legacy, chain)));
        }
    }
    found.retain(FilterChain::decides);
    Ok(found)
}

fn of_nftables(chain: BaseChain) -> FilterChain {
    let BaseChain { family, table, name, hook: _, rules, drops } = chain;
    FilterChain { name: format!("nftables {} {table} {name}", family.name()), rules, drops }
}

fn of_legacy(family: LegacyFamily, chain: &LegacyChain) -> FilterChain {
    let LegacyChain { table, hook: _, rules, drops } = chain;
    let name = format!("{} {table} {}", family.program(), chain.name());
    FilterChain { name, rules: *rules, drops: *drops }
}
