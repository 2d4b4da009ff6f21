//! The kernel's network objects: namespaces, links, addresses, filters.
//!
//! The only user of rtnetlink and `setns`. Requests go over a socket of our own
//! rather than rtnetlink's handle: it is synchronous, so that it can be opened
//! by a thread inside a namespace and then used from any other, and it sends
//! many requests in one system call.

pub mod address;
mod attribute;
pub mod carrier;
mod channel;
pub mod container;
pub mod echo;
pub mod enter;
pub mod features;
pub mod filter;
mod genetlink;
pub mod gro;
pub mod host_forwarding;
pub mod icmp;
pub mod in_flight;
pub mod link;
pub mod neighbour;
pub mod netfilter;
pub mod netns;
mod nfnetlink;
pub mod nftables;
pub mod nsid;
pub mod offload;
pub mod route;
pub mod socket;
pub(crate) mod sysctl;
pub mod traffic;
pub mod vlan;
pub mod world;

pub use netns::NetNs;
pub use socket::{Netlink, NetlinkError};
