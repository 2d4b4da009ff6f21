//! Guard: a port claims only what the lab gave it.

use nsbpf_common::guard;
use nsbpf_common::packet::Packet;
use nsbpf_common::port::PortConfig;
use nsbpf_common::verdict::Verdict;

use super::parse;
use crate::maps::{GUARD, OWN_ADDRESSES};

/// Judges a packet that leaves the namespace of a port.
#[inline(always)]
pub fn judge(packet: &impl Packet, port: u16, config: &PortConfig) -> Verdict {
    if GUARD.load() == 0 || !config.is_guarded() {
        return Verdict::Pass;
    }
    let Some(headers) = parse::headers(packet) else { return Verdict::Pass };
    let owns = |address: &_| OWN_ADDRESSES.get_ptr(address).is_some();
    match guard::judge(packet, headers, port, config, owns) {
        Ok(()) => Verdict::Pass,
        Err(reason) => Verdict::Drop(reason),
    }
}
