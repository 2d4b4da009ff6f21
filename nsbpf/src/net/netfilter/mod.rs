//! What the host's packet filter is set to, without iptables or nft programs.
//!
//! Only what decides whether traffic of a lab passes: base chains of nf_tables,
//! the policy of legacy iptables, and whether the kernel can masquerade.

mod chains;
mod legacy;
mod masquerade;
mod socket;

pub use chains::{BaseChain, Family, Hook, base_chains};
pub use legacy::{LegacyError, LegacyFamily, legacy_forward_drops};
pub use masquerade::probe_masquerade;
