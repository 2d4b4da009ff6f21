//! nf_tables over a netfilter netlink socket (nfnetlink): messages, dumps and batches.

pub(super) mod connection;

use rustix::io::Errno;

use connection::kind;

use super::NetlinkError;

/// Asks for chains; the attributes of what is answered follow.
pub(super) const GET_CHAIN: u16 = kind(4);
pub(super) const CHAIN_TABLE: u16 = 1;
pub(super) const CHAIN_NAME: u16 = 3;
pub(super) const CHAIN_HOOK: u16 = 4;
pub(super) const CHAIN_POLICY: u16 = 5;
pub(super) const CHAIN_USE: u16 = 6;
/// Inside of `CHAIN_HOOK`.
pub(super) const HOOK_NUMBER: u16 = 1;

/// Whether opening the socket or asking for something in which nothing could be
/// wrong failed as it does without nf_tables (`nfnetlink_rcv_msg`, Linux 6.18), or
/// without netfilter at all.
pub(super) fn lacks_nftables(error: &NetlinkError) -> bool {
    match error {
        NetlinkError::Refused { errno, .. } => *errno == Errno::INVAL,
        NetlinkError::Socket { operation: "open", source } => {
            source.raw_os_error() == Some(Errno::PROTONOSUPPORT.raw_os_error())
        }
        _ => false,
    }
}
