//! What the host's packet filter is set to, without iptables or nft programs.
//!
//! Only what decides whether traffic of a lab passes: base chains of nf_tables,
//! and the built-in ones of legacy iptables; how many rules they have, and their
//! policies.

mod chains;
mod deciding;
mod legacy;

pub use chains::{BaseChain, Family, Hook, base_chains};
pub use deciding::{FilterError, on_bridged, on_routed};
pub use legacy::{LegacyChain, LegacyError, LegacyFamily, legacy_chains};
