//! Guard: a port claims only what the lab gave it.

use nsbpf_common::guard;
use nsbpf_common::packet::Packet;
use nsbpf_common::port::PortConfig;
use nsbpf_common::sight::Seen;
use nsbpf_common::verdict::{Reason, Verdict};

use crate::maps::{GUARD, OWN_ADDRESSES};

/// Judges a packet that leaves the namespace of a port.
#[inline(always)]
pub fn judge(packet: &impl Packet, seen: &mut Seen, port: u16, config: &PortConfig) -> Verdict {
    if GUARD.load() == 0 || !config.is_guarded() {
        return Verdict::Pass;
    }
    let judgement = guard::judge_mac(packet, config);
    match judgement.and_then(|()| addresses(packet, seen, port, config)) {
        Ok(()) => Verdict::Pass,
        Err(reason) => Verdict::Drop(reason),
    }
}

#[inline(always)]
fn addresses(
    packet: &impl Packet,
    seen: &mut Seen,
    port: u16,
    config: &PortConfig,
) -> Result<(), Reason> {
    if !config.guards_addresses() {
        return Ok(());
    }
    seen.parse(packet);
    let owns = |address: &_| OWN_ADDRESSES.get_ptr(address).is_some();
    guard::judge_addresses(packet, &seen.headers, port, config, owns)
}
