//! What the host's packet filter is set to, without iptables or nft programs.
//!
//! Only what decides whether traffic of a lab passes: base chains of nf_tables,
//! and the policy of legacy iptables.

mod chains;
mod legacy;

pub use chains::{BaseChain, Family, Hook, base_chains};
pub use legacy::{LegacyError, LegacyFamily, legacy_forward_drops};
